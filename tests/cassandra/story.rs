//! The part of a store's contents that must be the same, whatever happened on the way.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::place::{Dump, Place};
use crate::two_feeds::name;

/// Tables, deliveries and quarantine, without ids, stamps, times and remarks.
#[derive(Debug, PartialEq)]
pub struct Story {
    parts: Dump,
}

impl Story {
    /// Reads the current contents. Asserts that nothing is half done and that every receipt closes.
    pub fn of(place: &Place) -> Self {
        let mut parts = place.tables();
        parts.insert("deliveries".to_owned(), accounts(place));
        let entries = place.json(&["quarantine", "list", "--all"]).as_array().unwrap().clone();
        closes(place, &entries);
        parts.insert("quarantine".to_owned(), sorted(entries.iter().map(ToString::to_string).collect()));
        Self { parts }
    }

    pub fn assert_is(&self, clean: &Self, what: &str) {
        for (part, expected) in &clean.parts {
            let found = &self.parts[part];
            if found != expected {
                let (more, less) = (only(found, expected), only(expected, found));
                panic!("{what}: {part} differ; only found:{more}\nonly expected:{less}");
            }
        }
        assert_eq!(self.parts.len(), clean.parts.len(), "{what}");
    }
}

fn accounts(place: &Place) -> Vec<String> {
    let columns = "path, generation, state, bytes, records, line, hash, tail, loaded, skipped, quarantined, parts, \
                   tables";
    sorted(place.valid_deliveries(columns).iter().map(|row| format!("{row:?}")).collect())
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

fn only(a: &[String], b: &[String]) -> String {
    a.iter().filter(|one| !b.contains(one)).map(|one| format!("\n  {one}")).take(6).collect()
}

/// Asserts laws 1 and 6: every record is accounted for, and the quarantine entries match the receipts.
fn closes(place: &Place, entries: &[Json]) {
    let status = place.json(&["status"]);
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    for delivery in status["deliveries"].as_array().unwrap() {
        let count = |key: &str| delivery[key].as_u64().unwrap();
        assert_eq!(count("records"), count("loaded") + count("skipped") + count("quarantined"), "{delivery}");
        let state = delivery["state"].as_str().unwrap();
        assert!(!matches!(state, "loading" | "waiting"), "left behind: {delivery}");
        *refused.entry(name(delivery)).or_default() += count("quarantined");
    }
    for (file, count) in refused {
        let found = entries.iter().filter(|entry| name(entry) == file && entry["state"] != "replayed");
        assert_eq!(found.count() as u64, count, "entries of {file}");
    }
}
