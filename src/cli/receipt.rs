//! `needledrop receipt`: prints the receipt of a delivery.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use super::{load, render, replacement};
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::daemon::app::App;
use crate::domain::ledger::DeliveryFilter;
use crate::domain::{Delivery, DeliveryId, DeliveryState, FileKey, Plan, Receipt, Tolerated};
use crate::source::folder::inbox;
use crate::store::listing::Deliveries;
use crate::store::{Access, Ledger, Store, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The file, as a path, relative to the inbox, or as `status` shows it (FEED//PATH)
    file: PathBuf,
    /// Show this generation instead of the newest
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// Print the receipt as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let store = app.open(Access::Read).await?;
    let file = load::known_file(app, &store, (&arguments.file, None)).await?;
    let all = generations(&store, &file).await?;
    let asked = all.iter().rfind(|one| arguments.generation.is_none_or(|asked| asked == one.generation));
    let found = match (of_archived(app, &store, (&arguments.file, arguments.generation), &file).await?, asked)
    {
        (None, Some(asked)) => store.delivery(asked.id).await?,
        (moved, _) => moved,
    };
    let Some(delivery) = found else {
        return Err(not_found(&file, arguments.generation, &all));
    };
    let (mut out, sample, plans) = (std::io::stdout().lock(), app.collision_sample(), app.plans());
    let plan = plans.of(&delivery.file).ok().map(|plan| &**plan);
    let others = all.iter().filter(|other| other.id != delivery.id);
    if arguments.json {
        let mut receipt = object(&delivery, plan, sample);
        receipt["history"] = others.map(Generation::json).collect();
        render::json(&mut out, &receipt)?;
    } else {
        text(&mut out, &delivery, plan, sample)?;
        for Generation { generation, state, detail, .. } in others {
            let what = if *generation < delivery.generation { "history" } else { "newer" };
            let detail = render::printable(detail.lines().next().unwrap_or_default());
            let text = format!("{what:<10} generation {generation}: {state} {detail}");
            writeln!(out, "{}", text.trim_end())?;
        }
    }
    Ok(if is_done(&delivery, &all) { Exit::Done } else { Exit::Short })
}

/// Returns the failure for a file without deliveries, or without the requested generation.
fn not_found(file: &FileKey, asked: Option<u32>, all: &[Generation]) -> Failure {
    let (Some(asked), [_, ..]) = (asked, all) else { return load::not_in_ledger(file) };
    let known: Vec<String> = all.iter().map(|one| one.generation.to_string()).collect();
    let message = format!("{file} has no generation {asked}\n  next: choose from {}", known.join(", "));
    Failure { exit: Exit::Short, message }
}

/// The data that a receipt shows about other generations of the file.
struct Generation {
    id: DeliveryId,
    generation: u32,
    state: DeliveryState,
    detail: String,
    records: u64,
}

impl Generation {
    fn json(&self) -> Json {
        json!({
            "generation": self.generation, "state": self.state.name(), "detail": self.detail,
            "records": self.records,
        })
    }
}

async fn generations(store: &impl Store, file: &FileKey) -> Result<Vec<Generation>, StoreError> {
    let mut deliveries = Deliveries::new(store, DeliveryFilter::Path(file.clone()));
    let mut all = Vec::new();
    while let Some(delivery) = deliveries.next().await? {
        let Delivery { id, generation, state, detail, receipt: Receipt { records, .. }, .. } = delivery;
        all.push(Generation { id, generation, state, detail, records });
    }
    Ok(all)
}

/// Whether every record of the delivery is accounted for, so that a script can continue.
fn is_done(delivery: &Delivery, all: &[Generation]) -> bool {
    if delivery.state == DeliveryState::Undone {
        return true;
    }
    let has_ended = |state: DeliveryState| matches!(state, DeliveryState::Loaded | DeliveryState::Duplicate);
    let mut later = all.iter().filter(|other| other.generation > delivery.generation);
    let is_replaced = delivery.state == DeliveryState::Replaced && later.any(|other| has_ended(other.state));
    (has_ended(delivery.state) || is_replaced) && delivery.receipt.closes() && delivery.receipt.open() == 0
}

/// If a file in the archive was named, returns the generation that has its bytes.
pub async fn of_archived(
    app: &App,
    store: &impl Store,
    (typed, generation): (&Path, Option<u32>),
    file: &FileKey,
) -> Result<Option<Delivery>, StoreError> {
    let Ok(feed) = app.feeds.of(file) else { return Ok(None) };
    let place = inbox::real_place(typed);
    let place = place.filter(|place| !feed.source.archive.paths_of(place).is_empty());
    let Some(archived) = place.and_then(|place| feed.source.key_of(&place)) else { return Ok(None) };
    let mut generations = Deliveries::new(store, DeliveryFilter::Path(file.clone())).all().await?;
    generations.retain(|delivery| generation.is_none_or(|asked| asked == delivery.generation));
    let possible: Vec<&Delivery> = generations.iter().collect();
    let feeds = app.find();
    let Ok(find) = feeds.of(&archived) else { return Ok(None) };
    let id = find.delivery_of(&archived, &possible).await;
    Ok(generations.into_iter().find(|delivery| Some(delivery.id) == id))
}

fn object(delivery: &Delivery, plan: Option<&Plan>, sample: u64) -> Json {
    let receipt = &delivery.receipt;
    let tables: serde_json::Map<String, Json> = receipt
        .tables
        .iter()
        .map(|count| {
            let behind = is_behind(delivery, plan, &count.table);
            (
                count.table.clone(),
                json!({
                    "rows": count.rows, "collisions": count.reported_collisions(sample),
                    "estimated": count.estimated, "older": count.older,
                    "refused": count.refused, "assumed": receipt.assumed_in(count), "behind": behind
                }),
            )
        })
        .collect();
    let tolerated: serde_json::Map<String, Json> =
        receipt.tolerated.iter().map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect();
    let stamps: Vec<Json> = delivery
        .stamps
        .ranges()
        .iter()
        .map(|range| json!({ "first_record": range.first, "base": range.base.0, "records": range.records }))
        .collect();
    let more = json!({
        "hash": delivery.hash,
        "lenient": tolerated,
        "closes": receipt.closes(),
        "tables": tables,
        "parts": receipt.parts.ends(),
        "part_count": receipt.parts.count(),
        "ends_without_newline": delivery.ends_without_newline(),
        "stamps": stamps,
    });
    let mut more = more.as_object().cloned().unwrap_or_default();
    if let Some(replacement) = &delivery.replacement {
        more.insert("replaces".to_owned(), replacement::json(replacement));
    }
    Json::Object(render::delivery(delivery).into_iter().chain(more).collect())
}

/// Whether a table lacks records of the delivery. `plan` is that of its feed, if the feed is declared.
fn is_behind(delivery: &Delivery, plan: Option<&Plan>, table: &str) -> bool {
    plan.and_then(|plan| plan.table(table)).is_some_and(|(_, table)| delivery.is_behind(table))
}

/// Describes how often lenient settings acted: `2 comments, 5 trimmed`.
fn tolerated(receipt: &Receipt) -> String {
    let each = |(kind, count): (Tolerated, u64)| {
        format!("{} {}", render::grouped(count), kind.name().replace('_', " "))
    };
    receipt.tolerated.iter().map(each).collect::<Vec<_>>().join(", ")
}

/// Describes where the parts of a file that grew ended. If there are many, it names the first and the newest.
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

fn text(out: &mut impl Write, delivery: &Delivery, plan: Option<&Plan>, sample: u64) -> std::io::Result<()> {
    let receipt = &delivery.receipt;
    writeln!(
        out,
        "file       {} (generation {})",
        render::printable(delivery.file.text()),
        delivery.generation
    )?;
    writeln!(out, "state      {}", delivery.state)?;
    for line in delivery.detail.lines() {
        writeln!(out, "           {}", render::printable(line.trim_start()))?;
    }
    if let Some(remark) = delivery.remark() {
        writeln!(out, "           {remark}")?;
    }
    writeln!(out, "content    {} bytes, blake3 {}", render::grouped(delivery.reach.offset), delivery.hash)?;
    if delivery.ends_without_newline() {
        writeln!(out, "           the last record has no line end")?;
    }
    if let Some(parts) = parts(receipt) {
        writeln!(out, "parts      {parts}")?;
    }
    if let Some(replacement) = &delivery.replacement {
        let lines = replacement::lines(replacement).join("\n           ");
        writeln!(out, "replaces   generation {}: {lines}", replacement.earlier)?;
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
            "assumed    {assumed} loaded records were written by another program: needledrop sent no rows"
        )?;
    }
    if !receipt.tolerated.is_empty() {
        writeln!(out, "lenient    {}", tolerated(receipt))?;
    }
    let rows: Vec<Vec<String>> = receipt
        .tables
        .iter()
        .map(|count| {
            let note = match (count.refused, receipt.assumed_in(count)) {
                _ if is_behind(delivery, plan, &count.table) => Some("behind".to_owned()),
                (0, 0) => None,
                (0, assumed) => Some(format!("{} more rows assumed to be there", render::grouped(assumed))),
                (refused, _) => Some(format!("{refused} loaded records could not become rows of this table")),
            };
            let note: Vec<String> = note.into_iter().chain(render::older(count.older)).collect();
            let note = note.join("; ");
            let collisions = render::collisions(count.reported_collisions(sample), count.estimated);
            vec![count.table.clone(), render::grouped(count.rows), collisions, note]
        })
        .collect();
    if !rows.is_empty() {
        render::table(out, &["table", "rows", "collisions", ""], &rows)?;
    }
    let closes = match (receipt.closes(), delivery.state) {
        (false, _) => "NO",
        (true, DeliveryState::Failed) => "yes, but the delivery failed",
        (true, _) => "yes",
    };
    writeln!(out, "closes     {closes}")
}
