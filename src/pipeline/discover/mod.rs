//! The first stage: watches the inbox, waits until files are complete, identifies them and takes them up.
//!
//! On stop, this stage takes up no more files.

pub mod identify;
mod adopt;
mod file_cache;
mod ready_queue;
mod scan;
mod retirement;
mod settle_tails;
pub mod tail_policy;
mod leaving;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use identify::{Identified, Identify, IdentifyError};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::domain::ledger::{Amendment, KnownPath};
use crate::domain::text::one_line;
use crate::domain::{DeliveryId, DeliveryState, FileStat};
use crate::metrics::{Queue, Stage};
use crate::pipeline::discover::file_cache::FileCache;
use crate::pipeline::discover::ready_queue::{Candidate, ReadyQueue};
use crate::pipeline::discover::retirement::Out;
pub use crate::pipeline::header_probe::TRUSTED_AFTER;
use crate::pipeline::header_probe::trusted;
use crate::pipeline::messages::{Finished, Left, LoadMode, Scope, Work};
use crate::pipeline::observer::PipelineObserver;
use crate::pipeline::run_stats::RunStats;
use crate::source::folder::inbox::Found;
use crate::source::folder::move_or_delete::Leaving;
use crate::source::folder::watch::{Signal, Watch};
use crate::store::{Store, StoreError, failpoint};
use crate::{config, metrics};

/// The discover stage.
pub struct Discover<S> {
    identify: Identify<S>,
    source: config::SourceConfig,
    files_under_way: usize,
    tally: Arc<RunStats>,
    observer: Arc<dyn PipelineObserver>,
    stop: CancellationToken,
    waiting: ReadyQueue,
    known: FileCache,
    /// Files that were taken up and have not ended.
    under_way: HashMap<Arc<str>, UnderWay>,
    /// Files that changed while they were under way, and whether their writer closed them since.
    again: HashMap<Arc<str>, bool>,
    /// Files that could not be read, and the earliest time to try again. The second listing after the failure is always
    /// late enough.
    unreadable: HashMap<Arc<str>, Instant>,
    /// Whether the run is a single pass over the existing files.
    single: bool,
    /// Sets of ignored columns that were already logged.
    told: HashSet<Vec<String>>,
    out: Out,
    /// Whether the last listing of the folder failed.
    absent: bool,
    /// Whether the system sends no events for the folder.
    unwatched: bool,
    /// When to list the folder again after an unclear event.
    relist_at: Option<Instant>,
}

/// A file that was taken up.
struct UnderWay {
    id: DeliveryId,
    /// The size and times when the file was opened.
    noted: FileStat,
    strikes: u32,
}

/// How often a missing folder is looked for.
const ABSENT: Duration = Duration::from_secs(1);

/// How often the backlog is measured. Measuring takes a moment when 100,000 files wait.
const MEASURE: Duration = Duration::from_millis(250);

/// The maximum number of ignored columns that are logged, and the maximum length of their names together. A header may
/// have thousands of columns.
const SAID: usize = 20;
const LINE: usize = 1000;

/// The maximum number of different sets of ignored columns that are remembered. Each set may come from a header of 64
/// KiB.
const TOLD: usize = 16;

impl<S: Store> Discover<S> {
    pub fn new(
        identify: Identify<S>,
        source: config::SourceConfig,
        files_under_way: usize,
        rest: Option<Duration>,
        tally: Arc<RunStats>,
        observer: Arc<dyn PipelineObserver>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            identify,
            source,
            files_under_way,
            tally,
            observer,
            stop,
            waiting: ReadyQueue::default(),
            known: FileCache::default(),
            under_way: HashMap::new(),
            again: HashMap::new(),
            unreadable: HashMap::new(),
            single: false,
            told: HashSet::new(),
            out: Out::new(rest),
            absent: false,
            unwatched: false,
            relist_at: None,
        }
    }

    /// Discovers files until the stage is stopped, or until all given files have ended.
    ///
    /// # Errors
    /// Returns an error if the store no longer answers.
    pub async fn run(
        mut self,
        scope: Scope,
        files: Sender<Work>,
        finished: Receiver<Finished>,
        (leaving, left): (Sender<Leaving>, Receiver<Left>),
    ) -> Result<(), StoreError> {
        let attempt = &self.identify.plan.attempt;
        let known = || self.identify.store.known(attempt.clone());
        let mut all = self.identify.patience.with(known).await?;
        if self.settle_tails(&all).await? {
            all = self.identify.patience.with(known).await?;
        }
        let known = all;
        if !matches!(scope, Scope::These(_)) {
            self.close_gone(&known).await?;
        }
        metrics::begins(known.iter().map(|path| path.open).sum());
        self.known.learn(known);
        match scope {
            Scope::Watch => self.watch(files, finished, leaving, left).await,
            Scope::Once(found) | Scope::These(found) => {
                self.once(found, files, finished, leaving, left).await
            }
        }
    }

    /// Closes deliveries that an earlier process left unfinished and whose file no longer exists, because they would
    /// never end. If the file comes back, the delivery resumes.
    async fn close_gone(&self, known: &[KnownPath]) -> Result<(), StoreError> {
        let unfinished = known
            .iter()
            .filter(|path| matches!(path.state, DeliveryState::Loading | DeliveryState::Incomplete));
        for path in unfinished {
            if self.identify.inbox.place(&path.path).try_exists().unwrap_or(true) {
                continue;
            }
            self.gone(path.id, &path.path).await?;
        }
        Ok(())
    }

    async fn gone(&self, id: DeliveryId, path: &str) -> Result<(), StoreError> {
        warn!(file = path, "went away before the end; it reaches as far as its receipt says");
        self.replaced(id, "its file went away before the end").await
    }

    async fn once(
        &mut self,
        found: Vec<Found>,
        files: Sender<Work>,
        mut finished: Receiver<Finished>,
        leaving: Sender<Leaving>,
        mut left: Receiver<Left>,
    ) -> Result<(), StoreError> {
        self.single = true;
        for file in found {
            if self.identify.taking == LoadMode::Again || !self.is_known(&file) {
                self.waiting.ready(file, true);
            } else {
                self.tally.passed(file.noted.size);
                self.listed(&file);
            }
        }
        while !(self.waiting.is_empty() && self.under_way.is_empty() && self.out.is_over()) {
            let may_take = self.may_take();
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(done) = finished.recv() => self.finished(&done).await?,
                Some(left) = left.recv() => self.left(&left),
                Ok(permit) = leaving.reserve(), if self.out.has_ready() => {
                    if let Some(file) = self.leaving() { permit.send(file) }
                }
                permit = files.reserve(), if may_take => match permit {
                    Ok(permit) => if let Some(work) = self.take_next(false).await? { permit.send(work) },
                    Err(_) => break,
                },
                else => break,
            }
        }
        Ok(())
    }

    async fn watch(
        &mut self,
        files: Sender<Work>,
        mut finished: Receiver<Finished>,
        leaving: Sender<Leaving>,
        mut left: Receiver<Left>,
    ) -> Result<(), StoreError> {
        // The watch begins before the first listing, so that no file is missed between the two.
        let mut watch = self.begin_watch();
        let mut measure = tokio::time::interval(MEASURE);
        measure.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(*self.source.poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let (may_take, due) = (self.may_take(), self.waiting.next_due());
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.identify.patience.pulse.asked() => self.identify.patience.pulse.answer(),
                _ = measure.tick() => {
                    Queue::Files.depth(files.max_capacity() - files.capacity());
                    self.measure(None);
                }
                Some(done) = finished.recv() => self.finished(&done).await?,
                Some(left) = left.recv() => self.left(&left),
                () = until(self.out.next_due()) => self.rested(),
                Ok(permit) = leaving.reserve(), if self.out.has_ready() => {
                    if let Some(file) = self.leaving() { permit.send(file) }
                }
                signal = next(&mut watch) => self.signal(signal).await?,
                () = until(due) => self.waiting.settled(),
                () = tokio::time::sleep(ABSENT), if self.absent => self.relist(&mut watch).await?,
                () = until(self.relist_at) => self.list().await?,
                _ = poll.tick() => self.relist(&mut watch).await?,
                permit = files.reserve(), if may_take => match permit {
                    Ok(permit) => if let Some(work) = self.take_next(true).await? { permit.send(work) },
                    Err(_) => return Ok(()),
                },
            }
            if watch.as_ref().is_some_and(Watch::has_overflowed) {
                self.list().await?;
            }
        }
    }

    /// Reports the backlog to metrics and observer. `taken` is a file that left the queue and is not under way yet.
    fn measure(&self, taken: Option<&Candidate>) {
        let (failed, incomplete) = self.known.open();
        metrics::files_open(failed, incomplete, self.unreadable.len());
        let under_way = self.under_way.values().map(|file| file.noted.size);
        self.observer.files_wait(self.waiting.measure(taken, self.under_way.len(), under_way.sum()));
    }

    /// Reports the backlog while a file is identified. If the store is away, identifying takes as long as the outage,
    /// and the file counts as waiting.
    async fn measured<T>(&self, candidate: &Candidate, identified: impl Future<Output = T>) -> T {
        let mut identified = std::pin::pin!(identified);
        loop {
            tokio::select! {
                done = &mut identified => return done,
                () = tokio::time::sleep(MEASURE) => self.measure(Some(candidate)),
            }
        }
    }

    fn may_take(&self) -> bool {
        self.waiting.has_ready() && self.under_way.len() < self.files_under_way
    }

    /// Identifies the next file. Returns the work to do, if there is any.
    async fn take_next(&mut self, keep_note: bool) -> Result<Option<Work>, StoreError> {
        let Some(candidate) = self.waiting.take() else { return Ok(None) };
        let path = candidate.found.path.clone();
        if self.is_busy(&path) {
            // A listing took up the file before its held tail was due.
            self.again.entry(path).or_insert(candidate.closed);
            return Ok(None);
        }
        let is_known = self.known.has(&path);
        let looks = Stage::Discover.begin();
        failpoint::stuck(Stage::Discover.name()).await;
        // Boxed: the future has tens of kilobytes, and each enclosing future would hold a copy on the stack.
        let identified = Box::pin(self.identify.identify(&candidate, is_known));
        let identified = self.measured(&candidate, identified);
        let work = match self.identify.patience.pulse.during(identified).await {
            Ok(identified) => self.identified(candidate, identified, keep_note).await?,
            Err(IdentifyError::Store(error)) => return Err(error),
            Err(IdentifyError::File(error)) => {
                self.cannot_read(path.clone(), &error);
                None
            }
        };
        looks.end();
        if work.is_none() {
            self.waiting.ended(&path);
        }
        Ok(work)
    }

    async fn identified(
        &mut self,
        candidate: Candidate,
        identified: Identified,
        keep_note: bool,
    ) -> Result<Option<Work>, StoreError> {
        let path = candidate.found.path.clone();
        match identified {
            Identified::Work(work, id, strikes) => {
                let noted = work.noted;
                debug!(file = &*path, "taken up");
                self.tell_ignored(&path, &work.source.mapping.ignored);
                metrics::delivery(DeliveryState::Waiting);
                metrics::delivery(DeliveryState::Loading);
                self.known.begun(&path, noted);
                self.under_way.insert(path, UnderWay { id, noted: work.bytes.file.noted, strikes });
                return Ok(Some(*work));
            }
            Identified::Unchanged(same) => {
                let noted = trusted(candidate.found.noted);
                self.tally.passed(noted.size);
                if keep_note && !same.amendment.is_empty() {
                    self.amend(same.id, same.amendment).await?;
                }
                let whole = matches!(same.state, DeliveryState::Loaded | DeliveryState::Duplicate);
                self.known.done(&path, noted, whole);
                if let Some(strikes) = same.held {
                    self.hold(&path, strikes);
                }
                if whole && same.verified {
                    self.compared(&Found { path, noted: same.noted });
                }
            }
            Identified::HeaderWaits => self.header_waits(&candidate.found),
            Identified::Entered(id, state, detail) => self.entered(&candidate.found, id, state, &detail),
            Identified::Assumed(delivery) => {
                self.tally.assumed(&delivery);
                self.entered(&candidate.found, delivery.id, delivery.state, &delivery.detail);
            }
            Identified::Behind(_, other)
                if self.under_way.contains_key(other.as_str()) || self.waiting.holds(&other) =>
            {
                self.waiting.wait_for(other.into(), candidate);
            }
            Identified::Behind(id, other) => self.left_behind(id, &other, candidate).await?,
        }
        Ok(None)
    }

    fn header_waits(&self, Found { path, noted }: &Found) {
        info!(file = &**path, "waiting: its header is not whole yet");
        metrics::delivery(DeliveryState::Waiting);
        self.tally.delivery(DeliveryState::Waiting);
        self.tally.passed(noted.size);
    }

    /// Notes that a file was entered into the ledger without anything to read.
    fn entered(&mut self, Found { path, noted }: &Found, id: DeliveryId, state: DeliveryState, detail: &str) {
        if state == DeliveryState::Failed {
            warn!(file = &**path, "failed: {}", one_line(detail));
        } else {
            info!(file = &**path, "{state}: {detail}");
        }
        metrics::delivery(state);
        self.tally.delivery(state);
        self.tally.passed(noted.size);
        let whole = matches!(state, DeliveryState::Duplicate | DeliveryState::Loaded);
        let noted = if whole && self.out.is_wanted() { trusted(*noted) } else { *noted };
        self.known.done(path, noted, whole);
        self.known.ended(path, id, state);
        self.may_leave(path);
    }

    /// Logs ignored columns once for all files with the same columns.
    fn tell_ignored(&mut self, file: &str, ignored: &[String]) {
        if ignored.is_empty() || self.told.contains(ignored) {
            return;
        }
        if self.told.len() == TOLD {
            self.told.clear();
        }
        self.told.insert(ignored.to_vec());
        let first: Vec<&str> = ignored.iter().take(SAID).map(String::as_str).collect();
        let more = ignored.len() - first.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names: String = one_line(&first.join(", ")).chars().take(LINE).collect();
        info!(file, "columns that source.columns does not name are ignored: {names}{more}");
    }

    /// Handles a file that begins like a delivery of an earlier process. If the file of that delivery still exists, it
    /// is taken up first.
    async fn left_behind(
        &mut self,
        id: DeliveryId,
        other: &str,
        candidate: Candidate,
    ) -> Result<(), StoreError> {
        match self.identify.inbox.look(&self.identify.inbox.place(other)) {
            Some(_) if self.unreadable.contains_key(other) => {
                let error = format!("it begins like {other}, which cannot be read");
                self.cannot_read(candidate.found.path, &std::io::Error::other(error));
            }
            Some(file) => {
                self.waiting.wait_for(Arc::clone(&file.path), candidate);
                self.waiting.ready(file, false);
            }
            None => {
                let detail = "its file went away before the end; the same bytes came under another name";
                self.replaced(id, detail).await?;
                self.waiting.ready(candidate.found, candidate.closed);
            }
        }
        Ok(())
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.identify.patience.with(|| self.identify.store.amend(id, amendment.clone())).await
    }

    async fn replaced(&self, id: DeliveryId, detail: &str) -> Result<(), StoreError> {
        metrics::delivery(DeliveryState::Replaced);
        self.tally.delivery(DeliveryState::Replaced);
        let state = Some((DeliveryState::Replaced, detail.to_owned()));
        self.amend(id, Amendment { state, ..Amendment::default() }).await
    }

    fn cannot_read(&mut self, path: Arc<str>, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::NotFound {
            debug!(file = &*path, "gone before it was read");
            return self.waiting.forget(&path);
        }
        metrics::unreadable();
        self.tally.unreadable.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.unreadable.insert(Arc::clone(&path), Instant::now() + *self.source.poll).is_none() {
            warn!(file = &*path, "cannot be read: {error}; make it readable, it is tried again");
        }
    }

    async fn finished(&mut self, done: &Finished) -> Result<(), StoreError> {
        let (path, under_way) = match self.under_way.remove_entry(done.path.as_str()) {
            Some((path, under_way)) => (path, Some(under_way)),
            None => (Arc::from(done.path.as_str()), None),
        };
        self.waiting.ended(&path);
        self.known.ended(&path, done.id, done.state);
        if done.state == DeliveryState::Loading {
            self.again.remove(&path);
            self.cannot_read(path, &std::io::Error::other(done.detail.clone()));
            return Ok(());
        }
        self.unreadable.remove(&path);
        if done.state == DeliveryState::Failed
            && let Some(UnderWay { id, noted, .. }) = &under_way
        {
            self.rest(*id, *noted, &path).await?;
        }
        self.changed_meanwhile(done).await?;
        if let Some(file) = under_way.filter(|_| done.held) {
            self.hold(&path, file.strikes);
        }
        self.may_leave(&path);
        Ok(())
    }

    /// Handles a file that changed or was removed while it was under way.
    async fn changed_meanwhile(&mut self, done: &Finished) -> Result<(), StoreError> {
        let replaced = done.state == DeliveryState::Replaced;
        if replaced {
            // There is no later pass, so the file is taken as complete.
            self.again.entry(done.path.as_str().into()).or_insert(self.single);
        }
        let is_there = self.identify.inbox.look(&self.identify.inbox.place(&done.path)).is_some();
        if done.state == DeliveryState::Loaded && !is_there {
            let state =
                Some((DeliveryState::Loaded, "its file was gone when all of it was loaded".to_owned()));
            self.amend(done.id, Amendment { state, ..Amendment::default() }).await?;
        }
        self.look_again(&done.path);
        Ok(())
    }

    /// Queues a file again if it changed while it was under way.
    fn look_again(&mut self, path: &str) {
        let again = self.again.remove(path);
        let file = again.and_then(|_| self.identify.inbox.look(&self.identify.inbox.place(path)));
        match (file, again) {
            (Some(file), Some(true)) => self.offer(file, true),
            (Some(file), _) => self.settle(file),
            _ => {}
        }
    }

    /// Notes the size and times of a failed file, so that it is not looked at again until they change. Otherwise it
    /// would fail again, as a new generation, at every listing.
    async fn rest(&mut self, id: DeliveryId, noted: FileStat, path: &Arc<str>) -> Result<(), StoreError> {
        let amendment = Amendment { noted: Some(noted), ..Amendment::default() };
        self.amend(id, amendment).await?;
        self.known.done(path, noted, false);
        Ok(())
    }
}

/// Returns the next event. Never completes without a watch.
async fn next(watch: &mut Option<Watch>) -> Signal {
    match watch {
        Some(watch) => match watch.signals.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
