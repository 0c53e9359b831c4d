//! Tests of the Grafana dashboards in the tree: every metric that a dashboard uses exists, and every metric is on a
//! dashboard.

use std::collections::BTreeSet;

use needledrop::metrics::declared::{ALL, Kind};
use serde_json::Value as Json;

use super::text;

pub const BOARDS: [&str; 3] = ["overview", "store", "files"];

/// The metrics of the process that metrics-process makes from the kernel's figures.
const PROCESS: [&str; 6] =
    ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds", "threads"];

pub struct Panel {
    pub board: &'static str,
    pub title: String,
    pub json: Json,
}

impl Panel {
    /// Returns the queries of the panel, and whether each query is for the current value only.
    pub fn questions(&self) -> Vec<(String, bool)> {
        let targets = self.json["targets"].as_array().unwrap().iter();
        targets.map(|target| (word(&target["expr"]), target["instant"] == true)).collect()
    }
}

fn word(json: &Json) -> String {
    json.as_str().unwrap_or_else(|| panic!("{json} is no text")).to_owned()
}

pub fn board(name: &str) -> Json {
    serde_json::from_str(&text(&format!("grafana/dashboards/{name}.json"))).unwrap()
}

pub fn panels() -> Vec<Panel> {
    let of = |name: &'static str| {
        let panels = board(name)["panels"].as_array().unwrap().clone();
        let panels = panels.into_iter().filter(|panel| panel["type"] != "row");
        panels.map(move |json| Panel { board: name, title: word(&json["title"]), json }).collect::<Vec<_>>()
    };
    BOARDS.into_iter().flat_map(of).collect()
}

/// Returns the metrics that an expression names, without the suffixes of histograms.
pub fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let ours = words.filter(|word| word.starts_with("needledrop_"));
    ours.map(|word| base(word).to_owned()).collect()
}

fn base(name: &str) -> &str {
    let is_histogram = |name: &str| {
        ALL.iter().any(|metric| metric.name == name && matches!(metric.kind, Kind::Histogram(_)))
    };
    let bases = ["_bucket", "_sum", "_count"].into_iter().filter_map(|end| name.strip_suffix(end));
    bases.into_iter().find(|base| is_histogram(base)).unwrap_or(name)
}

pub fn is_known(name: &str) -> bool {
    let process = name.strip_prefix("needledrop_process_");
    process.is_some_and(|name| PROCESS.contains(&name)) || ALL.iter().any(|metric| metric.name == name)
}

#[test]
fn every_panel_uses_declared_metrics_and_every_metric_is_on_a_panel() {
    let mut shown = BTreeSet::new();
    for panel in panels() {
        for (question, _) in panel.questions() {
            let names = named(&question);
            assert!(!names.is_empty(), "{}: {}: {question}", panel.board, panel.title);
            for name in names {
                assert!(is_known(&name), "{}: {}: {name} is not declared", panel.board, panel.title);
                shown.insert(name);
            }
        }
    }
    let missing: Vec<_> =
        ALL.iter().map(|metric| metric.name).filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "on no panel: {missing:?}");
}

#[test]
fn every_panel_has_a_description_a_unit_and_a_link_to_the_runbook() {
    let runbook = text("docs/runbook.md");
    for panel in panels() {
        let what = format!("{}: {}", panel.board, panel.title);
        assert!(word(&panel.json["description"]).ends_with('.'), "{what}: no description");
        let defaults = &panel.json["fieldConfig"]["defaults"];
        assert!(!word(&defaults["unit"]).is_empty(), "{what}: no unit");
        assert!(!defaults["thresholds"]["steps"].as_array().unwrap().is_empty(), "{what}: no thresholds");
        let links = panel.json["links"].as_array().cloned().unwrap_or_default();
        // A panel that can turn red needs a section of the runbook.
        let turns_red = defaults["thresholds"]["steps"].as_array().unwrap().len() > 1;
        let has_alert = !links.is_empty() || panel.title == "Memory" || panel.title == "Requests in flight";
        assert!(!turns_red || has_alert, "{what}: turns red and has no runbook");
        for link in links {
            let url = word(&link["url"]);
            let part = url.rsplit_once('#').unwrap_or_else(|| panic!("{what}: {url}")).1;
            let heading = runbook.lines().filter_map(|line| line.strip_prefix("## "));
            assert!(heading.map(str::to_lowercase).any(|heading| heading == part), "{what}: {url}");
        }
    }
}

#[test]
fn panels_do_not_overlap_and_use_only_the_variables_of_their_board() {
    for name in BOARDS {
        let board = board(name);
        assert!(board["schemaVersion"].as_u64().unwrap() >= 41, "{name}");
        assert_eq!(board["uid"], format!("needledrop-{name}"));
        let variables = board["templating"]["list"].as_array().unwrap().iter();
        let variables: BTreeSet<_> =
            variables.map(|variable| format!("${}", word(&variable["name"]))).collect();
        let mut places = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(0);
            assert!(at("x") + at("w") <= 24, "{name}: {}", panel["title"]);
            for (x, y) in
                (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
            {
                assert!(places.insert((x, y)), "{name}: {} overlaps another panel", panel["title"]);
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                let question = word(&target["expr"]);
                for part in question.split('$').skip(1) {
                    let end =
                        part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
                    let variable = format!("${}", &part[..end]);
                    assert!(
                        variable.starts_with("$__") || variables.contains(&variable),
                        "{name}: {question}"
                    );
                }
                assert!(question.contains("job=~\"$job\", instance=~\"$instance\""), "{name}: {question}");
            }
        }
    }
}
