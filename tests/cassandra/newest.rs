//! Tables with `newest_by`: the record with the greatest value of a column gives the row of its key, whichever came last.

use std::ops::{Deref, DerefMut};

use scylla::value::CqlValue;

use crate::common::World;
use crate::newest_stories::{self, DECLARATION_CHANGES, Subject, YAML, deliver, put};
use crate::place::{Place, text};
use crate::steps::steps;

const N: &str = "SELECT k, at, v, w FROM ks.n";

struct InCassandra(Place);

impl Deref for InCassandra {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for InCassandra {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

impl Subject for InCassandra {
    fn rows(&self) -> Vec<String> {
        let cell = |cell: Option<CqlValue>| match cell {
            None => "-".to_owned(),
            Some(CqlValue::Int(n)) => n.to_string(),
            other => text(other),
        };
        let row = |row: Vec<Option<CqlValue>>| row.into_iter().map(cell).collect::<Vec<_>>().join(" ");
        let mut rows: Vec<String> = self.0.rows(N).into_iter().map(row).collect();
        rows.sort();
        rows
    }
}

fn place() -> Option<InCassandra> {
    Place::of(YAML).map(InCassandra)
}

#[test]
fn the_newest_record_is_the_row() {
    let Some(place) = place() else { return };
    newest_stories::the_newest_record_is_the_row(&place);
}

#[test]
fn a_file_grows_after_another_was_loaded() {
    let Some(place) = place() else { return };
    newest_stories::a_file_grows_after_another_was_loaded(&place);
}

#[test]
fn after_an_undo_the_next_newest_record_is_the_row() {
    let Some(place) = place() else { return };
    newest_stories::after_an_undo_the_next_newest_record_is_the_row(&place);
}

#[test]
fn a_replayed_record_wins_if_it_is_newer() {
    let Some(mut place) = place() else { return };
    // One of them has the value of a restored row, which may be its own.
    assert_eq!(newest_stories::a_replayed_record_wins_if_it_is_newer(&mut place), 3);
}

#[test]
fn a_backfill_gives_the_newest_record() {
    for change in DECLARATION_CHANGES {
        let Some(mut place) = place() else { return };
        newest_stories::a_backfill_gives_the_newest_record(&mut place, change);
    }
}

/// The rows do not depend on how many records or files are sent together.
#[test]
fn windows_of_any_size_give_the_same_rows() {
    let record = |n: u32| format!("{},{},v{n},\n", n % 7, (n * 37) % 101);
    let mut found = Vec::new();
    for window in ["1", "7", "1000"] {
        let Some(mut place) = place() else { return };
        place.set("write.window", window);
        for file in 0..12 {
            put(
                &place,
                &format!("{file:02}.csv"),
                &(file * 30..file * 30 + 30).map(record).collect::<String>(),
            );
        }
        let summary = place.once(0);
        found.push((place.rows(), summary["tables"]["n"]["older"].clone()));
    }
    assert!(found.windows(2).all(|two| two[0] == two[1]) && found[0].0.len() == 7, "{found:?}");
}

/// A row that was sent and never counted does not hold back what came in its place.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_row_that_was_never_counted_holds_back_no_other() {
    let Some(place) = place() else { return };
    place.once(0);
    let mut uncounted = 0;
    for step in steps() {
        place.0.empty();
        put(&place, "a.csv", "1,9,a,A\n");
        let run = place.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        let has_ended = run.unwrap().status.success();
        let was_sent = !place.rows().is_empty();
        put(&place, "a.csv", "1,5,corrected,\n");
        place.once(0);
        let earlier = place.run(&["receipt", "a.csv", "--generation", "1", "--json"]).json();
        let is_counted =
            earlier["loaded"] == 1 && earlier["generation"] == 1 && place.generations("a.csv") > 1;
        let expected = if is_counted { "1 9 a A" } else { "1 5 corrected -" };
        assert_eq!(place.rows(), [expected], "killed at step {step}: {earlier}");
        uncounted += u32::from(was_sent && !is_counted);
        if has_ended {
            break;
        }
    }
    if std::env::var_os("NEEDLEDROP_EVERY_STEP").is_some() {
        assert!(uncounted > 0);
    }
}

#[test]
fn a_table_that_another_ledger_writes_to_or_that_expires_is_refused() {
    let Some(place) = place() else { return };
    deliver(&place, "a.csv", "1,5,a,A\n");
    place.0.cql("ALTER TABLE ks.n WITH default_time_to_live = 60");
    let output = place.run(&["run", "--once"]);
    assert!(output.code == 2 && output.stderr.contains("newest_by and default_time_to_live"), "{output:?}");
    place.0.cql("ALTER TABLE ks.n WITH default_time_to_live = 0");
    place.0.cql("UPDATE ks.needledrop_stamps SET ledgers['other'] = 1 WHERE name = 'stamps'");
    let output = place.run(&["run", "--once"]);
    assert!(output.code == 2 && output.stderr.contains("the ledger in keyspace other loads"), "{output:?}");
}
