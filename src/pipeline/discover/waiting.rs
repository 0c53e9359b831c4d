//! Files that wait: for their writer to finish, for their turn, or for another file to end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::inbox::{Found, order};
use crate::metrics;

/// A writer that never pauses: its file is taken up, unfinished, after so many settle times.
const PATIENCE: u32 = 5;

/// A file that is to be looked at.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub found: Found,
    /// When it was first seen.
    pub since: Instant,
    /// Whether no more is expected.
    pub complete: bool,
    /// Known with this size and time: only looked at once more, because it was too young to be trusted.
    pub checked: bool,
}

/// All files that wait.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Ready, in listing order.
    ready: BTreeMap<(i32, String), Candidate>,
    /// Being written: when they are taken to be whole, unless they change again.
    settling: HashMap<String, (Candidate, Instant)>,
    /// The same by time.
    due: BTreeSet<(Instant, String)>,
    /// Behind another file whose bytes may be the same.
    behind: Vec<(String, Candidate)>,
}

impl Waiting {
    /// A file that can be taken up.
    pub fn ready(&mut self, found: Found, complete: bool) {
        let since = self.unsettle(&found.path).map(|candidate| candidate.since);
        let key = order(&found.path);
        let since = since.or_else(|| self.ready.get(&key).map(|candidate| candidate.since));
        let candidate =
            Candidate { found, since: since.unwrap_or_else(Instant::now), complete, checked: false };
        self.ready.insert(key, candidate);
    }

    /// A file that is loaded, and looked at once more.
    pub fn check(&mut self, found: Found) {
        let key = order(&found.path);
        let candidate = Candidate { found, since: Instant::now(), complete: true, checked: true };
        self.ready.entry(key).or_insert(candidate);
    }

    /// A file that is being written: it is ready once it has been quiet for `settle`.
    pub fn settle(&mut self, found: Found, settle: Duration) {
        let now = Instant::now();
        if self.ready.contains_key(&order(&found.path)) {
            return self.ready(found, true);
        }
        let path = found.path.clone();
        let since = self.unsettle(&path).map_or(now, |candidate| candidate.since);
        let complete = now.duration_since(since) <= settle * PATIENCE;
        let due = if complete { now + settle } else { now };
        self.due.insert((due, path.clone()));
        self.settling.insert(path, (Candidate { found, since, complete, checked: false }, due));
    }

    fn unsettle(&mut self, path: &str) -> Option<Candidate> {
        let (candidate, due) = self.settling.remove(path)?;
        self.due.remove(&(due, path.to_owned()));
        Some(candidate)
    }

    /// A file whose bytes may be those of another that is being loaded, or is about to be.
    pub fn wait_for(&mut self, other: String, candidate: Candidate) {
        self.behind.push((other, candidate));
    }

    /// A file was dealt with: who waited for it is ready.
    pub fn ended(&mut self, path: &str) {
        let (free, behind) =
            std::mem::take(&mut self.behind).into_iter().partition(|(waits, _)| *waits == path);
        self.behind = behind;
        let free: Vec<(String, Candidate)> = free;
        for (_, candidate) in free {
            self.ready.insert(order(&candidate.found.path), candidate);
        }
    }

    /// When the next file is settled.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Moves files that have been quiet long enough to those that are ready.
    pub fn settled(&mut self) {
        let now = Instant::now();
        while let Some((_, path)) = self.due.first().filter(|(due, _)| *due <= now).cloned() {
            if let Some(candidate) = self.unsettle(&path) {
                self.ready.insert(order(&path), candidate);
            }
        }
    }

    /// The next file in listing order.
    pub fn take(&mut self) -> Option<Candidate> {
        self.ready.pop_first().map(|(_, candidate)| candidate)
    }

    /// Whether this file waits for its writer or its turn.
    pub fn holds(&self, path: &str) -> bool {
        self.ready.contains_key(&order(path)) || self.settling.contains_key(path)
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.settling.is_empty() && self.behind.is_empty()
    }

    /// A file that is not there any more.
    pub fn forget(&mut self, path: &str) {
        self.unsettle(path);
        self.ready.remove(&order(path));
    }

    /// Tells the metrics how much waits.
    pub fn measure(&self, under_way: usize, bytes_under_way: u64) {
        let all = || {
            let settling = self.settling.values().map(|(candidate, _)| candidate);
            let ready = self.ready.values().filter(|candidate| !candidate.checked);
            ready.chain(settling).chain(self.behind.iter().map(|(_, candidate)| candidate))
        };
        let bytes: u64 = all().map(|candidate| candidate.found.noted.size).sum();
        let oldest = all().map(|candidate| candidate.since.elapsed()).max().unwrap_or_default();
        metrics::backlog(all().count() + under_way, bytes + bytes_under_way, oldest);
    }
}
