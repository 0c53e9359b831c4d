//! discover → read → transform → write: one module a stage, one bounded queue between two.
//!
//! Only discover hears "stop"; read hands on what it has; the others end when their input ends, so
//! what was read is also written. Nothing outlives [`Pipeline::run`].

pub mod discover;
pub mod read;
pub mod transform;
pub mod write;
pub mod after;
pub mod spare;
pub(crate) mod split;
mod kept;
mod open_writers;
pub mod events;
pub mod find;
pub mod replay;
pub mod retry;
pub mod tally;
#[cfg(test)]
mod fuzz;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Kind};
use crate::domain::Plan;
use crate::health::Health;
use crate::heartbeat::Pulse;
use crate::metrics::Stage;
use crate::store::patience::{Patience, unready};
use crate::store::{Store, StoreError};
use after::After;
use discover::identify::Identify;
use discover::inbox::Inbox;
use discover::tails::Tails;
use discover::{Discover, Scope};
use read::Read;
use read::trail::Trails;
use spare::Spare;
use tally::Tally;
use write::Write;

/// Everything the stages need.
pub struct Pipeline<S> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub config: Config,
    pub inbox: Inbox,
    pub tally: Arc<Tally>,
    pub health: Arc<Health>,
    pub taking: Taking,
    /// How long the store is waited for; without it there is no end.
    pub patience: Option<Duration>,
    /// When it is cancelled no more files are taken up; those under way end, and then the pipeline does.
    pub intake: CancellationToken,
}

/// What becomes of a file that is not as the ledger knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Taking {
    /// It is loaded.
    #[default]
    New,
    /// Every file is loaded as a new generation, whatever the ledger knows.
    Again,
    /// It is entered as loaded: another program wrote its rows.
    Assumed,
}

/// How the pipeline ended when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was no more to do.
    Done,
    /// It was asked to stop, and what was read is written.
    Stopped,
    /// It was asked to stop, and the grace was over first: the rest is read again next time.
    GraceOver,
}

impl<S: Store> Pipeline<S> {
    /// Runs the stages until the scope is done or `stop` is cancelled, and drains them.
    ///
    /// # Errors
    /// The first failure of a stage; the others are drained all the same.
    pub async fn run(self, scope: Scope, stop: CancellationToken) -> Result<Ended, StoreError> {
        let grace = *self.config.shutdown.grace;
        // The first failure stops the others as a signal would.
        let halt = stop.child_token();
        let (kill, intake) = (CancellationToken::new(), self.intake.clone());
        let (store, health) = (Arc::clone(&self.store), Arc::clone(&self.health));
        let mut stages = self.start(scope, &halt, &kill);
        let mut joined = pin!(join(&mut stages, &halt));
        let mut tended = pin!(store.tend(&health));
        tokio::select! {
            outcome = &mut joined => return outcome.map(|()| ended(&stop)),
            () = halt.cancelled() => intake.cancel(),
            error = &mut tended => {
                unready(&error, &health);
                halt.cancel();
                intake.cancel();
                kill.cancel();
                let _ = joined.await;
                return Err(error);
            }
        }
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(grace, joined) => outcome,
            error = tended => {
                kill.cancel();
                return Err(error);
            }
        };
        kill.cancel();
        match outcome {
            Ok(outcome) => outcome.map(|()| ended(&stop)),
            Err(_) => Ok(Ended::GraceOver),
        }
    }

    fn start(
        self,
        scope: Scope,
        halt: &CancellationToken,
        kill: &CancellationToken,
    ) -> JoinSet<Result<(), StoreError>> {
        let write = &self.config.write;
        let (files_in, files) = mpsc::channel(write.queue);
        // Rows are made faster than bytes are read: what waits, waits for the store.
        let (chunks_in, chunks) = mpsc::channel(1);
        // A transaction gains from a second window. A cluster gains when the next one is sent before the last
        // answers are in.
        let is_cluster = self.config.store.kind == Kind::Cassandra;
        let (together, at_once): (usize, usize) = if is_cluster { (1, 2) } else { (2, 1) };
        let (rows_in, rows) = mpsc::channel(write.queue.max(together));
        // Room for a word of every delivery under way: whoever tells must not wait for discovery, which may be
        // waiting for what the teller holds.
        let under_way = self.config.source.files_at_once + write.queue;
        let (finished_in, finished) = mpsc::channel(under_way);
        let pulse = |stage| self.health.heartbeat.begins(stage);
        let patience = |halt: &CancellationToken, pulse| Patience {
            limit: self.patience,
            halt: halt.clone(),
            health: Arc::clone(&self.health),
            pulse,
        };
        let (trails, spare) = (Arc::new(Trails::default()), Arc::new(Spare::default()));
        let identify = Identify {
            store: Arc::clone(&self.store),
            plan: Arc::clone(&self.plan),
            inbox: self.inbox.clone(),
            patience: patience(halt, pulse(Stage::Discover)),
            max_record_bytes: self.config.limits.max_record_bytes.0,
            trails: Arc::clone(&trails),
            tails: Tails::new(&self.config.source, &scope),
            taking: self.taking,
            started: SystemTime::now(),
        };
        let (leaving, files_leaving) = mpsc::channel(after::TOGETHER);
        let (left_in, left) = mpsc::channel(after::TOGETHER);
        let rest = self.rest(&scope);
        let after = After::new(
            &self.config.source,
            &identify.inbox,
            rest,
            (Arc::clone(&self.store), Arc::clone(&self.plan)),
            // It takes loaded files away, beside the way of the data.
            patience(halt, Pulse::default()),
            (Arc::clone(&self.tally), halt.clone()),
        );
        let discover = Discover::new(
            identify,
            self.config.source.clone(),
            under_way,
            after.is_some().then_some(rest),
            Arc::clone(&self.tally),
            Arc::clone(&self.health),
            self.intake.clone(),
        );
        let read = Read {
            store: Arc::clone(&self.store),
            patience: patience(kill, pulse(Stage::Read)),
            write: write.clone(),
            files_at_once: self.config.source.files_at_once,
            trails,
            spare: Arc::clone(&spare),
            stop: halt.clone(),
        };
        let (plan, quota) = (Arc::clone(&self.plan), self.config.limits.max_quarantined);
        let (patience, pulse) = (patience(kill, pulse(Stage::Write)), pulse(Stage::Transform));
        let write = Write {
            store: self.store,
            plan: self.plan,
            patience,
            tally: self.tally,
            spare: Arc::clone(&spare),
            at_once,
            together: together as u64,
            window: write.window as u64,
            window_bytes: write.window_bytes.0 as u64,
        };
        let mut stages = JoinSet::new();
        stages.spawn(discover.run(scope, files_in, finished, (leaving, left)));
        stages.spawn(read.run(files, chunks_in));
        stages.spawn(async move {
            transform::run(chunks, rows_in, plan, quota, spare, pulse).await;
            Ok(())
        });
        stages.spawn(write.run(rows, finished_in));
        if let Some(after) = after {
            stages.spawn(after.run(files_leaving, left_in));
        }
        stages
    }

    /// How long a file must have been unchanged before it may leave the inbox.
    fn rest(&self, scope: &Scope) -> Duration {
        match scope {
            Scope::Watch => (*self.config.source.settle).max(discover::TRUSTED_AFTER),
            Scope::Once(_) | Scope::These(_) => Duration::ZERO,
        }
    }
}

fn ended(stop: &CancellationToken) -> Ended {
    if stop.is_cancelled() { Ended::Stopped } else { Ended::Done }
}

/// Joins all stages; the first failure stops the rest and is what is told.
async fn join(
    stages: &mut JoinSet<Result<(), StoreError>>,
    halt: &CancellationToken,
) -> Result<(), StoreError> {
    let mut first = Ok(());
    while let Some(joined) = stages.join_next().await {
        let outcome = joined.unwrap_or_else(|error| {
            Err(StoreError::Broken { store: "pipeline".to_owned(), what: error.to_string() })
        });
        match outcome {
            // A wait that the stop cut short is no failure.
            Err(error) if halt.is_cancelled() && error.passing().is_some() => {}
            Err(error) if first.is_ok() => {
                halt.cancel();
                first = Err(error);
            }
            _ => {}
        }
    }
    first
}
