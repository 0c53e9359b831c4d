//! Tests of every command on the Cassandra store, also on a store that is not as it should be.

use std::process::Stdio;

use serde_json::{Value as Json, json};

use crate::common::{World, csv, events, patiently};
use crate::place::Place;

const FILE: &str = "2018-11-01-events.csv";
const LEDGER: [&str; 10] = [
    "contents",
    "corrections",
    "deliveries",
    "heads",
    "keys",
    "lease",
    "meta",
    "paths",
    "quarantine",
    "stamps",
];

/// Loads a file with two good records and one bad record.
fn loaded() -> Option<Place> {
    let place = Place::new()?;
    place.drop_file(FILE, format!("{}bad\n", csv(0..2)));
    place.once(1);
    Some(place)
}

#[test]
fn a_partition_is_shown_as_table_json_and_csv() {
    let Some(place) = loaded() else { return };
    let key = ["query", "session_item", "sessionId=7"];
    let table = place.run(&key);
    let lines: Vec<Vec<&str>> = table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["sessionId", "itemInSession", "artist", "song", "length"], "{table:?}");
    assert_eq!(lines[1], ["7", "0", "Artist", "0", "Song", "0", "100.5"]);
    let one = |item: u32| {
        let (artist, song) = (format!("Artist {item}"), format!("Song {item}"));
        json!({ "sessionId": 7, "itemInSession": item, "artist": artist, "song": song, "length": 100.5 })
    };
    assert_eq!(place.json(&key), json!([one(0), one(1)]));
    assert_eq!(place.json(&[&key[..], &["itemInSession=1"]].concat()), json!([one(1)]));
    assert_eq!(place.json(&["query", "session_item", "sessionId=8"]), json!([]));
    let csv = place.run(&[&key[..], &["--csv"]].concat()).stdout;
    assert_eq!(
        csv,
        "sessionId,itemInSession,artist,song,length\n7,0,Artist 0,Song 0,100.5\n7,1,Artist 1,Song 1,100.5\n"
    );
    let missing = place.run(&["query", "user_session", "sessionId=7"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("`userId` is missing"), "{missing:?}");
}

#[test]
fn status_receipt_quarantine_and_export_report_what_was_loaded() {
    let Some(place) = loaded() else { return };
    let status = place.json(&["status", "--count"]);
    assert_eq!(
        (&status["states"], &status["tables"]["user_song"]["count"]),
        (&json!({ "loaded": 1 }), &json!(2))
    );
    let text = place.run(&["status", "--count"]);
    assert!(
        text.code == 0 && text.stdout.contains(&place.keyspace) && text.stdout.contains(FILE),
        "{text:?}"
    );

    let receipt = place.receipt(FILE);
    let account = ["records", "loaded", "skipped", "quarantined", "closes"].map(|key| receipt[key].clone());
    assert_eq!(json!(account), json!([3, 2, 0, 1, true]));
    let text = place.run(&["receipt", FILE]);
    assert!(text.code == 1 && text.stdout.contains("user_session"), "a record is open: {text:?}");
    assert_eq!(place.run(&["receipt", "unknown.csv"]).code, 1);

    let entries = place.json(&["quarantine", "list"]);
    assert_eq!(
        json!([entries[0]["reason"], entries[0]["line"], entries[0]["raw"]]),
        json!(["fields", 4, "bad"])
    );
    assert_eq!(place.json(&["quarantine", "list", "--reason", "value"]), json!([]));
    let shown = place.run(&["quarantine", "show", FILE, "4"]);
    assert!(shown.code == 0 && shown.stdout.contains("bad"), "{shown:?}");

    let exported = place.run(&["export"]);
    assert_eq!((exported.code, exported.stdout.lines().count()), (0, 3), "{exported:?}");
}

#[test]
fn new_and_dropped_tables_are_backfilled_from_the_kept_files() {
    let Some(mut place) = loaded() else { return };
    place.drop_file("2018-11-02-events.csv", csv(1..4).replace("Ann", ""));
    place.once(0);
    let before = place.tables();
    let declared =
        "{ partition_key: [artist], clustering_key: [sessionId, itemInSession], columns: [song, firstName] }";
    place.set("tables.by_artist", declared);
    // A table that was never created is no failure, but `status` reports it as behind.
    assert_eq!(place.json(&["status"])["tables"]["by_artist"]["behind"], 2);
    assert_eq!(place.once(0)["deliveries"], json!({}), "nothing is read again silently");
    place.cql("DROP TABLE ks.user_song");
    for (table, rows) in [("by_artist", 5), ("user_song", 5)] {
        let played = place.run(&["load", "--table", table, "--json"]);
        assert_eq!(played.code, 0, "{played:?}");
        assert_eq!(played.json()["tables"][table]["rows"], rows, "{played:?}");
        assert_eq!(place.json(&["status"])["tables"][table]["behind"], 0);
    }
    let tables = place.tables();
    assert_eq!(tables["by_artist"].len(), 4);
    assert!(before.iter().all(|(table, rows)| tables[table] == *rows), "{before:?} {tables:?}");
    let name = place.rows("SELECT firstname FROM ks.by_artist WHERE artist = 'Artist 1'");
    assert_eq!(format!("{name:?}"), "[[Some(Text(\"Ann\"))]]", "an empty column keeps the earlier value");
    assert_eq!(place.receipt(FILE)["closes"], true);
    let before = place.dump();
    assert_eq!(place.run(&["load", "--table", "by_artist"]).code, 0);
    assert_eq!(place.dump(), before, "a second backfill writes nothing");
}

#[test]
fn check_reports_what_exists_and_what_an_acknowledgement_is_worth() {
    let Some(place) = Place::new() else { return };
    let check = |place: &World| place.run(&["check"]);
    assert_eq!(check(&place).code, 0, "a store that does not exist yet is no error");
    assert!(place.names().is_empty(), "check creates nothing");
    place.once(0);
    let whole = check(&place);
    assert_eq!(whole.code, 0, "{whole:?}");
    assert!(whole.stdout.contains("version 5") && whole.stdout.contains("1 node"), "{whole:?}");
    assert!(whole.stdout.contains("replication 1") && whole.stdout.contains("commitlog_sync"), "{whole:?}");

    place.cql("ALTER TABLE ks.user_song WITH default_time_to_live = 86400");
    let weak = check(&place.beside().with("store.cassandra.consistency.write", "ONE"));
    assert_eq!(weak.code, 0, "{weak:?}");
    assert!(weak.stdout.contains("consistency ONE") && weak.stdout.contains("time to live"), "{weak:?}");
    let any = check(&place.beside().with("store.cassandra.consistency.write", "ANY"));
    assert_eq!(any.code, 2, "{any:?}");
    assert!(any.stdout.contains("ANY") && any.stdout.contains("LOCAL_QUORUM"), "{any:?}");
    let away = check(&place.beside().with("store.cassandra.port", "1"));
    assert_eq!(away.code, 3, "{away:?}");
    assert!(away.stdout.contains("refused") && away.stdout.contains("next: "), "{away:?}");

    place.cql("ALTER TABLE ks.user_song DROP lastname");
    let other = check(&place);
    assert_eq!(other.code, 2, "{other:?}");
    assert!(
        other.stdout.contains("expected lastname text") && other.stdout.contains("found nothing"),
        "{other:?}"
    );
}

#[test]
fn the_printed_schema_is_the_schema_that_is_created() {
    let Some(place) = Place::without_keyspace(World::new()) else { return };
    let printed = place.run(&["schema"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    let statements: Vec<&str> =
        printed.stdout.split(';').map(str::trim).filter(|one| !one.is_empty()).collect();
    assert_eq!(statements.len(), 1 + 3 + LEDGER.len(), "{statements:#?}");
    assert!(statements.iter().all(|one| one.starts_with("CREATE ")), "{statements:#?}");
    assert!(place.names().is_empty(), "printing the schema creates nothing");
    // The printed statements are run by hand. Then nothing is missing.
    statements.iter().for_each(|one| place.cql(one));
    place.drop_file(FILE, csv(0..2));
    let by_hand = place.columns();

    let applied = Place::new().unwrap();
    assert_eq!(applied.run(&["schema", "--apply"]).code, 0);
    assert_eq!(applied.columns(), by_hand);
    for name in LEDGER {
        assert!(applied.names().contains(&format!("needledrop_{name}")), "{name}");
    }
    let place = place.with("store.create_schema", "false");
    assert_eq!(
        place.once(0)["deliveries"],
        json!({ "loaded": 1 }),
        "tables that were created by hand are used"
    );
}

#[test]
fn without_create_schema_nothing_is_created_and_the_missing_part_is_named() {
    let Some(place) = Place::without_keyspace(World::new()) else { return };
    let place = place.with("store.create_schema", "false");
    place.drop_file(FILE, csv(0..2));
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains(&format!("keyspace {} does not exist", place.keyspace)), "{refused:?}");
    assert!(refused.stderr.contains("schema --apply"), "{refused:?}");
    assert!(place.names().is_empty());
    assert_eq!(place.run(&["check"]).code, 2);

    assert_eq!(
        place.run(&["schema", "--apply"]).code,
        0,
        "schema --apply creates tables even if create_schema is false"
    );
    assert_eq!(place.once(0)["deliveries"], json!({ "loaded": 1 }));
    place.cql("DROP TABLE ks.user_song");
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("table user_song does not exist"), "{refused:?}");
    assert!(!place.names().contains(&"user_song".to_owned()));
}

#[test]
fn a_table_of_another_shape_is_refused_before_the_first_write() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    place.cql("DROP TABLE ks.user_song");
    let columns = "song text, userid int, firstname text, lastname blob, more int";
    place.cql(&format!("CREATE TABLE ks.user_song ({columns}, PRIMARY KEY ((song, userid)))"));
    place.drop_file(FILE, csv(0..2));
    for command in [&["run", "--once"][..], &["load", FILE], &["run"], &["schema", "--apply"]] {
        let refused = place.run(command);
        assert_eq!(refused.code, 2, "{command:?}: {refused:?}");
        let told = refused.stderr;
        assert!(told.contains("table user_song has another shape"), "{told}");
        assert!(told.contains("expected lastname text, userid int clustering key 1 asc"), "{told}");
        assert!(told.contains("found lastname blob, more int, userid int partition key 2"), "{told}");
        assert!(told.contains("next: "), "{told}");
    }
    assert!(place.tables().values().all(Vec::is_empty));
    assert!(place.sorted("SELECT * FROM ks.needledrop_deliveries").is_empty());
}

#[test]
fn a_table_of_another_order_or_with_another_static_column_is_refused_too() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    place.cql("DROP TABLE ks.user_song");
    let columns = "song text, userid int, firstname text static, lastname text";
    let order = "WITH CLUSTERING ORDER BY (userid DESC)";
    place.cql(&format!("CREATE TABLE ks.user_song ({columns}, PRIMARY KEY (song, userid)) {order}"));
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let told = refused.stderr;
    assert!(told.contains("expected firstname text, userid int clustering key 1 asc"), "{told}");
    assert!(told.contains("found firstname text static, userid int clustering key 1 desc"), "{told}");
}

#[test]
fn commands_that_only_read_work_on_a_table_of_another_shape() {
    let Some(place) = loaded() else { return };
    place.cql("ALTER TABLE ks.session_item DROP length");
    for command in [
        "status",
        "receipt 2018-11-01-events.csv",
        "quarantine list",
        "query user_session sessionId=7 userId=3",
    ] {
        let told = place.run(&command.split(' ').collect::<Vec<_>>());
        // `receipt` exits with 1, because a record is open.
        assert_eq!(told.code, i32::from(command.starts_with("receipt")), "{command}: {told:?}");
    }
}

#[test]
fn a_dry_run_writes_nothing_and_reports_what_would_be_loaded() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILE, csv(0..5));
    place.once(0);
    place.append(FILE, events(5..7));
    place.drop_file("2018-11-02-events.csv", csv(7..10));
    let before = (place.dump(), place.sorted("SELECT * FROM ks.needledrop_lease"));
    let summary = place.json(&["run", "--once", "--dry-run"]);
    assert_eq!((&summary["dry_run"], &summary["records"]["loaded"]), (&json!(true), &json!(5)));
    assert_eq!(place.json(&["load", FILE, "--dry-run"])["records"]["loaded"], 2);
    let after = (place.dump(), place.sorted("SELECT * FROM ks.needledrop_lease"));
    assert_eq!(after, before);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_dry_run_loads_the_copy_of_a_file_that_vanished_during_its_load() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILE, csv(0..5));
    let begun = (1..40).find(|step: &u32| {
        let aborted = place.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        !aborted.unwrap().status.success() && place.states().get(FILE).is_some_and(|state| state == "loading")
    });
    assert!(begun.is_some(), "no run ended before the end of the file");
    std::fs::rename(place.inbox().join(FILE), place.inbox().join("2018-11-02-events.csv")).unwrap();
    let before = place.dump();
    let mut dry = place.command(&["run", "--once", "--dry-run", "--json"]);
    let mut dry = dry.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let ended = patiently(|| dry.try_wait().unwrap());
    dry.kill().unwrap();
    assert!(ended.is_some(), "the dry run does not end");
    let told: Json = serde_json::from_reader(dry.stdout.take().unwrap()).unwrap();
    assert_eq!(told["records"]["loaded"], 5, "{told}");
    assert_eq!(place.dump(), before);
}

#[test]
fn a_dry_run_before_the_first_load_creates_nothing() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILE, csv(0..5));
    let dry = place.run(&["run", "--once", "--dry-run", "--json"]);
    assert!(place.names().is_empty(), "a dry run creates no store");
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!(dry.json()["records"]["loaded"], 5);
}

#[test]
fn status_and_export_work_before_the_store_exists() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILE, csv(0..5));
    assert_eq!(place.json(&["status"])["backlog"]["files"], 1);
    assert_eq!(place.run(&["export"]).stdout.lines().count(), 6);
    let query = place.run(&["query", "session_item", "sessionId=7"]);
    assert_eq!(query.code, 3, "{query:?}");
    assert!(query.stderr.contains("there is no store yet"), "{query:?}");
    assert!(place.names().is_empty());
}
