//! Any events in any order keep the files in legal states, and all files come to rest once the events end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use tracing::Level;

use super::file::Activity;
use super::*;
use crate::domain::path::order;
use crate::domain::{DeliveryId, FileStat};

const DOCS: &str = include_str!("../../../../docs/file-states.md");
const PATHS: [&str; 4] = ["1.csv", "2.csv", "3.csv", "4.csv"];
const SETTLE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_secs(30);
const AT_REST: [FileState; 7] = [
    FileState::Unknown,
    FileState::Known,
    FileState::Done,
    FileState::Resting,
    FileState::Unreadable,
    FileState::Failed,
    FileState::Incomplete,
];

/// An event. An `Index` chooses among the files to which the event can happen.
#[derive(Clone, Debug)]
enum Event {
    Listed(usize, u64, bool),
    Closed(usize, u64),
    Changing(usize, u64),
    Touched(usize, u64),
    Take,
    Identified(Index, Finding),
    Finished(Index, DeliveryState, bool),
    Leave,
    Left(Index, bool),
    Gone(usize),
    Wait(u64),
}

/// What identifying a file found.
#[derive(Clone, Debug)]
enum Finding {
    Work,
    Unchanged(DeliveryState, bool, bool),
    Entered(DeliveryState),
    PutOff,
    Unreadable,
    Behind(usize),
    Requeue,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    use DeliveryState::{Duplicate, Failed, Incomplete, Loaded, Loading, Replaced};
    // Most events find the version that the ledger has, so that files come to leave the inbox.
    let version = select(vec![1u64, 1, 1, 2]);
    let (file, index) = (0..PATHS.len(), any::<Index>());
    let found = prop_oneof![
        4 => Just(Finding::Work),
        3 => (select(vec![Loaded, Loaded, Incomplete, Failed]), any::<bool>(), any::<bool>())
            .prop_map(|(state, young, held)| Finding::Unchanged(state, young, held)),
        1 => select(vec![Duplicate, Failed, Incomplete]).prop_map(Finding::Entered),
        1 => Just(Finding::PutOff),
        1 => Just(Finding::Unreadable),
        3 => file.clone().prop_map(Finding::Behind),
        1 => Just(Finding::Requeue),
    ];
    let ends = select(vec![Loaded, Loaded, Loaded, Failed, Incomplete, Replaced, Loading]);
    let event = prop_oneof![
        6 => (file.clone(), version.clone(), any::<bool>()).prop_map(|(f, v, quiet)| Event::Listed(f, v, quiet)),
        3 => (file.clone(), version.clone()).prop_map(|(f, v)| Event::Closed(f, v)),
        4 => (file.clone(), 1u64..3).prop_map(|(f, v)| Event::Changing(f, v)),
        1 => (file.clone(), version).prop_map(|(f, v)| Event::Touched(f, v)),
        4 => Just(Event::Take),
        4 => (index.clone(), found).prop_map(|(at, found)| Event::Identified(at, found)),
        4 => (index.clone(), ends, any::<bool>()).prop_map(|(at, state, held)| Event::Finished(at, state, held)),
        1 => Just(Event::Leave),
        1 => (index, any::<bool>()).prop_map(|(at, gone)| Event::Left(at, gone)),
        1 => file.prop_map(Event::Gone),
        2 => (0u64..40).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 1..120)
}

/// The files, and the time. It calls [`Files`] as the stage does.
struct Stage {
    files: Files,
    now: Instant,
    /// Files that changed while they were in use.
    changed: BTreeSet<FileKey>,
}

fn found(file: usize, version: u64) -> Found {
    let times = i64::try_from(version).unwrap();
    Found { file: PATHS[file].into(), noted: FileStat { size: version, mtime: times, ctime: times } }
}

impl Stage {
    fn new() -> Self {
        let now = Instant::now();
        Self { files: Files::new(now), now, changed: BTreeSet::new() }
    }

    /// Returns a file in this state.
    fn any_in(&self, state: FileState, at: &Index) -> Option<FileKey> {
        let all: Vec<_> = self.files.files.iter().filter(|(_, file)| file.state() == state).collect();
        (!all.is_empty()).then(|| at.get(&all).0.clone())
    }

    fn happen(&mut self, event: &Event) {
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
                if let Some(key) = self.files.troubled().into_iter().find(|key| key.path() == PATHS[*file]) {
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
        let next = ready.into_iter().map(|(place, _)| place).filter(|(_, key)| may_go(key)).min();
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
            Finding::Unreadable => _ = self.files.unreadable(key, self.now + POLL),
            Finding::Behind(other) if PATHS[*other] == key.path() => self.files.put_off(key),
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
    fn assert_agrees(&self) {
        let mut indexes = Indexes::new(self.files.indexes.began);
        for (key, file) in &self.files.files {
            assert!(!file.is_blank(), "{key} is remembered for nothing");
            indexes.put(key, file, true);
        }
        assert_eq!(self.files.indexes, indexes);
    }

    /// Ends everything that is under way, as it ends when nothing more happens.
    fn come_to_rest(&mut self) {
        for _ in 0..8 * PATHS.len() {
            let due = self.files.next_due().into_iter().chain(self.files.next_rest()).min();
            self.wait(due.unwrap_or(self.now).max(self.now));
            self.take();
            for key in PATHS.map(FileKey::from) {
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
        let Totals { active, loading, backlog, backlog_bytes, .. } = self.files.totals();
        assert_eq!((active, loading, backlog, backlog_bytes), (0, 0, 0, 0), "{:#?}", self.files);
        assert_eq!((self.files.next_due(), self.files.next_rest()), (None, None));
    }
}

/// Collects the debug log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `test` and returns the transitions that it logs.
fn logged(test: impl FnOnce()) -> BTreeSet<(String, String)> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, test);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let field = |line: &str, name: &str| {
        let value = line.split(' ').find_map(|word| word.strip_prefix(name));
        let value = value.unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
        let is_at_rest = AT_REST.iter().any(|state| state.to_string() == value);
        if is_at_rest { "at rest".to_owned() } else { value }
    };
    log.lines().map(|line| (field(line, "from="), field(line, "to="))).collect()
}

/// Returns the transitions of the table in the documentation.
fn documented() -> BTreeSet<(String, String)> {
    let (_, table) = DOCS.split_once("| from | event | to |\n").unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
    rows.map(cells).map(|cells| (cells[1].clone(), cells[3].clone())).collect()
}

#[test]
fn any_events_keep_the_states_legal_and_end_at_rest() {
    let config = Config { failure_persistence: None, ..Config::with_cases(1000) };
    let seen = RefCell::new(BTreeSet::new());
    let outcome = TestRunner::new(config).run(&events(), |events| {
        let transitions = logged(|| {
            let mut stage = Stage::new();
            for event in &events {
                stage.happen(event);
                stage.assert_agrees();
            }
            stage.come_to_rest();
        });
        let illegal: Vec<_> = transitions.difference(&documented()).cloned().collect();
        prop_assert!(illegal.is_empty(), "not in docs/file-states.md: {illegal:?}");
        seen.borrow_mut().extend(transitions);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(documented(), seen.into_inner(), "docs/file-states.md has a transition that never happens");
}

#[test]
fn every_state_at_rest_is_documented() {
    for state in AT_REST {
        assert!(DOCS.contains(&format!("| `{state}` |")), "{state}");
    }
}

fn names(files: &mut Files) -> Vec<String> {
    std::iter::from_fn(|| files.take()).map(|candidate| candidate.file.to_string()).collect()
}

#[test]
fn a_waiting_file_is_overtaken_only_by_the_file_it_waits_for() {
    let Stage { mut files, now, .. } = Stage::new();
    files.queue(found(1, 1), true, now);
    let second = files.take().unwrap();
    files.wait_behind(&second.file, PATHS[3].into());
    files.queue(found(2, 1), true, now);
    assert!(!files.has_ready());
    files.queue(found(0, 1), true, now);
    files.queue(found(3, 1), true, now);
    assert_eq!(names(&mut files), ["1.csv", "4.csv"]);
    files.put_off(&PATHS[3].into());
    assert_eq!(names(&mut files), ["2.csv", "3.csv"]);
}

#[test]
fn a_waiting_file_is_queued_once_however_often_it_changes() {
    let Stage { mut files, now, .. } = Stage::new();
    files.queue(found(1, 1), true, now);
    let candidate = files.take().unwrap();
    files.wait_behind(&candidate.file, PATHS[0].into());
    files.queue(found(0, 1), true, now);
    files.queue(found(1, 1), false, now);
    files.settle(found(1, 2), SETTLE, now);
    assert_eq!(names(&mut files), ["1.csv"]);
    files.put_off(&PATHS[0].into());
    assert!(!files.take().unwrap().queued.closed, "a change opens it again");
    assert!(!files.has_ready());
}
