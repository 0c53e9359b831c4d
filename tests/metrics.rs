//! Tests that `/metrics` of a real daemon has what is declared, with the right values.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{Daemon, World, csv, until};
use needledrop::metrics::declared::{ALL, Kind};
use rusqlite::Connection;

/// The mark in the help of metrics that only the Cassandra store has.
const CLUSTER: &str = "(the Cassandra store only)";

fn world() -> World {
    World::new().with("source.settle", "200ms").with("source.poll", "200ms").with("write.window", "50")
}

fn value(daemon: &Daemon, name: &str) -> f64 {
    daemon.metrics().get(&format!("needledrop_{name}")).copied().unwrap_or_else(|| panic!("no {name}"))
}

fn until_loaded(daemon: &Daemon, files: f64) {
    until("all is loaded", || (value(daemon, "deliveries_total{state=\"loaded\"}") == files).then_some(()));
}

/// Returns the names on the page, without the suffixes of histograms.
fn names(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn exactly_the_declared_metrics_are_exposed() {
    let world = world();
    let daemon = world.daemon();
    world.drop_file("1.csv", format!("{}A,Ann,F,x,Lee,1.5,free,X,7,S,3\n", csv(0..200)));
    until_loaded(&daemon, 1.0);
    let (_, page) = daemon.get("/metrics").unwrap();
    let found = names(&page);
    for metric in ALL {
        assert_eq!(found.contains(metric.name), !metric.help.contains(CLUSTER), "{}", metric.name);
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let told = format!("# TYPE {} {kind}\n# ", metric.name);
        assert!(metric.help.contains(CLUSTER) || page.contains(told.trim_end_matches("# ")), "{told}");
        assert!(metric.help.contains(CLUSTER) || page.contains(&format!("# HELP {}", metric.name)));
    }
    let declared: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
    let unknown: Vec<_> = found.iter().filter(|name| !declared.contains(name.as_str())).collect();
    assert!(unknown.iter().all(|name| name.starts_with("needledrop_process_")), "{unknown:?}");
    // CPU time is in whole seconds, and a young daemon has used none.
    assert!(value(&daemon, "process_cpu_seconds_total") >= 0.0);
    for name in ["resident_memory_bytes", "open_fds", "start_time_seconds"] {
        assert!(value(&daemon, &format!("process_{name}")) > 0.0, "{name}");
    }
    // The size is measured every five seconds.
    until("the size of the store is told", || (value(&daemon, "store_bytes") > 4096.0).then_some(()));
    for stage in ["discover", "read", "transform", "write"] {
        assert!(value(&daemon, &format!("stage_seconds_count{{stage=\"{stage}\"}}")) > 0.0, "{stage}");
    }
    for queue in ["chunks", "rows"] {
        assert!(value(&daemon, &format!("queue_wait_seconds_count{{queue=\"{queue}\"}}")) > 0.0, "{queue}");
    }
}

#[test]
fn open_records_of_the_quarantine_are_counted_over_restarts_and_growth() {
    let world = world();
    let mut daemon = world.daemon();
    let bad = "A,Ann,F,x,Lee,1.5,free,X,7,S,3\n";
    world.drop_file("1.csv", format!("{}{bad}{bad}", csv(0..20)));
    until_loaded(&daemon, 1.0);
    assert_eq!(value(&daemon, "quarantine_open"), 2.0);
    assert_eq!(daemon.stop().0, 0);
    let daemon = world.daemon();
    assert_eq!(value(&daemon, "quarantine_open"), 2.0);
    // A last record without a line end is refused. Then the file grows into a new generation, and the first
    // generation still counts.
    world.drop_file("2.csv", format!("{}A,Ann,F,1,Lee,1.5,free,X,7,S,", csv(20..30)));
    until_loaded(&daemon, 1.0);
    assert_eq!(value(&daemon, "quarantine_open"), 3.0);
    assert_eq!(value(&daemon, "deliveries_unterminated_total"), 1.0);
    world.append("2.csv", "3\n");
    until_loaded(&daemon, 2.0);
    assert_eq!(value(&daemon, "quarantine_open"), 3.0);
    assert_eq!(world.receipt("2.csv")["generation"], 2);
    let listed = world.json(&["quarantine", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 3);
}

#[test]
fn a_file_dropped_while_the_store_is_locked_is_counted_as_waiting() {
    let world = world();
    let daemon = world.daemon();
    let lock = Connection::open(world.store()).unwrap();
    until("the store is free", || lock.execute_batch("BEGIN IMMEDIATE").ok());
    let text = csv(0..2_000);
    world.drop_file("1.csv", &text);
    until("it waits", || (value(&daemon, "backlog_files") == 1.0).then_some(()));
    until("it has waited", || (value(&daemon, "oldest_waiting_seconds") > 1.0).then_some(()));
    assert_eq!(value(&daemon, "store_up"), 0.0);
    #[expect(clippy::cast_precision_loss, reason = "a few kilobytes")]
    let bytes = text.len() as f64;
    assert_eq!(value(&daemon, "backlog_bytes"), bytes);
    lock.execute_batch("ROLLBACK").unwrap();
    until_loaded(&daemon, 1.0);
    until("nothing waits", || (value(&daemon, "backlog_files") == 0.0).then_some(()));
}

#[test]
fn the_ledger_lags_only_while_the_store_is_locked() {
    let world = world();
    let daemon = world.daemon();
    world.drop_file("1.csv", csv(0..2_000));
    until_loaded(&daemon, 1.0);
    assert_eq!(value(&daemon, "ledger_lag_bytes"), 0.0);
    let lock = Connection::open(world.store()).unwrap();
    world.drop_file("2.csv", csv(2_000..20_000));
    let busy = || lock.execute_batch("BEGIN IMMEDIATE").is_err();
    lock.busy_timeout(std::time::Duration::ZERO).unwrap();
    until("it is under way", || (value(&daemon, "deliveries_total{state=\"loading\"}") == 2.0).then_some(()));
    while busy() {}
    until("what was read waits", || (value(&daemon, "ledger_lag_bytes") > 0.0).then_some(()));
    until("the store is not up", || (value(&daemon, "store_up") == 0.0).then_some(()));
    lock.execute_batch("ROLLBACK").unwrap();
    until_loaded(&daemon, 2.0);
    assert_eq!(value(&daemon, "ledger_lag_bytes"), 0.0);
    assert_eq!(value(&daemon, "requests_in_flight"), 0.0);
}

#[test]
fn one_series_identifies_the_build() {
    let world = World::new();
    let version = world.run(&["--version"]).stdout;
    let (version, commit) = version.trim().strip_prefix("needledrop ").unwrap().split_once(' ').unwrap();
    let commit = commit.trim_matches(['(', ')']);
    assert!(commit == "unknown" || commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
    let metrics = world.daemon().metrics();
    let builds: Vec<_> = metrics.keys().filter(|name| name.starts_with("needledrop_build_info")).collect();
    assert_eq!(builds, [&format!("needledrop_build_info{{version=\"{version}\",commit=\"{commit}\"}}")]);
}
