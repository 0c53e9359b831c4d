//! Tests that another domain needs only another YAML file, with the trades of config/examples.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/trades.rs"]
mod trades;

use common::World;

/// Creates a world for the shipped example, with the example's files in the inbox.
fn trades() -> World {
    let world = World::of(&trades::example());
    trades::copy_in(&world);
    world
}

#[test]
fn the_trades_are_loaded_and_their_tables_answer_the_declared_questions() {
    let world = trades();
    trades::assert_answers(&world);
}

#[test]
fn an_export_of_the_trades_loads_into_the_same_tables() {
    let world = trades();
    world.once(0);
    let exported = world.run(&["export"]).stdout;
    assert!(
        exported.starts_with("\"Trade ID\","),
        "the export has the column names of the header: {exported}"
    );
    // The name of a file contains its day, so the export of one day is one file.
    let name = "2026-03-02-trades.csv";
    let day = trades();
    std::fs::remove_file(day.inbox().join("2026-03-03-trades.csv")).unwrap();
    day.once(0);
    let again = trades();
    std::fs::remove_file(again.inbox().join("2026-03-03-trades.csv")).unwrap();
    again.drop_file(name, day.run(&["export"]).stdout);
    again.once(0);
    assert_eq!(again.tables(), day.tables());
}
