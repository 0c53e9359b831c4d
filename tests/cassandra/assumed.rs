//! Tests of taking over tables that another program created and filled: its files are assumed loaded, and the next
//! day is loaded.

use serde_json::{Value as Json, json};

use crate::common::{HEADER, csv, events};
use crate::place::{Dump, Place};
use crate::steps::steps;

const DAYS: [&str; 3] = ["2018-11-01-events.csv", "2018-11-02-events.csv", "2018-11-03-events.csv"];

/// The tables as a batch job declares them: in lower case, without quotes.
const TABLES: [&str; 3] = [
    "session_item (sessionid int, iteminsession int, artist text, song text, length float, \
     PRIMARY KEY (sessionid, iteminsession))",
    "user_session (sessionid int, userid int, iteminsession int, artist text, song text, firstname text, \
     lastname text, PRIMARY KEY ((sessionid, userid), iteminsession))",
    "user_song (song text, userid int, firstname text, lastname text, PRIMARY KEY (song, userid))",
];

/// Does what the batch job did: creates three tables, and inserts row by row with the server's clock.
/// The artists are marked, so that a row that is written again is visible.
fn batch_job(place: &Place, items: std::ops::Range<u32>) {
    for table in TABLES {
        place.cql(&format!("CREATE TABLE ks.{table}"));
    }
    for n in items {
        let of_session = format!("7, {n}, 'Old {n}', 'Song {n}', 100.5");
        let columns = "sessionid, iteminsession, artist, song, length";
        place.cql(&format!("INSERT INTO ks.session_item ({columns}) VALUES ({of_session})"));
        let of_user = format!("7, 3, {n}, 'Old {n}', 'Song {n}', 'Ann', 'Lee'");
        let columns = "sessionid, userid, iteminsession, artist, song, firstname, lastname";
        place.cql(&format!("INSERT INTO ks.user_session ({columns}) VALUES ({of_user})"));
        let columns = "song, userid, firstname, lastname";
        place.cql(&format!("INSERT INTO ks.user_song ({columns}) VALUES ('Song {n}', 3, 'Ann', 'Lee')"));
    }
}

fn taken_over() -> Option<Place> {
    let place = Place::new()?;
    batch_job(&place, 0..6);
    place.drop_file(DAYS[0], csv(0..4));
    place.drop_file(DAYS[1], csv(4..6));
    Some(place)
}

fn assume(place: &Place) -> Json {
    place.json(&["load", "inbox", "--assume-loaded"])
}

/// Returns the declared tables with the stamp of each cell.
fn stamped(place: &Place) -> Dump {
    let names = TABLES.map(|table| table.split(' ').next().unwrap());
    names.map(|name| (name.to_owned(), place.stamped(name))).into()
}

/// Asserts that every earlier row is unchanged, with the stamp of each cell.
fn assert_untouched(before: &Dump, after: &Dump) {
    for (table, rows) in before {
        assert!(rows.iter().all(|row| after[table].contains(row)), "{table}: {before:?}\n{after:?}");
    }
}

fn artists(place: &Place) -> Vec<String> {
    let rows = place.query("session_item", &["sessionId=7"]);
    rows.iter().map(|row| row[2].as_str().unwrap().to_owned()).collect()
}

fn story(place: &Place) {
    let before = stamped(place);
    let summary = assume(place);
    assert_eq!(summary["deliveries"], json!({ "loaded": 2 }));
    assert_eq!((&summary["records"]["assumed"], &summary["tables"]), (&json!(6), &json!({})));
    assert_eq!(stamped(place), before, "no cell is written");

    place.drop_file(DAYS[2], csv(6..8));
    let next = place.once(0);
    assert_eq!((&next["deliveries"], &next["records"]["read"]), (&json!({ "loaded": 1 }), &json!(2)));
    assert_untouched(&before, &stamped(place));
    let expected = ["Old 0", "Old 1", "Old 2", "Old 3", "Old 4", "Old 5", "Artist 6", "Artist 7"];
    assert_eq!(artists(place), expected);

    let receipt = place.receipt(DAYS[0]);
    let account = ["state", "loaded", "assumed", "closes"].map(|key| receipt[key].clone());
    assert_eq!(account, [json!("loaded"), json!(4), json!(4), json!(true)]);
    assert_eq!(receipt["tables"]["user_song"]["rows"], 0);
    let status = place.json(&["status"]);
    assert_eq!(status["tables"]["session_item"]["rows_written"], 2);
    assert_eq!((&status["backlog"]["files"], &status["states"]), (&json!(0), &json!({ "loaded": 3 })));
    assert_eq!(assume(place)["deliveries"], json!({}), "a second call has nothing to do");
}

#[test]
fn tables_of_a_batch_job_are_taken_over_with_its_files() {
    let Some(place) = taken_over() else { return };
    assert_eq!(place.run(&["check"]).code, 0);
    story(&place);
}

#[test]
fn tables_of_a_batch_job_are_taken_over_without_create_schema() {
    let Some(place) = taken_over() else { return };
    let mut place = place.with("store.create_schema", "false");
    let refused = place.run(&["load", "inbox", "--assume-loaded"]);
    assert!(refused.code == 2 && refused.stderr.contains("schema --apply"), "{refused:?}");
    // The ledger is created once, with `schema --apply`.
    place.set("store.create_schema", "true");
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    place.set("store.create_schema", "false");
    story(&place);
}

#[test]
fn later_records_win_over_batch_job_rows_also_after_a_backfill() {
    let Some(place) = taken_over() else { return };
    assume(&place);
    place.drop_file(DAYS[2], format!("{HEADER}Late,Ann,F,0,Lee,1.5,free,\"X, Y\",7,Song 0,3\n"));
    place.once(0);
    assert_eq!(artists(&place)[..2], ["Late", "Old 1"]);
    place.cql("DROP TABLE ks.session_item");
    let played = place.run(&["load", "--table", "session_item"]);
    assert_eq!(played.code, 0, "{played:?}");
    assert_eq!(artists(&place)[..2], ["Late", "Artist 1"], "under their own stamps");
    assert_eq!(place.receipt(DAYS[0])["closes"], true);
}

#[test]
fn growth_copies_and_new_content_are_distinguished() {
    let Some(place) = taken_over() else { return };
    assume(&place);
    place.drop_file("copy.csv", csv(0..4));
    assert_eq!(place.once(0)["deliveries"], json!({ "duplicate": 1 }));
    place.append(DAYS[0], events(10..12));
    let run = place.once(0);
    assert_eq!(run["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(run["records"]["read"], 2, "only the appended records are read");
    let receipt = place.receipt(DAYS[0]);
    assert_eq!((&receipt["loaded"], &receipt["closes"]), (&json!(6), &json!(true)));
    place.drop_file(DAYS[1], csv(20..23));
    assert_eq!(place.once(0)["records"]["loaded"], 3);
    assert_eq!(place.generations(DAYS[1]), 2);
    assert_eq!(artists(&place)[..6], ["Old 0", "Old 1", "Old 2", "Old 3", "Old 4", "Old 5"]);
}

#[test]
fn assume_loaded_is_refused_for_a_keyspace_with_empty_tables() {
    let Some(place) = Place::new() else { return };
    place.drop_file(DAYS[0], csv(0..4));
    let refused = place.run(&["load", "inbox", "--assume-loaded"]);
    assert!(refused.code == 2 && refused.stderr.contains("its tables are empty"), "{refused:?}");
    assert_eq!(place.json(&["status"])["deliveries"], json!([]));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_run_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let Some(place) = taken_over() else { return };
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    let before = stamped(&place);
    for step in steps() {
        let ledger = ["deliveries", "paths", "heads"];
        ledger.iter().for_each(|table| place.cql(&format!("TRUNCATE ks.needledrop_{table}")));
        let mut run = place.command(&["load", "inbox", "--assume-loaded"]);
        let aborted = run.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        if aborted.status.success() {
            assert!(step > 4, "crash points are missing: {step}");
            break;
        }
        assume(&place);
        for day in &DAYS[..2] {
            let receipt = place.receipt(day);
            assert_eq!((&receipt["state"], place.generations(day)), (&json!("loaded"), 1), "step {step}");
        }
        assert_eq!(stamped(&place), before, "step {step}");
    }
}
