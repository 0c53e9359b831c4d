//! `needledrop quarantine replay` and `discard`: open records get an end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::Which;
use crate::app::{self, App};
use crate::cli::render::{self, grouped};
use crate::cli::{Exit, Failure, Outcome};
use crate::health::Health;
use crate::heartbeat::Pulse;
use crate::ledger::TableDelta;
use crate::pipeline::retry::{Retry, Run, Settled};
use crate::store::any::AnyStore;
use crate::store::patience::Patience;
use crate::store::{Access, Store};

#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    which: Which,
    /// What was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Discard {
    #[command(flatten)]
    which: Which,
    /// Every open record
    #[arg(long, conflicts_with_all = ["file", "reason", "column"])]
    all: bool,
    /// What was done as JSON
    #[arg(long)]
    json: bool,
}

pub async fn replay(app: &App, arguments: &Replay) -> Outcome {
    let retry = retry(app, &arguments.which).await?;
    let run = app::with_signals(retry.stop.clone(), retry.replay()).await?;
    retry.store.close().await;
    let run = run?;
    let mut out = io::stdout().lock();
    let sample = app.collision_sample();
    if arguments.json {
        render::json(&mut out, &replayed_json(&run, sample))?;
    } else {
        replayed_text(&mut out, &run, sample)?;
    }
    Ok(match run.deliveries.iter().any(|settled| !settled.open.is_empty()) {
        _ if run.stopped => Exit::Stopped,
        true => Exit::Short,
        false => Exit::Done,
    })
}

pub async fn discard(app: &App, arguments: &Discard) -> Outcome {
    if arguments.which.is_all() && !arguments.all {
        let message = "which records are to be discarded is not said\n  \
                       next: say it by --file, --reason or --column, or --all";
        return Err(Failure::usage(message));
    }
    let retry = retry(app, &arguments.which).await?;
    let run = app::with_signals(retry.stop.clone(), retry.discard()).await?;
    retry.store.close().await;
    let run = run?;
    let mut out = io::stdout().lock();
    if arguments.json {
        render::json(&mut out, &discarded_json(&run))?;
    } else {
        discarded_text(&mut out, &run)?;
    }
    Ok(if run.stopped { Exit::Stopped } else { Exit::Done })
}

/// Opens the store for writing, but makes none.
async fn retry(app: &App, which: &Which) -> Result<Retry<AnyStore>, Failure> {
    let filter = {
        let asked = app.open(Access::Read).await?;
        which.filter(app, &asked).await?
    };
    let (stop, patience) = (CancellationToken::new(), Some(*app.config.store.patience));
    let store = app.open_patiently(false, patience, &stop, &Arc::default()).await?;
    Ok(Retry {
        store: Arc::new(store),
        plan: Arc::clone(&app.plan),
        find: app.find(),
        patience: Patience {
            limit: patience,
            halt: stop.clone(),
            health: Arc::new(Health::default()),
            pulse: Pulse::default(),
        },
        stop,
        filter,
    })
}

fn sum(run: &Run, of: impl Fn(&Settled) -> u64) -> u64 {
    run.deliveries.iter().map(of).sum()
}

fn open(run: &Run) -> BTreeMap<&'static str, u64> {
    let mut open = BTreeMap::new();
    for (reason, count) in run.deliveries.iter().flat_map(|settled| &settled.open) {
        *open.entry(*reason).or_default() += count;
    }
    open
}

fn tables(run: &Run) -> impl Iterator<Item = (String, TableDelta)> {
    let mut tables: BTreeMap<String, TableDelta> = BTreeMap::new();
    for (table, delta) in run.deliveries.iter().flat_map(|settled| &settled.tables) {
        tables.entry(table.clone()).or_default().add(delta);
    }
    tables.into_iter()
}

fn replayed_json(run: &Run, sample: u64) -> Json {
    let counts = |settled: &Settled| {
        json!({
            "file": settled.path,
            "generation": settled.generation,
            "tried": settled.tried(),
            "loaded": settled.loaded,
            "skipped": settled.skipped,
            "open": settled.open.values().sum::<u64>(),
            "other_declaration": settled.other_declaration,
            "untried": settled.untried,
        })
    };
    let open = open(run);
    json!({
        "stopped": run.stopped,
        "tried": sum(run, Settled::tried),
        "loaded": sum(run, |settled| settled.loaded),
        "skipped": sum(run, |settled| settled.skipped),
        "open": open.values().sum::<u64>(),
        "reasons": open,
        "tables": render::tables_json(tables(run), sample),
        "deliveries": run.deliveries.iter().map(counts).collect::<Vec<_>>(),
    })
}

fn replayed_text(out: &mut impl Write, run: &Run, sample: u64) -> io::Result<()> {
    let open = open(run);
    writeln!(
        out,
        "replayed    {} tried = {} loaded + {} skipped + {} still open",
        grouped(sum(run, Settled::tried)),
        grouped(sum(run, |settled| settled.loaded)),
        grouped(sum(run, |settled| settled.skipped)),
        grouped(open.values().sum()),
    )?;
    let rows = render::tables_text(tables(run), sample);
    if !rows.is_empty() {
        render::table(out, &["tables", "rows", "collisions"], &rows)?;
    }
    if !open.is_empty() {
        let reasons: Vec<String> =
            open.iter().map(|(reason, count)| format!("{} {reason}", grouped(*count))).collect();
        writeln!(out, "still open  {}: see `needledrop quarantine list`", reasons.join(", "))?;
    }
    for settled in &run.deliveries {
        if let Some(why) = &settled.untried {
            let (path, why) = (render::printable(&settled.path), render::printable(&why.replace('\n', "")));
            writeln!(out, "untried     some of {path}: {why}")?;
        }
    }
    let others = run.deliveries.iter().filter(|settled| settled.other_declaration && settled.loaded > 0);
    match others.count() {
        0 => Ok(()),
        n => writeln!(
            out,
            "note        the other records of {n} deliveries were loaded under another declaration: see `behind` in \
             `needledrop status`"
        ),
    }
}

fn discarded_json(run: &Run) -> Json {
    let counts = |settled: &Settled| {
        json!({
            "file": settled.path, "generation": settled.generation, "discarded": settled.discarded,
        })
    };
    json!({
        "stopped": run.stopped,
        "discarded": sum(run, |settled| settled.discarded),
        "deliveries": run.deliveries.iter().map(counts).collect::<Vec<_>>(),
    })
}

fn discarded_text(out: &mut impl Write, run: &Run) -> io::Result<()> {
    let discarded = sum(run, |settled| settled.discarded);
    writeln!(out, "discarded   {} records of {} deliveries", grouped(discarded), run.deliveries.len())
}
