//! Tests of law 2: the final state is a function of the deliveries. The content of the files shows their order.

use serde_json::{Value as Json, json};

use crate::common::{shared, until};
use crate::ordered::{FILES, SECOND_REPLACED, all_at_once, assert_stamps, file, one_by_one, replace_second};
use crate::place::Place;
use crate::steps::steps;
use crate::story::Story;

const TABLES: [&str; 3] = ["session_item", "user_session", "user_song"];

/// Returns a place, if the shared files exist.
fn place() -> Option<Place> {
    Place::new().filter(|_| shared("order").is_some())
}

/// Asserts what the three tables hold, one row each. `item` contains artist, song and length; `first` and `last` are
/// the listener's names.
fn assert_seen(place: &Place, item: Json, first: Json, last: &str) {
    let artist = item[0].clone();
    let expected = json!([
        [[1, 0, item[0], item[1], item[2]]],
        [[1, 1, 0, artist, "Echo", first, last]],
        [["Echo", 1, first, last]],
    ]);
    let found = [
        place.query("session_item", &["sessionId=1"]),
        place.query("user_session", &["sessionId=1", "userId=1"]),
        place.query("user_song", &["song=Echo"]),
    ];
    assert_eq!(json!(found), expected);
    let status = place.json(&["status", "--count"]);
    assert!(TABLES.iter().all(|table| status["tables"][table]["count"] == 1), "{status}");
    assert_stamps(place);
}

#[test]
fn one_listing_is_loaded_in_the_order_of_the_dates() {
    let Some(mut place) = place() else { return };
    for (files_at_once, window) in [("1", "1"), ("4", "1"), ("4", "10000")] {
        place.set("source.files_at_once", files_at_once);
        place.set("write.window", window);
        all_at_once(&place);
        assert_seen(&place, json!(["A4", "Echo", 99.5]), json!("Amy"), "Quinn");
        place.empty();
    }
}

#[test]
fn with_empty_clear_an_empty_column_erases() {
    let Some(mut place) = place() else { return };
    for table in TABLES {
        place.set(&format!("tables.{table}.empty"), "clear");
    }
    all_at_once(&place);
    assert_seen(&place, json!(["A4", "Echo", null]), Json::Null, "Quinn");
}

#[test]
fn files_dropped_one_by_one_count_in_the_order_they_were_taken_up() {
    let Some(place) = place() else { return };
    one_by_one(&place, &[FILES[2], FILES[0], FILES[1]]);
    assert_seen(&place, json!(["A3", "Echo", 99.5]), json!("Amy"), "Zorn");
}

#[test]
fn changed_and_restored_bytes_are_new_generations_at_the_end_of_the_order() {
    let Some(place) = place() else { return };
    all_at_once(&place);
    replace_second(&place, SECOND_REPLACED);
    assert_seen(&place, json!(["B1", "Echo", 98.5]), json!("Bea"), "York");
    assert_eq!(place.receipt(FILES[1])["generation"], 2);
    // The restored bytes are not a duplicate of the first generation.
    replace_second(&place, FILES[1]);
    assert_seen(&place, json!(["A3", "Echo", 99.5]), json!("Amy"), "Zorn");
    assert_eq!(place.receipt(FILES[1])["generation"], 3);
}

#[test]
fn within_one_file_the_later_record_counts_and_the_collision_is_reported() {
    let Some(place) = place() else { return };
    one_by_one(&place, &FILES[..1]);
    assert_seen(&place, json!(["A2", "Echo", 100.5]), json!("Zoe"), "Adams");
    let receipt = place.receipt(FILES[0]);
    let expected = json!({ "rows": 2, "collisions": 1, "estimated": false, "older": 0, "refused": 0, "assumed": 0, "behind": false });
    assert!(TABLES.iter().all(|table| receipt["tables"][table] == expected), "{receipt}");
    assert!(place.run(&["receipt", FILES[0]]).stdout.contains("collisions"));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_load_killed_at_any_step_ends_with_the_tables_of_one_pass() {
    let Some(place) = place().map(|place| place.with("write.window", "1")) else { return };
    all_at_once(&place);
    assert_seen(&place, json!(["A4", "Echo", 99.5]), json!("Amy"), "Quinn");
    let accounts = place.accounts();
    assert!(accounts.values().all(|account| *account == (4, 1)), "{accounts:?}");
    let clean = Story::of(&place);
    // Every durable step can be the last step of the process. Another process then continues.
    for step in steps() {
        place.empty();
        place.copy_in(&FILES.map(file));
        let killed = place.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        if killed.unwrap().status.success() {
            // Three files are taken up, and four records are written.
            assert!(step > 20, "only {step} steps");
            break;
        }
        place.once(0);
        Story::of(&place).assert_is(&clean, &format!("aborted at step {step}"));
    }
}

#[test]
fn a_daemon_and_a_single_run_give_the_same_tables() {
    let Some(place) = place() else { return };
    place.copy_in(&FILES.map(file));
    // The files count as complete at once, so the daemon finds all three in its first listing.
    let place = place.with("source.settle", "10ms");
    let mut daemon = place.daemon();
    until("all are loaded", || {
        let states = place.states();
        (states.len() == 3 && states.values().all(|state| state == "loaded")).then_some(())
    });
    assert_eq!(daemon.stop().0, 0);
    assert_seen(&place, json!(["A4", "Echo", 99.5]), json!("Amy"), "Quinn");
}
