//! Any events in any order keep the files in legal states, and all files come to rest once the events end.

mod events;
mod stage;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use events::events;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stage::{AT_REST, FILES, SETTLE, Stage, found};
use tracing::Level;

use crate::domain::{Feed, FileKey};
use crate::pipeline::discover::files::Files;

const DOCS: &str = include_str!("../../../../docs/file-states.md");

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
    files.wait_behind(&second.file, FileKey::from_text(FILES[3]));
    files.queue(found(2, 1), true, now);
    assert!(files.next().is_none());
    files.queue(found(0, 1), true, now);
    files.queue(found(3, 1), true, now);
    assert_eq!(names(&mut files), ["1.csv", "clicks//2.csv"]);
    files.put_off(&FileKey::from_text(FILES[3]));
    assert_eq!(names(&mut files), ["3.csv", "clicks//1.csv"]);
}

#[test]
fn a_waiting_file_is_queued_once_however_often_it_changes() {
    let Stage { mut files, now, .. } = Stage::new();
    files.queue(found(1, 1), true, now);
    let candidate = files.take().unwrap();
    files.wait_behind(&candidate.file, FileKey::from_text(FILES[0]));
    files.queue(found(0, 1), true, now);
    files.queue(found(1, 1), false, now);
    files.settle(found(1, 2), SETTLE, now);
    assert_eq!(names(&mut files), ["1.csv"]);
    files.put_off(&FileKey::from_text(FILES[0]));
    assert!(!files.take().unwrap().queued.closed, "a change opens it again");
    assert!(files.next().is_none());
}

#[test]
fn a_file_that_is_open_waits_for_its_time_or_until_it_is_closed() {
    let Stage { mut files, now, .. } = Stage::new();
    let (one, due) = (found(0, 1), now + SETTLE);
    files.queue(one.clone(), false, now);
    let taken = files.take().unwrap();
    assert!(!taken.queued.was_open);
    files.open(&taken.file, due);
    assert_eq!((files.totals(&Feed::default()).backlog, files.next_due()), (1, Some(due)));
    files.offer(found(0, 2), false, now);
    files.settle(found(0, 2), SETTLE, now);
    assert!(files.next().is_none(), "listings and writes do not bring it back");
    files.offer(found(0, 2), true, now);
    let taken = files.take().unwrap();
    assert!(taken.queued.closed && taken.queued.was_open);
    files.open(&taken.file, due);
    files.settled(due);
    assert!(files.take().unwrap().queued.was_open, "it is logged once");
}
