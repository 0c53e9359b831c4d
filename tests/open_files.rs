//! Tests of files that a process has open for writing: `source.open_files`, and ends that are reserved but not written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use common::{Daemon, World, csv, events, gzip, until};

fn world() -> World {
    World::new().with("source.settle", "100ms").with("source.poll", "200ms")
}

fn until_logged(daemon: &Daemon, text: &str) {
    until(text, || daemon.log().contains(text).then_some(()));
}

fn until_loaded(world: &World, name: &str, records: u64) {
    until("it is loaded", || {
        let receipt = (world.states().get(name)? == "loaded").then(|| world.receipt(name))?;
        (receipt["loaded"] == records).then_some(())
    });
}

/// Creates a file of this size that is still empty. The file stays open.
fn reserved(world: &World, name: &str, size: usize) -> File {
    let file = File::create(world.inbox().join(name)).unwrap();
    file.set_len(size as u64).unwrap();
    file
}

#[test]
fn a_file_whose_size_is_set_first_is_loaded_as_it_is_filled() {
    let world = world();
    let daemon = world.daemon();
    let bytes = csv(0..3000);
    let mut file = reserved(&world, "copy.csv", bytes.len());
    until_logged(&daemon, "its header is not written yet");
    let (one, other) = bytes.split_at(bytes.len() / 2);
    file.write_all(one.as_bytes()).unwrap();
    until("some records are loaded", || {
        let store = world.store().exists().then(|| world.open_store())?;
        let rows: u64 = store.query_row("SELECT count(*) FROM session_item", [], |row| row.get(0)).ok()?;
        (rows > 1000).then_some(())
    });
    file.write_all(other.as_bytes()).unwrap();
    drop(file);
    until_loaded(&world, "copy.csv", 3000);
    assert!(!daemon.log().contains("failed"), "{}", daemon.log());
    assert_eq!(world.json(&["quarantine", "list"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_compressed_file_whose_size_is_set_first_waits_for_its_end() {
    let world = world();
    let daemon = world.daemon();
    let bytes = gzip(csv(0..3000).as_bytes());
    let mut file = reserved(&world, "copy.csv.gz", bytes.len() + 100);
    until_logged(&daemon, "its header is not written yet");
    file.write_all(&bytes[..bytes.len() / 2]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(800));
    assert_eq!(world.generations("copy.csv.gz"), 0, "a decoder could make records of the NUL bytes");
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    drop(file);
    until_loaded(&world, "copy.csv.gz", 3000);
    assert!(!daemon.log().contains("failed"), "{}", daemon.log());
}

#[test]
fn nul_bytes_at_the_end_of_a_closed_file_are_refused() {
    let world = world();
    world.drop_file("a.csv", [csv(0..2).as_bytes(), &[0; 100]].concat());
    drop(reserved(&world, "b.csv", 100));
    world.once(1);
    assert_eq!(world.states()["b.csv"], "failed");
    let receipt = world.receipt("a.csv");
    assert_ne!(receipt["state"], "failed", "{receipt}");
    assert_eq!(receipt["loaded"], 2, "{receipt}");
}

#[test]
fn with_open_files_wait_nothing_is_loaded_until_the_writer_has_closed_the_file() {
    let world = world().with("source.open_files", "wait");
    let mut file = File::create(world.inbox().join("a.csv")).unwrap();
    file.write_all(csv(0..10).as_bytes()).unwrap();
    let output = world.run(&["run", "--once"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("deliveries  1 waiting"), "{output:?}");
    let daemon = world.daemon();
    until_logged(&daemon, "waiting: a process has it open for writing (source.open_files: wait)");
    world.drop_file("b.csv", csv(10..20));
    until_loaded(&world, "b.csv", 10);
    assert_eq!(world.states().len(), 1, "{}", daemon.log());
    file.write_all(events(20..30).as_bytes()).unwrap();
    drop(file);
    until_loaded(&world, "a.csv", 20);
    assert_eq!(daemon.log().matches("waiting: ").count(), 1, "{}", daemon.log());
    assert_eq!(world.generations("a.csv"), 1);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_copy_of_an_interrupted_file_that_is_open_again_holds_up_no_other() {
    let world = world().with("write.window", "1").with("source.open_files", "wait");
    world.drop_file("a.csv", csv(0..20));
    let aborted = world.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", "12").output().unwrap();
    assert!(!aborted.status.success());
    assert_eq!(world.states()["a.csv"], "loading");
    let _writer = File::options().append(true).open(world.inbox().join("a.csv")).unwrap();
    world.drop_file("b.csv", csv(0..20));
    world.drop_file("c.csv", csv(20..30));
    let output = world.run(&["run", "--once"]);
    assert!(output.stdout.contains("deliveries  1 loaded, 2 waiting"), "{output:?}");
    assert!(output.stderr.contains("begins with the bytes of a file that comes first"), "{output:?}");
    assert_eq!(world.receipt("c.csv")["loaded"], 10);
}

#[test]
fn open_files_count_as_backlog_are_logged_once_and_hold_up_no_other() {
    const OPEN: usize = 20;
    let world = world().with("source.open_files", "wait");
    let open: Vec<File> = (0..OPEN)
        .map(|n| {
            let mut file = File::create(world.inbox().join(format!("{n:02}.csv"))).unwrap();
            file.write_all(events(0..1).as_bytes()).unwrap();
            file
        })
        .collect();
    let daemon = world.daemon();
    let logged = || daemon.log().matches("waiting: a process has it open").count();
    until("all wait", || (logged() == OPEN).then_some(()));
    for round in 0..3 {
        world.drop_file(&format!("x{round}.csv"), csv(round..round + 1));
        until_loaded(&world, &format!("x{round}.csv"), 1);
    }
    // Each file was looked at several times by now.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(logged(), OPEN, "{}", daemon.log());
    until("they count", || (daemon.metric("backlog_files") == 20.0).then_some(()));
    drop(open);
    until("none waits", || (daemon.metric("backlog_files") == 0.0).then_some(()));
}
