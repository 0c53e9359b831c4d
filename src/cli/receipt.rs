//! `needledrop receipt`: the account of a delivery.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Exit, Failure, Outcome, load, render};
use crate::app::App;
use crate::domain::{Delivery, Plan};
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
    let mut generations = store.deliveries(Filter::Path(path.clone())).await?;
    if let Some(generation) = arguments.generation {
        generations.retain(|delivery| delivery.generation == generation);
    }
    let moved = of_archived(app, &arguments.file, &generations).await;
    let Some(delivery) = moved.or_else(|| generations.pop()) else {
        let message = format!("{path} was never taken up\n  next: see `needledrop status` for what was");
        return Err(Failure { exit: Exit::Short, message });
    };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        render::json(&mut out, &object(&delivery, &app.plan))?;
    } else {
        text(&mut out, &delivery, &app.plan)?;
    }
    Ok(if delivery.receipt.closes() { Exit::Done } else { Exit::Short })
}

/// Where a file of the archive was named, the generation whose bytes it has.
async fn of_archived(app: &App, typed: &Path, generations: &[Delivery]) -> Option<Delivery> {
    let possible: Vec<&Delivery> = generations.iter().collect();
    let id = app.find().delivery_of(&inbox::real_place(typed)?, &possible).await?;
    generations.iter().find(|delivery| delivery.id == id).cloned()
}

fn object(delivery: &Delivery, plan: &Plan) -> Json {
    let receipt = &delivery.receipt;
    let tables: serde_json::Map<String, Json> = receipt
        .tables
        .iter()
        .map(|count| {
            let behind = is_behind(delivery, plan, &count.table);
            (
                count.table.clone(),
                json!({
                    "rows": count.rows, "collisions": count.collisions, "estimated": count.estimated,
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
        "parts": receipt.parts,
        "stamps": stamps,
        "taken_up": render::time(delivery.taken_up),
        "changed": render::time(delivery.changed),
    })
}

fn is_behind(delivery: &Delivery, plan: &Plan, table: &str) -> bool {
    plan.table(table).is_some_and(|(_, table)| delivery.is_behind(table))
}

fn text(out: &mut impl Write, delivery: &Delivery, plan: &Plan) -> std::io::Result<()> {
    let receipt = &delivery.receipt;
    writeln!(out, "file       {} (generation {})", render::printable(&delivery.path), delivery.generation)?;
    writeln!(out, "state      {}", delivery.state)?;
    for line in delivery.detail.lines() {
        writeln!(out, "           {}", render::printable(line.trim_start()))?;
    }
    writeln!(out, "content    {} bytes, blake3 {}", render::grouped(delivery.reach.offset), delivery.hash)?;
    if receipt.parts.len() > 1 {
        let parts: Vec<String> = receipt.parts.iter().map(|end| render::grouped(*end)).collect();
        writeln!(out, "parts      up to byte {}", parts.join(", "))?;
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
            let about = if count.estimated { "≈ " } else { "" };
            let collisions = format!("{about}{}", render::grouped(count.collisions));
            vec![count.table.clone(), render::grouped(count.rows), collisions, note]
        })
        .collect();
    if !rows.is_empty() {
        render::table(out, &["table", "rows", "collisions", ""], &rows)?;
    }
    writeln!(out, "{}", if receipt.closes() { "closes     yes" } else { "closes     NO" })
}
