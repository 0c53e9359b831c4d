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
use crate::domain::ledger::{Content, DeliveryFilter};
use crate::domain::{Delivery, DeliveryState, FileStat, Plan, Replacement};
use crate::pipeline::messages::Left;
use crate::pipeline::run_stats::RunStats;
use crate::source::{Found, Retire, Source, Stays, TOGETHER};
use crate::store::backoff::Backoff;
use crate::store::listing::{Deliveries, newest};
use crate::store::{Ledger, StoreError};
use crate::{config, metrics};

/// A file that does not end with a line end may still grow, so it must be unchanged for this many times longer.
const OPEN_TAIL: u32 = 5;

/// How long the same reason is not logged again.
const LOGGED_AGAIN: Duration = Duration::from_secs(3600);

/// The retire stage.
pub struct RetireStage<S, I> {
    store: Arc<S>,
    plan: Arc<Plan>,
    backoff: Backoff,
    stats: Arc<RunStats>,
    inbox: I,
    how: Retire,
    halt: CancellationToken,
    /// What happens to the files, in one word.
    what: &'static str,
    /// How long a file must have been unchanged. Zero if files are taken as complete.
    rest: Duration,
    /// The reasons that were logged, and when.
    logged: HashMap<String, Instant>,
}

impl<S: Ledger, I: Source> RetireStage<S, I> {
    /// Returns `None` if files are kept.
    pub fn new(
        source: &SourceConfig,
        inbox: I,
        rest: Duration,
        (store, plan): (Arc<S>, Arc<Plan>),
        backoff: Backoff,
        (stats, halt): (Arc<RunStats>, CancellationToken),
    ) -> Option<Self> {
        let (how, what) = match source.after {
            config::After::Keep => return None,
            config::After::Move => (Retire::Move, "moved"),
            config::After::Delete => (Retire::Delete, "deleted"),
        };
        Some(Self { store, plan, backoff, stats, inbox, how, halt, what, rest, logged: HashMap::new() })
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
            for found in together {
                match self.reason_to_stay(&found).await? {
                    None => may.push(found),
                    Some(why) => self.report(found, Err(Stays::Busy(why)), &left).await,
                }
            }
            self.retire(may, &left).await;
        }
        Ok(())
    }

    async fn retire(&mut self, files: Vec<Found>, left: &Sender<Left>) {
        let outcomes = self.inbox.retire(files.clone(), self.how, self.halt.clone()).await;
        for (found, outcome) in files.into_iter().zip(outcomes) {
            self.report(found, outcome, left).await;
        }
    }

    /// Returns the reason a file must stay, if there is any.
    async fn reason_to_stay(&self, found: &Found) -> Result<Option<&'static str>, StoreError> {
        let Some(delivery) = self.backoff.with(|| newest(&*self.store, &found.file)).await? else {
            return Ok(Some("the ledger has no delivery of it"));
        };
        let loaded = match delivery.state {
            DeliveryState::Loaded => Some(delivery),
            DeliveryState::Duplicate => self.original(&delivery).await?,
            _ => None,
        };
        Ok(match loaded.filter(|loaded| loaded.receipt.closes()) {
            None => Some("it is not loaded completely"),
            Some(loaded) if loaded.tail.is_some() && self.is_young(found.noted) => {
                Some(match loaded.ends_without_newline() {
                    true => "its last record has no line end yet",
                    false => "records may yet follow its last lines",
                })
            }
            Some(loaded) if self.is_needed(&loaded) => {
                Some("a table still needs its rows; load them with `needledrop load --table T`")
            }
            Some(loaded)
                if loaded.replacement.as_ref().is_some_and(Replacement::is_due)
                    && self.how == Retire::Delete =>
            {
                Some("it is not compared with its earlier content yet")
            }
            Some(loaded) if loaded.receipt.open() > 0 && self.how == Retire::Delete => Some(
                "it has records in quarantine; replay them after a fix, or discard them (`needledrop quarantine`)",
            ),
            Some(loaded) if loaded.receipt.assumed > 0 && self.how == Retire::Delete => Some(
                "it was assumed loaded, and its rows were not checked; delete it yourself if the tables have them",
            ),
            Some(_) => None,
        })
    }

    /// Returns the loaded delivery of the same feed that has the bytes of a duplicate.
    async fn original(&self, duplicate: &Delivery) -> Result<Option<Delivery>, StoreError> {
        let Delivery { file, head, reach, hash, .. } = duplicate;
        let content = Content { head: head.clone(), len: reach.offset, hash: hash.clone() };
        let filter = DeliveryFilter::Same(content);
        let mut same = Deliveries::patiently(&*self.store, &self.backoff, filter);
        while let Some(other) = same.next().await? {
            if other.counts() && other.file.feed() == file.feed() {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    fn is_young(&self, noted: FileStat) -> bool {
        let age = SystemTime::now().duration_since(noted.changed_at()).unwrap_or_default();
        age < self.rest * OPEN_TAIL
    }

    /// Whether the file is the only copy of bytes that a table still needs.
    fn is_needed(&self, delivery: &Delivery) -> bool {
        self.how == Retire::Delete && self.plan.tables.iter().any(|table| delivery.is_behind(table))
    }

    async fn report(&mut self, found: Found, outcome: Result<(), Stays>, left: &Sender<Left>) {
        let gone = match outcome {
            Ok(()) => {
                info!(file = found.file.text(), "{}", self.what);
                metrics::after(found.file.feed(), self.what);
                self.stats.left(self.what);
                true
            }
            Err(Stays::Gone) => true,
            Err(why) => {
                self.log_stay(&found, &why);
                false
            }
        };
        // Discovery may have ended already and then needs no report.
        let _ = left.send(Left { file: found.file, gone }).await;
    }

    /// Logs why a file stays, once an hour for all files with the same reason. Each of these files is tried again
    /// later.
    fn log_stay(&mut self, found: &Found, why: &Stays) {
        if self.halt.is_cancelled() {
            return;
        }
        let text = self.describe(why);
        let is_failure = matches!(why, Stays::Failed(_));
        if is_failure {
            metrics::after(found.file.feed(), "failed");
            self.stats.left("failed");
        }
        let is_new = self.logged.get(&text).is_none_or(|at| at.elapsed() > LOGGED_AGAIN);
        if is_new {
            self.logged.insert(text.clone(), Instant::now());
        }
        match (is_new, is_failure) {
            (false, _) => debug!(file = found.file.text(), "{text}"),
            (true, false) => info!(file = found.file.text(), "{text}"),
            (true, true) => warn!(file = found.file.text(), "{text} (logged once for all files)"),
        }
    }

    fn describe(&self, why: &Stays) -> String {
        let (what, next) = (self.what, self.inbox.remedy(self.how));
        match why {
            Stays::Failed(error) => {
                format!("loaded, but cannot be {what}: {error}; {next}; needledrop tries again later")
            }
            why => format!("not {what} yet: {why}"),
        }
    }
}
