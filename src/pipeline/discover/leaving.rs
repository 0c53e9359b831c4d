//! Decides which loaded files may leave the inbox, and when (`source.after`).

use std::time::{Duration, Instant, SystemTime};

use crate::domain::FileStat;
use crate::pipeline::discover::Discover;
use crate::pipeline::messages::Left;
use crate::source::{Found, Source};
use crate::store::Store;

impl<S: Store, I: Source> Discover<S, I> {
    /// Checks the files whose rest is over. They may have changed since they were queued.
    pub(super) async fn rested(&mut self) {
        let now = Instant::now();
        while let Some(path) = self.files.rested(now) {
            self.may_leave(&path).await;
        }
    }

    /// Queues a loaded file to leave the inbox, if the file is unchanged since it was loaded.
    pub(super) async fn may_leave(&mut self, path: &str) {
        if self.rest.is_none() || self.files.is_busy(path) || self.files.is_waiting(path) {
            return;
        }
        if let Some(file) = self.identify.inbox.look(path).await {
            self.listed(&file);
        }
    }

    /// Queues a loaded file that was just listed, as [`Self::may_leave`] does.
    pub(super) fn listed(&mut self, file: &Found) {
        if !self.files.is_complete(&file.path) || !self.has_rested(file) {
            return;
        }
        // Not `is_known`, which is also true for a newer file under this name that cannot be read yet.
        if self.files.is_done(file) {
            self.files.may_leave(file);
        } else if self.files.is_young(file) {
            // The times were too young to be trusted when the file was loaded, so its bytes are compared first.
            self.files.check(file.clone(), Instant::now());
        }
    }

    /// Queues a file whose bytes were all just compared.
    pub(super) fn compared(&mut self, file: &Found) {
        if self.has_rested(file) {
            self.files.may_leave(file);
        }
    }

    /// Whether the file has rested long enough to leave now. If it may leave later, schedules it.
    fn has_rested(&mut self, file: &Found) -> bool {
        let inbox = &self.identify.inbox;
        let Some(rest) = self.rest.filter(|_| inbox.is_in_inbox(&file.path)) else {
            return false;
        };
        let now = Instant::now();
        if self.files.is_busy(&file.path) || self.files.has_stayed(&file.path, now) {
            return false;
        }
        let wait = wait(file.noted, rest);
        if !wait.is_zero() {
            self.files.rest(&file.path, now + wait);
        }
        wait.is_zero()
    }

    /// Notes that a file left the inbox, or that it must be tried again later.
    pub(super) async fn left(&mut self, left: &Left) {
        let stays_until = (!left.gone).then(|| Instant::now() + *self.source.poll);
        let again = self.files.left(&left.path, stays_until);
        self.look_again(&left.path, again).await;
    }
}

/// Returns how long a file must still rest. Uses ctime, which the system sets from its own clock; a program can set
/// mtime to anything.
fn wait(noted: FileStat, rest: Duration) -> Duration {
    let due = noted.changed_at() + rest;
    due.duration_since(SystemTime::now()).unwrap_or_default().min(rest)
}
