//! Tests that clients that hold connections, or send too much or too slowly, hold up nobody else.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Daemon, World, until};
use crate::csv;

/// More connections than may be open at the same time.
const MANY: usize = 2000;

fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Returns everything that the server sends until it ends the connection.
fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

/// Asserts that scrapes and probes are answered quickly and that a file is loaded.
fn assert_served(world: &World, daemon: &Daemon, file: &str, items: std::ops::Range<u32>) {
    for path in ["/metrics", "/readyz", "/healthz"] {
        let began = Instant::now();
        assert_eq!(daemon.get(path).unwrap().0, 200, "{path}");
        assert!(began.elapsed() < Duration::from_secs(2), "{path} took {:?}", began.elapsed());
    }
    world.drop_file(file, csv(items));
    until("the file is loaded", || (world.states().get(file)? == "loaded").then_some(()));
}

fn files_of(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count()
}

#[test]
fn thousands_of_idle_connections_stop_neither_scrapes_nor_loading() {
    let world = World::new();
    let daemon = world.daemon();
    let mut held: Vec<TcpStream> = (0..MANY).map(|_| connect(&daemon)).collect();
    assert_served(&world, &daemon, "a.csv", 0..3);
    assert!(files_of(&daemon) < 400, "{}", files_of(&daemon));
    // The daemon still works when each of the connections has begun a request.
    for stream in &mut held {
        // The server has closed some of the connections.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ");
    }
    held.extend((0..MANY / 4).map(|_| {
        let mut stream = connect(&daemon);
        let _ = stream.write_all(b"G");
        stream
    }));
    assert_served(&world, &daemon, "b.csv", 3..6);
    assert!(files_of(&daemon) < 400, "{}", files_of(&daemon));
}

#[test]
fn a_request_that_does_not_end_times_out() {
    let world = World::new();
    let daemon = world.daemon();
    let (mut slow, mut silent) = (connect(&daemon), connect(&daemon));
    let mut kept = connect(&daemon);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let began = Instant::now();
    let mut writer = slow.try_clone().unwrap();
    let feed = move || {
        writer.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
        // A byte now and then does not keep the connection open.
        while writer.write_all(b"X").is_ok() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let feeding = std::thread::Builder::new().spawn(feed).unwrap();
    answer(&mut slow);
    assert_eq!(answer(&mut silent), "");
    assert!(answer(&mut kept).ends_with("ok\n"), "the connection had an answer before it was idle");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    feeding.join().unwrap();
}

#[test]
fn requests_that_are_too_big_are_refused() {
    let world = World::new();
    let daemon = world.daemon();
    let refused = |request: &str| {
        let mut stream = connect(&daemon);
        // The request may be refused before all of it is sent.
        let _ = stream.write_all(request.as_bytes());
        let answer = answer(&mut stream);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    };
    refused(&format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)));
    refused(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)));
    let many: String = (0..1000).map(|n| format!("X{n}: x\r\n")).collect();
    assert!(refused(&format!("GET /metrics HTTP/1.1\r\n{many}\r\n")).starts_with("HTTP/1.1 431"));
    let post = format!("POST /metrics HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n{}", "x".repeat(1 << 16));
    assert!(refused(&post).starts_with("HTTP/1.1 405"));
    assert_served(&world, &daemon, "a.csv", 0..3);
}

#[test]
fn open_connections_do_not_delay_the_stop() {
    let world = World::new();
    let mut daemon = world.daemon();
    let held: Vec<TcpStream> = (0..300).map(|_| connect(&daemon)).collect();
    let (code, took) = daemon.stop();
    assert!(code == 0 && took < Duration::from_secs(5), "{code} {took:?}");
    drop(held);
}
