//! Transitions of files that were identified, are loaded, or leave the inbox.

use std::mem;
use std::time::Instant;

use crate::domain::{DeliveryId, DeliveryState, FileKey, FileStat};
use crate::pipeline::discover::files::file::{Activity, Again, File, Loading, Outcome, Paused, Queued, Seen};
use crate::pipeline::discover::files::{Files, is_complete};
use crate::source::Found;

impl Files {
    /// Ends the identification of a file. A change that was noted meanwhile is not lost: unless the file is loaded, it
    /// is identified again.
    fn identified(&mut self, key: &FileKey, next: impl FnOnce(&mut File, Queued, Again) -> Activity) {
        self.change(key, |file| match mem::take(&mut file.activity) {
            Activity::Identifying(queued, again) => {
                let queued = again.map_or(*queued, |closed| queued.changed(closed));
                file.activity = match (next(file, queued, again), again) {
                    (Activity::Idle | Activity::Open(_), Some(_)) => Activity::ready(queued),
                    (activity, _) => activity,
                };
            }
            other => file.activity = other,
        });
        if !self.is_loading(key) {
            self.wake_behind(key);
        }
    }

    /// Notes that a file is taken up. `noted` is its size and times as the ledger has them now.
    pub fn load(&mut self, key: &FileKey, noted: FileStat, loading: Loading) {
        self.identified(key, |file, _, again| {
            file.change_facts(|facts| facts.outcome = None);
            file.seen = Some(Seen { noted, done: false, is_complete: false });
            Activity::Loading(Box::new(loading), again)
        });
    }

    /// Notes that a file is unchanged since it was entered into the ledger. There is nothing to do for as long as it
    /// has this size and these times.
    pub fn unchanged(&mut self, key: &FileKey, noted: FileStat, state: DeliveryState) {
        self.identified(key, |file, _, _| {
            file.change_facts(|facts| facts.unreadable = None);
            file.seen = Some(Seen { noted, done: true, is_complete: is_complete(state) });
            Activity::Idle
        });
    }

    /// Notes that a file was entered into the ledger without anything to read.
    pub fn entered(&mut self, key: &FileKey, noted: FileStat, id: DeliveryId, state: DeliveryState) {
        self.identified(key, |file, _, _| {
            file.change_facts(|facts| (facts.outcome, facts.unreadable) = (Outcome::new(id, state), None));
            file.seen = Some(Seen { noted, done: true, is_complete: is_complete(state) });
            Activity::Idle
        });
    }

    /// Notes that a file is not a delivery yet, or no longer exists. The next event or listing queues it again.
    pub fn put_off(&mut self, key: &FileKey) {
        self.identified(key, |file, _, _| {
            file.change_facts(|facts| facts.unreadable = None);
            Activity::Idle
        });
    }

    /// Notes that a process has a file open for writing. The file is looked at again when `due`, or when it is closed.
    pub fn open(&mut self, key: &FileKey, due: Instant) {
        self.identified(key, |file, queued, _| {
            file.change_facts(|facts| facts.unreadable = None);
            Activity::Open(Box::new(Paused { noted: queued.noted, since: queued.since, due }))
        });
    }

    /// Notes that the bytes of a file may be those of another file that is being loaded, or is about to be.
    pub fn wait_behind(&mut self, key: &FileKey, other: FileKey) {
        self.identified(key, |_, queued, _| Activity::Behind(Box::new((other, queued))));
    }

    /// Queues a file that was just identified once more.
    pub fn requeue(&mut self, key: &FileKey) {
        self.identified(key, |_, queued, _| Activity::ready(queued.changed(queued.closed)));
    }

    /// Notes that a file cannot be read, and when to try again. Returns whether this is new.
    pub fn unreadable(&mut self, key: &FileKey, until: Instant) -> bool {
        let before = self.change(key, |file| {
            file.activity = Activity::Idle;
            file.change_facts(|facts| facts.unreadable = Some(until))
        });
        self.wake_behind(key);
        before.unreadable.is_none()
    }

    /// Notes that a file may be readable now. Returns whether it could not be read before.
    pub fn readable(&mut self, key: &FileKey) -> bool {
        let is_news = self.is_unreadable(key);
        if is_news {
            self.change(key, |file| file.change_facts(|facts| facts.unreadable = None));
        }
        is_news
    }

    /// Notes that a delivery ended. Returns how its file was taken up, and whether it changed since.
    pub fn finished(
        &mut self,
        key: &FileKey,
        id: DeliveryId,
        state: DeliveryState,
    ) -> Option<(Loading, Again)> {
        let ended = self.change(key, |file| match mem::take(&mut file.activity) {
            Activity::Loading(loading, again) => {
                file.change_facts(|facts| {
                    (facts.outcome, facts.unreadable) = (Outcome::new(id, state), None)
                });
                if let Some(seen) = &mut file.seen {
                    (seen.done, seen.is_complete) = (state != DeliveryState::Replaced, is_complete(state));
                    // Otherwise a failed file would fail again, as a new generation, at every listing.
                    seen.noted = if state == DeliveryState::Failed { loading.noted } else { seen.noted };
                }
                Some((*loading, again))
            }
            other => {
                file.activity = other;
                None
            }
        });
        self.wake_behind(key);
        ended
    }

    /// Notes that a file with an outcome or an unreadable file no longer exists. Returns its delivery, if that waits
    /// for more of the file. If the file comes back, it is identified again.
    pub fn gone(&mut self, key: &FileKey) -> Option<DeliveryId> {
        self.change(key, |file| {
            let before = file.change_facts(|facts| (facts.outcome, facts.unreadable) = (None, None));
            let Some(Outcome::Incomplete(id)) = before.outcome else { return None };
            if let Some(seen) = &mut file.seen {
                seen.done = false;
            }
            Some(id)
        })
    }

    /// Notes when a loaded file will have rested long enough to leave the inbox.
    pub fn rest(&mut self, key: &FileKey, due: Instant) {
        self.change(key, |file| file.change_facts(|facts| _ = facts.rest.get_or_insert(due)));
    }

    /// Returns the next file whose rest is over.
    pub fn rested(&mut self, now: Instant) -> Option<FileKey> {
        let (_, key) = self.indexes.resting.first().filter(|(due, _)| *due <= now)?.clone();
        self.change(&key, |file| file.change_facts(|facts| facts.rest = None));
        Some(key)
    }

    /// Notes that a file can leave the inbox, unless something else happens to it.
    pub fn may_leave(&mut self, found: &Found) {
        self.change(&found.file, |known| {
            if let Activity::Idle | Activity::Leavable(_) = known.activity {
                known.activity = Activity::Leavable(Box::new(found.noted));
            }
        });
    }

    /// Returns the next file that is to leave the inbox.
    pub fn leave(&mut self) -> Option<Found> {
        let file = self.indexes.leavable.first()?.clone();
        let left = self.change(&file, |file| mem::replace(&mut file.activity, Activity::Leaving(None)));
        match left {
            Activity::Leavable(noted) => Some(Found { file, noted: *noted }),
            _ => None,
        }
    }

    /// Notes that a file left the inbox, or when to try again. The ledger still has the delivery of a file that left,
    /// with which a new file under this name is compared. Returns whether the file changed meanwhile.
    pub fn left(&mut self, key: &FileKey, stays_until: Option<Instant>) -> Again {
        let again = self.change(key, |file| {
            file.change_facts(|facts| facts.stayed = stays_until);
            if let (None, Some(seen)) = (stays_until, &mut file.seen) {
                (seen.done, seen.is_complete) = (false, false);
            }
            mem::take(&mut file.activity).again().copied().flatten()
        });
        self.wake_behind(key);
        again
    }
}
