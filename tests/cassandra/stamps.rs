//! Tests of law 2 for cells: each cell has the stamp of its record, whichever process wrote it and however often. An
//! empty column leaves no tombstone.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use scylla::value::CqlValue;
use serde_json::Value as Json;

use crate::common::{HEADER, csv, until};
use crate::place::{Dump, Place, text};
use crate::wire::{Way, holds, through};

const TABLES: [&str; 3] = ["session_item", "user_session", "user_song"];
const FILES: [&str; 2] = ["2018-12-01-events.csv", "2018-12-02-events.csv"];

fn stamped(place: &Place) -> Dump {
    TABLES.iter().map(|table| ((*table).to_owned(), place.stamped(table))).collect()
}

/// Returns the stamp of a record, computed from the receipt.
fn of_record(receipt: &Json, record: i64) -> i64 {
    let number = |range: &Json, key: &str| range[key].as_i64().unwrap();
    let ranges = receipt["stamps"].as_array().unwrap();
    let range = ranges.iter().find(|range| {
        let first = number(range, "first_record");
        (first..first + number(range, "records")).contains(&record)
    });
    let range = range.unwrap_or_else(|| panic!("{record} is in no range: {receipt}"));
    number(range, "base") + 2 * (record - number(range, "first_record"))
}

/// Asserts that each cell has the stamp of its record. The records of the file are these items of session 7, in
/// order.
fn assert_own_stamps(place: &Place, file: &str, items: std::ops::Range<i32>) {
    let receipt = place.receipt(file);
    let first = items.start;
    for item in items {
        let cql = format!(
            "SELECT WRITETIME(artist), WRITETIME(song), WRITETIME(length) FROM ks.session_item \
             WHERE sessionid = 7 AND iteminsession = {item}"
        );
        let stamp = Some(CqlValue::BigInt(of_record(&receipt, i64::from(item - first))));
        assert_eq!(place.rows(&cql), [vec![stamp.clone(), stamp.clone(), stamp]], "item {item} of {file}");
    }
}

#[test]
fn a_cell_keeps_the_stamp_of_its_record_through_runs_and_backfills() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILES[0], csv(0..20));
    place.drop_file(FILES[1], csv(20..30));
    place.once(0);
    assert_own_stamps(&place, FILES[0], 0..20);
    assert_own_stamps(&place, FILES[1], 20..30);
    let before = stamped(&place);
    place.once(0);
    assert_eq!(stamped(&place), before, "after a second run");

    // A backfill writes the rows under the stamps that they had.
    place.cql("DROP TABLE ks.session_item");
    let replayed = place.run(&["load", "--table", "session_item"]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert_eq!(stamped(&place), before, "after a replay");
}

#[test]
fn a_run_that_resumes_a_killed_run_uses_the_same_stamps() {
    let Some(place) = Place::new() else { return };
    // The load is slow, so that it can be killed in the middle.
    let mut place = place.with("write.window", "50").with("write.rows_per_second", "3000");
    place.drop_file(FILES[0], csv(0..3000));
    let mut killed = place.command(&["run", "--once"]);
    let mut killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("some of it is written", || {
        let found = place.try_cql("SELECT artist FROM ks.session_item WHERE sessionid = 7 LIMIT 300").ok()?;
        (found.len() == 300).then_some(())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let receipt = place.receipt(FILES[0]);
    let durable = receipt["records"].as_u64().unwrap();
    assert!(receipt["state"] == "loading" && durable > 0 && durable < 3000, "{receipt}");
    let before = place.stamped("session_item");

    place.set("write.rows_per_second", "0");
    let summary = place.once(0);
    assert_eq!(summary["records"]["read"], 3000 - durable, "only what was not durable is read again");
    let after = place.stamped("session_item");
    assert!(before.iter().all(|row| after.binary_search(row).is_ok()), "a cell has another stamp");
    assert_own_stamps(&place, FILES[0], 0..400);
    assert_eq!(place.receipt(FILES[0])["stamps"], receipt["stamps"]);
}

/// Another holder reserved stamps before it was gone, whether it handed them out or not.
#[test]
fn new_stamps_are_later_than_those_that_another_holder_reserved() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILES[0], csv(0..5));
    place.once(0);
    let base = |file: &str| place.receipt(file)["stamps"][0]["base"].as_i64().unwrap();
    let reserved = base(FILES[0]) + 5 * 60 * 1_000_000;
    place.cql(&format!("UPDATE ks.needledrop_lease SET stamps = {reserved} WHERE name = 'writer' IF EXISTS"));
    place.drop_file(FILES[1], csv(5..10));
    place.once(0);
    assert!(base(FILES[1]) >= reserved, "{} is before {reserved}", base(FILES[1]));
    assert_own_stamps(&place, FILES[1], 5..10);
}

/// Returns what the server found when it read a row: the number of live rows and the number of tombstones.
fn read(place: &Place) -> String {
    // The server records the steps of a query some time after it has answered.
    until("a trace has all steps", || {
        let steps = place.traced("SELECT * FROM ks.session_item WHERE sessionid = 7 AND iteminsession = 0");
        steps.into_iter().find(|step| step.starts_with("Read ") && step.contains("live rows"))
    })
}

#[test]
fn an_empty_column_leaves_no_tombstone_and_empty_clear_does() {
    let Some(mut place) = Place::new() else { return };
    let record = |artist: &str, length: &str| {
        format!("{HEADER}{artist},Ann,F,0,Lee,{length},free,\"X, Y\",7,Song,3\n")
    };
    place.drop_file(FILES[0], record("First", ""));
    place.once(0);
    let cell =
        "SELECT artist, length, WRITETIME(length), TTL(length) FROM ks.session_item WHERE sessionid = 7";
    let text = |text: &str| Some(CqlValue::Text(text.to_owned()));
    assert_eq!(place.rows(cell), [vec![text("First"), None, None, None]]);
    assert_eq!(read(&place), "Read 1 live rows and 0 tombstone cells");

    // An empty column keeps the earlier value and its stamp.
    place.drop_file(FILES[1], record("Second", "2.5"));
    place.once(0);
    place.drop_file("2018-12-03-events.csv", record("Third", ""));
    place.once(0);
    let stamp = CqlValue::BigInt(of_record(&place.receipt(FILES[1]), 0));
    assert_eq!(place.rows(cell), [vec![text("Third"), Some(CqlValue::Float(2.5)), Some(stamp), None]]);
    assert_eq!(read(&place), "Read 1 live rows and 0 tombstone cells");

    place.set("tables.session_item.empty", "clear");
    place.drop_file("2018-12-04-events.csv", record("Fourth", ""));
    place.once(0);
    assert_eq!(place.rows(cell), [vec![text("Fourth"), None, None, None]]);
    assert_eq!(read(&place), "Read 1 live rows and 1 tombstone cells");
}

/// Of two values of a row, one is greater in the first file and one in the second. Under one stamp the server would
/// take the greater of each.
#[test]
fn files_of_two_ledgers_on_the_same_rows_do_not_mix() {
    let Some(one) = Place::new() else { return };
    let ledgers = ["a", "b"].map(|name| format!("{}_{name}", one.keyspace));
    let other = one.beside().with("store.cassandra.ledger_keyspace", &ledgers[1]);
    let one = one.with("store.cassandra.ledger_keyspace", &ledgers[0]);
    other.once(0);
    one.once(0);
    // An earlier version leaves two ledgers like this: the next stamps of both are the same.
    let ahead = clock() + 60_000_000;
    for ledger in &ledgers {
        let row = "WHERE name = 'writer' IF EXISTS";
        one.cql(&format!("UPDATE {ledger}.needledrop_lease SET stamps = {ahead} {row}"));
    }
    let file = |artist: &str, song: &str| {
        csv(0..200).replace("Artist ", artist).replace("Song ", song).replace(",Ann,", &format!(",{song},"))
    };
    one.drop_file(FILES[0], file("A", "Z"));
    one.once(0);
    std::fs::remove_file(one.inbox().join(FILES[0])).unwrap();
    one.drop_file(FILES[1], file("Z", "A"));
    other.once(0);

    let rows = one.rows("SELECT artist, song FROM ks.session_item WHERE sessionid = 7");
    let begins = |value: &Option<CqlValue>| text(value.clone()).chars().next();
    let of_the_second =
        rows.iter().filter(|row| [begins(&row[0]), begins(&row[1])] == [Some('Z'), Some('A')]);
    assert_eq!((rows.len(), of_the_second.count()), (200, 200), "rows that nobody sent: {:?}", rows[0]);
    let told = one.run(&["check"]).stdout;
    let named = format!(
        "the ledger in keyspace {} writes to the tables of keyspace {} too",
        ledgers[1], one.keyspace
    );
    assert!(told.contains(&named) && !told.contains(&format!("in keyspace {} ", ledgers[0])), "{told}");
    ledgers.iter().for_each(|ledger| one.cql(&format!("DROP KEYSPACE {ledger}")));
}

fn clock() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// Among all compare-and-set requests, only the reservation of stamps has the name of the ledger among its values.
#[test]
fn stamps_whose_reservation_was_not_confirmed_are_never_used() {
    let Some(place) = Place::new() else { return };
    place.once(0);
    let ledger = place.keyspace.clone();
    // The streams on which such a statement is under way, and whether an answer was lost.
    let seen = Mutex::new((HashSet::new(), false));
    let arrives = move |way, frame: &[u8]| {
        let (streams, lost) = &mut *seen.lock().unwrap();
        let stream = [frame[2], frame[3]];
        if way == Way::ToNode {
            streams.remove(&stream);
            if holds(frame, &ledger) {
                streams.insert(stream);
            }
            return true;
        }
        let loses = !*lost && streams.contains(&stream) && holds(frame, "[applied]");
        *lost |= loses;
        !loses
    };
    let place = through(place, arrives).with("store.cassandra.request_timeout", "1s");
    let before = clock();
    place.drop_file(FILES[0], csv(0..5));
    place.once(0);
    let base = place.receipt(FILES[0])["stamps"][0]["base"].as_i64().unwrap();
    // A block reaches 5 s ahead of the clock. The next block begins after it.
    assert!(base >= before + 5_000_000, "{base} is in the block of {before}");
    assert_own_stamps(&place, FILES[0], 0..5);
}

/// The clock was a year ahead at one time, and is correct again.
#[test]
fn stamps_a_year_ahead_are_reported_and_continued_only_with_consent() {
    let Some(mut place) = Place::new() else { return };
    place.set("store.patience", "2s");
    place.drop_file(FILES[0], csv(0..2));
    place.once(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let year_ahead = i64::try_from(now).unwrap() + 365 * 86_400_000_000;
    place.cql(&format!("UPDATE ks.needledrop_stamps SET next = {year_ahead} WHERE name = 'stamps'"));
    place.drop_file(FILES[1], csv(2..4));
    let output = place.run(&["run", "--once"]);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("next: correct the clock"), "{output:?}");
    let check = place.run(&["check"]);
    assert!(check.code == 3 && check.stdout.contains("WRONG  stamps"), "{check:?}");
    place.set("store.stamps_ahead", "accept");
    place.once(0);
    let cql = "SELECT WRITETIME(artist) FROM ks.session_item WHERE sessionid = 7 AND iteminsession = 2";
    let written = place.rows(cql);
    assert!(matches!(written[0][0], Some(CqlValue::BigInt(stamp)) if stamp >= year_ahead), "{written:?}");
}
