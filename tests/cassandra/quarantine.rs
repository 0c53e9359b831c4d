//! Tests of `quarantine replay` and `quarantine discard` on the Cassandra store.

use serde_json::{Value as Json, json};

use crate::common::{HEADER, events};
use crate::place::Place;

const FILE: &str = "2018-11-01-events.csv";

/// Declares the level as an int. No table contains the level, so it can be a number first and a text later.
fn strict(place: Place) -> Place {
    place.with("source.columns.level", "int")
}

fn fixed(place: Place) -> Place {
    place.with("source.columns.level", "text")
}

/// Loads two good records, two records whose level is a word, and a record with too few fields. One of the records
/// with a word has the key of the first good record.
fn loaded() -> Option<Place> {
    let place = strict(Place::new()?);
    let good = events(0..2).replace("free", "1");
    let bad = events(0..1).replace("Artist", "Later").replace("100.5", "").to_string() + &events(5..6);
    place.drop_file(FILE, format!("{HEADER}{good}{bad}bad\n"));
    place.once(1);
    Some(fixed(place))
}

fn replay(place: &Place, code: i32) -> Json {
    let done = place.run(&["quarantine", "replay", "--json"]);
    assert_eq!(done.code, code, "{done:?}");
    done.json()
}

fn account(place: &Place) -> Json {
    let receipt = place.receipt(FILE);
    assert_eq!(receipt["closes"], true, "{receipt}");
    let counts = ["records", "loaded", "skipped", "quarantined"].map(|key| receipt[key].clone());
    let fates = ["open", "replayed", "discarded"].map(|key| receipt["quarantine"][key].clone());
    json!([counts, fates])
}

#[test]
fn a_record_that_passes_now_is_loaded_once_under_its_own_stamp() {
    let Some(place) = loaded() else { return };
    assert_eq!(account(&place), json!([[5, 2, 0, 3], [3, 0, 0]]));
    std::fs::remove_file(place.inbox().join(FILE)).unwrap();
    let done = replay(&place, 1);
    assert_eq!(json!([done["tried"], done["loaded"], done["open"]]), json!([3, 2, 1]));
    // A record with the key of another record is a collision.
    assert_eq!(done["tables"]["session_item"], json!({ "rows": 2, "collisions": 1 }));
    assert_eq!(account(&place), json!([[5, 4, 0, 1], [1, 2, 0]]));
    let receipt = place.receipt(FILE);
    let tables = ["session_item", "user_session"].map(|table| receipt["tables"][table]["collisions"].clone());
    assert_eq!(json!(tables), json!([1, 1]));
    let base = receipt["stamps"][0]["base"].as_i64().unwrap();
    let cql = "SELECT artist, length, WRITETIME(artist), WRITETIME(length) FROM ks.session_item \
               WHERE sessionid = 7 AND iteminsession = 0";
    let row = format!("{:?}", place.rows(cql));
    let expected = format!(
        "[[Some(Text(\"Later 0\")), Some(Float(100.5)), Some(BigInt({})), Some(BigInt({base}))]]",
        base + 4
    );
    assert_eq!(
        row, expected,
        "the third record leaves columns empty, so the values of the first record stay"
    );
    let states: Vec<Json> = place.json(&["quarantine", "list", "--all"]).as_array().unwrap().clone();
    let states: Vec<&Json> = states.iter().map(|entry| &entry["state"]).collect();
    assert_eq!(json!(states), json!(["replayed", "replayed", "open"]));
    let before = place.dump();
    assert_eq!(replay(&place, 1)["loaded"], 0);
    assert_eq!(place.dump().get("session_item"), before.get("session_item"));
}

#[test]
fn show_marks_the_bad_field_list_prints_cells_and_discard_settles_records() {
    let Some(place) = loaded() else { return };
    std::fs::remove_file(place.inbox().join(FILE)).unwrap();
    let shown = place.run(&["quarantine", "show", FILE, "4"]);
    assert!(
        shown.stdout.contains("column  level (field 7)") && shown.stdout.ends_with(" ^^^^\n"),
        "{shown:?}"
    );
    let csv = place.run(&["quarantine", "list", "--csv"]).stdout;
    assert!(csv.lines().nth(1).unwrap().ends_with("Later 0,Ann,F,0,Lee,,free,\"X, Y\",7,Song 0,3,"), "{csv}");
    let done = place.run(&["quarantine", "discard", "--reason", "fields", "--json"]);
    assert_eq!((done.code, &done.json()["discarded"]), (0, &json!(1)), "{done:?}");
    assert_eq!(account(&place), json!([[5, 2, 0, 3], [2, 0, 1]]));
    assert_eq!(replay(&place, 0)["loaded"], 2, "discarded records are not tried");
    assert_eq!(place.json(&["status"])["quarantine"], json!({ "open": 0, "replayed": 2, "discarded": 1 }));
}

/// A song is the partition key of `user_song`. Cassandra accepts no partition key over 65,535 bytes.
#[test]
fn a_record_that_the_server_still_refuses_stays_open() {
    let Some(place) = Place::new() else { return };
    let long = events(4..5).replace("Song", &"S".repeat(70_000));
    place.drop_file(FILE, format!("{HEADER}{}{long}{}", events(0..4), events(5..9)));
    place.once(1);
    let done = replay(&place, 1);
    assert_eq!(json!([done["loaded"], done["reasons"]]), json!([0, { "refused": 1 }]));
    assert_eq!(account(&place), json!([[9, 8, 0, 1], [1, 0, 0]]));
    assert_eq!(place.receipt(FILE)["tables"]["user_song"]["rows"], 8);
}

#[test]
fn a_table_backfilled_later_contains_the_replayed_records() {
    let Some(mut place) = loaded() else { return };
    replay(&place, 1);
    let declared = "{ partition_key: [artist], clustering_key: [sessionId, itemInSession], columns: [song] }";
    place.set("tables.by_artist", declared);
    let played = place.run(&["load", "--table", "by_artist"]);
    assert_eq!(played.code, 0, "{played:?}");
    assert_eq!(place.receipt(FILE)["tables"]["by_artist"]["rows"], 4);
    assert_eq!(account(&place), json!([[5, 4, 0, 1], [1, 2, 0]]));
    assert_eq!(place.tables()["by_artist"].len(), 4);
}

#[test]
fn replay_and_discard_exit_with_3_while_a_daemon_runs() {
    let Some(place) = loaded() else { return };
    let mut daemon = place.daemon();
    for command in [&["quarantine", "replay"][..], &["quarantine", "discard", "--all"]] {
        let refused = place.run(command);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(
            refused.stderr.contains("in use by") && refused.stderr.contains("next: stop that process"),
            "{refused:?}"
        );
    }
    daemon.stop();
    assert_eq!(replay(&place, 1)["loaded"], 2);
}

impl Place {
    /// Turns the ledger into a ledger of format 1.
    pub fn make_older(&self) {
        let dropped = [
            ("needledrop_deliveries", "replayed"),
            ("needledrop_deliveries", "discarded"),
            ("needledrop_deliveries", "assumed"),
            ("needledrop_quarantine", "state"),
            ("needledrop_quarantine", "header"),
        ];
        for (table, column) in dropped {
            self.cql(&format!("ALTER TABLE ks.{table} DROP {column}"));
        }
        self.cql("UPDATE ks.needledrop_meta SET value = '1' WHERE key = 'format' IF EXISTS");
    }
}

#[test]
fn a_ledger_of_format_1_is_refused_until_it_is_migrated() {
    let Some(place) = loaded() else { return };
    let before = place.columns();
    place.make_older();
    let asked = place.run(&["status"]);
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(
        asked.stderr.contains("format 1") && asked.stderr.contains("needledrop schema --apply"),
        "{asked:?}"
    );
    let checked = place.run(&["check"]);
    assert!(checked.stdout.contains("the format of an earlier version"), "{checked:?}");
    let mut place = place.with("store.create_schema", "false");
    let writing = place.run(&["quarantine", "replay"]);
    assert!(writing.code == 2 && writing.stderr.contains("format 1"), "{writing:?}");
    let writing = place.run(&["run", "--once"]);
    assert!(writing.code == 2 && writing.stderr.contains("needledrop schema --apply"), "{writing:?}");
    place.set("store.create_schema", "true");
    for step in 1.. {
        let aborted = place.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        if aborted.unwrap().status.success() {
            break;
        }
    }
    let sorted = |mut columns: Vec<String>| {
        columns.sort();
        columns
    };
    assert_eq!(sorted(place.columns()), sorted(before));
    assert_eq!(account(&place), json!([[5, 2, 0, 3], [3, 0, 0]]));
    assert_eq!(replay(&place, 1)["loaded"], 2, "the header comes from the file");
}
