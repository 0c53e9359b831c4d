//! `load --assume-loaded`: files whose rows another program wrote are entered into the ledger, and not read into
//! the tables.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{HEADER, World, csv, events, gzip};
use rusqlite::Connection;
use serde_json::{Value as Json, json};

const DAYS: [&str; 3] = ["2018-11-01-events.csv", "2018-11-02-events.csv", "2018-11-03-events.csv"];
const TABLES: [&str; 3] = ["session_item", "user_session", "user_song"];

/// Writes rows as the other program does. The rows carry the wall clock as their stamp and a marker that identifies
/// them.
fn write_elsewhere(world: &World, tables: &[&str], items: Range<u32>) {
    let store = Connection::open(world.store()).unwrap();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    for n in items {
        for table in tables {
            let (columns, values) = match *table {
                "session_item" => ("sessionId, itemInSession, artist", format!("7, {n}, 'elsewhere {n}'")),
                "user_session" => {
                    ("sessionId, userId, itemInSession, artist", format!("7, 3, {n}, 'elsewhere {n}'"))
                }
                _ => ("song, userId, firstName", format!("'Song {n}', 3, 'elsewhere {n}'")),
            };
            let sql = format!("INSERT INTO {table} ({columns}, _stamp) VALUES ({values}, {clock})");
            store.execute(&sql, []).unwrap();
        }
    }
}

/// Creates a world with two days in the inbox that another program has loaded.
fn taken_over() -> World {
    let world = World::new();
    assert_eq!(world.run(&["schema", "--apply"]).code, 0);
    world.drop_file(DAYS[0], csv(0..4));
    world.drop_file(DAYS[1], csv(4..6));
    write_elsewhere(&world, &TABLES, 0..6);
    world
}

fn assume(world: &World, code: i32) -> Json {
    let output = world.run(&["load", "inbox", "--assume-loaded", "--json"]);
    assert_eq!(output.code, code, "{output:?}");
    output.json()
}

/// Returns the artist of each item of the session, which shows what program wrote the row.
fn artists(world: &World) -> Vec<String> {
    let rows = world.query("session_item", &["sessionId=7"]);
    rows.iter().map(|row| row[2].as_str().unwrap_or("none").to_owned()).collect()
}

fn numbered(word: &str, items: Range<u32>) -> Vec<String> {
    items.map(|n| format!("{word} {n}")).collect()
}

#[test]
fn old_files_are_entered_without_a_row_and_the_next_day_is_loaded() {
    let world = taken_over();
    let before = world.tables();
    let summary = assume(&world, 0);
    assert_eq!(summary["deliveries"], json!({ "loaded": 2 }));
    let records = json!({ "read": 6, "loaded": 6, "skipped": 0, "quarantined": 0, "assumed": 6 });
    assert_eq!((&summary["records"], &summary["tables"]), (&records, &json!({})));
    assert_eq!(world.tables(), before);

    world.drop_file(DAYS[2], csv(6..8));
    let next = world.once(0);
    assert_eq!((&next["deliveries"], &next["records"]["read"]), (&json!({ "loaded": 1 }), &json!(2)));
    assert_eq!(artists(&world), [numbered("elsewhere", 0..6), numbered("Artist", 6..8)].concat());
    assert_eq!(world.accounts()["session_item"], (2, 0), "status counts the rows that were written");
    let status = world.json(&["status"]);
    assert_eq!(
        (&status["backlog"]["files"], &status["tables"]["user_song"]["behind"]),
        (&json!(0), &json!(0))
    );
    assert!(world.run(&["status"]).stdout.contains("assumed loaded: 4 records"));
    // No later command reads these files again.
    assert_eq!(assume(&world, 0)["deliveries"], json!({}));
    assert_eq!(world.once(0)["records"]["read"], 0);
}

#[test]
fn the_receipt_says_that_no_row_was_sent_and_closes() {
    let world = taken_over();
    assume(&world, 0);
    let receipt = world.receipt(DAYS[0]);
    let account = ["records", "loaded", "skipped", "quarantined", "assumed"].map(|key| receipt[key].clone());
    assert_eq!(account, [4, 4, 0, 0, 4].map(Json::from));
    assert_eq!((&receipt["state"], &receipt["closes"]), (&json!("loaded"), &json!(true)));
    let bytes = csv(0..4);
    assert_eq!(receipt["bytes"], bytes.len());
    assert_eq!(receipt["hash"], blake3::hash(bytes.as_bytes()).to_hex().as_str());
    for table in TABLES {
        let expected = json!({ "rows": 0, "collisions": 0, "estimated": false, "older": 0, "refused": 0, "assumed": 4, "behind": false });
        assert_eq!(receipt["tables"][table], expected);
    }
    let text = world.run(&["receipt", DAYS[0]]).stdout;
    for part in [
        "assumed loaded: 4 records that another program wrote",
        "assumed    4 loaded records were written by another program: needledrop sent no rows",
        "4 more rows assumed to be there",
        "closes     yes",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn assumed_files_come_before_later_files_in_stamp_order() {
    let world = taken_over();
    assume(&world, 0);
    // A later record wins over the other program's row with the same key.
    let late = "Late,Ann,F,0,Lee,1.5,free,\"X, Y\",7,Song 0,3\n";
    world.drop_file(DAYS[2], format!("{HEADER}{late}"));
    world.once(0);
    assert_eq!(artists(&world)[0], "Late");
    let ends: Vec<(i64, i64)> = DAYS
        .map(|day| {
            let range = &world.receipt(day)["stamps"][0];
            let base = range["base"].as_i64().unwrap();
            (base, base + 2 * range["records"].as_i64().unwrap())
        })
        .into();
    assert!(ends.windows(2).all(|two| two[0].1 <= two[1].0), "{ends:?}");

    // A backfill writes the records under their own stamps, so the later record stays.
    Connection::open(world.store()).unwrap().execute_batch("DROP TABLE session_item").unwrap();
    let played = world.run(&["load", "--table", "session_item", "--json"]);
    assert_eq!((played.code, &played.json()["tables"]["session_item"]["rows"]), (0, &json!(7)), "{played:?}");
    let mut expected = numbered("Artist", 0..6);
    expected[0] = "Late".to_owned();
    assert_eq!(artists(&world), expected);
    let receipt = world.receipt(DAYS[0]);
    let table = |name: &str| ["rows", "assumed", "behind"].map(|key| receipt["tables"][name][key].clone());
    assert_eq!(table("session_item"), [json!(4), json!(0), json!(false)]);
    assert_eq!(table("user_song"), [json!(0), json!(4), json!(false)]);
    assert_eq!(receipt["closes"], true);
}

#[test]
fn assumed_bytes_are_recognized_in_copies_and_in_grown_files() {
    let world = taken_over();
    assume(&world, 0);
    world.drop_file("copy.csv", csv(0..4));
    world.drop_file("2018-11-02-copy.csv.gz", gzip(csv(4..6).as_bytes()));
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 2 }));

    world.append(DAYS[0], events(10..12));
    let grown = world.once(0);
    assert_eq!((&grown["deliveries"], &grown["records"]["read"]), (&json!({ "loaded": 1 }), &json!(2)));
    let expected = [numbered("elsewhere", 0..6), numbered("Artist", 10..12)].concat();
    assert_eq!(artists(&world), expected, "only the appended records are loaded");
    let receipt = world.receipt(DAYS[0]);
    assert_eq!((&receipt["loaded"], &receipt["assumed"]), (&json!(6), &json!(4)));
    assert_eq!((&receipt["tables"]["session_item"]["rows"], &receipt["closes"]), (&json!(2), &json!(true)));
    assert_eq!(receipt["parts"].as_array().unwrap().len(), 2);

    world.drop_file(DAYS[1], csv(20..23));
    assert_eq!(world.once(0)["records"]["loaded"], 3);
    assert_eq!((world.generations(DAYS[1]), world.receipt(DAYS[1])["assumed"].clone()), (2, json!(0)));
}

#[test]
fn a_last_record_without_a_line_end_is_assumed_and_later_records_are_loaded() {
    let world = taken_over();
    world.drop_file(DAYS[0], csv(0..4).trim_end());
    assume(&world, 0);
    assert_eq!(world.receipt(DAYS[0])["assumed"], 4);
    world.append(DAYS[0], format!("\n{}-\n", events(10..11)));
    assert_eq!(world.once(1)["records"]["read"], 2);
    assert_eq!(artists(&world), [numbered("elsewhere", 0..6), numbered("Artist", 10..11)].concat());
    let entry = &world.json(&["quarantine", "list"])[0];
    assert_eq!(
        (&entry["line"], &entry["record"]),
        (&json!(7), &json!(5)),
        "line numbers continue after the assumed records"
    );
}

#[test]
fn assumed_records_are_counted_but_not_quarantined() {
    let world = taken_over();
    let skipped = ",Ann,F,1,Lee,,free,X,7,,3\n";
    let odd = "Odd,Ann,F,one,Lee,1.5,free,X,7,Song,3\n";
    world.drop_file(DAYS[0], format!("{}{skipped}{odd}", csv(0..4)));
    assert_eq!(assume(&world, 0)["records"]["assumed"], 7);
    let receipt = world.receipt(DAYS[0]);
    let account = ["records", "loaded", "skipped", "quarantined"].map(|key| receipt[key].clone());
    assert_eq!(account, [6, 5, 1, 0].map(Json::from));
    let detail = receipt["detail"].as_str().unwrap();
    assert!(
        detail
            .ends_with("5 records that another program wrote; 1 of them cannot become rows of these tables"),
        "{detail}"
    );
    assert_eq!(world.json(&["quarantine", "list"]), json!([]));

    Connection::open(world.store()).unwrap().execute_batch("DROP TABLE user_song").unwrap();
    assert_eq!(world.run(&["load", "--table", "user_song"]).code, 1, "one record has no row in this table");
    let table = world.receipt(DAYS[0])["tables"]["user_song"].clone();
    assert_eq!((&table["rows"], &table["refused"]), (&json!(4), &json!(1)));
}

#[test]
fn assume_loaded_is_refused_for_a_store_without_rows() {
    let world = World::new();
    world.drop_file(DAYS[0], csv(0..4));
    let refused = world.run(&["load", "inbox", "--assume-loaded"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("its tables are empty") && refused.stderr.contains("next: "),
        "{refused:?}"
    );
    assert_eq!(world.json(&["status"])["deliveries"], json!([]));
    assert_eq!(world.once(0)["records"]["loaded"], 4);
}

#[test]
fn an_empty_table_needs_a_backfill_of_the_assumed_files() {
    let world = World::new();
    assert_eq!(world.run(&["schema", "--apply"]).code, 0);
    world.drop_file(DAYS[0], csv(0..4));
    write_elsewhere(&world, &TABLES[..2], 0..4);
    assume(&world, 0);
    let behind = |table: &str| world.json(&["status"])["tables"][table]["behind"].clone();
    assert_eq!(TABLES.map(behind), [0, 0, 1].map(Json::from));
    assert_eq!(world.receipt(DAYS[0])["closes"], true);
    assert_eq!(world.run(&["load", "--table", "user_song"]).code, 0);
    assert_eq!((behind("user_song"), world.tables()["user_song"].len()), (json!(0), 4));
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_not_assumed_and_blocks_no_other() {
    let world = taken_over();
    let cut = gzip(csv(30..2000).as_bytes());
    world.drop_file("a-cut.csv.gz", &cut[..cut.len() - 9]);
    world.drop_file("b-ragged.csv", format!("{}Art,Ann", csv(40..41)));
    world.drop_file("c-quote.csv", format!("{}\"Art,Ann\n", csv(50..51)));
    let output = world.run(&["load", "inbox", "--assume-loaded", "--json"]);
    assert_eq!(output.code, 1, "{output:?}");
    let summary = output.json();
    assert_eq!((&summary["deliveries"], &summary["unreadable"]), (&json!({ "loaded": 2 }), &json!(3)));
    assert_eq!(world.states().len(), 2, "the other files are not entered");
    for told in ["its last 7 bytes are not a complete record", "its last 9 bytes are not a complete record"] {
        assert!(output.stderr.contains(told), "{told}: {output:?}");
    }
}

#[test]
fn a_dry_run_of_assume_loaded_writes_nothing_and_other_load_modes_conflict_with_it() {
    let world = taken_over();
    let before = world.dump();
    let dry = world.run(&["load", "inbox", "--assume-loaded", "--dry-run", "--json"]);
    let told = dry.json();
    assert_eq!((dry.code, &told["records"]["assumed"], &told["dry_run"]), (0, &json!(6), &json!(true)));
    assert_eq!(world.dump(), before);
    for other in [&["--again"][..], &["--table", "user_song"]] {
        let refused = world.run(&[&["load", "inbox", "--assume-loaded"], other].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
    }
}

#[test]
fn assumed_files_are_moved_by_the_next_run_but_never_deleted() {
    for (after, left) in [("move", 0), ("delete", 2)] {
        let world = taken_over().with("source.after", after).with("source.settle", "1s");
        assume(&world, 0);
        let there = || common::files(&world.inbox()).len();
        assert_eq!(there(), 2, "{after}");
        world.once(0);
        assert_eq!(there(), left, "{after}");
        assert_eq!(world.once(0)["records"]["read"], 0);
    }
}

/// Either a file is entered or it is not. There is no state in between.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_run_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let accounts = |world: &World| {
        let account = |day: &str| {
            let receipt = world.receipt(day);
            ["state", "records", "assumed", "bytes", "hash", "tables", "closes"]
                .map(|key| receipt[key].clone())
        };
        [account(DAYS[0]), account(DAYS[1])]
    };
    let clean = taken_over();
    assume(&clean, 0);
    for step in 1.. {
        let world = taken_over();
        let mut aborted = world.command(&["load", "inbox", "--assume-loaded"]);
        let aborted = aborted.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        if aborted.status.success() {
            assert!(step > 4, "crash points are missing: {step}");
            break;
        }
        assume(&world, 0);
        assert_eq!((accounts(&world), world.tables()), (accounts(&clean), clean.tables()), "step {step}");
        assert!(DAYS[..2].iter().all(|day| world.generations(day) == 1), "step {step}");
        assert_eq!(world.once(0)["records"]["read"], 0, "step {step}");
    }
}

#[test]
fn a_ledger_of_format_2_is_read_as_it_is_and_migrated_by_a_command_that_writes() {
    let world = World::new();
    world.drop_file(DAYS[0], csv(0..4));
    world.once(0);
    let before = world.receipt(DAYS[0]);
    let older = concat!(
        include_str!("common/format_6.sql"),
        include_str!("common/format_5.sql"),
        include_str!("common/format_4.sql"),
        include_str!("common/format_3.sql"),
        include_str!("common/format_2.sql")
    );
    Connection::open(world.store()).unwrap().execute_batch(older).unwrap();
    assert_eq!(world.receipt(DAYS[0]), before);
    assert_eq!(world.run(&["run", "--once", "--dry-run"]).code, 0);
    world.drop_file(DAYS[1], csv(4..6));
    assert_eq!(assume(&world, 0)["records"]["assumed"], 2);
    assert_eq!((world.receipt(DAYS[0]), world.receipt(DAYS[1])["assumed"].clone()), (before, json!(2)));
}
