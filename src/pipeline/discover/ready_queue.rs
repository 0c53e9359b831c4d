//! Holds files that wait for their writer to finish, for their turn, or for another file to end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::FileStat;
use crate::metrics;
use crate::source::folder::inbox::{Found, Place, order};

/// A writer that never pauses does not delay its file forever: the file is taken up, unfinished, after this many settle
/// times.
const PATIENCE: u32 = 5;

/// A file that is to be identified.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub found: Found,
    /// When the file was first seen.
    pub since: Instant,
    /// Whether the writer closed the file, or the file was renamed in, and nothing happened to it since.
    pub closed: bool,
    /// Whether the file has not changed since then, and only its open tail is left to load.
    pub quiet: bool,
    /// Whether the file is known with this size and time, and is only compared again because the time was too young to
    /// be trusted.
    pub checked: bool,
}

/// A file that is ready, or that waits for another file. Its place is the key of the map.
#[derive(Debug)]
struct Waits {
    noted: FileStat,
    since: Instant,
    closed: bool,
    quiet: bool,
    checked: bool,
}

impl Waits {
    fn candidate(self, (_, path): Place) -> Candidate {
        let Self { noted, since, closed, quiet, checked } = self;
        Candidate { found: Found { path, noted }, since, closed, quiet, checked }
    }
}

impl Candidate {
    fn waits(self) -> (Place, Waits) {
        let Self { found: Found { path, noted }, since, closed, quiet, checked } = self;
        (order(&path), Waits { noted, since, closed, quiet, checked })
    }
}

/// A file that is still being written, or that is held until its writer has probably finished. Its path is the key of
/// the map.
#[derive(Debug)]
struct Settling {
    noted: FileStat,
    since: Instant,
    due: Instant,
    is_held: bool,
}

/// All waiting files. They are kept in trees because a tree frees its memory as files are taken up.
#[derive(Debug, Default)]
pub struct ReadyQueue {
    /// Files that can be taken up, in listing order.
    ready: BTreeMap<Place, Waits>,
    /// Files that are being written or held, by path.
    settling: BTreeMap<Arc<str>, Settling>,
    /// The files in `settling` by the time at which they become ready, unless they change again.
    due: BTreeSet<(Instant, Arc<str>)>,
    /// Files that wait for another file whose bytes may be the same. The value contains the path of the other file.
    behind: BTreeMap<Place, (Arc<str>, Waits)>,
}

impl ReadyQueue {
    /// Adds a file that can be taken up.
    pub fn ready(&mut self, found: Found, closed: bool) {
        let since = self.unsettle(&found.path).map(|candidate| candidate.since);
        let key = order(&found.path);
        if let Some((_, waits)) = self.behind.get_mut(&key) {
            (waits.noted, waits.closed, waits.quiet) = (found.noted, closed, false);
            return;
        }
        let since = since.or_else(|| self.ready.get(&key).map(|waits| waits.since));
        let since = since.unwrap_or_else(Instant::now);
        self.ready.insert(key, Waits { noted: found.noted, since, closed, quiet: false, checked: false });
    }

    /// Adds a loaded file whose bytes are to be compared again.
    pub fn check(&mut self, Found { path, noted }: Found) {
        let since = Instant::now();
        let waits = Waits { noted, since, closed: false, quiet: false, checked: true };
        self.ready.entry(order(&path)).or_insert(waits);
    }

    /// Adds a file that is being written. It becomes ready once it has been quiet for `settle`.
    pub fn settle(&mut self, found: Found, settle: Duration) {
        let now = Instant::now();
        let key = order(&found.path);
        if self.ready.contains_key(&key) || self.behind.contains_key(&key) {
            return self.ready(found, false);
        }
        let before = self.unsettle(&found.path).filter(|candidate| !candidate.quiet);
        let since = before.map_or(now, |candidate| candidate.since);
        let pauses = now.duration_since(since) <= settle * PATIENCE;
        let due = if pauses { now + settle } else { now };
        self.settle_until(found.path, Settling { noted: found.noted, since, due, is_held: false });
    }

    /// Adds a file that waits only because its writer may not have finished. It becomes ready again after `wait`.
    pub fn hold(&mut self, found: Found, wait: Duration) {
        if self.holds(&found.path) {
            return;
        }
        let since = Instant::now();
        let due = since + wait;
        self.settle_until(found.path, Settling { noted: found.noted, since, due, is_held: true });
    }

    /// Whether this file is held, see [`Self::hold`].
    pub fn is_held(&self, path: &str) -> bool {
        self.settling.get(path).is_some_and(|file| file.is_held)
    }

    fn settle_until(&mut self, path: Arc<str>, file: Settling) {
        self.due.insert((file.due, Arc::clone(&path)));
        self.settling.insert(path, file);
    }

    fn unsettle(&mut self, path: &str) -> Option<Candidate> {
        let (path, Settling { noted, since, due, is_held }) = self.settling.remove_entry(path)?;
        self.due.remove(&(due, Arc::clone(&path)));
        let found = Found { path, noted };
        Some(Candidate { found, since, closed: false, quiet: is_held, checked: false })
    }

    /// Adds a file whose bytes may be those of another file that is being loaded, or is about to be.
    pub fn wait_for(&mut self, other: Arc<str>, candidate: Candidate) {
        let (key, waits) = candidate.waits();
        self.behind.insert(key, (other, waits));
    }

    /// Makes the files that waited for this file ready, because it was dealt with.
    pub fn ended(&mut self, path: &str) {
        let free = self.behind.extract_if(.., |_, (waits_for, _)| **waits_for == *path);
        let free: Vec<_> = free.map(|(key, (_, waits))| (key, waits)).collect();
        self.ready.extend(free);
    }

    /// Returns when the next file becomes ready.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Moves files that have been quiet for long enough to the ready files.
    pub fn settled(&mut self) {
        let now = Instant::now();
        while let Some((_, path)) = self.due.first().filter(|(due, _)| *due <= now).cloned() {
            if let Some(candidate) = self.unsettle(&path) {
                self.ready.extend([candidate.waits()]);
            }
        }
    }

    /// Removes and returns the next file in listing order. A file that waits for another one is not overtaken, because
    /// it would then get later stamps than the files that overtook it. The file it waits for goes first.
    pub fn take(&mut self) -> Option<Candidate> {
        let next = self.next()?.clone();
        self.ready.remove_entry(&next).map(|(key, waits)| waits.candidate(key))
    }

    fn next(&self) -> Option<&Place> {
        let first = self.ready.keys().next()?;
        match self.behind.keys().next() {
            Some(barrier) if first > barrier => {
                let awaited = self.behind.values().map(|(other, _)| order(other));
                awaited.filter_map(|key| self.ready.get_key_value(&key)).map(|(key, _)| key).min()
            }
            _ => Some(first),
        }
    }

    /// Whether this file waits for its writer or its turn.
    pub fn holds(&self, path: &str) -> bool {
        self.ready.contains_key(&order(&path.into())) || self.settling.contains_key(path)
    }

    pub fn has_ready(&self) -> bool {
        self.next().is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.settling.is_empty() && self.behind.is_empty()
    }

    /// Removes a file that no longer exists.
    pub fn forget(&mut self, path: &str) {
        self.unsettle(path);
        self.ready.remove(&order(&path.into()));
    }

    /// Reports the backlog to the metrics. Returns the number of files that wait or are being loaded. `taken` is a file
    /// that left the queue and is not under way yet.
    pub fn measure(&self, taken: Option<&Candidate>, under_way: usize, bytes_under_way: u64) -> usize {
        let all = || {
            let settling = self.settling.values().filter(|file| !file.is_held);
            let settling = settling.map(|file| (file.noted.size, file.since));
            let ready = self.ready.values().filter(|waits| !waits.checked);
            let waits = ready.chain(self.behind.values().map(|(_, waits)| waits));
            let taken = taken.map(|candidate| (candidate.found.noted.size, candidate.since));
            settling.chain(waits.map(|waits| (waits.noted.size, waits.since))).chain(taken)
        };
        let bytes: u64 = all().map(|(size, _)| size).sum();
        let oldest = all().map(|(_, since)| since.elapsed()).max().unwrap_or_default();
        let files = all().count() + under_way;
        metrics::backlog(files, bytes + bytes_under_way, oldest);
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Found {
        Found { path: path.into(), noted: FileStat::default() }
    }

    #[test]
    fn nobody_overtakes_one_that_waits_behind_another_but_that_other() {
        let mut waiting = ReadyQueue::default();
        waiting.ready(found("2.csv"), true);
        let second = waiting.take().unwrap();
        waiting.wait_for("9.csv".into(), second);
        waiting.ready(found("3.csv"), true);
        assert!(!waiting.has_ready());
        waiting.ready(found("1.csv"), true);
        waiting.ready(found("9.csv"), true);
        let order: Vec<_> =
            std::iter::from_fn(|| waiting.take()).map(|next| next.found.path.to_string()).collect();
        assert_eq!(order, ["1.csv", "9.csv"]);
        waiting.ended("9.csv");
        let order: Vec<_> =
            std::iter::from_fn(|| waiting.take()).map(|next| next.found.path.to_string()).collect();
        assert_eq!(order, ["2.csv", "3.csv"]);
    }

    #[test]
    fn one_that_waits_is_there_once_however_often_it_changes() {
        let mut waiting = ReadyQueue::default();
        waiting.ready(found("2.csv"), false);
        let candidate = waiting.take().unwrap();
        waiting.wait_for("1.csv".into(), candidate);
        waiting.ready(found("2.csv"), false);
        waiting.settle(found("2.csv"), Duration::from_secs(2));
        waiting.ended("1.csv");
        assert!(!waiting.take().unwrap().closed, "a change opens it again");
        assert!(waiting.is_empty());
    }
}
