//! The interface through which the pipeline reports its condition.

use crate::domain::Feed;
use crate::store::observer::StoreObserver;

/// Receives reports of what discovery sees.
pub trait PipelineObserver: StoreObserver {
    /// Reports whether the inbox of a feed could be listed.
    fn inbox_listed(&self, feed: &Feed, succeeded: bool);

    /// Reports whether the inbox of a feed answers. It does until it is reported that it does not.
    fn inbox_answers(&self, feed: &Feed, answers: bool);

    /// Reports that a file is taken up, before any of its rows is written.
    fn file_taken_up(&self);

    /// Reports the number of files of a feed that wait or are being loaded.
    fn files_wait(&self, feed: &Feed, files: usize);
}

/// An observer that ignores every report.
impl PipelineObserver for () {
    fn inbox_listed(&self, _: &Feed, _: bool) {}

    fn inbox_answers(&self, _: &Feed, _: bool) {}

    fn file_taken_up(&self) {}

    fn files_wait(&self, _: &Feed, _: usize) {}
}
