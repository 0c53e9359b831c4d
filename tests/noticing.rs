//! Tests that files are noticed however they arrive, and also without events from the system.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use common::{Daemon, World, can_confine, csv, events, until};
use rustix::process::Signal;
use serde_json::json;

/// Returns a world that depends on events, because the next listing is an hour away.
fn by_events() -> World {
    World::new().with("source.settle", "200ms").with("source.poll", "1h")
}

fn by_listing() -> World {
    World::new().with("source.settle", "200ms").with("source.poll", "200ms")
}

fn warnings(daemon: &Daemon, of: &str) -> usize {
    daemon.log().lines().filter(|line| line.contains("WARN") && line.contains(of)).count()
}

#[test]
fn a_listing_makes_up_for_events_that_the_system_dropped() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let room: usize = limit.trim().parse().unwrap();
    let world = by_events();
    let daemon = world.daemon();
    daemon.signal(Signal::STOP);
    // Two names in turn, because the system reports the same event twice in a row only once. Each write is at least
    // an open, a change and a close.
    for n in 0..room / 3 + 100 {
        fs::write(world.inbox().join(format!("noise-{}.txt", n % 2)), "x").unwrap();
    }
    // No event reports this file.
    world.drop_file("quiet.csv", csv(0..3));
    daemon.signal(Signal::CONT);
    world.wait_for("quiet.csv", "loaded");
}

#[test]
fn without_events_the_daemon_warns_once_and_lists_the_folder() {
    if !can_confine() {
        return;
    }
    let world = by_listing();
    let daemon = world.confined_daemon(true, "echo 0 > /proc/sys/user/max_inotify_instances");
    for n in 0..3 {
        let name = format!("{n}.csv");
        world.drop_file(&name, csv(n..n + 1));
        world.wait_for(&name, "loaded");
    }
    assert_eq!(warnings(&daemon, "the system sends no events"), 1, "{}", daemon.log());
}

#[test]
fn a_recreated_folder_is_watched_again() {
    let world = World::new().with("source.settle", "200ms").with("source.poll", "1s");
    let daemon = world.daemon();
    world.drop_file("1.csv", csv(0..3));
    world.wait_for("1.csv", "loaded");
    fs::remove_dir_all(world.inbox()).unwrap();
    daemon.until_unready("inbox");
    fs::create_dir(world.inbox()).unwrap();
    world.drop_file("2.csv", csv(3..6));
    world.wait_for("2.csv", "loaded");
    daemon.until_ready();
    // This file must be noticed by the events of the new folder.
    world.drop_file(".3", csv(6..9));
    fs::rename(world.inbox().join(".3"), world.inbox().join("3.csv")).unwrap();
    world.wait_for("3.csv", "loaded");
    assert_eq!(world.generations("1.csv"), 1);
}

/// The share leaves an empty mount point, and then comes back with the same files.
#[test]
fn a_share_that_disappears_and_comes_back_is_not_loaded_again() {
    let world = by_listing();
    let daemon = world.daemon();
    world.drop_file("whole.csv", csv(0..3));
    world.drop_file("half.csv", format!("{}Artist 9,Ann", csv(3..6)));
    world.wait_for("whole.csv", "loaded");
    world.wait_for("half.csv", "incomplete");
    let away = world.path("away");
    fs::rename(world.inbox(), &away).unwrap();
    fs::create_dir(world.inbox()).unwrap();
    world.wait_for("half.csv", "replaced");
    assert_eq!(world.states()["whole.csv"], "loaded");
    fs::remove_dir(world.inbox()).unwrap();
    fs::rename(&away, world.inbox()).unwrap();
    world.wait_for("half.csv", "incomplete");
    world.append("half.csv", ",F,9,Lee,100.5,free,\"X, Y\",7,Song 9,3\n");
    world.wait_for("half.csv", "loaded");
    assert_eq!(world.receipt("half.csv")["loaded"], 4);
    assert_eq!((world.generations("whole.csv"), world.generations("half.csv")), (1, 1));
    assert_eq!(daemon.get("/readyz").unwrap().0, 200);
}

#[test]
fn a_file_arrives_when_its_temporary_name_is_changed() {
    let world = by_events().with("source.pattern", "[\"*\"]");
    let _daemon = world.daemon();
    let names =
        [".1.csv.Xk3Q9z", "2.csv.part", "3.csv.crdownload", "~$4.csv", "5.csv~", "#6.csv#", "7.csv.tmp"];
    for (name, n) in names.iter().zip(0..) {
        world.drop_file(name, csv(n..n + 1));
    }
    world.drop_file("seen", csv(100..101));
    world.wait_for("seen", "loaded");
    for (name, n) in names.iter().zip(1..) {
        fs::rename(world.inbox().join(name), world.inbox().join(format!("{n}.csv"))).unwrap();
        world.wait_for(&format!("{n}.csv"), "loaded");
    }
    assert_eq!(world.states().len(), names.len() + 1);
}

#[test]
fn a_link_to_a_file_is_loaded_and_a_link_to_a_folder_is_not_followed() {
    let world = by_listing();
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::write(world.path("elsewhere/1.csv"), csv(0..3)).unwrap();
    fs::write(world.path("elsewhere/2.csv"), csv(3..5)).unwrap();
    let link = world.inbox().join("linked.csv");
    symlink(world.path("elsewhere/1.csv"), &link).unwrap();
    symlink(world.path("elsewhere"), world.inbox().join("folder")).unwrap();
    symlink(world.path("elsewhere/none.csv"), world.inbox().join("dangling.csv")).unwrap();
    // A link to the inbox itself. Following it would never end.
    symlink(world.inbox(), world.inbox().join("loop")).unwrap();
    let _daemon = world.daemon();
    world.wait_for("linked.csv", "loaded");
    assert_eq!(world.states().len(), 1, "{:?}", world.states());
    // The link now leads to other bytes.
    fs::remove_file(&link).unwrap();
    symlink(world.path("elsewhere/2.csv"), &link).unwrap();
    until("the other bytes are loaded", || (world.generations("linked.csv") == 2).then_some(()));
    world.wait_for("linked.csv", "loaded");
    // The file at the other end of the link grows.
    let mut file = fs::OpenOptions::new().append(true).open(world.path("elsewhere/2.csv")).unwrap();
    file.write_all(events(5..6).as_bytes()).unwrap();
    until("the growth is loaded", || (world.receipt("linked.csv")["loaded"] == 3).then_some(()));
    assert_eq!(world.states().len(), 1, "{:?}", world.states());
}

#[test]
fn an_unreadable_file_is_reported_once_and_loaded_as_soon_as_it_is_readable() {
    if !can_confine() {
        return;
    }
    let world = by_events();
    world.drop_file("1.csv", csv(0..3));
    fs::set_permissions(world.inbox().join("1.csv"), fs::Permissions::from_mode(0o000)).unwrap();
    world.drop_file("2.csv", csv(3..6));
    let daemon = world.confined_daemon(false, "");
    world.wait_for("2.csv", "loaded");
    until("it is told", || (warnings(&daemon, "1.csv") == 1).then_some(()));
    assert!(daemon.metrics()["needledrop_files_unreadable_total"] >= 1.0);
    fs::set_permissions(world.inbox().join("1.csv"), fs::Permissions::from_mode(0o644)).unwrap();
    world.wait_for("1.csv", "loaded");
    assert_eq!(warnings(&daemon, "1.csv"), 1, "{}", daemon.log());
    let known: Vec<_> = world.states().into_keys().collect();
    assert_eq!(json!(known), json!(["1.csv", "2.csv"]));
}
