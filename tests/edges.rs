//! Tests of combinations of deliveries, declarations and commands that are easy to get wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::process::Stdio;

use common::{World, gzip, until};
use serde_json::json;

const YAML: &str = "source:\n  folder: inbox\n  columns: { k: text, v: text, w: text }\n\
                    tables:\n  t: { answers: what is k, partition_key: [k], columns: [v, w] }\n\
                    store: { sqlite: { path: store.db } }\n";

fn world() -> World {
    World::of(YAML)
}

/// Returns a file with this many rows. The tests use enough rows to exceed the head (64 KiB).
fn long(rows: u32) -> String {
    let rows: String = (0..rows).map(|n| format!("x{n:06},v,w\n")).collect();
    format!("k,v,w\n{rows}")
}

/// Changes the configuration file.
fn declare(world: &World, from: &str, to: &str) {
    let file = world.path("config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn files_with_the_same_head_keep_their_place_in_the_order() {
    let world = world();
    let later: String = (0..60_000).map(|n| format!("y{n},v,w\n")).collect();
    world.drop_file("2018-11-01.csv", long(8000) + &later);
    world.drop_file("2018-11-02.csv", long(8000) + "K,second,2\n");
    world.drop_file("2018-11-03.csv", "k,v,w\nK,third,3\n");
    world.once(0);
    assert_eq!(world.query("t", &["k=K"]), [[json!("K"), json!("third"), json!("3")]]);
}

#[test]
fn a_change_in_the_middle_of_a_growing_file_is_seen_when_it_is_quiet() {
    // The file is taken up so late that its times are old enough to be trusted.
    let world = world().with("source.settle", "2100ms").with("source.poll", "300ms");
    let _daemon = world.daemon();
    let mut file = fs::File::create(world.inbox().join("g.csv")).unwrap();
    file.write_all(long(30_000).as_bytes()).unwrap();
    let seen = |key: &str| world.query("t", &[&format!("k={key}")]).pop().map(|row| row[1].clone());
    until("the first part", || seen("x029999"));
    file.seek(SeekFrom::Start(6 + 12 * 15_000)).unwrap();
    file.write_all(b"x015000,V,W\n").unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"y,1,2\n").unwrap();
    until("the growth", || seen("y"));
    until("the change", || (seen("x015000") == Some(json!("V"))).then_some(()));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_copy_from_outside_the_inbox_waits_for_the_interrupted_original() {
    let world = world().with("write.window", "500");
    world.drop_file("b.csv", long(9000));
    let aborted = world.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", "9").output().unwrap();
    assert!(!aborted.status.success());
    fs::copy(world.inbox().join("b.csv"), world.path("a.csv")).unwrap();
    assert_eq!(world.run(&["load", "a.csv"]).code, 0);
    world.once(0);
    assert_eq!(world.accounts()["t"], (9000, 0));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn an_interrupted_file_that_has_only_an_open_header_now_waits_for_its_writer() {
    let world = world();
    world.drop_file("a.csv", "k,v,w\na,1,2");
    world.once(0);
    // The last record was not complete, so this writer is not trusted to have finished.
    world.drop_file("a.csv", "k,v,w\na,1,23\n");
    let aborted = world.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", "3").output().unwrap();
    assert!(!aborted.status.success());
    world.drop_file("a.csv", "k,v,w");
    assert_eq!(world.once(1)["deliveries"], json!({ "incomplete": 1 }));
    assert_eq!(world.once(0)["deliveries"], json!({}), "nothing has changed");
    world.append("a.csv", "\na,1,24\n");
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(world.query("t", &["k=a"]), [[json!("a"), json!("1"), json!("24")]]);
    assert_eq!(world.generations("a.csv"), 2);
}

/// Files without records are taken up without a comparison, so two with the same bytes can be interrupted.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn interrupted_files_with_the_same_bytes_do_not_wait_for_each_other() {
    let world = world();
    // Each is killed once it is taken up. The second comes first in the listing, so that the first is not continued before.
    for (file, loading) in [("b.csv", 1), ("a.csv", 2)] {
        world.drop_file(file, "k,v,w\n");
        let killed = (1..9).any(|step| {
            let mut run = world.command(&["run", "--once"]);
            run.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
            let sql = "SELECT count(*) FROM _needledrop_deliveries WHERE state = 'loading'";
            world.open_store().query_row(sql, [], |row| row.get(0)).unwrap_or(0) == loading
        });
        assert!(killed, "{file}");
    }
    let mut run =
        world.command(&["run", "--once"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the run ends", || run.try_wait().unwrap())
    }));
    run.kill().unwrap();
    assert!(ended.is_ok_and(|ended| ended.success()), "each waits for the other");
    assert_eq!(
        world.states(),
        BTreeMap::from([("a.csv", "loaded"), ("b.csv", "loaded")].map(|(a, b)| (a.into(), b.into())))
    );
}

#[test]
fn a_copy_of_an_incomplete_file_is_a_duplicate() {
    let world = world();
    world.drop_file("g.csv", "k,v,w\nq,1,2\nb12345");
    world.once(1);
    world.drop_file("h.csv", "k,v,w\nq,1,2\nb12345");
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1 }));
    world.once(0);
    assert_eq!(world.generations("h.csv"), 1, "another run creates no new generation");
    assert_eq!(world.receipt("h.csv")["bytes"], 18);
}

#[test]
fn a_truncated_gz_of_a_known_file_is_incomplete() {
    let world = world();
    world.drop_file("a.csv", long(30_000));
    world.once(0);
    let packed = gzip(long(30_000).as_bytes());
    world.drop_file("b.csv.gz", &packed[..packed.len() * 3 / 4]);
    assert_eq!(world.once(1)["deliveries"], json!({ "incomplete": 1 }));
}

#[test]
fn quarantined_records_stay_out_of_a_backfilled_table() {
    let world = world();
    declare(&world, "v: text", "v: int");
    world.drop_file("a.csv", "k,v,w\na,1,2\nb,xx,2\nc,3,\n");
    world.once(1);
    declare(&world, "v: int", "v: text");
    // The key of `u` is empty in a record that was loaded into `t`.
    declare(&world, "tables:\n", "tables:\n  u: { partition_key: [w], clustering_key: [k] }\n");
    assert_eq!(world.run(&["load", "--table", "u"]).code, 2, "t has another shape now");
    declare(&world, "v: text", "v: int");
    assert_eq!(world.run(&["load", "--table", "u"]).code, 1, "a loaded record has no row in u");
    assert_eq!(world.query("u", &["w=2"]).len(), 1);
    let receipt = world.receipt("a.csv");
    assert_eq!((&receipt["tables"]["u"]["refused"], &receipt["closes"]), (&json!(1), &json!(true)));
}

#[test]
fn a_failed_file_is_tried_again_after_its_limit_is_raised() {
    let mut world = world().with("limits.max_quarantined", "0");
    world.drop_file("a.csv", "k,v,w\na,1,2\nb\n");
    assert_eq!(world.once(1)["deliveries"], json!({ "failed": 1 }));
    world.set("limits.max_quarantined", "10");
    assert_eq!(world.once(1)["deliveries"], json!({ "loaded": 1 }));
}

#[test]
fn rewording_the_declaration_does_not_load_a_file_again() {
    let world = world();
    world.drop_file("a.csv", "k,v,w\na,1,2\n");
    world.once(0);
    declare(&world, "what is k", "what k is");
    declare(&world, "{ k: text, v: text, w: text }", "{ w: text, v: text, k: text }");
    world.append("a.csv", "b,1,2\n");
    world.once(0);
    assert_eq!((world.generations("a.csv"), world.accounts()["t"]), (1, (2, 0)));
}

#[test]
fn a_query_of_a_table_of_another_shape_is_refused() {
    let world = world();
    world.drop_file("a.csv", "k,v,w\na,1,2\n");
    world.once(0);
    declare(&world, "columns: [v, w]", "columns: [v]");
    let output = world.run(&["query", "t", "k=a"]);
    assert!(output.code == 2 && output.stderr.contains("another shape"), "{output:?}");
    declare(&world, "tables:\n", "tables:\n  u: { partition_key: [w] }\n");
    let output = world.run(&["query", "u", "w=2"]);
    assert!(output.code == 2 && output.stderr.contains("table u does not exist yet"), "{output:?}");
    assert_eq!(world.run(&["status", "--count"]).code, 0);
}

#[test]
fn check_reports_what_a_run_would_report() {
    let world = world().with("store.create_schema", "false");
    let output = world.run(&["check"]);
    assert!(output.code == 2 && output.stdout.contains("create_schema"), "{output:?}");
    assert!(output.stdout.contains(": does not exist yet\n"), "no load creates it: {output:?}");
}

#[test]
fn a_file_is_found_by_its_typed_path_or_in_the_inbox() {
    let world = world();
    world.drop_file("day.csv", "k,v,w\na,1,2\n");
    fs::write(world.path("day.csv"), "not this one\n").unwrap();
    std::os::unix::fs::symlink(world.path("day.csv"), world.inbox().join("link.csv")).unwrap();
    world.once(1);
    for typed in ["day.csv", "inbox/day.csv", "./inbox/../inbox/day.csv", "link.csv"] {
        let has_failed = typed == "link.csv";
        assert_eq!(world.run(&["receipt", typed]).code, i32::from(has_failed), "{typed}");
    }
    fs::remove_file(world.inbox().join("day.csv")).unwrap();
    assert_eq!(world.run(&["receipt", "inbox/day.csv"]).code, 0);
}

#[test]
fn an_export_contains_the_requested_files_and_no_event_twice() {
    let world = world();
    world.drop_file("a.csv", "k,v,w\na,1,2\n");
    world.drop_file("b.csv", "k,v,w\nb,1,2\n");
    world.once(0);
    assert_eq!(world.run(&["load", "a.csv", "--again"]).code, 0);
    let export = |args: &[&str]| world.run(args).stdout;
    assert_eq!(export(&["export", "b.csv"]), "\"k\",\"v\",\"w\"\n\"b\",\"1\",\"2\"\n");
    let all = "\"k\",\"v\",\"w\"\n\"b\",\"1\",\"2\"\n\"a\",\"1\",\"2\"\n";
    assert_eq!(export(&["export"]), all);
}

#[test]
fn an_unknown_log_level_is_refused() {
    let output = world().run(&["--log-level", "blah", "status"]);
    assert!(output.code == 2 && output.stderr.contains("blah"), "{output:?}");
}
