//! Tests of the lease: one process writes at a time, and another process stands by and takes over.

use std::ops::Range;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use scylla::value::CqlValue;
use serde_json::json;

use crate::common::{Daemon, World, csv, until};
use crate::place::{Dump, Place};
use crate::story::Story;
use crate::wire::{Switch, Way, holds, through};

const FILES: [&str; 3] = ["2018-11-01-events.csv", "2018-11-02-events.csv", "2018-11-03-events.csv"];

/// The lease of a place, in seconds.
const LEASE: f64 = 2.0;

fn impatient(place: Place) -> Place {
    place.with("source.settle", "100ms").with("source.poll", "200ms")
}

/// Returns the second process, with the settings of the first.
fn second(place: &Place) -> World {
    let settings = [("source.settle", "100ms"), ("source.poll", "200ms")];
    settings.into_iter().fold(place.beside(), |world, (setting, value)| world.with(setting, value))
}

fn until_loaded(place: &Place, file: &str) {
    until(&format!("{file} is loaded"), || (place.states().get(file)? == "loaded").then_some(()));
}

/// Makes a load so slow and its chunks so small that the next event happens in the middle of the file.
fn slow(world: World) -> World {
    world.with("write.rows_per_second", "1500").with("write.window", "100")
}

fn until_some_is_durable(place: &Place) {
    until("some of it is durable", || {
        let receipt = place.run(&["receipt", FILES[0], "--json"]);
        (!receipt.stdout.is_empty() && receipt.json()["records"].as_u64()? >= 300).then_some(())
    });
}

/// Waits until a running daemon reports that it stands by.
fn until_standing_by(daemon: &Daemon) {
    until("it stands by", || {
        let (status, body) = daemon.get("/readyz")?;
        (status == 503 && body.contains("standby")).then_some(())
    });
    assert_eq!(daemon.get("/healthz").unwrap().0, 200);
    assert_eq!(daemon.metrics().get("needledrop_lease_held").copied().unwrap_or_default(), 0.0);
}

/// Asserts that the daemon holds the lease, and that the previous holder had been silent for this many seconds when
/// the daemon took over.
fn assert_active(daemon: &Daemon, silent: Range<f64>) {
    let metrics = daemon.metrics();
    assert_eq!(metrics["needledrop_lease_held"], 1.0);
    let found = metrics["needledrop_lease_takeover_seconds"];
    assert!(silent.contains(&found), "{found} is not in {silent:?}");
}

/// Asserts that the daemon holds the lease and that no holder was silent before it: the previous holder gave the
/// lease back, or there was none.
fn assert_active_at_once(daemon: &Daemon) {
    assert_active(daemon, 0.0..f64::MIN_POSITIVE);
}

/// Returns the contents of the store without the deliveries, and asserts that the current holder wrote the ledger.
/// The deliveries are left out, because a daemon records the state of a recently changed file a second time.
fn cells(place: &Place) -> Dump {
    let whole = |cql: &str| match place.rows(cql)[0][0] {
        Some(CqlValue::BigInt(n)) => n,
        ref other => panic!("{cql}: {other:?}"),
    };
    let epoch = whole("SELECT epoch FROM ks.needledrop_lease");
    assert_eq!(whole("SELECT WRITETIME(state) FROM ks.needledrop_deliveries") >> 38, epoch);
    let mut dump = place.dump();
    dump.remove("needledrop_deliveries");
    dump
}

/// Asserts that tables and receipts equal those of one pass over the same files.
fn assert_as_one_pass(place: &mut Place) {
    let found = Story::of(place);
    assert!(place.states().keys().all(|file| place.receipt(file)["closes"] == true));
    let kept: Vec<_> =
        FILES.iter().filter_map(|name| Some((name, std::fs::read(place.inbox().join(name)).ok()?))).collect();
    place.empty();
    place.set("write.rows_per_second", "0");
    kept.iter().for_each(|(name, bytes)| place.drop_file(name, bytes));
    place.once(0);
    found.assert_is(&Story::of(place), "after the lease changed hands");
}

#[test]
fn when_the_active_daemon_is_killed_the_other_takes_over_and_loads() {
    let Some(mut place) = Place::new().map(impatient) else { return };
    let mut active = place.daemon();
    assert_active_at_once(&active);
    place.drop_file(FILES[0], csv(0..20));
    until_loaded(&place, FILES[0]);
    let other = second(&place);
    let mut standby = other.daemon_unready();
    until_standing_by(&standby);
    place.drop_file(FILES[1], csv(20..40));
    until_loaded(&place, FILES[1]);
    assert!(!standby.log().contains("loaded"), "only the active one loads: {}", standby.log());

    active.signal(Signal::KILL);
    assert!(active.gone());
    place.drop_file(FILES[2], csv(40..60));
    standby.until_ready();
    until_loaded(&place, FILES[2]);
    // The standby need not wait until the lease has run out.
    assert_active(&standby, f64::MIN_POSITIVE..LEASE + 10.0);
    let log = standby.log();
    assert!(log.contains("took over the right to write from") && log.contains("INFO ready"), "{log}");
    assert_eq!(standby.stop().0, 0);
    assert_as_one_pass(&mut place);
}

/// Returns what a daemon reports about itself: its readiness with the reason, whether it holds the lease, and whether
/// its store answers.
fn says(daemon: &Daemon) -> (u16, String, f64, f64) {
    let (status, reason) = daemon.get("/readyz").unwrap();
    let metrics = daemon.metrics();
    (status, reason, metrics["needledrop_lease_held"], metrics["needledrop_store_up"])
}

#[test]
fn an_active_daemon_that_is_cut_off_reports_not_ready_within_its_lease_and_recovers() {
    let Some(place) = Place::new().map(impatient) else { return };
    let cut = Switch::default();
    let is_cut = cut.clone();
    let place = through(place, move |_, _| !is_cut.is_on());
    let daemon = place.daemon();
    assert_active_at_once(&daemon);

    let began = Instant::now();
    cut.turn_on();
    until("it is not ready", || (says(&daemon).0 == 503).then_some(()));
    let (_, reason, _, store_up) = says(&daemon);
    assert!(reason.contains("right to write"), "{reason}");
    assert_eq!(store_up, 0.0);
    assert!(began.elapsed().as_secs_f64() < LEASE, "the daemon must report it before its lease ends");
    until("its lease has run out", || (says(&daemon).2 == 0.0).then_some(()));
    assert!(daemon.log().contains("WARN not ready"), "{}", daemon.log());

    cut.take();
    daemon.until_ready();
    let (_, _, lease_held, store_up) = says(&daemon);
    assert_eq!((lease_held, store_up), (1.0, 1.0));
}

#[test]
fn a_daemon_that_slept_through_its_lease_writes_no_more_and_stands_by() {
    let Some(place) = Place::new().map(impatient) else { return };
    let mut place = place.with("write.rows_per_second", "1500").with("write.window", "100");
    let mut sleeper = place.daemon();
    let other = slow(second(&place));
    let mut standby = other.daemon_unready();
    until_standing_by(&standby);
    place.drop_file(FILES[0], csv(0..2500));
    until_some_is_durable(&place);

    sleeper.signal(Signal::STOP);
    standby.until_ready();
    // The standby is in the middle of the same file.
    assert_ne!(place.states()[FILES[0]], "loaded");
    sleeper.signal(Signal::CONT);
    until_standing_by(&sleeper);
    until_loaded(&place, FILES[0]);
    assert!(!sleeper.log().contains("INFO loaded"), "{}", sleeper.log());
    let before = cells(&place);
    std::thread::sleep(Duration::from_secs(3));
    assert!(cells(&place) == before, "the standby wrote");
    assert_active(&standby, LEASE..LEASE + 10.0);

    // The sleeper takes over again when the other daemon stops.
    assert_eq!(standby.stop().0, 0);
    sleeper.until_ready();
    place.drop_file(FILES[1], csv(2500..2520));
    until_loaded(&place, FILES[1]);
    assert_active_at_once(&sleeper);
    assert_eq!(sleeper.stop().0, 0);
    assert_as_one_pass(&mut place);
}

#[test]
fn rows_under_way_in_a_sleeping_daemon_are_not_written_when_it_wakes() {
    let Some(place) = Place::new().map(impatient) else { return };
    let place = place.with("write.rows_per_second", "1500").with("write.window", "100");
    let sleeper = place.daemon();
    let other = slow(second(&place));
    let standby = other.daemon_unready();
    until_standing_by(&standby);
    place.drop_file(FILES[0], csv(0..2500));
    until_some_is_durable(&place);
    sleeper.signal(Signal::STOP);
    standby.until_ready();
    until_loaded(&place, FILES[0]);
    // Only the sleeper has anything left to write.
    let tables = place.tables();
    tables.keys().for_each(|table| place.cql(&format!("TRUNCATE ks.\"{table}\"")));
    assert!(tables.values().all(|rows| !rows.is_empty()), "the file was not loaded");
    sleeper.signal(Signal::CONT);
    // This is long enough to write what the sleeper had under way.
    std::thread::sleep(Duration::from_secs(2));
    let written: usize = place.tables().values().map(Vec::len).sum();
    // A request that the driver had before the daemon slept is sent when it wakes. It changes nothing but a truncated
    // table: the other daemon has written the same row under the same stamp. Two windows have 600 rows.
    assert!(written <= 30, "{written} rows were written without the lease");
    until_standing_by(&sleeper);
}

fn epoch(place: &Place) -> Vec<Vec<Option<CqlValue>>> {
    place.rows("SELECT epoch FROM ks.needledrop_lease")
}

#[test]
fn a_lost_answer_to_a_renewal_does_not_cost_the_lease() {
    let Some(place) = Place::new().map(impatient) else { return };
    let lose = Switch::default();
    let lost = lose.clone();
    let arrives =
        move |way, frame: &[u8]| !(way == Way::FromNode && holds(frame, "[applied]") && lost.take());
    let place = through(place.with("store.cassandra.lease", "3s"), arrives);
    let mut active = place.daemon();
    let other = second(&place).with("store.cassandra.lease", "3s");
    let standby = other.daemon_unready();
    until_standing_by(&standby);
    let before = epoch(&place);
    lose.turn_on();
    until("an answer is lost", || (!lose.is_on()).then_some(()));
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(epoch(&place), before, "the lease has another holder: {}", active.log());
    assert_active_at_once(&active);
    assert_eq!(active.stop().0, 0);
}

#[test]
fn a_daemon_stops_soon_even_if_it_cannot_give_the_lease_back() {
    let Some(place) = Place::new().map(impatient) else { return };
    let silent = Switch::default();
    let heard = silent.clone();
    // The lease is long, so that the attempt to give it back does not end by itself first.
    let place = through(place.with("store.cassandra.lease", "60s"), move |_, _| !heard.is_on());
    let mut daemon = place.daemon();
    silent.turn_on();
    let (code, took) = daemon.stop();
    assert_eq!(code, 0, "{}", daemon.log());
    assert!(took < Duration::from_secs(6), "{took:?}");
}

/// The node is unreachable from the first record that goes to quarantine. Once the lease has run out, the record is
/// not sent again.
#[test]
fn a_record_goes_to_quarantine_only_while_the_lease_is_held() {
    let Some(place) = Place::new().map(impatient) else { return };
    let (away, (seen, sent)) = (Switch::default(), mpsc::channel());
    let arrives = move |way, frame: &[u8]| {
        if way == Way::ToNode && holds(frame, "not a number") {
            away.turn_on();
            // The receiver is gone when the test is over.
            let _ = seen.send(Instant::now());
        }
        !away.is_on()
    };
    let place = through(place, arrives);
    let place = place.with("store.cassandra.lease", "3s").with("store.cassandra.request_timeout", "1s");
    let _daemon = place.daemon();
    let bad = csv(0..1).replace(",7,", ",not a number,");
    place.drop_file(FILES[0], bad);
    let first = sent.recv_timeout(Duration::from_secs(20)).unwrap();
    std::thread::sleep(Duration::from_secs(7));
    let later: Vec<Duration> = sent.try_iter().map(|at| at - first).collect();
    assert!(!later.is_empty(), "it is tried again");
    assert!(later.iter().all(|after| *after < Duration::from_secs(3)), "sent without the lease: {later:?}");
}

#[test]
fn two_daemons_that_start_together_create_one_store() {
    let Some(mut place) = Place::new().map(impatient) else { return };
    place.drop_file(FILES[0], csv(0..20));
    let other = second(&place);
    let mut daemons = [place.daemon_unready(), other.daemon_unready()];
    until_loaded(&place, FILES[0]);
    let ready = until("one is ready, and the other stands by", || {
        let told = [0, 1].map(|at| daemons[at].get("/readyz"));
        let ready = told.iter().position(|told| told.as_ref().is_some_and(|(status, _)| *status == 200))?;
        told[1 - ready].as_ref()?.1.contains("standby").then_some(ready)
    });
    // Neither daemon has removed anything that the other created.
    daemons[ready].signal(Signal::KILL);
    place.drop_file(FILES[1], csv(20..40));
    until_loaded(&place, FILES[1]);
    assert_eq!(daemons[1 - ready].stop().0, 0, "{}", daemons[1 - ready].log());
    assert_as_one_pass(&mut place);
}

/// A run is not a daemon: it ends, and the next run does the rest.
#[test]
fn a_run_that_slept_through_its_lease_ends_and_the_next_run_continues() {
    let Some(place) = Place::new().map(impatient) else { return };
    let mut place = place.with("write.rows_per_second", "1500").with("write.window", "100");
    place.drop_file(FILES[0], csv(0..2500));
    let mut sleeper = place.command(&["run", "--once"]);
    let sleeper = sleeper.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until_some_is_durable(&place);
    let id = rustix::process::Pid::from_child(&sleeper);
    rustix::process::kill_process(id, Signal::STOP).unwrap();
    place.set("write.rows_per_second", "0");
    let taken = place.run(&["run", "--once"]);
    assert_eq!(taken.code, 0, "the run waits until the lease has expired: {taken:?}");
    let before = place.dump();
    rustix::process::kill_process(id, Signal::CONT).unwrap();
    let ended = sleeper.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{told}");
    assert!(told.contains("another process has taken over") && told.contains("next: "), "{told}");
    assert!(place.dump() == before, "it wrote");
    assert_as_one_pass(&mut place);
}

#[test]
fn a_standby_stops_on_request() {
    let Some(place) = Place::new().map(impatient) else { return };
    let _active = place.daemon();
    let other = second(&place);
    let mut standby = other.daemon_unready();
    until_standing_by(&standby);
    let (code, took) = standby.stop();
    assert_eq!(code, 0, "{}", standby.log());
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_load_while_a_daemon_is_active_exits_and_names_the_daemon() {
    // The lease is long, so that a command that waits for it is noticed.
    let lease = ("store.cassandra.lease", "10s");
    let Some(place) = Place::new().map(|place| impatient(place).with(lease.0, lease.1)) else { return };
    let mut daemon = place.daemon();
    place.drop_file(FILES[0], csv(0..5));
    until_loaded(&place, FILES[0]);
    let before = cells(&place);
    for command in [&["load", FILES[0], "--again"][..], &["run", "--once"], &["load", "--table", "user_song"]]
    {
        let refused = place.run(command);
        assert_eq!(refused.code, 3, "{command:?}: {refused:?}");
        let holder = format!("process {} on ", daemon.id());
        assert!(refused.stderr.contains(&holder) && refused.stderr.contains("next: "), "{refused:?}");
    }
    assert_eq!(cells(&place), before);
    // A command that only reads is not refused.
    assert_eq!(place.json(&["status"])["states"], json!({ "loaded": 1 }));
    assert_eq!(daemon.stop().0, 0);
    // The daemon gave the lease back, so that no command has to wait for it.
    let began = std::time::Instant::now();
    assert_eq!(place.run(&["load", FILES[0], "--again"]).code, 0);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn a_standby_with_other_tables_reports_it_and_creates_none_before_it_takes_over() {
    let Some(place) = Place::new().map(impatient) else { return };
    let mut active = place.daemon();
    let declared = "{ partition_key: [artist], clustering_key: [sessionId, itemInSession], columns: [song] }";
    let other = second(&place).with("tables.by_artist", declared);
    let mut standby = other.daemon_unready();
    until_standing_by(&standby);
    let (_, told) = standby.get("/readyz").unwrap();
    assert!(told.contains("has other tables than are declared here"), "{told}");
    until("its log says so", || {
        standby.log().contains("whose configuration declares other tables").then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    assert!(standby.runs(), "{}", standby.log());
    let by_artist = |place: &Place| place.names().iter().any(|name| name == "by_artist");
    assert!(!by_artist(&place));

    assert_eq!(active.stop().0, 0);
    standby.until_ready();
    assert!(by_artist(&place));
}

/// A table of another shape is no reason to end either: the active process may have created it under the next
/// configuration.
#[test]
fn a_standby_whose_tables_have_another_shape_waits_until_it_would_write() {
    let Some(place) = Place::new().map(impatient) else { return };
    let mut active = place.daemon();
    let declared = "{ partition_key: [artist], clustering_key: [sessionId, itemInSession], columns: [song] }";
    let other = second(&place).with("tables.session_item", declared);
    let mut standby = other.daemon_unready();
    until_standing_by(&standby);
    assert!(standby.get("/readyz").unwrap().1.contains("other tables"));
    assert_eq!(active.stop().0, 0);
    assert_eq!(standby.ended(), 2, "{}", standby.log());
    assert!(standby.log().contains("session_item has another shape"), "{}", standby.log());
}

const SONGS: &str = "
source:
  pattern: [\"*.csv\"]
  settle: 100ms
  poll: 200ms
  columns: { artist: text, itemInSession: int, sessionId: int, song: text }
tables:
  songs: { partition_key: [sessionId], clustering_key: [itemInSession], columns: [song] }
";

/// Adds a table to the configuration. The daemon then reads it again.
fn reconfigure(world: &World) {
    let more = "  artists: { partition_key: [artist], clustering_key: [itemInSession], columns: [song] }\n";
    std::fs::write(world.path(".new.yaml"), format!("{SONGS}{more}")).unwrap();
    std::fs::rename(world.path(".new.yaml"), world.path("config.yaml")).unwrap();
}

fn until_reloaded(daemon: &Daemon) {
    until("the configuration is read again", || {
        daemon.log().contains("configuration: changed: tables.artists").then_some(())
    });
}

/// The active daemon keeps the right to write, whichever daemon reads the new configuration first.
#[test]
fn an_active_daemon_and_its_standby_reload_a_new_table_one_after_the_other() {
    for active_first in [true, false] {
        let Some(place) = Place::of(SONGS) else { return };
        let mut active = place.daemon();
        let other = place.beside_as(World::of(SONGS));
        let mut standby = other.daemon_unready();
        until_standing_by(&standby);
        let (first, then) = if active_first { (&*place, &other) } else { (&other, &*place) };
        let daemons = if active_first { [&active, &standby] } else { [&standby, &active] };
        reconfigure(first);
        until_reloaded(daemons[0]);
        until("the difference is told", || standby.get("/readyz")?.1.contains("other tables").then_some(()));
        reconfigure(then);
        until_reloaded(daemons[1]);
        until("there is no difference", || {
            let (_, told) = standby.get("/readyz")?;
            (told.contains("standby") && !told.contains("other tables")).then_some(())
        });
        active.until_ready();
        assert!(active.log().contains("is in force"), "{}", active.log());
        place.drop_file(FILES[0], csv(0..5));
        until_loaded(&place, FILES[0]);
        assert!(!standby.log().contains("INFO loaded"), "{}", standby.log());

        assert_eq!(active.stop().0, 0);
        standby.until_ready();
        place.drop_file(FILES[1], csv(5..10));
        until_loaded(&place, FILES[1]);
        let tables = &place.json(&["status", "--count"])["tables"];
        assert_eq!(json!([tables["artists"]["count"], tables["artists"]["behind"]]), json!([10, 0]));
        assert_eq!(standby.stop().0, 0);
    }
}

/// A table appears in the schema before the node accepts every statement about it.
#[test]
fn a_daemon_that_starts_while_another_creates_the_store_waits() {
    for gap in [100, 200, 300, 600] {
        let Some(place) = Place::new().map(impatient) else { return };
        let mut first = place.daemon_unready();
        std::thread::sleep(Duration::from_millis(gap));
        let other = second(&place);
        let mut daemons = [&mut first, &mut other.daemon_unready()];
        until("one is ready, and the other stands by", || {
            let running = daemons.iter_mut().all(|daemon| daemon.runs());
            assert!(running, "{gap} ms: {} {}", daemons[0].log(), daemons[1].log());
            let told: Vec<_> = daemons.iter().filter_map(|daemon| daemon.get("/readyz")).collect();
            let is_ready = told.iter().any(|(status, _)| *status == 200);
            (is_ready && told.iter().any(|(_, body)| body.contains("standby"))).then_some(())
        });
    }
}
