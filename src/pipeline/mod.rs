//! discover → read → transform → write: one module a stage, one bounded queue between two.
//!
//! Only discover hears "stop"; read hands on what it has; the others end when their input ends, so
//! what was read is also written. Nothing outlives [`Pipeline::run`].

pub mod discover;
pub mod read;
pub mod transform;
pub mod write;
#[cfg(test)]
mod fuzz;
pub mod hash_checkpoint;
pub mod messages;
pub mod observer;
pub mod row_builder;
pub mod buffer_pool;
pub mod run_stats;
pub mod archived_reader;
pub mod retire;
pub mod prefix_check;
pub mod header_probe;
pub mod byte_source;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::Plan;
use crate::metrics::Stage;
use crate::metrics::heartbeat::Heartbeat;
use crate::metrics::heartbeat::Pulse;
use crate::pipeline::buffer_pool::BufferPool;
use crate::pipeline::discover::tail_policy::Tails;
use crate::pipeline::hash_checkpoint::HashCheckpoints;
use crate::pipeline::messages::{Ended, LoadMode, Scope};
use crate::pipeline::observer::PipelineObserver;
use crate::pipeline::retire::After;
use crate::pipeline::run_stats::RunStats;
use crate::source::folder::inbox::Inbox;
use crate::source::folder::move_or_delete;
use crate::store::backend::Pipelining;
use crate::store::backoff::{Backoff, unready};
use crate::store::observer::StoreObserver;
use crate::store::{Store, StoreError};
use discover::Discover;
use discover::identify::Identify;
use read::Read;
use write::Write;

/// Everything the stages need.
pub struct Pipeline<S> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub config: Config,
    pub inbox: Inbox,
    pub tally: Arc<RunStats>,
    pub observer: Arc<dyn PipelineObserver>,
    pub heartbeat: Arc<Heartbeat>,
    pub taking: LoadMode,
    /// How long the store is waited for; without it there is no end.
    pub patience: Option<Duration>,
    /// When it is cancelled no more files are taken up; those under way end, and then the pipeline does.
    pub intake: CancellationToken,
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
        let store = Arc::clone(&self.store);
        let observer: Arc<dyn StoreObserver> = Arc::<dyn PipelineObserver>::clone(&self.observer);
        let mut stages = self.start(scope, &halt, &kill);
        let mut joined = pin!(join(&mut stages, &halt));
        let mut tended = pin!(store.tend(&*observer));
        tokio::select! {
            outcome = &mut joined => return outcome.map(|()| ended(&stop)),
            () = halt.cancelled() => intake.cancel(),
            error = &mut tended => {
                unready(&error, &*observer);
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
        let Pipelining { together, at_once } = self.config.store.pipelining();
        let (rows_in, rows) = mpsc::channel(write.queue.max(together));
        // Room for a word of every delivery under way: whoever tells must not wait for discovery, which may be
        // waiting for what the teller holds.
        let under_way = self.config.source.files_at_once + write.queue;
        let (finished_in, finished) = mpsc::channel(under_way);
        let pulse = |stage| self.heartbeat.begins(stage);
        let patience = |halt: &CancellationToken, pulse| Backoff {
            limit: self.patience,
            halt: halt.clone(),
            observer: Arc::<dyn PipelineObserver>::clone(&self.observer),
            pulse,
        };
        let (trails, spare) = (Arc::new(HashCheckpoints::default()), Arc::new(BufferPool::default()));
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
        let (leaving, files_leaving) = mpsc::channel(move_or_delete::TOGETHER);
        let (left_in, left) = mpsc::channel(move_or_delete::TOGETHER);
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
            Arc::clone(&self.observer),
            self.intake.clone(),
        );
        let read = Read {
            store: Arc::clone(&self.store),
            patience: patience(kill, pulse(Stage::Read)),
            heartbeat: Arc::clone(&self.heartbeat),
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
