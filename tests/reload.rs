//! Tests of a configuration that changes while the daemon runs: it is applied between two deliveries, or refused as a
//! whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{Daemon, World, csv, free_port, until};
use rustix::process::Signal;
use serde_json::json;

const SONGS: &str = "
source:
  pattern: [\"*.csv\"]
  settle: 100ms
  poll: 200ms
  columns: { itemInSession: int, sessionId: int, song: text, userId: int }
tables:
  songs: { partition_key: [sessionId], clustering_key: [itemInSession], columns: [song] }
";

/// Returns `SONGS` with another column, another table and another pattern.
fn more() -> String {
    SONGS.replace("userId: int", "userId: int, artist: text").replace("[\"*.csv\"]", "[\"*.csv\", \"*.txt\"]")
        + "  artists: { partition_key: [artist], clustering_key: [itemInSession], columns: [song] }\n"
}

/// Replaces the configuration file, as editors do.
fn write(world: &World, yaml: &str) {
    fs::write(world.path(".config.yaml.new"), yaml).unwrap();
    fs::rename(world.path(".config.yaml.new"), world.path("config.yaml")).unwrap();
}

fn reloads(daemon: &Daemon, outcome: &str) -> f64 {
    daemon.metric(&format!("config_reloads_total{{outcome=\"{outcome}\"}}"))
}

fn loaded(daemon: &Daemon) -> f64 {
    daemon.metric("deliveries_total{state=\"loaded\"}")
}

fn is_successful(daemon: &Daemon) -> bool {
    daemon.metric("config_last_reload_successful") == 1.0
}

fn hangup(daemon: &Daemon, outcome: &str) {
    let before = reloads(daemon, outcome);
    daemon.signal(Signal::HUP);
    until(&format!("it is {outcome}"), || (reloads(daemon, outcome) > before).then_some(()));
}

/// Asserts that every file is loaded once, under one configuration, and that no row is missing.
fn adds_up(world: &World, files: usize, rows: u64) {
    let status = world.json(&["status", "--count"]);
    let deliveries = status["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), files, "each file has one delivery: {status}");
    for delivery in deliveries {
        let receipt = world.receipt(delivery["file"].as_str().unwrap());
        assert_eq!((&receipt["state"], &receipt["closes"]), (&json!("loaded"), &json!(true)), "{receipt}");
    }
    assert_eq!(status["tables"]["songs"]["count"], rows, "{status}");
    assert_eq!(status["tables"]["songs"]["rows_written"], rows, "{status}");
    // Deliveries of one declaration have counts for the same tables.
    let sql = "SELECT count(*) FROM (SELECT fingerprint FROM (SELECT d.fingerprint, count(*) AS tables \
               FROM _needledrop_deliveries AS d JOIN _needledrop_counts AS c ON c.delivery = d.id \
               GROUP BY d.id) GROUP BY fingerprint HAVING count(DISTINCT tables) > 1)";
    let mixed: u64 = world.open_store().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(mixed, 0, "a delivery is loaded by one version of the configuration");
}

#[test]
fn a_changed_configuration_is_applied_while_files_are_dropped_and_nothing_is_lost() {
    let world = World::of(SONGS);
    let mut daemon = world.daemon();
    let id = daemon.id();
    for n in 0..60_u32 {
        let name = if n > 30 { format!("{n:02}.txt") } else { format!("{n:02}.csv") };
        world.drop_file(&format!(".{name}"), csv(n * 50..n * 50 + 50));
        fs::rename(world.inbox().join(format!(".{name}")), world.inbox().join(name)).unwrap();
        match n {
            // Files that the old pattern does not match are loaded after the change.
            25 => write(&world, &more()),
            45 => until("it is taken on", || (reloads(&daemon, "applied") == 1.0).then_some(())),
            _ => {}
        }
    }
    until("all are loaded", || {
        let states = world.states();
        (states.len() == 60 && states.values().all(|state| state == "loaded")).then_some(())
    });
    adds_up(&world, 60, 3000);
    // The new table is behind only by files that were loaded before the change. Nothing is read again silently.
    let status = world.json(&["status", "--count"]);
    let behind = status["tables"]["artists"]["behind"].as_u64().unwrap();
    assert!((1..=31).contains(&behind), "{status}");
    assert_eq!(status["tables"]["artists"]["count"], 3000 - 50 * behind, "{status}");
    assert_eq!(daemon.metric("records_read_total"), 3000.0, "counters keep their values over a reload");
    assert_eq!(
        daemon.metric("rows_written_total{table=\"artists\"}"),
        f64::from(u32::try_from(3000 - 50 * behind).unwrap())
    );
    assert!(daemon.runs() && daemon.id() == id && is_successful(&daemon));
    assert!(
        daemon.log().contains("source.pattern") && daemon.log().contains("tables.artists"),
        "{}",
        daemon.log()
    );
    daemon.until_ready();
    assert_eq!(daemon.stop().0, 0);
    let output = world.run(&["load", "--table", "artists"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(world.json(&["status", "--count"])["tables"]["artists"]["count"], 3000);
}

/// Returns a daemon in the middle of a big file. The chunks are so small that the load takes a while.
fn busy() -> (World, Daemon) {
    let world = World::of(SONGS).with("write.window", "200");
    world.drop_file("big.csv", csv(0..60_000));
    let daemon = world.daemon();
    until("it is in the middle", || (daemon.metric("records_read_total") > 0.0).then_some(()));
    (world, daemon)
}

#[test]
fn a_file_under_way_is_finished_under_the_old_configuration() {
    let (world, mut daemon) = busy();
    write(&world, &more());
    daemon.signal(Signal::HUP);
    until("it is on the way", || (daemon.get("/readyz")?.1.contains("configuration")).then_some(()));
    assert!(daemon.metric("records_read_total") < 60_000.0, "the reload waits until the file is loaded");
    world.drop_file("next.csv", csv(60_000..60_010));
    world.wait_for("next.csv", "loaded");
    adds_up(&world, 2, 60_010);
    let tables = |file: &str| world.receipt(file)["tables"].as_object().unwrap().len();
    assert_eq!((tables("big.csv"), tables("next.csv")), (1, 2));
    daemon.until_ready();
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn an_invalid_configuration_is_refused_as_a_whole_and_the_old_one_is_kept() {
    let songs = in_folder("inbox");
    let world = World::of(&songs).without("source.folder");
    let mut daemon = world.daemon();
    let load = |n: u32| {
        world.drop_file(&format!("{n}.csv"), csv(n..n + 1));
        until("it is loaded", || (loaded(&daemon) > f64::from(n)).then_some(()));
    };
    load(0);
    let wrong = [
        ("tables: [".to_owned(), "config.yaml"),
        (songs.replace("poll: 200ms", "pol: 200ms"), "pol"),
        (songs.replace("columns: [song]", "columns: [sung]"), "sung"),
        (songs.replace("columns: [song]", "columns: [song, userId]"), "another shape"),
        (format!("{}store: {{ create_schema: false }}\n", placed(&more(), "inbox")), "artists"),
        (format!("{songs}shutdown: {{ grace: 1 }}\n"), "duration"),
        (in_folder("nowhere"), "nowhere"),
    ];
    for (n, (yaml, word)) in (1..).zip(wrong) {
        write(&world, &yaml);
        until("it is refused", || (reloads(&daemon, "refused") >= f64::from(n)).then_some(()));
        let log = daemon.log();
        let told = log.split("reload rejected").last().unwrap();
        assert!(told.contains(word) && told.contains("next:"), "{word}: {told}");
        assert!(!is_successful(&daemon));
        assert_eq!(daemon.get("/readyz").unwrap().0, 200);
        load(n);
    }
    assert_eq!((reloads(&daemon, "refused"), reloads(&daemon, "applied")), (7.0, 0.0));
    write(&world, &songs);
    until("it is as it was", || is_successful(&daemon).then_some(()));
    adds_up(&world, 8, 8);
    assert_eq!(daemon.stop().0, 0);
}

fn in_folder(folder: &str) -> String {
    placed(SONGS, folder)
}

fn placed(yaml: &str, folder: &str) -> String {
    yaml.replace("settle:", &format!("folder: {folder}\n  settle:"))
}

#[test]
fn another_inbox_is_applied() {
    let world = World::of(&in_folder("inbox")).without("source.folder");
    fs::create_dir(world.path("other")).unwrap();
    let mut daemon = world.daemon();
    world.drop_file("a.csv", csv(0..3));
    world.wait_for("a.csv", "loaded");
    write(&world, &in_folder("other"));
    until("it is taken on", || (reloads(&daemon, "applied") == 1.0).then_some(()));
    fs::write(world.path("other/b.csv"), csv(3..6)).unwrap();
    world.wait_for("b.csv", "loaded");
    adds_up(&world, 2, 6);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn sighup_without_a_change_does_nothing() {
    let world = World::of(SONGS);
    let mut daemon = world.daemon();
    world.drop_file("a.csv", csv(0..3));
    world.wait_for("a.csv", "loaded");
    hangup(&daemon, "unchanged");
    // A comment is not a change.
    write(&world, &format!("# for people\n{SONGS}"));
    hangup(&daemon, "unchanged");
    assert_eq!(daemon.get("/readyz").unwrap().0, 200);
    assert!(!daemon.log().contains("in force"), "{}", daemon.log());
    fs::remove_file(world.path("config.yaml")).unwrap();
    hangup(&daemon, "refused");
    world.drop_file("b.csv", csv(3..6));
    until("it is loaded", || (loaded(&daemon) == 2.0).then_some(()));
    write(&world, SONGS);
    hangup(&daemon, "unchanged");
    adds_up(&world, 2, 6);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn settings_that_need_a_restart_are_named_and_the_rest_is_applied() {
    let (port, other) = (free_port(), free_port());
    let listening = |yaml: &str, port: u16| format!("{yaml}http: {{ listen: \"127.0.0.1:{port}\" }}\n");
    let world = World::of(&listening(SONGS, port)).without("http.listen");
    let mut daemon = world.daemon_on(port, &[]);
    daemon.until_ready();
    write(&world, &format!("{}log: {{ level: debug }}\n", listening(&more(), other)));
    hangup(&daemon, "applied");
    let told = daemon.log();
    assert!(told.contains("changes to http.listen, log need a restart"), "{told}");
    daemon.until_ready();
    world.drop_file("a.txt", csv(0..3));
    world.wait_for("a.txt", "loaded");
    hangup(&daemon, "unchanged");
    assert_eq!(daemon.stop().0, 0);
    daemon = world.daemon_on(other, &[]);
    daemon.until_ready();
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_failed_file_is_tried_again_under_the_new_configuration() {
    let world = World::of(&SONGS.replace("song: text", "song: { type: text, from: title }"));
    let mut daemon = world.daemon();
    world.drop_file("a.csv", csv(0..3));
    world.wait_for("a.csv", "failed");
    write(&world, SONGS);
    world.wait_for("a.csv", "loaded");
    assert_eq!(world.generations("a.csv"), 2);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn many_sighups_and_changes_while_loading_lose_nothing() {
    let world = World::of(SONGS).with("write.window", "50");
    let mut daemon = world.daemon();
    let (mut files, rows) = (0, 40_u32);
    let turned = SONGS.replace("poll: 200ms", "poll: 300ms");
    while files < 40 {
        for _ in 0..4 {
            let from = files * rows;
            world.drop_file(&format!("{files:03}.csv"), csv(from..from + rows));
            files += 1;
        }
        write(&world, if files % 8 == 0 { &turned } else { SONGS });
        for _ in 0..5 {
            daemon.signal(Signal::HUP);
        }
    }
    until("all are loaded", || {
        let states = world.states();
        (states.len() == 40 && states.values().all(|state| state == "loaded")).then_some(())
    });
    assert!(reloads(&daemon, "applied") >= 1.0, "{}", daemon.log());
    adds_up(&world, 40, u64::from(files * rows));
    assert_eq!(daemon.metric("records_read_total"), f64::from(files * rows));
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_daemon_that_is_stopped_during_a_reload_ends_cleanly() {
    let (world, mut daemon) = busy();
    write(&world, &more());
    daemon.signal(Signal::HUP);
    until("it is on the way", || (daemon.get("/readyz")?.1.contains("configuration")).then_some(()));
    let (code, _) = daemon.stop();
    assert_eq!(code, 0, "{}", daemon.log());
    assert_eq!(world.receipt("big.csv")["closes"], true);
    assert_eq!(world.receipt("big.csv")["state"], "loading");
    // The file was begun under another declaration, so it is loaded again, and no row of it appears twice.
    world.once(0);
    assert_eq!(world.receipt("big.csv")["state"], "loaded");
    assert_eq!(world.json(&["status", "--count"])["tables"]["songs"]["count"], 60_000);
}
