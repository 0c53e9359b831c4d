//! Tests of monitoring: metrics, rules, alerts and dashboards are complete, agree with each other, and show the true
//! state when a real Prometheus scrapes a real daemon.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

#[allow(dead_code, reason = "the tests of the Cassandra store use all of it")]
#[path = "cassandra/place.rs"]
mod place;

#[path = "monitoring/boards.rs"]
mod boards;
#[path = "monitoring/live.rs"]
mod live;
#[path = "monitoring/load.rs"]
mod load;
#[path = "monitoring/prometheus.rs"]
mod prometheus;
#[path = "monitoring/rules.rs"]
mod rules;
#[path = "monitoring/sizes.rs"]
mod sizes;

use std::path::PathBuf;

/// Returns the path of a file of the tree.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
