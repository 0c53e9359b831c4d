//! Decides which loaded files may leave the inbox, and when (`source.after`).

use std::time::{Duration, Instant, SystemTime};

use crate::domain::{FileKey, FileStat};
use crate::pipeline::discover::Discover;
use crate::pipeline::messages::Left;
use crate::source::{Found, Source};
use crate::store::Store;

impl<S: Store, I: Source> Discover<S, I> {
    /// Checks the files whose rest is over. They may have changed since they were queued.
    pub(super) async fn rested(&mut self) {
        let now = Instant::now();
        while let Some(file) = self.files.rested(now) {
            self.may_leave(&file).await;
        }
    }

    /// Returns how long a file must have been unchanged before it leaves the inbox. `None` if it stays there.
    fn rest(&self, file: &FileKey) -> Option<Duration> {
        let intake = self.intakes.of(file).ok()?;
        intake.rest.filter(|_| intake.identify.inbox.is_in_inbox(file))
    }

    /// Queues a loaded file to leave the inbox, if the file is unchanged since it was loaded.
    pub(super) async fn may_leave(&mut self, file: &FileKey) {
        if self.rest(file).is_none() || self.files.is_busy(file) || self.files.is_waiting(file) {
            return;
        }
        if let Some(found) = self.look(file).await {
            self.listed(&found);
        }
    }

    /// Queues a loaded file that was just listed, as [`Self::may_leave`] does.
    pub(super) fn listed(&mut self, found: &Found) {
        if !self.files.is_complete(&found.file) || !self.has_rested(found) {
            return;
        }
        // Not `is_known`, which is also true for a newer file under this name that cannot be read yet.
        if self.files.is_done(found) {
            self.files.may_leave(found);
        } else if self.files.is_young(found) {
            // The times were too recent to be trusted when the file was loaded, so its bytes are compared first.
            self.files.check(found.clone(), Instant::now());
        }
    }

    /// Queues a file whose bytes were all just compared.
    pub(super) fn compared(&mut self, found: &Found) {
        if self.has_rested(found) {
            self.files.may_leave(found);
        }
    }

    /// Whether the file has rested long enough to leave now. If it may leave later, schedules it.
    fn has_rested(&mut self, found: &Found) -> bool {
        let Some(rest) = self.rest(&found.file) else { return false };
        let now = Instant::now();
        if self.files.is_busy(&found.file) || self.files.has_stayed(&found.file, now) {
            return false;
        }
        let wait = wait(found.noted, rest);
        if !wait.is_zero() {
            self.files.rest(&found.file, now + wait);
        }
        wait.is_zero()
    }

    /// Notes that a file left the inbox, or that it must be tried again later.
    pub(super) async fn left(&mut self, left: &Left) {
        let stays_until = (!left.gone).then(|| Instant::now() + self.poll(&left.file));
        let again = self.files.left(&left.file, stays_until);
        self.look_again(&left.file, again).await;
    }
}

/// Returns how long a file must still rest. Uses ctime, which the system sets from its own clock; a program can set
/// mtime to anything.
fn wait(noted: FileStat, rest: Duration) -> Duration {
    let due = noted.changed_at() + rest;
    due.duration_since(SystemTime::now()).unwrap_or_default().min(rest)
}
