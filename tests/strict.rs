//! Tests of law 5: a value is stored as it was written, or it is refused. Nothing is guessed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

#[path = "strict/collections.rs"]
mod collections;

use std::fs;

use common::{Rows, World};
use serde_json::{Value as Json, json};

fn world(columns: &str, tables: &str) -> World {
    World::of(&format!(
        "source:\n  folder: inbox\n  columns: {{ {columns} }}\ntables:\n{tables}store: {{ sqlite: {{ path: store.db }} }}\n"
    ))
}

fn declare(world: &World, from: &str, to: &str) {
    let file = world.path("config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

/// Returns line, column, reason and detail of each open entry.
fn quarantined(world: &World) -> Vec<(u64, Json, String, String)> {
    let entries = world.json(&["quarantine", "list"]);
    let entry = |entry: &Json| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        (entry["line"].as_u64().unwrap(), entry["column"].clone(), text("reason"), text("detail"))
    };
    entries.as_array().unwrap().iter().map(entry).collect()
}

fn lines(world: &World) -> Vec<u64> {
    quarantined(world).iter().map(|(line, ..)| *line).collect()
}

const QUOTES: &str = r#"k,v,w
0,before,3
1,"Hey, I "missed" it",3
2,"ab"c,3
3,"ab" ,3
4,"He said "hi, there" ok"
5,"a""b"c"d",3
6,""a"",3
7,"O"Brien, "A"nn
8,5" pipe,3
9, "Jones",3
10,"lines
 "in" it",3
11,"a ""quote""","x,
y"
"#;

fn quotes() -> World {
    let table = "  t: { answers: x, partition_key: [k], columns: [v, w] }\n";
    let world = world("k: int, v: text, w: text", table);
    world.drop_file("a.csv", QUOTES);
    world.once(1);
    world
}

#[test]
fn a_malformed_quote_refuses_its_record_and_no_other() {
    let world = quotes();
    let rows = world.tables()["t"].clone();
    assert_eq!(
        rows,
        [[json!(0), json!("before"), json!("3")], [json!(11), json!("a \"quote\""), json!("x,\ny")]]
    );
    let entries = quarantined(&world);
    assert_eq!(lines(&world), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    for (line, column, reason, detail) in &entries {
        assert_eq!((column, reason.as_str()), (&json!("v"), "quote"), "line {line}");
        assert!(
            detail.contains("a quote that is part of the text is written twice"),
            "line {line}: {detail}"
        );
    }
    let byte = QUOTES.find("\"missed").unwrap();
    assert!(entries[0].3.starts_with(&format!("field 2 does not end at its closing quote, at byte {byte}")));
    let byte = QUOTES.find("\" pipe").unwrap();
    assert!(
        entries[7].3.starts_with(&format!("field 2 has a quote at byte {byte} and does not begin with one"))
    );
    let receipt = world.receipt("a.csv");
    let counts = ["records", "loaded", "quarantined", "closes"].map(|key| receipt[key].clone());
    assert_eq!(json!(counts), json!([12, 2, 10, true]));
}

#[test]
fn replay_backfill_and_export_read_quotes_as_loading_does() {
    let world = quotes();
    let replayed = world.run(&["quarantine", "replay", "--json"]);
    let summary: Json = serde_json::from_str(&replayed.stdout).unwrap();
    assert_eq!((replayed.code, &summary["reasons"]), (1, &json!({ "quote": 10 })), "{replayed:?}");
    declare(&world, "store:", "  u: { answers: x, partition_key: [w], columns: [k] }\nstore:");
    assert_eq!(world.run(&["load", "--table", "u"]).code, 0);
    assert_eq!(world.tables()["u"].len(), 2);
    let exported = world.run(&["export"]).stdout;
    assert_eq!(exported, "\"k\",\"v\",\"w\"\n\"0\",\"before\",\"3\"\n\"11\",\"a \"\"quote\"\"\",\"x,\ny\"\n");
}

#[test]
fn the_malformed_quote_is_marked() {
    let world = quotes();
    let shown = world.run(&["quarantine", "show", "a.csv", "4"]).stdout;
    assert!(
        shown.contains("column  v (field 2)") && shown.ends_with("record  2,\"ab\"c,3\n             ^\n"),
        "{shown}"
    );
    let cells = world.run(&["quarantine", "list", "--csv"]).stdout;
    assert!(cells.contains(",,,,\"2,\"\"ab\"\"c,3\"\n"), "the last cell has the unchanged record: {cells}");
}

#[test]
fn a_malformed_last_record_without_line_end_is_refused_too() {
    let world = world("k: int, v: text", "  t: { answers: x, partition_key: [k], columns: [v] }\n");
    world.drop_file("a.csv", "k,v\n1,a\n2,\"b\"c");
    world.once(1);
    assert_eq!((lines(&world), world.receipt("a.csv")["state"].clone()), (vec![3], json!("loaded")));
}

#[test]
fn a_header_with_a_malformed_quote_fails_the_delivery() {
    let world = world("k: int, v: text", "  t: { answers: x, partition_key: [k], columns: [v] }\n");
    world.drop_file("a.csv", "k,\"v\"x\n1,a\n");
    world.once(1);
    let receipt = world.receipt("a.csv");
    assert_eq!(receipt["state"], "failed");
    let detail = receipt["detail"].as_str().unwrap();
    assert!(
        detail.contains("line 1: the header is not valid CSV: field 2") && detail.contains("next:"),
        "{detail}"
    );
}

#[test]
fn a_value_that_would_have_to_be_guessed_is_refused() {
    const VALUES: &str = "k,ts,ti,m,f
1,2018-11-01T21:01:46[America/New_York],,,
2,2018-11-01T21:01:46[Europe/Berlin],,,
3,2018-11-01T21:01:46-04:00[America/New_York],,,
4,2016-12-31T23:59:60Z,,,
5,2018-11-01T12:30:60,,,
6,\"2018-11-01T21:01:46,796Z\",,,
7,2018-11-01[u-ca=hebrew],,,
8,2018-11-01T21,,,
9,20181101,,,
10,20181101T210146Z,,,
11,+002018-11-01T21:01:46Z,,,
12,,,1_000,
13,,,1__0,
14,,,1._5,
15,,,1_,
16,,,0e999,
17,,23:59:60,,
18,,12:30:60.5,,
19,,\"21:01:46,5\",,
20,,21:01[Europe/Berlin],,
21,\t2018-11-01,,,
22,,,\t1,
23,,,1\r,
24,,,,1e-400
25,2018-11-01T21:01:46-04:00, 21:01 , -0.50 ,-0
";
    let table = "  t: { answers: x, partition_key: [k], columns: [ts, ti, m, f] }\n";
    let world = world("k: int, ts: timestamp, ti: time, m: decimal, f: double", table);
    world.drop_file("a.csv", VALUES);
    world.once(1);
    let expected = json!([[25, "2018-11-02T01:01:46.000Z", "21:01:00.000000000", "-0.50", 0.0]]);
    assert_eq!(json!(world.tables()["t"]), expected);
    assert_eq!(lines(&world), (2..=25).collect::<Vec<_>>());
}

/// Returns the rows in the order of the clustering key.
fn sorted(world: &World) -> Rows {
    world.query("t", &["k=1"])
}

#[test]
fn the_first_and_the_last_instant_are_stored_and_sorted() {
    const TIMES: &str = "k,ts,v
1,9999-12-31,a
1,9999-12-31T23:59:59Z,b
1,9999-12-30T22:00:00Z,c
1,9999-12-31T23:59:59.999Z,d
1,3000-01-01,e
1,0000-01-01,f
1,2018-11-01,g
1,9999-12-31T23:59:59-00:01,out
1,0000-01-01T00:00+00:01,out
";
    let table = "  t: { answers: x, partition_key: [k], clustering_key: [ts], columns: [v] }\n";
    let world = world("k: int, ts: timestamp, v: text", table);
    world.drop_file("a.csv", TIMES);
    world.once(1);
    let (times, names): (Vec<_>, Vec<_>) =
        sorted(&world).iter().map(|row| (row[1].as_str().unwrap().to_owned(), row[2].clone())).unzip();
    assert_eq!(names, ["f", "g", "e", "c", "a", "b", "d"]);
    assert_eq!(
        (times[0].as_str(), times[6].as_str()),
        ("0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z")
    );
    let beyond: Vec<_> = quarantined(&world).into_iter().map(|(line, _, reason, _)| (line, reason)).collect();
    assert_eq!(beyond, [(9, "range".to_owned()), (10, "range".to_owned())]);
    let last = world.query("t", &["k=1", "ts=9999-12-31T23:59:59.999Z"]);
    assert_eq!(last.len(), 1);
}

fn numbers(unit: &str, numbers: &[&str]) -> World {
    let table = "  t: { answers: x, partition_key: [k], clustering_key: [ts] }\n";
    let world = world(&format!("k: int, ts: {unit}"), table);
    let records: String = numbers.iter().map(|n| format!("1,{n}\n")).collect();
    world.drop_file("a.csv", format!("k,ts\n{records}"));
    world
}

fn times(world: &World) -> Vec<String> {
    sorted(world).iter().map(|row| row[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_number_in_a_timestamp_needs_a_declared_unit() {
    let world = numbers("timestamp", &["1709251200", "1541106106796", "20240301", "253402300799999"]);
    world.once(1);
    assert_eq!((lines(&world), times(&world)), (vec![2, 3, 4, 5], vec![]));
    for (.., reason, detail) in quarantined(&world) {
        assert!(detail.contains("declare it as { type: timestamp, unit: s | ms | us }"), "{detail}");
        assert_eq!(reason, "value");
    }
    // Milliseconds were the unit before units could be declared, so no table falls behind.
    declare(&world, "ts: timestamp", "ts: { type: timestamp, unit: ms }");
    let replayed = world.run(&["quarantine", "replay"]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert_eq!(times(&world)[3], "9999-12-31T23:59:59.999Z");
    assert!(!world.run(&["status"]).stdout.contains("behind"));
    // A query takes the number as it is written in the file, or the time as it is shown.
    for at in ["1541106106796", "2018-11-01T21:01:46.796Z"] {
        assert_eq!(world.query("t", &["k=1", &format!("ts={at}")]).len(), 1, "{at}");
    }
}

#[test]
fn a_unit_defines_what_numbers_count() {
    let world = numbers("{ type: timestamp, unit: s }", &["1709251200", "-1", "2024-03-01"]);
    world.once(1);
    assert_eq!(times(&world), ["1969-12-31T23:59:59.000Z", "2024-03-01T00:00:00.000Z"]);
    assert!(quarantined(&world)[0].3.ends_with("must be a number of seconds since 1970 (unit: s)"));
    // Another unit is another declaration, so the table is behind.
    declare(&world, "unit: s ", "unit: ms ");
    assert!(world.run(&["status"]).stdout.contains("behind"));
    let world = numbers("{ type: timestamp, unit: us }", &["1541106106796000", "1541106106796001"]);
    world.once(1);
    assert_eq!(times(&world), ["2018-11-01T21:01:46.796Z"]);
    assert!(quarantined(&world)[0].3.ends_with("must be no finer than a millisecond"));
}
