//! Tests of `needledrop health` with a daemon that runs, waits, hangs, or does not exist.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::{Output, World, free_port, until};
use rustix::process::Signal;

fn world() -> World {
    World::new().with("source.poll", "200ms")
}

/// Runs `needledrop health` against this port, which a variable sets.
fn health(world: World, port: u16, arguments: &[&str]) -> Output {
    let world = world.with("http.listen", &format!("127.0.0.1:{port}"));
    world.run(&[&["health"], arguments].concat())
}

/// Asserts that the check fails with this problem and a `next:`.
fn assert_told(output: &Output, problem: &str) {
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains(problem) && output.stderr.contains("\n  next: "), "{output:?}");
}

#[test]
fn a_running_daemon_is_alive_and_ready() {
    let world = world();
    let daemon = world.daemon();
    for (arguments, told) in [(&[][..], "ok\n"), (&["--ready"], "ready\n")] {
        let output = health(World::new(), daemon.port, arguments);
        assert_eq!((output.code, output.stdout.as_str()), (0, told), "{output:?}");
        assert_eq!(output.stderr, "");
    }
}

#[test]
fn a_waiting_daemon_is_alive_but_not_ready() {
    let world = world();
    let daemon = world.daemon();
    fs::remove_dir(world.inbox()).unwrap();
    let output = until("the missing inbox is noticed", || {
        let output = health(World::new(), daemon.port, &["--ready"]);
        (output.code != 0).then_some(output)
    });
    assert_told(&output, "not ready: the inbox was not listed yet, or does not exist");
    assert_eq!(health(World::new(), daemon.port, &[]).code, 0);
}

#[test]
fn a_port_without_a_listener_is_reported() {
    assert_told(&health(World::new(), free_port(), &[]), "refused");
}

#[test]
fn a_daemon_that_hangs_does_not_answer_in_time() {
    let world = world();
    let daemon = world.daemon();
    daemon.signal(Signal::STOP);
    let began = Instant::now();
    let output = health(World::new(), daemon.port, &[]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_told(&output, "no answer within 2 s");
    daemon.signal(Signal::CONT);
    assert_eq!(health(World::new(), daemon.port, &[]).code, 0);
}

#[test]
fn another_server_on_the_port_is_reported() {
    for answer in ["HTTP/1.1 404 Not Found\r\n\r\n", "220 mail.example.com ESMTP\r\n", "\u{fffd}\r\n\r\n", ""]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::scope(|other| {
            other.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                // The request is read before the connection is closed. Otherwise closing would reset the connection.
                let _ = std::io::Read::read(&mut stream, &mut [0; 1024]).unwrap();
            });
            assert_told(&health(World::new(), port, &[]), "this is not needledrop");
        });
    }
}

#[test]
fn health_uses_the_address_of_the_configuration() {
    let world = world();
    let daemon = world.daemon();
    let config = |listen: String| format!("{}\nhttp: {{ listen: \"{listen}\" }}", least());
    let listen = |listen: String| World::of(&config(listen)).without("http.listen");
    assert_eq!(listen(format!("127.0.0.1:{}", daemon.port)).run(&["health"]).code, 0);
    // A daemon that listens on all addresses is checked on one of them.
    assert_eq!(listen(format!("0.0.0.0:{}", daemon.port)).run(&["health"]).code, 0);
    assert_told(&listen(format!("127.0.0.1:{}", free_port())).run(&["health"]), "refused");
    let any = listen("127.0.0.1:0".to_owned()).run(&["health"]);
    assert!(any.code == 2 && any.stderr.contains("next: look up the port"), "{any:?}");
}

#[test]
fn an_invalid_configuration_does_not_make_a_running_daemon_unhealthy() {
    let world = world();
    let daemon = world.daemon();
    let wrong = World::of("nonsense: true");
    assert_eq!(wrong.run(&["health"]).code, 2);
    assert_eq!(health(wrong, daemon.port, &[]).code, 0);
}

/// Returns the smallest valid configuration.
fn least() -> &'static str {
    "source: { columns: { a: int } }\ntables: {}"
}
