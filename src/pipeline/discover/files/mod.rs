//! The state of every path: one map, and all its transitions. It does no I/O and reads no clock.
//!
//! docs/file-states.md has the table of the transitions. Each one is logged at level debug.

mod ends;
mod file;
mod indexes;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use file::{Again, Candidate, Loading, Queued};
use file::{Facts, File, FileState, Outcome, Seen};
use indexes::{Indexes, Totals};
use tracing::debug;

use crate::domain::DeliveryState;
use crate::domain::ledger::KnownPath;
use crate::source::Found;

/// The state of every path that the inbox or the ledger has.
#[derive(Debug)]
pub struct Files {
    /// A tree, because it can reuse the memory that the waiting files free. A hash table would allocate large new
    /// blocks.
    files: BTreeMap<Arc<str>, File>,
    indexes: Indexes,
}

impl Files {
    pub fn new(began: Instant) -> Self {
        Self { files: BTreeMap::new(), indexes: Indexes::new(began) }
    }

    /// Adds the paths that the ledger knows.
    pub fn learn(&mut self, paths: Vec<KnownPath>) {
        for KnownPath { id, path, state, noted, same_attempt, .. } in paths {
            let done = match state {
                DeliveryState::Loaded | DeliveryState::Duplicate | DeliveryState::Undone => true,
                // A failed file is tried again when the configuration changes.
                DeliveryState::Failed => same_attempt,
                // A replaced file may be back, and the open tail of an incomplete file may be due.
                DeliveryState::Waiting
                | DeliveryState::Loading
                | DeliveryState::Replaced
                | DeliveryState::Incomplete => false,
            };
            self.change(&path.into(), |file| {
                file.seen = Some(Seen { noted, done, is_complete: is_complete(state) });
                file.change_facts(|facts| facts.outcome = Outcome::new(id, state));
            });
        }
    }

    /// Changes a file, and with it the indexes. Every transition goes through here.
    fn change<T>(&mut self, path: &Arc<str>, change: impl FnOnce(&mut File) -> T) -> T {
        let known = self.files.remove_entry(path);
        let (path, mut file) = known.unwrap_or_else(|| (Arc::clone(path), File::default()));
        let from = file.state();
        self.indexes.put(&path, &file, false);
        let changed = change(&mut file);
        self.indexes.put(&path, &file, true);
        let to = file.state();
        if from != to {
            debug!(file = &*path, %from, %to, "changes state");
        }
        if !file.is_blank() {
            self.files.insert(path, file);
        }
        changed
    }

    /// Returns the state of a path.
    pub fn state(&self, path: &str) -> FileState {
        self.files.get(path).map_or(FileState::Unknown, File::state)
    }

    fn seen(&self, path: &str) -> Option<Seen> {
        self.files.get(path).and_then(|file| file.seen)
    }

    fn facts(&self, path: &str) -> Facts {
        self.files.get(path).map_or_else(Facts::default, File::facts)
    }

    /// Whether the ledger may have a delivery of this path.
    pub fn has(&self, path: &str) -> bool {
        self.seen(path).is_some()
    }

    /// Whether all records of the file are in the tables, under this name or another.
    pub fn is_complete(&self, path: &str) -> bool {
        self.seen(path).is_some_and(|seen| seen.is_complete)
    }

    /// Whether there is nothing to do for this file.
    pub fn is_done(&self, file: &Found) -> bool {
        self.files.get(&file.path).is_some_and(|known| known.is_done(file.noted))
    }

    /// Whether the file is unchanged, but its bytes must be compared because its times were too young to be trusted.
    pub fn is_young(&self, file: &Found) -> bool {
        let seen = self.seen(&file.path);
        seen.is_some_and(|seen| {
            seen.done && seen.noted.is_untrusted() && seen.noted.has_bytes_of(&file.noted)
        })
    }

    /// Whether the file needs no look now: there is nothing to do, or it could not be read.
    pub fn is_known(&self, file: &Found, now: Instant) -> bool {
        let known = self.files.get(&file.path);
        known.is_some_and(|known| {
            known.is_done(file.noted) || known.facts().unreadable.is_some_and(|until| until > now)
        })
    }

    pub fn is_unreadable(&self, path: &str) -> bool {
        self.facts(path).unreadable.is_some()
    }

    /// Whether the file could not leave the inbox, and is not tried again yet.
    pub fn has_stayed(&self, path: &str, now: Instant) -> bool {
        self.facts(path).stayed.is_some_and(|until| until > now)
    }

    /// Whether the file is being identified or loaded, or is leaving the inbox.
    pub fn is_busy(&self, path: &str) -> bool {
        matches!(self.state(path), FileState::Identifying | FileState::Loading | FileState::Leaving)
    }

    /// Whether the file waits for its writer or its turn.
    pub fn is_waiting(&self, path: &str) -> bool {
        matches!(self.state(path), FileState::Settling | FileState::Held | FileState::Ready)
    }

    pub fn is_loading(&self, path: &str) -> bool {
        self.state(path) == FileState::Loading
    }

    /// Whether a file can be taken up.
    pub fn has_ready(&self) -> bool {
        self.indexes.next().is_some()
    }

    pub fn has_leavable(&self) -> bool {
        !self.indexes.leavable.is_empty()
    }

    /// Returns when the next file becomes ready.
    pub fn next_due(&self) -> Option<Instant> {
        self.indexes.due.first().map(|(due, _)| *due)
    }

    /// Returns when the next rest is over.
    pub fn next_rest(&self) -> Option<Instant> {
        self.indexes.resting.first().map(|(due, _)| *due)
    }

    /// Returns the files that failed, are incomplete, or could not be read.
    pub fn troubled(&self) -> Vec<Arc<str>> {
        self.indexes.troubled.iter().cloned().collect()
    }

    pub fn totals(&self) -> Totals {
        self.indexes.totals
    }

    /// Returns how long the oldest waiting file has waited.
    pub fn oldest(&self, now: Instant) -> Duration {
        self.indexes.oldest(now)
    }
}

fn is_complete(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Loaded | DeliveryState::Duplicate)
}
