//! Tests that `check` refuses what `run` would refuse before its first file.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::common::{World, free_port};
use crate::world;

/// Asserts that `check` and the daemon both refuse to run, with the same exit code and these words.
fn assert_both_refuse(world: &World, words: &str) {
    let (check, run) = (world.run(&["check"]), world.run(&["run"]));
    assert_ne!(run.code, 0, "{run:?}");
    assert_eq!(check.code, run.code, "{check:?}\n{run:?}");
    assert!(check.stdout.contains(words) && run.stderr.contains(words), "{check:?}\n{run:?}");
}

#[test]
fn check_refuses_a_log_that_cannot_be_opened() {
    assert_both_refuse(&world().with("log.level", "loud"), "`loud`");
    assert_both_refuse(&world().with("log.file", "nowhere/x.log"), "nowhere/x.log");
    assert_both_refuse(&world().with("log.file", "inbox"), "inbox");
}

#[test]
fn check_creates_no_log_file() {
    let world = world().with("log.file", "x.log");
    assert_eq!(world.run(&["check"]).code, 0);
    assert!(!world.path("x.log").exists());
}

#[test]
fn check_refuses_a_store_that_cannot_be_created() {
    let world = world().with("store.sqlite.path", "file/store.db");
    std::fs::write(world.path("file"), "").unwrap();
    assert_both_refuse(&world, "file");
}

#[test]
fn check_says_that_needledrop_tries_again_only_while_it_loads_files() {
    let world = world().with("store.kind", "cassandra").with("store.cassandra.hosts", "[127.0.0.1]");
    let check = world.with("store.cassandra.port", &free_port().to_string()).run(&["check"]);
    let next =
        "next: start the cluster, or correct hosts and port; while needledrop loads files, it tries again";
    assert!(check.code == 3 && check.stdout.contains(next), "{check:?}");
}

#[test]
fn check_refuses_a_missing_inbox() {
    assert_both_refuse(&world().with("source.folder", "nowhere"), "nowhere");
}

#[test]
fn check_refuses_a_port_that_another_program_uses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    std::thread::Builder::new()
        .spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nok\n").unwrap();
            }
        })
        .unwrap();
    assert_both_refuse(&world().with("http.listen", &listen), &listen);
}

#[test]
fn check_accepts_a_port_that_a_needledrop_daemon_uses() {
    let world = world();
    let daemon = world.daemon();
    let world = world.with("http.listen", &format!("127.0.0.1:{}", daemon.port));
    let check = world.run(&["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.stdout.contains("in use by a running daemon"), "{check:?}");
    let free = world.with("http.listen", &format!("127.0.0.1:{}", free_port())).run(&["check"]);
    assert!(free.stdout.contains(": free"), "{free:?}");
}
