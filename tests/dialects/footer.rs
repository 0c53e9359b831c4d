//! Tests of `source.format.skip_footer`: lines at the end of a file that are no records.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::common::{World, gzip, until};
use super::texts;

const RECORDS: &str = "k,v,w\n1,a,b\n2,\"c\nd\",e\n3,f,g\n";

fn rows() -> Json {
    json!([[1, "a", "b"], [2, "c\nd", "e"], [3, "f", "g"]])
}

/// Asserts that a file is loaded with all its records and nothing in quarantine, and how many lines were its footer.
fn is_loaded(world: &World, file: &str, records: u64, footer: u64) {
    let receipt = world.receipt(file);
    let found = (&receipt["state"], &receipt["records"], &receipt["quarantined"], &receipt["closes"]);
    assert_eq!(found, (&json!("loaded"), &json!(records), &json!(0), &json!(true)), "{receipt}");
    assert_eq!(receipt["lenient"], json!({ "footer": footer }), "{receipt}");
    assert_eq!(receipt["ends_without_newline"], json!(false), "{receipt}");
}

/// Asserts that a file waits for more, and why.
fn waits(world: &World, file: &str, why: &str) {
    let receipt = world.receipt(file);
    assert_eq!(receipt["state"], "incomplete", "{receipt}");
    assert!(receipt["detail"].as_str().unwrap().contains(why), "{receipt}");
}

#[test]
fn the_last_lines_are_no_records_whatever_they_contain() {
    for footer in ["Total,\"3\n\n", "\n3 rows", "4,x,y\nz\n\u{1a}", "\"a\n\"b\u{1a}", "Total\n\r"] {
        for end in ["\n", "\r\n"] {
            let world = texts("{ skip_footer: 2 }");
            let file = format!("{RECORDS}{footer}").replace('\n', end);
            world.drop_file("a.csv", &file);
            world.once(0);
            assert_eq!(
                json!(world.tables()["t"]).to_string().replace("\\r\\n", "\\n"),
                rows().to_string(),
                "{file:?}"
            );
            is_loaded(&world, "a.csv", 3, 2);
            assert_eq!(world.once(0)["deliveries"], json!({}), "nothing is loaded again");
        }
    }
    let world = texts("{ skip_footer: 1, skip_lines: 1, header: 2, comment: \"#\", lines: cr }");
    world.drop_file("a.csv.gz", gzip(b"title\rk,v,w\rint,,\r1,a,b\r# note\r# Total"));
    world.once(0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b"]]));
    assert_eq!(world.receipt("a.csv.gz")["lenient"], json!({ "comments": 1, "footer": 1 }));
    assert!(world.run(&["receipt", "a.csv.gz"]).stdout.contains("lenient    1 comments, 1 footer\n"));
    world.drop_file("copy.csv", "title\rk,v,w\rint,,\r1,a,b\r# note\r# Total");
    world.once(0);
    assert_eq!(world.states()["copy.csv"], "duplicate");
    world.drop_file("empty.csv", "");
    world.once(0);
    assert_eq!(world.states()["empty.csv"], "loaded");
}

#[test]
fn a_file_that_is_shorter_than_its_footer_or_ends_in_a_record_waits() {
    let world = texts("{ skip_footer: 2 }");
    world.drop_file("short.csv", "k,v,w\nTotal\n");
    world.drop_file("header.csv", "k,v,w\n");
    world.drop_file("quote.csv", "k,v,w\n1,a,b\n2,\"c\nTotal\n3 rows\n");
    world.once(1);
    waits(&world, "short.csv", "1 lines follow what was loaded");
    waits(&world, "header.csv", "0 lines follow what was loaded");
    waits(&world, "quote.csv", "the record on line 3 has not ended where the footer begins");
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b"]]));
    world.append("short.csv", "3 rows\n");
    world.append("header.csv", "4,a,b\nTotal\n1 row");
    world.append("quote.csv", "d\",e\nTotal\n2 rows\n");
    world.once(0);
    is_loaded(&world, "short.csv", 0, 2);
    is_loaded(&world, "header.csv", 1, 2);
    is_loaded(&world, "quote.csv", 2, 2);
    assert_eq!(
        json!(world.tables()["t"]),
        json!([[1, "a", "b"], [2, "c\nTotal\n3 rows\nd", "e"], [4, "a", "b"]])
    );
    assert!(["short.csv", "header.csv", "quote.csv"].iter().all(|file| world.generations(file) == 1));
}

#[test]
fn a_line_that_is_longer_than_a_record_is_no_footer() {
    let world = texts("{ skip_footer: 2 }").with("limits.max_record_bytes", "1000");
    world.drop_file("a.csv", format!("{RECORDS}{}\nTotal\n", "x".repeat(5000)));
    world.once(1);
    waits(&world, "a.csv", "1 lines follow what was loaded");
    let receipt = world.receipt("a.csv");
    assert_eq!((&receipt["records"], &receipt["quarantined"]), (&json!(4), &json!(1)), "{receipt}");
}

#[test]
fn growth_after_the_footer_shows_that_it_was_none() {
    let world = texts("{ skip_footer: 1 }");
    world.drop_file("a.csv", format!("{RECORDS}4,h,i\n"));
    world.once(0);
    is_loaded(&world, "a.csv", 3, 1);
    world.append("a.csv", "Total\n");
    // The footer was contradicted, so only `load` takes the file as complete at once.
    world.once(1);
    waits(&world, "a.csv", "the last lines are the footer");
    assert_eq!(world.run(&["load", "a.csv"]).code, 0);
    is_loaded(&world, "a.csv", 4, 1);
    assert_eq!(world.generations("a.csv"), 2);
    assert_eq!(json!(world.tables()["t"][3]), json!([4, "h", "i"]));
    // Even a line end moves the last lines.
    world.drop_file("b.csv", "k,v,w\n6,j,k\n7,l,m");
    world.once(0);
    world.append("b.csv", "\nTotal");
    world.once(1);
    assert_eq!((world.generations("b.csv"), &world.receipt("b.csv")["records"]), (2, &json!(2)));
    assert_eq!(json!(world.tables()["t"][5]), json!([7, "l", "m"]));
}

#[test]
fn a_footer_needs_its_line_end_if_one_is_required() {
    let world = texts("{ skip_footer: 1 }").with("source.final_newline", "required");
    world.drop_file("a.csv", format!("{RECORDS}Total"));
    world.once(1);
    waits(&world, "a.csv", "source.final_newline requires one");
    world.append("a.csv", "\n");
    world.once(0);
    is_loaded(&world, "a.csv", 3, 1);
    assert_eq!(world.generations("a.csv"), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn no_line_is_skipped_while_a_writer_has_the_file_open() {
    let world = texts("{ skip_footer: 2 }").with("source.settle", "50ms").with("source.tail_after", "100ms");
    let mut daemon = world.daemon();
    let mut writer = File::create(world.inbox().join("a.csv")).unwrap();
    for n in 0..6 {
        let line = if n == 0 { "k,v,w\n".to_owned() } else { format!("{n},a,b\n") };
        writer.write_all(line.as_bytes()).unwrap();
        let expected = (n - 2).max(0);
        if expected > 0 {
            until("the records before the last lines are loaded", || {
                world.states().get("a.csv")?;
                (world.receipt("a.csv")["records"] == json!(expected)).then_some(())
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        assert_ne!(world.states().get("a.csv").map(String::as_str), Some("loaded"));
    }
    writer.write_all(b"Total\n2 ro").unwrap();
    writer.write_all(b"ws").unwrap();
    drop(writer);
    world.wait_for("a.csv", "loaded");
    is_loaded(&world, "a.csv", 5, 2);
    assert_eq!(world.generations("a.csv"), 1);
    daemon.stop();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_run_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let file: String = (1..8).map(|n| format!("{n},a,b\n")).collect();
    let mut step = 1;
    loop {
        let world = texts("{ skip_footer: 2 }").with("write.window", "2");
        world.drop_file("a.csv", format!("k,v,w\n{file}"));
        let mut run = world.command(&["run", "--once"]);
        let aborted = !run.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap().status.success();
        world.once(0);
        is_loaded(&world, "a.csv", 5, 2);
        assert_eq!((world.generations("a.csv"), world.tables()["t"].len()), (1, 5), "step {step}");
        if !aborted {
            break;
        }
        step += 1;
    }
    assert!(step > 5, "crash points are missing: {step}");
}

#[test]
fn kept_files_are_read_up_to_the_footer_or_to_what_was_loaded() {
    let world = texts("{ skip_footer: 2 }");
    world.drop_file("a.csv", "k,v,w\n1,a,b\nx,c,d\n2,e,f\n8,Total,3\n9,rows,3\n");
    // Its last lines are not skipped yet.
    world.drop_file("b.csv", "k,v,w\n3,g,h\n4,i,j\n5,\"k\nl\nm\n");
    world.once(1);
    assert_eq!((&*world.states()["a.csv"], &*world.states()["b.csv"]), ("loaded", "incomplete"));
    let file = world.path("config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("k: int", "k: text").replace("  t:", "  u:")).unwrap();
    let backfilled = world.run(&["load", "--table", "u"]);
    assert_eq!(backfilled.code, 0, "{backfilled:?}");
    let keys = |world: &World| world.tables()["u"].iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(keys(&world), ["1", "2", "3", "4"].map(|key| json!(key)));
    let replayed = world.run(&["quarantine", "replay"]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert_eq!(keys(&world), ["1", "2", "3", "4", "x"].map(|key| json!(key)));
    let exported = world.run(&["export"]).stdout;
    assert_eq!(exported.lines().count(), 6, "{exported}");
    assert!(!exported.contains("Total") && !exported.contains("rows"), "{exported}");
}

#[test]
fn files_that_another_program_loaded_have_a_footer_too() {
    let world = texts("{ skip_footer: 1 }");
    world.drop_file("b.csv", "k,v,w\n4,a,b\nTotal\n");
    world.once(0);
    world.drop_file("a.csv", format!("{RECORDS}Total"));
    assert_eq!(world.run(&["load", "--assume-loaded", "inbox"]).code, 0);
    let receipt = world.receipt("a.csv");
    assert_eq!((&receipt["records"], &receipt["lenient"]), (&json!(3), &json!({ "footer": 1 })), "{receipt}");
    assert_eq!(world.once(0)["deliveries"], json!({}));
}

#[test]
fn a_footer_has_at_most_a_hundred_lines() {
    let world = texts("{ skip_footer: 101 }");
    let checked = world.run(&["check"]);
    assert_eq!(checked.code, 2, "{checked:?}");
    assert!(checked.stdout.contains("source.format.skip_footer: is 101, more than 100"), "{checked:?}");
}
