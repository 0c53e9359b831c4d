//! The first stage: watches the inbox, waits until files are whole, identifies them, takes them up.
//!
//! The only stage that hears "stop".

pub mod begun;
pub mod identify;
pub mod inbox;
pub(super) mod opened;
mod waiting;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::read::Work;
use super::tally::Tally;
use super::write::Finished;
use crate::config;
use crate::domain::text::one_line;
use crate::domain::{DeliveryId, Fingerprint, Noted, State};
use crate::health::Health;
use crate::ledger::{Amendment, Known};
use crate::metrics;
use crate::store::{Store, StoreError};
use identify::{Identified, Identify, IdentifyError};
use inbox::Found;
use waiting::{Candidate, Waiting};
use watch::{Signal, Watch};

/// What is to be discovered.
#[derive(Clone, Debug)]
pub enum Scope {
    /// The folder, from now on.
    Watch,
    /// All that is in the folder, once, each file taken as whole.
    Once(Vec<Found>),
    /// These files only, once, each taken as whole.
    These(Vec<Found>),
}

impl Scope {
    /// Bytes of its files as they lie there.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Watch => 0,
            Self::Once(found) | Self::These(found) => found.iter().map(|file| file.noted.size).sum(),
        }
    }
}

/// The stage.
pub struct Discover<S> {
    identify: Identify<S>,
    source: config::Source,
    files_under_way: usize,
    tally: Arc<Tally>,
    health: Arc<Health>,
    stop: CancellationToken,
    waiting: Waiting,
    /// What is known of each path; equal size and times need no second look.
    known: HashMap<String, Glance>,
    /// Files that were taken up and have not ended, as they were when they were opened.
    under_way: HashMap<String, (DeliveryId, Noted)>,
    /// Files that changed while they were under way, and whether they are whole.
    again: HashMap<String, bool>,
    /// Files that could not be read, and when to try again.
    unreadable: HashMap<String, Instant>,
    /// Columns that were said to be ignored.
    told: HashSet<Vec<String>>,
    /// The folder could not be listed.
    absent: bool,
    /// There are no events from the system.
    unwatched: bool,
    /// When to list again, behind an event that told too little.
    relist_at: Option<Instant>,
}

/// What is kept of a path in memory.
#[derive(Clone, Copy, Debug)]
struct Glance {
    noted: Noted,
    /// Whether there is nothing to do as long as size and times stay the same.
    done: bool,
}

/// How often a folder that is not there is looked for.
const ABSENT: Duration = Duration::from_secs(1);

/// How long after an unclear event the folder is listed again.
const RELIST: Duration = Duration::from_millis(500);

/// How often the backlog is measured: with 100,000 files waiting it takes a moment.
const MEASURE: Duration = Duration::from_millis(250);

/// Different sets of ignored columns that are remembered: a header is at most 64 KiB.
const TOLD: usize = 16;

/// How long an unreadable file is left alone.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(30);

impl<S: Store> Discover<S> {
    pub fn new(
        identify: Identify<S>,
        source: config::Source,
        queue: usize,
        tally: Arc<Tally>,
        health: Arc<Health>,
        stop: CancellationToken,
    ) -> Self {
        let files_under_way = source.files_at_once + queue;
        Self {
            identify,
            source,
            files_under_way,
            tally,
            health,
            stop,
            waiting: Waiting::default(),
            known: HashMap::new(),
            under_way: HashMap::new(),
            again: HashMap::new(),
            unreadable: HashMap::new(),
            told: HashSet::new(),
            absent: false,
            unwatched: false,
            relist_at: None,
        }
    }

    /// Discovers until it is stopped, or until all given files have ended.
    ///
    /// # Errors
    /// When the store does not answer any more.
    pub async fn run(
        mut self,
        scope: Scope,
        files: Sender<Work>,
        finished: Receiver<Finished>,
    ) -> Result<(), StoreError> {
        let known = self.identify.patience.with(|| self.identify.store.known()).await?;
        if !matches!(scope, Scope::These(_)) {
            self.close_gone(&known).await?;
        }
        self.learn(known);
        match scope {
            Scope::Watch => self.watch(files, finished).await,
            Scope::Once(found) | Scope::These(found) => self.once(found, files, finished).await,
        }
    }

    fn learn(&mut self, known: Vec<Known>) {
        let attempt: Fingerprint = self.identify.plan.attempt.clone();
        for path in known {
            let done = match path.state {
                State::Loaded | State::Duplicate | State::Incomplete | State::Undone => true,
                // Tried again when the configuration changes.
                State::Failed => path.attempt == attempt,
                // What was replaced may be back, and goes on then.
                State::Waiting | State::Loading | State::Replaced => false,
            };
            self.known.insert(path.path, Glance { noted: path.noted, done });
        }
    }

    /// Deliveries that an earlier process left unfinished and whose file is gone will not end by
    /// themselves. Should it come back, it goes on where it stood.
    async fn close_gone(&self, known: &[Known]) -> Result<(), StoreError> {
        let unfinished = known.iter().filter(|path| matches!(path.state, State::Loading | State::Incomplete));
        for path in unfinished {
            if self.identify.inbox.place(&path.path).try_exists().unwrap_or(true) {
                continue;
            }
            warn!(file = path.path, "went away before the end; it reaches as far as its receipt says");
            self.replaced(path.id, "its file went away before the end").await?;
        }
        Ok(())
    }

    async fn once(
        &mut self,
        found: Vec<Found>,
        files: Sender<Work>,
        mut finished: Receiver<Finished>,
    ) -> Result<(), StoreError> {
        for file in found {
            if self.identify.again || !self.is_known(&file) {
                self.waiting.ready(file, true);
            }
        }
        while !(self.waiting.is_empty() && self.under_way.is_empty()) {
            let may_take = self.may_take();
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(done) = finished.recv() => self.finished(&done).await?,
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
    ) -> Result<(), StoreError> {
        // Watched first and listed then, so that nothing falls between the two.
        let mut watch = self.begin_watch();
        let mut measure = tokio::time::interval(MEASURE);
        measure.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(*self.source.poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let (may_take, due) = (self.may_take(), self.waiting.next_due());
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                _ = measure.tick() => self.measure(&files),
                Some(done) = finished.recv() => self.finished(&done).await?,
                signal = next(&mut watch) => self.signal(signal),
                () = until(due) => self.waiting.settled(),
                () = tokio::time::sleep(ABSENT), if self.absent => self.relist(&mut watch),
                () = until(self.relist_at) => self.list(),
                _ = poll.tick() => self.relist(&mut watch),
                permit = files.reserve(), if may_take => match permit {
                    Ok(permit) => if let Some(work) = self.take_next(true).await? { permit.send(work) },
                    Err(_) => return Ok(()),
                },
            }
            if watch.as_ref().is_some_and(Watch::has_overflowed) {
                self.list();
            }
        }
    }

    /// Lists the folder, and watches it anew where it is another one than before.
    fn relist(&mut self, watch: &mut Option<Watch>) {
        if !watch.as_ref().is_some_and(|watch| watch.is_on(&self.identify.inbox.folder)) {
            *watch = None;
            *watch = self.begin_watch();
        }
        self.list();
    }

    fn measure(&self, files: &Sender<Work>) {
        metrics::queue("files", files.max_capacity() - files.capacity());
        self.waiting
            .measure(self.under_way.len(), self.under_way.values().map(|(_, noted)| noted.size).sum());
    }

    fn begin_watch(&mut self) -> Option<Watch> {
        let folder = self.identify.inbox.folder.display();
        match Watch::begin(&self.identify.inbox) {
            Ok(watch) => {
                self.unwatched = false;
                Some(watch)
            }
            // Said once: what matters is that polling goes on.
            Err(_) if self.unwatched => None,
            Err(error) => {
                let poll = humantime::format_duration(*self.source.poll);
                warn!(%folder, "no events from the system ({error}); the folder is listed every {poll}");
                self.unwatched = true;
                None
            }
        }
    }

    fn may_take(&self) -> bool {
        self.waiting.has_ready() && self.under_way.len() < self.files_under_way
    }

    /// Lists the folder, which may not be there.
    fn list(&mut self) {
        self.relist_at = None;
        let listed = self.identify.inbox.list();
        self.health.folder(listed.is_ok());
        let was_absent = std::mem::replace(&mut self.absent, listed.is_err());
        let folder = self.identify.inbox.folder.display();
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                if !was_absent {
                    warn!(%folder, "cannot be listed: {error}; waiting for it");
                }
                return;
            }
        };
        if was_absent {
            info!(%folder, "is there again");
        }
        let now = std::time::SystemTime::now();
        for file in listed.into_iter().filter(|file| !self.is_known(file)).collect::<Vec<_>>() {
            // Files that were there before anybody watched are whole when they have been quiet.
            let changed = std::time::UNIX_EPOCH
                + Duration::from_nanos(file.noted.ctime.max(file.noted.mtime).try_into().unwrap_or(0));
            let quiet = now.duration_since(changed).unwrap_or_default() >= *self.source.settle;
            if quiet && self.is_loaded(&file) {
                self.waiting.check(file);
            } else if quiet {
                self.offer(file);
            } else {
                self.settle(file);
            }
        }
    }

    fn is_known(&self, file: &Found) -> bool {
        let waits = self.unreadable.get(&file.path).is_some_and(|until| *until > Instant::now());
        waits || self.known.get(&file.path).is_some_and(|known| known.done && known.noted == file.noted)
    }

    /// Whether it only has to be looked at again because its time was too young.
    fn is_loaded(&self, file: &Found) -> bool {
        self.known.get(&file.path).is_some_and(|known| {
            let (noted, found) = (known.noted, file.noted);
            known.done && noted.ctime == 0 && (noted.size, noted.mtime) == (found.size, found.mtime)
        })
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Unclear => {
                self.list();
                // A folder that was just made is watched a moment after it is told of.
                self.relist_at = Some(Instant::now() + RELIST);
            }
            Signal::Whole(place) => {
                if let Some(file) = self.identify.inbox.look(&place) {
                    self.unreadable.remove(&file.path);
                    self.offer(file);
                }
            }
            Signal::Changing(place) => {
                if let Some(file) = self.identify.inbox.look(&place) {
                    self.settle(file);
                }
            }
        }
    }

    fn offer(&mut self, file: Found) {
        if self.under_way.contains_key(&file.path) {
            self.again.insert(file.path, true);
        } else if !self.is_known(&file) {
            self.waiting.ready(file, true);
        }
    }

    fn settle(&mut self, file: Found) {
        if self.under_way.contains_key(&file.path) {
            self.again.insert(file.path, false);
        } else if !self.is_known(&file) {
            self.waiting.settle(file, *self.source.settle);
        }
    }

    /// Identifies the next file; the work it makes, if any.
    async fn take_next(&mut self, keep_note: bool) -> Result<Option<Work>, StoreError> {
        let Some(candidate) = self.waiting.take() else { return Ok(None) };
        let path = candidate.found.path.clone();
        let work = match self.identify.identify(&candidate).await {
            Ok(identified) => self.identified(candidate, identified, keep_note).await?,
            Err(IdentifyError::Store(error)) => return Err(error),
            Err(IdentifyError::File(error)) => {
                self.cannot_read(path.clone(), &error);
                None
            }
        };
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
            Identified::Work(work, id) => {
                let noted = work.noted;
                debug!(file = path, "taken up");
                self.tell_ignored(&path, &work.source.mapping.ignored);
                metrics::delivery(State::Waiting);
                metrics::delivery(State::Loading);
                self.known.insert(path.clone(), Glance { noted, done: false });
                self.under_way.insert(path, (id, work.bytes.noted));
                return Ok(Some(*work));
            }
            Identified::Unchanged(id, amendment) => {
                let noted = opened::trusted(candidate.found.noted);
                if keep_note && !amendment.is_empty() {
                    self.amend(id, amendment).await?;
                }
                self.known.insert(path, Glance { noted, done: true });
            }
            Identified::Entered(state, detail) => {
                if state == State::Failed {
                    warn!(file = path, "failed: {}", one_line(&detail));
                } else {
                    info!(file = path, "{state}: {detail}");
                }
                metrics::delivery(state);
                self.tally.delivery(state);
                // Half a header is no delivery yet: it is looked at again.
                if state != State::Waiting {
                    self.known.insert(path, Glance { noted: candidate.found.noted, done: true });
                }
            }
            Identified::Behind(_, other)
                if self.under_way.contains_key(&other) || self.waiting.holds(&other) =>
            {
                self.waiting.wait_for(other, candidate);
            }
            Identified::Behind(id, other) => self.left_behind(id, &other, candidate).await?,
        }
        Ok(None)
    }

    /// Columns that are not read are said once, not of each file of the same shape.
    fn tell_ignored(&mut self, file: &str, ignored: &[String]) {
        if ignored.is_empty() || self.told.contains(ignored) {
            return;
        }
        if self.told.len() == TOLD {
            self.told.clear();
        }
        self.told.insert(ignored.to_vec());
        let names = one_line(&ignored.join(", "));
        info!(file, "columns that source.columns does not name are ignored: {names}");
    }

    /// The other delivery was begun by an earlier process. Where its file still is, it goes first.
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
                self.waiting.ready(file, true);
                self.waiting.wait_for(other.to_owned(), candidate);
            }
            None => {
                let detail = "its file went away before the end; the same bytes came under another name";
                self.replaced(id, detail).await?;
                self.waiting.ready(candidate.found, candidate.complete);
            }
        }
        Ok(())
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.identify.patience.with(|| self.identify.store.amend(id, amendment.clone())).await
    }

    async fn replaced(&self, id: DeliveryId, detail: &str) -> Result<(), StoreError> {
        metrics::delivery(State::Replaced);
        self.tally.delivery(State::Replaced);
        let state = Some((State::Replaced, detail.to_owned()));
        self.amend(id, Amendment { state, ..Amendment::default() }).await
    }

    fn cannot_read(&mut self, path: String, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::NotFound {
            debug!(file = path, "gone before it was read");
            return self.waiting.forget(&path);
        }
        metrics::unreadable();
        self.tally.unreadable.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.unreadable.insert(path.clone(), Instant::now() + UNREADABLE_PAUSE).is_none() {
            warn!(file = path, "cannot be read: {error}; make it readable, it is tried again");
        }
    }

    async fn finished(&mut self, done: &Finished) -> Result<(), StoreError> {
        let under_way = self.under_way.remove(&done.path);
        self.unreadable.remove(&done.path);
        self.waiting.ended(&done.path);
        if let Some(known) = self.known.get_mut(&done.path) {
            known.done = true;
        }
        if done.state == State::Failed
            && let Some((id, noted)) = under_way
        {
            self.rest(id, noted, &done.path).await?;
        }
        let again = self.again.remove(&done.path);
        let file = again.and_then(|_| self.identify.inbox.look(&self.identify.inbox.place(&done.path)));
        match (file, again) {
            (Some(file), Some(true)) => self.offer(file),
            (Some(file), _) => self.settle(file),
            _ => {}
        }
        Ok(())
    }

    /// A file that failed is not looked at again until its times change, or it would fail, as a new
    /// generation, at every listing.
    async fn rest(&mut self, id: DeliveryId, noted: Noted, path: &str) -> Result<(), StoreError> {
        let amendment = Amendment { noted: Some(noted), ..Amendment::default() };
        self.amend(id, amendment).await?;
        if let Some(known) = self.known.get_mut(path) {
            known.noted = noted;
        }
        Ok(())
    }
}

/// The next event; never, where there is no watch.
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
