//! The arrows of the tree: which module must not know which. By text, so that a new arrow is seen.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test, as the test itself does")]

use std::path::{Path, PathBuf};

/// Modules of the crate, and what must not be in them.
const FORBIDDEN: [(&str, &[&str]); 8] = [
    (
        "src/domain",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::fault",
            "crate::health",
            "crate::ledger",
            "crate::metrics",
            "crate::pipeline",
            "crate::quarantine",
            "crate::store",
            "crate::web",
        ],
    ),
    (
        "src/pipeline/transform",
        &["std::fs", "tokio::fs", "std::io", "std::net", "SystemTime::now", "Instant::now", "crate::store"],
    ),
    ("src/pipeline/read/frame.rs", &["std::fs", "tokio::fs", "std::io", "SystemTime", "Instant"]),
    ("src/store", &["crate::pipeline", "crate::app", "crate::cli", "crate::web", "crate::config"]),
    ("src/pipeline", &["crate::app", "crate::cli", "crate::web", "rusqlite", "sqlite::"]),
    ("src/config", &["crate::app", "crate::cli", "crate::pipeline", "crate::store", "crate::web"]),
    ("src/web", &["crate::cli", "crate::app", "crate::pipeline"]),
    ("src/ledger.rs", &["crate::store", "crate::pipeline", "crate::config"]),
];

/// The only places that start tasks.
const SPAWN: [&str; 3] = ["src/app.rs", "src/pipeline/mod.rs", "src/store/sqlite/owner.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a place of the tree, or the file itself.
fn files(place: &str) -> Vec<PathBuf> {
    let mut left = vec![root().join(place)];
    let mut files = Vec::new();
    while let Some(place) = left.pop() {
        if place.is_dir() {
            left.extend(std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        } else if place.extension().is_some_and(|ending| ending == "rs") {
            files.push(place);
        }
    }
    assert!(!files.is_empty(), "{place} is not there: the list in this test is old");
    files
}

fn name(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}

/// The module is there for tests only.
fn is_test(file: &Path) -> bool {
    file.ancestors().take_while(|place| place.starts_with(root().join("src"))).any(|place| {
        let stem = place.file_stem().unwrap_or_default().to_string_lossy();
        let parent = std::fs::read_to_string(place.with_file_name("mod.rs")).unwrap_or_default();
        parent.contains(&format!("#[cfg(test)]\nmod {stem};"))
    })
}

/// Its lines with their numbers, without comments and tests.
fn code(file: &Path) -> Vec<(usize, String)> {
    if is_test(file) {
        return Vec::new();
    }
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned());
    (1..).zip(lines).collect()
}

/// `use crate::{a, b}` would hide an arrow from a search by text.
fn groups_the_crate(line: &str) -> bool {
    line.contains("crate::{")
}

fn arrows(place: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files(place) {
        for (number, line) in code(&file) {
            let bad = forbidden.iter().find(|word| line.contains(**word));
            if let Some(bad) = bad {
                found.push(format!("{}:{number}: {bad}", name(&file)));
            }
        }
    }
    found
}

#[test]
fn no_module_uses_what_it_must_not_know() {
    let found: Vec<String> =
        FORBIDDEN.iter().flat_map(|(place, forbidden)| arrows(place, forbidden)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn domain_knows_nobody() {
    let inside = |line: &str| line.split("crate::").skip(1).all(|rest| rest.starts_with("domain"));
    for file in files("src/domain") {
        for (number, line) in code(&file) {
            assert!(inside(&line), "{}:{number}: {line}", name(&file));
            assert!(!line.contains("super::super"), "{}:{number}: {line}", name(&file));
        }
    }
}

#[test]
fn only_three_places_spawn() {
    for file in files("src") {
        let spawns: Vec<usize> = code(&file)
            .into_iter()
            .filter(|(_, line)| {
                [".spawn(", "::spawn(", "thread::Builder"].iter().any(|word| line.contains(word))
            })
            .map(|(number, _)| number)
            .collect();
        let may = SPAWN.contains(&name(&file).as_str());
        assert!(may || spawns.is_empty(), "{} spawns on lines {spawns:?}", name(&file));
    }
}

#[test]
fn arrows_can_be_seen_by_text() {
    for file in files("src") {
        for (number, line) in code(&file) {
            assert!(!groups_the_crate(&line), "{}:{number}: one `use` a module", name(&file));
        }
    }
}

/// Files that may name a port: they compare shipped files, or start what listens there themselves.
const NAME_PORTS: [&str; 5] = [
    "tests/cluster.rs",
    "tests/docker/files.rs",
    "tests/monitoring/prometheus.rs",
    "tests/service/machine.rs",
    "tests/structure.rs",
];

/// Whether an address of this machine is followed by a port, other than 0.
fn names_a_port(line: &str) -> bool {
    let hosts = ["127.0.0.1:", "localhost:", "0.0.0.0:", "[::1]:", "127.0.0.1\", ", "localhost\", "];
    let is_port = |rest: &str| rest.starts_with(|first: char| matches!(first, '1'..='9'));
    hosts.iter().any(|host| line.split(host).skip(1).any(is_port))
}

/// Something else may listen there: a test would talk to it, or fail because of it.
#[test]
fn tests_name_no_port() {
    assert!(names_a_port("\"127.0.0.1:9042\"") && names_a_port("(\"localhost\", 9042)"));
    assert!(!names_a_port("\"127.0.0.1:0\"") && !names_a_port("\"127.0.0.1:{port}\""));
    for file in files("tests").into_iter().filter(|file| !NAME_PORTS.contains(&name(file).as_str())) {
        for (number, line) in (1..).zip(std::fs::read_to_string(&file).unwrap().lines()) {
            assert!(!names_a_port(line), "{}:{number}: {line}", name(&file));
        }
    }
}

/// What a world does not set has its default, and the defaults are ports where something else may listen.
#[test]
fn every_world_sets_the_ports_that_have_a_default() {
    let common = std::fs::read_to_string(root().join("tests/common/mod.rs")).unwrap();
    for setting in ["http.listen", "store.cassandra.port"] {
        assert!(common.contains(&format!("\"{setting}\"")), "World::new sets no {setting}");
    }
}
