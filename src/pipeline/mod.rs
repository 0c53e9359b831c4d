//! Runs the stages discover → read → transform → write, each a module, with one bounded queue between two stages. Each feed
//! has its own reading and its own queues, and a source keeps no thread of the runtime waiting, so a slow or hung inbox
//! holds up only the feeds that share a table with its feed. Those have one discovery, because their files must be taken
//! up in order. Transforming and writing are shared.
//!
//! On stop, discover takes up no more files and read passes on what it has read. The other stages end when their input
//! ends, so everything that was read is also written, except the first chunks of a file that is not judged yet. A file
//! whose inbox does not answer is given up. No task outlives [`Pipeline::run`]. A call of the system on an inbox that does
//! not answer cannot be cancelled: its thread outlives the run, and nobody uses its result.

pub mod discover;
pub mod feed_input;
pub mod in_turn;
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
pub mod pending_replacements;
pub mod header_probe;
pub mod byte_source;
mod unwritten_end;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use discover::Discover;
use discover::identify::Identify;
use discover::intake::Intake;
use discover::opening::{Handover, Opening};
use feed_input::{FeedInput, groups};
use in_turn::InTurn;
use read::Read;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use write::Write;

use crate::config::{Config, SourceConfig};
use crate::domain::{Feed, Feeds, RawChunk};
use crate::metrics::Stage;
use crate::metrics::heartbeat::{Heartbeat, Pulse};
use crate::pipeline::buffer_pool::BufferPool;
use crate::pipeline::discover::tail_policy::Tails;
use crate::pipeline::hash_checkpoint::HashCheckpoints;
use crate::pipeline::messages::{Ended, Finished, LoadMode, Scope, ToStages};
use crate::pipeline::observer::PipelineObserver;
use crate::pipeline::pending_replacements::PendingReplacements;
use crate::pipeline::retire::RetireStage;
use crate::pipeline::run_stats::RunStats;
use crate::source::answering::Answering;
use crate::source::answers::{Answers, PATIENCE};
use crate::source::{Source, TOGETHER};
use crate::store::backend::Pipelining;
use crate::store::backoff::{Backoff, unready};
use crate::store::observer::StoreObserver;
use crate::store::{Store, StoreError};

/// Everything the stages need.
pub struct Pipeline<S, I> {
    pub store: Arc<S>,
    pub feeds: Feeds<FeedInput<I>>,
    /// The settings that all feeds share.
    pub config: Config,
    pub stats: Arc<RunStats>,
    pub observer: Arc<dyn PipelineObserver>,
    pub heartbeat: Arc<Heartbeat>,
    pub mode: LoadMode,
    /// How long to wait for the store. `None` waits forever.
    pub patience: Option<Duration>,
    /// When cancelled, no more files are taken up. The pipeline ends when the files under way have ended.
    pub intake: CancellationToken,
    /// The files that replace earlier ones.
    pub replacements: Arc<PendingReplacements>,
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
        let mut stages = JoinSet::new();
        let (mut chunks, mut finished, mut handovers) = (Vec::new(), Vec::new(), Vec::new());
        let shared = Shared::new(&self, halt, kill);
        let groups = match scope {
            Scope::Watch => groups(&self.feeds),
            // In a single pass, all files are taken up in order.
            Scope::Once(_) | Scope::These(_) => vec![self.feeds.clone()],
        };
        let mut scope = Some(scope);
        for group in groups {
            let group = group.map(|feed| self.answering(feed));
            let scope = scope.take().unwrap_or(Scope::Watch);
            let started = shared.group(&self, group, scope, &mut stages);
            chunks.extend(started.chunks);
            finished.extend(started.finished);
            handovers.push(started.handover);
        }
        let plans = self.feeds.map(|feed| Arc::clone(&feed.plan));
        let (write, quota) = (&self.config.write, self.config.limits.max_quarantined);
        let (store, backoff) = (Arc::clone(&self.store), shared.waits(halt, Stage::Discover));
        stages.spawn(Opening { store, plans, backoff, quota }.run(handovers));
        let Pipelining { together, at_once } = self.config.store.pipelining();
        let at_once = if plans_need_order(&self.feeds) { 1 } else { at_once };
        let (rows_in, rows) = mpsc::channel(write.queue.max(together));
        let (buffers, pulse) = (Arc::clone(&shared.buffers), self.heartbeat.begins(Stage::Transform));
        stages.spawn(async move {
            transform::run(InTurn::new(chunks), rows_in, quota, buffers, pulse).await;
            Ok(())
        });
        let write = Write {
            backoff: shared.waits(kill, Stage::Write),
            store: self.store,
            stats: self.stats,
            buffers: shared.buffers,
            at_once,
            together: together as u64,
            window: write.window as u64,
            window_bytes: write.window_bytes.0 as u64,
        };
        stages.spawn(write.run(rows, finished.into_iter().collect()));
        stages
    }
}

/// Whether the records of some table must be written in the order of their stamps.
fn plans_need_order<I>(feeds: &Feeds<FeedInput<I>>) -> bool {
    feeds.values().any(|feed| feed.plan.needs_order())
}

impl<S, I: Source> Pipeline<S, I> {
    /// Returns a feed whose inbox is reported while it does not answer.
    fn answering(&self, feed: &FeedInput<I>) -> FeedInput<Answering<I>> {
        let (plan, settings) = (Arc::clone(&feed.plan), feed.settings.clone());
        let (observer, folder, feed_name) =
            (Arc::clone(&self.observer), feed.source.name(), plan.feed.clone());
        let of = if feed_name.is_named() { format!(" of feed {feed_name}") } else { String::new() };
        let report = move |answers| {
            if answers {
                info!(folder, "the inbox{of} answers again");
            } else {
                warn!(folder, "the inbox{of} does not answer; needledrop waits for it");
            }
            observer.inbox_answers(&feed_name, answers);
        };
        let patience = PATIENCE.min(*self.config.shutdown.grace / 3);
        let source = Answering::new(feed.source.clone(), Answers::new(patience, self.intake.clone(), report));
        FeedInput { plan, source, settings }
    }
}

/// What the stages of all feeds share.
struct Shared {
    halt: CancellationToken,
    kill: CancellationToken,
    patience: Option<Duration>,
    observer: Arc<dyn PipelineObserver>,
    heartbeat: Arc<Heartbeat>,
    checkpoints: Arc<HashCheckpoints>,
    buffers: Arc<BufferPool>,
    started: SystemTime,
}

/// The ends of the queues of a group that later stages need.
struct Started {
    chunks: Vec<Receiver<RawChunk>>,
    finished: Vec<(Feed, Sender<Finished>)>,
    handover: Handover,
}

impl Shared {
    fn new<S, I>(pipeline: &Pipeline<S, I>, halt: &CancellationToken, kill: &CancellationToken) -> Self {
        Self {
            halt: halt.clone(),
            kill: kill.clone(),
            patience: pipeline.patience,
            observer: Arc::clone(&pipeline.observer),
            heartbeat: Arc::clone(&pipeline.heartbeat),
            checkpoints: Arc::default(),
            buffers: Arc::default(),
            started: SystemTime::now(),
        }
    }

    /// Returns how a stage waits for the store.
    fn waits(&self, halt: &CancellationToken, stage: Stage) -> Backoff {
        self.waits_with(halt, self.heartbeat.begins(stage))
    }

    fn waits_with(&self, halt: &CancellationToken, pulse: Pulse) -> Backoff {
        let observer = Arc::<dyn PipelineObserver>::clone(&self.observer);
        Backoff { limit: self.patience, halt: halt.clone(), observer, pulse }
    }

    /// Starts discovery for a group of feeds, and reading and retiring for each of them.
    fn group<S: Store, P, I: Source>(
        &self,
        pipeline: &Pipeline<S, P>,
        feeds: Feeds<FeedInput<I>>,
        scope: Scope,
        stages: &mut JoinSet<Result<(), StoreError>>,
    ) -> Started {
        let write = &pipeline.config.write;
        // There is room for one message of every delivery under way. A stage that sends such a message must not wait
        // for discovery, which may wait for something that the stage holds.
        let under_way = |feed: &FeedInput<I>| feed.settings.files_at_once + write.queue;
        let (finished_in, finished) = mpsc::channel(feeds.values().map(under_way).sum());
        let (left_in, left) = mpsc::channel(TOGETHER);
        let (to, known) = oneshot::channel();
        let backoff = self.waits(&self.halt, Stage::Discover);
        let (mut chunks, mut intakes, mut outputs) = (Vec::new(), Feeds::none(), Feeds::none());
        for (name, feed) in feeds.iter() {
            let rest = rest(&feed.settings, &scope);
            let (leaving, files_leaving) = mpsc::channel(TOGETHER);
            let after = self.retire(pipeline, feed, rest);
            let identify = self.identify(pipeline, feed, &scope, backoff.clone());
            let leaves = after.is_some().then_some(rest);
            let intake = Intake::new(identify, feed.settings.clone(), under_way(feed), leaves);
            intakes.insert(name.clone(), intake);
            if let Some(after) = after {
                stages.spawn(after.run(files_leaving, left_in.clone()));
            }
            let (files, files_to_read) = mpsc::channel(write.queue);
            outputs.insert(name.clone(), ToStages { files, leaving });
            // One place is enough, because transforming is faster than reading. Chunks that wait for the store wait as
            // rows.
            let (chunks_in, chunks_out) = mpsc::channel(1);
            stages.spawn(self.read(pipeline, feed).run(files_to_read, chunks_in));
            chunks.push(chunks_out);
        }
        let discover = Discover::new(
            intakes,
            (Arc::clone(&pipeline.store), backoff),
            pipeline.mode,
            Arc::clone(&pipeline.stats),
            Arc::clone(&pipeline.observer),
            pipeline.intake.clone(),
        );
        stages.spawn(discover.run(scope, known, outputs, (finished, left)));
        let finished = feeds.iter().map(|(feed, _)| (feed.clone(), finished_in.clone())).collect();
        Started { chunks, finished, handover: Handover { feeds: feeds.map(|_| ()), to } }
    }

    fn identify<S, P, I: Source>(
        &self,
        pipeline: &Pipeline<S, P>,
        feed: &FeedInput<I>,
        scope: &Scope,
        backoff: Backoff,
    ) -> Identify<S, I> {
        Identify {
            store: Arc::clone(&pipeline.store),
            plan: Arc::clone(&feed.plan),
            inbox: feed.source.clone(),
            backoff,
            max_record_bytes: pipeline.config.limits.max_record_bytes.0,
            checkpoints: Arc::clone(&self.checkpoints),
            tails: Tails::new(&feed.settings, scope),
            mode: pipeline.mode,
            open_files: feed.settings.open_files,
            after: feed.settings.after,
            on_replace: feed.settings.on_replace,
            compare_wait: *pipeline.config.limits.compare_wait,
            replacements: Arc::clone(&pipeline.replacements),
            started: self.started,
        }
    }

    fn read<S, P, I>(&self, pipeline: &Pipeline<S, P>, feed: &FeedInput<I>) -> Read<S> {
        Read {
            store: Arc::clone(&pipeline.store),
            backoff: self.waits(&self.kill, Stage::Read),
            heartbeat: Arc::clone(&self.heartbeat),
            write: pipeline.config.write.clone(),
            files_at_once: feed.settings.files_at_once,
            checkpoints: Arc::clone(&self.checkpoints),
            buffers: Arc::clone(&self.buffers),
            stop: self.halt.clone(),
        }
    }

    fn retire<S: Store, P, I: Source>(
        &self,
        pipeline: &Pipeline<S, P>,
        feed: &FeedInput<I>,
        rest: Duration,
    ) -> Option<RetireStage<S, I>> {
        RetireStage::new(
            &feed.settings,
            feed.source.clone(),
            rest,
            (Arc::clone(&pipeline.store), Arc::clone(&feed.plan)),
            // The retire stage has no pulse of its own, because it runs beside the data path.
            self.waits_with(&self.halt, Pulse::default()),
            (Arc::clone(&pipeline.stats), self.halt.clone()),
        )
    }
}

/// Returns how long a file must have been unchanged before it may leave the inbox.
fn rest(settings: &SourceConfig, scope: &Scope) -> Duration {
    match scope {
        Scope::Watch => (*settings.settle).max(discover::TRUSTED_AFTER),
        Scope::Once(_) | Scope::These(_) => Duration::ZERO,
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
