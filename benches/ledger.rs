//! Measures commands on a large SQLite ledger (500,000 deliveries and a million quarantined records) and on a ledger of
//! a tenth of that size. Memory must not grow with the ledger, and time must not grow faster than the ledger.
//!
//! `NEEDLEDROP_BENCH_DELIVERIES` replaces the number 500,000. There are twice as many quarantined records.

mod common;

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Outcome, Scratch, grouped, high_water};
use rusqlite::Connection;

/// The memory limit in MiB.
const GOAL: f64 = 64.0;

/// A command on a ledger ten times as large may take this many times as long.
const LINEAR: f64 = 12.0;

/// Quarantined records of each delivery that has any.
const BAD: u64 = 1000;

const HEADER: &str =
    "artist,firstName,gender,itemInSession,lastName,length,level,location,sessionId,song,userId\n";

/// The commands in the order in which they run. The last one settles the records that the others list.
const COMMANDS: [&[&str]; 8] = [
    &["status"],
    &["status", "--json"],
    &["receipt", "f1.csv"],
    &["quarantine", "list"],
    &["quarantine", "list", "--csv"],
    &["quarantine", "list", "--json"],
    &["quarantine", "replay", "--json"],
    &["quarantine", "discard", "--all"],
];

struct Taken {
    seconds: f64,
    /// Peak memory in MiB.
    peak: f64,
    /// The number of bytes written.
    out: u64,
}

fn main() -> Outcome {
    let many = std::env::var("NEEDLEDROP_BENCH_DELIVERIES").map_or(Ok(500_000), |text| text.parse())?;
    let (few, many) = (take(many / 10)?, (many, take(many)?));
    println!("\n{} deliveries, {} quarantined records (SQLite)", figure(many.0), figure(2 * many.0));
    println!("  {:<28} {:>9} {:>9} {:>12}  {:>12}", "", "seconds", "MiB", "bytes out", "of a tenth");
    for ((arguments, few), many) in COMMANDS.iter().zip(&few).zip(&many.1) {
        let (name, out) = (arguments.join(" "), figure(many.out));
        let Taken { seconds, peak, .. } = many;
        println!("  {name:<28} {seconds:>9.2} {peak:>9.1} {out:>12}  {:>10.2} s", few.seconds);
    }
    let most = many.1.iter().map(|taken| taken.peak).fold(0.0, f64::max);
    told(&format!("  peak memory {most:.1} MiB, goal at most {GOAL}"), most <= GOAL);
    // Very short times cannot be compared.
    let times = few.iter().zip(&many.1).filter(|(few, _)| few.seconds > 0.2);
    let ratio = times.map(|(few, many)| many.seconds / few.seconds).fold(0.0, f64::max);
    told(
        &format!("  the larger ledger took {ratio:.1} times as long, goal at most {LINEAR}"),
        ratio <= LINEAR,
    );
    Ok(())
}

fn take(deliveries: u64) -> Outcome<Vec<Taken>> {
    let scratch = Scratch::new()?;
    fill(&scratch, deliveries)?;
    COMMANDS.iter().map(|arguments| watch(&scratch, arguments)).collect()
}

/// Makes one delivery with needledrop, then copies its rows for the other deliveries.
fn fill(scratch: &Scratch, deliveries: u64) -> Outcome {
    let bad = "A,Ann,F,one,Lee,1.5,free,X,7,S,3\n";
    fs::write(scratch.inbox().join("a.csv"), format!("{HEADER}{bad}"))?;
    // The run exits with 1 because of the bad record.
    scratch.needledrop(&["run", "--once"]).status()?;
    let store = Connection::open(scratch.store())?;
    store.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")?;
    let with_bad = 2 * deliveries / BAD;
    let hash = "printf('%064x', n.i)";
    let receipt = format!("iif(n.i <= {with_bad}, {BAD}, 0)");
    copy(
        &store,
        "_needledrop_deliveries",
        deliveries,
        &[
            ("id", "1000 + n.i"),
            ("path", "'f' || n.i || '.csv'"),
            ("hash", hash),
            ("head", hash),
            ("records", &receipt),
            ("quarantined", &receipt),
        ],
    )?;
    copy(&store, "_needledrop_counts", deliveries, &[("delivery", "1000 + n.i")])?;
    let base = [("delivery", "1000 + n.i"), ("base", "base - 1000 * n.i")];
    copy(&store, "_needledrop_stamps", deliveries, &base)?;
    copy(&store, "_needledrop_headers", with_bad, &[("delivery", "1000 + n.i")])?;
    let (delivery, record) = (format!("1001 + (n.i - 1) / {BAD}"), format!("(n.i - 1) % {BAD}"));
    let place = [("delivery", delivery.as_str()), ("record", &record), ("line", "n.i + 1")];
    copy(&store, "_needledrop_quarantine", with_bad * BAD, &place)
}

/// Copies the first row `count` times, with other values in some columns.
fn copy(store: &Connection, table: &str, count: u64, others: &[(&str, &str)]) -> Outcome {
    let mut statement = store.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names: Vec<String> =
        statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let value = |name: &String| {
        let other = others.iter().find(|(column, _)| column == name);
        other.map_or_else(|| format!("one.{name}"), |(_, value)| (*value).to_owned())
    };
    let values: Vec<String> = names.iter().map(value).collect();
    let key = if names.iter().any(|name| name == "delivery") { "delivery" } else { "id" };
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO {table} ({}) SELECT {} FROM n, (SELECT * FROM {table} WHERE {key} = 1) AS one",
        names.join(", "),
        values.join(", "),
    );
    store.execute(&sql, [])?;
    Ok(())
}

/// Runs a command to its end. It may exit with 1, because there are quarantined records.
fn watch(scratch: &Scratch, arguments: &[&str]) -> Outcome<Taken> {
    let (began, out) = (Instant::now(), scratch.path("out"));
    let mut command: Command = scratch.needledrop(arguments);
    let mut process = command.stdout(File::create(&out)?).stderr(Stdio::null()).spawn()?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        peak = high_water(process.id()).unwrap_or(0).max(peak);
        sleep(Duration::from_millis(2));
    };
    if !matches!(status.code(), Some(0 | 1)) {
        return Err(format!("{arguments:?}: {status}").into());
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Taken { seconds, peak: mib(peak), out: fs::metadata(out)?.len() })
}

fn told(what: &str, reached: bool) {
    println!("{what}: {}", if reached { "reached" } else { "MISSED" });
}

#[expect(clippy::cast_precision_loss, reason = "for output only")]
fn mib(bytes: u64) -> f64 {
    (bytes >> 10) as f64 / 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "for output only")]
fn figure(number: u64) -> String {
    grouped(number as f64)
}
