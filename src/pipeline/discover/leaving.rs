//! Files that are loaded and may leave the inbox (`source.after`): when they are asked for, and who is on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Discover;
use super::inbox::Found;
use crate::domain::Noted;
use crate::pipeline::after::{Leaving, Left};
use crate::store::Store;

/// Files on their way out.
#[derive(Debug, Default)]
pub struct Out {
    /// How long a file must have been unchanged. `None`: files stay where they are.
    rest: Option<Duration>,
    /// Loaded, to be looked at when they have rested.
    due: BTreeSet<(Instant, Arc<str>)>,
    /// The same by name: each once.
    resting: HashSet<Arc<str>>,
    /// Known to be what was loaded, with the times that were seen then.
    ready: BTreeMap<Arc<str>, Noted>,
    /// Handed on.
    under_way: HashSet<Arc<str>>,
    /// Could not leave, and when to try again.
    stayed: HashMap<Arc<str>, Instant>,
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
    fn wait(&self, noted: Noted) -> Duration {
        let rest = self.rest.unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_nanos(noted.ctime.try_into().unwrap_or(0));
        (changed + rest).saturating_sub(now).min(rest)
    }

    fn has_stayed(&self, path: &str) -> bool {
        self.stayed.get(path).is_some_and(|until| *until > Instant::now())
    }

    fn later(&mut self, path: &Arc<str>, wait: Duration) {
        if self.resting.insert(Arc::clone(path)) {
            self.due.insert((Instant::now() + wait, Arc::clone(path)));
        }
    }

    fn due(&mut self) -> Option<Arc<str>> {
        let (due, _) = self.due.first()?;
        if *due > Instant::now() {
            return None;
        }
        let (_, path) = self.due.pop_first()?;
        self.resting.remove(&path);
        Some(path)
    }
}

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
