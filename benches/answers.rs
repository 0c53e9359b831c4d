//! Measures how long probes and scrapes take while the pipeline is saturated and while the store is locked.

mod common;

use std::thread::sleep;
use std::time::{Duration, Instant};

use common::daemon::Daemon;
use common::{Outcome, Scratch, quantile};
use rusqlite::Connection;

/// The goal for the slowest answer, in milliseconds.
const GOAL: f64 = 50.0;

/// The factor by which the listeners of the real days are multiplied. The load takes some seconds.
const SCALE: u32 = 100;

/// How long the store stays locked while requests are sent.
const LOCKED: Duration = Duration::from_secs(5);

fn main() -> Outcome {
    let scratch = Scratch::new()?;
    let daemon = Daemon::start(&scratch)?;
    let days = scratch.path("days");
    common::scaled(SCALE, &days)?;
    let days = common::files(&days)?;
    for day in &days {
        std::fs::rename(day, scratch.inbox().join(day.file_name().unwrap_or_default()))?;
    }
    while daemon.metric("needledrop_records_read_total")? < 1.0 {}
    println!("\nprobes and scrapes (ms)");
    println!("  {:<28} {:>7} {:>7} {:>7} {:>7}", "", "answers", "p50", "p99", "most");
    let loaded = || daemon.metric("needledrop_deliveries_total{state=\"loaded\"}");
    let all = f64::from(u32::try_from(days.len())?);
    let busy = ask(&daemon, || Ok(loaded()? < all))?;
    let saturated = tell("while loading", &busy)?;
    let lock = Connection::open(scratch.store())?;
    lock.execute_batch("BEGIN IMMEDIATE")?;
    std::fs::write(scratch.inbox().join("other.csv"), OTHER)?;
    let began = Instant::now();
    let away = ask(&daemon, || Ok(began.elapsed() < LOCKED))?;
    let locked = tell("while the store is locked", &away)?;
    let is_red = daemon.get("/readyz")?.starts_with("HTTP/1.1 503");
    println!("  meanwhile /readyz is {}", if is_red { "503, as it should be" } else { "NOT 503" });
    let verdict = if saturated.max(locked) <= GOAL { "reached" } else { "MISSED" };
    println!("  goal at most {GOAL}: {verdict}");
    Ok(())
}

const OTHER: &str = "artist,firstName,gender,itemInSession,lastName,length,level,location,sessionId,song,userId\n\
                     A,Ann,F,1,Lee,1.5,free,X,7,S,3\n";

/// Requests the probes and the metrics as long as `keep_going` returns true. Returns how long each answer took, in
/// milliseconds.
fn ask(daemon: &Daemon, keep_going: impl Fn() -> Outcome<bool>) -> Outcome<Vec<f64>> {
    let mut took = Vec::new();
    while keep_going()? {
        for path in ["/metrics", "/healthz", "/readyz"] {
            let began = Instant::now();
            daemon.get(path)?;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        sleep(Duration::from_millis(10));
    }
    Ok(took)
}

fn tell(what: &str, took: &[f64]) -> Outcome<f64> {
    if took.is_empty() {
        return Err(format!("no request was sent {what}").into());
    }
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile(took, share));
    println!("  {what:<28} {:>7} {p50:>7.1} {p99:>7.1} {most:>7.1}", took.len());
    Ok(most)
}
