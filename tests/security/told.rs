//! Tests of how names and values are printed: an event is one line, and nothing moves the cursor of a reader.

use std::fs;

use serde_json::Value as Json;

use crate::common::{HEADER, Output, World};
use crate::csv;

/// A forged log line, followed by control sequences for a terminal in 7 and in 8 bits.
const FORGED: &str = "x\n2026-01-01T00:00:00.000000Z  INFO all is well\r\u{1b}[2J\u{9b}31m\u{7}";

/// Creates a world with names and values that forge lines, wherever they may appear: a file, its copy, a header, a
/// record.
fn world() -> World {
    let world = World::new();
    world.drop_file(&format!("a{FORGED}.csv"), csv(0..2));
    world.drop_file(&format!("b{FORGED}.csv"), csv(0..2));
    world.drop_file(&format!("c{FORGED}.csv"), format!("\"{FORGED}\",artist\n1,2\n"));
    world.drop_file(&format!("d{FORGED}.csv"), format!("{}\"{FORGED}\",y\n", csv(4..5)));
    let odd = format!("\"{FORGED}\",Ann,F,\"{FORGED}\",Lee,1.5,free,X,7,\"{FORGED}\",3\n");
    let good = format!("\"{FORGED}\",Ann,F,9,Lee,1.5,free,X,7,\"{FORGED}\",3\n");
    world.drop_file(&format!("e{FORGED}.csv"), format!("{HEADER}{odd}{good}"));
    let ignored = format!("{},\"{FORGED}\"", HEADER.trim_end());
    world.drop_file(&format!("f{FORGED}.csv"), format!("{ignored}\n"));
    world
}

fn is_harmless(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || !c.is_control())
}

fn assert_harmless(what: &str, output: &Output) {
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(is_harmless(&text), "{what}: {output:?}");
    let forged = |line: &str| line.starts_with("2026-01-01T00:00:00.000000Z  INFO all is well");
    assert!(!text.lines().any(forged), "{what}: {output:?}");
}

#[test]
fn text_logs_have_one_line_per_event() {
    let world = world().with("log.file", "log.txt").with("log.level", "trace");
    let output = world.run(&["run", "--once"]);
    assert_harmless("run", &output);
    let file = fs::read_to_string(world.path("log.txt")).unwrap();
    assert!(is_harmless(&file) && file.contains("all is well"), "{file}");
    let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    for line in output.stderr.lines().chain(file.lines()) {
        let level = line.split_whitespace().nth(1).unwrap_or_default();
        let is_event = line.starts_with("20") && !line.starts_with("2026-01-01T") && levels.contains(&level);
        assert!(is_event, "{line}");
    }
}

#[test]
fn json_logs_have_one_object_per_event() {
    let world = world().with("log.format", "json").with("log.level", "trace");
    let output = world.run(&["run", "--once"]);
    assert_harmless("run", &output);
    assert!(output.stderr.lines().count() > 5, "{output:?}");
    for line in output.stderr.lines() {
        let event: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn output_for_people_does_not_move_the_cursor() {
    let world = world();
    world.run(&["run", "--once"]);
    let files: Vec<String> = world.states().into_keys().collect();
    assert_eq!(files.len(), 6);
    for file in &files {
        assert_harmless("receipt", &world.run(&["receipt", file]));
        assert_harmless("load", &world.run(&["load", file, "--dry-run"]));
    }
    let entries = world.json(&["quarantine", "list"]);
    assert!(entries.as_array().unwrap().len() >= 2, "{entries}");
    for entry in entries.as_array().unwrap() {
        let (file, line) = (entry["file"].as_str().unwrap(), entry["line"].to_string());
        assert_harmless("quarantine show", &world.run(&["quarantine", "show", file, &line]));
    }
    for command in
        ["status", "quarantine list", "quarantine replay", "check", "query session_item sessionId=7"]
    {
        let words: Vec<&str> = command.split(' ').collect();
        assert_harmless(command, &world.run(&words));
    }
    assert_harmless("a name that a shell filled in", &world.run(&["load", &format!("no{FORGED}.csv")]));
}
