//! Tables that are changed behind the back of a process that writes.

use serde_json::json;

use crate::common::{Daemon, HEADER, events, until};
use crate::place::Place;

const FILES: [&str; 2] = ["2018-11-01-events.csv", "2018-11-02-events.csv"];

fn csv(items: std::ops::Range<u32>) -> String {
    format!("{HEADER}{}", events(items))
}

/// A daemon that has loaded one file.
fn started() -> Option<(Place, Daemon)> {
    let place = Place::new()?.with("source.settle", "100ms").with("source.poll", "200ms");
    let daemon = place.daemon();
    place.drop_file(FILES[0], csv(0..20));
    until("the first file is loaded", || (place.states().get(FILES[0])? == "loaded").then_some(()));
    Some((place, daemon))
}

/// Drops the second file; the daemon ends with 2 and says what is wrong and what to do.
fn assert_ends(place: &Place, daemon: &mut Daemon, words: &str) {
    place.drop_file(FILES[1], csv(20..40));
    assert_eq!(daemon.ended(), 2, "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains(words) && log.contains("next: "), "{log}");
    // By CQL, because a table of another shape is refused by every command.
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

/// The dropped and recreated table as it must be afterwards: nothing in it, and a run says what is wrong.
fn assert_left_alone(place: &Place, table: &str) {
    assert_eq!(place.sorted(&format!("SELECT * FROM ks.{table}")), Vec::<String>::new(), "misbound");
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("expected") && refused.stderr.contains("found"), "{refused:?}");
}

#[test]
fn a_column_that_is_dropped_ends_the_daemon_and_the_file_goes_on_when_it_is_back() {
    let Some((place, mut daemon)) = started() else { return };
    place.cql("ALTER TABLE ks.session_item DROP length");
    assert_ends(&place, &mut daemon, "schema is not what it was");
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("expected length float"), "{refused:?}");

    place.cql("ALTER TABLE ks.session_item ADD length float");
    assert_eq!(place.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_counts(&place, 40);
    let new = place.rows("SELECT length FROM ks.session_item WHERE sessionid = 7 AND iteminsession = 30");
    assert!(new[0][0].is_some(), "what was written after it came back is there");
}

#[test]
fn a_table_that_is_dropped_ends_the_daemon_and_can_be_played_again() {
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
    assert!(before.iter().all(|row| after.binary_search(row).is_ok()), "under other stamps");
}

#[test]
fn a_run_that_is_under_way_ends_too_when_a_table_goes() {
    let Some(place) = Place::new() else { return };
    let mut place = place.with("write.rows_per_second", "1500").with("write.window", "100");
    place.drop_file(FILES[0], csv(0..2000));
    let mut run = place.command(&["run", "--once"]);
    let run = run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("some of it is durable", || {
        let receipt = place.run(&["receipt", FILES[0], "--json"]);
        (receipt.code == 0 && receipt.json()["records"].as_u64()? >= 100).then_some(())
    });
    place.cql("DROP TABLE ks.user_session");
    let ended = run.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(told.contains("user_session") && told.contains("next: "), "{told}");
    assert_eq!(place.states()[FILES[0]], "loading", "it can go on");

    place.set("write.rows_per_second", "0");
    place.once(0);
    assert_eq!(place.run(&["load", "--table", "user_session"]).code, 0);
    let status = place.json(&["status", "--count"]);
    assert_eq!(status["tables"]["user_session"]["count"], 2000, "{status}");
    assert_eq!(place.receipt(FILES[0])["closes"], true);
}

/// A table that comes back under its name with another declaration.
fn recreated(table: &str, columns: &str) {
    let Some((place, mut daemon)) = started() else { return };
    place.cql(&format!("DROP TABLE ks.{table}"));
    place.cql(&format!("CREATE TABLE ks.{table} ({columns})"));
    place.drop_file(FILES[1], csv(20..40));
    let began = std::time::Instant::now();
    while daemon.runs() && daemon.log().matches("INFO loaded").count() < 2 {
        assert!(began.elapsed().as_secs() < 20, "it neither ends nor loads: {}", daemon.log());
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
