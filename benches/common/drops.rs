//! Measures the time from the drop of a daily file into the inbox of a running daemon until its last record can be
//! read from every table.
//!
//! The clock starts before the copy or the rename begins. A second connection reads every millisecond.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Outcome, Scratch, quantile};

const DROPS: usize = 200;

/// The number of records in a sample. With the record that the bench waits for, a file has as many as a daily file.
const ROWS: &str = "299";

pub const GOAL_MS: f64 = 100.0;

const PATIENCE: Duration = Duration::from_secs(20);

/// The keys of the last records begin here, above the keys of every sample.
const LAST: i32 = 100_000_000;

/// The daemon. It is killed on drop, however the bench ends.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // The daemon may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Milliseconds, by how the file was dropped.
#[derive(Default)]
pub struct Drops {
    copied: Vec<f64>,
    renamed: Vec<f64>,
}

impl Drops {
    /// Drops files on a daemon. `open` tries to open the daemon's tables and returns a function that checks whether
    /// the last record of a session is in all of them. The first `cold` drops do not count, because nothing is cached
    /// yet.
    pub fn take<A>(
        scratch: &Scratch,
        mut daemon: Command,
        cold: usize,
        open: impl Fn() -> Option<A>,
    ) -> Outcome<Self>
    where
        A: FnMut(i32) -> Outcome<bool>,
    {
        let days = samples(scratch, cold + DROPS)?;
        let _daemon = Daemon(daemon.spawn()?);
        let mut arrived = opened(open)?;
        let mut drops = Self::default();
        for (number, (day, session)) in days.iter().zip(LAST..).enumerate() {
            let copy = number.is_multiple_of(2);
            let took = drop_one(&scratch.inbox(), day, copy, || arrived(session))?;
            if number >= cold {
                if copy { &mut drops.copied } else { &mut drops.renamed }.push(took);
            }
            // A random pause keeps the drops out of step with anything periodic.
            sleep(Duration::from_millis(fastrand::u64(5..50)));
        }
        Ok(drops)
    }

    pub fn all(&self) -> Vec<f64> {
        [self.copied.as_slice(), &self.renamed].concat()
    }

    pub fn report(&self, store: &str) {
        println!("\n{DROPS} files of 300 records, from drop to queryable in every table of {store} (ms)");
        println!(
            "  {:<12} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7}",
            "", "drops", "min", "p50", "p90", "p99", "max"
        );
        let all = self.all();
        for (name, values) in [("by copy", &self.copied), ("by rename", &self.renamed), ("all", &all)] {
            let [min, p50, p90, p99, max] = [0.0, 0.5, 0.9, 0.99, 1.0].map(|share| quantile(values, share));
            let count = values.len();
            println!("  {name:<12} {count:>6} {min:>7.1} {p50:>7.1} {p90:>7.1} {p99:>7.1} {max:>7.1}");
        }
        let p99 = quantile(&all, 0.99);
        let verdict = if p99 <= GOAL_MS { "reached" } else { "MISSED" };
        println!("  p99 {p99:.1}, goal at most {GOAL_MS}: {verdict}");
        println!(
            "  from before the copy or rename until a second connection, which polls every ms, reads the last record"
        );
    }
}

/// Writes files with the shape of real days. Each has different content and a last record to wait for.
fn samples(scratch: &Scratch, count: usize) -> Outcome<Vec<PathBuf>> {
    let folder = scratch.path("samples");
    let count = count.to_string();
    let mut sample = scratch.needledrop(&["sample", "--days", &count, "--rows", ROWS, "--seed", "7"]);
    super::finish(sample.arg(&folder))?;
    let days = super::files(&folder)?;
    for (day, session) in days.iter().zip(LAST..) {
        let record = format!(
            "Needledrop,Logged In,Nora,F,0,Drop,215.5,paid,\"Berlin, BE\",PUT,NextSong,1.54E+12,{session},drop {session},200,1.54E+12,1\n"
        );
        let text = fs::read_to_string(day)? + &record;
        fs::write(day, text)?;
    }
    Ok(days)
}

fn opened<A>(open: impl Fn() -> Option<A>) -> Outcome<A> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20));
        if let Some(found) = open() {
            return Ok(found);
        }
    }
    Err("the daemon has not created a store".into())
}

/// Drops one file, by copy or by rename, and waits for its last record. Returns the milliseconds.
fn drop_one(
    inbox: &Path,
    day: &Path,
    copy: bool,
    mut arrived: impl FnMut() -> Outcome<bool>,
) -> Outcome<f64> {
    let place = inbox.join(day.file_name().ok_or("a file without a name")?);
    let began = Instant::now();
    if copy {
        fs::copy(day, &place)?;
    } else {
        fs::rename(day, &place)?;
    }
    while !arrived()? {
        if began.elapsed() > PATIENCE {
            return Err(format!("{} does not become queryable", place.display()).into());
        }
        sleep(Duration::from_millis(1));
    }
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}
