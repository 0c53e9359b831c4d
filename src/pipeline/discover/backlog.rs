//! Reports the files that wait.

use std::time::{Duration, Instant};

use crate::metrics;
use crate::pipeline::discover::Discover;
use crate::source::Source;
use crate::store::Store;

/// How often the backlog is measured. Measuring takes a moment when 100,000 files wait.
pub const MEASURE: Duration = Duration::from_millis(250);

impl<S: Store, I: Source> Discover<S, I> {
    /// Reports the backlog to metrics and observer.
    pub(super) fn measure(&self) {
        for (feed, _) in self.intakes.iter() {
            let totals = self.files.totals(feed);
            metrics::files_open(feed.name(), totals.failed, totals.incomplete, totals.unreadable);
            let oldest = self.files.oldest(feed, Instant::now());
            metrics::backlog(feed.name(), totals.backlog, totals.backlog_bytes, oldest);
            self.observer.files_wait(feed, totals.backlog);
        }
    }

    /// Reports the backlog while a file is identified. If the store is away, identifying takes as long as the outage,
    /// and the file counts as waiting.
    pub(super) async fn measured<T>(&self, identified: impl Future<Output = T>) -> T {
        let mut identified = std::pin::pin!(identified);
        loop {
            tokio::select! {
                done = &mut identified => return done,
                () = tokio::time::sleep(MEASURE) => self.measure(),
            }
        }
    }
}
