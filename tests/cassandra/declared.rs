//! Tests that another domain needs only another YAML file, and of table features that only Cassandra has.

use serde_json::json;

use crate::common::World;
use crate::place::Place;
use crate::trades;

/// Returns a place for the shipped example, with the example's files in the inbox.
fn trades() -> Option<Place> {
    let place = Place::of(&trades::example())?;
    trades::copy_in(&place);
    Some(place)
}

#[test]
fn the_trades_are_loaded_and_their_tables_answer_the_declared_questions() {
    let Some(place) = trades() else { return };
    trades::assert_answers(&place);
}

#[test]
fn types_and_clustering_order_are_those_of_the_declaration() {
    let Some(place) = trades() else { return };
    place.once(0);
    let columns = place.columns();
    let of = |table: &str| -> Vec<String> {
        columns.iter().filter(|column| column.starts_with(&format!("{table} "))).cloned().collect()
    };
    let expected = [
        "day date partition_key 1 none",
        "executedat timestamp clustering 0 desc",
        "fee decimal regular -1 none",
        "price decimal regular -1 none",
        "quantity decimal regular -1 none",
        "side text regular -1 none",
        "symbol text partition_key 0 none",
        "tradeid bigint clustering 1 desc",
        "venue text regular -1 none",
    ];
    assert_eq!(of("trades_by_symbol"), expected.map(|column| format!("trades_by_symbol {column}")));
    let newest = place
        .rows("SELECT tradeid FROM ks.trades_by_symbol WHERE symbol = 'NDRP' AND day = '2026-03-02' LIMIT 1");
    assert_eq!(format!("{newest:?}"), "[[Some(BigInt(900151))]]");
    assert_eq!(place.once(0)["deliveries"], json!({}), "the existing tables match the declaration");
}

#[test]
fn an_export_of_the_trades_loads_into_the_same_tables() {
    let (Some(place), Some(again)) = (trades(), trades()) else { return };
    // The name of a file contains its day, so the export of one day is one file.
    for one in [&place, &again] {
        std::fs::remove_file(one.inbox().join("2026-03-03-trades.csv")).unwrap();
    }
    place.once(0);
    again.drop_file("2026-03-02-trades.csv", place.run(&["export"]).stdout);
    again.once(0);
    assert!(again.tables() == place.tables());
}

/// A column of each type, and a table with everything that only CQL has.
const EVERYTHING: &str = r#"
source:
  columns:
    "\"Device\"": text
    Part: smallint
    seq: bigint
    tiny: tinyint
    exact: decimal
    half: double
    lit: boolean
    at: timestamp
    day: date
    clock: time
    id: uuid
    since: timeuuid
    raw: blob
    ip: inet
    owner: text
  skip_when_empty: []
tables:
  "\"Readings\"":
    answers: what device D told
    partition_key: ["\"Device\"", Part]
    clustering_key: [{ column: seq, order: desc }]
    columns: [tiny, exact, half, lit, at, day, clock, id, since, raw, ip, owner]
    static: [owner]
    options: { default_time_to_live: 86400, comment: "'kept a day'" }
"#;

const READINGS: &str = "Device,Part,seq,tiny,exact,half,lit,at,day,clock,id,since,raw,ip,owner\n\
    d1,-3,1,-128,-12.500,2.25,true,2026-03-02T15:34:25.555Z,2026-03-02,13:14:15.000000016,\
    0f8fad5b-d9cb-469f-a165-70867728950e,58e0a7d7-eebc-11d8-9669-0800200c9a66,0xcafe,2001:db8::1,Ann\n\
    d1,-3,2,,,,,,,,,,,,Bea\n";

#[test]
fn every_type_is_read_back_unchanged_and_quoted_names_keep_their_case() {
    let Some(place) = Place::of(EVERYTHING) else { return };
    place.drop_file("readings.csv", READINGS);
    place.once(0);
    let rows = place.json(&["query", "Readings", "Device=d1", "Part=-3"]);
    let empty = json!(null);
    let second = &rows[0];
    assert_eq!(
        (&second["seq"], &second["tiny"], &second["exact"], &second["owner"]),
        (&json!(2), &empty, &empty, &json!("Bea"))
    );
    let first = rows[1].as_object().unwrap();
    let values: Vec<_> = first.values().cloned().collect();
    let expected = json!([
        "d1",
        -3,
        1,
        -128,
        "-12.500",
        2.25,
        true,
        "2026-03-02T15:34:25.555Z",
        "2026-03-02",
        "13:14:15.000000016",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "58e0a7d7-eebc-11d8-9669-0800200c9a66",
        "0xcafe",
        "2001:db8::1",
        // Static: the partition stores it once, and the later record counts.
        "Bea"
    ]);
    assert_eq!(json!(values), expected);

    let columns = place.columns();
    for column in [
        "Readings Device text partition_key 0 none",
        "Readings part smallint partition_key 1 none",
        "Readings owner text static -1 none",
    ] {
        assert!(columns.iter().any(|one| *one == column), "{column}: {columns:#?}");
    }
    let made = place.rows(&format!(
        "SELECT default_time_to_live, comment FROM system_schema.tables \
         WHERE keyspace_name = '{}' AND table_name = 'Readings'",
        place.keyspace
    ));
    assert_eq!(format!("{made:?}"), "[[Some(Int(86400)), Some(Text(\"kept a day\"))]]");
    let left =
        place.rows("SELECT TTL(tiny) FROM ks.\"Readings\" WHERE \"Device\" = 'd1' AND part = -3 AND seq = 1");
    assert!(format!("{left:?}").contains("Some(Int(8"), "{left:?}");
    assert!(place.run(&["check"]).stdout.contains("time to live"));
    assert_eq!(place.once(0)["deliveries"], json!({}), "the existing tables match the declaration");
    assert_eq!(place.receipt("readings.csv")["closes"], true);
}

#[test]
fn existing_tables_with_rows_are_taken_over() {
    let Some(place) = Place::without_keyspace(World::of(EVERYTHING)) else { return };
    let ddl = place.run(&["schema"]).stdout;
    let theirs = ddl.split(';').map(str::trim).filter(|one| !one.contains("needledrop_")).collect::<Vec<_>>();
    theirs.iter().filter(|one| !one.is_empty()).for_each(|one| place.cql(one));
    place.cql(
        "INSERT INTO ks.\"Readings\" (\"Device\", part, seq, tiny) VALUES ('d0', 1, 1, 5) USING TIMESTAMP 1",
    );
    place.drop_file("readings.csv", READINGS);
    place.once(0);
    assert_eq!(place.json(&["status", "--count"])["tables"]["Readings"]["count"], 3);
}

#[test]
fn ledger_and_tables_can_be_in_different_keyspaces() {
    let Some(place) = trades() else { return };
    let ledger = format!("{}_ledger", place.keyspace);
    let place = place.with("store.cassandra.ledger_keyspace", &ledger);
    assert_eq!(place.once(0)["deliveries"], json!({ "loaded": 2 }));
    assert_eq!(place.names(), ["needledrop_stamps", "trades_by_account", "trades_by_symbol"]);
    let found = place.rows(&format!("SELECT path FROM {ledger}.needledrop_deliveries"));
    assert_eq!(found.len(), 2);
    assert_eq!(place.once(0)["deliveries"], json!({}));
    place.cql(&format!("DROP KEYSPACE {ledger}"));
}
