//! The first stage: watches the inbox, waits until files are complete, identifies them and takes them up.
//!
//! On stop, this stage takes up no more files.

pub mod opening;
pub mod intake;
mod event_loop;
mod scan;
mod files;
mod backlog;
mod take_up;
pub mod identify;
mod adopt;
pub mod tail_policy;
mod ends;
mod leaving;
mod named;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use intake::Intake;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::domain::ledger::KnownFile;
use crate::domain::{Feeds, FileKey};
use crate::metrics::heartbeat::Pulse;
use crate::pipeline::discover::files::Files;
pub use crate::pipeline::header_probe::TRUSTED_AFTER;
use crate::pipeline::messages::{Finished, Left, LoadMode, Scope, ToStages};
use crate::pipeline::observer::PipelineObserver;
use crate::pipeline::run_stats::RunStats;
use crate::source::{Found, Source};
use crate::store::backoff::Backoff;
use crate::store::{Store, StoreError};

/// The discover stage. It discovers the files of one feed, or of several whose files must be taken up in order.
pub struct Discover<S, I> {
    intakes: Feeds<Intake<S, I>>,
    store: Arc<S>,
    backoff: Backoff,
    mode: LoadMode,
    stats: Arc<RunStats>,
    observer: Arc<dyn PipelineObserver>,
    stop: CancellationToken,
    files: Files,
    /// Whether the run is a single pass over the existing files.
    single: bool,
    /// Whether a user named the files.
    named: bool,
    /// Sets of ignored columns that were already logged.
    reported: HashSet<Vec<String>>,
    /// Files of which nothing could be read yet, and which were already logged.
    waiting: HashSet<FileKey>,
}

/// How discovery waits for an inbox, which may never answer.
struct InboxWait {
    pulse: Pulse,
    stop: CancellationToken,
}

impl InboxWait {
    /// Waits for an answer, and tells the watchdog meanwhile that the stage is alive. Returns `None` if the stage is
    /// stopped first.
    async fn answer<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = self.pulse.during(answer) => Some(answer),
            () = self.stop.cancelled() => None,
        }
    }
}

/// The watches on the inboxes, by feed.
type Watches<I> = Feeds<<I as Source>::Events>;

impl<S: Store, I: Source> Discover<S, I> {
    pub fn new(
        intakes: Feeds<Intake<S, I>>,
        (store, backoff): (Arc<S>, Backoff),
        mode: LoadMode,
        stats: Arc<RunStats>,
        observer: Arc<dyn PipelineObserver>,
        stop: CancellationToken,
    ) -> Self {
        let dates = intakes.map(|intake| intake.identify.plan.file_dates);
        Self {
            intakes,
            store,
            backoff,
            mode,
            stats,
            observer,
            stop,
            files: Files::new(Instant::now(), dates),
            single: false,
            named: false,
            reported: HashSet::new(),
            waiting: HashSet::new(),
        }
    }

    /// Discovers files until the stage is stopped, or until all given files have ended. Begins once it has received what
    /// the ledger knows about the files of its feeds.
    ///
    /// # Errors
    /// Returns an error if the store no longer answers.
    pub async fn run(
        mut self,
        scope: Scope,
        known: oneshot::Receiver<Vec<KnownFile>>,
        to: Feeds<ToStages<I::File>>,
        from: (Receiver<Finished>, Receiver<Left>),
    ) -> Result<(), StoreError> {
        // If the ledger cannot be read, the stage that reads it returns the error.
        let Ok(known) = self.backoff.pulse.during(known).await else { return Ok(()) };
        if !matches!(scope, Scope::These(_)) {
            self.close_gone(&known).await?;
        }
        self.add_unsettled(&known);
        self.files.learn(known);
        self.named = matches!(scope, Scope::These(_));
        match scope {
            Scope::Watch => self.watch(to, from).await,
            Scope::Once(found) | Scope::These(found) => self.once(found, to, from).await,
        }
    }

    /// Notes the deliveries that an earlier process loaded and did not compare with the generation that they replace.
    fn add_unsettled(&self, known: &[KnownFile]) {
        for KnownFile { id, file, state, .. } in known.iter().filter(|known| known.replaces) {
            if let Ok(intake) = self.intakes.of(file) {
                intake.identify.replacements.add_unsettled(*id, file, *state);
            }
        }
    }

    /// Returns a file with its current version, or `None` if it cannot be seen, or if the stage is stopped first.
    async fn look(&self, file: &FileKey) -> Option<Found> {
        self.see(file).await.flatten()
    }

    /// Like [`Self::look`], but the outer `None` means that the stage is stopped before the inbox answers.
    async fn see(&self, file: &FileKey) -> Option<Option<Found>> {
        let Ok(intake) = self.intakes.of(file) else { return Some(None) };
        self.waiting_for_inbox().answer(intake.identify.inbox.look(file)).await
    }

    /// Returns how this stage waits for an inbox.
    fn waiting_for_inbox(&self) -> InboxWait {
        InboxWait { pulse: self.backoff.pulse.clone(), stop: self.stop.clone() }
    }

    /// Returns how often the inbox of a file is listed.
    fn poll(&self, file: &FileKey) -> Duration {
        self.intakes.of(file).map_or(Duration::ZERO, |intake| *intake.settings.poll)
    }
}
