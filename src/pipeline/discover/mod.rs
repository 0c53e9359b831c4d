//! The first stage: watches the inbox, waits until files are complete, identifies them and takes them up.
//!
//! On stop, this stage takes up no more files.

pub mod identify;
mod adopt;
mod files;
mod scan;
mod settle_tails;
pub mod tail_policy;
mod leaving;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identify::{Identified, Identify, IdentifyError};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::ledger::{Amendment, KnownFile};
use crate::domain::text::one_line;
use crate::domain::{DeliveryId, DeliveryState, FileKey, FileStat};
use crate::metrics::{Queue, Stage};
use crate::pipeline::discover::files::{Again, Candidate, Files, Loading};
pub use crate::pipeline::header_probe::TRUSTED_AFTER;
use crate::pipeline::header_probe::trusted;
use crate::pipeline::messages::{Finished, Left, LoadMode, Scope, Work};
use crate::pipeline::observer::PipelineObserver;
use crate::pipeline::run_stats::RunStats;
use crate::source::{Events, Found, Signal, Source, SourceFile};
use crate::store::{Store, StoreError, failpoint};
use crate::{config, metrics};

/// The discover stage.
pub struct Discover<S, I> {
    identify: Identify<S, I>,
    source: config::SourceConfig,
    files_under_way: usize,
    stats: Arc<RunStats>,
    observer: Arc<dyn PipelineObserver>,
    stop: CancellationToken,
    files: Files,
    /// How long a file must have been unchanged before it leaves the inbox. `None` if files stay where they are.
    rest: Option<Duration>,
    /// Whether the run is a single pass over the existing files.
    single: bool,
    /// Sets of ignored columns that were already logged.
    reported: HashSet<Vec<String>>,
    /// Whether the last listing of the folder failed.
    absent: bool,
    /// Whether the system sends no events for the folder.
    unwatched: bool,
    /// When to list the folder again after an unclear event.
    relist_at: Option<Instant>,
}

/// How often a missing folder is looked for.
const ABSENT: Duration = Duration::from_secs(1);

/// How often the backlog is measured. Measuring takes a moment when 100,000 files wait.
const MEASURE: Duration = Duration::from_millis(250);

/// The maximum number of ignored columns that are logged, and the maximum length of their names together. A header may
/// have thousands of columns.
const NAMED: usize = 20;
const LINE: usize = 1000;

/// The maximum number of different sets of ignored columns that are remembered. Each set may come from a header of 64
/// KiB.
const REPORTED: usize = 16;

impl<S: Store, I: Source> Discover<S, I> {
    pub fn new(
        identify: Identify<S, I>,
        source: config::SourceConfig,
        files_under_way: usize,
        rest: Option<Duration>,
        stats: Arc<RunStats>,
        observer: Arc<dyn PipelineObserver>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            identify,
            source,
            files_under_way,
            stats,
            observer,
            stop,
            files: Files::new(Instant::now()),
            rest,
            single: false,
            reported: HashSet::new(),
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
        files: Sender<Work<I::File>>,
        finished: Receiver<Finished>,
        (leaving, left): (Sender<Found>, Receiver<Left>),
    ) -> Result<(), StoreError> {
        let attempt = &self.identify.plan.attempt;
        let known = || self.identify.store.known(attempt.clone());
        let mut all = self.identify.backoff.with(known).await?;
        if self.settle_tails(&all).await? {
            all = self.identify.backoff.with(known).await?;
        }
        let known = all;
        if !matches!(scope, Scope::These(_)) {
            self.close_gone(&known).await?;
        }
        metrics::begins(known.iter().map(|known| known.open).sum());
        self.files.learn(known);
        match scope {
            Scope::Watch => self.watch(files, finished, leaving, left).await,
            Scope::Once(found) | Scope::These(found) => {
                self.once(found, files, finished, leaving, left).await
            }
        }
    }

    /// Returns the known files of the feed that this stage discovers. Other feeds take care of their own.
    fn own<'k>(&self, known: &'k [KnownFile]) -> impl Iterator<Item = &'k KnownFile> {
        known.iter().filter(|known| known.file.is_of(&self.identify.plan.feed))
    }

    /// Closes deliveries of this feed that an earlier process left unfinished and whose file no longer exists, because
    /// they would never end. If the file comes back, the delivery resumes.
    async fn close_gone(&self, known: &[KnownFile]) -> Result<(), StoreError> {
        let unfinished = self
            .own(known)
            .filter(|known| matches!(known.state, DeliveryState::Loading | DeliveryState::Incomplete));
        for known in unfinished {
            if self.identify.inbox.may_exist(&known.file).await {
                continue;
            }
            self.gone(known.id, &known.file).await?;
        }
        Ok(())
    }

    async fn gone(&self, id: DeliveryId, file: &FileKey) -> Result<(), StoreError> {
        warn!(
            file = file.text(),
            "was removed before it was loaded completely; `needledrop receipt` shows how far it was loaded"
        );
        self.replaced(id, "its file was removed before it was loaded completely").await
    }

    async fn once(
        &mut self,
        found: Vec<Found>,
        files: Sender<Work<I::File>>,
        mut finished: Receiver<Finished>,
        leaving: Sender<Found>,
        mut left: Receiver<Left>,
    ) -> Result<(), StoreError> {
        self.single = true;
        for found in found {
            let now = Instant::now();
            if self.identify.mode == LoadMode::Again || !self.files.is_known(&found, now) {
                self.files.queue(found, true, now);
            } else {
                self.stats.passed(found.noted.size);
                self.listed(&found);
            }
        }
        while self.files.totals().active > 0 {
            let may_take = self.may_take();
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(done) = finished.recv() => self.finished(&done).await?,
                Some(left) = left.recv() => self.left(&left).await,
                Ok(permit) = leaving.reserve(), if self.files.has_leavable() => {
                    if let Some(file) = self.files.leave() { permit.send(file) }
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
        files: Sender<Work<I::File>>,
        mut finished: Receiver<Finished>,
        leaving: Sender<Found>,
        mut left: Receiver<Left>,
    ) -> Result<(), StoreError> {
        // The watch begins before the first listing, so that no file is missed between the two.
        let mut watch = self.begin_watch();
        let mut measure = tokio::time::interval(MEASURE);
        measure.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(*self.source.poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let (may_take, due) = (self.may_take(), self.files.next_due());
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.identify.backoff.pulse.asked() => self.identify.backoff.pulse.answer(),
                _ = measure.tick() => {
                    Queue::Files.depth(files.max_capacity() - files.capacity());
                    self.measure();
                }
                Some(done) = finished.recv() => self.finished(&done).await?,
                Some(left) = left.recv() => self.left(&left).await,
                () = until(self.files.next_rest()) => self.rested().await,
                Ok(permit) = leaving.reserve(), if self.files.has_leavable() => {
                    if let Some(file) = self.files.leave() { permit.send(file) }
                }
                signal = next(&mut watch) => self.signal(signal).await?,
                () = until(due) => self.files.settled(Instant::now()),
                () = tokio::time::sleep(ABSENT), if self.absent => self.relist(&mut watch).await?,
                () = until(self.relist_at) => self.list().await?,
                _ = poll.tick() => self.relist(&mut watch).await?,
                permit = files.reserve(), if may_take => match permit {
                    Ok(permit) => if let Some(work) = self.take_next(true).await? { permit.send(work) },
                    Err(_) => return Ok(()),
                },
            }
        }
    }

    /// Reports the backlog to metrics and observer.
    fn measure(&self) {
        let totals = self.files.totals();
        metrics::files_open(totals.failed, totals.incomplete, totals.unreadable);
        metrics::backlog(totals.backlog, totals.backlog_bytes, self.files.oldest(Instant::now()));
        self.observer.files_wait(totals.backlog);
    }

    /// Reports the backlog while a file is identified. If the store is away, identifying takes as long as the outage,
    /// and the file counts as waiting.
    async fn measured<T>(&self, identified: impl Future<Output = T>) -> T {
        let mut identified = std::pin::pin!(identified);
        loop {
            tokio::select! {
                done = &mut identified => return done,
                () = tokio::time::sleep(MEASURE) => self.measure(),
            }
        }
    }

    fn may_take(&self) -> bool {
        self.files.has_ready() && self.files.totals().loading < self.files_under_way
    }

    /// Identifies the next file. Returns the work to do, if there is any.
    async fn take_next(&mut self, keep_note: bool) -> Result<Option<Work<I::File>>, StoreError> {
        let Some(candidate) = self.files.take() else { return Ok(None) };
        let is_known = self.files.has(&candidate.file);
        let looks = Stage::Discover.begin();
        failpoint::stuck(Stage::Discover.name()).await;
        // Boxed: the future has tens of kilobytes, and each enclosing future would hold a copy on the stack.
        let identified = Box::pin(self.identify.identify(&candidate, is_known));
        let work = match self.identify.backoff.pulse.during(self.measured(identified)).await {
            Ok(identified) => self.identified(candidate, identified, keep_note).await?,
            Err(IdentifyError::Store(error)) => return Err(error),
            Err(IdentifyError::File(error)) => {
                self.cannot_read(&candidate.file, &error);
                None
            }
        };
        looks.end();
        Ok(work)
    }

    async fn identified(
        &mut self,
        candidate: Candidate,
        identified: Identified<I::File>,
        keep_note: bool,
    ) -> Result<Option<Work<I::File>>, StoreError> {
        let Candidate { file, queued } = candidate;
        match identified {
            Identified::Work(work, strikes) => {
                self.report_ignored(file.text(), &work.source.mapping.ignored);
                metrics::delivery(DeliveryState::Waiting);
                metrics::delivery(DeliveryState::Loading);
                let loading = Loading { noted: work.bytes.file.noted(), strikes };
                self.files.load(&file, work.noted, loading);
                return Ok(Some(*work));
            }
            Identified::Unchanged(same) => {
                self.stats.passed(queued.noted.size);
                if keep_note && !same.amendment.is_empty() {
                    self.amend(same.id, same.amendment).await?;
                }
                self.files.unchanged(&file, trusted(queued.noted), same.state);
                if let Some(strikes) = same.held {
                    let since = if queued.quiet { queued.since } else { Instant::now() };
                    self.hold(&file, strikes, since).await;
                }
                if same.verified && self.files.is_complete(&file) {
                    self.compared(&Found { file, noted: same.noted });
                }
            }
            Identified::HeaderWaits => self.header_waits(&file, queued.noted),
            Identified::Entered(id, state, detail) => {
                self.entered(&file, queued.noted, id, state, &detail).await;
            }
            Identified::Assumed(delivery) => {
                self.stats.assumed(&delivery);
                self.entered(&file, queued.noted, delivery.id, delivery.state, &delivery.detail).await;
            }
            Identified::Behind(_, other)
                if self.files.is_waiting(&other) || self.files.is_loading(&other) =>
            {
                self.files.wait_behind(&file, other);
            }
            Identified::Behind(id, other) => self.left_behind(id, &other, &file).await?,
        }
        Ok(None)
    }

    fn header_waits(&mut self, file: &FileKey, noted: FileStat) {
        info!(file = file.text(), "waiting: its header is not complete yet; more is expected");
        metrics::delivery(DeliveryState::Waiting);
        self.stats.delivery(DeliveryState::Waiting);
        self.stats.passed(noted.size);
        self.files.put_off(file);
    }

    /// Notes that a file was entered into the ledger without anything to read.
    async fn entered(
        &mut self,
        file: &FileKey,
        noted: FileStat,
        id: DeliveryId,
        state: DeliveryState,
        detail: &str,
    ) {
        if state == DeliveryState::Failed {
            warn!(file = file.text(), "failed: {}", one_line(detail));
        } else {
            info!(file = file.text(), "{state}: {detail}");
        }
        metrics::delivery(state);
        self.stats.delivery(state);
        self.stats.passed(noted.size);
        let is_complete = matches!(state, DeliveryState::Duplicate | DeliveryState::Loaded);
        let noted = if is_complete && self.rest.is_some() { trusted(noted) } else { noted };
        self.files.entered(file, noted, id, state);
        self.may_leave(file).await;
    }

    /// Logs ignored columns once for all files with the same columns.
    fn report_ignored(&mut self, file: &str, ignored: &[String]) {
        if ignored.is_empty() || self.reported.contains(ignored) {
            return;
        }
        if self.reported.len() == REPORTED {
            self.reported.clear();
        }
        self.reported.insert(ignored.to_vec());
        let first: Vec<&str> = ignored.iter().take(NAMED).map(String::as_str).collect();
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
        other: &FileKey,
        file: &FileKey,
    ) -> Result<(), StoreError> {
        match self.identify.inbox.look(other).await {
            Some(_) if self.files.is_unreadable(other) => {
                let error =
                    format!("it begins with the bytes of {other}, which comes first and cannot be read");
                self.cannot_read(file, &std::io::Error::other(error));
            }
            Some(found) => {
                self.files.wait_behind(file, found.file.clone());
                self.files.queue(found, false, Instant::now());
            }
            None => {
                let detail = "its file was removed before it was loaded completely; the same bytes came under \
                              another name";
                self.replaced(id, detail).await?;
                self.files.requeue(file);
            }
        }
        Ok(())
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.identify.backoff.with(|| self.identify.store.amend(id, amendment.clone())).await
    }

    async fn replaced(&self, id: DeliveryId, detail: &str) -> Result<(), StoreError> {
        metrics::delivery(DeliveryState::Replaced);
        self.stats.delivery(DeliveryState::Replaced);
        let state = Some((DeliveryState::Replaced, detail.to_owned()));
        self.amend(id, Amendment { state, ..Amendment::default() }).await
    }

    fn cannot_read(&mut self, file: &FileKey, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::NotFound {
            return self.files.put_off(file);
        }
        metrics::unreadable();
        self.stats.unreadable.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.files.unreadable(file, Instant::now() + *self.source.poll) {
            warn!(
                file = file.text(),
                "cannot be read: {error}; make it readable; needledrop tries again by itself"
            );
        }
    }

    async fn finished(&mut self, done: &Finished) -> Result<(), StoreError> {
        let Finished { id, file, state, .. } = done;
        if *state == DeliveryState::Loading {
            self.cannot_read(file, &std::io::Error::other(done.detail.clone()));
            return Ok(());
        }
        let Some((loading, again)) = self.files.finished(file, *id, *state) else { return Ok(()) };
        if *state == DeliveryState::Failed {
            let amendment = Amendment { noted: Some(loading.noted), ..Amendment::default() };
            self.amend(*id, amendment).await?;
        }
        self.changed_meanwhile(done, again).await?;
        if done.held {
            self.hold(file, loading.strikes, Instant::now()).await;
        }
        self.may_leave(file).await;
        Ok(())
    }

    /// Handles a file that changed or was removed while it was loaded.
    async fn changed_meanwhile(&mut self, done: &Finished, again: Again) -> Result<(), StoreError> {
        let is_there = self.identify.inbox.look(&done.file).await.is_some();
        if done.state == DeliveryState::Loaded && !is_there {
            let state = Some((
                DeliveryState::Loaded,
                "its file was removed while it was being loaded, and all of it was loaded".to_owned(),
            ));
            self.amend(done.id, Amendment { state, ..Amendment::default() }).await?;
        }
        let replaced = done.state == DeliveryState::Replaced;
        // In a single pass, there is no later look, so the file is taken as complete.
        self.look_again(&done.file, again.or(replaced.then_some(self.single))).await;
        Ok(())
    }
}

/// Returns the next event. Never completes without a watch.
async fn next(watch: &mut Option<impl Events>) -> Signal {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
