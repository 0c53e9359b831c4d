//! Stamps left by a clock that was once ahead (law 2).

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::common::World;
use crate::{csv, keys, sql, world};

/// A world with one file that was loaded while the clock was a year ahead.
fn a_year_ahead() -> World {
    let world = world().with("store.patience", "2s");
    world.drop_file("a.csv", csv(&[(1, "a")]));
    world.once(0);
    let year = "365 * 86400000000";
    sql(
        &world,
        &format!("UPDATE _needledrop_stamps SET base = base + {year}; UPDATE t SET _stamp = _stamp + {year}"),
    );
    world.drop_file("b.csv", csv(&[(1, "b"), (2, "b")]));
    world
}

fn stamps(store: &Connection) -> Vec<i64> {
    let mut statement = store.prepare("SELECT _stamp FROM t ORDER BY k").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_daemon_that_waits_for_the_clock_is_not_ready_and_says_why() {
    let world = a_year_ahead();
    let mut daemon = world.daemon_unready_with_log("stderr.log");
    daemon.until_unready("clock");
    assert!(daemon.metrics()["needledrop_write_retries_total{table=\"*\",reason=\"clock\"}"] > 0.0);
    assert!(daemon.log().contains("ahead of the clock"), "{}", daemon.log());
    assert_eq!(daemon.stop().0, 0);
    assert_eq!(keys(&world), [1]);
}

#[test]
fn run_once_and_load_give_up_after_their_patience() {
    let world = a_year_ahead();
    for command in [&["run", "--once"][..], &["load", "inbox/b.csv"]] {
        let began = Instant::now();
        let output = world.run(command);
        assert_eq!(output.code, 3, "{output:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(output.stderr.contains("next: correct the clock"), "{output:?}");
    }
}

#[test]
fn check_says_how_far_stamps_are_ahead() {
    let mut world = a_year_ahead();
    let check = world.run(&["check"]);
    assert_eq!(check.code, 3, "{check:?}");
    assert!(
        check.stdout.contains("WRONG  stamps") && check.stdout.contains("next: correct the clock"),
        "{check:?}"
    );
    world.set("store.stamps_ahead", "accept");
    let check = world.run(&["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.stdout.contains("s ahead of the clock"), "{check:?}");
}

#[test]
fn with_consent_loading_continues_above_all_existing_stamps() {
    let world = a_year_ahead().with("store.stamps_ahead", "accept");
    let daemon = world.daemon();
    world.wait_for("b.csv", "loaded");
    daemon.until_ready();
    let before = stamps(&world.open_store());
    assert_eq!(world.query("t", &["k=1"]), [[serde_json::json!(1), serde_json::json!("b")]]);
    world.drop_file("c.csv", csv(&[(3, "c")]));
    world.wait_for("c.csv", "loaded");
    let after = stamps(&world.open_store());
    assert!(after[2] > *before.iter().max().unwrap());
}

/// Follows the steps of docs/runbook.md.
#[test]
fn a_new_store_begins_at_the_clock_with_the_kept_files() {
    let world = a_year_ahead();
    std::fs::rename(world.store(), world.path("ahead.db")).unwrap();
    world.once(0);
    assert_eq!(keys(&world), [1, 2]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let newest = stamps(&world.open_store()).into_iter().max().unwrap();
    assert!(u128::try_from(newest).unwrap() < now + 1_000_000);
}
