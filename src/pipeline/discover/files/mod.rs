//! The state of every file: one map, and all its transitions. It does no I/O and reads no clock.
//!
//! docs/file-states.md has the table of the transitions. Each one is logged at level debug.

mod ends;
mod file;
mod indexes;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use file::{Again, Candidate, Loading, Queued};
use file::{Facts, File, FileState, Outcome, Seen};
use indexes::{Indexes, Totals};
use tracing::debug;

use crate::domain::ledger::KnownFile;
use crate::domain::{DeliveryState, Feed, Feeds, FileDates, FileKey};
use crate::source::Found;

/// The state of every file that the inbox or the ledger has.
#[derive(Debug)]
pub struct Files {
    /// A tree, because it can reuse the memory that the waiting files free. A hash table would allocate large new
    /// blocks.
    files: BTreeMap<FileKey, File>,
    indexes: Indexes,
}

impl Files {
    pub fn new(began: Instant, dates: Feeds<FileDates>) -> Self {
        Self { files: BTreeMap::new(), indexes: Indexes::new(began, dates) }
    }

    /// Adds the files that the ledger knows.
    pub fn learn(&mut self, known: Vec<KnownFile>) {
        for KnownFile { id, file: key, state, noted, same_attempt, .. } in known {
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
            self.change(&key, |file| {
                file.seen = Some(Seen { noted, done, is_complete: is_complete(state) });
                file.change_facts(|facts| facts.outcome = Outcome::new(id, state));
            });
        }
    }

    /// Changes a file, and with it the indexes. Every transition goes through here.
    fn change<T>(&mut self, key: &FileKey, change: impl FnOnce(&mut File) -> T) -> T {
        let known = self.files.remove_entry(key);
        let (key, mut file) = known.unwrap_or_else(|| (key.clone(), File::default()));
        let from = file.state();
        self.indexes.put(&key, &file, false);
        let changed = change(&mut file);
        self.indexes.put(&key, &file, true);
        let to = file.state();
        if from != to {
            debug!(file = key.text(), %from, %to, "changes state");
        }
        if !file.is_blank() {
            self.files.insert(key, file);
        }
        changed
    }

    /// Returns the state of a file.
    pub fn state(&self, key: &FileKey) -> FileState {
        self.files.get(key).map_or(FileState::Unknown, File::state)
    }

    fn seen(&self, key: &FileKey) -> Option<Seen> {
        self.files.get(key).and_then(|file| file.seen)
    }

    fn facts(&self, key: &FileKey) -> Facts {
        self.files.get(key).map_or_else(Facts::default, File::facts)
    }

    /// Whether the ledger may have a delivery of this file.
    pub fn has(&self, key: &FileKey) -> bool {
        self.seen(key).is_some()
    }

    /// Whether all records of the file are in the tables, under this name or another.
    pub fn is_complete(&self, key: &FileKey) -> bool {
        self.seen(key).is_some_and(|seen| seen.is_complete)
    }

    /// Whether the newest delivery of the file has failed.
    pub fn has_failed(&self, key: &FileKey) -> bool {
        self.facts(key).outcome == Some(Outcome::Failed)
    }

    /// Whether there is nothing to do for this file.
    pub fn is_done(&self, found: &Found) -> bool {
        self.files.get(&found.file).is_some_and(|known| known.is_done(found.noted))
    }

    /// Whether the file is unchanged, but its bytes must be compared because its times were too recent to be trusted.
    pub fn is_young(&self, found: &Found) -> bool {
        let seen = self.seen(&found.file);
        seen.is_some_and(|seen| {
            seen.done && seen.noted.is_untrusted() && seen.noted.has_bytes_of(&found.noted)
        })
    }

    /// Whether the file needs no look now: there is nothing to do, a process has it open for writing, or it could not be
    /// read.
    pub fn is_known(&self, found: &Found, now: Instant) -> bool {
        let known = self.files.get(&found.file);
        known.is_some_and(|known| {
            let is_open = known.state() == FileState::Open;
            is_open || known.is_done(found.noted) || known.facts().unreadable.is_some_and(|until| until > now)
        })
    }

    pub fn is_unreadable(&self, key: &FileKey) -> bool {
        self.facts(key).unreadable.is_some()
    }

    /// Whether the file could not leave the inbox, and is not tried again yet.
    pub fn has_stayed(&self, key: &FileKey, now: Instant) -> bool {
        self.facts(key).stayed.is_some_and(|until| until > now)
    }

    /// Whether the file is being identified or loaded, or is leaving the inbox.
    pub fn is_busy(&self, key: &FileKey) -> bool {
        matches!(self.state(key), FileState::Identifying | FileState::Loading | FileState::Leaving)
    }

    /// Whether the file waits for its writer or its turn.
    pub fn is_waiting(&self, key: &FileKey) -> bool {
        matches!(self.state(key), FileState::Settling | FileState::Held | FileState::Ready)
    }

    /// Whether a process has the file open for writing, and the file waits for that process.
    pub fn is_open(&self, key: &FileKey) -> bool {
        self.state(key) == FileState::Open
    }

    pub fn is_loading(&self, key: &FileKey) -> bool {
        self.state(key) == FileState::Loading
    }

    /// Returns the file that is taken up next.
    pub fn next(&self) -> Option<&FileKey> {
        self.indexes.next().map(|place| &place.file)
    }

    /// Returns the file that leaves the inbox next.
    pub fn next_leavable(&self) -> Option<&FileKey> {
        self.indexes.leavable.first()
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
    pub fn troubled(&self) -> Vec<FileKey> {
        self.indexes.troubled.iter().cloned().collect()
    }

    /// Whether something is happening to a file.
    pub fn are_active(&self) -> bool {
        self.indexes.are_active()
    }

    /// Returns the numbers of files of a feed.
    pub fn totals(&self, feed: &Feed) -> Totals {
        self.indexes.totals(feed)
    }

    /// Returns how long the oldest waiting file of a feed has waited.
    pub fn oldest(&self, feed: &Feed, now: Instant) -> Duration {
        self.indexes.oldest(feed, now)
    }
}

fn is_complete(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Loaded | DeliveryState::Duplicate)
}
