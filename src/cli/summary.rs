//! The summary at the end of a run.

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::render::{grouped, table};
use super::{left_out, refusals, render, replacement};
use crate::cli::outcome::Exit;
use crate::daemon::app::App;
use crate::domain::DeliveryState;
use crate::pipeline::messages::Ended;
use crate::pipeline::run_stats::{Replaced, RunStats};
use crate::source::left_out::LeftOut;

/// The maximum number of replaced files that the text names.
const NAMED: usize = 10;

/// Prints the summary, as text or as one JSON object. Returns how the run ended.
pub fn finish(
    app: &App,
    stats: &RunStats,
    names: &LeftOut,
    ended: Ended,
    took: Duration,
    as_json: bool,
    dry: bool,
) -> io::Result<Exit> {
    let mut out = io::stdout().lock();
    let sample = app.collision_sample();
    let mut summary = summary(stats, ended, took, (dry, sample));
    summary["left_out"] = left_out::json(names);
    if as_json {
        render::json(&mut out, &summary)?;
    } else {
        text(&mut out, &summary, stats, took, sample)?;
        left_out::lines(names).iter().try_for_each(|text| writeln!(out, "left out    {text}"))?;
    }
    out.flush()?;
    let is_short = names.not_utf8.files > 0 && exit(stats, ended) == Exit::Done;
    Ok(if is_short { Exit::Short } else { exit(stats, ended) })
}

fn exit(stats: &RunStats, ended: Ended) -> Exit {
    let deliveries = stats.deliveries();
    let short =
        [DeliveryState::Failed, DeliveryState::Incomplete, DeliveryState::Replaced, DeliveryState::Waiting];
    let is_short = short.iter().any(|state| deliveries.contains_key(state.name()))
        || stats.refused.load(Ordering::Relaxed) > 0
        || stats.unreadable.load(Ordering::Relaxed) > 0
        || stats.files_left().contains_key("failed");
    match ended {
        Ended::Stopped | Ended::GraceOver => Exit::Stopped,
        Ended::Done if is_short => Exit::Short,
        Ended::Done => Exit::Done,
    }
}

fn summary(stats: &RunStats, ended: Ended, took: Duration, (dry, sample): (bool, u64)) -> Json {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let tables = render::tables_json(stats.tables().into_iter(), sample);
    let read = count(&stats.read);
    let mut summary = json!({
        "dry_run": dry,
        "stopped": ended != Ended::Done,
        "deliveries": stats.deliveries(),
        "without_records": count(&stats.without_records),
        "unreadable": count(&stats.unreadable),
        "records": {
            "read": read,
            "loaded": count(&stats.loaded),
            "skipped": count(&stats.skipped),
            "quarantined": count(&stats.quarantined),
        },
        "refused": refusals::json(&stats.by_kind()),
        "tables": tables,
        "after": stats.files_left(),
        "bytes": count(&stats.bytes),
        "seconds": took.as_secs_f64(),
        "records_per_second": per_second(read, took),
        "peak_memory_bytes": peak_memory(),
    });
    let first = stats.first_replaced();
    if !first.is_empty() {
        let one = |Replaced { file, generation, how }: &Replaced| {
            let mut object = json!({ "feed": file.feed(), "file": file.path(), "generation": generation });
            object["replaces"] = replacement::json(how);
            object
        };
        summary["replaced"] = first.iter().map(one).collect();
    }
    let assumed = count(&stats.assumed);
    if assumed > 0 {
        summary["records"]["assumed"] = json!(assumed);
    }
    summary
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate"
)]
fn per_second(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64().max(1e-6)) as u64
}

fn text(
    out: &mut impl Write,
    summary: &Json,
    stats: &RunStats,
    took: Duration,
    sample: u64,
) -> io::Result<()> {
    let number = |key: &str| grouped(summary["records"][key].as_u64().unwrap_or(0));
    let mut states = states(stats);
    let unreadable = stats.unreadable.load(Ordering::Relaxed);
    if unreadable > 0 {
        states.push(format!("{} unreadable", grouped(unreadable)));
    }
    let states = if states.is_empty() { "nothing new".to_owned() } else { states.join(", ") };
    let dry = if summary["dry_run"] == true { " (dry run: nothing was written)" } else { "" };
    writeln!(out, "deliveries  {states}{dry}")?;
    let (read, loaded, skipped) = (number("read"), number("loaded"), number("skipped"));
    writeln!(
        out,
        "records     {read} read = {loaded} loaded + {skipped} skipped + {} quarantined",
        number("quarantined")
    )?;
    if summary["records"]["assumed"].is_u64() {
        let assumed = number("assumed");
        writeln!(
            out,
            "assumed     {assumed} loaded records were written by another program: needledrop sent no rows"
        )?;
    }
    refusals::table(out, &stats.by_kind())?;
    let rows = render::tables_text(stats.tables().into_iter(), sample);
    if !rows.is_empty() {
        table(out, &["tables", "rows", "collisions", ""], &rows)?;
    }
    first_replaced(out, stats)?;
    let left = stats.files_left();
    if !left.is_empty() {
        let outcomes: Vec<String> =
            left.iter().map(|(what, count)| format!("{} {what}", grouped(*count))).collect();
        writeln!(out, "files       {}", outcomes.join(", "))?;
    }
    let rate = grouped(summary["records_per_second"].as_u64().unwrap_or(0));
    let memory = bytesize::ByteSize(summary["peak_memory_bytes"].as_u64().unwrap_or(0));
    writeln!(out, "took        {:.2} s, {rate} records/s, peak memory {memory}", took.as_secs_f64())
}

/// Writes what became of the first files that replaced earlier ones.
fn first_replaced(out: &mut impl Write, stats: &RunStats) -> io::Result<()> {
    let all = stats.replacements.load(Ordering::Relaxed);
    let first = stats.first_replaced();
    for Replaced { file, generation, how } in first.iter().take(NAMED) {
        let lines = replacement::lines(how);
        writeln!(
            out,
            "replaced    {}: generation {generation} replaces {}: {}",
            render::printable(file.text()),
            how.earlier,
            lines.join("\n            ")
        )?;
    }
    let more = all.saturating_sub(NAMED as u64);
    if more > 0 {
        writeln!(out, "            and {} more files; `needledrop receipt FILE` shows each", grouped(more))?;
    }
    Ok(())
}

/// Describes the numbers of deliveries in each state: `2 failed`, `3 loaded (1 without records)`.
fn states(stats: &RunStats) -> Vec<String> {
    let without_records = stats.without_records.load(Ordering::Relaxed);
    let note = |state: &str| match without_records {
        0 => String::new(),
        _ if state != DeliveryState::Loaded.name() => String::new(),
        count => format!(" ({} without records)", grouped(count)),
    };
    stats
        .deliveries()
        .iter()
        .map(|(state, count)| format!("{} {state}{}", grouped(*count), note(state)))
        .collect()
}

/// Returns the most memory that this process has held, in bytes. Returns 0 if the kernel does not report it.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}
