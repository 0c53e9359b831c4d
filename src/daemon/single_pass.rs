//! A single pass: `load`, `run --once` and dry runs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::{After, SourceConfig};
use crate::daemon::app::{App, AppError};
use crate::daemon::health::Health;
use crate::jobs::replacement::Extent;
use crate::pipeline::feed_input::FeedInput;
use crate::pipeline::messages::{Ended, LoadMode, Scope};
use crate::pipeline::run_stats::RunStats;
use crate::source::backend::AnySource;
use crate::store::{Access, Store};

/// How files are loaded once.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    pub mode: LoadMode,
    /// Whether nothing is written to the store. If there is none, none is created.
    pub dry_run: bool,
}

impl App {
    /// Loads these files once, then compares and mirrors those that replace earlier ones.
    ///
    /// # Errors
    /// Returns an error if the store cannot be opened within `store.patience` (for a dry run: at once), or if it fails
    /// during the load.
    pub async fn load_once(
        &self,
        scope: Scope,
        options: LoadOptions,
        stats: Arc<RunStats>,
        stop: CancellationToken,
    ) -> Result<Ended, AppError> {
        let (patience, health) = (Some(*self.config.store.patience), Arc::new(Health::default()));
        let opened = match options.dry_run {
            true => self.open(Access::Dry).await,
            false => self.open_with_backoff(false, patience, &stop, &health).await,
        };
        let store = match opened {
            Err(error) if stop.is_cancelled() && error.transient_reason().is_some() => {
                return Ok(Ended::Stopped);
            }
            opened => Arc::new(opened?),
        };
        let runner = self.replacement_runner(&store, self.patience(&stop), false);
        let waits = (Arc::clone(&health), patience);
        let mut pipeline = self.pipeline(
            (Arc::clone(&store), &runner.replacements),
            Arc::clone(&stats),
            waits,
            options.mode,
        );
        // Files of a dry run, and files whose rows another program wrote, stay where they are.
        if options.dry_run || options.mode == LoadMode::Assumed {
            let keep = |feed: &FeedInput<AnySource>| {
                let settings = SourceConfig { after: After::Keep, ..feed.settings.clone() };
                FeedInput { settings, ..feed.clone() }
            };
            pipeline.feeds = pipeline.feeds.map(keep);
        }
        let ended = match pipeline.run(scope, stop).await {
            Ok(Ended::Done) => {
                let extent = if options.dry_run { Extent::Compare } else { Extent::Mirror };
                Box::pin(runner.settle_all(extent, &stats, &*health)).await
            }
            ended => ended,
        };
        store.close().await;
        Ok(ended?)
    }
}
