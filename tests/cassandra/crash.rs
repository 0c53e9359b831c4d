//! Tests of laws 1, 2 and 6: whatever ends the program at whatever point, the next run leaves the same tables and
//! receipts as a run without interruption.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::common::{HEADER, World, files, shared, until};
use crate::place::Place;
use crate::steps::{steps, steps_by};
use crate::story::Story;

/// Writes to stderr directly, because the harness hides the output of tests that pass.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "cassandra: {text}");
}

// Crashes at every durable step.

/// A change of the inbox. A run follows each change.
type Phase = fn(&Place);

/// In the first phase files appear, one of them with an open tail. In the second phase that file grows, another file
/// is replaced, and a copy appears.
const PHASES: [Phase; 2] = [
    |place| {
        place.copy_in(&files(&shared("order").unwrap()));
        let refused =
            format!("{HEADER}{}\n-,x\n{}\n", record("R1", "", "1.5", "1"), record("R2", "Rea", "", "2"));
        place.drop_file("2018-12-04-refused.csv", refused);
        let tail = format!("{HEADER}{}\n{}", record("T1", "Tea", "1.5", "1"), record("T2", "", "2.5", "1"));
        place.drop_file("2018-12-05-tail.csv", tail);
        place.drop_file("2018-12-06-cut.csv", format!("{HEADER}{}\nT4,Ti", record("T3", "Tim", "", "1")));
    },
    |place| {
        place.append("2018-12-05-tail.csv", format!("2\n{}\n", record("T5", "Tod", "3.5", "7")));
        place.append("2018-12-06-cut.csv", "na,F,1,Last,,free,X,1,Song1,1\n");
        let second = shared("order").unwrap().join("2018-12-02-events.v2.txt");
        place.drop_file("2018-12-02-events.csv", std::fs::read(second).unwrap());
        place.copy_in_as("2018-12-04-refused.csv", "2018-12-07-copy.csv");
    },
];

fn record(artist: &str, first: &str, length: &str, key: &str) -> String {
    format!("{artist},{first},F,1,Last,{length},free,\"X, Y\",1,Song1,{key}")
}

impl Place {
    fn copy_in_as(&self, from: &str, to: &str) {
        std::fs::copy(self.inbox().join(from), self.inbox().join(to)).unwrap();
    }

    /// Runs to the end. Exit code 1 is allowed, because it is about the input and not about the run.
    fn whole(&self) {
        let output = self.run(&["run", "--once"]);
        // Successful steps are logged at INFO. Only the other lines are worth showing.
        let told: Vec<&str> = output.stderr.lines().filter(|line| !line.contains(" INFO ")).collect();
        assert!(matches!(output.code, 0 | 1), "exit code {}: {}", output.code, told.join("\n"));
    }

    /// Runs with an abort at this durable step. Returns whether the run came that far.
    pub fn aborts_at(&self, step: usize) -> bool {
        let output = self.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        let output = output.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let aborted = output.status.code().is_none();
        assert_eq!(aborted, told.contains("aborting at step"), "{told}");
        aborted
    }
}

fn small() -> Option<Place> {
    small_at(Place::new())
}

fn small_at(place: Option<Place>) -> Option<Place> {
    let place = place.filter(|_| shared("order").is_some())?;
    Some(place.with("write.window", "1").with("source.files_at_once", "2"))
}

/// Plays all phases. The run of phase `at` aborts at `step`. Returns false if the run ended before that step.
fn crashed(place: &Place, at: usize, step: usize, clean: &Story) -> bool {
    for (n, phase) in PHASES.iter().enumerate() {
        phase(place);
        if n == at && !place.aborts_at(step) {
            return false;
        }
        place.whole();
    }
    Story::of(place).assert_is(clean, &format!("phase {at}, aborted at step {step}"));
    true
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_run_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let Some(place) = small() else { return };
    PHASES.iter().for_each(|phase| {
        phase(&place);
        place.whole();
    });
    let clean = Story::of(&place);
    let mut last = Vec::new();
    for (at, _) in PHASES.iter().enumerate() {
        let crashed = |step: &usize| {
            place.empty();
            crashed(&place, at, *step, &clean)
        };
        last.push(steps().take_while(crashed).last().unwrap_or_default());
    }
    tell(&format!("two runs were killed up to these durable steps: {last:?}"));
    assert!(last[0] > 30 && last[1] > 9, "crash points are missing: {last:?}");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_first_run_that_ends_while_the_store_is_created_is_completed_by_the_next() {
    // After these steps the store exists, and the test above covers the rest.
    for step in steps_by(2).take_while(|step| *step <= 4) {
        let Some(place) = small_at(Place::without_keyspace(World::new())) else { return };
        PHASES[0](&place);
        if !place.aborts_at(step) {
            return;
        }
        place.whole();
        let found = Story::of(&place);
        place.empty();
        PHASES[0](&place);
        place.whole();
        found.assert_is(&Story::of(&place), &format!("aborted at step {step}"));
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_backfill_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let Some(place) = small() else { return };
    PHASES[0](&place);
    place.whole();
    let (clean, stamps) = (Story::of(&place), place.stamped("user_song"));
    let replay = ["load", "--table", "user_song"];
    for step in steps() {
        place.cql("DROP TABLE ks.user_song");
        let aborted = place.command(&replay).env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        let done = place.run(&replay);
        assert_eq!(done.code, 0, "{done:?}");
        Story::of(&place).assert_is(&clean, &format!("replay, aborted at step {step}"));
        assert_eq!(place.stamped("user_song"), stamps, "replay, aborted at step {step}");
        if aborted.status.success() {
            assert!(step > 8, "crash points are missing: {step}");
            break;
        }
    }
}

/// The file has more than a page of records that pass now, some with the keys of other records, and a last record
/// without a line end.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_quarantine_replay_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let Some(mut place) = Place::new() else { return };
    let bad: String =
        (0..70).map(|n| format!("{}\n", record(&format!("B{n}"), "", "", &(n % 40).to_string()))).collect();
    let good =
        (0..20).map(|n| format!("{}\n", record("G", "Gil", "1.5", &n.to_string()).replace("free", "1")));
    let text = format!("{HEADER}{bad}{}{}", good.collect::<String>(), record("Last", "Lou", "2.5", "1"));
    let replay = ["quarantine", "replay"];
    let prepared = |place: &mut Place| {
        place.empty();
        place.set("source.columns.level", "int");
        place.drop_file("2018-12-01.csv", &text);
        place.whole();
        place.set("source.columns.level", "text");
    };
    prepared(&mut place);
    assert_eq!(place.run(&replay).code, 0);
    let all = |place: &Place| place.json(&["quarantine", "list", "--all"]);
    let (clean, entries) = (Story::of(&place), all(&place));
    assert_eq!(place.json(&["status"])["quarantine"]["replayed"], 71);
    let at_once = place.tables();
    place.empty();
    place.drop_file("2018-12-01.csv", &text);
    place.whole();
    assert_eq!(place.tables(), at_once, "the tables are those of a run in which the records passed at once");
    for step in steps() {
        prepared(&mut place);
        let aborted = place.command(&replay).env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        Story::of(&place);
        let done = place.run(&replay);
        assert_eq!(done.code, 0, "{done:?}");
        Story::of(&place).assert_is(&clean, &format!("replay of the quarantine, aborted at step {step}"));
        assert_eq!(all(&place), entries, "aborted at step {step}");
        if aborted.status.success() {
            assert!(step > 8, "crash points are missing: {step}");
            break;
        }
    }
}

/// Records that an interrupted load refused may be in quarantine before the receipt counts them.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_quarantine_replay_between_a_kill_and_the_next_run_changes_nothing() {
    let Some(place) = Place::new() else { return };
    let mut place = place.with("write.window", "1").with("write.queue", "1");
    let long = |n: u32| format!("{}\n", record(&"Long".repeat(30), "", "", &n.to_string()));
    let short = |n: u32| format!("{}\n", record("Short", "Sam", "1.5", &n.to_string()));
    let text = format!("{HEADER}{}{}{}{}{}", short(1), long(2), long(3), short(1), long(1));
    let begin = |place: &mut Place, limit: &str| {
        place.empty();
        place.set("limits.max_record_bytes", limit);
        place.drop_file("2018-12-01.csv", &text);
    };
    begin(&mut place, "1000");
    place.whole();
    let at_once = place.tables();
    for step in steps() {
        begin(&mut place, "100");
        let aborted = place.aborts_at(step);
        // The new limit frames the records in another way, so what was sent is not continued.
        place.set("limits.max_record_bytes", "1000");
        assert_eq!(place.run(&["quarantine", "replay"]).code, 0);
        place.whole();
        assert_eq!(place.run(&["quarantine", "replay"]).code, 0);
        Story::of(&place);
        assert_eq!(place.tables(), at_once, "the load aborted at step {step}");
        if !aborted {
            assert!(step > 20, "crash points are missing: {step}");
            break;
        }
    }
}

// Kills at any moment.

/// Kills the process. Returns false if it had ended before.
fn kill(mut child: Child) -> bool {
    let ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    !ended
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn a_run_killed_at_any_moment_ends_as_if_never_killed() {
    let Some(real) = shared("events").map(|folder| files(&folder)) else { return };
    let Some(place) = Place::new().map(|place| place.with("write.window", "100")) else { return };
    let kills = number("NEEDLEDROP_KILLS").unwrap_or(10);
    let seed = number("NEEDLEDROP_SEED").unwrap_or_else(|| fastrand::u64(..));
    tell(&format!("{kills} kills with NEEDLEDROP_SEED={seed}"));
    let mut rng = Rng::with_seed(seed);
    let filled = || place.copy_in(&real);

    filled();
    place.whole();
    let clean = Story::of(&place);
    place.empty();
    filled();
    let began = Instant::now();
    place.whole();
    // The duration of a run varies. If a run ends before its kill, runs take less time than assumed.
    let mut most = u64::try_from(began.elapsed().as_millis()).unwrap();

    let (mut left, mut midway) = (kills, 0);
    while left > 0 {
        let in_this = rng.u64(1..=4).min(left);
        place.empty();
        filled();
        for _ in 0..in_this {
            let mut child = place.command(&["run", "--once"]);
            let child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(rng.u64(5..=most)));
            match kill(child) {
                true => midway += 1,
                false => most = (most * 9 / 10).max(50),
            }
        }
        place.whole();
        let what = format!("seed {seed}, {in_this} kills, {left} of {kills} left");
        Story::of(&place).assert_is(&clean, &what);
        left -= in_this;
    }
    tell(&format!("{midway} of {kills} kills came before the end"));
    assert!(kills < 10 || midway * 5 >= kills, "only {midway} of {kills} kills came before the end");
}

/// Two daemons are killed during the load, and a third daemon finishes it.
#[test]
fn a_load_of_a_killed_daemon_is_finished_by_the_next_daemon() {
    let Some(real) = shared("events").map(|folder| files(&folder)) else { return };
    let Some(place) = Place::new().map(|place| place.with("source.settle", "10ms")) else { return };
    place.copy_in(&real);
    place.whole();
    let clean = Story::of(&place);
    place.empty();
    place.copy_in(&real);
    for rows in [100, 2000] {
        let mut daemon = place.daemon();
        until("it is under way", || {
            (place.rows("SELECT userid FROM ks.user_session").len() >= rows).then_some(())
        });
        daemon.signal(rustix::process::Signal::KILL);
        assert!(daemon.gone());
    }
    let mut daemon = place.daemon();
    until("all are loaded", || {
        let status = place.json(&["status"]);
        (status["states"]["loaded"] == 30).then_some(())
    });
    assert_eq!(daemon.stop().0, 0);
    Story::of(&place).assert_is(&clean, "after two killed daemons");
}

/// Rows of a tail may have been sent although the ledger never recorded them. If the file comes back with another
/// tail, the old and the new record with the same key must not mix: under one stamp the server takes the greater
/// value, cell by cell.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_tail_rewritten_before_the_resume_does_not_mix_with_the_old_tail() {
    let Some(place) = Place::new() else { return };
    let place = place.with("write.window", "1");
    let text = |first: &str, artist: &str| {
        let tail = (2..6).map(|key| record(artist, first, "1.5", &key.to_string()) + "\n");
        format!("{HEADER}{}\n{}", record("Same", "Sam", "1.5", "1"), tail.collect::<String>())
    };
    // Each tail has the greater value in one of the two columns.
    let (before, after) = (text("Ann", "Zz"), text("Zoe", "Bb"));
    place.drop_file("2018-12-01.csv", &after);
    place.whole();
    let clean = place.tables();
    for step in steps() {
        place.empty();
        place.drop_file("2018-12-01.csv", &before);
        let aborted = place.aborts_at(step);
        place.drop_file("2018-12-01.csv", &after);
        place.whole();
        assert_eq!(place.tables(), clean, "rewritten when it was aborted at step {step}");
        if !aborted {
            assert!(step > 15, "crash points are missing: {step}");
            break;
        }
    }
}

/// The limit is exceeded by records after the first 2 MiB, which only the end of the file shows: the last record, which
/// has no line end, ends the delivery as failed. The run that settles an interrupted last record must fail it too.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_delivery_over_the_limit_fails_too_if_its_tail_is_written_again() {
    let Some(place) = Place::new() else { return };
    let place = place.with("write.window", "1").with("limits.max_quarantined", "1");
    let long = |key: u32| record(&"L".repeat(700_000), "Lea", "1.5", &key.to_string()) + "\n";
    let long: String = (1..5).map(long).collect();
    let text = format!("{HEADER}{long}-,x\n-,y\n{}", record("Last", "Lou", "2.5", "9"));
    let state = |place: &Place| place.json(&["status"])["states"].clone();
    let failed = serde_json::json!({ "failed": 1 });
    for step in steps() {
        place.empty();
        place.drop_file("2018-12-01.csv", &text);
        let aborted = place.aborts_at(step);
        place.whole();
        assert_eq!(state(&place), failed, "aborted at step {step}");
        if !aborted {
            assert!(step > 15, "crash points are missing: {step}");
            break;
        }
    }
}
