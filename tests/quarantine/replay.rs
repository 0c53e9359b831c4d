//! Tests of replays after a fix: what passes is loaded exactly once, in its own place in the order, and every receipt
//! closes.

use std::fs;

use serde_json::{Value as Json, json};

use crate::FILE;
use crate::common::{HEADER, World, events, until};

/// A record with a number over the range of an int.
const FAR: &str = "Far,Ann,F,2147483648,Lee,1.5,free,X,7,Far song,3\n";
/// A record with a word instead of a number.
const WORD: &str = "Word,Ann,F,zero,Lee,1.5,free,X,7,Word song,3\n";

fn dropped(records: &str) -> World {
    let world = World::new();
    world.drop_file(FILE, format!("{HEADER}{records}"));
    world.once(1);
    world
}

/// Declares the number as a bigint.
fn widened(mut world: World) -> World {
    world.set("source.columns.itemInSession", "bigint");
    world
}

fn replay(world: &World, code: i32, flags: &[&str]) -> Json {
    let done = world.run(&[&["quarantine", "replay", "--json"], flags].concat());
    assert_eq!(done.code, code, "{done:?}");
    done.json()
}

fn account(world: &World, file: &str) -> Json {
    let receipt = world.receipt(file);
    assert_eq!(receipt["closes"], true, "{receipt}");
    let counts = ["records", "loaded", "skipped", "quarantined"].map(|key| receipt[key].clone());
    let fates = ["open", "replayed", "discarded"].map(|key| receipt["quarantine"][key].clone());
    json!([counts, fates])
}

fn open(world: &World, flags: &[&str]) -> Vec<Json> {
    world.json(&[&["quarantine", "list"], flags].concat()).as_array().unwrap().clone()
}

#[test]
fn records_that_pass_now_are_loaded_once_and_the_others_stay_open() {
    let world = widened(dropped(&format!("{}{FAR}{WORD}{}", events(0..2), events(2..4))));
    assert_eq!(account(&world, FILE), json!([[6, 4, 0, 2], [2, 0, 0]]));
    // The kept bytes are enough for a replay.
    fs::remove_file(world.inbox().join(FILE)).unwrap();
    let done = replay(&world, 1, &[]);
    let counts = ["tried", "loaded", "skipped", "open"].map(|key| done[key].clone());
    assert_eq!(json!(counts), json!([2, 1, 0, 1]));
    assert_eq!(done["reasons"], json!({ "value": 1 }));
    assert_eq!(done["tables"]["session_item"], json!({ "rows": 1, "collisions": 0 }));
    assert_eq!(account(&world, FILE), json!([[6, 5, 0, 1], [1, 1, 0]]));
    let row = world.query("session_item", &["sessionId=7", "itemInSession=2147483648"]);
    assert_eq!(json!(row), json!([[7, 2_147_483_648_u64, "Far", "Far song", 1.5]]));
    assert_eq!(open(&world, &[]).len(), 1);
    let states: Vec<Json> =
        open(&world, &["--all"]).into_iter().map(|entry| entry["state"].clone()).collect();
    assert_eq!(json!(states), json!(["replayed", "open"]));
    let status = world.json(&["status"]);
    assert_eq!(status["quarantine"], json!({ "open": 1, "replayed": 1, "discarded": 0 }));
    assert!(world.run(&["status"]).stdout.contains("1 open, 0 discarded; 1 replayed"));
    assert!(world.run(&["receipt", FILE]).stdout.contains("quarantine 1 open, 0 discarded; 1 replayed"));
    // A second replay has nothing to load.
    let before = world.tables();
    assert_eq!(replay(&world, 1, &[])["loaded"], 0);
    assert_eq!(world.tables(), before);
}

#[test]
fn a_replay_of_nothing_is_no_failure_and_creates_no_store() {
    let world = World::new();
    let none = world.run(&["quarantine", "replay"]);
    assert!(none.code == 3 && none.stderr.contains("there is no store yet"), "{none:?}");
    assert!(!world.store().exists());
    world.drop_file(FILE, format!("{HEADER}{}", events(0..2)));
    world.once(0);
    assert_eq!(replay(&world, 0, &[])["tried"], 0);
    let text = world.run(&["quarantine", "replay"]);
    assert!(text.stdout.starts_with("replayed    0 tried = 0 loaded + 0 skipped + 0 still open"), "{text:?}");
}

/// Law 2: tables and counts equal those of a run in which the record passed at once.
#[test]
fn a_replayed_record_keeps_its_place_in_the_order() {
    let same = |name: &str, item: &str| format!("{name},,F,{item},Lee,,free,X,7,Same song,3\n");
    let first =
        [same("First", "0"), same("Second", "0").replace(",,free", ",one,free"), same("", "9")].concat();
    let later = format!("{}{}", same("Third", "0"), same("Own", "5"));
    let load = |world: &World| {
        world.drop_file("2018-11-01.csv", format!("{HEADER}{first}"));
        world.drop_file("2018-11-02.csv", format!("{HEADER}{later}"));
    };
    let declared = [("source.columns.length", "text"), ("source.skip_when_empty", "[]")];
    let expected = declared.iter().fold(World::new(), |world, (key, value)| world.with(key, value));
    load(&expected);
    expected.once(0);

    // One length is a word. It is quarantined while the column is a number, and accepted when the column is text. No
    // table has the column.
    let tables = "{ partition_key: [sessionId], clustering_key: [itemInSession], columns: [artist, song] }";
    let narrow = |world: World| world.with("tables.session_item", tables);
    let (expected, mut world) = (narrow(expected), narrow(World::new().with("source.skip_when_empty", "[]")));
    drop(expected);
    load(&world);
    world.once(1);
    world.set("source.columns.length", "text");
    assert_eq!(replay(&world, 0, &[])["loaded"], 1);
    let clean = narrow(declared.iter().fold(World::new(), |world, (key, value)| world.with(key, value)));
    load(&clean);
    clean.once(0);
    assert_eq!(world.tables(), clean.tables());
    assert_eq!(world.accounts(), clean.accounts());
    for file in ["2018-11-01.csv", "2018-11-02.csv"] {
        assert_eq!(world.receipt(file)["tables"], clean.receipt(file)["tables"], "{file}");
    }
}

#[test]
fn a_replay_skips_records_that_are_to_be_skipped_now() {
    let mut world = dropped(&format!("{}A,Ann,F,0,Lee,1.5,free,X,7,Song,\n", events(1..3)));
    assert_eq!(open(&world, &[])[0]["reason"], "empty_key");
    world.set("source.skip_when_empty", "[userId]");
    let done = replay(&world, 0, &[]);
    assert_eq!(json!([done["tried"], done["loaded"], done["skipped"]]), json!([1, 0, 1]));
    assert_eq!(account(&world, FILE), json!([[3, 2, 1, 0], [0, 1, 0]]));
    assert_eq!(world.tables()["session_item"].len(), 2);
}

#[test]
fn a_record_that_still_fails_gets_its_new_reason() {
    let mut world = dropped(&format!("{}{FAR}", events(0..1)));
    world.set("source.columns.itemInSession", "smallint");
    // SQLite stores both types as INTEGER, so the table has the same shape.
    assert_eq!(replay(&world, 1, &[])["reasons"], json!({ "range": 1 }));
    assert!(open(&world, &[])[0]["detail"].as_str().unwrap().contains("32767"), "{:?}", open(&world, &[]));
    world.set("source.columns.artist", "int");
    world.set("tables.session_item.columns", "[song, length]");
    world.set("tables.user_session.columns", "[song, firstName, lastName]");
    let refused = world.run(&["quarantine", "replay"]);
    assert!(refused.code == 2 && refused.stderr.contains("another shape"), "{refused:?}");
    assert_eq!(open(&world, &[])[0]["reason"], "range", "the table is refused before any record is tried");
}

#[test]
fn replay_and_discard_can_be_filtered() {
    let world = World::new();
    world.drop_file("a.csv", format!("{HEADER}{FAR}{WORD}bad\n"));
    world.drop_file("b.csv", format!("{HEADER}{FAR}bad\n"));
    world.once(1);
    let world = widened(world);
    assert_eq!(replay(&world, 1, &["--reason", "fields", "--file", "a.csv"])["tried"], 1);
    assert_eq!(replay(&world, 0, &["--reason", "range", "--file", "b.csv"])["loaded"], 1);
    assert_eq!(replay(&world, 1, &["--column", "itemInSession"])["tried"], 2);
    let unknown = world.run(&["quarantine", "replay", "--reason", "nonsense"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("next: choose from fields"), "{unknown:?}");

    let discard = |flags: &[&str]| world.run(&[&["quarantine", "discard"], flags].concat());
    let unselected = discard(&[]);
    assert!(
        unselected.code == 2 && unselected.stderr.contains("next: select records with --feed"),
        "{unselected:?}"
    );
    let done = discard(&["--reason", "fields", "--json"]);
    assert_eq!((done.code, &done.json()["discarded"]), (0, &json!(2)), "{done:?}");
    assert_eq!(account(&world, "a.csv"), json!([[3, 1, 0, 2], [1, 1, 1]]));
    assert_eq!(account(&world, "b.csv"), json!([[2, 1, 0, 1], [0, 1, 1]]));
    assert_eq!(open(&world, &[]).len(), 1);
    assert_eq!(open(&world, &["--all"]).len(), 5, "settled entries are kept");
    assert_eq!(discard(&["--all"]).stdout, "discarded   1 records of 1 deliveries\n");
    assert_eq!(discard(&["--all"]).code, 0, "nothing is left to discard");
    assert_eq!(replay(&world, 0, &[])["tried"], 0, "discarded records are not tried");
    let shown = world.run(&["quarantine", "show", "b.csv", "3"]);
    assert!(shown.stdout.contains("state   discarded"), "{shown:?}");
}

/// The quarantine keeps only the beginning of a long record.
#[test]
fn a_long_record_is_read_from_the_kept_file_if_its_bytes_are_unchanged() {
    let long = |n: u32| events(n..n + 1).replace("Song", &"S".repeat(9000));
    let bytes = format!("{HEADER}{}{}{}{}", events(0..1), long(1), events(2..3), long(3));
    let world = World::new().with("limits.max_record_bytes", "5000");
    world.drop_file(FILE, &bytes);
    world.once(1);
    assert_eq!(replay(&world, 1, &[])["reasons"], json!({ "too_long": 2 }), "the limit has not changed");
    let world = world.with("limits.max_record_bytes", "10000");
    let place = world.inbox().join(FILE);
    for (state, other) in [("gone", None), ("other bytes", Some(bytes.replace("Ann", "Eve")))] {
        let _ = fs::remove_file(&place);
        other.iter().for_each(|other| fs::write(&place, other).unwrap());
        let left = replay(&world, 1, &[]);
        assert_eq!(json!([left["loaded"], left["reasons"]]), json!([0, { "too_long": 2 }]), "{state}");
        let why = left["deliveries"][0]["untried"].as_str().unwrap();
        assert!(why.contains("only the beginning of a long record is kept"), "{state}: {why}");
    }
    fs::write(&place, &bytes).unwrap();
    assert_eq!(replay(&world, 0, &[])["loaded"], 2);
    assert_eq!(account(&world, FILE), json!([[4, 4, 0, 0], [0, 2, 0]]));
    let songs: Vec<usize> =
        world.tables()["session_item"].iter().map(|row| row[3].as_str().unwrap().len()).collect();
    assert_eq!(songs, [6, 9002, 6, 9002]);
}

#[test]
fn an_open_quote_never_becomes_a_record_of_its_own() {
    let world = World::new().with("limits.max_record_bytes", "200");
    let after = events(1..9).replace("\"X, Y\"", "X");
    world.drop_file(FILE, format!("{HEADER}A,Ann,F,0,Lee,1.5,free,X,7,3,\"Song\n{after}"));
    world.once(1);
    assert_eq!(open(&world, &[])[0]["reason"], "quote");
    assert_eq!(replay(&world, 1, &[])["reasons"], json!({ "quote": 1 }));
    assert_eq!(account(&world, FILE), json!([[9, 8, 0, 1], [1, 0, 0]]));
}

/// The last record has no line end, so the file may still extend it.
#[test]
fn a_replayed_record_without_line_end_is_in_a_new_generation_when_its_file_grows() {
    let world = dropped(&format!("{}{}", events(0..2), FAR.trim_end()));
    let world = widened(world);
    assert_eq!(replay(&world, 0, &[])["loaded"], 1);
    assert_eq!(account(&world, FILE), json!([[3, 3, 0, 0], [0, 1, 0]]));
    world.append(FILE, "3\n");
    // The declaration has changed, so the whole file is loaded again.
    world.once(0);
    assert_eq!(account(&world, FILE), json!([[3, 3, 0, 0], [0, 0, 0]]));
    let users: Vec<Json> = world.tables()["user_session"].iter().map(|row| row[1].clone()).collect();
    assert!(users.contains(&json!(33)), "{users:?}");
}

#[test]
fn a_header_without_a_declared_column_is_reported_and_nothing_is_tried() {
    let mut world = dropped(&format!("{}{FAR}", events(0..1)));
    world.set("source.columns.mood", "text");
    let left = replay(&world, 1, &[]);
    let why = left["deliveries"][0]["untried"].as_str().unwrap();
    assert!(why.contains("the header has no column `mood`"), "{why}");
    assert_eq!(account(&world, FILE), json!([[2, 1, 0, 1], [1, 0, 0]]));
}

#[test]
fn replay_and_discard_exit_with_3_while_a_daemon_runs() {
    let world = widened(dropped(&format!("{}{FAR}", events(0..1))));
    let mut daemon = world.daemon();
    for command in [&["quarantine", "replay"][..], &["quarantine", "discard", "--all"]] {
        let refused = world.run(command);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(
            refused.stderr.contains("is in use by") && refused.stderr.contains("next: stop that process"),
            "{refused:?}"
        );
    }
    assert_eq!(open(&world, &[]).len(), 1, "listing works while a daemon runs");
    daemon.stop();
    assert_eq!(replay(&world, 0, &[])["loaded"], 1);
}

/// The table was added later and is behind. A replay before its backfill and a replay after it end the same.
#[test]
fn a_table_backfilled_later_contains_the_replayed_records() {
    let by_artist = "{ partition_key: [artist], clustering_key: [itemInSession], columns: [song] }";
    let play = |first: &str| {
        let mut world = widened(dropped(&format!("{}{FAR}{WORD}{}", events(0..2), events(0..3))));
        world.set("tables.by_artist", by_artist);
        let fill = || {
            for table in ["by_artist", "session_item", "user_session"] {
                let filled = world.run(&["load", "--table", table]);
                assert!(matches!(filled.code, 0 | 1), "{filled:?}");
            }
        };
        if first == "fill" {
            fill();
        }
        replay(&world, 1, &[]);
        fill();
        assert_eq!(world.json(&["status"])["tables"]["by_artist"]["behind"], 0);
        assert_eq!(account(&world, FILE), json!([[7, 6, 0, 1], [1, 1, 0]]), "{first}");
        (world.tables(), world.receipt(FILE)["tables"].clone())
    };
    let (filled, replayed) = (play("fill"), play("replay"));
    assert_eq!(filled, replayed);
    assert_eq!(filled.0["by_artist"].len(), 4);
}

#[test]
fn a_stopped_replay_exits_with_4_and_can_be_continued() {
    const MANY: u64 = 20_000;
    let far = |n| format!("Far {n},Ann,F,{},Lee,1.5,free,X,7,Far song,3\n", 3_000_000_000 + n);
    let world = World::new().with("limits.max_quarantined", "off");
    world.drop_file(FILE, format!("{HEADER}{}", (0..MANY).map(far).collect::<String>()));
    world.once(1);
    let world = widened(world);
    let mut replaying = world.command(&["quarantine", "replay", "--json"]).spawn().unwrap();
    until("some are replayed", || (world.receipt(FILE)["quarantine"]["replayed"] != 0).then_some(()));
    let pid = rustix::process::Pid::from_child(&replaying);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(replaying.wait().unwrap().code(), Some(4));
    let replayed = world.receipt(FILE)["loaded"].as_u64().unwrap();
    assert!((1..MANY).contains(&replayed), "{replayed}");
    assert_eq!(replay(&world, 0, &[])["loaded"], MANY - replayed);
    assert_eq!(account(&world, FILE), json!([[MANY, MANY, 0, 0], [0, MANY, 0]]));
    assert_eq!(world.tables()["session_item"].len() as u64, MANY);
}

/// The exported file can be loaded again, so it must not bring back what was discarded.
#[test]
fn an_export_leaves_out_discarded_records_and_counts_those_that_are_refused_now() {
    let mut world = World::of(
        "source: { columns: { k: text, v: int, w: int } }\n\
         tables: { t: { partition_key: [k], columns: [v, w] } }\n",
    );
    let export = |world: &World| {
        let output = world.run(&["export"]);
        assert_eq!(output.code, 0, "{output:?}");
        let count = |record: &str| output.stdout.lines().filter(|line| *line == record).count();
        let counts = ["\"a\",\"x\",\"1\"", "\"b\",\"2\",\"1\"", "\"c\",\"1\",\"y\""].map(count);
        let warning = output.stderr.lines().find(|line| line.contains("not exported")).map(str::to_owned);
        (counts, warning)
    };
    // The records are read in several chunks, and their entries in many pages.
    world.drop_file(FILE, format!("k,v,w\n{}c,1,y\n", "a,x,1\nb,2,1\nb,2,1\n".repeat(6_000)));
    world.once(1);
    assert_eq!(world.run(&["quarantine", "discard", "--column", "v"]).code, 0);
    assert_eq!(account(&world, FILE), json!([[18_001, 12_000, 0, 6_001], [1, 0, 6_000]]));
    assert_eq!(export(&world), ([0, 12_000, 0], None));
    world.set("source.columns.v", "{ type: int, null: [x] }");
    world.set("source.columns.w", "{ type: int, null: [y] }");
    assert_eq!(export(&world), ([0, 12_000, 1], None), "an open record passes now");
    replay(&world, 0, &[]);
    assert_eq!(export(&world), ([0, 12_000, 1], None));
    world.set("source.columns.w", "int");
    let (counts, warning) = export(&world);
    assert_eq!(counts, [0, 12_000, 0]);
    let warning = warning.unwrap();
    assert!(warning.contains("1 loaded records of 1 deliveries are not exported"), "{warning}");
}
