//! Files that are not loaded because of their names are counted and named by suffix, never by their full names.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::common::{World, csv, until};

fn world() -> World {
    let world = World::new();
    world.drop_file("ORDERS.CSV", csv(0..1));
    for name in ["a.csv.bz2", "b.csv.BZ2", "notes.txt", "_SUCCESS", "c (Ann's conflicted copy).csv"] {
        world.drop_file(name, csv(1..2));
    }
    fs::create_dir_all(world.inbox().join("_temporary/0")).unwrap();
    world.drop_file("_temporary/0/part-0.csv", csv(2..3));
    world.drop_file("d.sync-conflict-20240301-101010-ABCDEFG.csv", csv(3..4));
    world
}

const UNMATCHED: &str = "3 files match no source.pattern: 2 .csv.bz2, 1 .txt";
const IGNORED: &str = "4 files have hidden or ignored names: 3 .csv, 1 without a suffix";

#[test]
fn a_pass_a_check_and_the_status_name_what_is_left_out_by_suffix() {
    let world = world();
    let output = world.run(&["run", "--once"]);
    assert_eq!((output.code, world.states().len()), (0, 1), "{output:?}");
    for text in [UNMATCHED, IGNORED] {
        assert!(output.stdout.contains(&format!("left out    {text}\n")), "{output:?}");
        assert!(output.stderr.contains(text), "{output:?}");
    }
    let check = world.run(&["check"]);
    assert!(check.stdout.contains(&format!("warn   warning        {UNMATCHED}; add a pattern")), "{check:?}");
    assert!(check.stdout.contains(&format!("ok     left out       {IGNORED}\n")), "{check:?}");
    let twice = world.run(&["load", "inbox", "inbox"]);
    assert!(twice.stdout.contains(&format!("left out    {UNMATCHED}\n")), "{twice:?}");
    let status = world.run(&["status"]);
    assert!(status.stdout.contains(&format!("left out {UNMATCHED}\n")), "{status:?}");
    let expected = json!({
        "unmatched": { "files": 3, "suffixes": { ".csv.bz2": 2, ".txt": 1 } },
        "ignored": { "files": 4, "suffixes": { "": 1, ".csv": 3 } },
        "not_utf8": 0,
        "not_files": { "files": 0, "kinds": {} },
    });
    assert_eq!(world.json(&["status"])["left_out"], expected);
    assert_eq!(world.once(0)["left_out"], expected);
}

#[test]
fn a_daemon_logs_a_new_suffix_once_and_counts_all_files() {
    let world = World::new().with("source.poll", "100ms");
    let daemon = world.daemon();
    let count = |reason: &str| daemon.metrics()[&format!("needledrop_files_left_out{{reason=\"{reason}\"}}")];
    let logged = |text: &str| daemon.log().lines().filter(|line| line.contains(text)).count();
    world.drop_file("a.txt", "x");
    until("the first file is counted", || (count("unmatched") == 1.0).then_some(()));
    world.drop_file("b.txt", "x");
    world.drop_file("c.tmp", "x");
    until("the others are counted", || (count("unmatched") + count("ignored") == 3.0).then_some(()));
    assert_eq!(logged(".txt"), 1, "{}", daemon.log());
    world.drop_file("d.pdf", "x");
    until("a new suffix is logged", || (logged("1 .pdf") == 1).then_some(()));
    assert!(!daemon.log().contains("d.pdf"), "{}", daemon.log());
}

#[test]
fn a_pattern_with_a_folder_matches_the_path_also_if_only_the_folder_is_loaded() {
    let world = World::new().with("source.pattern", "['day1/*.csv']");
    fs::create_dir_all(world.inbox().join("day1/late")).unwrap();
    for (number, name) in (0..).zip(["day1/a.csv", "day1/late/b.csv", "c.csv"]) {
        world.drop_file(name, csv(number..number + 1));
    }
    let output = world.run(&["load", "inbox/day1"]);
    assert!(output.stdout.contains("1 file matches no source.pattern: 1 .csv"), "{output:?}");
    assert_eq!(world.once(0)["left_out"]["unmatched"]["files"], 2);
    assert_eq!(world.states().keys().collect::<Vec<_>>(), ["day1/a.csv"]);
}

#[test]
fn entries_that_are_no_files_are_counted_by_what_they_are() {
    let world = World::new().with("source.poll", "100ms").with("source.links", "inside");
    mknodat(CWD, world.inbox().join("pipe.csv"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = UnixListener::bind(world.inbox().join("socket.csv")).unwrap();
    let link = |to: &str, name: &str| symlink(to, world.inbox().join(name)).unwrap();
    fs::create_dir(world.path("other")).unwrap();
    fs::write(world.path("other/b.csv"), csv(1..2)).unwrap();
    link("nowhere.csv", "broken.csv");
    link("circle.csv", "circle.csv");
    link("/dev/null", "null.csv");
    link("../other", "folder");
    link("../other/b.csv", "outside.csv");
    // These names would not be loaded anyway.
    link("nowhere", "broken");
    link("../other", ".hidden");
    world.drop_file("a.csv", csv(0..1));
    let expected = "7 entries are no regular files (broken links: 2, links out of the inbox: 1, links to folders: 1, \
                    links to pipes or devices: 1, pipes: 1, sockets: 1)";
    let output = world.run(&["run", "--once"]);
    assert!(output.code == 0 && output.stdout.contains(&format!("left out    {expected}\n")), "{output:?}");
    assert!(output.stderr.contains(expected), "{output:?}");
    assert!(world.run(&["check"]).stdout.contains(&format!("warning        {expected}; mend")), "{expected}");
    assert!(world.run(&["status"]).stdout.contains(&format!("left out {expected}\n")), "{expected}");
    assert_eq!(world.once(0)["left_out"]["not_files"]["kinds"]["broken links"], 2);
    let daemon = world.daemon();
    let counted = "needledrop_files_left_out{reason=\"not_a_file\"}";
    until("they are counted", || (daemon.metrics()[counted] == 7.0).then_some(()));
    assert_eq!(daemon.log().matches("no regular files").count(), 1, "{}", daemon.log());
}
