//! What is known of each path: a listing opens no file that is as it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::ledger;
use crate::domain::{DeliveryId, DeliveryState, FileStat};
use crate::source::folder::inbox::Found;

/// What is kept of a path in memory.
#[derive(Clone, Copy, Debug)]
struct Glance {
    noted: FileStat,
    /// Whether there is nothing to do as long as size and times stay the same.
    done: bool,
    /// Whether its delivery is loaded, or a duplicate of one.
    whole: bool,
}

/// All paths that were seen.
#[derive(Debug, Default)]
pub struct FileCache {
    /// A tree, because it can reuse the memory that the waiting files free. A hash table would allocate large new
    /// blocks.
    glances: BTreeMap<Arc<str>, Glance>,
    /// Deliveries that wait for more of their file.
    incomplete: HashMap<Arc<str>, DeliveryId>,
    /// Files whose newest delivery failed.
    failed: HashSet<Arc<str>>,
}

impl FileCache {
    /// Takes over the paths that the ledger knows.
    pub fn learn(&mut self, paths: Vec<ledger::KnownPath>) {
        for path in paths {
            let done = match path.state {
                DeliveryState::Loaded | DeliveryState::Duplicate | DeliveryState::Undone => true,
                // Tried again when the configuration changes.
                DeliveryState::Failed => path.same_attempt,
                // What was replaced may be back, and the tail of what is incomplete may be due.
                DeliveryState::Waiting
                | DeliveryState::Loading
                | DeliveryState::Replaced
                | DeliveryState::Incomplete => false,
            };
            let name: Arc<str> = path.path.into();
            if path.state == DeliveryState::Incomplete {
                self.incomplete.insert(Arc::clone(&name), path.id);
            }
            if path.state == DeliveryState::Failed {
                self.failed.insert(Arc::clone(&name));
            }
            let glance = Glance { noted: path.noted, done, whole: is_whole(path.state) };
            self.glances.insert(name, glance);
        }
    }

    /// Taken up: there is something to do until it has ended.
    pub fn begun(&mut self, path: &Arc<str>, noted: FileStat) {
        self.incomplete.remove(path);
        self.failed.remove(path);
        self.glances.insert(Arc::clone(path), Glance { noted, done: false, whole: false });
    }

    /// There is nothing to do while it looks like this.
    pub fn done(&mut self, path: &Arc<str>, noted: FileStat, whole: bool) {
        self.glances.insert(Arc::clone(path), Glance { noted, done: true, whole });
    }

    /// It left the inbox. The ledger has it still: what comes under this name is compared with it.
    pub fn left(&mut self, path: &str) {
        if let Some(glance) = self.glances.get_mut(path) {
            (glance.done, glance.whole) = (false, false);
        }
    }

    /// It has ended, in this state.
    pub fn ended(&mut self, path: &Arc<str>, id: DeliveryId, state: DeliveryState) {
        if state == DeliveryState::Failed {
            self.failed.insert(Arc::clone(path));
        } else {
            self.failed.remove(path);
        }
        if state == DeliveryState::Incomplete {
            self.incomplete.insert(Arc::clone(path), id);
        }
        if let Some(glance) = self.glances.get_mut(path) {
            glance.done = !matches!(state, DeliveryState::Loading | DeliveryState::Replaced);
            glance.whole = is_whole(state);
        }
    }

    /// What waits for more and is gone, by `is_there`: should it come back, it is looked at again.
    pub fn take_gone(&mut self, is_there: impl Fn(&str) -> bool) -> Vec<(Arc<str>, DeliveryId)> {
        let gone: Vec<_> = self.incomplete.extract_if(|path, _| !is_there(path)).collect();
        for (path, _) in &gone {
            if let Some(glance) = self.glances.get_mut(path) {
                glance.done = false;
            }
        }
        gone
    }

    /// Who took what failed out of the inbox has dealt with it.
    pub fn forget_failed(&mut self, is_there: impl Fn(&str) -> bool) {
        self.failed.retain(|path| is_there(path));
    }

    /// Files that do not go on by themselves: those that failed, and those of which more is expected.
    pub fn open(&self) -> (usize, usize) {
        (self.failed.len(), self.incomplete.len())
    }

    /// Whether all of it is in the tables, under this name or another.
    pub fn is_whole(&self, path: &str) -> bool {
        self.glances.get(path).is_some_and(|glance| glance.whole)
    }

    /// Whether the ledger may have it.
    pub fn has(&self, path: &str) -> bool {
        self.glances.contains_key(path)
    }

    /// Whether there is nothing to do.
    pub fn is_done(&self, file: &Found) -> bool {
        self.glances.get(&file.path).is_some_and(|known| known.done && known.noted == file.noted)
    }

    /// Whether it only has to be looked at again because its time was too young.
    pub fn is_young(&self, file: &Found) -> bool {
        self.glances.get(&file.path).is_some_and(|known| {
            let (noted, found) = (known.noted, file.noted);
            known.done && noted.ctime == 0 && (noted.size, noted.mtime) == (found.size, found.mtime)
        })
    }
}

fn is_whole(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Loaded | DeliveryState::Duplicate)
}
