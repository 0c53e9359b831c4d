//! Holds loaded files that may leave the inbox (`source.after`): those that rest, those that are ready to leave, and
//! those that are leaving.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::FileStat;

/// Files that may leave the inbox.
#[derive(Debug, Default)]
pub struct Out {
    /// How long a file must have been unchanged. `None` if files stay where they are.
    pub(super) rest: Option<Duration>,
    /// Loaded files, by the time at which their rest is over.
    pub(super) due: BTreeSet<(Instant, Arc<str>)>,
    /// The paths in `due`, so that each is there only once.
    pub(super) resting: HashSet<Arc<str>>,
    /// Files that are known to be what was loaded, with the size and times seen then.
    pub(super) ready: BTreeMap<Arc<str>, FileStat>,
    /// Files that were sent to the retire stage.
    pub(super) under_way: HashSet<Arc<str>>,
    /// Files that could not leave, and when to try again.
    pub(super) stayed: HashMap<Arc<str>, Instant>,
}

impl Out {
    pub fn new(rest: Option<Duration>) -> Self {
        Self { rest, ..Self::default() }
    }

    pub fn is_wanted(&self) -> bool {
        self.rest.is_some()
    }

    pub fn is_under_way(&self, path: &str) -> bool {
        self.under_way.contains(path)
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether no file is ready to leave or leaving.
    pub fn is_over(&self) -> bool {
        self.ready.is_empty() && self.under_way.is_empty()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Forgets a file because it changes or is being loaded.
    pub fn forget(&mut self, path: &str) {
        self.ready.remove(path);
    }

    /// Returns how long a file must still rest. Uses ctime, which the system sets from its own clock; a program can set
    /// mtime to anything.
    pub(super) fn wait(&self, noted: FileStat) -> Duration {
        let rest = self.rest.unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_nanos(noted.ctime.try_into().unwrap_or(0));
        (changed + rest).saturating_sub(now).min(rest)
    }

    pub(super) fn has_stayed(&self, path: &str) -> bool {
        self.stayed.get(path).is_some_and(|until| *until > Instant::now())
    }

    pub(super) fn later(&mut self, path: &Arc<str>, wait: Duration) {
        if self.resting.insert(Arc::clone(path)) {
            self.due.insert((Instant::now() + wait, Arc::clone(path)));
        }
    }

    pub(super) fn due(&mut self) -> Option<Arc<str>> {
        let (due, _) = self.due.first()?;
        if *due > Instant::now() {
            return None;
        }
        let (_, path) = self.due.pop_first()?;
        self.resting.remove(&path);
        Some(path)
    }
}
