//! Tests of tables that are altered from outside while a process writes to them.

use crate::common::{Daemon, csv, until};
use crate::place::Place;

const FILES: [&str; 2] = ["2018-11-01-events.csv", "2018-11-02-events.csv"];

/// Starts a daemon that has loaded one file.
fn started() -> Option<(Place, Daemon)> {
    let place = Place::new()?.with("source.settle", "100ms").with("source.poll", "200ms");
    let daemon = place.daemon();
    place.drop_file(FILES[0], csv(0..20));
    until("the first file is loaded", || (place.states().get(FILES[0])? == "loaded").then_some(()));
    Some((place, daemon))
}

/// Drops the second file. The daemon must exit with 2 and log these words and a `next:`.
fn assert_ends(place: &Place, daemon: &mut Daemon, words: &str) {
    place.drop_file(FILES[1], csv(20..40));
    assert_eq!(daemon.ended(), 2, "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains(words) && log.contains("next: "), "{log}");
    // Read with CQL, because every command refuses a table of another shape.
    let states = "SELECT path, state FROM ks.needledrop_deliveries";
    let second = place.sorted(states).into_iter().filter(|row| row.contains(FILES[1]));
    assert!(second.clone().all(|row| row.contains("loading")), "resumable: {second:?}");
}

fn assert_counts(place: &Place, count: u64) {
    let status = place.json(&["status", "--count"]);
    for table in ["session_item", "user_session", "user_song"] {
        assert_eq!(status["tables"][table]["count"], count, "{table}: {status}");
    }
    assert!(FILES.iter().all(|file| place.receipt(file)["closes"] == true));
}

/// Asserts that the recreated table is empty and that a run reports the difference.
fn assert_left_alone(place: &Place, table: &str) {
    assert_eq!(place.sorted(&format!("SELECT * FROM ks.{table}")), Vec::<String>::new(), "misbound");
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("expected") && refused.stderr.contains("found"), "{refused:?}");
}

#[test]
fn a_dropped_column_ends_the_daemon_and_its_table_must_be_recreated() {
    let Some((place, mut daemon)) = started() else { return };
    place.cql("ALTER TABLE ks.session_item DROP length");
    assert_ends(&place, &mut daemon, "schema changed while needledrop was running");
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("expected length float"), "{refused:?}");

    // For a column that was dropped and added again, a cluster hides values whose write time is before the drop. The
    // stamps of these records are before it.
    place.cql("ALTER TABLE ks.session_item ADD length float");
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("column length of table session_item was dropped at"), "{refused:?}");
    assert!(refused.stderr.contains("next: DROP TABLE session_item"), "{refused:?}");

    place.cql("DROP TABLE ks.session_item");
    place.once(0);
    assert_eq!(place.run(&["load", "--table", "session_item"]).code, 0);
    assert_counts(&place, 40);
    let lengths = place.rows("SELECT length FROM ks.session_item WHERE sessionid = 7");
    assert!(lengths.len() == 40 && lengths.iter().all(|row| row[0].is_some()), "every value is there");
}

#[test]
fn a_column_that_was_dropped_before_anything_was_loaded_hides_nothing() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    place.cql("ALTER TABLE ks.session_item DROP length");
    place.cql("ALTER TABLE ks.session_item ADD length float");
    place.drop_file(FILES[0], csv(0..20));
    place.once(0);
    let lengths = place.rows("SELECT length FROM ks.session_item WHERE sessionid = 7");
    assert!(lengths.len() == 20 && lengths.iter().all(|row| row[0].is_some()), "every value is there");
}

/// The table keeps its id, and the next statement fits the table again.
#[test]
fn a_column_dropped_and_added_again_between_two_requests_ends_the_daemon() {
    let Some((place, mut daemon)) = started() else { return };
    place.cql("ALTER TABLE ks.session_item DROP length");
    place.cql("ALTER TABLE ks.session_item ADD length float");
    assert_ends(&place, &mut daemon, "session_item lost its column length");
}

#[test]
fn a_dropped_table_ends_the_daemon_and_can_be_backfilled() {
    let Some((place, mut daemon)) = started() else { return };
    let before = place.stamped("user_song");
    place.cql("DROP TABLE ks.user_song");
    assert_ends(&place, &mut daemon, "user_song");
    place.once(0);
    let status = place.json(&["status"]);
    assert_ne!(status["tables"]["user_song"]["behind"], 0, "{status}");
    assert_eq!(place.run(&["load", "--table", "user_song"]).code, 0);
    assert_eq!(place.json(&["status"])["tables"]["user_song"]["behind"], 0);
    assert_counts(&place, 40);
    let after = place.stamped("user_song");
    assert!(before.iter().all(|row| after.binary_search(row).is_ok()), "a row has another stamp");
}

#[test]
fn a_dropped_table_ends_a_load_that_is_running() {
    let Some(place) = Place::new() else { return };
    let mut place = place.with("write.rows_per_second", "1500").with("write.window", "100");
    place.drop_file(FILES[0], csv(0..6000));
    let mut run = place.command(&["run", "--once"]);
    let run = run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("some of it is durable", || {
        let receipt = place.run(&["receipt", FILES[0], "--json"]);
        (!receipt.stdout.is_empty() && receipt.json()["records"].as_u64()? >= 100).then_some(())
    });
    place.cql("DROP TABLE ks.user_session");
    let ended = run.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(told.contains("user_session") && told.contains("next: "), "{told}");
    assert_eq!(place.states()[FILES[0]], "loading", "the delivery can be resumed");

    place.set("write.rows_per_second", "0");
    place.once(0);
    assert_eq!(place.run(&["load", "--table", "user_session"]).code, 0);
    let status = place.json(&["status", "--count"]);
    assert_eq!(status["tables"]["user_session"]["count"], 6000, "{status}");
    assert_eq!(place.receipt(FILES[0])["closes"], true);
}

/// Returns the number of deliveries by which `user_song` is behind.
fn behind(place: &Place) -> u64 {
    place.json(&["status"])["tables"]["user_song"]["behind"].as_u64().unwrap()
}

#[test]
fn a_table_recreated_empty_needs_a_backfill() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILES[0], csv(0..20));
    place.once(0);
    let before = place.stamped("user_song");
    place.cql("DROP TABLE ks.user_song");
    let key = "PRIMARY KEY (song, userid)";
    place.cql(&format!(
        "CREATE TABLE ks.user_song (song text, userid int, firstname text, lastname text, {key})"
    ));
    place.once(0);
    assert_eq!(behind(&place), 1);
    assert_eq!(place.run(&["load", "--table", "user_song"]).code, 0);
    assert_eq!((behind(&place), place.stamped("user_song")), (0, before));
    place.once(0);
    assert_eq!(behind(&place), 0, "it is known now");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_recreated_table_needs_a_backfill_even_after_an_interrupted_run() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILES[0], csv(0..20));
    place.once(0);
    let before = place.stamped("user_song");
    for step in 1..=3 {
        place.cql("DROP TABLE ks.user_song");
        let aborted = place.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        let aborted = aborted.unwrap();
        let told = String::from_utf8_lossy(&aborted.stderr);
        assert!(aborted.status.code().is_none() && told.contains("aborting at step"), "{told}");
        place.once(0);
        assert_eq!(behind(&place), 1, "aborted at step {step}: {told}");
        assert_eq!(place.run(&["load", "--table", "user_song"]).code, 0);
        assert_eq!((behind(&place), place.stamped("user_song")), (0, before.clone()));
    }
}

#[test]
fn a_ledger_with_a_missing_table_is_refused_and_not_recreated() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILES[0], csv(0..20));
    place.once(0);
    for table in ["needledrop_meta", "needledrop_lease", "needledrop_deliveries"] {
        place.cql(&format!("DROP TABLE ks.{table}"));
        let refused = place.run(&["run", "--once"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        let told = &refused.stderr;
        assert!(
            told.contains("damaged") && told.contains("is missing") && told.contains("next: restore"),
            "{told}"
        );
        assert!(!place.names().iter().any(|name| name == table), "{table} was recreated");
        if table == "needledrop_meta" {
            place.cql("CREATE TABLE ks.needledrop_meta (key text PRIMARY KEY, value text)");
            place.cql("INSERT INTO ks.needledrop_meta (key, value) VALUES ('format', '3') IF NOT EXISTS");
        }
    }
}

/// Recreates a table with other columns while the daemon runs. The daemon must exit with 2 and write nothing to that
/// table.
fn recreated(table: &str, columns: &str) {
    let Some((place, mut daemon)) = started() else { return };
    place.cql(&format!("DROP TABLE ks.{table}"));
    place.cql(&format!("CREATE TABLE ks.{table} ({columns})"));
    place.drop_file(FILES[1], csv(20..40));
    let began = std::time::Instant::now();
    while daemon.runs() && daemon.log().matches("INFO loaded").count() < 2 {
        assert!(began.elapsed().as_secs() < 20, "the daemon neither ends nor loads: {}", daemon.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let rows = place.sorted(&format!("SELECT * FROM ks.{table}"));
    assert!(rows.is_empty(), "misbound: {}", rows[0]);
    assert_eq!(daemon.ended(), 2, "{}", daemon.log());
    assert_left_alone(&place, table);
}

#[test]
fn nothing_is_misbound_when_a_partition_key_comes_back_as_text() {
    let key = "PRIMARY KEY (sessionid, iteminsession)";
    let columns = "sessionid text, iteminsession int, artist text, length float, song text";
    recreated("session_item", &format!("{columns}, {key}"));
}

#[test]
fn nothing_is_misbound_when_a_part_of_a_partition_key_comes_back_as_blob() {
    let key = "PRIMARY KEY ((sessionid, userid), iteminsession)";
    let columns = "sessionid int, userid blob, iteminsession int, artist text, song text";
    recreated("user_session", &format!("{columns}, firstname text, lastname text, {key}"));
}

#[test]
fn nothing_is_misbound_when_a_clustering_key_comes_back_as_text() {
    let columns = "song text, userid text, firstname text, lastname text";
    recreated("user_song", &format!("{columns}, PRIMARY KEY (song, userid)"));
}

#[test]
fn nothing_is_misbound_when_a_column_comes_back_as_text_or_int() {
    let key = "PRIMARY KEY (sessionid, iteminsession)";
    for kind in ["text", "int"] {
        let columns = format!("sessionid int, iteminsession int, artist text, length {kind}, song text");
        recreated("session_item", &format!("{columns}, {key}"));
    }
}
