//! Tests of files that change while they are read. Each ends in the right delivery, state and receipt, and the ledger
//! accounts for rows that were sent ahead of it.

use std::fs;
use std::io::Write;

use serde_json::Value as Json;

use crate::common::{csv, events, until};
use crate::place::Place;

const FILE: &str = "2018-11-01-events.csv";

/// The number of records that take some seconds at the speed that this test allows.
const RECORDS: u32 = 6_000;

/// Returns the same keys with other values, in the same number of bytes.
fn other(items: std::ops::Range<u32>) -> String {
    csv(items).replace("Artist", "Singer")
}

/// A change: its name, what it does to the file during the read, the states in which the deliveries end, and the
/// contents that must be loaded in the end.
type Case = (&'static str, fn(&Place), &'static [&'static str], fn(&str, &str) -> Vec<String>);

const CASES: [Case; 5] = [
    (
        "growth",
        |place| place.append(FILE, events(RECORDS..RECORDS + 10)),
        &["loaded"],
        |_, _| vec![csv(0..RECORDS + 10)],
    ),
    (
        "cut and rewritten",
        |place| place.drop_file(FILE, other(0..10)),
        &["replaced", "loaded"],
        |bytes, left| vec![loaded_of(bytes, left), other(0..10)],
    ),
    (
        "rewritten in place",
        |place| {
            let mut file = fs::OpenOptions::new().write(true).open(place.inbox().join(FILE)).unwrap();
            file.write_all(other(0..RECORDS).as_bytes()).unwrap();
        },
        &["replaced", "loaded"],
        |bytes, left| vec![loaded_of(bytes, left), other(0..RECORDS)],
    ),
    (
        "another renamed over it",
        |place| {
            place.drop_file(".other", other(0..10));
            fs::rename(place.inbox().join(".other"), place.inbox().join(FILE)).unwrap();
        },
        &["loaded", "loaded"],
        |bytes, _| vec![bytes.to_owned(), other(0..10)],
    ),
    (
        "removed",
        |place| fs::remove_file(place.inbox().join(FILE)).unwrap(),
        &["loaded"],
        |bytes, _| vec![bytes.to_owned()],
    ),
];

/// Returns the first records, up to this byte.
fn loaded_of(bytes: &str, until: &str) -> String {
    bytes[..until.parse().unwrap()].to_owned()
}

fn receipts(place: &Place) -> Vec<Json> {
    let status = place.json(&["status"]);
    let generations = 1..=status["deliveries"].as_array().unwrap().len();
    generations.map(|one| place.json(&["receipt", FILE, "--generation", &one.to_string()])).collect()
}

#[test]
fn a_file_that_changes_while_it_is_read_ends_in_the_right_state() {
    let Some(place) = Place::new() else { return };
    let place = place.with("source.settle", "200ms").with("source.poll", "200ms").with("write.window", "200");
    let mut place = place;
    for (name, change, states, contents) in CASES {
        place.set("write.rows_per_second", "6000");
        let bytes = csv(0..RECORDS);
        let mut daemon = place.daemon();
        place.drop_file(FILE, &bytes);
        until("some of it is loaded", || (daemon.metric("records_read_total") > 0.0).then_some(()));
        assert_eq!(daemon.metric("lease_held"), 1.0);
        assert_eq!(daemon.metric("driver_nodes{state=\"connected\"}"), 1.0);
        change(&place);
        let loaded = "deliveries_total{state=\"loaded\"}";
        let expected = states.iter().filter(|state| **state == "loaded").count();
        until("all is loaded", || {
            (daemon.metric(loaded) >= f64::from(u32::try_from(expected).unwrap())).then_some(())
        });
        assert_eq!(daemon.stop().0, 0, "{name}: {}", daemon.log());
        let receipts = receipts(&place);
        let found: Vec<_> = receipts.iter().map(|receipt| receipt["state"].as_str().unwrap()).collect();
        assert_eq!(found, states, "{name}");
        assert!(receipts.iter().all(|receipt| receipt["closes"] == true), "{name}: {receipts:?}");
        let first = &receipts[0];
        assert!(
            states[0] != "replaced" || first["records"].as_u64().unwrap() < u64::from(RECORDS),
            "{name}: {first}"
        );
        let tables = place.tables();
        // Loads the same contents one after the other, undisturbed.
        place.empty();
        place.set("write.rows_per_second", "0");
        for bytes in contents(&bytes, &first["bytes"].to_string()) {
            place.drop_file(FILE, bytes);
            place.once(0);
        }
        assert_eq!(tables, place.tables(), "{name}");
        place.empty();
    }
}
