//! How the node is spoken to, and what `check` says of it.

use serde_json::json;

use crate::common::{HEADER, events, until};
use crate::place::Place;

/// Compression that the node sees on connections of a driver that says so.
fn compressed(place: &Place, algorithm: &str) -> Option<()> {
    let clients = place.rows("SELECT client_options FROM system_views.clients");
    let wanted = format!("Text(\"{algorithm}\")");
    clients.iter().any(|client| format!("{client:?}").contains(&wanted)).then_some(())
}

#[test]
fn requests_are_compressed_where_that_is_asked_for() {
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
fn a_data_centre_without_nodes_is_told_and_one_with_nodes_is_used() {
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
fn a_table_of_counters_is_told() {
    let Some(place) = Place::new() else { return };
    place.once(0);
    place.cql("DROP TABLE ks.user_song");
    place.cql("CREATE TABLE ks.user_song (song text, userid int, heard counter, PRIMARY KEY (song, userid))");
    let output = place.run(&["check"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stdout.contains("table user_song counts in column heard"), "{output:?}");
}
