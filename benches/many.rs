//! Measures how fast 10,000 new small files are loaded, and what a folder of 100,000 loaded files costs a daemon: its
//! start, its memory, and its CPU time while nothing happens.
//!
//! `NEEDLEDROP_BENCH_FILES` replaces the number 100,000.

mod common;

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::daemon::Daemon;
use common::{Outcome, Scratch, grouped};

const NEW: usize = 10_000;

/// The goal for new files, in files per second.
const GOAL_NEW: f64 = 1000.0;

/// The goal for the start of the daemon, in seconds until it is ready.
const GOAL_READY: f64 = 5.0;

/// The goal for memory, in MiB.
const GOAL_MEMORY: f64 = 96.0;

/// The goal for an idle daemon, as a share of a core.
const GOAL_IDLE: f64 = 0.02;

/// How long the CPU time of an idle daemon is added up. Two listings fall into this time.
const IDLE: Duration = Duration::from_secs(60);

const HEADER: &str =
    "artist,firstName,gender,itemInSession,lastName,length,level,location,sessionId,song,userId\n";

fn main() -> Outcome {
    let finished = std::env::var("NEEDLEDROP_BENCH_FILES").map_or(Ok(100_000), |text| text.parse())?;
    new_files()?;
    finished_files(finished)
}

/// Writes files of three records each.
fn make(scratch: &Scratch, numbers: std::ops::Range<usize>) -> Outcome {
    for number in numbers {
        let record = |item: usize| {
            format!("Artist {number},Ann,F,{item},Lee,100.5,free,\"X, Y\",{number},Song {item},{number}\n")
        };
        let bytes = format!("{HEADER}{}{}{}", record(0), record(1), record(2));
        fs::write(scratch.inbox().join(format!("drop-{number:06}.csv")), bytes)?;
    }
    Ok(())
}

fn new_files() -> Outcome {
    let scratch = Scratch::new()?;
    make(&scratch, 0..NEW)?;
    let run = common::watched(&mut scratch.needledrop(&["run", "--once", "--json"]))?;
    let at_once = float(NEW) / run.seconds;
    println!("\n{} new files of three records into SQLite (files per second)", grouped(float(NEW)));
    println!("  run --once, start to end            {:>10}", grouped(at_once));
    let scratch = Scratch::new()?;
    let daemon = Daemon::start(&scratch)?;
    let began = Instant::now();
    make(&scratch, 0..NEW)?;
    daemon.until(&format!("needledrop_deliveries_total{{state=\"loaded\"}} {NEW}"))?;
    let dropped = float(NEW) / began.elapsed().as_secs_f64();
    println!("  dropped for a daemon, first to last {:>10}", grouped(dropped));
    told("  goal at least 1,000", at_once.min(dropped) >= GOAL_NEW);
    Ok(())
}

fn finished_files(count: usize) -> Outcome {
    let scratch = Scratch::new()?;
    make(&scratch, 0..count)?;
    common::finish(&mut scratch.needledrop(&["run", "--once"]))?;
    // After this pause no modification time is too recent to be trusted.
    sleep(Duration::from_secs(3));
    common::finish(&mut scratch.needledrop(&["run", "--once"]))?;
    make(&scratch, count..count + 1)?;
    let began = Instant::now();
    let daemon = Daemon::start(&scratch)?;
    let ready = began.elapsed().as_secs_f64();
    daemon.until("needledrop_deliveries_total{state=\"loaded\"} 1")?;
    let read = daemon.metric("needledrop_records_read_total")?;
    sleep(Duration::from_secs(3));
    let before = daemon.cpu()?;
    sleep(IDLE);
    let idle = (daemon.cpu()? - before) / IDLE.as_secs_f64();
    let memory = float(common::high_water(daemon.child.id()).unwrap_or(0) >> 10) / 1024.0;
    println!("\na restart with {} loaded files and one new file", grouped(float(count)));
    told(&format!("  ready after {ready:.2} s, goal at most 5"), ready <= GOAL_READY);
    told(&format!("  records read: {read}, goal 3"), (read - 3.0).abs() < 0.5);
    told(&format!("  peak memory {memory:.1} MiB, goal at most 96"), memory <= GOAL_MEMORY);
    told(
        &format!("  CPU while idle for 60 s {:.2} % of a core, goal below 2", idle * 100.0),
        idle < GOAL_IDLE,
    );
    Ok(())
}

fn told(what: &str, reached: bool) {
    println!("{what}: {}", if reached { "reached" } else { "MISSED" });
}

#[expect(clippy::cast_precision_loss, reason = "for output only")]
fn float(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(0) as f64
}
