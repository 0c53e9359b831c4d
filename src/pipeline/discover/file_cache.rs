//! Remembers what is known of each path, so that a listing does not open unchanged files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::{DeliveryId, DeliveryState, FileStat, ledger};
use crate::source::folder::inbox::Found;

/// What is remembered of a path.
#[derive(Clone, Copy, Debug)]
struct Glance {
    noted: FileStat,
    /// Whether there is nothing to do as long as size and times stay the same.
    done: bool,
    /// Whether the delivery is loaded, or a duplicate of a loaded one.
    whole: bool,
}

/// All paths seen so far.
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
    /// Adds the paths that the ledger knows.
    pub fn learn(&mut self, paths: Vec<ledger::KnownPath>) {
        for path in paths {
            let done = match path.state {
                DeliveryState::Loaded | DeliveryState::Duplicate | DeliveryState::Undone => true,
                // A failed file is tried again when the configuration changes.
                DeliveryState::Failed => path.same_attempt,
                // A replaced file may be back, and the open tail of an incomplete file may be due.
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

    /// Marks a file as taken up and not finished.
    pub fn begun(&mut self, path: &Arc<str>, noted: FileStat) {
        self.incomplete.remove(path);
        self.failed.remove(path);
        self.glances.insert(Arc::clone(path), Glance { noted, done: false, whole: false });
    }

    /// Marks a file as done for as long as it has this size and these times.
    pub fn done(&mut self, path: &Arc<str>, noted: FileStat, whole: bool) {
        self.glances.insert(Arc::clone(path), Glance { noted, done: true, whole });
    }

    /// Marks a file as no longer in the inbox. The ledger still has its delivery, with which a new file under this name
    /// is compared.
    pub fn left(&mut self, path: &str) {
        if let Some(glance) = self.glances.get_mut(path) {
            (glance.done, glance.whole) = (false, false);
        }
    }

    /// Notes that the delivery of a file ended in `state`.
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

    /// Removes and returns the incomplete deliveries whose file no longer exists, as `is_there` reports. If such a file
    /// comes back, it is identified again.
    pub fn take_gone(&mut self, is_there: impl Fn(&str) -> bool) -> Vec<(Arc<str>, DeliveryId)> {
        let gone: Vec<_> = self.incomplete.extract_if(|path, _| !is_there(path)).collect();
        for (path, _) in &gone {
            if let Some(glance) = self.glances.get_mut(path) {
                glance.done = false;
            }
        }
        gone
    }

    /// Forgets failed files that no longer exist: somebody removed them from the inbox, so they need no attention.
    pub fn forget_failed(&mut self, is_there: impl Fn(&str) -> bool) {
        self.failed.retain(|path| is_there(path));
    }

    /// Returns the number of failed files and the number of incomplete files. Neither kind continues by itself.
    pub fn open(&self) -> (usize, usize) {
        (self.failed.len(), self.incomplete.len())
    }

    /// Whether all records of the file are in the tables, under this name or another.
    pub fn is_whole(&self, path: &str) -> bool {
        self.glances.get(path).is_some_and(|glance| glance.whole)
    }

    /// Whether the ledger may have a delivery of this path.
    pub fn has(&self, path: &str) -> bool {
        self.glances.contains_key(path)
    }

    /// Whether there is nothing to do for this file.
    pub fn is_done(&self, file: &Found) -> bool {
        self.glances.get(&file.path).is_some_and(|known| known.done && known.noted == file.noted)
    }

    /// Whether the file is unchanged, but its bytes must be compared because its times were too young to be trusted.
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
