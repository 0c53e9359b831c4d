//! Tests of the 30 real files against every known figure and answer.

use serde_json::json;

use crate::answers::{TABLES, assert_answers, assert_receipts, real};
use crate::place::Place;

/// Loads all 30 files. Returns `None` if the files or the node are missing.
fn loaded() -> Option<Place> {
    let files = real();
    let place = Place::new().filter(|_| !files.is_empty())?;
    place.copy_in(&files);
    place.once(0);
    Some(place)
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

#[test]
fn all_known_figures_and_answers_of_the_files_are_found() {
    let Some(place) = loaded() else { return };
    assert_totals(&place);
    assert_receipts(&place);
    assert_answers(&place);
}

#[test]
fn a_second_pass_writes_nothing_and_the_tables_have_what_the_files_give() {
    let Some(place) = loaded() else { return };
    let before = place.dump();
    assert_eq!(before["needledrop_deliveries"].len(), 30);
    let summary = place.once(0);
    assert_eq!(summary["records"], json!({ "read": 0, "loaded": 0, "skipped": 0, "quarantined": 0 }));
    assert_eq!((&summary["deliveries"], &summary["tables"]), (&json!({}), &json!({})));
    assert!(place.run(&["run", "--once"]).stdout.contains("nothing new"));
    assert!(place.dump() == before, "a second pass over loaded files changed the store");
    let verified = place.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn loading_an_export_gives_equal_tables() {
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
    assert!(fresh.tables() == place.tables(), "the tables differ after loading the export");
}
