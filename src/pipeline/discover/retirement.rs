//! Files that are loaded and may leave the inbox (`source.after`): when they are asked for, and who is on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::FileStat;

/// Files on their way out.
#[derive(Debug, Default)]
pub struct Out {
    /// How long a file must have been unchanged. `None`: files stay where they are.
    pub(super) rest: Option<Duration>,
    /// Loaded, to be looked at when they have rested.
    pub(super) due: BTreeSet<(Instant, Arc<str>)>,
    /// The same by name: each once.
    pub(super) resting: HashSet<Arc<str>>,
    /// Known to be what was loaded, with the times that were seen then.
    pub(super) ready: BTreeMap<Arc<str>, FileStat>,
    /// Handed on.
    pub(super) under_way: HashSet<Arc<str>>,
    /// Could not leave, and when to try again.
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

    /// Whether all that could leave did.
    pub fn is_over(&self) -> bool {
        self.ready.is_empty() && self.under_way.is_empty()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// It changes, or is being loaded.
    pub fn forget(&mut self, path: &str) {
        self.ready.remove(path);
    }

    /// How long until it has rested. By the clock of the system that holds it: another time can be anything.
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
