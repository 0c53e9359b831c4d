//! Tests of the 30 real files against every known figure and answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/answers.rs"]
mod answers;
mod common;

use std::fs;
use std::path::PathBuf;

use answers::{assert_answers, assert_receipts, real};
use common::{World, gzip, shared};
use serde_json::json;

/// Loads all 30 files. Returns `None` if the files are missing.
fn loaded() -> Option<World> {
    shared("events").map(|_| load(real()))
}

fn load(files: Vec<PathBuf>) -> World {
    let world = World::new();
    world.copy_in(&files);
    world.once(0);
    world
}

#[test]
fn totals_match_the_files() {
    let Some(world) = loaded() else { return };
    let status = world.json(&["status", "--count"]);
    assert_eq!(status["states"], json!({ "loaded": 30 }));
    assert_eq!(status["backlog"]["files"], 0);
    let table = |rows, collisions, count| json!({ "rows_written": rows, "collisions": collisions, "estimated": false, "behind": 0, "count": count });
    let expected = json!({
        "session_item": table(6820, 0, 6820),
        "user_session": table(6820, 0, 6820),
        "user_song": table(6820, 202, 6618),
    });
    assert_eq!(status["tables"], expected);
    let tables = world.tables();
    let counts: Vec<usize> = tables.values().map(Vec::len).collect();
    assert_eq!(counts, [6820, 6820, 6618]);
}

#[test]
fn every_receipt_closes_and_the_receipts_add_up() {
    let Some(world) = loaded() else { return };
    assert_receipts(&world);
}

#[test]
fn collisions_within_one_file_are_38_and_across_files_164() {
    let Some(world) = loaded() else { return };
    let total = world.accounts()["user_song"].1;
    let mut within = 0;
    for file in real() {
        let alone = load(vec![file]);
        within += alone.accounts()["user_song"].1;
    }
    assert_eq!((within, total - within), (38, 164));
}

#[test]
fn the_three_questions_are_answered() {
    let Some(world) = loaded() else { return };
    assert_answers(&world);
}

#[test]
fn a_second_pass_writes_nothing_and_the_tables_have_what_the_files_give() {
    let Some(world) = loaded() else { return };
    let before = world.dump();
    let summary = world.once(0);
    assert_eq!(summary["records"], json!({ "read": 0, "loaded": 0, "skipped": 0, "quarantined": 0 }));
    assert_eq!((&summary["deliveries"], &summary["tables"]), (&json!({}), &json!({})));
    assert!(world.run(&["run", "--once"]).stdout.contains("nothing new"));
    assert!(world.dump() == before, "a second pass over loaded files changed the store");
    let verified = world.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn loading_an_export_gives_equal_tables() {
    let Some(world) = loaded() else { return };
    let exported = world.run(&["export"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    assert_eq!(exported.stdout.lines().count(), 6821);
    assert!(exported.stdout.lines().all(|line| line.starts_with('"') && line.ends_with('"')));
    let fresh = World::new();
    fresh.drop_file("export.csv", &exported.stdout);
    assert_eq!(fresh.once(0)["records"]["skipped"], 0);
    assert!(fresh.tables() == world.tables(), "the tables differ after loading the export");
}

#[test]
fn a_day_and_its_compressed_forms_are_duplicates() {
    let Some(folder) = shared("events") else { return };
    let day = folder.join("2018-11-01-events.csv");
    let bytes = fs::read(&day).unwrap();
    let compressed = [("gz", gzip(&bytes)), ("zst", zstd::encode_all(bytes.as_slice(), 0).unwrap())];
    let plain = load(vec![day]);
    let tables = plain.tables();
    for (end, packed) in compressed {
        let name = format!("2018-11-01-events.csv.{end}");
        plain.drop_file(&name, &packed);
        let summary = plain.once(0);
        assert_eq!(summary["deliveries"], json!({ "duplicate": 1 }));
        assert_eq!(summary["records"]["read"], 0);
        let receipt = plain.receipt(&name);
        assert!(receipt["detail"].as_str().unwrap().contains("2018-11-01-events.csv"), "{receipt}");
        assert_eq!((&receipt["records"], &receipt["stamps"]), (&json!(0), &json!([])), "{receipt}");

        let alone = World::new();
        alone.drop_file(&name, &packed);
        alone.once(0);
        assert!(alone.tables() == tables, "the {end} files alone give other tables");
        assert_eq!(alone.receipt(&name)["bytes"], bytes.len(), "offsets count decoded bytes");
    }
    assert!(plain.tables() == tables);
}
