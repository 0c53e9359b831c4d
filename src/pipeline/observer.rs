//! The interface through which the pipeline reports its condition.

use crate::store::observer::StoreObserver;

/// Receives reports of what discovery sees.
pub trait PipelineObserver: StoreObserver {
    /// Reports whether the inbox could be listed.
    fn inbox_listed(&self, succeeded: bool);

    /// Reports the number of files that wait or are being loaded.
    fn files_wait(&self, files: usize);
}

/// An observer that ignores every report.
impl PipelineObserver for () {
    fn inbox_listed(&self, _: bool) {}

    fn files_wait(&self, _: usize) {}
}
