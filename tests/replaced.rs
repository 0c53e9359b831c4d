//! Files that come again under the same name with other content: they are compared with their earlier content, and with
//! `source.on_replace: mirror`, what only the earlier content gave is taken back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper must fail its test")]

mod common;
#[path = "common/steps.rs"]
mod steps;

use std::fs;

use common::{Rows, World, until};
use serde_json::{Value as Json, json};
use steps::steps;

const YAML: &str = "source:\n  folder: inbox\n  tail_after: 1h\n  columns: { k: int, v: text, w: text }\n\
                    tables:\n  t: { partition_key: [k], columns: [v, w] }\n  \
                    u: { partition_key: [v], clustering_key: [k] }\n\
                    store: { sqlite: { path: store.db } }\n";

fn upserting() -> World {
    World::of(YAML)
}

fn mirroring() -> World {
    World::of(YAML).with("source.on_replace", "mirror")
}

/// Makes a daemon notice soon that a file is complete.
fn quick(world: World) -> World {
    world.with("source.tail_after", "300ms").with("source.settle", "50ms").with("source.poll", "100ms")
}

/// Waits until the receipt of the newest generation of `a.csv` says this of the one that it replaces.
fn until_replaced(world: &World, what: &str, says: impl Fn(&Json) -> bool) {
    until(what, || says(&world.run(&["receipt", "a.csv", "--json"]).json()["replaces"]).then_some(()));
}

fn deliver(world: &World, name: &str, records: &str) -> Json {
    world.drop_file(name, format!("k,v,w\n{records}"));
    world.once(0)
}

fn rows(world: &World, table: &str) -> Rows {
    world.tables().remove(table).unwrap()
}

/// Returns the numbers of keys that are new, changed and gone.
fn counts(compared: &Json) -> [u64; 3] {
    ["new", "changed", "gone"].map(|kind| compared[kind].as_u64().unwrap())
}

#[test]
fn a_corrected_file_is_compared_with_its_earlier_content() {
    let world = upserting();
    let first = deliver(&world, "a.csv", "1,a,A\n2,b,B\n3,c,C\n4,d,D\n");
    assert_eq!(first.get("replaced"), None);
    deliver(&world, "b.csv", "9,z,Z\n");
    world.drop_file("a.csv", "k,v,w\n1,a,A\n2,b,X\n3,c,\n5,e,E\n5,e,F\n6,f,F\n");
    let dry = world.json(&["run", "--once", "--dry-run"]);
    let output = world.run(&["run", "--once"]);
    let receipt = world.receipt("a.csv");
    let replaces = &receipt["replaces"];
    assert_eq!((&replaces["earlier_generation"], &replaces["mirror"]), (&json!(1), &json!("off")));
    assert_eq!(dry["replaced"][0]["replaces"], *replaces, "a dry run says the same");
    assert_eq!(counts(&replaces["tables"]["t"]), [2, 2, 1], "{receipt}");
    assert_eq!(counts(&replaces["tables"]["u"]), [2, 0, 1], "{receipt}");
    let examples = json!({ "new": ["k=5", "k=6"], "changed": ["k=2", "k=3"], "gone": ["k=4"] });
    assert_eq!(replaces["tables"]["t"]["examples"], examples);
    let told = "t +2 new, 2 changed, 1 gone; u +2 new, 0 changed, 1 gone";
    for text in [&output.stderr, &output.stdout, &world.run(&["receipt", "a.csv"]).stdout] {
        assert!(text.contains(told), "{text}");
    }
    assert_eq!(rows(&world, "t").len(), 7, "what is gone stays");
}

#[test]
fn the_earlier_file_is_read_from_the_archive() {
    let world = upserting().with("source.after", "move");
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    // Other files have overwritten all that the table shows of it.
    deliver(&world, "b.csv", "1,x,X\n2,y,Y\n");
    let summary = deliver(&world, "a.csv", "1,a,A\n3,c,C\n");
    assert_eq!(counts(&summary["replaced"][0]["replaces"]["tables"]["t"]), [1, 0, 1]);
}

#[test]
fn a_mirror_has_only_what_the_newest_content_gives() {
    let world = mirroring();
    deliver(&world, "other.csv", "2,o,O\n");
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n3,c,C\n");
    let summary = deliver(&world, "a.csv", "3,c,\n4,d,D\n");
    assert_eq!(summary["replaced"][0]["replaces"]["mirror"], "done");
    let expected = json!([[2, "o", "O"], [3, "c", null], [4, "d", "D"]]);
    assert_eq!(json!(rows(&world, "t")), expected, "also a value that the newest content leaves empty");
    assert_eq!(json!(rows(&world, "u")), json!([["c", 3], ["d", 4], ["o", 2]]));
    let receipts = world.receipt("a.csv");
    assert_eq!(
        receipts["tables"]["t"]["collisions"], 0,
        "its first record of a key is no collision any more"
    );
    let status = world.json(&["status"]);
    assert_eq!(status["states"], json!({ "loaded": 2 }), "the earlier content is history");
    assert!(
        !world.run(&["status"]).stdout.contains("undone")
            && world.run(&["status", "--all"]).stdout.contains("undone")
    );
    assert_eq!(world.run(&["verify"]).code, 0);
    // What was mirrored away is not known any more, so a copy of it is new.
    deliver(&world, "copy.csv", "1,a,A\n2,b,B\n3,c,C\n");
    assert_eq!(world.states()["copy.csv"], "loaded");
    // Now the other file has the bytes of this one, so its rows are those of the duplicate.
    let summary = deliver(&world, "a.csv", "1,a,A\n2,b,B\n3,c,C\n");
    assert_eq!((world.states()["a.csv"].as_str(), world.generations("a.csv")), ("duplicate", 3));
    // All cells of 3 are those of the copy since.
    assert_eq!(counts(&summary["replaced"][0]["replaces"]["tables"]["t"]), [3, 0, 1], "{summary}");
    let expected = json!([[1, "a", "A"], [2, "b", "B"], [3, "c", "C"]]);
    assert_eq!(json!(rows(&world, "t")), expected);
}

#[test]
fn mirrors_that_share_a_table_do_not_need_the_bytes_that_each_other_replaced() {
    let world = mirroring();
    world.drop_file("a.csv", "k,v,w\n1,a,A\n2,b,B\n");
    deliver(&world, "b.csv", "11,a,A\n2,c,C\n");
    world.drop_file("a.csv", "k,v,w\n1,a,A\n");
    let summary = deliver(&world, "b.csv", "11,a,A\n");
    let ends: Vec<&Json> =
        summary["replaced"].as_array().unwrap().iter().map(|one| &one["replaces"]["mirror"]).collect();
    assert_eq!(ends, ["done", "done"], "{summary}");
    assert_eq!(json!(rows(&world, "t")), json!([[1, "a", "A"], [11, "a", "A"]]));
}

#[test]
fn a_file_without_records_takes_everything_back_and_says_so() {
    let world = mirroring();
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    let summary = deliver(&world, "a.csv", "");
    assert_eq!(counts(&summary["replaced"][0]["replaces"]["tables"]["t"]), [0, 0, 2], "{summary}");
    assert_eq!(json!(rows(&world, "t")), json!([]));
}

#[test]
fn a_file_that_grows_is_compared_as_a_whole() {
    let world = mirroring().with("source.after", "keep");
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    deliver(&world, "a.csv", "1,a,A\n");
    world.append("a.csv", "3,c,C\n");
    let summary = world.once(0);
    let replaces = &summary["replaced"][0]["replaces"];
    assert_eq!((&replaces["mirror"], &replaces["tables"]), (&json!("done"), &Json::Null), "{summary}");
    assert!(replaces["not_compared"].as_str().unwrap().contains("not kept"), "{summary}");
    assert_eq!(json!(rows(&world, "t")), json!([[1, "a", "A"], [3, "c", "C"]]));
}

#[test]
fn a_file_that_is_still_written_is_not_settled() {
    let world = mirroring();
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    let writer = fs::OpenOptions::new().append(true).open({
        world.drop_file("a.csv", "k,v,w\n1,a,A\n");
        world.inbox().join("a.csv")
    });
    let held = world.run(&["run", "--once", "--json"]).json();
    assert_eq!((held.get("replaced"), rows(&world, "t").len()), (None, 2), "{held}");
    drop(writer);
    assert_eq!(world.once(0)["replaced"][0]["replaces"]["mirror"], "done");
    assert_eq!(rows(&world, "t").len(), 1);
}

#[test]
fn files_that_are_deleted_after_loading_are_compared_first() {
    let world = mirroring().with("source.after", "delete");
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    let summary = deliver(&world, "a.csv", "2,b,B\n3,c,C\n");
    let replaces = &summary["replaced"][0]["replaces"];
    assert_eq!(
        (&replaces["mirror"], counts(&replaces["tables"]["t"])),
        (&json!("done"), [1, 0, 1]),
        "{summary}"
    );
    world.once(0);
    assert!(!world.inbox().join("a.csv").exists(), "it is deleted by the next run");
}

#[test]
fn a_mirror_that_is_due_is_not_made_once_the_feed_is_none() {
    let world = mirroring();
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    world.drop_file("a.csv", "k,v,w\n1,a,A\nx,b,B\n");
    world.once(1);
    world.json(&["quarantine", "discard", "--file", "a.csv"]);
    let world = world.with("source.on_replace", "upsert");
    world.once(0);
    assert_eq!((rows(&world, "t").len(), &world.receipt("a.csv")["replaces"]["mirror"]), (2, &json!("off")));
}

#[test]
fn a_mirror_of_several_generations_takes_all_of_them_back() {
    let world = upserting();
    for records in ["1,a,A\n2,b,B\n", "2,b,C\n3,c,C\n", "3,d,D\n4,d,D\n"] {
        deliver(&world, "a.csv", records);
    }
    assert_eq!(rows(&world, "t").len(), 4);
    let world = world.with("source.on_replace", "mirror");
    deliver(&world, "a.csv", "5,e,E\n");
    assert_eq!(json!([rows(&world, "t"), rows(&world, "u")]), json!([[[5, "e", "E"]], [["e", 5]]]));
}

#[test]
fn rows_stay_while_newer_records_are_in_quarantine() {
    let world = mirroring();
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n3,c,C\n");
    world.drop_file("a.csv", "k,v,w\n1,a,A\nx,b,B\n");
    let held = world.once(1);
    let replaces = &held["replaced"][0]["replaces"];
    assert_eq!((&replaces["mirror"], counts(&replaces["tables"]["t"])), (&json!("due"), [0, 0, 2]));
    assert_eq!(rows(&world, "t").len(), 3);
    world.json(&["quarantine", "discard", "--file", "a.csv"]);
    let summary = world.once(0);
    assert_eq!(summary["replaced"][0]["replaces"]["mirror"], "done");
    assert_eq!(json!(rows(&world, "t")), json!([[1, "a", "A"]]));
    assert_eq!(world.once(0).get("replaced"), None, "nothing is left to do");
}

#[test]
fn a_mirror_that_would_lose_rows_is_refused_with_the_reason() {
    let world = mirroring();
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    deliver(&world, "copy.csv", "1,a,A\n2,b,B\n");
    let summary = deliver(&world, "a.csv", "1,a,A\n");
    let replaces = &summary["replaced"][0]["replaces"];
    assert_eq!(replaces["mirror"], "refused");
    assert!(
        replaces["why_gone_rows_stay"].as_str().unwrap().contains("copy.csv has the bytes of generation 1")
    );
    assert_eq!(rows(&world, "t").len(), 2);
    let world = mirroring();
    deliver(&world, "1.csv", "1,a,A\n");
    deliver(&world, "2.csv", "1,b,B\n");
    fs::remove_file(world.inbox().join("1.csv")).unwrap();
    let summary = deliver(&world, "2.csv", "2,b,B\n");
    let why = summary["replaced"][0]["replaces"]["why_gone_rows_stay"].as_str().unwrap();
    assert!(why.contains("1.csv, generation 1"), "{why}");
    assert_eq!(json!(rows(&world, "t")), json!([[1, "b", "B"], [2, "b", "B"]]));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_mirror_is_completed_after_a_kill_at_any_step() {
    let prepared = |world: &World| {
        deliver(world, "other.csv", "2,o,O\n");
        deliver(world, "a.csv", "1,a,A\n2,b,B\n3,c,C\n");
        world.drop_file("a.csv", "k,v,w\n3,c,\n4,d,D\n");
    };
    let clean = mirroring();
    prepared(&clean);
    clean.once(0);
    let mut aborted = 0;
    for step in steps() {
        let world = mirroring();
        prepared(&world);
        let mut run = world.command(&["run", "--once"]);
        let has_ended = run.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap().status.success();
        world.once(0);
        assert_eq!(world.tables(), clean.tables(), "aborted at step {step}");
        let receipt = world.receipt("a.csv");
        assert_eq!(receipt["replaces"]["mirror"], "done", "aborted at step {step}: {receipt}");
        if has_ended {
            break;
        }
        aborted += 1;
    }
    assert!(aborted > 0);
}

#[test]
fn a_daemon_mirrors_a_file_once_it_is_complete_and_goes_on() {
    let world = quick(mirroring());
    let daemon = world.daemon();
    world.drop_file("a.csv", "k,v,w\n1,a,A\n2,b,B\n");
    world.wait_for("a.csv", "loaded");
    world.drop_file("a.csv", "k,v,w\n2,b,B\n3,c,C\n");
    until_replaced(&world, "it is mirrored", |replaces| replaces["mirror"] == "done");
    assert_eq!(json!(rows(&world, "t")), json!([[2, "b", "B"], [3, "c", "C"]]));
    world.drop_file("b.csv", "k,v,w\n7,x,X\n");
    world.wait_for("b.csv", "loaded");
    let log = daemon.log();
    assert!(log.contains("replaces generation 1: t +1 new, 0 changed, 1 gone; u +1 new, 0 changed, 1 gone; what is gone was removed"), "{log}");
}

#[test]
fn a_daemon_does_not_pause_again_for_a_mirror_that_has_to_wait() {
    let world = quick(mirroring());
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    world.drop_file("a.csv", "k,v,w\n1,a,A\nx,b,B\n");
    let daemon = world.daemon();
    until("it waits for the quarantine", || {
        daemon.log().contains("in quarantine are replayed").then_some(())
    });
    world.drop_file("b.csv", "k,v,w\n7,x,X\n");
    world.wait_for("b.csv", "loaded");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(daemon.log().matches("loading pauses").count(), 1, "{}", daemon.log());
}

#[test]
fn a_daemon_compares_while_it_goes_on() {
    let world = quick(upserting());
    deliver(&world, "a.csv", "1,a,A\n2,b,B\n");
    let _daemon = world.daemon();
    world.drop_file("a.csv", "k,v,w\n2,b,C\n3,c,C\n");
    until_replaced(&world, "it is compared", |replaces| replaces["tables"]["t"]["changed"] == 1);
}
