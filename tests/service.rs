//! Tests of what the daemon reports to a service manager (`sd_notify`). They listen on a socket of their own, so no
//! systemd is needed. `make test-service` uses a real systemd.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "service/manager.rs"]
mod manager;

use std::fs;
use std::time::{Duration, Instant};

use common::{World, csv, until};
use manager::Manager;
use rusqlite::Connection;
use rustix::process::Signal;

const WATCHDOG: Duration = Duration::from_secs(2);

fn world() -> World {
    World::new().with("source.settle", "100ms").with("source.poll", "200ms").with("shutdown.grace", "1s")
}

fn lock(world: &World, how: &str) -> Connection {
    let store = Connection::open(world.store()).unwrap();
    store.execute_batch(how).unwrap();
    store
}

#[test]
fn the_daemon_reports_when_it_is_ready_what_it_does_and_that_it_stops() {
    let world = world();
    let manager = Manager::new(&world, None);
    let mut daemon = manager.start(&world);
    manager.hears("READY=1");
    assert_eq!(daemon.get("/readyz").unwrap().0, 200, "READY=1 is sent only when /readyz agrees");
    manager.hears("STATUS=ready; no files waiting");
    assert_eq!(daemon.stop().0, 0);
    manager.hears("STOPPING=1");
    let told = manager.told();
    assert_eq!(told.iter().filter(|word| *word == "READY=1").count(), 1, "{told:?}");
    assert!(!told.iter().any(|word| word.starts_with("WATCHDOG")), "no watchdog is configured: {told:?}");
}

#[test]
fn a_daemon_with_an_invalid_configuration_is_never_ready() {
    let world = World::of("tables: 1\n");
    let manager = Manager::new(&world, None);
    assert_eq!(manager.start(&world).ended(), 2);
    assert!(manager.told().is_empty(), "{:?}", manager.told());
}

#[test]
fn every_reload_is_reported_from_start_to_end_whatever_its_outcome() {
    let yaml = |table: &str| {
        format!(
            "source: {{ columns: {{ song: text, userId: int }} }}\n\
             tables: {{ {table}: {{ partition_key: [song], clustering_key: [userId] }} }}\n"
        )
    };
    let world = World::of(&yaml("songs"));
    let manager = Manager::new(&world, None);
    let daemon = manager.start(&world);
    manager.hears("READY=1");
    for changed in [yaml("songs"), "tables: 1\n".to_owned(), yaml("others")] {
        let before = manager.told().len();
        fs::write(world.path(".next"), &changed).unwrap();
        fs::rename(world.path(".next"), world.path("config.yaml")).unwrap();
        daemon.signal(Signal::HUP);
        let told = until("the reload is over", || {
            let told = manager.told().split_off(before);
            told.iter().any(|word| word == "READY=1").then_some(told)
        });
        let words: Vec<_> = told.iter().filter(|word| !word.starts_with("STATUS=")).collect();
        let [reloading, since, ready] = words[..] else { panic!("{told:?}") };
        assert_eq!((reloading.as_str(), ready.as_str()), ("RELOADING=1", "READY=1"));
        let since: u64 = since.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        assert!(Duration::from_micros(since) <= Duration::from_secs(now.tv_sec.unsigned_abs() + 1));
    }
    until("the new table is there", || world.tables().contains_key("others").then_some(()));
}

#[test]
fn a_locked_store_does_not_keep_the_daemon_from_being_ready_or_alive() {
    let world = world();
    world.once(0);
    // With this lock no other process can even read.
    let locked = lock(&world, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    let manager = Manager::new(&world, Some(WATCHDOG));
    let daemon = manager.start(&world);
    manager.hears("READY=1");
    manager.hears("STATUS=waiting for the store (locked)");
    assert_eq!(daemon.get("/readyz").unwrap().0, 503);
    manager.is_fed_for(WATCHDOG * 2, WATCHDOG);
    drop(locked);
    manager.hears("STATUS=ready; no files waiting");
}

#[test]
fn a_daemon_that_waits_for_the_store_in_mid_file_feeds_the_watchdog() {
    let world = world().with("write.window", "100").with("source.files_at_once", "2");
    let manager = Manager::new(&world, Some(WATCHDOG));
    let daemon = manager.start(&world);
    manager.hears("STATUS=ready; no files waiting");
    let locked = lock(&world, "BEGIN IMMEDIATE");
    for n in 0..6 {
        world.drop_file(&format!("{n}.csv"), csv(n * 1000..n * 1000 + 1000));
    }
    manager.hears("STATUS=waiting for the store (locked)");
    manager.is_fed_for(WATCHDOG * 2, WATCHDOG);
    drop(locked);
    until("all are loaded", || {
        let loaded = daemon.metrics()["needledrop_deliveries_total{state=\"loaded\"}"];
        (loaded == 6.0).then_some(())
    });
    manager.hears("STATUS=ready; no files waiting");
    manager.is_fed_for(WATCHDOG, WATCHDOG);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "stages get stuck in debug builds only")]
fn a_stuck_stage_stops_the_feeding_of_the_watchdog_and_is_named() {
    for stage in ["discover", "read", "transform", "write"] {
        let world = world().with_variable("NEEDLEDROP_STUCK", "stuck");
        let manager = Manager::new(&world, Some(WATCHDOG));
        let mut daemon = manager.start(&world);
        manager.hears("STATUS=ready; no files waiting");
        manager.is_fed_for(WATCHDOG / 2, WATCHDOG);
        fs::write(world.path("stuck"), stage).unwrap();
        world.drop_file("1.csv", csv(0..10));
        manager.hears(&format!("STATUS=stuck: no answer from {stage}"));
        let since = manager.last_fed();
        std::thread::sleep(WATCHDOG);
        assert_eq!(manager.last_fed(), since, "the watchdog is fed although {stage} is stuck");
        assert!(since.elapsed() >= WATCHDOG);
        assert!(daemon.log().contains(&format!("no answer from {stage}; ")), "{}", daemon.log());
        assert_eq!(daemon.stop().0, 4, "a daemon with a stuck stage still stops on SIGTERM");
        // Nothing is lost.
        world.once(0);
        assert_eq!(world.receipt("1.csv")["loaded"], 10);
    }
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let world = world().with_variable("WATCHDOG_PID", "1");
    let manager = Manager::new(&world, Some(WATCHDOG));
    let _daemon = manager.start(&world);
    manager.hears("STATUS=ready; no files waiting");
    let began = Instant::now();
    while began.elapsed() < WATCHDOG {
        assert!(!manager.told().contains(&"WATCHDOG=1".to_owned()));
        std::thread::sleep(Duration::from_millis(100));
    }
}
