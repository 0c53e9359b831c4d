//! Tests of faults of the machine: a full disk, a lock, a bad disk, a damaged ledger, a second daemon. After a fault
//! that needledrop survives, the counts of each receipt add up, and the tables are those of an undisturbed run. A damaged
//! ledger is refused and not changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;

use common::{Daemon, World, csv, until};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;

const FILE: &str = "2018-11-01-events.csv";

fn world() -> World {
    World::new().with("source.settle", "200ms").with("source.poll", "200ms").with("write.window", "300")
}

fn assert_as_clean(world: &World, bytes: &str) {
    let clean = World::new();
    clean.drop_file(FILE, bytes);
    clean.once(0);
    assert_eq!(world.tables(), clean.tables());
    let (receipt, expected) = (world.receipt(FILE), clean.receipt(FILE));
    for field in ["state", "records", "loaded", "skipped", "quarantined", "closes", "bytes", "tables"] {
        assert_eq!(receipt[field], expected[field], "{field}: {receipt}");
    }
}

fn loaded(daemon: &Daemon) -> f64 {
    let name = "needledrop_deliveries_total{state=\"loaded\"}";
    daemon.metrics().get(name).copied().unwrap_or_default()
}

/// Whether a separate file system can be mounted. In CI this must be possible.
fn can_mount() -> bool {
    let mount = "mount -t tmpfs -o size=1m tmpfs /mnt";
    let tried =
        Command::new("unshare").args(["--user", "--map-root-user", "--mount", "sh", "-c", mount]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    assert!(can || std::env::var_os("CI").is_none(), "unshare --mount and a tmpfs do not work here");
    if !can {
        eprintln!("SKIPPED: unshare --mount and a tmpfs do not work here (util-linux, user namespaces)");
    }
    can
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_unsaved_is_reported() {
    if !can_mount() {
        return;
    }
    let world = world().with("store.sqlite.path", "small/store.db");
    fs::create_dir(world.path("small")).unwrap();
    // The free space is enough to begin with, but not enough for the file.
    let daemon = world.confined_daemon(
        true,
        "mount -t tmpfs -o size=24m tmpfs small\nhead -c 21m /dev/zero > small/ballast",
    );
    let inside = |name: &str| {
        let place = world.path("small").join(name);
        PathBuf::from(format!("/proc/{}/root", daemon.id())).join(place.strip_prefix("/").unwrap())
    };
    let bytes = csv(0..15_000);
    world.drop_file(FILE, &bytes);
    daemon.until_unready("full");
    assert_eq!(daemon.metrics()["needledrop_store_up"], 0.0);
    assert_eq!(loaded(&daemon), 0.0);
    // A new reader finds everything that the daemon reports as durable.
    let told = daemon.metrics()["needledrop_records_read_total"];
    assert!(told > 0.0, "the disk was full too soon");
    assert_eq!(f64::from(rows_of_copy(&inside, &world, "while-full.db")), told);
    fs::remove_file(inside("ballast")).unwrap();
    daemon.until_ready();
    until("the file is loaded", || (loaded(&daemon) == 1.0).then_some(()));
    rows_of_copy(&inside, &world, "store.db");
    drop(daemon);
    let world = world.with("store.sqlite.path", "store.db");
    assert_as_clean(&world, &bytes);
    assert_eq!(world.generations(FILE), 1);
}

/// Copies the store out of the daemon's file system. Returns the number of rows in its `session_item`.
fn rows_of_copy(inside: &impl Fn(&str) -> PathBuf, world: &World, name: &str) -> u32 {
    for suffix in ["", "-wal"] {
        fs::copy(inside(&format!("store.db{suffix}")), world.path(&format!("{name}{suffix}"))).unwrap();
    }
    let store = Connection::open(world.path(name)).unwrap();
    store.query_row("SELECT count(*) FROM session_item", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_store_that_another_process_locks_is_waited_for() {
    let world = world();
    let daemon = world.daemon();
    let lock = Connection::open(world.store()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let bytes = csv(0..1_000);
    world.drop_file(FILE, &bytes);
    daemon.until_unready("locked");
    assert_eq!(loaded(&daemon), 0.0);
    lock.execute_batch("ROLLBACK").unwrap();
    daemon.until_ready();
    until("the file is loaded", || (loaded(&daemon) == 1.0).then_some(()));
    assert_as_clean(&world, &bytes);
}

/// The daemon continues by itself. A single run reports the error, and the next run continues.
#[cfg_attr(not(debug_assertions), ignore = "fault points are in debug builds only")]
#[test]
fn a_read_error_in_the_middle_of_a_file_is_tried_again() {
    let bytes = csv(0..30_000);
    let world = world().with("write.window_bytes", "256KiB").with_variable("NEEDLEDROP_READ_ERRORS", "4,6");
    world.drop_file(FILE, &bytes);
    let summary = world.once(1);
    assert_eq!(summary["unreadable"], 1, "{summary}");
    let receipt = world.receipt(FILE);
    assert_eq!((&receipt["state"], &receipt["closes"]), (&json!("loading"), &json!(true)), "{receipt}");
    assert!(receipt["detail"].as_str().unwrap().contains("Input/output error"), "{receipt}");

    world.drop_file("2018-11-02-other.csv", csv(40_000..40_010));
    let daemon = world.daemon();
    until("both are loaded", || world.states().values().all(|state| state == "loaded").then_some(()));
    let told =
        daemon.log().lines().filter(|line| line.contains("cannot be read") && line.contains(FILE)).count();
    assert!(told <= 1, "{}", daemon.log());
    assert!(daemon.metrics()["needledrop_files_unreadable_total"] >= 1.0);
    assert_eq!(world.generations(FILE), 1);
    let clean = World::new();
    clean.drop_file(FILE, &bytes);
    clean.drop_file("2018-11-02-other.csv", csv(40_000..40_010));
    clean.once(0);
    assert_eq!(world.tables(), clean.tables());
}

/// Each case consists of its name, what is done to the store, and what is reported.
#[test]
fn a_damaged_ledger_is_refused_and_never_recreated() {
    type Damage = fn(&World);
    let cases: [(&str, Damage, &str); 5] = [
        ("emptied", |world| drop(fs::File::create(world.store()).unwrap()), "is empty"),
        (
            "cut",
            |world| {
                let file = fs::OpenOptions::new().write(true).open(world.store()).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            },
            "malformed",
        ),
        ("no database", |world| over(world, 0, b"%PDF-1.7"), "is not a needledrop store"),
        (
            "overwritten",
            |world| (1..20).for_each(|page| over(world, page * 4096, &[0xa5; 4096])),
            "malformed",
        ),
        (
            "a table gone",
            |world| {
                let store = Connection::open(world.store()).unwrap();
                store.execute_batch("DROP TABLE _needledrop_deliveries").unwrap();
            },
            "_needledrop_deliveries",
        ),
    ];
    for (name, damage, words) in cases {
        let world = world();
        world.drop_file(FILE, csv(0..3_000));
        world.once(0);
        damage(&world);
        let before = fs::read(world.store()).unwrap();
        let output = world.run(&["run", "--once"]);
        assert!(matches!(output.code, 2 | 3), "{name}: {output:?}");
        assert!(output.stderr.contains(words), "{name}: {output:?}");
        assert!(output.stderr.contains("next: "), "{name}: {output:?}");
        assert!(!output.stderr.contains("defect"), "{name}: {output:?}");
        assert!(fs::read(world.store()).unwrap() == before, "{name}: the store was changed");
    }
}

fn over(world: &World, offset: u64, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(world.store()).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_removed_store_is_recreated_and_reported() {
    let world = world();
    world.drop_file(FILE, csv(0..10));
    world.once(0);
    fs::remove_file(world.store()).unwrap();
    let output = world.run(&["run", "--once"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("no longer exists; a new one is created"), "{output:?}");
    assert_as_clean(&world, &csv(0..10));
}

#[test]
fn a_second_daemon_names_the_holder_of_the_store_and_a_later_daemon_takes_over() {
    let world = world();
    let first = world.daemon();
    world.drop_file(FILE, csv(0..20_000));
    until("it is in the middle", || (daemon_read(&first) > 0.0).then_some(()));
    let mut second = world.daemon_unready_with_log("second.log");
    assert_eq!(second.ended(), 3);
    assert!(second.log().contains(&format!("process {}", first.id())), "{}", second.log());
    first.signal(Signal::KILL);
    drop(first);
    let third = world.daemon();
    until("the file is loaded", || (world.states().get(FILE)? == "loaded").then_some(()));
    assert_as_clean(&world, &csv(0..20_000));
    assert_eq!(third.get("/healthz").unwrap().0, 200);
}

fn daemon_read(daemon: &Daemon) -> f64 {
    daemon.metrics().get("needledrop_records_read_total").copied().unwrap_or_default()
}
