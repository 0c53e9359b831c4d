//! The files whose content shows the order in which they were loaded, and what is dropped in the tests of law 2.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::common::{World, shared};

pub const FILES: [&str; 3] = ["2018-12-01-events.csv", "2018-12-02-events.csv", "2018-12-03-events.csv"];
pub const SECOND_REPLACED: &str = "2018-12-02-events.v2.txt";

/// Asserts that the stamp ranges of all generations begin even and do not overlap.
pub fn assert_stamps(world: &World) {
    let status = world.json(&["status"]);
    let mut ranges = Vec::new();
    for delivery in status["deliveries"].as_array().unwrap() {
        let (file, generation) = (delivery["file"].as_str().unwrap(), delivery["generation"].to_string());
        let receipt = world.json(&["receipt", file, "--generation", &generation]);
        assert_eq!(receipt["generation"], delivery["generation"]);
        for range in receipt["stamps"].as_array().unwrap() {
            let (base, records) = (range["base"].as_i64().unwrap(), range["records"].as_i64().unwrap());
            assert_eq!(base % 2, 0, "{receipt}");
            ranges.push((base, base + 2 * records));
        }
    }
    assert!(ranges.len() >= status["deliveries"].as_array().unwrap().len());
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:?}");
}

pub fn file(name: &str) -> PathBuf {
    shared("order").unwrap().join(name)
}

/// Drops files one by one, each after the previous file is loaded.
pub fn one_by_one(world: &World, names: &[&str]) {
    for name in names {
        world.copy_in(&[file(name)]);
        assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    }
}

pub fn all_at_once(world: &World) {
    world.copy_in(&FILES.map(file));
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 3 }));
}

pub fn replace_second(world: &World, by: &str) {
    world.drop_file(FILES[1], fs::read(file(by)).unwrap());
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
}
