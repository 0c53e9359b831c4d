//! Tests of laws 1, 2 and 6 with the real program: whatever ends it at whatever point, the next run leaves the same
//! tables and receipts as a run without interruption.
//!
//! `NEEDLEDROP_KILLS` is the number of kills (20). `NEEDLEDROP_SEED` repeats a run that failed. `NEEDLEDROP_SHARED`
//! is the folder that holds `events/` and `order/` (`../shared`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper must fail its test"
)]

#[path = "common/steps.rs"]
mod steps;
#[path = "crash/world.rs"]
mod world;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use fastrand::Rng;
use steps::steps_by;
use world::World;

/// The number of records in a big file. It takes many chunks, so that a kill can come between two chunks of a file.
const BIG: usize = 4000;

/// The distance between the durable steps that are tried. `make every-step` tries each of them.
const STRIDE: usize = 3;

/// Writes to stderr directly, because the harness hides the output of tests that pass.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "crash: {text}");
}

/// Returns the files of a folder that is not part of the project. Without the folder the test is skipped, except in
/// CI, where that is a failure.
fn shared(name: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    let folder = std::env::var_os("NEEDLEDROP_SHARED").map_or(beside, PathBuf::from).join(name);
    let Ok(listed) = std::fs::read_dir(&folder) else {
        assert!(std::env::var_os("CI").is_none(), "{} is missing: set NEEDLEDROP_SHARED", folder.display());
        tell(&format!("SKIPPED: {} is missing; set NEEDLEDROP_SHARED", folder.display()));
        return None;
    };
    let files = listed.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    Some(files)
}

fn is_csv(name: &str) -> bool {
    name.ends_with(".csv")
}

const HEADER: &str =
    "artist,firstName,gender,itemInSession,lastName,length,level,location,sessionId,song,userId\n";

/// Returns records with few keys, whose values differ or are empty, so that their order is visible. Some records are
/// refused and some are skipped.
fn colliding(seed: u64, records: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let mut text = HEADER.to_owned();
    for n in 0..records {
        let artist = match rng.u8(0..20) {
            0 => String::new(),
            1 => format!("\"A {n},\n\"\"{seed}\"\"\""),
            _ => format!("A{n}"),
        };
        let first = if rng.bool() { format!("F{n}") } else { String::new() };
        let length = if rng.u8(0..50) == 0 { "long".to_owned() } else { format!("{n}.5") };
        let length = if rng.u8(0..4) == 0 { String::new() } else { length };
        let (item, session) = (rng.u8(0..40), rng.u8(0..10));
        let (song, user) = (rng.u8(0..20), rng.u8(0..10));
        let end = if rng.u8(0..30) == 0 { "\r\n" } else { "\n" };
        write!(text, "{artist},{first},F,{item},L{n},{length},free,\"X, Y\",{session},S{song},{user}{end}")
            .unwrap();
    }
    text.into_bytes()
}

fn record(artist: &str, first: &str, length: &str, key: usize) -> String {
    format!("{artist},{first},F,{key},Last,{length},free,\"X, Y\",{key},Song{key},{key}")
}

// Crashes at every durable step.

/// A change of the inbox. A run follows each change.
type Phase = fn(&World, &[(String, Vec<u8>)]);

/// Phases in which files of every kind appear, grow, are replaced and are copied.
const PHASES: [Phase; 3] = [
    |world, files| {
        for (name, bytes) in files.iter().filter(|(name, _)| is_csv(name)) {
            world.put(name, bytes);
        }
        world.put("2018-12-04-refused.csv", &colliding(4, 130));
        // Both files end without a line feed: one with all its fields, the other in the middle of a record.
        let tail = format!("{HEADER}{}\n{}", record("T1", "", "1.5", 1), record("T2", "Tia", "2.5", 2));
        world.put("2018-12-05-tail.csv", tail.as_bytes());
        world.put("2018-12-06-cut.csv", format!("{HEADER}{}\nT4,Ti", record("T3", "", "", 1)).as_bytes());
        world.put("2018-12-07-empty.csv", b"");
    },
    |world, files| {
        // The open tail grows into a record of another user, and the file outgrows its range of stamps.
        let mut tail = "2\n".to_owned();
        for n in 0..120 {
            writeln!(tail, "{}", record(&format!("G{n}"), "", "3.5", n % 7)).unwrap();
        }
        world.append("2018-12-05-tail.csv", tail.as_bytes());
        world.append("2018-12-06-cut.csv", b"na,F,1,Last,,free,X,1,Song1,1\nT5,");
        let (_, second) = files.iter().find(|(name, _)| name.ends_with("v2.txt")).unwrap();
        world.put("2018-12-02-events.csv", second);
    },
    |world, files| {
        let (_, first) = files.iter().find(|(name, _)| name == "2018-12-02-events.csv").unwrap();
        world.put("2018-12-02-events.csv", first);
        world.put("2018-12-09-copy.csv", &colliding(4, 130));
        world.put("2018-12-10-headless.csv", b"a,b\n1,2\n");
        world.append("2018-12-06-cut.csv", b"Tom,F,2,Last,4.5,free,X,2,Song2,2\n");
    },
];

fn small_files() -> Option<Vec<(String, Vec<u8>)>> {
    let mut files = shared("order")?;
    let small = shared("events")?.into_iter().filter(|(name, bytes)| is_csv(name) && bytes.len() < 12_000);
    files.extend(small.take(3));
    Some(files)
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_run_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let Some(files) = small_files() else { return };
    let clean = World::new();
    for phase in PHASES {
        phase(&clean, &files);
        clean.once();
    }
    let clean = clean.story();
    let last = [0, 1, 2].map(|at| {
        steps_by(STRIDE).take_while(|step| crashed(&files, at, *step, &clean)).last().unwrap_or_default()
    });
    tell(&format!("three runs were killed up to these durable steps: {last:?}"));
    assert!(last[0] > 35 && last[1] > 10 && last[2] > 8, "crash points are missing: {last:?}");
}

/// Plays all phases. The run of phase `at` aborts at `step`. Returns false if the run ended before that step.
fn crashed(files: &[(String, Vec<u8>)], at: usize, step: usize, clean: &world::Story) -> bool {
    let world = World::new();
    let mut aborted = false;
    for (n, phase) in PHASES.iter().enumerate() {
        phase(&world, files);
        if n == at {
            aborted = world.abort_at(step);
            if !aborted {
                return false;
            }
        }
        world.once();
    }
    world.rests();
    world.story().assert_is(clean, &format!("phase {at}, aborted at step {step}"));
    aborted
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_backfill_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let Some(files) = small_files() else { return };
    let prepared = || {
        let world = World::new();
        PHASES[0](&world, &files);
        world.once();
        world
    };
    let clean = prepared();
    let expected = clean.story();
    let mut last = 0;
    for step in steps_by(STRIDE) {
        let world = prepared();
        world.sql("DROP TABLE user_song");
        let aborted = world.abort("load --table user_song", step);
        let done = world.run(&["load", "--table", "user_song"]);
        assert!(matches!(done.status.code(), Some(0 | 1)), "{done:?}");
        world.story().assert_is(&expected, &format!("backfill, aborted at step {step}"));
        if !aborted {
            break;
        }
        last = step;
    }
    tell(&format!("a backfill was killed up to this durable step: {last}"));
    assert!(last > 12, "crash points are missing: {last}");
}

/// Changes the configuration so that values that were out of range are accepted.
fn widen(world: &mut World) {
    for column in ["ITEMINSESSION", "SESSIONID", "USERID"] {
        world.set(&format!("NEEDLEDROP_SOURCE__COLUMNS__{column}"), "bigint");
    }
}

/// Writes two files with records out of range, over several pages and partly with the keys of other records. The
/// files also have words that are never valid numbers, and a last record without a line end.
fn far(world: &World) {
    let far = |n: usize| record(&format!("Far {n}"), "", "1.5", 3_000_000_000 + n % 40);
    for file in ["2018-12-01-far.csv", "2018-12-02-far.csv"] {
        let mut text = HEADER.to_owned();
        for n in 0..150 {
            let other = if n % 50 == 0 {
                record("Word", "", "long", n)
            } else {
                record("Fine", "Ann", "2.5", n % 40)
            };
            writeln!(text, "{}\n{other}", far(n)).unwrap();
            // More than half of the records are good, so that the files are below limits.max_quarantined.
            if n % 10 == 0 {
                writeln!(text, "{}", record("Fine", "Bo", "2.5", n % 40)).unwrap();
            }
        }
        // Two files with the same bytes would be duplicates.
        write!(text, "{}", far(151).replace("Far", file)).unwrap();
        world.put(file, text.as_bytes());
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_quarantine_replay_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let prepared = |before: &str| {
        let mut world = World::new();
        far(&world);
        world.once();
        widen(&mut world);
        world.sql(before);
        world
    };
    let replay = |world: &World| {
        let done = world.run(&["quarantine", "replay"]);
        assert_eq!(done.status.code(), Some(1), "words are still not numbers: {done:?}");
    };
    let clean = prepared("");
    replay(&clean);
    let (expected, entries) = (clean.story(), clean.entries());
    let quarantine = clean.status()["quarantine"].to_string();
    assert_eq!(quarantine, r#"{"open":6,"replayed":302,"discarded":0}"#);
    let mut at_once = World::new();
    widen(&mut at_once);
    far(&at_once);
    at_once.once();
    assert_eq!(
        expected.tables,
        at_once.story().tables,
        "the tables are those of a run in which the records passed at once"
    );
    let format_1 = concat!(
        include_str!("common/format_6.sql"),
        include_str!("common/format_5.sql"),
        include_str!("common/format_4.sql"),
        include_str!("common/format_3.sql"),
        include_str!("common/format_2.sql"),
        include_str!("common/format_1.sql")
    );
    for (before, least) in [("", 9), (format_1, 11)] {
        let mut last = 0;
        for step in steps_by(STRIDE) {
            let world = prepared(before);
            let aborted = world.abort("quarantine replay", step);
            // Every receipt closes after an abort, too.
            world.story();
            replay(&world);
            world.story().assert_is(&expected, &format!("aborted at step {step}"));
            assert_eq!(world.entries(), entries, "aborted at step {step}");
            if !aborted {
                break;
            }
            last = step;
        }
        tell(&format!("a replay of the quarantine was killed up to this durable step: {last}"));
        assert!(last > least, "crash points are missing: {last}");
    }
}

/// The replay tries records that an interrupted load refused. Then the load continues.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_quarantine_replay_between_a_kill_and_the_next_run_changes_nothing() {
    let mut at_once = World::new();
    widen(&mut at_once);
    far(&at_once);
    at_once.once();
    let expected = at_once.story().tables;
    for step in steps_by(STRIDE).skip(1) {
        let mut world = World::new();
        far(&world);
        let aborted = world.abort_at(step);
        widen(&mut world);
        world.run(&["quarantine", "replay"]);
        world.once();
        let replayed = world.run(&["quarantine", "replay"]);
        assert_eq!(replayed.status.code(), Some(1), "words are still not numbers: {replayed:?}");
        assert_eq!(world.story().tables, expected, "the load aborted at step {step}");
        if !aborted {
            break;
        }
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_discard_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let play = |step: usize| {
        let world = World::new();
        far(&world);
        world.once();
        let aborted = world.abort("quarantine discard --column itemInSession", step);
        assert_eq!(world.run(&["quarantine", "discard", "--column", "itemInSession"]).status.code(), Some(0));
        (aborted, world)
    };
    let (_, clean) = play(usize::MAX);
    for step in steps_by(STRIDE) {
        let (aborted, world) = play(step);
        assert_eq!(world.entries(), clean.entries(), "aborted at step {step}");
        let quarantine = |world: &World| world.status()["quarantine"].clone();
        assert_eq!(quarantine(&world), quarantine(&clean), "aborted at step {step}");
        if !aborted {
            assert!(step > 12, "crash points are missing: {step}");
            break;
        }
    }
}

// Kills at any moment.

/// A change of the inbox while no process runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mischief {
    None,
    /// A file gets another name.
    Rename,
    /// A file gets more records.
    Append,
    /// A file disappears and comes back.
    Hide,
}

const VICTIM: &str = "2018-11-15-events.csv";
const RENAMED: &str = "2018-11-15-events-renamed.csv";

fn all_files() -> Option<Vec<(String, Vec<u8>)>> {
    let mut files = shared("events")?;
    files.extend(shared("order")?);
    files.retain(|(name, _)| is_csv(name));
    files.push(("2018-12-20-generated.csv".to_owned(), colliding(20, BIG)));
    files.push(("2018-12-21-generated.csv".to_owned(), colliding(21, BIG / 4)));
    Some(files)
}

/// Returns records with keys of their own, to be appended to the victim.
fn appendix(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (_, victim) = files.iter().find(|(name, _)| name == VICTIM).unwrap();
    let header = victim.split(|byte| *byte == b'\n').next().unwrap();
    let header = String::from_utf8(header.to_vec()).unwrap();
    let mut more = String::new();
    for n in 0..300 {
        let fields = header.trim_end().split(',').map(|name| match name {
            "itemInSession" | "sessionId" | "userId" => (900_000 + n).to_string(),
            "length" => "1.5".to_owned(),
            "artist" | "song" => format!("appended {n}"),
            _ => String::new(),
        });
        more.push_str(&fields.collect::<Vec<_>>().join(","));
        more.push('\n');
    }
    more.into_bytes()
}

fn filled(files: &[(String, Vec<u8>)]) -> World {
    let world = World::new();
    for (name, bytes) in files {
        world.put(name, bytes);
    }
    world
}

#[test]
fn a_run_killed_at_any_moment_ends_as_if_never_killed() {
    let Some(files) = all_files() else { return };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let kills = number("NEEDLEDROP_KILLS").unwrap_or(20);
    let seed = number("NEEDLEDROP_SEED").unwrap_or_else(|| fastrand::u64(..));
    tell(&format!("{kills} kills with NEEDLEDROP_SEED={seed}"));
    let mut rng = Rng::with_seed(seed);

    let clean = filled(&files);
    let began = Instant::now();
    clean.once();
    let whole = began.elapsed();
    let clean = clean.story();
    let grown = filled(&files);
    grown.append(VICTIM, &appendix(&files));
    grown.once();
    let grown = grown.story();

    let (mut left, mut worlds, mut midway) = (kills, 0, 0);
    while left > 0 {
        let in_this = rng.u64(2..=5).min(left);
        let mischief = [Mischief::None, Mischief::Rename, Mischief::Append, Mischief::Hide][worlds % 4];
        let daemon = worlds % 2 == 1;
        let what = format!("seed {seed}, world {worlds}: {in_this} kills, {mischief:?}, daemon: {daemon}");
        let world = filled(&files);
        let mut mischief_at = rng.u64(0..in_this);
        for kill in 0..in_this {
            let child = if rng.bool() { world.start(&["run", "--once"]) } else { world.daemon() };
            // Half of the kills come early, while the store is created and files are taken up. The others come at any
            // time up to the end.
            let most = if rng.bool() { 60 } else { whole.as_millis().try_into().unwrap_or(60) };
            std::thread::sleep(Duration::from_micros(rng.u64(1_000..=most.max(2) * 1000)));
            midway += u64::from(kill_it(child));
            if kill == mischief_at {
                mischief_at = u64::MAX;
                let place = |name: &str| world.inbox().join(name);
                match mischief {
                    Mischief::None => {}
                    Mischief::Rename => std::fs::rename(place(VICTIM), place(RENAMED)).unwrap(),
                    Mischief::Append => world.append(VICTIM, &appendix(&files)),
                    Mischief::Hide => {
                        std::fs::rename(place(VICTIM), place(".hidden")).unwrap();
                        kill_it(world.start(&["run", "--once"]));
                        std::fs::rename(place(".hidden"), place(VICTIM)).unwrap();
                    }
                }
            }
        }
        if daemon {
            until_all_is_loaded(&world, &what)
        } else {
            world.once()
        }
        world.rests();
        let story = world.story();
        match mischief {
            Mischief::None => story.assert_is(&clean, &what),
            Mischief::Hide => story.assert_is_but_for_order(&clean, &[], &what),
            Mischief::Append => story.assert_is_but_for_order(&grown, &[], &what),
            Mischief::Rename => story.assert_is_but_for_order(&clean, &[VICTIM, RENAMED], &what),
        }
        left -= in_this;
        worlds += 1;
    }
    tell(&format!("{kills} kills in {worlds} worlds, {midway} of them before the end"));
    assert!(kills < 20 || midway * 4 >= kills, "only {midway} of {kills} kills came before the end");
}

/// Kills the process. Returns false if it had ended before.
fn kill_it(mut child: Child) -> bool {
    let ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    !ended
}

/// Runs the daemon until nothing waits any more, and then stops it.
fn until_all_is_loaded(world: &World, what: &str) {
    let mut child = world.daemon();
    let began = Instant::now();
    loop {
        let status = world.status();
        let idle = status["states"].as_object().unwrap().keys().all(|state| state != "loading");
        // Until the daemon reports its address, it may not notice the signal to stop.
        let listens = world.log().contains("/metrics");
        if listens && idle && status["backlog"]["files"] == 0 {
            break;
        }
        assert!(child.try_wait().unwrap().is_none(), "{what}: the daemon ended: {}", world.log());
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not done: {status}\n{}", world.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{what}: {status:?}: {}", world.log());
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_complete_run_after_a_killed_run_leaves_nothing_to_write() {
    let Some(files) = small_files() else { return };
    let world = filled(&files.into_iter().filter(|(name, _)| is_csv(name)).collect::<Vec<_>>());
    assert!(world.abort_at(9));
    world.once();
    world.rests();
}

/// The stamps of the ledger are ahead of the clock, as after a clock was set back.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_clock_that_was_set_back_does_not_change_the_order() {
    let world = World::new();
    let file = |artist: &str| format!("{HEADER}{}\n", record(artist, "", "1.5", 1)).into_bytes();
    world.put("2018-12-01.csv", &file("before"));
    world.once();
    // Five minutes are within the limit for stamps ahead of the clock.
    world.sql("UPDATE _needledrop_stamps SET base = base + 300000000");
    world.sql("UPDATE session_item SET _stamp = _stamp + 300000000");
    world.put("2018-12-02.csv", &file("after"));
    assert!(world.abort_at(2), "the run aborts after the file is taken up");
    world.once();
    assert_eq!(world.cell("SELECT artist FROM session_item"), "after");
    assert_eq!(
        world.cell(
            "SELECT count(*) FROM _needledrop_stamps AS a, _needledrop_stamps AS b \
        WHERE a.base < b.base AND a.base + 2 * a.records > b.base"
        ),
        "0",
        "ranges overlap"
    );
    assert_eq!(world.cell("SELECT sum(base % 2) FROM _needledrop_stamps"), "0");
}

/// The bytes are gone, so the delivery can never be completed. It must not be shown as loading for ever.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_file_that_vanished_between_a_kill_and_the_next_run_is_replaced() {
    for daemon in [false, true] {
        let world = World::new();
        world.put("2018-12-01-gone.csv", &colliding(1, 300));
        world.put("2018-12-02-here.csv", &colliding(2, 10));
        assert!(world.abort_at(5), "in the middle of the first file");
        let place = world.inbox().join("2018-12-01-gone.csv");
        let aside = world.inbox().join(".aside");
        std::fs::rename(&place, &aside).unwrap();
        if daemon {
            until_all_is_loaded(&world, "gone")
        } else {
            world.once()
        }
        assert_eq!(world.state("2018-12-01-gone.csv"), "replaced");
        assert_eq!(world.state("2018-12-02-here.csv"), "loaded");
        // The file comes back, and its delivery is resumed.
        std::fs::rename(&aside, &place).unwrap();
        world.once();
        assert_eq!(world.state("2018-12-01-gone.csv"), "loaded");
        let clean = World::new();
        clean.put("2018-12-01-gone.csv", &colliding(1, 300));
        clean.put("2018-12-02-here.csv", &colliding(2, 10));
        clean.once();
        world.story().assert_is(&clean.story(), "after the file disappeared and came back");
    }
}

/// The copy comes first in the listing order, but its bytes are being loaded under the other name.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_copy_that_appears_between_a_kill_and_the_next_run_is_a_duplicate() {
    for daemon in [false, true] {
        let world = World::new();
        world.put("2018-12-02-begun.csv", &colliding(1, 300));
        assert!(world.abort_at(9), "in the middle of the file");
        world.put("2018-12-01-copy.csv", &colliding(1, 300));
        if daemon {
            until_all_is_loaded(&world, "copy")
        } else {
            world.once()
        }
        assert_eq!(world.state("2018-12-02-begun.csv"), "loaded");
        assert_eq!(world.state("2018-12-01-copy.csv"), "duplicate");
        world.story();
    }
}
