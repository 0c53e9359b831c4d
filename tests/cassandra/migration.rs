//! The ledger that 0.1.0 left in this store (`fixtures/0.1.0`): refused by readers until it is migrated, then continued.

use scylla::value::CqlValue;

use crate::common::World;
use crate::place::{Place, text};
use crate::upgrade::{by_hour, by_station, left, sorted};

const STORE: &str = include_str!("../fixtures/0.1.0/cassandra.cql");

/// The stations of two files that were interrupted with rows under way.
const INTERRUPTED: [&str; 2] = ["J", "K"];

fn place() -> Option<Place> {
    let place = Place::with_world(World::of_0_1_0())?;
    let keyspace = &place.keyspace;
    place.cql(&format!(
        "CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    ));
    STORE
        .split(";\n")
        .map(str::trim)
        .filter(|cql| !cql.is_empty())
        .for_each(|cql| place.cql(&with_id(&place, cql)));
    Some(place)
}

/// The ids of the declared tables are noted in the ledger, and differ from keyspace to keyspace.
fn with_id(place: &Place, cql: &str) -> String {
    let Some((before, name)) = cql.split_once("'id of ") else { return cql.to_owned() };
    let (name, behind) = name.split_once('\'').unwrap();
    let ids = place.rows(&format!(
        "SELECT id FROM system_schema.tables WHERE keyspace_name = '{}' AND table_name = '{name}'",
        place.keyspace
    ));
    let Some(CqlValue::Uuid(id)) = ids[0][0] else { panic!("{ids:?}") };
    format!("{before}'{id}'{behind}")
}

fn left_by_0_1_0() -> Vec<String> {
    left(&["2024-01-12.csv 1 loading 6 = 6 + 0 + 0", "2024-01-13.csv 1 loading 0 = 0 + 0 + 0"])
}

fn lines(place: &Place, cql: &str) -> Vec<String> {
    let cell = |cell: &Option<CqlValue>| match cell {
        None => String::new(),
        Some(CqlValue::Int(n)) => n.to_string(),
        Some(CqlValue::Float(x)) => format!("{x:?}"),
        other => text(other.clone()),
    };
    sorted(place.rows(cql).iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("|")))
}

/// The newest stamps of the files that were interrupted.
fn newest(place: &Place) -> [i64; 2] {
    INTERRUPTED.map(|station| {
        let cql = format!("SELECT MAX(WRITETIME(note)) FROM ks.by_station WHERE station = '{station}'");
        number(place, &cql)
    })
}

fn number(place: &Place, cql: &str) -> i64 {
    let found = place.rows(cql);
    let Some(CqlValue::BigInt(number)) = found[0][0] else { panic!("{cql}: {found:?}") };
    number
}

/// `sent` are the newest stamps that 0.1.0 sent of the interrupted files.
fn assert_ended(place: &Place, sent: [i64; 2]) {
    // The observer is static: a station has the newest one in every row.
    let with_newest =
        |row: &String| if row.starts_with("A|") { row.replace("Ann", "Abe") } else { row.clone() };
    let expected: Vec<String> = by_station().iter().map(with_newest).collect();
    let cql = "SELECT station, hour, temperature, note, observer FROM ks.by_station";
    assert_eq!(lines(place, cql), expected);
    assert_eq!(lines(place, "SELECT hour, station, temperature, note FROM ks.by_hour"), by_hour());
    let newest = newest(place);
    let is_newer = newest.iter().zip(sent).all(|(newest, sent)| *newest > sent);
    assert!(is_newer, "what may have been sent is sent again under newer stamps: {newest:?}, {sent:?}");
}

#[test]
fn readers_refuse_the_ledger_of_0_1_0_and_writers_migrate_it_and_continue_its_files() {
    let Some(place) = place() else { return };
    let (before, sent) = (place.dump(), newest(&place));
    for command in [
        &["status"][..],
        &["receipt", "2024-01-01.csv"],
        &["quarantine", "list"],
        &["query", "by_station", "station=A"],
    ] {
        let refused = place.run(command);
        assert_eq!(refused.code, 2, "{command:?}: {refused:?}");
        let told = ["its ledger has format 3, this version uses 4", "needledrop schema --apply"];
        assert!(told.iter().all(|told| refused.stderr.contains(told)), "{refused:?}");
    }
    assert_eq!(place.dump(), before);
    let applied = place.run(&["schema", "--apply"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    assert_eq!(place.deliveries(), left_by_0_1_0());
    let entries =
        ["03.csv 1 open", "10.csv 1 replayed", "10.csv 2 open", "10.csv 3 discarded", "10.csv 4 open"];
    assert_eq!(place.entries(), entries.map(|entry| format!("2024-01-{entry}")));
    place.continues(&left_by_0_1_0(), &place.unchanged(), 3);
    assert_ended(&place, sent);
    let done = place.dump();
    place.once(0);
    let again = place.dump();
    for (table, rows) in done.iter().filter(|(table, _)| *table != "needledrop_deliveries") {
        assert_eq!(&again[table], rows, "{table}: a further run writes nothing");
    }
}

/// Each run adds one column and is killed; the last ones are killed between deliveries, and when only the format is left
/// to be written.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_migration_that_is_interrupted_is_repeated() {
    let Some(place) = place() else { return };
    let (sent, mut added, mut step) = (newest(&place), 0, 2);
    loop {
        let mut aborted = place.command(&["run", "--once"]);
        let aborted = aborted.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        let told = String::from_utf8_lossy(&aborted.stderr).into_owned();
        match told.rsplit_once(&format!("aborting at step {step}: ")).map(|(_, name)| name.trim()) {
            Some("ledger brought up") => break,
            Some("format added") => added += 1,
            Some("stamps reserved") => step += 1,
            _ => panic!("{told}"),
        }
    }
    assert!(added > 5, "crash points are missing: {added}");
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    let completed = place.completes(&left_by_0_1_0(), &place.unchanged());
    let newest = newest(&place);
    assert!(newest.iter().zip(sent).all(|(newest, sent)| *newest > sent), "{newest:?}, {sent:?}");
    // The killed process could have been 0.1.0, which takes such a record back when its file grows: it is loaded again.
    place.append("2024-01-03.csv", "\n");
    place.once(1);
    assert_eq!(place.deliveries(), completed);
    assert_eq!(place.entries().iter().filter(|entry| entry.starts_with("2024-01-03.csv")).count(), 1);
}

/// 0.1.0 was killed behind the tables and before the ledger: the row of the last record is gone, and still counted.
#[test]
fn a_provisional_record_that_a_killed_process_was_taking_back_is_loaded_again() {
    let Some(place) = place() else { return };
    let stamps = "SELECT MAX(stamp) FROM ks.needledrop_provisional WHERE delivery = ";
    let id = number(&place, "SELECT id FROM ks.needledrop_paths WHERE path = '2024-01-04.csv'");
    let stamp = number(&place, &format!("{stamps}{id}"));
    for (table, key) in
        [("by_station", "station = 'D' AND hour = 2"), ("by_hour", "hour = 2 AND station = 'D'")]
    {
        place.cql(&format!("DELETE FROM ks.{table} USING TIMESTAMP {stamp} WHERE {key}"));
    }
    let holder = "process 1 on elsewhere #another/pid:[1]#1/1#0";
    place.cql(&format!("UPDATE ks.needledrop_lease SET holder = '{holder}' WHERE name = 'writer' IF EXISTS"));
    place.append("2024-01-04.csv", "\nD,3.0,Dan,g,q,dun,3\n");
    place.once(1);
    let cql = "SELECT station, hour, temperature, note, observer FROM ks.by_station WHERE station = 'D'";
    assert_eq!(lines(&place, cql), ["D|1|1.5|dee|Dan", "D|2|2.5|deer|Dan", "D|3|3.0|dun|Dan"]);
    let receipt = place.receipt("2024-01-04.csv");
    assert_eq!((&receipt["generation"], &receipt["loaded"]), (&1.into(), &3.into()), "{receipt}");
}
