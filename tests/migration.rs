//! Ledgers of earlier formats with a file in each state. They are read as they are, migrated, and continued. The
//! ledgers of 0.1.0 (formats 1 to 3) are made from `fixtures/0.1.0`, and that of format 5 from `fixtures/format-4`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/upgrade.rs"]
mod upgrade;

use common::{Rows, World};
use rusqlite::Connection;
use upgrade::{LENIENT, by_hour, by_station, left, sorted};

const OF_0_1_0: &str = include_str!("fixtures/0.1.0/sqlite.sql");
const OF_FORMAT_4: &str = include_str!("fixtures/format-4/sqlite.sql");
const OF_FORMAT_6: &str = include_str!("fixtures/format-6/sqlite.sql");

/// The change that turns a ledger of format 4 into a ledger of format 5.
const FORMAT_5: &str = "
DROP INDEX _needledrop_heads;
CREATE INDEX _needledrop_contents ON _needledrop_deliveries (head, bytes, hash)
  WHERE state = 'loaded';
CREATE INDEX _needledrop_unfinished ON _needledrop_deliveries (head)
  WHERE state IN ('loading', 'incomplete');
CREATE INDEX _needledrop_unsettled ON _needledrop_deliveries (path)
  WHERE state IN ('loading', 'incomplete', 'waiting');
CREATE INDEX _needledrop_failed ON _needledrop_deliveries (path)
  WHERE state = 'failed' AND discarded < quarantined;
UPDATE _needledrop_meta SET value = '5' WHERE key = 'format';
";

const FORMAT_7: &str = "UPDATE _needledrop_meta SET value = '7' WHERE key = 'format';";

/// The change that turns a ledger of format 6 into a ledger of format 8.
const FORMAT_8: &str = "
DROP INDEX _needledrop_contents;
CREATE INDEX _needledrop_contents ON _needledrop_deliveries (head, bytes, hash)
  WHERE state IN ('loaded', 'undone');
UPDATE _needledrop_meta SET value = '8' WHERE key = 'format';
";

/// The change that turns a ledger of format 8 into a ledger of format 9.
const FORMAT_9: &str = "
ALTER TABLE _needledrop_deliveries ADD COLUMN replacement TEXT;
ALTER TABLE _needledrop_deliveries ADD COLUMN mirrored_by INTEGER;
UPDATE _needledrop_meta SET value = '9' WHERE key = 'format';
";

/// The changes that turn a ledger of format 3 into a ledger of an earlier format.
const EARLIER: [(u32, &str); 2] =
    [(2, include_str!("common/format_2.sql")), (1, include_str!("common/format_1.sql"))];

/// Creates a world whose store has a ledger of this format.
fn of_format(format: u32) -> World {
    let world = World::of_format(format);
    let store = Connection::open(world.store()).unwrap();
    let left = match format {
        ..=3 => OF_0_1_0,
        4 | 5 => OF_FORMAT_4,
        _ => OF_FORMAT_6,
    };
    store.execute_batch(left).unwrap();
    store.execute_batch(if format == 5 { FORMAT_5 } else { "" }).unwrap();
    // Format 7 changed no table.
    store.execute_batch(if format == 7 { FORMAT_7 } else { "" }).unwrap();
    store.execute_batch(if format >= 8 { FORMAT_8 } else { "" }).unwrap();
    store.execute_batch(if format == 9 { FORMAT_9 } else { "" }).unwrap();
    for (_, change) in EARLIER.iter().filter(|(to, _)| format <= *to) {
        store.execute_batch(change).unwrap();
    }
    world
}

fn interrupted(format: u32) -> Vec<String> {
    // The version of format 6 writes more chunks together.
    match format {
        ..=5 => left(format, &["2024-01-12.csv 1 loading 2 = 2 + 0 + 0"]),
        _ => left(
            format,
            &["2024-01-12.csv 1 loading 4 = 4 + 0 + 0", "2024-01-14.csv 1 replaced 4 = 4 + 0 + 0"],
        ),
    }
}

/// How often lenient settings acted stays in the receipt. The settings are no longer declared.
fn assert_lenient(world: &World) {
    let receipt = world.receipt(LENIENT);
    assert_eq!(receipt["lenient"], serde_json::json!({ "comments": 1, "trimmed": 1 }), "{receipt}");
}

/// Returns the number of records that a replay tries.
fn open_of(format: u32) -> u64 {
    if format == 1 { 4 } else { 3 }
}

fn lines(rows: &Rows) -> Vec<String> {
    let cell = |cell: &serde_json::Value| match cell {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    sorted(rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("|")))
}

fn assert_ended(world: &World, format: u32) {
    let tables = world.tables();
    assert_eq!(lines(&tables["by_station"]), by_station(format));
    assert_eq!(lines(&tables["by_hour"]), by_hour(format));
    if format >= 6 {
        assert_lenient(world);
    }
}

fn indexes(world: &World) -> Vec<(String, String)> {
    let store = Connection::open(world.store()).unwrap();
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name";
    let mut statement = store.prepare(sql).unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// Returns everything but the deliveries, which have the times of files.
fn without_times(world: &World) -> impl PartialEq + std::fmt::Debug {
    let mut dump = world.dump();
    dump.remove("_needledrop_deliveries");
    dump
}

#[test]
fn a_reader_sees_an_older_ledger_as_it_is_and_changes_nothing() {
    for format in 1..=9 {
        let world = of_format(format);
        let before = world.dump();
        assert_eq!(world.deliveries(), interrupted(format), "format {format}");
        let discarded = if format == 1 { "open" } else { "discarded" };
        let mut entries = vec!["2024-01-03.csv 1 open".to_owned()];
        entries.extend((format > 1).then(|| "2024-01-10.csv 1 replayed".to_owned()));
        entries.push("2024-01-10.csv 2 open".to_owned());
        entries.extend([format!("2024-01-10.csv 3 {discarded}"), "2024-01-10.csv 4 open".to_owned()]);
        assert_eq!(world.entries(), entries, "format {format}");
        let receipt = world.receipt("2024-01-02.csv");
        assert_eq!((&receipt["ends_without_newline"], &receipt["closes"]), (&true.into(), &true.into()));
        assert_eq!(receipt["lenient"], serde_json::json!({}), "format {format}");
        if format >= 6 {
            assert_lenient(&world);
        }
        assert_eq!(world.receipt("2024-01-11.csv")["part_count"], 45);
        let rows = world.query("by_station", &["station=A"]);
        assert_eq!(lines(&rows), ["A|1|9.5|open|Abe", "A|2|2.0||Ann", "A|3|4.5||Ann"]);
        assert_eq!(world.run(&["run", "--once", "--dry-run"]).code, 1, "format {format}");
        assert_eq!(world.dump(), before, "format {format}");
    }
}

#[test]
fn a_writer_migrates_an_older_ledger_and_continues_its_files() {
    let new = World::of_format(9);
    new.once(1);
    for format in 1..=9 {
        let world = of_format(format);
        world.continues(&interrupted(format), &world.unchanged(), [&[], &[]], open_of(format));
        assert_ended(&world, format);
        let done = without_times(&world);
        world.once(0);
        assert_eq!(without_times(&world), done, "format {format}: a further run writes nothing");
        assert_eq!(indexes(&world), indexes(&new), "format {format}");
        let gone = ["_needledrop_provisional", "_needledrop_shadows"];
        assert!(!world.dump().keys().any(|table| gone.contains(&table.as_str())), "format {format}");
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_migration_that_is_interrupted_is_repeated() {
    for format in 1..=9 {
        for (step, name) in [(1, "format before commit"), (2, "format after commit")] {
            let world = of_format(format);
            let mut aborted = world.command(&["run", "--once"]);
            let aborted = aborted.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
            let told = String::from_utf8_lossy(&aborted.stderr).into_owned();
            assert!(told.contains(name), "{told}");
            assert_eq!(world.deliveries(), interrupted(format), "format {format}: {name}");
            world.continues(&interrupted(format), &world.unchanged(), [&[], &[]], open_of(format));
            assert_ended(&world, format);
        }
    }
}

#[test]
fn a_ledger_of_a_later_format_is_refused_and_not_changed() {
    let world = of_format(3);
    world.once(1);
    let store = Connection::open(world.store()).unwrap();
    store.execute("UPDATE _needledrop_meta SET value = '11' WHERE key = 'format'", []).unwrap();
    let before = world.dump();
    for command in
        [&["run", "--once"][..], &["load", "inbox"], &["status"], &["quarantine", "replay"], &["check"]]
    {
        let refused = world.run(command);
        assert_eq!(refused.code, 2, "{command:?}: {refused:?}");
        let told = "its ledger has format 11, this version knows 10";
        assert!([&refused.stdout, &refused.stderr].iter().any(|out| out.contains(told)), "{refused:?}");
    }
    assert_eq!(world.dump(), before);
}
