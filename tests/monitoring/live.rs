//! Tests of a real Prometheus that scrapes real daemons under load: every panel of every dashboard shows the right
//! values.

use std::process::{Command, Stdio};

use serde_json::Value as Json;

use super::boards::{BOARDS, board, panels};
use super::load;
use super::prometheus::{Prometheus, tool};
use super::rules::rules;
use super::sizes::{self, Of};
use crate::common::World;
use crate::place::Place;

/// Returns a query as Grafana fills it in. The load is short, so rates are over a short time.
fn asked(question: &str, instance: &str) -> String {
    let filled = question.replace("$job", ".+").replace("$instance", instance).replace("$table", ".+");
    let filled = filled.replace("$feed", ".*");
    let filled = filled.replace("$__rate_interval", "10s").replace("$__range", "5m");
    assert!(!filled.contains('$'), "{filled}");
    filled
}

#[test]
fn promtool_finds_no_fault_in_the_metrics_of_a_real_daemon() {
    let Some(promtool) = tool("promtool") else { return };
    let world = load::world();
    let daemon = world.daemon();
    load::drop_all(&[&world]);
    load::until_all_ended(&daemon);
    let (_, page) = daemon.get("/metrics").unwrap();
    std::fs::write(world.path("page"), page).unwrap();
    let page = std::fs::File::open(world.path("page")).unwrap();
    let output = Command::new(promtool).args(["check", "metrics"]).stdin(Stdio::from(page)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty() && output.stdout.is_empty(), "{said}");
}

#[test]
fn every_panel_shows_the_right_values_while_real_daemons_load() {
    let sqlite = load::world();
    let daemon = sqlite.daemon();
    let place = Place::new().map(|place| {
        load::SETTINGS.into_iter().fold(place, |place, (setting, value)| place.with(setting, value))
    });
    let other = place.as_ref().map(|place| place.daemon());
    let ports: Vec<_> =
        [Some(daemon.port), other.as_ref().map(|other| other.port)].into_iter().flatten().collect();
    let Some(prometheus) = Prometheus::start(&ports) else { return };
    let worlds: Vec<&World> = [Some(&sqlite), place.as_deref()].into_iter().flatten().collect();
    load::drop_all(&worlds);
    load::until_all_ended(&daemon);
    other.iter().for_each(load::until_all_ended);
    load::lock(&sqlite, &daemon, 3);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let instance = |port: u16| format!("127.0.0.1:{port}");
    let daemons = if other.is_some() { 2.0 } else { 1.0 };
    compare(&prometheus, ".+", daemons, |of| of != Of::Cassandra || other.is_some());
    compare(&prometheus, &instance(daemon.port), 1.0, |of| of != Of::Cassandra);
    if let Some(other) = &other {
        compare(&prometheus, &instance(other.port), 1.0, |of| of != Of::Sqlite);
    }
    variables(&prometheus);
    for rule in rules("deploy/prometheus/recording.yaml") {
        let name = rule["record"].as_str().unwrap();
        let recorded = prometheus.lately(name, 60);
        assert!(recorded.iter().flatten().any(|value| *value > 0.0), "{name}: {recorded:?}");
    }
    let alerts = prometheus.alerts();
    for name in ["NeedledropDeliveryFailed", "NeedledropDeliveryIncomplete"] {
        assert!(alerts.iter().any(|alert| alert == name), "{name} is not among {alerts:?}");
    }
    for name in ["NeedledropDown", "NeedledropNotReady", "NeedledropUnreadable", "NeedledropNothingLoaded"] {
        assert!(!alerts.iter().any(|alert| alert == name), "{name}");
    }
}

/// Compares all panels, for one daemon or for all, with the values that they must show.
fn compare(prometheus: &Prometheus, instance: &str, daemons: f64, has: impl Fn(Of) -> bool) {
    let mut wrong = Vec::new();
    for panel in panels() {
        let what = format!("{}: {}", panel.board, panel.title);
        let Some(size) = sizes::of_panel(panel.board, &panel.title, daemons) else {
            wrong.push(format!("{what}: nobody said what it has to show"));
            continue;
        };
        let mut all = Vec::new();
        for (question, now) in panel.questions() {
            let question = asked(&question, instance);
            let values = if now { vec![prometheus.now(&question)] } else { prometheus.lately(&question, 45) };
            // A quantile of nothing is NaN. Grafana leaves it out.
            let values: Vec<f64> = values.into_iter().flatten().filter(|value| !value.is_nan()).collect();
            if values.is_empty() && has(size.of) {
                wrong.push(format!("{what}: no data: {question}"));
            }
            all.extend(values);
        }
        let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if all.iter().any(|value| *value < 0.0) {
            wrong.push(format!("{what}: below zero: {all:?}"));
        }
        if has(size.of) && !all.is_empty() && !(size.least..=size.most).contains(&most) {
            wrong.push(format!("{what}: {most}, not from {} to {}", size.least, size.most));
        }
    }
    assert!(wrong.is_empty(), "of {instance}:\n{}", wrong.join("\n"));
}

/// Asserts that the labels exist from which the dashboards fill their variables.
fn variables(prometheus: &Prometheus) {
    for name in BOARDS {
        for variable in board(name)["templating"]["list"].as_array().unwrap() {
            let Some(query) = variable["query"].as_str().filter(|query| query.starts_with("label_values("))
            else {
                assert_eq!(variable["name"], "datasource");
                continue;
            };
            let inner = query.trim_start_matches("label_values(").trim_end_matches(')');
            let (metric, label) = inner.rsplit_once(", ").unwrap();
            let series = prometheus.series(&asked(metric, ".+"));
            // The feed without a name has no label.
            let has_label = |one: &Json| label == "feed" || one[label].is_string();
            assert!(!series.is_empty() && series.iter().all(has_label), "{name}: {query}");
        }
    }
}
