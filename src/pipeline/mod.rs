//! Runs the stages discover → read → transform → write, each a module, with one bounded queue between two stages.
//!
//! On stop, discover takes up no more files and read passes on what it has read. The other stages end when their input
//! ends, so everything that was read is also written. No task outlives [`Pipeline::run`].

pub mod discover;
pub mod read;
pub mod transform;
pub mod write;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod story;
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

use discover::Discover;
use discover::identify::Identify;
use read::Read;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use write::Write;

use crate::config::Config;
use crate::domain::Plan;
use crate::metrics::Stage;
use crate::metrics::heartbeat::{Heartbeat, Pulse};
use crate::pipeline::buffer_pool::BufferPool;
use crate::pipeline::discover::tail_policy::Tails;
use crate::pipeline::hash_checkpoint::HashCheckpoints;
use crate::pipeline::messages::{Ended, LoadMode, Scope};
use crate::pipeline::observer::PipelineObserver;
use crate::pipeline::retire::RetireStage;
use crate::pipeline::run_stats::RunStats;
use crate::source::{Source, TOGETHER};
use crate::store::backend::Pipelining;
use crate::store::backoff::{Backoff, unready};
use crate::store::observer::StoreObserver;
use crate::store::{Store, StoreError};

/// Everything the stages need.
pub struct Pipeline<S, I> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub config: Config,
    pub inbox: I,
    pub stats: Arc<RunStats>,
    pub observer: Arc<dyn PipelineObserver>,
    pub heartbeat: Arc<Heartbeat>,
    pub mode: LoadMode,
    /// How long to wait for the store. `None` waits forever.
    pub patience: Option<Duration>,
    /// When cancelled, no more files are taken up. The pipeline ends when the files under way have ended.
    pub intake: CancellationToken,
}

impl<S: Store, I: Source> Pipeline<S, I> {
    /// Runs the stages until the scope is done or `stop` is cancelled, and drains them.
    ///
    /// # Errors
    /// Returns the first error of a stage. The other stages are drained first.
    pub async fn run(self, scope: Scope, stop: CancellationToken) -> Result<Ended, StoreError> {
        let grace = *self.config.shutdown.grace;
        // The first error stops the other stages like a signal does.
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
        // One place is enough, because transforming is faster than reading. Chunks that wait for the store wait as
        // rows.
        let (chunks_in, chunks) = mpsc::channel(1);
        let Pipelining { together, at_once } = self.config.store.pipelining();
        let (rows_in, rows) = mpsc::channel(write.queue.max(together));
        // There is room for one message of every delivery under way. A stage that sends such a message must not wait
        // for discovery, which may wait for something that the stage holds.
        let under_way = self.config.source.files_at_once + write.queue;
        let (finished_in, finished) = mpsc::channel(under_way);
        let pulse = |stage| self.heartbeat.begins(stage);
        let backoff = |halt: &CancellationToken, pulse| Backoff {
            limit: self.patience,
            halt: halt.clone(),
            observer: Arc::<dyn PipelineObserver>::clone(&self.observer),
            pulse,
        };
        let (checkpoints, buffers) = (Arc::new(HashCheckpoints::default()), Arc::new(BufferPool::default()));
        let identify = Identify {
            store: Arc::clone(&self.store),
            plan: Arc::clone(&self.plan),
            inbox: self.inbox.clone(),
            backoff: backoff(halt, pulse(Stage::Discover)),
            max_record_bytes: self.config.limits.max_record_bytes.0,
            checkpoints: Arc::clone(&checkpoints),
            tails: Tails::new(&self.config.source, &scope),
            mode: self.mode,
            started: SystemTime::now(),
        };
        let (leaving, files_leaving) = mpsc::channel(TOGETHER);
        let (left_in, left) = mpsc::channel(TOGETHER);
        let rest = self.rest(&scope);
        let after = RetireStage::new(
            &self.config.source,
            self.inbox.clone(),
            rest,
            (Arc::clone(&self.store), Arc::clone(&self.plan)),
            // The retire stage has no pulse of its own, because it runs beside the data path.
            backoff(halt, Pulse::default()),
            (Arc::clone(&self.stats), halt.clone()),
        );
        let discover = Discover::new(
            identify,
            self.config.source.clone(),
            under_way,
            after.is_some().then_some(rest),
            Arc::clone(&self.stats),
            Arc::clone(&self.observer),
            self.intake.clone(),
        );
        let read = Read {
            store: Arc::clone(&self.store),
            backoff: backoff(kill, pulse(Stage::Read)),
            heartbeat: Arc::clone(&self.heartbeat),
            write: write.clone(),
            files_at_once: self.config.source.files_at_once,
            checkpoints,
            buffers: Arc::clone(&buffers),
            stop: halt.clone(),
        };
        let (plan, quota) = (Arc::clone(&self.plan), self.config.limits.max_quarantined);
        let (backoff, pulse) = (backoff(kill, pulse(Stage::Write)), pulse(Stage::Transform));
        let write = Write {
            store: self.store,
            plan: self.plan,
            backoff,
            stats: self.stats,
            buffers: Arc::clone(&buffers),
            at_once,
            together: together as u64,
            window: write.window as u64,
            window_bytes: write.window_bytes.0 as u64,
        };
        let mut stages = JoinSet::new();
        stages.spawn(discover.run(scope, files_in, finished, (leaving, left)));
        stages.spawn(read.run(files, chunks_in));
        stages.spawn(async move {
            transform::run(chunks, rows_in, plan, quota, buffers, pulse).await;
            Ok(())
        });
        stages.spawn(write.run(rows, finished_in));
        if let Some(after) = after {
            stages.spawn(after.run(files_leaving, left_in));
        }
        stages
    }

    /// Returns how long a file must have been unchanged before it may leave the inbox.
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

/// Joins all stages and returns the first error, which also stops the other stages.
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
            // A wait that ended because of the stop is not a failure.
            Err(error) if halt.is_cancelled() && error.transient_reason().is_some() => {}
            Err(error) if first.is_ok() => {
                halt.cancel();
                first = Err(error);
            }
            _ => {}
        }
    }
    first
}
