//! Tests of `source.after`: loaded files leave the inbox, and other files stay.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use common::{Daemon, HEADER, World, can_confine, csv, events, until};
use serde_json::{Value as Json, json};
use steps::steps_by;
use tempfile::TempDir;

const FILE: &str = "2018-11-01-events.csv";

fn world(after: &str) -> World {
    let world = World::new().with("source.after", after).with("source.archive", "archive");
    world.with("source.settle", "100ms").with("source.poll", "200ms").with("source.tail_after", "1s")
}

/// Returns the contents of every file under a folder, by path.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(place) = left.pop() {
        if place.is_dir() {
            left.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        } else if place.exists() {
            let name = place.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read_to_string(&place).unwrap());
        }
    }
    files
}

fn names(folder: &Path) -> Vec<String> {
    tree(folder).into_keys().collect()
}

fn inbox(world: &World) -> Vec<String> {
    names(&world.inbox())
}

fn archive(world: &World) -> Vec<String> {
    names(&world.path("archive"))
}

fn outcome(daemon: &Daemon, what: &str) -> f64 {
    daemon.metrics()[&format!("needledrop_files_after_total{{outcome=\"{what}\"}}")]
}

fn exported(world: &World, args: &[&str]) -> String {
    let output = world.run(&[&["export"], args].concat());
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout
}

/// Drops files of every kind. Returns the files that are loaded completely or equal such a file, and the files that
/// stay.
fn of_every_kind(world: &World) -> (Vec<&'static str>, Vec<&'static str>) {
    fs::create_dir_all(world.inbox().join("sub")).unwrap();
    world.drop_file(FILE, csv(0..5));
    world.drop_file("sub/deep.csv", csv(5..9));
    world.drop_file("copy.csv", csv(0..5));
    world.drop_file("empty.csv", HEADER);
    world.drop_file("refused.csv", format!("{HEADER}x\n{}", events(9..10)));
    world.drop_file("tail.csv", csv(10..12).trim_end());
    world.drop_file("failed.csv", "a,b\n1,2\n");
    world.drop_file("incomplete.csv", format!("{}half", csv(20..22)));
    world.drop_file(".hidden.csv", csv(30..31));
    (
        vec![FILE, "copy.csv", "empty.csv", "refused.csv", "sub/deep.csv", "tail.csv"],
        vec![".hidden.csv", "failed.csv", "incomplete.csv"],
    )
}

#[test]
fn files_stay_in_the_inbox_under_keep() {
    let world = world("keep");
    of_every_kind(&world);
    let before = tree(&world.inbox());
    world.once(1);
    assert_eq!(tree(&world.inbox()), before);
    assert!(!world.path("archive").exists());
}

#[test]
fn loaded_files_are_moved_under_their_paths_and_the_others_stay() {
    let world = world("move");
    let (loaded, stays) = of_every_kind(&world);
    let before = tree(&world.inbox());
    let summary = world.once(1);
    assert_eq!(summary["after"], json!({ "moved": loaded.len() }));
    assert_eq!(
        (inbox(&world), archive(&world)),
        (
            stays.iter().map(|name| (*name).to_owned()).collect(),
            loaded.iter().map(|name| (*name).to_owned()).collect()
        )
    );
    for (name, text) in tree(&world.path("archive")) {
        assert_eq!(text, before[&name], "{name}");
    }
    // Tables and export are the same as with `keep`, although the files are in the archive.
    let kept = self::world("keep");
    of_every_kind(&kept);
    kept.once(1);
    assert_eq!(world.tables(), kept.tables());
    let rows = |world: &World| {
        let output = world.run(&["export"]);
        assert_eq!(output.code, 1, "failed.csv has no events: {output:?}");
        output.stdout
    };
    assert_eq!(rows(&world), rows(&kept));
    // A further run finds nothing to do.
    let dump = world.dump();
    assert_eq!(world.once(0)["records"]["read"], 0);
    assert!(world.dump() == dump);
}

#[test]
fn loaded_files_are_deleted_and_the_others_stay() {
    let world = world("delete");
    let (mut loaded, mut stays) = of_every_kind(&world);
    // It has a record in quarantine.
    loaded.retain(|file| *file != "refused.csv");
    stays.push("refused.csv");
    assert_eq!(world.once(1)["after"], json!({ "deleted": loaded.len() }));
    assert_eq!(inbox(&world), stays);
    assert!(!world.path("archive").exists());
    for file in loaded {
        assert_eq!(world.receipt(file)["closes"], true, "{file}");
    }
    let (dump, left) = (world.dump(), tree(&world.inbox()));
    world.once(0);
    assert!(world.dump() == dump && tree(&world.inbox()) == left);
}

#[test]
fn a_dry_run_moves_nothing() {
    for after in ["move", "delete"] {
        let world = world(after);
        world.drop_file(FILE, csv(0..5));
        assert_eq!(world.run(&["run", "--once", "--dry-run"]).code, 0);
        world.run(&["load", "inbox", "--dry-run"]);
        assert_eq!(inbox(&world), [FILE]);
        assert!(!world.path("archive").exists() && !world.store().exists());
    }
}

#[test]
fn the_default_archive_is_a_hidden_folder_of_the_inbox() {
    let world = World::new().with("source.after", "move");
    world.drop_file(FILE, csv(0..5));
    world.once(0);
    assert_eq!(inbox(&world), [format!(".archive/{FILE}")]);
    assert_eq!(world.once(0)["records"]["read"], 0, "it is not listed");
    assert_eq!(exported(&world, &[]).lines().count(), 6);
}

#[test]
fn an_archive_that_would_be_listed_is_refused() {
    for (archive, is_refused) in
        [("inbox", true), ("inbox/done", true), (".", true), ("inbox/.done", false), ("beside/done", false)]
    {
        let world = world("move").with("source.archive", archive);
        world.drop_file(FILE, csv(0..5));
        let output = world.run(&["run", "--once"]);
        assert_eq!(output.code == 2, is_refused, "{archive}: {output:?}");
        assert_eq!(inbox(&world).contains(&FILE.to_owned()), is_refused, "{archive}");
        if is_refused {
            assert!(
                output.stderr.contains("source.archive") && output.stderr.contains("next:"),
                "{output:?}"
            );
        }
    }
    // An archive is refused only if its files would be listed. Here subfolders are not listed.
    let world = world("move").with("source.archive", "inbox/done").with("source.subfolders", "false");
    world.drop_file(FILE, csv(0..5));
    world.once(0);
    assert_eq!(inbox(&world), [format!("done/{FILE}")]);
}

#[test]
fn a_taken_name_gets_a_number_and_archived_files_are_found_by_content() {
    let world = world("move");
    let texts = [csv(0..5), csv(0..5), csv(0..9), csv(3..4), csv(0..5)];
    for text in &texts {
        world.drop_file(FILE, text);
        world.once(0);
        assert!(inbox(&world).is_empty());
    }
    // The second file repeats the first, so nothing is loaded. The third extends it. The last two are new
    // generations.
    assert_eq!(world.generations(FILE), 3);
    let stem = "2018-11-01-events";
    let expected: BTreeMap<String, String> = (1..)
        .zip(texts)
        .map(|(n, text)| (if n == 1 { FILE.to_owned() } else { format!("{stem}-{n}.csv") }, text))
        .collect();
    assert_eq!(tree(&world.path("archive")), expected);
    // Generation 1 is 0..9, generation 2 is 3..4 and generation 3 is 0..5. The export finds all of them, whatever
    // their names.
    let lines = exported(&world, &[]).lines().count();
    assert_eq!(lines, 1 + 9 + 1 + 5);
    assert_eq!(exported(&world, &[FILE]).lines().count(), lines);
    assert_eq!(exported(&world, &[&format!("archive/{stem}-4.csv")]).lines().count(), 2);
    let receipt = |file: &str| world.receipt(file)["generation"].clone();
    assert_eq!(receipt(FILE), 3);
    assert_eq!(receipt(&format!("archive/{stem}-4.csv")), 2);
    assert_eq!(receipt(&format!("archive/{stem}-3.csv")), 1);
}

#[test]
fn a_new_table_is_filled_from_the_archive() {
    let mut world = world("move");
    for (n, name) in ["a.csv", "b.csv"].iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        world.drop_file(name, csv(n * 5..n * 5 + 5));
    }
    world.once(0);
    // A name alone does not identify a file: this file was never loaded.
    fs::write(world.path("archive/a-2.csv"), csv(50..60)).unwrap();
    world.set("tables.by_level.partition_key", "[level]");
    world.set("tables.by_level.clustering_key", "[itemInSession]");
    let output = world.run(&["load", "--table", "by_level", "b.csv"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(world.query("by_level", &["level=free"]).len(), 5);
    let output = world.run(&["load", "--table", "by_level"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(world.query("by_level", &["level=free"]).len(), 10);
}

#[test]
fn a_file_that_a_table_still_needs_is_not_deleted() {
    let mut world = world("keep");
    world.drop_file(FILE, csv(0..5));
    world.once(0);
    world.set("source.after", "delete");
    world.set("tables.by_level.partition_key", "[level]");
    world.set("tables.by_level.clustering_key", "[itemInSession]");
    world.once(0);
    assert_eq!(inbox(&world), [FILE], "by_level still needs the file");
    assert_eq!(world.run(&["load", "--table", "by_level"]).code, 0);
    world.once(0);
    assert!(inbox(&world).is_empty());
    assert_eq!(world.query("by_level", &["level=free"]).len(), 5);
}

#[test]
fn files_loaded_earlier_leave_without_being_loaded_again() {
    for after in ["move", "delete"] {
        let mut world = world("keep");
        world.drop_file(FILE, csv(0..5));
        world.drop_file("copy.csv", csv(0..5));
        world.once(0);
        world.set("source.after", after);
        let before = world.tables();
        assert_eq!(world.once(0)["records"]["read"], 0);
        assert!(inbox(&world).is_empty() && world.tables() == before);
        assert_eq!(world.generations(FILE), 1);
    }
}

#[test]
fn load_moves_only_files_that_the_inbox_lists() {
    let world = world("move");
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::write(world.path("elsewhere/other.csv"), csv(0..5)).unwrap();
    world.drop_file(FILE, csv(5..9));
    world.drop_file("left.csv", csv(9..10));
    world.drop_file(".hidden.csv", csv(20..21));
    let files = ["load", "elsewhere/other.csv", FILE, "inbox/.hidden.csv"];
    let output = world.run(&files);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(names(&world.path("elsewhere")), ["other.csv"]);
    assert_eq!(inbox(&world), [".hidden.csv", "left.csv"]);
    assert_eq!(archive(&world), [FILE]);
    // `load --again` makes a new generation, and the file is moved again.
    world.drop_file(FILE, csv(5..9));
    assert_eq!(world.run(&["load", "--again", FILE]).code, 0);
    assert_eq!(world.generations(FILE), 2);
    assert_eq!(archive(&world).len(), 2);
}

/// The ledger's entry for the name describes the earlier file, not the file that has the name now.
#[test]
fn a_newer_file_under_the_name_of_a_loaded_one_stays_until_it_can_be_read() {
    if !can_confine() {
        return;
    }
    for after in ["move", "delete"] {
        let mut world = world("keep");
        world.drop_file(FILE, csv(0..5));
        world.once(0);
        world.set("source.after", after);
        let newer = world.path("newer.csv");
        fs::write(&newer, csv(5..9)).unwrap();
        fs::set_permissions(&newer, fs::Permissions::from_mode(0o000)).unwrap();
        fs::rename(&newer, world.inbox().join(FILE)).unwrap();
        let daemon = world.confined_daemon(false, "");
        until("it is told", || daemon.log().contains("cannot be read").then_some(()));
        // This is longer than a file must rest before it may leave.
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(inbox(&world), [FILE], "{after}: {}", daemon.log());
        fs::set_permissions(world.inbox().join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
        until("it is loaded and leaves", || inbox(&world).is_empty().then_some(()));
        assert_eq!(world.receipt(FILE)["loaded"], 4);
    }
}

#[test]
fn a_link_stays_in_the_inbox() {
    let world = world("move");
    fs::write(world.path("outside.csv"), csv(0..5)).unwrap();
    std::os::unix::fs::symlink("../outside.csv", world.inbox().join(FILE)).unwrap();
    world.once(0);
    assert_eq!(world.receipt(FILE)["state"], "loaded");
    assert!(world.inbox().join(FILE).is_symlink() && world.path("outside.csv").exists());
}

#[test]
fn an_unwritable_archive_blocks_no_loading_and_moves_are_tried_again() {
    let world = world("move");
    let check = |world: &World| world.run(&["check"]);
    assert!(check(&world).stdout.contains("archive: not there yet"), "{:?}", check(&world));
    fs::write(world.path("archive"), "in the way").unwrap();
    let told = check(&world);
    assert!(told.code == 3 && told.stdout.contains("not a folder"), "{told:?}");
    for (n, name) in ["a.csv", "b.csv", "c.csv"].iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        world.drop_file(name, csv(n * 5..n * 5 + 5));
    }
    let summary = world.once(1);
    assert_eq!(summary["after"], json!({ "failed": 3 }));
    let mut daemon = world.daemon();
    world.drop_file("d.csv", csv(20..25));
    until("all are loaded", || (world.states().get("d.csv")? == "loaded").then_some(()));
    until("it was tried", || (outcome(&daemon, "failed") >= 4.0).then_some(()));
    assert_eq!(inbox(&world).len(), 4);
    let told = daemon.log();
    assert_eq!(told.matches("cannot be moved").count(), 1, "{told}");
    assert!(told.contains("WARN") && told.contains("that this user can write to"), "{told}");
    fs::remove_file(world.path("archive")).unwrap();
    until("they are moved", || inbox(&world).is_empty().then_some(()));
    assert_eq!(archive(&world), ["a.csv", "b.csv", "c.csv", "d.csv"]);
    until("they are counted", || (outcome(&daemon, "moved") >= 4.0).then_some(()));
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn the_daemon_moves_files_at_rest_but_no_file_that_is_being_written() {
    let world = world("move");
    let mut daemon = world.daemon();
    let place = world.inbox().join(FILE);
    let mut writer = fs::File::create(&place).unwrap();
    writer.write_all(csv(0..5).as_bytes()).unwrap();
    writer.flush().unwrap();
    until("it is loaded", || (world.states().get(FILE)? == "loaded").then_some(()));
    if cfg!(target_os = "linux") {
        // The file stays as long as its writer has it open, however long the writer is quiet.
        until("it was seen", || daemon.log().contains("open for writing").then_some(()));
        assert!(place.exists());
    }
    writer.write_all(events(5..9).as_bytes()).unwrap();
    drop(writer);
    until("it is moved", || (!place.exists()).then_some(()));
    assert_eq!(tree(&world.path("archive"))[FILE], csv(0..9));
    assert_eq!(world.receipt(FILE)["loaded"], 9);
    // The same bytes again are nothing to load. More bytes extend the delivery. Other bytes are a new generation.
    world.drop_file(FILE, csv(0..9));
    until("it is moved", || (!place.exists()).then_some(()));
    assert_eq!((world.receipt(FILE)["loaded"].clone(), world.generations(FILE)), (json!(9), 1));
    world.drop_file(FILE, csv(0..12));
    until("it is moved", || (!place.exists()).then_some(()));
    assert_eq!((world.receipt(FILE)["loaded"].clone(), world.generations(FILE)), (json!(12), 1));
    world.drop_file(FILE, csv(40..42));
    until("it is moved", || (!place.exists()).then_some(()));
    assert_eq!(world.generations(FILE), 2);
    assert_eq!(archive(&world).len(), 4);
    until("it is counted", || (outcome(&daemon, "moved") == 4.0).then_some(()));
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn the_daemon_deletes_loaded_files() {
    let world = world("delete");
    of_every_kind(&world);
    let daemon = world.daemon();
    // A file with records in quarantine stays.
    let left = [".hidden.csv", "failed.csv", "incomplete.csv", "refused.csv", "tail.csv"];
    // A file without a line end at its end is left alone for longer.
    until("the others are deleted", || (inbox(&world) == left).then_some(()));
    until("all are", || (inbox(&world) == left[..4]).then_some(()));
    until("it is counted", || (outcome(&daemon, "deleted") == 5.0).then_some(()));
    world.append("incomplete.csv", ",Ann,F,22,Lee,1.5,free,X,7,Song,3\n");
    let left = [".hidden.csv", "failed.csv", "refused.csv"];
    until("it is whole", || (inbox(&world) == left).then_some(()));
    assert_eq!(world.receipt("incomplete.csv")["state"], "loaded");
}

/// Returns a folder on another device than the tests' own, or `None` if there is no such device.
fn other_device(world: &World) -> Option<TempDir> {
    let device = |place: &Path| fs::metadata(place).ok().map(|meta| meta.dev());
    let places =
        [std::env::var_os("NEEDLEDROP_OTHER_DEVICE").map(Into::into), Some(Path::new("/dev/shm").to_owned())];
    let other = places
        .into_iter()
        .flatten()
        .find(|place| device(place).is_some_and(|other| Some(other) != device(&world.inbox())));
    if let Some(other) = other {
        return Some(TempDir::new_in(other).unwrap());
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "no second device: name a folder on one in NEEDLEDROP_OTHER_DEVICE"
    );
    eprintln!("SKIPPED: no second device found; set NEEDLEDROP_OTHER_DEVICE to a folder on another device");
    None
}

fn across(world: World) -> Option<(World, TempDir)> {
    let other = other_device(&world)?;
    let archive = other.path().join("archive").to_str().unwrap().to_owned();
    Some((world.with("source.archive", &archive), other))
}

/// Returns a file that is copied in more than one piece.
fn big() -> String {
    csv(1000..8000)
}

#[test]
fn files_are_copied_completely_with_their_times_to_another_device() {
    let Some((world, other)) = across(world("move")) else { return };
    of_every_kind(&world);
    world.drop_file("big.csv", big());
    let before = tree(&world.inbox());
    let modified = fs::metadata(world.inbox().join("big.csv")).unwrap().modified().unwrap();
    world.once(1);
    assert_eq!(inbox(&world), [".hidden.csv", "failed.csv", "incomplete.csv"]);
    let moved = tree(&other.path().join("archive"));
    assert_eq!(moved.len(), 7, "{:?}", moved.keys());
    for (name, text) in &moved {
        assert!(text == &before[name], "{name}");
    }
    let copy = fs::metadata(other.path().join("archive/big.csv")).unwrap();
    assert_eq!(copy.modified().unwrap(), modified);
    world.drop_file("big.csv", big());
    world.once(0);
    assert_eq!(tree(&other.path().join("archive")).len(), 8, "the second copy has a numbered name");
}

/// Aborts a run at each of its durable steps and then runs again. The second run must leave what an uninterrupted run
/// leaves. Returns the number of steps.
fn survives_every_step(prepared: impl Fn() -> (World, Option<TempDir>)) -> usize {
    let settle = |world: &World, other: &Option<TempDir>| {
        world.once(0);
        let archive = other.as_ref().map_or(world.path("archive"), |other| other.path().join("archive"));
        (tree(&world.inbox()), if archive.exists() { tree(&archive) } else { BTreeMap::new() })
    };
    let (clean, other) = prepared();
    let left = settle(&clean, &other);
    assert!(left.0.is_empty());
    let mut last = 0;
    for step in steps_by(3) {
        let (world, other) = prepared();
        let abort = world.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        let aborted = abort.unwrap().status.code().is_none();
        let found = settle(&world, &other);
        assert!(found == left, "aborted at step {step}: {:?}, {:?}", found.0.keys(), found.1.keys());
        assert_eq!(world.tables(), clean.tables(), "aborted at step {step}");
        let accounts = world.accounts();
        assert_eq!(accounts, clean.accounts(), "aborted at step {step}");
        assert!(world.json(&["status"])["deliveries"].as_array().unwrap().iter().all(|delivery| {
            world.receipt(delivery["file"].as_str().unwrap())["closes"] == Json::Bool(true)
        }));
        if !aborted {
            break;
        }
        last = step;
    }
    last
}

fn with_files(world: World) -> World {
    fs::create_dir_all(world.inbox().join("sub")).unwrap();
    world.drop_file(FILE, csv(0..5));
    world.drop_file("sub/copy.csv", csv(0..5));
    world.drop_file("sub/other.csv", csv(5..9));
    world
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_move_or_removal_killed_at_any_step_is_finished_by_the_next_run() {
    let moved = survives_every_step(|| (with_files(world("move")), None));
    let deleted = survives_every_step(|| (with_files(world("delete")), None));
    // Moving or deleting a file has two steps.
    assert!(moved > 12 && deleted > 12, "{moved} {deleted}");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_copy_killed_at_any_step_is_finished_by_the_next_run() {
    if other_device(&world("move")).is_none() {
        return;
    }
    let copied = survives_every_step(|| {
        let (world, other) = across(with_files(world("move"))).unwrap();
        world.drop_file("sub/big.csv", big());
        (world, Some(other))
    });
    assert!(copied > 22, "{copied}");
}

/// Growth would turn its footer into records, so such a file waits as long as one without a last line end.
#[test]
fn a_file_with_a_footer_stays_for_a_while_for_the_right_reason() {
    let world = world("move").with("source.format", "{ skip_footer: 1 }");
    let daemon = world.daemon();
    world.drop_file(FILE, format!("{}3 records\n", csv(0..3)));
    let why = "not moved yet: records may yet follow its last lines";
    until("it stays", || daemon.log().contains(why).then_some(()));
    assert!(!daemon.log().contains("has no line end"), "{}", daemon.log());
    until("it is moved", || (archive(&world) == [FILE]).then_some(()));
}
