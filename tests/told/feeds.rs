//! Tests of what is reported about the deliveries of a named feed. No configuration can name one yet.

use serde_json::{Value as Json, json};

use crate::common::World;
use crate::{FILE, csv, world};

/// Returns a ledger whose only delivery belongs to the feed `clicks`. One of its records is in quarantine.
fn clicks() -> World {
    let world = world();
    world.drop_file(FILE, csv(3, |n| n == 1));
    world.once(1);
    let store = rusqlite::Connection::open(world.store()).unwrap();
    store.execute("UPDATE _needledrop_deliveries SET path = 'clicks//' || path", []).unwrap();
    world
}

#[test]
fn json_has_feed_and_path_and_text_has_both_in_one() {
    let (world, key) = (clicks(), format!("clicks//{FILE}"));
    let of = |told: &Json| json!([told["feed"], told["file"]]);
    let named = json!(["clicks", FILE]);
    assert_eq!(of(&world.receipt(&key)), named);
    assert_eq!(of(&world.json(&["status"])["deliveries"][0]), named);
    assert_eq!(of(&world.json(&["quarantine", "list"])[0]), named);
    assert_eq!(of(&world.json(&["quarantine", "show", &key, "3"])), named);
    assert_eq!(world.json(&["quarantine", "list", "--file", &key]).as_array().unwrap().len(), 1);
    for args in [["receipt", &key].as_slice(), &["status"], &["quarantine", "list"]] {
        let told = world.run(args).stdout;
        assert!(told.contains(&key), "{args:?}: {told}");
    }
    assert_eq!(of(&world.json(&["quarantine", "discard", "--all"])["deliveries"][0]), named);
}

#[test]
fn a_path_means_the_file_of_the_inbox() {
    let world = clicks();
    let absent = world.run(&["receipt", FILE]);
    assert!(
        absent.code == 1 && absent.stderr.contains(&format!("{FILE} is not in the ledger")),
        "{absent:?}"
    );
    world.once(1);
    let (own, other) = (world.receipt(FILE), world.receipt(&format!("clicks//{FILE}")));
    assert_eq!([&own["feed"], &other["feed"]], ["", "clicks"]);
    assert_eq!([&own["state"], &other["state"]], ["loaded", "loaded"], "neither is a duplicate");
    assert_eq!([&own["generation"], &other["generation"]], [1, 1]);
}

#[test]
fn a_load_names_the_feed_that_is_not_declared() {
    let output = clicks().run(&["load", "clicks//1.csv"]);
    let what = "there is no such file or folder, and no feed `clicks` is declared";
    assert!(output.code == 2 && output.stderr.contains(what), "{output:?}");
}
