//! Transitions of files that wait for their writer to finish, or for their turn.

use std::mem;
use std::time::{Duration, Instant};

use crate::domain::FileKey;
use crate::pipeline::discover::files::Files;
use crate::pipeline::discover::files::file::{Activity, Candidate, FileState, Paused, Queued};
use crate::source::Found;

/// A writer that never pauses does not delay its file forever: the file is taken up, unfinished, after this many settle
/// times.
const PATIENCE: u32 = 5;

impl Files {
    /// Queues a file that is complete, unless there is nothing to do. `closed` tells whether events show that its
    /// writer closed it.
    pub fn offer(&mut self, found: Found, closed: bool, now: Instant) {
        let waits = matches!(self.state(&found.file), FileState::Held | FileState::Open);
        if self.is_busy(&found.file) || !self.is_known(&found, now) || (closed && waits) {
            self.queue(found, closed, now);
        }
    }

    /// Queues a file, whatever is known about it. A file that is in use is only marked as changed.
    pub fn queue(&mut self, Found { file: key, noted }: Found, closed: bool, now: Instant) {
        self.change(&key, |file| match &mut file.activity {
            Activity::Behind(behind) => {
                let queued = &mut behind.1;
                (queued.noted, queued.closed, queued.quiet) = (noted, closed, false);
            }
            activity => match activity.again() {
                Some(again) => *again = Some(closed),
                None => {
                    let (since, was_open) = (activity.since().unwrap_or(now), activity.was_open());
                    *activity = Activity::ready(Queued { closed, was_open, ..Queued::new(noted, since) });
                }
            },
        });
    }

    /// Notes that a file is being written, unless there is nothing to do. It becomes ready once it has been quiet for
    /// `settle`.
    pub fn settle(&mut self, found: Found, settle: Duration, now: Instant) {
        match self.state(&found.file) {
            FileState::Identifying | FileState::Loading | FileState::Leaving => self.queue(found, false, now),
            _ if self.is_known(&found, now) => {}
            FileState::Ready | FileState::Behind => self.queue(found, false, now),
            _ => self.pause(found, settle, now),
        }
    }

    fn pause(&mut self, Found { file: key, noted }: Found, settle: Duration, now: Instant) {
        self.change(&key, |file| {
            let since = match &file.activity {
                Activity::Settling(paused) => paused.since,
                _ => now,
            };
            let pauses = now.duration_since(since) <= settle * PATIENCE;
            let due = if pauses { now + settle } else { now };
            file.activity = Activity::Settling(Box::new(Paused { noted, since, due }));
        });
    }

    /// Queues a loaded file whose bytes are to be compared again, unless it is queued already or will be.
    pub fn check(&mut self, Found { file: key, noted }: Found, now: Instant) {
        self.change(&key, |file| match &mut file.activity {
            Activity::Settling(_) | Activity::Open(_) | Activity::Ready(_) | Activity::Behind(_) => {}
            activity => match activity.again() {
                Some(again) => _ = again.get_or_insert(false),
                None => {
                    let quiet = matches!(activity, Activity::Held(held) if held.noted.has_bytes_of(&noted));
                    let since = activity.since().filter(|_| quiet).unwrap_or(now);
                    *activity = Activity::ready(Queued { quiet, checked: true, ..Queued::new(noted, since) });
                }
            },
        });
    }

    /// Notes that a file waits only because its writer may not have finished. It becomes ready again when `due`, unless
    /// something else happens to it. `since` is the time since which it is known not to have changed.
    pub fn hold(&mut self, Found { file: key, noted }: Found, since: Instant, due: Instant) {
        self.change(&key, |file| {
            if let Activity::Idle = file.activity {
                file.activity = Activity::Held(Box::new(Paused { noted, since, due }));
            }
        });
    }

    /// Queues the files that have been quiet for long enough.
    pub fn settled(&mut self, now: Instant) {
        while let Some((_, key)) = self.indexes.due.first().filter(|(due, _)| *due <= now).cloned() {
            self.change(&key, |file| {
                let was_open = file.activity.was_open();
                let (paused, quiet) = match mem::take(&mut file.activity) {
                    Activity::Settling(paused) | Activity::Open(paused) => (paused, false),
                    Activity::Held(paused) => (paused, true),
                    other => return file.activity = other,
                };
                let Paused { noted, since, .. } = *paused;
                file.activity = Activity::ready(Queued { quiet, was_open, ..Queued::new(noted, since) });
            });
        }
    }

    /// Takes the next file to be identified out of the queue.
    pub fn take(&mut self) -> Option<Candidate> {
        let key = self.indexes.next()?.file.clone();
        let queued = self.change(&key, |file| match mem::take(&mut file.activity) {
            Activity::Ready(queued) => {
                file.activity = Activity::Identifying(queued.clone(), None);
                Some(*queued)
            }
            other => {
                file.activity = other;
                None
            }
        })?;
        Some(Candidate { file: key, queued })
    }

    /// Queues the files that were waiting for this file, which has now been dealt with.
    pub(super) fn wake_behind(&mut self, key: &FileKey) {
        for waiting in self.indexes.behind(key) {
            self.change(&waiting, |file| {
                if let Activity::Behind(behind) = &file.activity {
                    file.activity = Activity::ready(Queued { has_waited: true, ..behind.1 });
                }
            });
        }
    }
}
