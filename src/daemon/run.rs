//! Runs and drains the daemon, and starts the tasks and threads around the pipeline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::After;
use crate::daemon::app::{App, AppError};
use crate::daemon::health::Health;
use crate::daemon::idle::Idle;
use crate::daemon::reload::{Requests, rejected};
use crate::daemon::replacement_runner::ReplacementRunner;
use crate::daemon::systemd;
use crate::daemon::verifying::Verifying;
use crate::http::Web;
use crate::jobs::replacement::Extent;
use crate::metrics::Scrape;
use crate::metrics::heartbeat::Pulse;
use crate::pipeline::feed_input::FeedInput;
use crate::pipeline::messages::{Ended, LoadMode, Scope};
use crate::pipeline::run_stats::RunStats;
use crate::store::backend::AnyStore;
use crate::store::backoff::{Backoff, GONE};
use crate::store::observer::StoreObserver;
use crate::store::reader_handle::ReaderHandle;
use crate::store::{Store, StoreError};
use crate::{http, metrics};

/// How often the size of the store is measured and the metrics are maintained.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long the daemon waits at its end for open connections to send their last answer.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A copied file is complete once nothing has written to it for this long.
const COPIED: Duration = Duration::from_secs(2);

/// How long to wait before another attempt to open a store that another process took, or that is missing.
const REOPEN: Duration = Duration::from_secs(1);

/// What the daemon does next.
enum Turn {
    Ended(Ended),
    /// Stand by, because another process writes now.
    StandBy,
    /// The files of the store were removed or replaced. Continue with the new configuration, if there is one.
    StoreGone(Option<Box<App>>),
    /// Continue under this configuration.
    Next(Box<App>),
    /// The store cannot be opened under the current configuration.
    Rejected(StoreError),
}

/// Why a pipeline ended.
enum Then {
    End,
    /// There is a new configuration.
    Next(Box<App>),
    /// Rows of replaced files have to be taken back before more is loaded.
    Mirror,
}

/// The situation in which the store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// The process is starting. If another process holds the store, this process ends.
    First,
    /// Between two configurations. Another process may have taken the store in the meantime; wait for it.
    Again,
    /// The file was removed or replaced. Wait for a file at the path, and do not create one.
    WhenBack,
}

impl App {
    /// Runs the daemon until it is told to stop.
    ///
    /// # Errors
    /// Returns an error if the daemon cannot start, or if the store is lost for good.
    pub async fn daemon(&self, stop: CancellationToken) -> Result<Ended, AppError> {
        // This comes first: without it, SIGHUP ends the process.
        let mut requests = Requests::begin(self)?;
        // The port is bound before the store is opened, so that nothing is created if the port is in use.
        let listener = self.listen().await?;
        let metrics = metrics::install(&self.plans()).map_err(|error| AppError::Start(error.to_string()))?;
        self.announce(&listener);
        let health = Arc::new(Health::default());
        let mut tasks = JoinSet::new();
        let over = CancellationToken::new();
        let web = Web { metrics: metrics.clone(), readiness: Arc::<Health>::clone(&health) };
        let answering = answer(listener, web, over.clone());
        let answering = answering.map_err(|error| AppError::Start(error.to_string()))?;
        tasks.spawn(upkeep(metrics, self.config.store.embedded(), over.clone()));
        tasks.spawn(report_stop(stop.clone(), Arc::clone(&health), over.clone()));
        if systemd::is_present() {
            tasks.spawn(systemd::run(Arc::clone(&health), over.clone()));
        }
        // HTTP needs this handle as soon as it has a route that returns data.
        let reader = ReaderHandle::default();
        // The port is bound before the inboxes are checked, because an inbox may not answer at once.
        let ended = match self.checked(&stop).await {
            Ok(()) => self.watch(health, &reader, stop, &mut requests).await,
            Err(error) => Err(error),
        };
        over.cancel();
        while tasks.join_next().await.is_some() {}
        // A panic of the thread was already reported when it happened.
        let _ = tokio::task::spawn_blocking(|| answering.join()).await;
        ended
    }

    /// Checks the inboxes, and logs which of them cannot be read yet. Ends early if the process is to stop.
    async fn checked(&self, stop: &CancellationToken) -> Result<(), AppError> {
        tokio::select! {
            missing = self.check_inboxes() => missing?.iter().for_each(|missing| warn!("{missing}")),
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    /// Loads files as they arrive, under one configuration after another.
    pub(super) async fn watch(
        &self,
        health: Arc<Health>,
        reader: &ReaderHandle<AnyStore>,
        stop: CancellationToken,
        requests: &mut Requests,
    ) -> Result<Ended, AppError> {
        let (mut app, mut before, mut opening) = (self.clone(), None, Opening::First);
        loop {
            let turn = tokio::select! {
                opened = app.open_version(opening, &stop, &health) => match opened {
                    Ok(Some(store)) => {
                        opening = Opening::Again;
                        app.load_version(store, &mut before, (&health, reader), &stop, requests).await?
                    }
                    Ok(None) => return Ok(Ended::Stopped),
                    Err(error) => Turn::Rejected(error),
                },
                next = requests.configuration(&app, &health) => {
                    // The store is not open yet, so no delivery is under way that would have to end first.
                    health.reload_is_over();
                    Turn::Next(Box::new(next))
                }
            };
            if matches!(turn, Turn::StoreGone(_)) {
                opening = Opening::WhenBack;
            }
            match (turn, before.take()) {
                (Turn::Ended(ended), _) => return Ok(ended),
                (Turn::StandBy | Turn::StoreGone(None), _) => {}
                // A configuration that was never in force is not restored.
                (Turn::Next(next) | Turn::StoreGone(Some(next)), in_force) => {
                    let last = std::mem::replace(&mut app, *next);
                    before = in_force.or(Some(last));
                }
                (Turn::Rejected(error), Some(old)) => {
                    rejected(&error.into(), &health);
                    app = old;
                }
                (Turn::Rejected(error), None) => return Err(error.into()),
            }
        }
    }

    /// Opens the store, and waits if necessary. Returns `None` if the process is to stop.
    async fn open_version(
        &self,
        opening: Opening,
        stop: &CancellationToken,
        health: &Arc<Health>,
    ) -> Result<Option<AnyStore>, StoreError> {
        if opening == Opening::WhenBack && !self.is_back(stop, health).await {
            return Ok(None);
        }
        loop {
            let opened = tokio::select! {
                opened = self.open_with_backoff(true, None, stop, health) => opened,
                () = stop.cancelled() => return Ok(None),
            };
            match opened {
                Err(error) if stop.is_cancelled() && error.transient_reason().is_some() => return Ok(None),
                Err(error @ StoreError::InUse { .. }) if opening != Opening::First => {
                    warn!("waiting: {error}");
                    health.store_waits("locked");
                    let _ = tokio::time::timeout(REOPEN, stop.cancelled()).await;
                }
                opened => return opened.map(Some),
            }
        }
    }

    /// Waits until there is a store at the path again. Returns false if the process is to stop.
    async fn is_back(&self, stop: &CancellationToken, health: &Health) -> bool {
        loop {
            health.store_waits(GONE);
            if tokio::time::timeout(REOPEN, stop.cancelled()).await.is_ok() {
                return false;
            }
            if self.config.store.embedded().is_none_or(|file| is_complete(&file)) {
                return true;
            }
        }
    }

    /// Loads files as they arrive. Ends when the pipeline ends, or when there is a new configuration and the open
    /// deliveries have ended. A process that loses the right to write stands by until the other process ends.
    async fn load_version(
        &self,
        store: AnyStore,
        before: &mut Option<Self>,
        (health, reader): (&Arc<Health>, &ReaderHandle<AnyStore>),
        stop: &CancellationToken,
        requests: &mut Requests,
    ) -> Result<Turn, AppError> {
        if let Some(earlier) = before.take() {
            let gone = earlier.feeds.iter().filter(|(feed, _)| self.feeds.get(feed).is_none());
            gone.for_each(|(feed, _)| metrics::feed_is_gone(feed.name()));
            info!("configuration: {} is in force", self.origin);
            metrics::feeds(&self.plans());
            metrics::reload("applied");
        }
        health.store_opened();
        health.reloading(false);
        health.reload_is_over();
        let store = Arc::new(store);
        reader.fill(Arc::clone(&store), Arc::clone(&self.schema)).await;
        let observer = Arc::<Health>::clone(health);
        let backoff = Backoff { limit: None, halt: stop.clone(), observer, pulse: Pulse::default() };
        let runner = self.replacement_runner(&store, backoff, true);
        let (ended, next) = loop {
            let (ended, then) = self.run_pipeline((&store, &runner), health, stop, requests).await;
            match (ended, then) {
                (Ok(Ended::Done), Then::Mirror) => {
                    let settled = runner.settle_all(Extent::Mirror, &RunStats::default(), &**health).await;
                    if !matches!(settled, Ok(Ended::Done)) {
                        break (settled, None);
                    }
                }
                (ended, Then::Next(next)) => break (ended, Some(next)),
                (ended, Then::End | Then::Mirror) => break (ended, None),
            }
        };
        health.store_closed();
        reader.clear().await;
        // The right to write is kept for the next configuration, so that no other process can take it in between.
        let (ended, next) = match (ended, next) {
            (Ok(Ended::Done), Some(next)) => return Ok(Turn::Next(next)),
            other => other,
        };
        store.close().await;
        match (ended, next) {
            (Err(error @ StoreError::Lost(_)), next) if !stop.is_cancelled() => {
                warn!("{error}");
                Ok(next.map_or(Turn::StandBy, Turn::Next))
            }
            (Err(error @ StoreError::Gone { .. }), next) if !stop.is_cancelled() => {
                warn!("{error}");
                Ok(Turn::StoreGone(next))
            }
            (ended, _) => Ok(Turn::Ended(ended?)),
        }
    }

    /// Runs a pipeline until it ends, there is a new configuration, or rows have to be taken back.
    async fn run_pipeline(
        &self,
        (store, runner): (&Arc<AnyStore>, &ReplacementRunner),
        health: &Arc<Health>,
        stop: &CancellationToken,
        requests: &mut Requests,
    ) -> (Result<Ended, StoreError>, Then) {
        let waits = (Arc::clone(health), None);
        let pipeline =
            self.pipeline((Arc::clone(store), &runner.replacements), Arc::default(), waits, LoadMode::New);
        let intake = pipeline.intake.clone();
        let verifying = Verifying::begin(self, store, Idle::of(&health.idle), &intake);
        let mut run = std::pin::pin!(pipeline.run(Scope::Watch, stop.clone()));
        let (ended, then) = tokio::select! {
            ended = &mut run => (ended, Then::End),
            found = requests.configuration(self, health) => {
                health.reloading(true);
                intake.cancel();
                (run.await, Then::Next(Box::new(found)))
            }
            () = runner.until_mirror() => {
                intake.cancel();
                (run.await, Then::Mirror)
            }
        };
        if let Some(verifying) = verifying {
            verifying.end().await;
            metrics::forget_verified(self.schema.tables.iter().map(|table| table.name.as_str()));
        }
        (ended, then)
    }

    fn announce(&self, listener: &TcpListener) {
        let address = listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
        info!("configuration: {}", self.origin);
        info!("store: {}", self.config.store.name());
        info!("metrics: http://{address}/metrics");
        for (feed, FeedInput { source, settings, .. }) in self.feeds.iter() {
            let of = if feed.is_named() { format!(" of feed {feed}") } else { String::new() };
            info!("inbox{of}: {} (drop CSV files here)", source.folder.display());
            match settings.after {
                After::Keep => {}
                After::Move => info!("loaded files{of} are moved to {}", settings.archive().display()),
                After::Delete => info!("loaded files{of} are deleted"),
            }
        }
    }
}

/// Serves HTTP in a thread of its own. Probes and scrapes then do not wait for a busy pipeline.
fn answer(
    listener: TcpListener,
    web: Web,
    over: CancellationToken,
) -> std::io::Result<std::thread::JoinHandle<std::io::Result<()>>> {
    let listener = listener.into_std()?;
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            // A client that holds its connection open must not delay the shutdown.
            let last = async {
                over.cancelled().await;
                tokio::time::sleep(LAST_ANSWERS).await;
            };
            tokio::select! {
                () = http::serve(listener, web, over.clone()) => {}
                () = last => {}
            }
            Ok(())
        })
    })
}

/// Updates the size of the store and maintains the metrics at intervals.
async fn upkeep(metrics: Scrape, embedded: Option<PathBuf>, over: CancellationToken) -> std::io::Result<()> {
    loop {
        if let Some(store) = &embedded {
            metrics::store_bytes(size_with_log(store));
        }
        metrics.upkeep();
        if tokio::time::timeout(UPKEEP, over.cancelled()).await.is_ok() {
            return Ok(());
        }
    }
}

/// Whether the file exists and nothing is still writing to it.
fn is_complete(file: &std::path::Path) -> bool {
    let quiet = |meta: &std::fs::Metadata| meta.modified().ok()?.elapsed().ok();
    std::fs::metadata(file)
        .is_ok_and(|meta| meta.len() > 0 && quiet(&meta).is_none_or(|quiet| quiet >= COPIED))
}

fn size_with_log(store: &std::path::Path) -> u64 {
    let mut log = store.as_os_str().to_owned();
    log.push("-wal");
    // A file that does not exist has no size.
    [store.as_os_str(), &log].iter().filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum()
}

async fn report_stop(
    stop: CancellationToken,
    health: Arc<Health>,
    over: CancellationToken,
) -> std::io::Result<()> {
    tokio::select! {
        () = stop.cancelled() => health.stopping(),
        () = over.cancelled() => {}
    }
    Ok(())
}
