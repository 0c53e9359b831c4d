//! The retire stage: takes loaded files out of the inbox (`source.after`), beside the data path.
//!
//! Discovery names the files. This stage asks the ledger whether they may leave, and moves or deletes many at a time.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::SourceConfig;
use crate::domain::ledger::{Content, Cursor, DeliveryFilter};
use crate::domain::{Delivery, DeliveryState, FileStat, Plan};
use crate::pipeline::messages::Left;
use crate::pipeline::run_stats::RunStats;
use crate::source::folder::archive::Archive;
use crate::source::folder::file::off_thread;
use crate::source::folder::inbox::Inbox;
use crate::source::folder::move_or_delete::{Leaving, Retirer, Stays, TOGETHER, Way};
use crate::store::backoff::Backoff;
use crate::store::listing::newest;
use crate::store::{Ledger, StoreError};
use crate::{config, metrics};

/// A file that does not end with a line end may still grow, so it must be unchanged for this many times longer.
const OPEN_TAIL: u32 = 5;

/// How long the same reason is not logged again.
const SAID_AGAIN: Duration = Duration::from_secs(3600);

/// The retire stage.
pub struct After<S> {
    store: Arc<S>,
    plan: Arc<Plan>,
    patience: Backoff,
    tally: Arc<RunStats>,
    away: Arc<Retirer>,
    /// What happens to the files, in one word.
    what: &'static str,
    /// How long a file must have been unchanged. Zero if files are taken as complete.
    rest: Duration,
    /// The reasons that were logged, and when.
    told: HashMap<String, Instant>,
}

impl<S: Ledger> After<S> {
    /// Returns `None` if files are kept.
    pub fn new(
        source: &SourceConfig,
        inbox: &Inbox,
        rest: Duration,
        (store, plan): (Arc<S>, Arc<Plan>),
        patience: Backoff,
        (tally, halt): (Arc<RunStats>, CancellationToken),
    ) -> Option<Self> {
        let (way, what) = match source.after {
            config::After::Keep => return None,
            config::After::Move => (Way::Move(Arc::new(Archive::new(source.archive()))), "moved"),
            config::After::Delete => (Way::Delete, "deleted"),
        };
        let away = Arc::new(Retirer { inbox: inbox.folder.clone(), way, halt });
        Some(Self { store, plan, patience, tally, away, what, rest, told: HashMap::new() })
    }

    /// Moves or deletes files until there are no more.
    ///
    /// # Errors
    /// Returns an error if the store no longer answers.
    pub async fn run(mut self, mut files: Receiver<Leaving>, left: Sender<Left>) -> Result<(), StoreError> {
        let away = Arc::clone(&self.away);
        let swept = off_thread(move || away.sweep()).await;
        swept.unwrap_or_else(|error| debug!("unfinished copies cannot be removed: {error}"));
        while let Some(first) = files.recv().await {
            // The next run tries the remaining files again.
            if self.away.halt.is_cancelled() {
                break;
            }
            let mut together = vec![first];
            while together.len() < TOGETHER
                && let Ok(next) = files.try_recv()
            {
                together.push(next);
            }
            let mut may = Vec::new();
            for file in together {
                match self.stays(&file).await? {
                    None => may.push(file),
                    Some(why) => self.told(file, Err(Stays::Busy(why)), &left).await,
                }
            }
            self.leave(may, &left).await;
        }
        Ok(())
    }

    async fn leave(&mut self, files: Vec<Leaving>, left: &Sender<Left>) {
        let (away, leaving) = (Arc::clone(&self.away), files.clone());
        let outcomes = off_thread(move || Ok(away.all(&leaving))).await;
        let mut outcomes = outcomes.unwrap_or_else(|error| {
            warn!("files cannot leave the inbox: {error}; please report this");
            Vec::new()
        });
        // Discovery waits for an outcome of each file.
        outcomes.resize_with(files.len(), || Err(Stays::Busy("the step that takes it away has failed")));
        for (file, outcome) in files.into_iter().zip(outcomes) {
            self.told(file, outcome, left).await;
        }
    }

    /// Returns the reason a file must stay, if there is any.
    async fn stays(&self, file: &Leaving) -> Result<Option<&'static str>, StoreError> {
        let Some(delivery) = self.patience.with(|| newest(&*self.store, &file.path)).await? else {
            return Ok(Some("is not in the ledger"));
        };
        let loaded = match delivery.state {
            DeliveryState::Loaded => Some(delivery),
            DeliveryState::Duplicate => self.twin(&delivery).await?,
            _ => None,
        };
        Ok(match loaded.filter(|loaded| loaded.receipt.closes()) {
            None => Some("is not loaded as a whole"),
            Some(loaded) if loaded.tail.is_some() && self.is_young(file.noted) => {
                Some("its last record has no line end yet")
            }
            Some(loaded) if self.is_needed(&loaded) => {
                Some("a table is behind by it; `needledrop load --table T` plays it in")
            }
            Some(loaded) if loaded.receipt.assumed > 0 && matches!(self.away.way, Way::Delete) => {
                Some("nobody has seen that its rows are there; remove it yourself")
            }
            Some(_) => None,
        })
    }

    /// Returns the loaded delivery that has the bytes of a duplicate.
    async fn twin(&self, duplicate: &Delivery) -> Result<Option<Delivery>, StoreError> {
        let Delivery { head, reach, hash, .. } = duplicate;
        let content = Content { head: head.clone(), len: reach.offset, hash: hash.clone() };
        let same = || self.store.deliveries(DeliveryFilter::Same(content.clone()), Cursor::default());
        Ok(self.patience.with(same).await?.found.into_iter().next())
    }

    fn is_young(&self, noted: FileStat) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_nanos(noted.ctime.try_into().unwrap_or(0));
        now.saturating_sub(changed) < self.rest * OPEN_TAIL
    }

    /// Whether the file is the only copy of bytes that a table still needs.
    fn is_needed(&self, delivery: &Delivery) -> bool {
        matches!(self.away.way, Way::Delete) && self.plan.tables.iter().any(|table| delivery.is_behind(table))
    }

    async fn told(&mut self, file: Leaving, outcome: Result<(), Stays>, left: &Sender<Left>) {
        let is_there = || self.away.inbox.join(&*file.path).symlink_metadata().is_ok();
        let gone = match outcome {
            Ok(()) => {
                info!(file = &*file.path, "{}", self.what);
                metrics::after(self.what);
                self.tally.left(self.what);
                true
            }
            Err(Stays::Failed(error)) if error.kind() == ErrorKind::NotFound && !is_there() => true,
            Err(why) => {
                self.stay(&file, &why);
                false
            }
        };
        // Discovery may have ended already and then needs no report.
        let _ = left.send(Left { path: file.path, gone }).await;
    }

    /// Logs why a file stays, once an hour for all files with the same reason. Each of these files is tried again
    /// later.
    fn stay(&mut self, file: &Leaving, why: &Stays) {
        if self.away.halt.is_cancelled() {
            return;
        }
        let told = self.words(why);
        let is_failure = matches!(why, Stays::Failed(_));
        if is_failure {
            metrics::after("failed");
            self.tally.left("failed");
        }
        let is_new = self.told.get(&told).is_none_or(|at| at.elapsed() > SAID_AGAIN);
        if is_new {
            self.told.insert(told.clone(), Instant::now());
        }
        match (is_new, is_failure) {
            (false, _) => debug!(file = &*file.path, "{told}"),
            (true, false) => info!(file = &*file.path, "{told}"),
            (true, true) => warn!(file = &*file.path, "{told} (logged once for all files)"),
        }
    }

    fn words(&self, why: &Stays) -> String {
        let what = self.what;
        match (why, &self.away.way) {
            (Stays::Busy(why), _) => format!("not {what} yet: {why}"),
            (Stays::Failed(error), Way::Move(archive)) => {
                let archive = archive.folder.display();
                format!(
                    "loaded, but cannot be {what}: {error}; make {archive} a folder with room that this user can write to; it is tried again"
                )
            }
            (Stays::Failed(error), Way::Delete) => {
                format!(
                    "loaded, but cannot be {what}: {error}; make the inbox writable for this user; it is tried again"
                )
            }
        }
    }
}
