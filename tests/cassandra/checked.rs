//! Tests of `check` on keyspaces, tables and a ledger that are not as they should be, and of `query` on such a table.

use crate::common::{HEADER, World, events};
use crate::place::Place;

const FILE: &str = "2018-11-01-events.csv";

/// Creates everything and loads one file.
fn loaded() -> Option<Place> {
    let place = Place::new()?;
    place.drop_file(FILE, format!("{HEADER}{}", events(0..3)));
    place.once(0);
    Some(place)
}

/// Returns the exit code of a command and everything that it prints.
fn told(place: &Place, command: &[&str]) -> (i32, String) {
    let output = place.run(command);
    (output.code, output.stdout + &output.stderr)
}

#[track_caller]
fn assert_tells(place: &Place, command: &[&str], code: i32, parts: &[&str]) {
    let (ended, told) = told(place, command);
    assert_eq!(ended, code, "{told}");
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

#[test]
fn check_examines_the_keyspace_of_the_ledger_too() {
    let Some(place) = Place::without_keyspace(World::new()) else { return };
    // A second place provides a keyspace that is dropped with it.
    let ledger = Place::new().unwrap();
    let place = place.with("store.cassandra.ledger_keyspace", &ledger.keyspace);
    place.create_keyspace(3, true);
    let one = format!("keyspace {} has replication 1", ledger.keyspace);
    let volatile = format!("keyspace {} has durable_writes = false", ledger.keyspace);
    assert_tells(&place, &["check"], 0, &[&one, &volatile]);
    let other = format!("keyspace {} has", place.keyspace);
    assert!(!told(&place, &["check"]).1.contains(&other), "three replicas, and durable");
}

#[test]
fn check_judges_a_missing_keyspace_by_its_configuration() {
    let Some(place) = Place::without_keyspace(World::new()) else { return };
    let one = format!("keyspace {} will have replication 1", place.keyspace);
    assert_tells(&place, &["check"], 0, &[&one]);
    let place = place.with("store.cassandra.replication", "{ class: SimpleStrategy, replication_factor: 3 }");
    assert!(!told(&place, &["check"]).1.contains("warning"), "three replicas need no warning");
    let place = place.with("store.create_schema", "false");
    let missing = format!("keyspace {} does not exist", place.keyspace);
    assert_tells(&place, &["check"], 2, &[&missing, "next: create it (`needledrop schema --apply`)"]);
}

#[test]
fn check_warns_of_a_keyspace_without_durable_writes() {
    let Some(place) = loaded() else { return };
    let volatile = format!("keyspace {} has durable_writes = false", place.keyspace);
    assert_tells(&place, &["check"], 0, &[&volatile]);
    place.cql(&format!("ALTER KEYSPACE {} WITH durable_writes = true", place.keyspace));
    assert!(!told(&place, &["check"]).1.contains("durable_writes"));
}

#[test]
fn a_ledger_that_run_refuses_is_refused_by_check_in_the_same_words() {
    let Some(mut place) = loaded() else { return };
    let refused = |place: &Place, words: &str| {
        for command in [&["run", "--once"][..], &["check"]] {
            assert_tells(place, command, 2, &[words, "next: "]);
        }
    };
    place.cql("UPDATE ks.needledrop_meta SET value = '99' WHERE key = 'format' IF EXISTS");
    refused(&place, "its ledger has format 99, this version knows ");
    // An older ledger is migrated if the configuration allows it.
    place.cql("UPDATE ks.needledrop_meta SET value = '1' WHERE key = 'format' IF EXISTS");
    assert_tells(&place, &["check"], 0, &[]);
    place.set("store.create_schema", "false");
    refused(&place, "its ledger has format 1");
    place.cql("DELETE FROM ks.needledrop_meta WHERE key = 'format' IF EXISTS");
    refused(&place, "its ledger is damaged");
}

#[test]
fn check_does_not_warn_if_its_clock_agrees_with_the_node() {
    let Some(place) = Place::new() else { return };
    let (code, told) = told(&place, &["check"]);
    assert!(code == 0 && !told.contains("the clock of this machine"), "{told}");
}

#[test]
fn check_reports_a_host_that_cannot_be_resolved() {
    let Some(place) = Place::new() else { return };
    let place = place.with("store.cassandra.hosts", "[\"no-such-host.invalid\"]");
    let parts = ["cannot resolve no-such-host.invalid", "check the names in store.cassandra.hosts"];
    assert_tells(&place, &["check"], 3, &parts);
}

#[test]
fn a_query_of_a_table_with_a_missing_column_names_the_column() {
    let Some(place) = loaded() else { return };
    let query = ["query", "session_item", "sessionId=7"];
    assert_tells(&place, &query, 0, &["Artist 0"]);
    place.cql("ALTER TABLE ks.session_item DROP length");
    assert_tells(&place, &query, 2, &["length", "as they are declared"]);
    place.cql("DROP TABLE ks.session_item");
    assert_tells(&place, &query, 2, &["this table does not exist yet", "needledrop load --table"]);
}
