//! Files of the store that are removed or replaced while it is open.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{World, until};
use crate::{csv, gone_from_inbox, keys, sql, world};

fn beside(world: &World, end: &str) -> PathBuf {
    let mut name = world.store().into_os_string();
    name.push(end);
    name.into()
}

fn remove(world: &World, ends: &[&str]) {
    ends.iter().for_each(|end| fs::remove_file(beside(world, end)).unwrap());
}

/// A world whose files are deleted after loading: a record that is not in the store by then is lost.
fn deleting() -> World {
    world().with("source.after", "delete")
}

fn is_sound(world: &World) {
    let store = world.open_store();
    let told: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(told, "ok");
}

#[test]
fn a_removed_store_is_noticed_and_nothing_leaves_the_inbox() {
    let world = deleting();
    let mut daemon = world.daemon();
    world.drop_file("a.csv", csv(&[(1, "a")]));
    gone_from_inbox(&world, "a.csv");
    remove(&world, &["", "-wal", "-shm"]);
    world.drop_file("b.csv", csv(&[(2, "b")]));
    daemon.until_unready("gone");
    assert_eq!(daemon.metrics()["needledrop_store_up"], 0.0);
    assert_eq!(
        daemon.metrics()["needledrop_deliveries_total{state=\"loaded\"}"],
        1.0,
        "only the first file counts as loaded"
    );
    std::thread::sleep(Duration::from_secs(3));
    assert!(world.inbox().join("b.csv").exists() && !world.store().exists(), "{}", daemon.log());
    assert!(daemon.log().contains("was removed while it was open"), "{}", daemon.log());
    // Only a restart creates a new store.
    assert_eq!(daemon.stop().0, 0);
    assert!(!world.store().exists(), "the daemon does not create a store by itself");
    let _daemon = world.daemon();
    gone_from_inbox(&world, "b.csv");
    assert_eq!(keys(&world), [2]);
}

#[test]
fn run_once_ends_with_the_next_step_when_its_store_is_removed() {
    let world = deleting().with("write.window", "1").with("write.queue", "1");
    let rows: Vec<(u32, &str)> = (0..50_000).map(|k| (k, "v")).collect();
    world.drop_file("a.csv", csv(&rows));
    let mut once = world.command(&["run", "--once"]);
    let once = once.stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("it loads", || (beside(&world, "-wal").metadata().ok()?.len() > 100_000).then_some(()));
    remove(&world, &["", "-wal", "-shm"]);
    let output = once.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("was removed while it was open") && told.contains("next: put it back"), "{told}");
    assert!(world.inbox().join("a.csv").exists());
    world.once(0);
    assert_eq!(keys(&world).len(), 50_000);
}

#[test]
fn loading_continues_when_the_store_is_put_back() {
    for files in [&[""][..], &["", "-wal", "-shm"]] {
        let world = deleting();
        let daemon = world.daemon();
        world.drop_file("a.csv", csv(&[(1, "a")]));
        gone_from_inbox(&world, "a.csv");
        for end in files {
            fs::rename(beside(&world, end), world.path(&format!("away{end}"))).unwrap();
        }
        world.drop_file("b.csv", csv(&[(2, "b")]));
        daemon.until_unready("gone");
        for end in files.iter().rev() {
            let away = world.path(&format!("away{end}"));
            fs::rename(away, beside(&world, end)).unwrap();
        }
        daemon.until_ready();
        gone_from_inbox(&world, "b.csv");
        assert_eq!(keys(&world), [1, 2], "{files:?}");
        is_sound(&world);
    }
}

#[test]
fn another_store_at_the_path_is_used_with_its_own_contents() {
    type Put = fn(&World);
    let cases: [(&str, Put); 3] = [
        ("by a rename", |world| fs::rename(world.path("backup.db"), world.store()).unwrap()),
        ("after a removal", |world| {
            remove(world, &["", "-wal", "-shm"]);
            fs::copy(world.path("backup.db"), world.store()).unwrap();
        }),
        ("over its bytes", |world| {
            fs::copy(world.path("backup.db"), world.store()).unwrap();
        }),
    ];
    for (what, put) in cases {
        let world = world();
        world.drop_file("a.csv", csv(&[(1, "a")]));
        world.once(0);
        fs::copy(world.store(), world.path("backup.db")).unwrap();
        let daemon = world.daemon();
        // Enough rows to reach the file itself and not only its log.
        let many: Vec<(u32, &str)> = (10..2_000).map(|k| (k, "b")).collect();
        world.drop_file("b.csv", csv(&many));
        world.wait_for("b.csv", "loaded");
        sql(&world, "PRAGMA wal_checkpoint");
        // The daemon looks every second.
        std::thread::sleep(Duration::from_millis(1_500));
        put(&world);
        daemon.until_unready("gone");
        world.drop_file("c.csv", csv(&[(3, "c")]));
        daemon.until_ready();
        world.wait_for("b.csv", "loaded");
        world.wait_for("c.csv", "loaded");
        assert_eq!(keys(&world).len(), 1 + many.len() + 1, "{what}");
        is_sound(&world);
    }
}

/// Commits in a log that was removed would be lost when the process ends.
#[test]
fn a_removed_log_loses_nothing() {
    let world = deleting();
    let daemon = world.daemon();
    world.drop_file("a.csv", csv(&[(1, "a")]));
    gone_from_inbox(&world, "a.csv");
    remove(&world, &["-wal", "-shm"]);
    world.drop_file("b.csv", csv(&[(2, "b")]));
    gone_from_inbox(&world, "b.csv");
    daemon.signal(Signal::KILL);
    drop(daemon);
    assert_eq!(keys(&world), [1, 2]);
    is_sound(&world);
}

#[test]
fn removing_the_lock_file_does_not_let_two_processes_write() {
    let world = world().with("write.window", "50");
    let mut first = world.daemon();
    let rows: Vec<(u32, &str)> = (0..20_000).map(|k| (k, "v")).collect();
    world.drop_file("a.csv", csv(&rows));
    until("it is in the middle", || (first.metrics()["needledrop_records_read_total"] > 0.0).then_some(()));
    remove(&world, &["-writer"]);
    let mut second = world.daemon_unready_with_log("second.log");
    world.wait_for("a.csv", "loaded");
    until("one of them has it", || {
        let ready =
            |daemon: &crate::common::Daemon| daemon.get("/readyz").is_some_and(|(code, _)| code == 200);
        (ready(&first) != ready(&second)).then_some(())
    });
    assert_eq!(keys(&world).len(), 20_000);
    assert_eq!(world.generations("a.csv"), 1);
    let log = first.log() + &second.log();
    assert!(!log.contains("defect"), "{log}");
    // The process without the lock may have ended.
    let _ = (first.runs(), second.runs());
}

/// When a process closes a file, it releases all locks that it has on that file, including those of SQLite.
#[test]
fn a_rejected_configuration_does_not_release_the_locks_of_the_store() {
    let world = world();
    let daemon = world.daemon();
    world.drop_file("a.csv", csv(&[(1, "a")]));
    world.wait_for("a.csv", "loaded");
    let other = crate::YAML.replace("v: text", "v: int");
    fs::write(world.path("config.yaml"), other).unwrap();
    until("it is refused", || daemon.log().contains("reload rejected").then_some(()));
    fs::write(world.path("config.yaml"), crate::YAML).unwrap();
    // A program that takes itself for the last user of the store removes the log when it closes the store.
    sql(&world, "SELECT count(*) FROM t");
    assert!(beside(&world, "-wal").exists(), "the write-ahead log of a running daemon still exists");
    world.drop_file("b.csv", csv(&[(2, "b")]));
    world.wait_for("b.csv", "loaded");
    daemon.signal(Signal::KILL);
    drop(daemon);
    assert_eq!(keys(&world), [1, 2]);
}
