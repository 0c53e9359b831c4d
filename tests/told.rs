//! Tests that everything needledrop reports to people is true: logs, summaries, receipts, `status`, `check` and
//! hints.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

#[path = "told/begin.rs"]
mod begin;
#[path = "told/check.rs"]
mod check;
#[path = "told/empty.rs"]
mod empty;
#[path = "told/feeds.rs"]
mod feeds;
#[path = "told/first_message.rs"]
mod first_message;
#[path = "told/init.rs"]
mod init;
#[path = "told/left_out.rs"]
mod left_out;
#[path = "told/named.rs"]
mod named;
#[path = "told/progress.rs"]
mod progress;
#[path = "told/small.rs"]
mod small;
#[path = "told/utf8.rs"]
mod utf8;

use std::fs;

use common::World;
use serde_json::{Value as Json, json};

const FILE: &str = "day.csv";

/// Returns a configuration with one table, whose column `v` has this type.
pub fn config(kind_of_v: &str) -> String {
    format!(
        "source:\n  columns: {{ k: text, v: {kind_of_v} }}\n\
         tables:\n  t: {{ partition_key: [k], columns: [v] }}\n"
    )
}

pub fn world() -> World {
    World::of(&config("int"))
}

/// Returns this many records. Bad records have a word instead of a number.
fn csv(records: u32, is_bad: impl Fn(u32) -> bool) -> String {
    let line = |n: u32| format!("k{n},{}\n", if is_bad(n) { "x".to_owned() } else { n.to_string() });
    format!("k,v\n{}", (0..records).map(line).collect::<String>())
}

fn redeclare(world: &World, yaml: &str) {
    fs::write(world.path("config.yaml"), yaml).unwrap();
}

fn log_line(log: &str, words: &str) -> String {
    let found = log.lines().find(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("no line with `{words}` in\n{log}")).to_owned()
}

fn open_entries(world: &World) -> usize {
    world.json(&["quarantine", "list"]).as_array().unwrap().len()
}

#[test]
fn the_log_line_of_a_load_has_the_counts_and_warns_of_quarantined_records() {
    let world = world();
    world.drop_file("good.csv", csv(3, |_| false));
    world.drop_file("bad.csv", csv(40, |n| n > 0));
    let log = world.run(&["run", "--once"]).stderr;
    let good = log_line(&log, "file=\"good.csv\"");
    assert!(good.contains("INFO") && good.contains("records=3 loaded=3 skipped=0 quarantined=0"), "{good}");
    let bad = log_line(&log, "file=\"bad.csv\"");
    assert!(bad.contains("WARN") && bad.contains("records=40 loaded=1 skipped=0 quarantined=39"), "{bad}");
    assert!(bad.contains("quarantine list"), "{bad}");
}

#[test]
fn the_counts_of_a_file_that_grew_cover_the_whole_file() {
    let world = world();
    world.drop_file(FILE, csv(4, |n| n == 1));
    world.once(1);
    world.append(FILE, "more,5\n");
    let log = world.run(&["run", "--once"]).stderr;
    let line = log_line(&log, "loaded=");
    assert!(line.contains("INFO") && line.contains("records=5 loaded=4 skipped=0 quarantined=1"), "{line}");
}

#[test]
fn the_exit_code_of_a_receipt_says_whether_the_delivery_is_done() {
    let world = world();
    world.drop_file("good.csv", csv(3, |_| false));
    world.drop_file("same.csv", csv(3, |_| false));
    world.drop_file("bad.csv", csv(3, |n| n == 1));
    world.drop_file("failed.csv", "k,other\na,1\n");
    world.drop_file("incomplete.csv", "k,v\na,\"1\n");
    world.once(1);
    let code = |file: &str| world.run(&["receipt", file]).code;
    assert_eq!(["good.csv", "same.csv"].map(code), [0, 0]);
    assert_eq!(["bad.csv", "failed.csv", "incomplete.csv"].map(code), [1, 1, 1]);
    assert_eq!(world.run(&["quarantine", "discard", "--all"]).code, 0);
    assert_eq!(code("bad.csv"), 0, "no record of it is still open");
}

#[test]
fn a_failed_generation_that_was_replaced_is_listed_as_history() {
    let world = world();
    world.drop_file(FILE, "k,other\na,1\n");
    world.once(1);
    assert_eq!(world.json(&["status"])["states"], json!({ "failed": 1 }));
    let failed = world.run(&["receipt", FILE]).stdout;
    assert!(failed.ends_with("closes     yes, but the delivery failed\n"), "{failed}");
    world.drop_file(FILE, csv(2, |_| false));
    world.once(0);
    assert_eq!(world.json(&["status"])["states"], json!({ "loaded": 1 }));
    let receipt = world.receipt(FILE);
    assert_eq!(receipt["history"][0]["generation"], 1);
    assert_eq!(receipt["history"][0]["state"], "replaced");
    let newest = world.run(&["receipt", FILE]).stdout;
    assert!(newest.contains("closes     yes\nhistory    generation 1: replaced "), "{newest}");
    let first = world.run(&["receipt", FILE, "--generation", "1"]);
    assert_eq!(first.code, 0, "{first:?}");
    let newer = "\nnewer      generation 2: loaded\n";
    for text in ["the header has no column `v`", "it failed; generation 2 took its place", newer] {
        assert!(first.stdout.contains(text), "{first:?}");
    }
    let none = world.run(&["receipt", FILE, "--generation", "9"]);
    let words = "day.csv has no generation 9\n  next: choose from 1, 2\n";
    assert!(none.code == 1 && none.stderr.contains(words), "{none:?}");
    let rows = |args: &[&str]| world.run(args).stdout.lines().filter(|line| line.starts_with(FILE)).count();
    assert_eq!((rows(&["status"]), rows(&["status", "--all"])), (1, 2));
}

#[test]
fn the_summary_of_a_backfill_closes() {
    let world = world();
    world.drop_file(FILE, csv(200, |n| n % 10 == 0));
    world.once(1);
    let more = format!("{}  u: {{ partition_key: [v], columns: [k] }}\n", config("int"));
    redeclare(&world, &more);
    let output = world.run(&["load", "--table", "u", "--json"]);
    assert_eq!(output.code, 0, "{output:?}");
    let expected = json!({ "read": 200, "loaded": 180, "skipped": 0, "quarantined": 20 });
    assert_eq!(output.json()["records"], expected);
}

#[test]
fn a_delivery_whose_records_were_all_replayed_is_not_behind() {
    let world = world();
    world.drop_file("a.csv", csv(90, |_| true));
    world.drop_file("b.csv", csv(90, |_| true).replace("\nk", "\nother"));
    world.once(1);
    drop_table(&world);
    redeclare(&world, &config("text"));
    let replayed = world.run(&["quarantine", "replay"]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert!(!replayed.stdout.contains("another declaration"), "{replayed:?}");
    let status = world.json(&["status", "--count"]);
    assert_eq!((&status["tables"]["t"]["count"], &status["tables"]["t"]["behind"]), (&json!(180), &json!(0)));
}

fn drop_table(world: &World) {
    rusqlite::Connection::open(world.store()).unwrap().execute_batch("DROP TABLE t").unwrap();
}

/// Returns the state and the counts of a generation, whose receipt must close.
fn account(world: &World, generation: &str) -> Json {
    let receipt = world.json(&["receipt", FILE, "--generation", generation]);
    assert_eq!(receipt["closes"], true, "{receipt}");
    json!([receipt["state"], receipt["records"], receipt["loaded"], receipt["quarantine"]["open"]])
}

#[test]
fn a_file_over_max_quarantined_that_is_loaded_later_lists_no_record_twice() {
    // It is found to be over the limit only after its first 10,000 records were written, in its second chunk.
    let mut world = world().with("limits.max_quarantined", "1%").with("write.linger", "1min");
    world.drop_file(FILE, csv(20_000, |n| n >= 15_000 && n % 2 == 0));
    world.once(1);
    assert_eq!(account(&world, "1"), json!(["failed", 20_000, 17_500, 2500]));
    assert_eq!(open_entries(&world), 2500);
    let replay = world.run(&["quarantine", "replay"]);
    assert!(replay.code == 1 && replay.stderr.contains("is read again from the beginning"), "{replay:?}");
    world.set("limits.max_quarantined", "off");
    world.once(1);
    assert_eq!(account(&world, "1"), json!(["replaced", 20_000, 17_500, 0]));
    assert_eq!(account(&world, "2"), json!(["loaded", 20_000, 17_500, 2500]));
    assert_eq!(open_entries(&world), 2500);
    assert_eq!(world.json(&["status"])["quarantine"]["open"], 2500);
    let said = world.run(&["receipt", FILE, "--generation", "1"]).stdout;
    assert!(said.contains("generation 2 reads the file again"), "{said}");
}
