//! Decides which loaded files may leave the inbox, and when (`source.after`).

use std::sync::Arc;
use std::time::Instant;

use crate::pipeline::discover::Discover;
use crate::pipeline::messages::Left;
use crate::source::folder::inbox::Found;
use crate::source::folder::move_or_delete::Leaving;
use crate::store::Store;

impl<S: Store> Discover<S> {
    /// Checks the files whose rest is over. They may have changed since they were queued.
    pub fn rested(&mut self) {
        while let Some(path) = self.out.due() {
            self.may_leave(&path);
        }
    }

    /// Queues a loaded file to leave the inbox, if the file is unchanged since it was loaded.
    pub fn may_leave(&mut self, path: &str) {
        if self.out.rest.is_none() || self.is_busy(path) || self.waiting.holds(path) {
            return;
        }
        if let Some(file) = self.identify.inbox.look(&self.identify.inbox.place(path)) {
            self.listed(&file);
        }
    }

    /// Queues a loaded file that was just listed, as [`Self::may_leave`] does.
    pub fn listed(&mut self, file: &Found) {
        if !self.known.is_whole(&file.path) || !self.has_rested(file) {
            return;
        }
        // Not `is_known`, which is also true for a newer file under this name that cannot be read yet.
        if self.known.is_done(file) {
            self.out.ready.insert(Arc::clone(&file.path), file.noted);
        } else if self.known.is_young(file) {
            // The times were too young to be trusted when the file was loaded, so its bytes are compared first.
            self.waiting.check(file.clone());
        }
    }

    /// Queues a file whose bytes were all just compared.
    pub fn compared(&mut self, file: &Found) {
        if self.has_rested(file) {
            self.out.ready.insert(Arc::clone(&file.path), file.noted);
        }
    }

    /// Whether the file has rested long enough to leave now. If it may leave later, schedules it.
    fn has_rested(&mut self, file: &Found) -> bool {
        let inbox = &self.identify.inbox;
        let may_leave = self.out.rest.is_some() && inbox.is_file_name(&inbox.place(&file.path));
        if !may_leave || self.is_busy(&file.path) || self.out.has_stayed(&file.path) {
            return false;
        }
        let wait = self.out.wait(file.noted);
        if !wait.is_zero() {
            self.out.later(&file.path, wait);
        }
        wait.is_zero()
    }

    /// Returns the next file that may leave, skipping files that are being loaded or wait to be identified.
    pub fn leaving(&mut self) -> Option<Leaving> {
        while let Some((path, noted)) = self.out.ready.pop_first() {
            if !self.is_busy(&path) && !self.waiting.holds(&path) {
                self.out.under_way.insert(Arc::clone(&path));
                return Some(Leaving { path, noted });
            }
        }
        None
    }

    /// Notes that a file left the inbox, or that it must be tried again later.
    pub fn left(&mut self, left: &Left) {
        self.out.under_way.remove(&left.path);
        if left.gone {
            self.known.left(&left.path);
            self.out.stayed.remove(&left.path);
        } else {
            self.out.stayed.insert(Arc::clone(&left.path), Instant::now() + *self.source.poll);
        }
        self.look_again(&left.path);
    }

    /// Whether the file is being loaded or is leaving the inbox.
    pub fn is_busy(&self, path: &str) -> bool {
        self.under_way.contains_key(path) || self.out.is_under_way(path)
    }
}
