//! `needledrop undo`: takes back what one delivery wrote.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::{load, receipt, render};
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::cli::render::grouped;
use crate::daemon::app::App;
use crate::daemon::signals;
use crate::domain::ledger::DeliveryFilter;
use crate::domain::undo::{RowUndo, TableUndo};
use crate::domain::{Delivery, DeliveryState};
use crate::jobs::read_again::Lost;
use crate::jobs::undo::Undo;
use crate::jobs::undo::options::{UndoOptions, Undone};
use crate::store::listing::Deliveries;
use crate::store::{Access, Store};

/// The maximum number of deliveries that a message names.
const NAMED: usize = 10;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The file, as a path or relative to the inbox
    file: PathBuf,
    /// The feed of the file, if several feeds have one of this name
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Undo this generation; required if several generations have rows
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// Only count the rows that would be removed and restored
    #[arg(long)]
    dry_run: bool,
    /// Undo even if files cannot be read: values of others may stay lost, and rows of this one may stay
    #[arg(long)]
    force: bool,
    /// The folder for files of expected rows (Cassandra only)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let (chosen, is_interrupted) = {
        let store = app.open(Access::Read).await?;
        let chosen = chosen(app, &store, arguments).await?;
        let is_interrupted = store.interrupted_undos().await?.iter().any(|one| one.id == chosen.id);
        (chosen, is_interrupted)
    };
    if chosen.state == DeliveryState::Undone && !is_interrupted {
        report(app, arguments, (&chosen, true), &[], &[])?;
        return Ok(Exit::Done);
    }
    check(app, &chosen)?;
    let (stop, patience) = (CancellationToken::new(), Some(*app.config.store.patience));
    let store = match arguments.dry_run {
        true => app.open(Access::Read).await?,
        false => app.open_with_backoff(false, patience, &stop, &Arc::default()).await?,
    };
    let undo = Undo {
        schema: Arc::clone(&app.schema),
        feeds: app.find(),
        scratch: app.scratch(arguments.scratch.clone()),
        backoff: app.patience(&stop),
        stop: stop.clone(),
        options: UndoOptions {
            write: !arguments.dry_run,
            force: arguments.force,
            replaced_by: None,
            also_undone: BTreeSet::new(),
        },
    };
    // The right to write is renewed while files are read.
    let work = async {
        tokio::select! {
            undone = undo.run(&store, &chosen) => undone,
            lost = store.tend(&()) => Err(lost),
        }
    };
    let undone = signals::with_signals(stop, work).await?;
    store.close().await;
    match undone? {
        Undone::Done { tables, lost } => {
            report(app, arguments, (&chosen, false), &tables, &lost)?;
            Ok(Exit::Done)
        }
        Undone::Needed(lost) => Err(needed(&lost)),
        Undone::Stopped => Ok(Exit::Stopped),
    }
}

/// Returns the delivery to undo: the given generation, or the only one with rows.
async fn chosen(app: &App, store: &impl Store, arguments: &Arguments) -> Result<Delivery, Failure> {
    let typed = (arguments.file.as_path(), arguments.feed.as_deref());
    let file = load::known_file(app, store, typed).await?;
    let mut all = Deliveries::new(store, DeliveryFilter::Path(file.clone())).all().await?;
    if all.is_empty() {
        return Err(load::not_in_ledger(&file));
    }
    if let Some(asked) = arguments.generation {
        let found = all.into_iter().find(|one| one.generation == asked);
        return found.ok_or_else(|| {
            Failure::usage(format!(
                "{file} has no generation {asked}\n  next: `needledrop receipt` lists its generations"
            ))
        });
    }
    if let Some(archived) = receipt::of_archived(app, store, (&arguments.file, None), &file).await? {
        return Ok(archived);
    }
    let has_rows = |one: &Delivery| one.counts() && one.receipt.loaded > 0;
    let with_rows: Vec<u32> = all.iter().filter(|one| has_rows(one)).map(|one| one.generation).collect();
    match with_rows.as_slice() {
        [] => all.pop().ok_or_else(|| load::not_in_ledger(&file)),
        [only] => {
            all.into_iter().find(|one| one.generation == *only).ok_or_else(|| load::not_in_ledger(&file))
        }
        several => {
            let several: Vec<String> = several.iter().map(u32::to_string).collect();
            Err(Failure::usage(format!(
                "generations {} of {file} have rows\n  next: undo them one by one with --generation, the earliest first",
                several.join(", ")
            )))
        }
    }
}

/// Refuses what cannot be taken back.
fn check(app: &App, delivery: &Delivery) -> Result<(), Failure> {
    let (file, refuse) = (&delivery.file, |why: String| Err(Failure::usage(why)));
    if delivery.state == DeliveryState::Duplicate {
        return refuse(format!("{file} wrote nothing: {}\n  next: undo that file", delivery.detail));
    }
    if delivery.receipt.assumed > 0 {
        return refuse(format!(
            "{file} was entered with --assume-loaded, so its rows have no stamps of needledrop\n  next: delete them with the program that wrote them"
        ));
    }
    if delivery.receipt.loaded == 0 {
        return refuse(format!(
            "no record of {file} is loaded, so there is nothing to undo\n  next: `needledrop receipt` shows why"
        ));
    }
    let counts = delivery.receipt.tables.iter().filter(|count| count.rows > 0);
    let undeclared = counts.map(|count| &count.table).find(|name| app.schema.table(name).is_none());
    match undeclared {
        Some(table) => refuse(format!(
            "table {table} has rows of {file} and is not declared\n  next: declare it again, then undo the file"
        )),
        None => Ok(()),
    }
}

fn needed(lost: &[Lost]) -> Failure {
    let named = lost
        .iter()
        .take(NAMED)
        .map(|Lost { file, generation, why, .. }| format!("\n  {file}, generation {generation}: {why}"));
    let more = lost.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let message = format!(
        "nothing was undone: the values that these files had for the same keys cannot be restored{}{more}\n  next: correct what is named for each file; with --force, values that cannot be read stay lost, values of another configuration are as the current one gives them, and of the undone file what its write times do not show stays",
        named.collect::<String>()
    );
    Failure { exit: Exit::Short, message }
}

fn report(
    app: &App,
    arguments: &Arguments,
    (delivery, was_undone): (&Delivery, bool),
    tables: &[TableUndo],
    lost: &[Lost],
) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if arguments.json {
        return Ok(render::json(&mut out, &object(arguments, (delivery, was_undone), tables, lost))?);
    }
    let Delivery { file, generation, receipt, .. } = delivery;
    let what = match (was_undone, arguments.dry_run) {
        (true, _) => "already undone",
        (_, true) => "would undo",
        (_, false) => "undone",
    };
    writeln!(out, "{what}  {file}, generation {generation}: {} records", grouped(receipt.loaded))?;
    let row =
        |undone: &TableUndo| vec![undone.table.clone(), grouped(undone.removed), grouped(undone.restored)];
    if !tables.is_empty() {
        let rows: Vec<Vec<String>> = tables.iter().map(row).collect();
        render::table(&mut out, &["table", "rows removed", "rows restored"], &rows)?;
    }
    for undone in tables {
        for RowUndo { key, restored } in &undone.examples {
            let what = if *restored { "restored" } else { "removed" };
            writeln!(out, "{what}  {}  {}", undone.table, render::key(&app.schema, &undone.table, key))?;
        }
    }
    for Lost { file, generation, why, .. } in lost {
        writeln!(out, "not restored  {file}, generation {generation}: {why}")?;
    }
    Ok(())
}

fn object(
    arguments: &Arguments,
    (delivery, was_undone): (&Delivery, bool),
    tables: &[TableUndo],
    lost: &[Lost],
) -> Json {
    let example = |RowUndo { key, restored }: &RowUndo| {
        let key: Vec<Json> = key.iter().map(super::query::json).collect();
        json!({ "key": key, "restored": restored })
    };
    let table = |TableUndo { table, removed, restored, examples }: &TableUndo| {
        let examples: Vec<Json> = examples.iter().map(example).collect();
        (table.clone(), json!({ "removed": removed, "restored": restored, "examples": examples }))
    };
    let of_lost = |Lost { file, generation, why, .. }: &Lost| json!({ "feed": file.feed(), "file": file.path(), "generation": generation, "why": why.to_string() });
    json!({
        "feed": delivery.file.feed(),
        "file": delivery.file.path(),
        "generation": delivery.generation,
        "dry_run": arguments.dry_run,
        "was_undone": was_undone,
        "records": delivery.receipt.loaded,
        "tables": tables.iter().map(table).collect::<serde_json::Map<_, _>>(),
        "lost": lost.iter().map(of_lost).collect::<Vec<_>>(),
    })
}
