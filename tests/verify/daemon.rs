//! The daemon verifies while it is idle.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::common::{Daemon, World, until};
use crate::{YAML, loaded};

fn verifying(world: World, verify: &str) -> World {
    fs::write(world.path("config.yaml"), format!("{YAML}verify: {verify}\n")).unwrap();
    world.with("source.settle", "100ms").with("source.poll", "100ms")
}

fn wrong(daemon: &Daemon, table: &str, kind: &str) -> f64 {
    daemon.metric(&format!("verify_wrong_rows{{table=\"{table}\",kind=\"{kind}\"}}"))
}

fn ended(daemon: &Daemon, outcome: &str) -> f64 {
    daemon.metric(&format!("verifications_total{{outcome=\"{outcome}\"}}"))
}

fn change(world: &World, sql: &str) {
    rusqlite::Connection::open(world.store()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_changed_row_is_in_metrics_log_and_status_until_it_is_right_again() {
    let world = verifying(loaded(), "{ sample: 100%, every: 100ms }");
    let mut daemon = world.daemon();
    until("it has verified", || (ended(&daemon, "completed") > 0.0).then_some(()));
    assert_eq!(world.json(&["status"])["verified"]["tables"][0]["rows"], 4);
    change(&world, "UPDATE t SET v = 'other' WHERE k = 2; DELETE FROM u WHERE k = 3");
    until("the rows are found", || {
        (wrong(&daemon, "t", "different") == 1.0 && wrong(&daemon, "u", "missing") == 1.0).then_some(())
    });
    let text = world.run(&["status"]).stdout;
    for line in ["t: 0 missing, 1 different, 0 extra", "u: 1 missing, 0 different, 0 extra"] {
        assert!(text.contains(&format!("verified {line}; `needledrop verify")), "{line}\n{text}");
    }
    let verified = &world.json(&["status"])["verified"];
    assert_eq!((&verified["sample"], &verified["tables"][1]["missing"]), (&json!("100 %"), &json!(1)));
    let log = daemon.log();
    assert!(log.contains("the row of this record is wrong") && log.contains("2.csv"), "{log}");
    assert_eq!(daemon.stop().0, 0);
    // The result is in the store: another daemon shows it before it verifies.
    let world = verifying(world, "{ sample: 1%, every: 24h }");
    let daemon = world.daemon();
    until("the last result is shown", || (wrong(&daemon, "t", "different") == 1.0).then_some(()));
    assert!(daemon.metric("last_verified_timestamp_seconds") > 1e9);
    assert_eq!(ended(&daemon, "completed"), 0.0);
    change(&world, "UPDATE t SET v = 'b' || char(10) || 'b' WHERE k = 2");
    // The file is read again a second after it changed, and the next verification is then due.
    let world = verifying(world, "{ sample: 100%, every: 100ms }");
    until("it has verified again", || (ended(&daemon, "completed") > 0.0).then_some(()));
    until("one table is right", || {
        (wrong(&daemon, "t", "different") == 0.0 && wrong(&daemon, "u", "missing") == 1.0).then_some(())
    });
    assert!(world.run(&["status"]).stdout.contains("verified u: 1 missing"));
}

/// Whether the daemon has a scratch file open. Its name is removed at once.
fn is_verifying(daemon: &Daemon) -> Option<()> {
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().filter_map(Result::ok);
    let mut open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    open.any(|file| file.to_string_lossy().contains("needledrop-verify-")).then_some(())
}

/// Returns the files in the folder for scratch files.
fn scratch(world: &World) -> Vec<PathBuf> {
    fs::read_dir(world.path("scratch")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn rows_that_are_loaded_meanwhile_are_not_reported() {
    let world = loaded();
    fs::create_dir(world.path("scratch")).unwrap();
    // A verification takes at least two seconds.
    let world = verifying(world, "{ sample: 100%, every: 1ms, rows_per_second: 10, scratch: scratch }");
    let daemon = world.daemon();
    for name in ["3.csv", "4.csv"] {
        until("it verifies", || is_verifying(&daemon));
        world.drop_file(name, format!("k,v,at,x\n1,{name},,\n2,{name},2024-01-01,7\n9,{name},,\n"));
        world.wait_for(name, "loaded");
    }
    let before = ended(&daemon, "interrupted");
    assert!(before > 0.0, "{}", daemon.log());
    until("all is verified", || {
        let kinds = ["missing", "different", "extra"].map(|kind| wrong(&daemon, "t", kind));
        assert_eq!(kinds, [0.0; 3], "{}", daemon.log());
        let verified = &world.json(&["status"])["verified"];
        (verified["deliveries"] == 4).then_some(())
    });
    assert_eq!(world.json(&["status"])["verified"]["tables"][0]["rows"], 5);
}

#[test]
fn a_verification_delays_neither_loading_nor_the_shutdown() {
    let world = loaded();
    fs::create_dir(world.path("scratch")).unwrap();
    // A page of rows takes hours at this rate.
    let world = verifying(world, "{ sample: 100%, rows_per_second: 1, scratch: scratch }");
    let rows: String = (100..10_000).map(|k| format!("{k},many,,\n")).collect();
    world.drop_file("many.csv", format!("k,v,at,x\n{rows}"));
    let mut daemon = world.daemon();
    world.wait_for("many.csv", "loaded");
    until("it verifies", || is_verifying(&daemon));
    world.drop_file("next.csv", "k,v,at,x\n7,next,,\n");
    world.wait_for("next.csv", "loaded");
    until("the verification ended early", || (ended(&daemon, "interrupted") > 0.0).then_some(()));
    until("it verifies again", || is_verifying(&daemon));
    let (code, took) = daemon.stop();
    assert!(code == 0 && took < Duration::from_secs(5), "{code} after {took:?}: {}", daemon.log());
    assert_eq!(scratch(&world), Vec::<PathBuf>::new());
    assert_eq!(world.json(&["status"])["verified"], json!(null));
    assert!(world.run(&["status"]).stdout.contains("verified nothing yet"));
}
