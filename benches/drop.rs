//! From the drop to the answer: how long after a daily file came into the inbox of the running daemon
//! its last record can be asked for, in every table.
//!
//! The clock starts before the copy or the rename begins. A second connection asks every millisecond.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Outcome, Scratch, quantile};
use rusqlite::{Connection, OpenFlags};

const DROPS: usize = 200;

/// Records of a file: one less than a daily file has, and the one that is waited for.
const ROWS: &str = "299";

const GOAL_MS: f64 = 100.0;

const PATIENCE: Duration = Duration::from_secs(20);

const ARRIVED: &str = "SELECT EXISTS (SELECT 1 FROM session_item WHERE sessionId = ?1 AND itemInSession = 0) \
     AND EXISTS (SELECT 1 FROM user_session WHERE sessionId = ?1 AND userId = 1 AND itemInSession = 0) \
     AND EXISTS (SELECT 1 FROM user_song WHERE song = 'drop ' || ?1 AND userId = 1)";

/// Keys of the last records begin here, above those of every sample.
const LAST: usize = 100_000_000;

/// The daemon, ended when the bench ends, however it does.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // A daemon that is gone already needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Outcome {
    let scratch = Scratch::new()?;
    let days = samples(&scratch)?;
    let _daemon = Daemon(scratch.needledrop(&["run"]).spawn()?);
    let reader = opened(&scratch.store())?;
    // One drop that does not count: the first file finds everything cold.
    drop_one(&reader, &days[0], &scratch.inbox(), 0)?;
    let mut copied = Vec::new();
    let mut renamed = Vec::new();
    for (number, day) in days.iter().enumerate().skip(1) {
        let took = drop_one(&reader, day, &scratch.inbox(), number)?;
        if number.is_multiple_of(2) {
            copied.push(took)
        } else {
            renamed.push(took)
        }
        // Not in step with anything else that ticks.
        sleep(Duration::from_millis(fastrand::u64(5..50)));
    }
    report(&copied, &renamed);
    Ok(())
}

/// Files of the shape of real days, each with other content and a last record to wait for.
fn samples(scratch: &Scratch) -> Outcome<Vec<PathBuf>> {
    let folder = scratch.path("samples");
    let days = (DROPS + 1).to_string();
    let mut sample: Command = scratch.needledrop(&["sample", "--days", &days, "--rows", ROWS, "--seed", "7"]);
    common::finish(sample.arg(&folder))?;
    let days = common::files(&folder)?;
    for (number, day) in days.iter().enumerate() {
        let session = LAST + number;
        let record = format!(
            "Needledrop,Logged In,Nora,F,0,Drop,215.5,paid,\"Berlin, BE\",PUT,NextSong,1.54E+12,{session},drop {session},200,1.54E+12,1\n"
        );
        let text = fs::read_to_string(day)? + &record;
        fs::write(day, text)?;
    }
    Ok(days)
}

fn opened(store: &Path) -> Outcome<Connection> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        if let Ok(connection) = Connection::open_with_flags(store, flags)
            && connection.prepare(ARRIVED).is_ok()
        {
            return Ok(connection);
        }
    }
    Err("the daemon has made no store".into())
}

/// Drops one file, by copy or by rename, and waits for its last record; milliseconds.
fn drop_one(reader: &Connection, day: &Path, inbox: &Path, number: usize) -> Outcome<f64> {
    let place = inbox.join(day.file_name().ok_or("a file without a name")?);
    let mut arrived = reader.prepare_cached(ARRIVED)?;
    let began = Instant::now();
    if number.is_multiple_of(2) {
        fs::copy(day, &place)?;
    } else {
        fs::rename(day, &place)?;
    }
    while !arrived.query_row([LAST + number], |row| row.get::<_, bool>(0))? {
        if began.elapsed() > PATIENCE {
            return Err(format!("{} does not arrive", place.display()).into());
        }
        sleep(Duration::from_millis(1));
    }
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

fn report(copied: &[f64], renamed: &[f64]) {
    println!("\n{DROPS} drops of 300 records to queryable in every table (ms)");
    println!("  {:<12} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7}", "", "drops", "min", "p50", "p90", "p99", "max");
    let all = [copied, renamed].concat();
    for (name, values) in [("by copy", copied), ("by rename", renamed), ("all", &all)] {
        let [min, p50, p90, p99, max] = [0.0, 0.5, 0.9, 0.99, 1.0].map(|share| quantile(values, share));
        let count = values.len();
        println!("  {name:<12} {count:>6} {min:>7.1} {p50:>7.1} {p90:>7.1} {p99:>7.1} {max:>7.1}");
    }
    let p99 = quantile(&all, 0.99);
    let verdict = if p99 <= GOAL_MS { "reached" } else { "MISSED" };
    println!("  p99 {p99:.1}, goal at most {GOAL_MS}: {verdict}");
    println!(
        "  from before the copy or rename until a second connection, asking every ms, has the last record"
    );
}
