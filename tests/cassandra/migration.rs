//! Ledgers left by earlier versions: 0.1.0 (format 3), and formats 4 to 9. Readers refuse them until they are migrated.
//! Then loading continues.

use scylla::value::CqlValue;

use crate::common::World;
use crate::place::{Place, text};
use crate::upgrade::{LENIENT, by_hour, by_station, left, sorted};

/// A store that an earlier version left, as CQL.
struct Left {
    format: u32,
    store: &'static str,
    /// The interrupted deliveries.
    interrupted: [&'static str; 2],
}

const LEFT: [Left; 7] = [
    Left {
        format: 3,
        store: include_str!("../fixtures/0.1.0/cassandra.cql"),
        interrupted: ["2024-01-12.csv 1 loading 6 = 6 + 0 + 0", "2024-01-13.csv 1 loading 0 = 0 + 0 + 0"],
    },
    Left {
        format: 4,
        store: include_str!("../fixtures/format-4/cassandra.cql"),
        interrupted: ["2024-01-12.csv 1 loading 10 = 10 + 0 + 0", "2024-01-13.csv 1 loading 1 = 1 + 0 + 0"],
    },
    // Made from the store of format 4.
    Left {
        format: 5,
        store: include_str!("../fixtures/format-4/cassandra.cql"),
        interrupted: ["2024-01-12.csv 1 loading 10 = 10 + 0 + 0", "2024-01-13.csv 1 loading 1 = 1 + 0 + 0"],
    },
    Left {
        format: 6,
        store: include_str!("../fixtures/format-6/cassandra.cql"),
        interrupted: ["2024-01-12.csv 1 loading 2 = 2 + 0 + 0", "2024-01-13.csv 1 loading 1 = 1 + 0 + 0"],
    },
    // Format 7 has the tables of format 6. Its version only says that paths may have a feed.
    Left {
        format: 7,
        store: include_str!("../fixtures/format-6/cassandra.cql"),
        interrupted: ["2024-01-12.csv 1 loading 2 = 2 + 0 + 0", "2024-01-13.csv 1 loading 1 = 1 + 0 + 0"],
    },
    // Format 8 added a table.
    Left {
        format: 8,
        store: include_str!("../fixtures/format-6/cassandra.cql"),
        interrupted: ["2024-01-12.csv 1 loading 2 = 2 + 0 + 0", "2024-01-13.csv 1 loading 1 = 1 + 0 + 0"],
    },
    // Format 9 added columns.
    Left {
        format: 9,
        store: include_str!("../fixtures/format-6/cassandra.cql"),
        interrupted: ["2024-01-12.csv 1 loading 2 = 2 + 0 + 0", "2024-01-13.csv 1 loading 1 = 1 + 0 + 0"],
    },
];

/// What a run over the same files changes further if rows were sent ahead of the ledger under other rules: such a file
/// is read again as a new generation.
const READ_AGAIN: [(&str, &str); 2] = [
    ("2024-01-12.csv 1", "2024-01-12.csv 1 replaced 10 = 10 + 0 + 0"),
    ("2024-01-12.csv 2", "2024-01-12.csv 2 loaded 12 = 12 + 0 + 0"),
];

/// The same for a run over files that grew. 2024-01-14.csv, which comes back with the bytes of 2024-01-15.csv
/// (`World::grow`), is a duplicate of it.
const BACK_AGAIN: [(&str, &str); 2] = [
    ("2024-01-14.csv 1", "2024-01-14.csv 1 replaced 2 = 2 + 0 + 0"),
    ("2024-01-14.csv 2", "2024-01-14.csv 2 duplicate 0 = 0 + 0 + 0"),
];

/// The stations of the two files whose loading was interrupted with rows under way. The second ends with an open tail.
const INTERRUPTED: [&str; 2] = ["J", "K"];

impl Left {
    fn deliveries(&self) -> Vec<String> {
        left(self.format, &self.interrupted)
    }

    /// 0.1.0 does not record which bytes it sends. Formats 4 and 5 do, but sent them under other rules.
    fn further(&self) -> [&'static [(&'static str, &'static str)]; 2] {
        if matches!(self.format, 4 | 5) { [&READ_AGAIN, &BACK_AGAIN] } else { [&[], &[]] }
    }

    /// Whatever was sent is sent again: under its own stamps if bytes and rules are those that were sent, otherwise under
    /// newer stamps.
    fn assert_stamps(&self, place: &Place, sent: [Sent; 2]) {
        for (now, sent) in of_interrupted(place).iter().zip(&sent) {
            let are_kept = sent.iter().all(|row| now.contains(row));
            let are_newer = newest(now) > newest(sent);
            assert!(if self.format >= 6 { are_kept } else { are_newer }, "{now:?}, {sent:?}");
        }
    }
}

fn place(of: &Left) -> Option<Place> {
    let place = Place::with_world(World::of_format(of.format))?;
    of.store
        .split(";\n")
        .map(str::trim)
        .filter(|cql| !cql.is_empty())
        .for_each(|cql| place.cql(&with_id(&place, cql)));
    if of.format == 5 {
        turn_into_format_5(&place);
    }
    if of.format == 7 {
        place.cql("UPDATE ks.needledrop_meta SET value = '7' WHERE key = 'format'");
    }
    if of.format >= 8 {
        place.cql(
            "CREATE TABLE ks.needledrop_corrections (name text, stamp bigint, delivery bigint, \
             tables frozen<map<text, text>>, state text, PRIMARY KEY (name, stamp))",
        );
        place.cql("UPDATE ks.needledrop_meta SET value = '8' WHERE key = 'format'");
    }
    if of.format == 9 {
        place.cql("ALTER TABLE ks.needledrop_deliveries ADD (replacement text, mirrored_by int)");
        place.cql("UPDATE ks.needledrop_meta SET value = '9' WHERE key = 'format'");
    }
    Some(place)
}

/// Turns a ledger of format 4 into a ledger of format 5, which has a table of the contents of loaded files.
fn turn_into_format_5(place: &Place) {
    place.cql(
        "CREATE TABLE ks.needledrop_contents (head text, bytes bigint, hash text, id bigint, \
         PRIMARY KEY ((head, bytes), hash, id))",
    );
    for row in place.rows("SELECT state, head, bytes, hash, id FROM ks.needledrop_deliveries") {
        let [Some(CqlValue::BigInt(bytes)), Some(CqlValue::BigInt(id))] = [&row[2], &row[4]] else {
            panic!("{row:?}")
        };
        let [state, head, hash] = [&row[0], &row[1], &row[3]].map(|cell| text(cell.clone()));
        if state == "loaded" {
            place.cql(&format!(
                "INSERT INTO ks.needledrop_contents (head, bytes, hash, id) VALUES ('{head}', {bytes}, '{hash}', {id})"
            ));
        }
    }
    place.cql("UPDATE ks.needledrop_meta SET value = '5' WHERE key = 'format'");
}

/// Fills in the ids of the declared tables. The ledger contains them, and they differ between keyspaces.
fn with_id(place: &Place, cql: &str) -> String {
    let cql = &cql.replace("KEYSPACE", &place.keyspace);
    let Some((before, name)) = cql.split_once("'id of ") else { return cql.to_owned() };
    let (name, behind) = name.split_once('\'').unwrap();
    let ids = place.rows(&format!(
        "SELECT id FROM system_schema.tables WHERE keyspace_name = '{}' AND table_name = '{name}'",
        place.keyspace
    ));
    let Some(CqlValue::Uuid(id)) = ids[0][0] else { panic!("{ids:?}") };
    format!("{before}'{id}'{behind}")
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

/// The rows of a station in a table: hour and stamp.
type Sent = Vec<(Option<CqlValue>, Option<CqlValue>)>;

/// Returns the rows of each interrupted file.
fn of_interrupted(place: &Place) -> [Sent; 2] {
    INTERRUPTED.map(|station| {
        let cql = format!("SELECT hour, WRITETIME(note) FROM ks.by_station WHERE station = '{station}'");
        place.rows(&cql).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
    })
}

fn newest(rows: &Sent) -> i64 {
    let stamps = rows.iter().map(|(_, stamp)| match stamp {
        Some(CqlValue::BigInt(stamp)) => *stamp,
        other => panic!("{other:?}"),
    });
    stamps.max().unwrap()
}

fn number(place: &Place, cql: &str) -> i64 {
    let found = place.rows(cql);
    let Some(CqlValue::BigInt(number)) = found[0][0] else { panic!("{cql}: {found:?}") };
    number
}

fn assert_ended(of: &Left, place: &Place) {
    // The observer is a static column: every row of a station has the newest value.
    let with_newest =
        |row: &String| if row.starts_with("A|") { row.replace("Ann", "Abe") } else { row.clone() };
    let expected: Vec<String> = by_station(of.format).iter().map(with_newest).collect();
    let cql = "SELECT station, hour, temperature, note, observer FROM ks.by_station";
    assert_eq!(lines(place, cql), expected);
    assert_eq!(lines(place, "SELECT hour, station, temperature, note FROM ks.by_hour"), by_hour(of.format));
}

#[test]
fn readers_refuse_an_earlier_ledger_and_writers_migrate_it_and_continue_its_files() {
    for of in &LEFT {
        let Some(place) = place(of) else { return };
        let sent = of_interrupted(&place);
        refuses_readers(of, &place);
        let checked = place.run(&["check"]);
        assert!(checked.stdout.contains("has the format of an earlier version"), "{checked:?}");
        let applied = place.run(&["schema", "--apply"]);
        assert_eq!(applied.code, 0, "{applied:?}");
        let checked = place.run(&["check"]);
        assert!(!checked.stdout.contains("earlier version"), "{checked:?}");
        assert_eq!(place.deliveries(), of.deliveries());
        let entries =
            ["03.csv 1 open", "10.csv 1 replayed", "10.csv 2 open", "10.csv 3 discarded", "10.csv 4 open"];
        assert_eq!(place.entries(), entries.map(|entry| format!("2024-01-{entry}")));
        if of.format >= 6 {
            let receipt = place.receipt(LENIENT);
            assert_eq!(receipt["lenient"], serde_json::json!({ "comments": 1, "trimmed": 1 }), "{receipt}");
        }
        place.continues(&of.deliveries(), &place.unchanged(), of.further(), 3);
        assert_ended(of, &place);
        of.assert_stamps(&place, sent);
        let done = place.dump();
        place.once(0);
        let again = place.dump();
        for (table, rows) in done.iter().filter(|(table, _)| *table != "needledrop_deliveries") {
            assert_eq!(&again[table], rows, "{table}: a further run writes nothing");
        }
    }
}

fn refuses_readers(of: &Left, place: &Place) {
    let before = place.dump();
    for command in [
        &["status"][..],
        &["receipt", "2024-01-01.csv"],
        &["quarantine", "list"],
        &["query", "by_station", "station=A"],
    ] {
        let refused = place.run(command);
        assert_eq!(refused.code, 2, "{command:?}: {refused:?}");
        let format = format!("its ledger has format {}, this version uses 10", of.format);
        let told = [&format, "needledrop schema --apply"];
        assert!(told.iter().all(|told| refused.stderr.contains(told)), "{refused:?}");
    }
    assert_eq!(place.dump(), before);
}

/// Each run creates a table or adds one column, and is then killed. The last runs are killed between deliveries, and
/// when only the format is left to be written.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_migration_that_is_interrupted_is_repeated() {
    for (of, least) in LEFT.iter().zip([7, 2, 2, 1, 1]) {
        let Some(place) = place(of) else { return };
        let sent = of_interrupted(&place);
        let changes = interrupted(&place);
        assert!(changes >= least, "crash points are missing: {changes}");
        assert_eq!(place.run(&["schema", "--apply"]).code, 0);
        let completed = place.completes(&of.deliveries(), &place.unchanged(), of.further()[0]);
        of.assert_stamps(&place, sent);
        // The last record of this file has no line end and is in quarantine. Version 0.1.0 took such a provisional record back
        // when its file grew, and may have been killed before the ledger showed it. Then it is read and quarantined again.
        place.append("2024-01-03.csv", "\n");
        place.once(i32::from(of.format == 3));
        assert_eq!(place.deliveries(), completed);
        assert_eq!(place.entries().iter().filter(|entry| entry.starts_with("2024-01-03.csv")).count(), 1);
    }
}

/// Kills the migration at each of its steps. Returns how often the migration changed the schema.
fn interrupted(place: &Place) -> u32 {
    let (mut changes, mut step) = (0, 2);
    loop {
        let mut aborted = place.command(&["run", "--once"]);
        let aborted = aborted.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        let told = String::from_utf8_lossy(&aborted.stderr).into_owned();
        match told.rsplit_once(&format!("aborting at step {step}: ")).map(|(_, name)| name.trim()) {
            Some("ledger brought up") => return changes,
            Some("ledger made" | "format added") => changes += 1,
            Some("stamps reserved" | "contents entered") => step += 1,
            _ => panic!("{told}"),
        }
    }
}

/// Version 0.1.0 was killed after it wrote the tables and before it wrote the ledger. The row of the last record is
/// gone but still counted.
#[test]
fn a_provisional_record_that_a_killed_process_was_taking_back_is_loaded_again() {
    let Some(place) = place(&LEFT[0]) else { return };
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
