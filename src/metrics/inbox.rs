//! Files in an inbox that are not being loaded.

use std::time::Duration;

use metrics::{counter, gauge};

use crate::metrics::declared::{
    BACKLOG_BYTES, BACKLOG_FILES, FILES_AFTER, FILES_LEFT_OUT, FILES_OPEN, FILES_UNREADABLE, INBOX_LISTED,
    OLDEST_WAITING,
};
use crate::metrics::labels::labels;

#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn backlog(feed: &str, files: usize, bytes: u64, oldest: Duration) {
    gauge!(BACKLOG_FILES.name, labels(feed, [])).set(files as f64);
    gauge!(BACKLOG_BYTES.name, labels(feed, [])).set(bytes as f64);
    gauge!(OLDEST_WAITING.name, labels(feed, [])).set(oldest.as_secs_f64());
}

/// Sets the number of files that need attention.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn files_open(feed: &str, failed: usize, incomplete: usize, unreadable: usize) {
    for (state, files) in [("failed", failed), ("incomplete", incomplete), ("unreadable", unreadable)] {
        gauge!(FILES_OPEN.name, labels(feed, [("state", state)])).set(files as f64);
    }
}

/// Why files are left out.
pub const LEFT_OUT: [&str; 4] = ["unmatched", "ignored", "not_utf8", "not_a_file"];

/// Sets the numbers of files that are left out, in the order of `LEFT_OUT`.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn left_out(feed: &str, counts: [u64; LEFT_OUT.len()]) {
    for (reason, files) in LEFT_OUT.into_iter().zip(counts) {
        gauge!(FILES_LEFT_OUT.name, labels(feed, [("reason", reason)])).set(files as f64);
    }
}

/// Sets whether an inbox answers and its last listing succeeded.
pub fn inbox_listed(feed: &str, succeeded: bool) {
    gauge!(INBOX_LISTED.name, labels(feed, [])).set(f64::from(u8::from(succeeded)));
}

/// Counts a loaded file by what happened to it under `source.after`.
pub fn after(feed: &str, outcome: &'static str) {
    counter!(FILES_AFTER.name, labels(feed, [("outcome", outcome)])).increment(1);
}

pub fn unreadable(feed: &str) {
    counter!(FILES_UNREADABLE.name, labels(feed, [])).increment(1);
}
