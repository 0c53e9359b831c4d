//! Tests of the connection to the node, and of what `check` reports about it.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::common::{HEADER, events, until};
use crate::place::Place;
use crate::wire::{Way, through};

/// Returns `Some` if the node has a connection whose driver uses this compression.
fn compressed(place: &Place, algorithm: &str) -> Option<()> {
    let clients = place.rows("SELECT client_options FROM system_views.clients");
    let wanted = format!("Text(\"{algorithm}\")");
    clients.iter().any(|client| format!("{client:?}").contains(&wanted)).then_some(())
}

#[test]
fn requests_are_compressed_if_configured() {
    for algorithm in ["lz4", "snappy"] {
        let Some(place) = Place::new() else { return };
        let place = place.with("store.cassandra.compression", algorithm);
        let mut daemon = place.daemon();
        until("the node sees it", || compressed(&place, algorithm));
        place.drop_file("2018-11-01-events.csv", format!("{HEADER}{}", events(0..500)));
        until("it is loaded", || (place.json(&["status"])["states"]["loaded"] == 1).then_some(()));
        assert_eq!(daemon.stop().0, 0);
        assert_eq!(place.json(&["status", "--count"])["tables"]["session_item"]["count"], 500);
    }
}

#[test]
fn a_data_centre_without_nodes_is_reported_and_one_with_nodes_is_used() {
    let Some(mut place) = Place::new() else { return };
    place.drop_file("2018-11-01-events.csv", format!("{HEADER}{}", events(0..5)));
    place.set("store.patience", "3s");
    place.set("store.cassandra.local_datacenter", "elsewhere");
    for command in [&["run", "--once"][..], &["check"]] {
        let output = place.run(command);
        let told = output.stdout.clone() + &output.stderr;
        assert_eq!(output.code, 2, "{output:?}");
        assert!(told.contains("no node is in data centre elsewhere"), "{told}");
        assert!(told.contains("one of datacenter1"), "{told}");
    }
    place.set("store.cassandra.local_datacenter", "datacenter1");
    assert_eq!(place.once(0)["deliveries"], json!({ "loaded": 1 }));
}

#[test]
fn check_reports_a_counter_table() {
    let Some(place) = Place::new() else { return };
    place.once(0);
    place.cql("DROP TABLE ks.user_song");
    place.cql("CREATE TABLE ks.user_song (song text, userid int, heard counter, PRIMARY KEY (song, userid))");
    let output = place.run(&["check"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stdout.contains("column heard of table user_song is a counter"), "{output:?}");
}

/// Another test, with a login, covers a contact point that refuses the connection. This contact point never answers,
/// which is worse.
#[test]
fn a_contact_point_that_never_answers_is_skipped() {
    let Some(place) = Place::new() else { return };
    let node = std::env::var("NEEDLEDROP_TEST_CASSANDRA").unwrap();
    let (host, port) = node.rsplit_once(':').unwrap();
    let silent = TcpListener::bind(format!("127.0.0.2:{port}")).unwrap();
    let place = place.with("store.cassandra.hosts", &format!("[\"127.0.0.2\", \"{host}\"]"));
    let place = place.with("store.cassandra.connect_timeout", "1s");
    place.drop_file("2018-11-01-events.csv", format!("{HEADER}{}", events(0..5)));
    assert_eq!(place.once(0)["deliveries"], json!({ "loaded": 1 }));
    drop(silent);
}

/// Whether a frame is the answer to a write: opcode `RESULT` with kind 1, which has no rows.
fn is_of_write(way: Way, frame: &[u8]) -> bool {
    way == Way::FromNode && frame[4] == 8 && frame[9..] == [0, 0, 0, 1]
}

#[test]
fn a_write_whose_answer_is_lost_is_sent_again_after_the_request_timeout() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    let answers = AtomicU32::new(0);
    let arrives = move |way, frame: &[u8]| {
        !is_of_write(way, frame) || !(5..25).contains(&answers.fetch_add(1, Ordering::SeqCst))
    };
    let place = through(place, arrives).with("store.cassandra.request_timeout", "1s");
    let mut daemon = place.daemon();
    place.drop_file("2018-11-01-events.csv", format!("{HEADER}{}", events(0..100)));
    until("it is loaded", || (place.json(&["status"])["states"]["loaded"] == 1).then_some(()));
    let metrics = daemon.metrics();
    let retried = metrics.iter().filter(|(name, _)| {
        name.starts_with("needledrop_write_retries_total") && name.contains("reason=\"timeout\"")
    });
    assert!(retried.map(|(_, count)| count).sum::<f64>() >= 20.0, "{metrics:?}");
    assert_eq!(daemon.stop().0, 0);
    let status = place.json(&["status", "--count"]);
    for table in ["session_item", "user_session", "user_song"] {
        assert_eq!(status["tables"][table]["count"], 100, "{status}");
    }
    assert_eq!(place.receipt("2018-11-01-events.csv")["closes"], true);
}
