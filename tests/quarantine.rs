//! Tests of law 5: a record that cannot become rows is kept with everything that is needed to fix it, and the file
//! continues.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

#[path = "quarantine/failed.rs"]
mod failed;
#[path = "quarantine/hints.rs"]
mod hints;
#[path = "quarantine/limit.rs"]
mod limit;
#[path = "quarantine/replay.rs"]
mod replay;
#[path = "quarantine/seen.rs"]
mod seen;

use common::{HEADER, World, events};
use serde_json::{Value as Json, json};

const FILE: &str = "2018-11-01-events.csv";

/// One record for each reason: its bytes, the column at fault, and a word of the explanation.
const CASES: [(&str, &[u8], Option<&str>, &str); 10] = [
    ("fields", b"A,Ann,F,0,Lee", None, "5 fields where the header has 11"),
    ("fields", b"A,Ann,F,0,Lee,1.5,free,X,7,Song,3,more", None, "12 fields"),
    ("empty_key", b"A,Ann,F,0,Lee,1.5,free,X,7,Song,", Some("userId"), "user_session"),
    ("value", b"A,Ann,F,zero,Lee,1.5,free,X,7,Song,3", Some("itemInSession"), "\"zero\" must be"),
    ("value", b"A,Ann,F,0,Lee,NaN,free,X,7,Song,3", Some("length"), "\"NaN\" must be"),
    ("range", b"A,Ann,F,2147483648,Lee,1.5,free,X,7,Song,3", Some("itemInSession"), "2147483647"),
    ("encoding", b"Caf\xe9,Ann,F,0,Lee,1.5,free,X,7,Song,3", Some("artist"), "UTF-8"),
    (
        "quote",
        b"A,\"An\"n,F,0,Lee,1.5,free,X,7,Song,3",
        Some("firstName"),
        "field 2 does not end at its closing",
    ),
    ("quote", b"A,Ann,F,0,Le\"e,1.5,free,X,7,Song,3", Some("lastName"), "field 5 has a quote at byte"),
    ("quote", b"A,\"Ann,F,0,Lee,1.5,free,X,7,Song,3", None, "quote"),
];

fn loaded(bytes: impl AsRef<[u8]>, code: i32) -> World {
    let world = World::new().with("limits.max_record_bytes", "200");
    world.drop_file(FILE, bytes);
    world.once(code);
    world
}

fn entries(world: &World, filter: &[&str]) -> Vec<Json> {
    world.json(&[&["quarantine", "list"], filter].concat()).as_array().unwrap().clone()
}

#[test]
fn each_reason_is_listed_with_line_byte_column_and_raw_bytes() {
    for (reason, raw, column, why) in CASES {
        let before = format!("{HEADER}{}\n", events(0..2));
        // No later quote may close the open quote, which is detected at the limit for a record.
        let after = events(2..9).replace("\"X, Y\"", "X");
        let bytes = [before.as_bytes(), raw, b"\n", after.as_bytes()].concat();
        let world = loaded(&bytes, 1);
        let found = entries(&world, &[]);
        assert_eq!(found.len(), 1, "{reason}: {found:?}");
        let entry = &found[0];
        let text = String::from_utf8_lossy(raw);
        let expected = json!({
            "feed": "", "file": FILE, "generation": 1, "record": 2,
            // The header, two records and a blank line come before it.
            "line": 5, "byte": before.len(), "bytes": raw.len(),
            "reason": reason, "column": column, "detail": entry["detail"], "state": "open", "raw": text,
        });
        assert_eq!(*entry, expected);
        assert!(entry["detail"].as_str().unwrap().contains(why), "{reason}: {entry}");
        let store = world.open_store();
        let sql = "SELECT raw FROM _needledrop_quarantine";
        let kept: Vec<u8> = store.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, raw, "{reason}: the raw bytes are unchanged");
        let receipt = world.receipt(FILE);
        let counts = ["records", "loaded", "quarantined", "state", "closes"].map(|key| receipt[key].clone());
        assert_eq!(json!(counts), json!([10, 9, 1, "loaded", true]), "{reason}");
        assert_eq!(world.tables()["session_item"].len(), 9, "{reason}: the other records are loaded");
    }
}

#[test]
fn a_record_over_the_limit_is_one_entry_that_keeps_its_beginning() {
    let monster = format!("{}\n", "x".repeat(3_000_000));
    let world = loaded(format!("{HEADER}{}{monster}{}", events(0..2), events(2..4)), 1);
    let found = entries(&world, &[]);
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["reason"], &found[0]["bytes"]), (&json!("too_long"), &json!(3_000_000)));
    assert_eq!((&found[0]["record"], &found[0]["line"]), (&json!(2), &json!(4)));
    let kept = found[0]["raw"].as_str().unwrap();
    assert!(!kept.is_empty() && kept.len() < 10_000 && kept.bytes().all(|byte| byte == b'x'));
    assert_eq!(world.tables()["session_item"].len(), 4);
}

/// Loads two files with bad records of several reasons and a skipped record.
fn mixed() -> World {
    let records: Vec<u8> = CASES[..7].iter().flat_map(|(_, raw, ..)| [raw, &b"\n"[..]].concat()).collect();
    let world = World::new();
    world.drop_file("a.csv", [HEADER.as_bytes(), events(0..5).as_bytes(), &records].concat());
    world.drop_file("b.csv", format!("{HEADER}{},,,,,,,,,,\nbad\n", events(5..6)));
    let summary = world.once(1);
    let expected = json!({ "read": 15, "loaded": 6, "skipped": 1, "quarantined": 8 });
    assert_eq!(summary["records"], expected);
    world
}

#[test]
fn counts_close_over_bad_input() {
    let world = mixed();
    for (file, expected) in [("a.csv", json!([12, 5, 0, 7, true])), ("b.csv", json!([3, 1, 1, 1, true]))] {
        let receipt = world.receipt(file);
        let counts = ["records", "loaded", "skipped", "quarantined", "closes"].map(|key| &receipt[key]);
        assert_eq!(json!(counts), expected, "{file}");
    }
    assert_eq!(world.once(0)["deliveries"], json!({}), "a failed file is not loaded again by the next run");
    assert_eq!(entries(&world, &[]).len(), 8);
}

#[test]
fn the_list_can_be_filtered() {
    let world = mixed();
    let cases: [(&[&str], usize); 7] = [
        (&[], 8),
        (&["--file", "a.csv"], 7),
        (&["--file", "b.csv"], 1),
        (&["--reason", "fields"], 3),
        (&["--column", "itemInSession"], 2),
        (&["--column", "itemInSession", "--reason", "range"], 1),
        (&["--file", "b.csv", "--reason", "value"], 0),
    ];
    for (filter, count) in cases {
        assert_eq!(entries(&world, filter).len(), count, "{filter:?}");
        let csv = world.run(&[&["quarantine", "list", "--csv"], filter].concat()).stdout;
        assert!(csv.starts_with("file,line,byte,reason,column,detail,artist,firstName,"), "{csv}");
        assert_eq!(csv.lines().count(), count + 1, "{filter:?}: {csv}");
    }
    assert!(world.run(&["quarantine", "list"]).stdout.contains("itemInSession"));
    let unknown = world.run(&["quarantine", "list", "--file", "c.csv"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("c.csv is not in the ledger"), "{unknown:?}");
}

#[test]
fn one_record_can_be_shown() {
    let world = mixed();
    let shown = world.run(&["quarantine", "show", "inbox/b.csv", "4"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("b.csv:4: fields") && shown.stdout.ends_with("record  bad\n"), "{shown:?}");
    assert_eq!(world.json(&["quarantine", "show", "b.csv", "4"])["raw"], "bad");
    let nothing = world.run(&["quarantine", "show", "b.csv", "2"]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.stderr.contains("line 2") && nothing.stderr.contains("next:"), "{nothing:?}");
}

#[test]
fn a_delivery_over_its_limit_fails_and_no_other() {
    let cases = [
        ("2", 2, false),
        ("2", 3, true),
        ("10%", 11, false),
        ("10%", 12, true),
        ("50%", 101, true),
        ("off", 150, false),
    ];
    for (limit, bad, fails) in cases {
        let world = World::new().with("limits.max_quarantined", limit);
        world.drop_file("a.csv", format!("{HEADER}{}{}", events(0..100), "bad\n".repeat(bad)));
        world.drop_file("b.csv", format!("{HEADER}{}", events(100..105)));
        world.once(1);
        let receipt = world.receipt("a.csv");
        assert_eq!(receipt["state"], if fails { "failed" } else { "loaded" }, "{limit}, {bad}: {receipt}");
        assert_eq!(receipt["closes"], true, "{limit}, {bad}: {receipt}");
        assert_eq!(receipt["detail"].as_str().unwrap().contains("limits.max_quarantined"), fails);
        assert_eq!(world.receipt("b.csv")["state"], "loaded", "{limit}, {bad}");
        let row = |item: &str| {
            world.query("session_item", &["sessionId=7", &format!("itemInSession={item}")]).len()
        };
        assert_eq!((row("99"), row("104")), (usize::from(!fails), 1), "{limit}, {bad}");
    }
}
