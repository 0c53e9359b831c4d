//! A stage that calls [`Files`] as discovery does, and checks it after each event.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::sample::Index;

use super::events::{Event, Finding};
use crate::domain::path::Place;
use crate::domain::{DeliveryId, DeliveryState, Feed, Feeds, FileDates, FileKey, FileStat};
use crate::pipeline::discover::files::Files;
use crate::pipeline::discover::files::file::{Activity, FileState, Loading};
use crate::pipeline::discover::files::indexes::{Indexes, Totals};
use crate::source::Found;

/// The files, of two feeds.
pub const FILES: [&str; 4] = ["1.csv", "3.csv", "clicks//1.csv", "clicks//2.csv"];
pub const FEEDS: [&str; 2] = ["", "clicks"];
pub const SETTLE: Duration = Duration::from_secs(2);
pub const POLL: Duration = Duration::from_secs(30);
pub const AT_REST: [FileState; 7] = [
    FileState::Unknown,
    FileState::Known,
    FileState::Done,
    FileState::Resting,
    FileState::Unreadable,
    FileState::Failed,
    FileState::Incomplete,
];

fn order(file: &FileKey) -> Place {
    Place::of(file, FileDates::default())
}

/// The files, and the time. It calls [`Files`] as the stage does.
pub struct Stage {
    pub files: Files,
    pub now: Instant,
    /// Files that changed while they were in use.
    changed: BTreeSet<FileKey>,
}

pub fn found(file: usize, version: u64) -> Found {
    let times = i64::try_from(version).unwrap();
    Found {
        file: FileKey::from_text(FILES[file]),
        noted: FileStat { size: version, mtime: times, ctime: times },
    }
}

impl Stage {
    pub fn new() -> Self {
        let now = Instant::now();
        Self { files: Files::new(now, Feeds::none()), now, changed: BTreeSet::new() }
    }

    /// Returns a file in this state.
    fn any_in(&self, state: FileState, at: &Index) -> Option<FileKey> {
        let all: Vec<_> = self.files.files.iter().filter(|(_, file)| file.state() == state).collect();
        (!all.is_empty()).then(|| at.get(&all).0.clone())
    }

    pub fn happen(&mut self, event: &Event) {
        match event {
            Event::Listed(file, version, quiet) => self.listed(found(*file, *version), *quiet),
            Event::Closed(file, version) => {
                let found = found(*file, *version);
                self.note_change(&found.file);
                self.files.readable(&found.file);
                self.files.offer(found, true, self.now);
            }
            Event::Changing(file, version) => {
                let found = found(*file, *version);
                self.note_change(&found.file);
                self.files.settle(found, SETTLE, self.now);
            }
            Event::Touched(file, version) => {
                let found = found(*file, *version);
                if self.files.readable(&found.file) {
                    self.files.offer(found, false, self.now);
                }
            }
            Event::Take => self.take(),
            Event::Identified(at, found) => {
                if let Some(key) = self.any_in(FileState::Identifying, at) {
                    self.identified(&key, found);
                }
            }
            Event::Finished(at, state, held) => {
                if let Some(key) = self.any_in(FileState::Loading, at) {
                    self.finished(&key, *state, *held);
                }
            }
            Event::Leave => _ = self.files.leave(),
            Event::Left(at, gone) => {
                if let Some(key) = self.any_in(FileState::Leaving, at) {
                    let again = self.files.left(&key, (!gone).then_some(self.now + POLL));
                    let changed = self.changed.remove(&key);
                    assert!(again.is_some() || !changed, "{key} changed");
                }
            }
            Event::Gone(file) => {
                if let Some(key) = self.files.troubled().into_iter().find(|key| key.text() == FILES[*file]) {
                    self.files.gone(&key);
                }
            }
            Event::Wait(seconds) => self.wait(self.now + Duration::from_secs(*seconds)),
        }
    }

    fn note_change(&mut self, key: &FileKey) {
        if self.files.is_busy(key) {
            self.changed.insert(key.clone());
        }
    }

    fn listed(&mut self, found: Found, quiet: bool) {
        if self.files.is_known(&found, self.now) {
            if self.files.is_complete(&found.file) && self.files.is_done(&found) {
                match quiet {
                    true => self.files.may_leave(&found),
                    false => self.files.rest(&found.file, self.now + SETTLE),
                }
            }
        } else if quiet && self.files.is_young(&found) {
            self.files.check(found, self.now);
        } else if quiet {
            self.files.offer(found, false, self.now);
        } else {
            self.files.settle(found, SETTLE, self.now);
        }
    }

    /// Takes the next file. Asserts that it overtakes no file that waits behind another, unless it is that other file.
    fn take(&mut self) {
        let in_state = |state| {
            let all = self.files.files.iter().filter(move |(_, file)| file.state() == state);
            all.map(|(key, file)| (order(key), &file.activity)).collect::<Vec<_>>()
        };
        let behind = in_state(FileState::Behind);
        let may_go = |key: &FileKey| {
            behind.iter().all(|(barrier, _)| *barrier > order(key))
                || behind.iter().any(|(_, activity)| match activity {
                    Activity::Behind(behind) => behind.0 == *key,
                    _ => false,
                })
        };
        let ready = in_state(FileState::Ready);
        let next = ready.into_iter().map(|(place, _)| place).filter(|place| may_go(&place.file)).min();
        let taken = self.files.take().map(|candidate| order(&candidate.file));
        assert_eq!(taken, next);
    }

    fn identified(&mut self, key: &FileKey, result: &Finding) {
        let version = found(0, 1).noted;
        match result {
            Finding::Work => {
                self.files.load(key, version, Loading { noted: version, strikes: 0 });
                return;
            }
            Finding::Unchanged(state, young, held) => {
                let ctime = if *young { 0 } else { version.ctime };
                self.files.unchanged(key, FileStat { ctime, ..version }, *state);
                if *held {
                    let file = Found { file: key.clone(), noted: version };
                    self.files.hold(file, self.now, self.now + POLL);
                }
            }
            Finding::Entered(state) => self.files.entered(key, version, DeliveryId(1), *state),
            Finding::PutOff => self.files.put_off(key),
            Finding::Open => self.files.open(key, self.now + POLL),
            Finding::Unreadable => _ = self.files.unreadable(key, self.now + POLL),
            Finding::Behind(other) if FILES[*other] == key.text() => self.files.put_off(key),
            Finding::Behind(other) => {
                let found = found(*other, 1);
                self.files.wait_behind(key, found.file.clone());
                if !self.files.is_waiting(&found.file) && !self.files.is_loading(&found.file) {
                    self.files.queue(found, false, self.now);
                }
            }
            Finding::Requeue => self.files.requeue(key),
        }
        let is_lost = self.changed.remove(key) && AT_REST.contains(&self.files.state(key));
        assert!(!is_lost || matches!(result, Finding::Unreadable), "{key} changed");
    }

    fn finished(&mut self, key: &FileKey, state: DeliveryState, held: bool) {
        if state == DeliveryState::Loading {
            self.changed.remove(key);
            self.files.unreadable(key, self.now + POLL);
            return;
        }
        let (loading, again) = self.files.finished(key, DeliveryId(1), state).unwrap();
        let changed = self.changed.remove(key);
        assert!(again.is_some() || !changed, "{key} changed");
        if held {
            let file = Found { file: key.clone(), noted: loading.noted };
            self.files.hold(file, self.now, self.now + POLL);
        }
    }

    fn wait(&mut self, until: Instant) {
        self.now = until;
        self.files.settled(self.now);
        while self.files.rested(self.now).is_some() {}
    }

    /// Asserts that the indexes agree with the states.
    pub fn assert_agrees(&self) {
        let mut indexes = Indexes::new(self.files.indexes.began, Feeds::none());
        for (key, file) in &self.files.files {
            assert!(!file.is_blank(), "{key} is remembered for nothing");
            indexes.put(key, file, true);
        }
        assert_eq!(self.files.indexes, indexes);
        for feed in FEEDS.map(|name| Feed::named(name).unwrap_or_default()) {
            let own = self.files.files.iter().filter(|(key, _)| key.is_of(&feed));
            let loading = own.filter(|(_, file)| file.state() == FileState::Loading).count();
            assert_eq!(self.files.totals(&feed).loading, loading, "{feed}");
        }
    }

    /// Ends everything that is under way, as it ends when nothing more happens.
    pub fn come_to_rest(&mut self) {
        for _ in 0..8 * FILES.len() {
            let due = self.files.next_due().into_iter().chain(self.files.next_rest()).min();
            self.wait(due.unwrap_or(self.now).max(self.now));
            self.take();
            for key in FILES.map(FileKey::from_text) {
                match self.files.state(&key) {
                    FileState::Identifying => {
                        self.identified(&key, &Finding::Unchanged(DeliveryState::Loaded, false, false));
                    }
                    FileState::Loading => self.finished(&key, DeliveryState::Loaded, false),
                    FileState::Leaving => _ = self.files.left(&key, None),
                    _ => _ = self.files.leave(),
                }
            }
            self.assert_agrees();
        }
        assert!(!self.files.are_active(), "{:#?}", self.files);
        for feed in FEEDS.map(|name| Feed::named(name).unwrap_or_default()) {
            let Totals { active, loading, backlog, backlog_bytes, .. } = self.files.totals(&feed);
            assert_eq!((active, loading, backlog, backlog_bytes), (0, 0, 0, 0), "{feed}: {:#?}", self.files);
        }
        assert_eq!((self.files.next_due(), self.files.next_rest()), (None, None));
    }
}
