//! Tests of the 30 real files against every known figure and answer.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::common::{files, shared};
use crate::place::Place;

const TABLES: [&str; 3] = ["session_item", "user_session", "user_song"];

fn real() -> Vec<PathBuf> {
    shared("events").map(|folder| files(&folder)).unwrap_or_default()
}

/// Loads all 30 files. Returns `None` if the files or the node are missing.
fn loaded() -> Option<Place> {
    let files = real();
    let place = Place::new().filter(|_| !files.is_empty())?;
    place.copy_in(&files);
    place.once(0);
    Some(place)
}

fn row(values: Json) -> Vec<Json> {
    values.as_array().unwrap().clone()
}

fn assert_totals(place: &Place) {
    let status = place.json(&["status", "--count"]);
    assert_eq!(status["states"], json!({ "loaded": 30 }));
    assert_eq!(status["backlog"]["files"], 0);
    let table = |collisions, count| json!({ "rows_written": 6820, "collisions": collisions, "estimated": false, "behind": 0, "count": count });
    // Collisions are counted within a file. Keys that several files share show only in `count`.
    let expected = json!({
        "session_item": table(0, 6820),
        "user_session": table(0, 6820),
        "user_song": table(38, 6618),
    });
    assert_eq!(status["tables"], expected);
    let counts = TABLES.map(|table| place.rows(&format!("SELECT * FROM ks.{table}")).len());
    assert_eq!(counts, [6820, 6820, 6618]);
}

fn assert_receipts(place: &Place) {
    let (mut records, mut loaded, mut skipped) = (0, 0, 0);
    for file in real() {
        let receipt = place.receipt(file.file_name().unwrap().to_str().unwrap());
        let count = |key: &str| receipt[key].as_u64().unwrap();
        assert_eq!(receipt["closes"], true, "{receipt}");
        assert_eq!(count("quarantined"), 0, "{receipt}");
        assert_eq!(count("records"), count("loaded") + count("skipped"), "{receipt}");
        assert_eq!(count("bytes"), fs::metadata(&file).unwrap().len(), "{receipt}");
        assert!(TABLES.iter().all(|table| receipt["tables"][table]["rows"] == count("loaded")), "{receipt}");
        records += count("records");
        loaded += count("loaded");
        skipped += count("skipped");
    }
    assert_eq!((records, loaded, skipped), (8056, 6820, 1236));
}

fn assert_answers(place: &Place) {
    let item = place.query("session_item", &["sessionId=338", "itemInSession=4"]);
    assert_eq!(item, [row(json!([338, 4, "Faithless", "Music Matters (Mark Knight Dub)", 495.3073]))]);
    let session = place.query("user_session", &["userId=10", "sessionId=182"]);
    let sylvie =
        |item: u32, artist: &str, song: &str| row(json!([182, 10, item, artist, song, "Sylvie", "Cruz"]));
    let expected = [
        sylvie(0, "Down To The Bone", "Keep On Keepin' On"),
        sylvie(1, "Three Drives", "Greece 2000"),
        sylvie(2, "Sebastien Tellier", "Kilometer"),
        sylvie(3, "Lonnie Gordon", "Catch You Baby (Steve Pitron & Max Sanna Radio Edit)"),
    ];
    assert_eq!(session, expected);
    let song = "All Hands Against His Own";
    let listeners = place.query("user_song", &[&format!("song={song}")]);
    let expected = [(29, "Jacqueline", "Lynch"), (80, "Tegan", "Levine"), (95, "Sara", "Johnson")]
        .map(|(user, first, last)| row(json!([song, user, first, last])));
    assert_eq!(listeners, expected);
}

#[test]
fn all_known_figures_and_answers_of_the_files_are_found() {
    let Some(place) = loaded() else { return };
    assert_totals(&place);
    assert_receipts(&place);
    assert_answers(&place);
}

#[test]
fn a_second_pass_writes_nothing() {
    let Some(place) = loaded() else { return };
    let before = place.dump();
    assert_eq!(before["needledrop_deliveries"].len(), 30);
    let summary = place.once(0);
    assert_eq!(summary["records"], json!({ "read": 0, "loaded": 0, "skipped": 0, "quarantined": 0 }));
    assert_eq!((&summary["deliveries"], &summary["tables"]), (&json!({}), &json!({})));
    assert!(place.run(&["run", "--once"]).stdout.contains("nothing new"));
    assert!(place.dump() == before, "a second pass over loaded files changed the store");
}

#[test]
fn an_export_loads_into_the_same_tables() {
    let Some(place) = loaded() else { return };
    let exported = place.run(&["export"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    assert_eq!(exported.stdout.lines().count(), 6821);
    let Some(fresh) = Place::new() else { return };
    fresh.drop_file("export.csv", &exported.stdout);
    assert_eq!(
        fresh.once(0)["records"],
        json!({ "read": 6820, "loaded": 6820, "skipped": 0, "quarantined": 0 })
    );
    assert!(fresh.tables() == place.tables(), "the export loads into other tables");
}
