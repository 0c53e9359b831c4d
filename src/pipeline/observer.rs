//! What the pipeline tells whoever watches over it.

use crate::store::observer::StoreObserver;

/// Is told what discovery sees.
pub trait PipelineObserver: StoreObserver {
    /// The inbox was listed, or could not be.
    fn inbox_listed(&self, succeeded: bool);

    /// So many files wait or are being loaded.
    fn files_wait(&self, files: usize);
}

/// Nobody watches.
impl PipelineObserver for () {
    fn inbox_listed(&self, _: bool) {}

    fn files_wait(&self, _: usize) {}
}
