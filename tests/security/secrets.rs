//! Tests that secrets are in no log, no error and no answer.

use std::fs;

use crate::common::{World, free_port};
use crate::csv;

const SECRET: &str = "Tell-N0body-7b1";

/// The ways in which a password is given.
const WAYS: [&str; 3] = ["environment", "file", "configuration"];

fn world(way: &str) -> World {
    let root = env!("CARGO_MANIFEST_DIR");
    let shipped = fs::read_to_string(format!("{root}/config/needledrop.yaml")).unwrap();
    let written =
        if way == "configuration" { format!("\n    password: {SECRET}\n") } else { "\n".to_owned() };
    let world = World::of(
        &shipped.replace("\n    # username: needledrop\n", &format!("\n    username: us{written}")),
    );
    // No process listens on this port.
    let world = world
        .with("store.kind", "cassandra")
        .with("store.cassandra.port", &free_port().to_string())
        .with("store.cassandra.connect_timeout", "300ms")
        .with("store.patience", "1s")
        .with("log.file", "log.txt");
    world.drop_file("a.csv", csv(0..2));
    match way {
        "environment" => world.with("store.cassandra.password", SECRET),
        "file" => {
            fs::write(world.path("password"), format!("{SECRET}\n")).unwrap();
            world.with("store.cassandra.password_file", "password")
        }
        _ => world,
    }
}

fn assert_untold(what: &str, told: &str) {
    assert!(!told.contains(SECRET), "{what}: {told}");
}

#[test]
fn no_command_reveals_a_password_at_any_log_level() {
    for way in WAYS {
        let world = world(way);
        for command in ["check", "status", "run --once", "load inbox", "export", "schema", "quarantine list"]
        {
            for level in ["trace", "trace,scylla=trace"] {
                let words: Vec<&str> = command.split(' ').chain(["--log-level", level]).collect();
                let output = world.run(&words);
                assert_untold(&format!("{way}: {command}"), &format!("{output:?}"));
            }
        }
        assert_untold(way, &fs::read_to_string(world.path("log.txt")).unwrap());
    }
}

#[test]
fn check_refuses_two_passwords_without_revealing_them() {
    let world = world("environment").with("store.cassandra.password_file", "password");
    let both = world.run(&["check"]);
    assert_eq!(both.code, 2, "{both:?}");
    assert_untold("two passwords", &format!("{both:?}"));
}

#[test]
fn help_and_manual_reveal_no_value_of_the_environment() {
    let world = world("environment").with_variable("NEEDLEDROP_CONFIG", "config.yaml");
    for command in ["--help", "run --help", "load --help", "man", "completions bash"] {
        let output = world.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(output.code, 0, "{output:?}");
        assert_untold(command, &format!("{output:?}"));
    }
}

#[test]
fn a_daemon_reveals_no_password_on_http_or_in_its_log() {
    let world = world("environment").with("log.level", "trace");
    let daemon = world.daemon_unready();
    crate::common::until("it answers", || daemon.get("/healthz"));
    for path in ["/metrics", "/healthz", "/readyz", "/"] {
        assert_untold(path, &daemon.get(path).unwrap().1);
    }
    assert_untold("log", &daemon.log());
}

#[test]
fn an_error_next_to_a_password_is_reported_without_the_password() {
    let lines = [
        format!("password: {SECRET}\n    pasword: 1"),
        format!("pasword: {SECRET}"),
        format!("password: [{SECRET}]"),
        format!("password: {{ is: {SECRET} }}"),
        format!("password: {SECRET}\n   port: 9042"),
        format!("port: {SECRET}x\n    password: {SECRET}"),
        format!("password: {SECRET}\n    password: {SECRET}"),
        format!("password: \"{SECRET}"),
        format!("password: !secret {SECRET}"),
        format!("password: *{SECRET}"),
    ];
    for line in lines {
        let store = format!("store:\n  kind: cassandra\n  cassandra:\n    {line}\n");
        let world = World::of(&format!(
            "source:\n  columns: {{ k: text }}\ntables:\n  t: {{ partition_key: [k] }}\n{store}"
        ));
        let output = world.without("store.sqlite.path").run(&["check"]);
        assert_ne!(output.code, 0, "{line}: {output:?}");
        if !line.starts_with("port") {
            assert_untold(&line, &format!("{output:?}"));
        }
    }
}
