//! Tests of the daemon: dropped files become queryable, counts add up, and the daemon stops on request.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Daemon, HEADER, World, csv, until};
use rustix::process::Signal;
use serde_json::{Value as Json, json};

const FILE: &str = "2018-11-01-events.csv";

/// Returns a world with short waits, so that no test takes long.
fn world() -> World {
    World::new().with("source.settle", "200ms").with("source.poll", "200ms")
}

/// Compares the tables in SQL, because they may be too big to be compared in memory.
fn assert_same_tables(world: &World, clean: &World) {
    let store = world.open_store();
    store.execute("ATTACH ?1 AS clean", [clean.store().to_str().unwrap()]).unwrap();
    for (table, columns) in [
        ("session_item", "sessionId, itemInSession, artist, song, length"),
        ("user_session", "sessionId, userId, itemInSession, artist, song, firstName, lastName"),
        ("user_song", "song, userId, firstName, lastName"),
    ] {
        let rows = |of: &str| format!("SELECT {columns} FROM {of}.{table}");
        for (left, right) in [("main", "clean"), ("clean", "main")] {
            let sql = format!("SELECT count(*) FROM ({} EXCEPT {})", rows(left), rows(right));
            let only: u64 = store.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(only, 0, "rows of {table} that only {left} has");
        }
    }
    assert_eq!(world.accounts(), clean.accounts());
}

fn clean(bytes: impl AsRef<[u8]>) -> World {
    let world = World::new();
    world.drop_file(FILE, bytes);
    world.once(0);
    world
}

#[test]
fn a_copied_file_and_a_renamed_file_become_queryable() {
    // Events alone must suffice, because the poll is so rare. The folder is created first: a file that is renamed
    // into a folder at the moment of its creation may be left to the poll.
    let world = world().with("source.poll", "1h");
    fs::create_dir(world.inbox().join("sub")).unwrap();
    let mut daemon = world.daemon();
    assert_eq!(daemon.get("/healthz").unwrap(), (200, "ok\n".to_owned()));
    world.drop_file("copied.csv", csv(0..3));
    world.wait_for("copied.csv", "loaded");
    // The inbox does not list a file whose name begins with a dot.
    world.drop_file(".part", csv(3..5));
    fs::rename(world.inbox().join(".part"), world.inbox().join("sub/renamed.csv")).unwrap();
    world.wait_for("sub/renamed.csv", "loaded");
    let rows = world.query("user_session", &["sessionId=7", "userId=3"]);
    let items: Vec<_> = rows.iter().map(|row| row[2].clone()).collect();
    assert_eq!(json!(items), json!([0, 1, 2, 3, 4]));
    assert_eq!(world.states().len(), 2);
    assert_eq!(daemon.metric("drop_to_queryable_seconds_count"), 2.0);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_file_that_is_being_written_is_loaded_completely_in_the_end() {
    let world = world();
    let daemon = world.daemon();
    let whole = csv(0..500);
    let mut writer = fs::File::create(world.inbox().join(FILE)).unwrap();
    // The writer pauses in the middle of a record for longer than the file needs to settle.
    let (mut written, pauses) = (0, [100, 5_000, 20_011]);
    for pause in pauses {
        writer.write_all(&whole.as_bytes()[written..pause]).unwrap();
        written = pause;
        until("what is there is taken up", || {
            let receipt = world.run(&["receipt", FILE, "--json"]);
            let end = whole[..pause].rfind('\n').unwrap() + 1;
            (!receipt.stdout.is_empty() && receipt.json()["bytes"] == end || end <= HEADER.len())
                .then_some(())
        });
    }
    writer.write_all(&whole.as_bytes()[written..]).unwrap();
    drop(writer);
    until("all of it is loaded", || {
        let receipt = world.receipt(FILE);
        (receipt["state"] == "loaded" && receipt["bytes"] == whole.len()).then_some(())
    });
    assert_eq!(world.generations(FILE), 1, "{}", daemon.log());
    assert_same_tables(&world, &clean(&whole));
}

#[test]
fn a_file_that_is_overwritten_repeatedly_ends_as_its_last_content() {
    let world = world();
    let daemon = world.daemon();
    for round in 0..8 {
        world.drop_file(FILE, csv(0..200).replace("Artist", &format!("Round{round}")));
    }
    until("the last bytes are loaded", || {
        let rows = world.query("session_item", &["sessionId=7"]);
        (rows.len() == 200 && rows.iter().all(|row| row[2].as_str().unwrap().starts_with("Round7 ")))
            .then_some(())
    });
    assert_eq!(daemon.get("/readyz").unwrap().0, 200);
}

/// Waits until no file is examined any more. Young files are examined again until their times can be trusted, so by
/// then the folder was listed often.
fn listed_often(daemon: &Daemon) {
    until("nothing is looked at any more", || (daemon.metric("backlog_files") == 0.0).then_some(()));
}

/// Returns the totals of the receipts and the quarantine, under the names of the metrics.
fn by_receipts(world: &World) -> BTreeMap<String, f64> {
    let mut totals: BTreeMap<String, f64> = BTreeMap::new();
    let mut add =
        |name: &str, count: &Json| *totals.entry(name.to_owned()).or_default() += count.as_f64().unwrap();
    let status = world.json(&["status"]);
    for delivery in status["deliveries"].as_array().unwrap() {
        let state = delivery["state"].as_str().unwrap();
        add(&format!("deliveries_total{{state=\"{state}\"}}"), &json!(1));
        let generation = delivery["generation"].to_string();
        let file = delivery["file"].as_str().unwrap();
        let receipt = world.json(&["receipt", file, "--generation", &generation]);
        add("records_read_total", &receipt["records"]);
        add("records_skipped_total", &receipt["skipped"]);
        for (table, count) in receipt["tables"].as_object().unwrap() {
            add(&format!("rows_written_total{{table=\"{table}\"}}"), &count["rows"]);
        }
    }
    for entry in world.json(&["quarantine", "list"]).as_array().unwrap() {
        let reason = entry["reason"].as_str().unwrap();
        add(&format!("records_quarantined_total{{reason=\"{reason}\"}}"), &json!(1));
    }
    totals
}

#[test]
fn metrics_add_up_to_the_receipts() {
    let world = world();
    let daemon = world.daemon();
    let row =
        |n: u32, artist: &str, session: &str| format!("{artist},Ann,F,{n},Lee,1.5,free,X,{session},Song,3\n");
    let files = [
        ("a.csv", csv(0..300), "loaded"),
        ("b.csv", format!("{HEADER}{}{}{}", row(1, "A", "8"), row(2, "", "8"), row(3, "", "8")), "loaded"),
        (
            "c.csv",
            format!("{HEADER}{}{}{}x\n", row(9, "A", "8"), row(1, "A", "none"), row(2, "B", "")),
            "loaded",
        ),
        ("d.csv", csv(0..300), "duplicate"),
        ("e.csv", "something,else\n1,2\n".to_owned(), "failed"),
        ("f.csv", format!("{}half", csv(0..2)), "incomplete"),
        ("g.csv", HEADER.to_owned(), "loaded"),
    ];
    for (name, bytes, state) in &files {
        world.drop_file(name, bytes);
        world.wait_for(name, state);
    }
    let metrics = daemon.metrics();
    let expected = by_receipts(&world);
    assert!(expected["records_quarantined_total{reason=\"value\"}"] > 0.0);
    assert!(expected["records_skipped_total"] > 0.0);
    for (name, count) in &expected {
        assert_eq!(metrics.get(&format!("needledrop_{name}")), Some(count), "{name}");
    }
    // Nothing else is counted: metrics that the receipts do not name are zero.
    let totals = ["records_read", "records_skipped", "records_quarantined", "rows_written", "deliveries"];
    for (name, count) in &metrics {
        let name = name.trim_start_matches("needledrop_");
        if totals.iter().any(|total| name.starts_with(&format!("{total}_total"))) {
            // The five files that were loaded or are incomplete went through these two states.
            let passed_through =
                name.ends_with("{state=\"waiting\"}") || name.ends_with("{state=\"loading\"}");
            let named = expected.contains_key(name) || (passed_through && *count == 5.0);
            assert!(*count == 0.0 || named, "{name} is {count}");
        }
    }
    assert!(metrics.keys().all(|name| !name.contains(".csv")), "no file names in labels");
    // When the folder is listed again, nothing is taken up and nothing is counted again.
    let before = world.dump();
    listed_often(&daemon);
    assert!(by_receipts(&world) == expected && world.dump()["session_item"] == before["session_item"]);
    assert_eq!(daemon.metric("deliveries_total{state=\"failed\"}"), 1.0);
}

#[test]
fn a_file_that_failed_because_of_its_records_is_not_loaded_at_every_listing() {
    let world = world().with("limits.max_quarantined", "1");
    let daemon = world.daemon();
    world.drop_file(FILE, format!("{HEADER}x\ny\nz\n"));
    world.wait_for(FILE, "failed");
    world.drop_file("good.csv", csv(0..3));
    world.wait_for("good.csv", "loaded");
    until("it is listed again", || (daemon.metric("backlog_files") > 0.0).then_some(()));
    listed_often(&daemon);
    assert_eq!(world.generations(FILE), 1, "{}", daemon.log());
}

#[test]
fn the_daemon_waits_for_a_missing_inbox() {
    let world = world();
    let mut daemon = world.daemon();
    fs::remove_dir(world.inbox()).unwrap();
    daemon.until_unready("inbox");
    assert_eq!(daemon.get("/healthz").unwrap().0, 200, "a daemon that is not ready is still alive");
    fs::create_dir(world.inbox()).unwrap();
    daemon.until_ready();
    world.drop_file(FILE, csv(0..3));
    world.wait_for(FILE, "loaded");
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn sigterm_ends_the_daemon_at_once_even_with_an_idle_connection() {
    let world = world();
    let mut daemon = world.daemon();
    let mut idle = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    write!(idle, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 1024];
    assert!(idle.read(&mut answer).unwrap() > 0);
    let (code, took) = daemon.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let beside: Vec<_> =
        fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!beside.iter().any(|name| name.to_string_lossy().ends_with("-wal")), "{beside:?}");
}

/// Starts a daemon and waits until it is in the middle of a big file.
fn busy(world: &World, bytes: &str) -> Daemon {
    world.drop_file(FILE, bytes);
    let daemon = world.daemon();
    until("it is in the middle", || (daemon.metric("records_read_total") > 0.0).then_some(()));
    daemon
}

#[test]
fn a_huge_file_does_not_hold_up_a_small_file_after_it() {
    let world = world().with("write.window", "1000").with("source.settle", "0ms");
    let _daemon = busy(&world, &csv(0..200_000));
    world.drop_file("2018-11-02-small.csv", csv(300_000..300_003));
    world.wait_for("2018-11-02-small.csv", "loaded");
    assert_eq!(world.states()[FILE], "loading");
}

#[test]
fn a_file_of_a_stopped_daemon_is_finished_by_another_process() {
    let bytes = csv(0..200_000);
    let world = world().with("write.window", "1000").with("source.settle", "0ms");
    let mut daemon = busy(&world, &bytes);
    let (code, took) = daemon.stop();
    assert_eq!(code, 0, "{}", daemon.log());
    assert!(took < Duration::from_secs(5), "{took:?}");
    let receipt = world.receipt(FILE);
    assert_eq!((&receipt["state"], &receipt["closes"]), (&json!("loading"), &json!(true)), "{receipt}");
    let durable = receipt["records"].as_u64().unwrap();
    assert!(0 < durable && durable < 200_000, "{receipt}");
    assert_eq!(world.json(&["status", "--count"])["tables"]["session_item"]["count"], durable);
    assert_eq!(world.once(0)["records"]["read"], 200_000 - durable);
    assert_same_tables(&world, &clean(&bytes));
}

#[test]
fn a_daemon_that_is_signalled_twice_ends_at_once_and_can_be_resumed() {
    let bytes = csv(0..50_000);
    let world = world().with("write.window", "100").with("source.settle", "0ms");
    let mut daemon = busy(&world, &bytes);
    daemon.signal(Signal::INT);
    daemon.signal(Signal::INT);
    let code = daemon.ended();
    assert!(code == 4 || code == 0, "{code}");
    world.once(0);
    assert_same_tables(&world, &clean(&bytes));
}

#[test]
fn a_file_of_a_killed_daemon_is_finished_by_another_daemon() {
    let bytes = csv(0..50_000);
    let world = world().with("write.window", "500").with("source.settle", "0ms");
    let daemon = busy(&world, &bytes);
    daemon.signal(Signal::KILL);
    until("it is gone", || daemon.get("/healthz").is_none().then_some(()));
    drop(daemon);
    let other = world.daemon();
    world.wait_for(FILE, "loaded");
    assert_same_tables(&world, &clean(&bytes));
    assert_eq!(other.get("/healthz").unwrap().0, 200);
}

#[test]
fn logs_go_to_a_file_as_json_if_configured() {
    let world = world().with("log.file", "needledrop.log").with("log.format", "json");
    let mut daemon = world.daemon();
    world.drop_file(FILE, csv(0..3));
    world.wait_for(FILE, "loaded");
    assert_eq!(daemon.stop().0, 0);
    let log = fs::read_to_string(world.path("needledrop.log")).unwrap();
    let lines: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["file"] == FILE && line["message"] == "loaded"), "{log}");
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log}");
    assert!(daemon.log().contains("\"message\":\"loaded\""), "and to stderr");
}

#[test]
fn commands_that_read_work_while_the_daemon_runs() {
    let world = world();
    world.drop_file(FILE, csv(0..3));
    let daemon = world.daemon();
    world.wait_for(FILE, "loaded");
    for args in [
        &["status", "--count"][..],
        &["receipt", FILE],
        &["query", "user_song", "song=Song 1"],
        &["export"],
        &["quarantine", "list"],
        &["check"],
        &["schema"],
    ] {
        assert_eq!(world.run(args).code, 0, "{args:?}: {}", daemon.log());
    }
}
