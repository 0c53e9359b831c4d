//! `needledrop receipt`: the account of a delivery.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Exit, Failure, Outcome, load, render};
use crate::app::App;
use crate::domain::{Delivery, Plan, Receipt, State};
use crate::ledger::Filter;
use crate::pipeline::discover::inbox;
use crate::store::{Access, Store};

#[derive(Debug, Args)]
pub struct Arguments {
    /// As typed, or relative to the inbox
    file: PathBuf,
    /// An earlier generation than the newest
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    #[arg(long)]
    json: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> Outcome {
    let store = app.open(Access::Read).await?;
    let path = load::known_path(app, &store, &arguments.file).await?;
    let all = store.deliveries(Filter::Path(path.clone())).await?;
    let mut generations = all.clone();
    if let Some(generation) = arguments.generation {
        generations.retain(|delivery| delivery.generation == generation);
    }
    let moved = of_archived(app, &arguments.file, &generations).await;
    let Some(delivery) = moved.or_else(|| generations.last().cloned()) else {
        let message = format!("{path} was never taken up\n  next: see `needledrop status` for what was");
        return Err(Failure { exit: Exit::Short, message });
    };
    let (mut out, sample) = (std::io::stdout().lock(), app.collision_sample());
    if arguments.json {
        let mut receipt = object(&delivery, &app.plan, sample);
        receipt["history"] = others(&delivery, &all).map(generation).collect();
        render::json(&mut out, &receipt)?;
    } else {
        text(&mut out, &delivery, &app.plan, sample)?;
        for other in others(&delivery, &all) {
            let (generation, state) = (other.generation, other.state);
            let detail = render::printable(other.detail.lines().next().unwrap_or_default());
            writeln!(out, "history    generation {generation}: {state} {detail}")?;
        }
    }
    Ok(if is_done(&delivery, &all) { Exit::Done } else { Exit::Short })
}

/// Whether everything of it is where it belongs, so that a script can go on.
fn is_done(delivery: &Delivery, all: &[Delivery]) -> bool {
    let has_ended = |delivery: &Delivery| matches!(delivery.state, State::Loaded | State::Duplicate);
    let later = || all.iter().filter(|other| other.generation > delivery.generation);
    let is_replaced = delivery.state == State::Replaced && later().any(has_ended);
    (has_ended(delivery) || is_replaced) && delivery.receipt.closes() && delivery.receipt.open() == 0
}

/// The other generations of the path.
fn others<'a>(delivery: &Delivery, all: &'a [Delivery]) -> impl Iterator<Item = &'a Delivery> {
    let id = delivery.id;
    all.iter().filter(move |other| other.id != id)
}

fn generation(delivery: &Delivery) -> Json {
    json!({
        "generation": delivery.generation, "state": delivery.state.name(), "detail": delivery.detail,
        "records": delivery.receipt.records,
    })
}

/// Where a file of the archive was named, the generation whose bytes it has.
async fn of_archived(app: &App, typed: &Path, generations: &[Delivery]) -> Option<Delivery> {
    let possible: Vec<&Delivery> = generations.iter().collect();
    let id = app.find().delivery_of(&inbox::real_place(typed)?, &possible).await?;
    generations.iter().find(|delivery| delivery.id == id).cloned()
}

fn object(delivery: &Delivery, plan: &Plan, sample: u64) -> Json {
    let receipt = &delivery.receipt;
    let tables: serde_json::Map<String, Json> = receipt
        .tables
        .iter()
        .map(|count| {
            let behind = is_behind(delivery, plan, &count.table);
            (
                count.table.clone(),
                json!({
                    "rows": count.rows, "collisions": count.told_collisions(sample),
                    "estimated": count.estimated,
                    "refused": count.refused, "assumed": receipt.assumed_in(count), "behind": behind
                }),
            )
        })
        .collect();
    let stamps: Vec<Json> = delivery
        .stamps
        .ranges()
        .iter()
        .map(|range| json!({ "first_record": range.first, "base": range.base.0, "records": range.records }))
        .collect();
    json!({
        "file": delivery.path,
        "generation": delivery.generation,
        "state": delivery.state.name(),
        "detail": delivery.detail,
        "bytes": delivery.reach.offset,
        "hash": delivery.hash,
        "records": receipt.records,
        "loaded": receipt.loaded,
        "skipped": receipt.skipped,
        "quarantined": receipt.quarantined,
        "quarantine": render::quarantine(receipt),
        "assumed": receipt.assumed,
        "closes": receipt.closes(),
        "tables": tables,
        "parts": receipt.parts.ends(),
        "part_count": receipt.parts.count(),
        "ends_without_newline": delivery.ends_without_newline(),
        "stamps": stamps,
        "taken_up": render::time(delivery.taken_up),
        "changed": render::time(delivery.changed),
    })
}

fn is_behind(delivery: &Delivery, plan: &Plan, table: &str) -> bool {
    plan.table(table).is_some_and(|(_, table)| delivery.is_behind(table))
}

/// Where the parts of a file that grew ended; of many the first and the newest.
fn parts(receipt: &Receipt) -> Option<String> {
    let [first, newer @ ..] = receipt.parts.ends() else { return None };
    let newer: Vec<String> = newer.iter().map(|end| render::grouped(*end)).collect();
    if newer.is_empty() {
        return None;
    }
    let left_out = receipt.parts.count().saturating_sub(receipt.parts.ends().len() as u64);
    let left_out = if left_out > 0 { format!(", {} more", render::grouped(left_out)) } else { String::new() };
    Some(format!("up to byte {}{left_out}, {}", render::grouped(*first), newer.join(", ")))
}

fn text(out: &mut impl Write, delivery: &Delivery, plan: &Plan, sample: u64) -> std::io::Result<()> {
    let receipt = &delivery.receipt;
    writeln!(out, "file       {} (generation {})", render::printable(&delivery.path), delivery.generation)?;
    writeln!(out, "state      {}", delivery.state)?;
    for line in delivery.detail.lines() {
        writeln!(out, "           {}", render::printable(line.trim_start()))?;
    }
    writeln!(out, "content    {} bytes, blake3 {}", render::grouped(delivery.reach.offset), delivery.hash)?;
    if delivery.ends_without_newline() {
        writeln!(out, "           the last record has no line end")?;
    }
    if let Some(parts) = parts(receipt) {
        writeln!(out, "parts      {parts}")?;
    }
    let equals =
        if receipt.records == receipt.loaded + receipt.skipped + receipt.quarantined { "=" } else { "≠" };
    writeln!(
        out,
        "records    {} {equals} {} loaded + {} skipped + {} quarantined",
        render::grouped(receipt.records),
        render::grouped(receipt.loaded),
        render::grouped(receipt.skipped),
        render::grouped(receipt.quarantined),
    )?;
    if receipt.quarantined + receipt.replayed > 0 {
        let (open, replayed) = (render::grouped(receipt.open()), render::grouped(receipt.replayed));
        let discarded = render::grouped(receipt.discarded);
        writeln!(out, "quarantine {open} open, {discarded} discarded; {replayed} replayed")?;
    }
    if receipt.assumed > 0 {
        let assumed = render::grouped(receipt.assumed);
        writeln!(
            out,
            "assumed    {assumed} loaded records were written by another program: no row was sent"
        )?;
    }
    let rows: Vec<Vec<String>> = receipt
        .tables
        .iter()
        .map(|count| {
            let note = match (count.refused, receipt.assumed_in(count)) {
                _ if is_behind(delivery, plan, &count.table) => "behind".to_owned(),
                (0, 0) => String::new(),
                (0, assumed) => format!("{} more are assumed to be there", render::grouped(assumed)),
                (refused, _) => format!("{refused} loaded records cannot be rows here"),
            };
            let collisions = render::collisions(count.told_collisions(sample), count.estimated);
            vec![count.table.clone(), render::grouped(count.rows), collisions, note]
        })
        .collect();
    if !rows.is_empty() {
        render::table(out, &["table", "rows", "collisions", ""], &rows)?;
    }
    writeln!(out, "{}", if receipt.closes() { "closes     yes" } else { "closes     NO" })
}
