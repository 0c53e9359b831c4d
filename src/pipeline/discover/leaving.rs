//! Which loaded files may leave the inbox, and when (`source.after`).

use crate::pipeline::discover::Discover;
use crate::pipeline::messages::Left;
use crate::source::folder::inbox::Found;
use crate::source::folder::move_or_delete::Leaving;
use crate::store::Store;
use std::sync::Arc;
use std::time::Instant;

impl<S: Store> Discover<S> {
    /// Those whose rest is over, as they are now.
    pub fn rested(&mut self) {
        while let Some(path) = self.out.due() {
            self.may_leave(&path);
        }
    }

    /// A file that was loaded may leave, if it still is what was loaded.
    pub fn may_leave(&mut self, path: &str) {
        if self.out.rest.is_none() || self.is_busy(path) || self.waiting.holds(path) {
            return;
        }
        if let Some(file) = self.identify.inbox.look(&self.identify.inbox.place(path)) {
            self.listed(&file);
        }
    }

    /// The same of one that was found just now.
    pub fn listed(&mut self, file: &Found) {
        if !self.known.is_whole(&file.path) || !self.has_rested(file) {
            return;
        }
        // Not `is_known`: a newer file under this name may only wait until it can be read.
        if self.known.is_done(file) {
            self.out.ready.insert(Arc::clone(&file.path), file.noted);
        } else if self.known.is_young(file) {
            // Loaded when its times were too young to be trusted: its bytes are compared first.
            self.waiting.check(file.clone());
        }
    }

    /// A file whose bytes were all compared just now.
    pub fn compared(&mut self, file: &Found) {
        if self.has_rested(file) {
            self.out.ready.insert(Arc::clone(&file.path), file.noted);
        }
    }

    /// Whether it can be asked for now; else it is later, where it is to leave at all.
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

    /// The next one to be handed on: none that has changed, or is looked at, since.
    pub fn leaving(&mut self) -> Option<Leaving> {
        while let Some((path, noted)) = self.out.ready.pop_first() {
            if !self.is_busy(&path) && !self.waiting.holds(&path) {
                self.out.under_way.insert(Arc::clone(&path));
                return Some(Leaving { path, noted });
            }
        }
        None
    }

    /// A file is out, or is to be tried again later.
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

    /// Being loaded, or on its way out.
    pub fn is_busy(&self, path: &str) -> bool {
        self.under_way.contains_key(path) || self.out.is_under_way(path)
    }
}
