//! Settles files that replace earlier ones: after a single pass, and beside the pipeline of the daemon.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::config::OnReplace;
use crate::daemon::app::App;
use crate::domain::{DeliveryId, Feeds, FileKey};
use crate::jobs::replacement::{Extent, Settled, Settler};
use crate::pipeline::messages::Ended;
use crate::pipeline::pending_replacements::PendingReplacements;
use crate::pipeline::run_stats::RunStats;
use crate::source::backend::AnySource;
use crate::source::{Source, SourceFile};
use crate::store::backend::AnyStore;
use crate::store::backoff::Backoff;
use crate::store::observer::StoreObserver;
use crate::store::scratch_folder::ScratchFolder;
use crate::store::{Store, StoreError};

/// The least time between two checks for a writer, if `source.tail_after` is short.
const MIN_QUIET: Duration = Duration::from_millis(200);

/// How long to wait for an inbox.
const LOOK: Duration = Duration::from_secs(5);

/// Settles files under one configuration.
pub struct ReplacementRunner {
    app: App,
    store: Arc<AnyStore>,
    scratch: ScratchFolder,
    pub replacements: Arc<PendingReplacements>,
    backoff: Backoff,
    /// Whether files must also be unchanged for `source.tail_after`. In a single pass, a file is complete unless it has a writer.
    is_daemon: bool,
}

impl App {
    /// Creates the runner for a store. `backoff` says how it waits for the store.
    pub fn replacement_runner(
        &self,
        store: &Arc<AnyStore>,
        backoff: Backoff,
        is_daemon: bool,
    ) -> ReplacementRunner {
        let scratch = self.scratch(self.config.verify.scratch.clone());
        let replacements = Arc::new(PendingReplacements::new(scratch.clone()));
        let (app, store) = (self.clone(), Arc::clone(store));
        ReplacementRunner { app, store, scratch, replacements, backoff, is_daemon }
    }
}

impl ReplacementRunner {
    /// Settles files that are loaded and complete. A file with a writer stays due, in a single pass until the next run. The caller
    /// must not load files meanwhile. The right to write is renewed.
    ///
    /// # Errors
    /// Returns an error if the store does not answer, or if the right to write is lost.
    pub async fn settle_all(
        &self,
        extent: Extent,
        stats: &RunStats,
        observer: &dyn StoreObserver,
    ) -> Result<Ended, StoreError> {
        let work = async {
            let mut ids = Vec::new();
            for (id, file) in self.replacements.due(|file| self.quiet(file)) {
                if !self.is_written(&file).await {
                    ids.push(id);
                }
            }
            if ids.is_empty() {
                return Ok(Ended::Done);
            }
            let Settled::Done(settled) = self.settler().await.settle(ids, extent).await? else {
                return Ok(Ended::Stopped);
            };
            settled.into_iter().for_each(|one| stats.add_replacement(&one.delivery, one.replacement));
            Ok(if self.backoff.halt.is_cancelled() { Ended::Stopped } else { Ended::Done })
        };
        tokio::select! {
            ended = work => ended,
            lost = self.store.tend(observer) => Err(lost),
        }
    }

    /// Compares files that replace earlier ones while others are loaded. Returns when a file of a mirror feed is due, because
    /// loading must pause for it. Never returns once the process is to stop.
    pub async fn until_mirror(&self) {
        loop {
            let (id, file) = self.replacements.next_due(|file| self.quiet(file)).await;
            if self.is_written(&file).await {
                self.replacements.restart_quiet_period(id);
            } else if self.mirrors(&file) {
                info!(
                    file = file.text(),
                    "loading pauses, because rows that only its earlier content gave are to be removed"
                );
                return;
            } else {
                match self.settler().await.settle(vec![id], Extent::Compare).await {
                    Ok(Settled::Done(_)) => {}
                    Ok(Settled::Stopped) => return std::future::pending().await,
                    Err(error) => self.give_up(id, &file, &error).await,
                }
            }
        }
    }

    /// Creates the settler. Looking for the archives does not hold up other tasks, whether their file systems answer or not.
    async fn settler(&self) -> Settler<AnySource> {
        let app = self.app.clone();
        let found = tokio::task::spawn_blocking(move || app.find()).await;
        Settler {
            store: Arc::clone(&self.store),
            schema: Arc::clone(&self.app.schema),
            // A panic of the thread was reported when it happened.
            feeds: found.unwrap_or_else(|_| Feeds::none()),
            mirrors: self.app.feeds.map(|feed| feed.settings.on_replace == OnReplace::Mirror),
            scratch: self.scratch.clone(),
            replacements: Arc::clone(&self.replacements),
            backoff: self.backoff.clone(),
            stop: self.backoff.halt.clone(),
        }
    }

    /// The next start tries again.
    async fn give_up(&self, id: DeliveryId, file: &FileKey, error: &StoreError) {
        warn!(file = file.text(), "is not compared with its earlier content: {error}");
        if let Err(error) = self.replacements.finish(id, None).await {
            warn!("{error}");
        }
    }

    /// A file is complete once it has been unchanged for this long.
    fn quiet(&self, file: &FileKey) -> Duration {
        match self.app.feeds.of(file) {
            Ok(feed) if self.is_daemon => (*feed.settings.tail_after).max(MIN_QUIET),
            _ => Duration::ZERO,
        }
    }

    fn mirrors(&self, file: &FileKey) -> bool {
        self.app.feeds.of(file).is_ok_and(|feed| feed.settings.on_replace == OnReplace::Mirror)
    }

    /// Whether a process has the file open for writing.
    async fn is_written(&self, file: &FileKey) -> bool {
        let Ok(feed) = self.app.feeds.of(file) else { return false };
        let look = async {
            match feed.source.open(file, 0).await {
                Ok(open) => open.has_writer().await,
                // It was moved.
                Err(_) => false,
            }
        };
        // An inbox that does not answer must not hold up others.
        tokio::time::timeout(LOOK, look).await.unwrap_or(true)
    }
}
