//! Tests of files that change while they are read. Each ends in the right delivery, state and receipt.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use common::{Daemon, World, csv, events, until};
use rusqlite::Connection;
use serde_json::{Value as Json, json};

const FILE: &str = "2018-11-01-events.csv";

/// Many more records than the queues hold.
const RECORDS: u32 = 30_000;

/// Returns the same keys with other values, in the same number of bytes.
fn other(items: std::ops::Range<u32>) -> String {
    csv(items).replace("Artist", "Singer")
}

/// A daemon that has begun to load the file and cannot continue, because another connection has locked the store.
struct Held {
    world: World,
    daemon: Daemon,
    lock: Connection,
}

impl Held {
    fn in_the_middle_of(bytes: &str) -> Self {
        let world = World::new().with("source.settle", "200ms").with("source.poll", "200ms");
        let world = world.with("write.window", "300").with("write.window_bytes", "16KiB");
        let daemon = world.daemon();
        world.drop_file(FILE, bytes);
        let read = || daemon.metrics().get("needledrop_records_read_total").copied().unwrap_or_default();
        until("some of it is loaded", || (read() > 0.0).then_some(()));
        let lock = Connection::open(world.store()).unwrap();
        // Tried again at once, because SQLite's busy handler would sleep while the daemon takes its next turn.
        lock.busy_timeout(Duration::ZERO).unwrap();
        while lock.execute_batch("BEGIN IMMEDIATE").is_err() {}
        let held = Self { world, daemon, lock };
        held.until_nothing_moves();
        held
    }

    /// Returns the position of the daemon in the file, from its open descriptor.
    fn position(&self) -> Option<u64> {
        let folder = format!("/proc/{}", self.daemon.id());
        let open = fs::read_dir(format!("{folder}/fd")).unwrap().map(|entry| entry.unwrap());
        let of_file = |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to.ends_with(FILE));
        let descriptor = open.into_iter().find(of_file)?.file_name();
        let info = fs::read_to_string(format!("{folder}/fdinfo/{}", descriptor.to_str()?)).ok()?;
        info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok())
    }

    fn until_nothing_moves(&self) {
        let mut last = None;
        until("the queues are full", || {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.position();
            let same = now.is_some() && now == last;
            last = now;
            same.then_some(())
        });
        assert!(self.position().unwrap() < fs::metadata(self.world.inbox().join(FILE)).unwrap().len());
    }

    /// Lets the daemon continue until there is nothing more to do.
    fn go_on(self) -> World {
        self.lock.execute_batch("ROLLBACK").unwrap();
        let Self { world, mut daemon, .. } = self;
        until("there is nothing more to do", || {
            (daemon.metrics()["needledrop_backlog_files"] == 0.0).then_some(())
        });
        assert_eq!(daemon.stop().0, 0);
        // This run loads what the daemon has not noticed.
        world.run(&["run", "--once"]);
        world
    }
}

fn deliveries(world: &World) -> Vec<Json> {
    world.json(&["status"])["deliveries"].as_array().unwrap().clone()
}

fn receipt(world: &World, generation: u32) -> Json {
    world.json(&["receipt", FILE, "--generation", &generation.to_string()])
}

fn states(world: &World) -> Vec<(u64, String)> {
    let of = |delivery: &Json| {
        (delivery["generation"].as_u64().unwrap(), delivery["state"].as_str().unwrap().to_owned())
    };
    deliveries(world).iter().map(of).collect()
}

/// Asserts that the tables are those of these contents, loaded one after the other, and that every receipt closes.
fn assert_as(world: &World, contents: &[&str]) {
    let clean = World::new();
    for bytes in contents {
        clean.drop_file(FILE, bytes);
        clean.once(0);
    }
    assert_eq!(world.tables(), clean.tables());
    for generation in 1..=deliveries(world).len() {
        let receipt = receipt(world, u32::try_from(generation).unwrap());
        assert_eq!(receipt["closes"], true, "{receipt}");
    }
}

/// Returns the beginning of the bytes, as long as the receipt says that it was loaded.
fn loaded_of(bytes: &str, receipt: &Json) -> String {
    bytes[..usize::try_from(receipt["bytes"].as_u64().unwrap()).unwrap()].to_owned()
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_to_its_new_end() {
    let held = Held::in_the_middle_of(&csv(0..RECORDS));
    held.world.append(FILE, events(RECORDS..RECORDS + 100));
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "loaded".to_owned())]);
    assert_as(&world, &[&csv(0..RECORDS + 100)]);
}

/// The rest of the file is still the beginning of the delivery, so the delivery ends at the file's new end.
#[test]
fn a_file_cut_after_the_loaded_part_is_loaded_to_its_new_end() {
    let bytes = csv(0..RECORDS);
    let held = Held::in_the_middle_of(&bytes);
    let left = csv(0..RECORDS - 10);
    let file = fs::OpenOptions::new().write(true).open(held.world.inbox().join(FILE)).unwrap();
    file.set_len(left.len() as u64).unwrap();
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "loaded".to_owned())]);
    assert_as(&world, &[&left]);
}

#[test]
fn a_file_rewritten_shorter_is_another_generation() {
    let bytes = csv(0..RECORDS);
    let held = Held::in_the_middle_of(&bytes);
    held.world.drop_file(FILE, other(0..10));
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "replaced".to_owned()), (2, "loaded".to_owned())]);
    let first = receipt(&world, 1);
    assert!(first["records"].as_u64().unwrap() < u64::from(RECORDS), "{first}");
    assert!(first["detail"].as_str().unwrap().contains("truncated to"), "{first}");
    assert_as(&world, &[&loaded_of(&bytes, &first), &other(0..10)]);
}

#[test]
fn a_file_rewritten_in_place_with_the_same_size_is_another_generation() {
    let bytes = csv(0..RECORDS);
    let held = Held::in_the_middle_of(&bytes);
    assert_eq!(bytes.len(), other(0..RECORDS).len());
    let place = held.world.inbox().join(FILE);
    write_over(&place, &other(0..RECORDS));
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "replaced".to_owned()), (2, "loaded".to_owned())]);
    let first = receipt(&world, 1);
    assert!(first["records"].as_u64().unwrap() < u64::from(RECORDS), "{first}");
    assert_as(&world, &[&loaded_of(&bytes, &first), &other(0..RECORDS)]);
}

/// Writes over the existing bytes, without truncating the file first.
fn write_over(place: &std::path::Path, bytes: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().write(true).open(place).unwrap();
    file.write_all(bytes.as_bytes()).unwrap();
}

#[test]
fn a_file_rewritten_longer_is_another_generation() {
    let bytes = csv(0..RECORDS);
    let held = Held::in_the_middle_of(&bytes);
    held.world.drop_file(FILE, other(0..RECORDS + 100));
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "replaced".to_owned()), (2, "loaded".to_owned())]);
    let first = receipt(&world, 1);
    assert!(first["detail"].as_str().unwrap().contains("rewritten with more bytes"), "{first}");
    assert_as(&world, &[&loaded_of(&bytes, &first), &other(0..RECORDS + 100)]);
}

#[test]
fn a_file_rewritten_with_its_time_put_back_is_another_generation() {
    let bytes = csv(0..RECORDS);
    let held = Held::in_the_middle_of(&bytes);
    let place = held.world.inbox().join(FILE);
    let modified = fs::metadata(&place).unwrap().modified().unwrap();
    write_over(&place, &other(0..RECORDS));
    let file = fs::OpenOptions::new().write(true).open(&place).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(modified)).unwrap();
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "replaced".to_owned()), (2, "loaded".to_owned())]);
    let first = receipt(&world, 1);
    assert!(first["detail"].as_str().unwrap().contains("modification time restored"), "{first}");
    assert_as(&world, &[&loaded_of(&bytes, &first), &other(0..RECORDS)]);
}

/// The open file still has all of its bytes.
#[test]
fn a_file_renamed_over_an_open_file_is_loaded_after_it() {
    let bytes = csv(0..RECORDS);
    let held = Held::in_the_middle_of(&bytes);
    held.world.drop_file(".other", other(0..100));
    fs::rename(held.world.inbox().join(".other"), held.world.inbox().join(FILE)).unwrap();
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "loaded".to_owned()), (2, "loaded".to_owned())]);
    assert_as(&world, &[&bytes, &other(0..100)]);
}

#[test]
fn a_removed_file_is_still_loaded_to_its_end() {
    let bytes = csv(0..RECORDS);
    let held = Held::in_the_middle_of(&bytes);
    fs::remove_file(held.world.inbox().join(FILE)).unwrap();
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "loaded".to_owned())]);
    assert!(receipt(&world, 1)["detail"].as_str().unwrap().contains("removed"));
    assert_as(&world, &[&bytes]);
}

/// The modification time changes, and the bytes do not.
#[test]
fn a_touched_file_is_loaded_once() {
    let bytes = csv(0..RECORDS);
    let held = Held::in_the_middle_of(&bytes);
    let place = held.world.inbox().join(FILE);
    let before = fs::metadata(&place).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&place).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(SystemTime::now())).unwrap();
    assert_ne!(before.ctime_nsec(), fs::metadata(&place).unwrap().ctime_nsec());
    let world = held.go_on();
    assert_eq!(states(&world), [(1, "loaded".to_owned())]);
    assert_eq!(json!(world.receipt(FILE)["loaded"]), RECORDS);
    assert_as(&world, &[&bytes]);
}
