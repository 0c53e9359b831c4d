//! The retire stage: takes loaded files out of the inbox (`source.after`), beside the data path.
//!
//! Discovery names the files. This stage asks the ledger whether they may leave, and moves or deletes many at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::SourceConfig;
use crate::domain::ledger::{Content, Cursor, DeliveryFilter};
use crate::domain::{Delivery, DeliveryState, FileStat, Plan};
use crate::pipeline::messages::Left;
use crate::pipeline::run_stats::RunStats;
use crate::source::{Found, Retire, Source, Stays, TOGETHER};
use crate::store::backoff::Backoff;
use crate::store::listing::newest;
use crate::store::{Ledger, StoreError};
use crate::{config, metrics};

/// A file that does not end with a line end may still grow, so it must be unchanged for this many times longer.
const OPEN_TAIL: u32 = 5;

/// How long the same reason is not logged again.
const SAID_AGAIN: Duration = Duration::from_secs(3600);

/// The retire stage.
pub struct After<S, I> {
    store: Arc<S>,
    plan: Arc<Plan>,
    patience: Backoff,
    tally: Arc<RunStats>,
    inbox: I,
    how: Retire,
    halt: CancellationToken,
    /// What happens to the files, in one word.
    what: &'static str,
    /// How long a file must have been unchanged. Zero if files are taken as complete.
    rest: Duration,
    /// The reasons that were logged, and when.
    told: HashMap<String, Instant>,
}

impl<S: Ledger, I: Source> After<S, I> {
    /// Returns `None` if files are kept.
    pub fn new(
        source: &SourceConfig,
        inbox: I,
        rest: Duration,
        (store, plan): (Arc<S>, Arc<Plan>),
        patience: Backoff,
        (tally, halt): (Arc<RunStats>, CancellationToken),
    ) -> Option<Self> {
        let (how, what) = match source.after {
            config::After::Keep => return None,
            config::After::Move => (Retire::Move, "moved"),
            config::After::Delete => (Retire::Delete, "deleted"),
        };
        Some(Self { store, plan, patience, tally, inbox, how, halt, what, rest, told: HashMap::new() })
    }

    /// Moves or deletes files until there are no more.
    ///
    /// # Errors
    /// Returns an error if the store no longer answers.
    pub async fn run(mut self, mut files: Receiver<Found>, left: Sender<Left>) -> Result<(), StoreError> {
        if self.how == Retire::Move
            && let Err(error) = self.inbox.sweep().await
        {
            debug!("unfinished copies cannot be removed: {error}");
        }
        while let Some(first) = files.recv().await {
            // The next run tries the remaining files again.
            if self.halt.is_cancelled() {
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

    async fn leave(&mut self, files: Vec<Found>, left: &Sender<Left>) {
        let outcomes = self.inbox.retire(files.clone(), self.how, self.halt.clone()).await;
        for (file, outcome) in files.into_iter().zip(outcomes) {
            self.told(file, outcome, left).await;
        }
    }

    /// Returns the reason a file must stay, if there is any.
    async fn stays(&self, file: &Found) -> Result<Option<&'static str>, StoreError> {
        let Some(delivery) = self.patience.with(|| newest(&*self.store, &file.path)).await? else {
            return Ok(Some("the ledger has no delivery of it"));
        };
        let loaded = match delivery.state {
            DeliveryState::Loaded => Some(delivery),
            DeliveryState::Duplicate => self.twin(&delivery).await?,
            _ => None,
        };
        Ok(match loaded.filter(|loaded| loaded.receipt.closes()) {
            None => Some("it is not loaded completely"),
            Some(loaded) if loaded.tail.is_some() && self.is_young(file.noted) => {
                Some("its last record has no line end yet")
            }
            Some(loaded) if self.is_needed(&loaded) => {
                Some("a table still needs its rows; load them with `needledrop load --table T`")
            }
            Some(loaded) if loaded.receipt.assumed > 0 && self.how == Retire::Delete => Some(
                "it was assumed loaded, and its rows were not checked; delete it yourself if the tables have them",
            ),
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
        let age = SystemTime::now().duration_since(noted.changed_at()).unwrap_or_default();
        age < self.rest * OPEN_TAIL
    }

    /// Whether the file is the only copy of bytes that a table still needs.
    fn is_needed(&self, delivery: &Delivery) -> bool {
        self.how == Retire::Delete && self.plan.tables.iter().any(|table| delivery.is_behind(table))
    }

    async fn told(&mut self, file: Found, outcome: Result<(), Stays>, left: &Sender<Left>) {
        let gone = match outcome {
            Ok(()) => {
                info!(file = &*file.path, "{}", self.what);
                metrics::after(self.what);
                self.tally.left(self.what);
                true
            }
            Err(Stays::Gone) => true,
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
    fn stay(&mut self, file: &Found, why: &Stays) {
        if self.halt.is_cancelled() {
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
        let (what, next) = (self.what, self.inbox.remedy(self.how));
        match why {
            Stays::Failed(error) => {
                format!("loaded, but cannot be {what}: {error}; {next}; needledrop tries again later")
            }
            why => format!("not {what} yet: {why}"),
        }
    }
}
