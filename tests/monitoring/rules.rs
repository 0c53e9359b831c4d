//! Tests of the alerts: each is explained in the runbook, has a case that fires and a case that does not, and uses
//! metrics that exist.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::boards::{is_known, named};
use super::{prometheus, text};

fn yaml(name: &str) -> Json {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the rules of a file.
pub fn rules(name: &str) -> Vec<Json> {
    let groups = yaml(name)["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alerts() -> Vec<Json> {
    rules("deploy/prometheus/alerts.yaml")
}

fn name(rule: &Json) -> String {
    rule["alert"].as_str().unwrap().to_owned()
}

#[test]
fn rules_use_only_metrics_that_exist() {
    let recording = rules("deploy/prometheus/recording.yaml");
    let recorded: BTreeSet<_> = recording.iter().map(|rule| rule["record"].as_str().unwrap()).collect();
    for rule in recording.iter().chain(&alerts()) {
        let asked = rule["expr"].as_str().unwrap();
        assert!(named(asked).iter().all(|name| is_known(name)), "{asked}");
        let words = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        for word in words.filter(|word| word.starts_with("job") && word.contains(':')) {
            assert!(recorded.contains(word), "{word} is not recorded");
        }
    }
}

#[test]
fn every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() {
    let runbook = text("docs/runbook.md");
    let parts: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let names: BTreeSet<_> = alerts().iter().map(name).collect();
    assert_eq!(parts, names.iter().map(String::as_str).collect());
    for part in runbook.split("\n## ").skip(1) {
        for section in ["**Means.**", "**Look at.**", "**Do.**"] {
            assert!(part.contains(section), "{section} is missing: {}", part.lines().next().unwrap());
        }
    }
    for alert in alerts() {
        let annotations = &alert["annotations"];
        let url = annotations["runbook_url"].as_str().unwrap();
        assert!(url.ends_with(&format!("docs/runbook.md#{}", name(&alert).to_lowercase())), "{url}");
        assert!(annotations["summary"].is_string() && annotations["description"].is_string(), "{alert}");
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("critical" | "warning")), "{alert}");
    }
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() {
    let mut cases: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for test in yaml("deploy/prometheus/alerts_test.yaml")["tests"].as_array().unwrap() {
        for case in test["alert_rule_test"].as_array().unwrap() {
            let fires = !case["exp_alerts"].as_array().is_none_or(Vec::is_empty);
            let alert = case["alertname"].as_str().unwrap().to_owned();
            cases.entry(alert).or_default()[usize::from(fires)] += 1;
        }
    }
    for alert in alerts() {
        let [still, fires] = cases.remove(&name(&alert)).unwrap_or_default();
        assert!(still > 0 && fires > 0, "{}: {fires} cases that fire, {still} that do not", name(&alert));
    }
    assert!(cases.is_empty(), "no such alerts: {cases:?}");
}

#[test]
fn promtool_accepts_the_configuration_and_the_cases_pass() {
    let Some(promtool) = prometheus::tool("promtool") else { return };
    for words in [["check", "config", "prometheus.yaml"], ["test", "rules", "alerts_test.yaml"]] {
        let mut command = std::process::Command::new(&promtool);
        let output = command.args(words).current_dir(super::file("deploy/prometheus")).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        assert!(said.contains("SUCCESS"), "{words:?}: {said}");
    }
}
