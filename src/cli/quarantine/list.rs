//! `needledrop quarantine list`: lists entries as a table, as JSON, or as CSV for a spreadsheet.

use std::io::{self, Write};

use clap::Args;

use super::cells::Cells;
use crate::cli::guard::Guard;
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::cli::quarantine::chosen::{Chosen, Which};
use crate::cli::quarantine::object::object;
use crate::cli::render;
use crate::daemon::app::App;
use crate::domain::quarantine::QuarantineEntry;
use crate::domain::{Delivery, Header};
use crate::jobs::replay;
use crate::store::listing::{Deliveries, Entries};
use crate::store::{Access, Store, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Include replayed and discarded records, each with its state
    #[arg(long)]
    all: bool,
    /// Print the entries as JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV with each field of a record in its own cell, and an apostrophe before each cell that a spreadsheet
    /// would run as a formula
    #[arg(long)]
    csv: bool,
    /// Write all cells unchanged, even those that a spreadsheet would run as formulas
    #[arg(long, requires = "csv")]
    exact: bool,
}

const HEADER: [&str; 6] = ["file", "line", "byte", "reason", "column", "detail"];

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let store = app.open(Access::Read).await?;
    let mut chosen = arguments.which.chosen(app, &store).await?;
    if arguments.all {
        chosen.entries.fate = None;
    }
    chosen.entries.raw = arguments.csv || arguments.json;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match (arguments.csv, arguments.json) {
        (true, _) => csv(app, &store, &chosen, arguments, &mut out).await?,
        (_, true) => json(&store, &chosen, &mut out).await?,
        _ => text(&store, &chosen, arguments.all, &mut out).await?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

async fn json(store: &impl Store, chosen: &Chosen, out: &mut impl Write) -> Result<(), Failure> {
    let mut elements = render::Elements::list(out)?;
    let mut deliveries = deliveries(store, chosen);
    while let Some(delivery) = deliveries.next().await? {
        let mut entries = Entries::new(store, delivery.id, chosen.entries.clone());
        while let Some(page) = entries.page().await? {
            page.iter().try_for_each(|entry| elements.push(&object(&delivery, entry)))?;
        }
    }
    Ok(elements.end(&serde_json::Map::new())?)
}

async fn text(store: &impl Store, chosen: &Chosen, all: bool, out: &mut impl Write) -> Result<(), Failure> {
    let mut rows = render::Rows::new(header(all));
    let mut deliveries = deliveries(store, chosen);
    while let Some(delivery) = deliveries.next().await? {
        let mut entries = Entries::new(store, delivery.id, chosen.entries.clone());
        while let Some(page) = entries.page().await? {
            page.iter().try_for_each(|entry| rows.push(out, about(&delivery, entry, all)))?;
        }
    }
    if !rows.end(out)? {
        writeln!(out, "nothing in quarantine")?;
    }
    Ok(())
}

fn deliveries<'s, S: Store>(store: &'s S, chosen: &Chosen) -> Deliveries<'s, S> {
    Deliveries::new(store, chosen.deliveries.clone())
}

fn header(all: bool) -> Vec<&'static str> {
    HEADER.into_iter().chain(all.then_some("state")).collect()
}

fn about(delivery: &Delivery, entry: &QuarantineEntry, all: bool) -> Vec<String> {
    let record = &entry.record;
    let column = record.column.clone().unwrap_or_default();
    let (line, offset) = (record.line.to_string(), record.offset.to_string());
    let mut row = vec![
        delivery.file.to_string(),
        line,
        offset,
        record.reason.to_string(),
        column,
        record.detail.clone(),
    ];
    row.extend(all.then(|| entry.fate.to_string()));
    row
}

/// Returns the header of a delivery, if it is still known.
async fn header_of(app: &App, store: &impl Store, delivery: &Delivery) -> Result<Option<Header>, StoreError> {
    match replay::header(store, &app.find(), delivery).await {
        Ok(header) => Ok(Some(header)),
        Err(error) => error.untried().map(|_| None),
    }
}

/// Writes CSV whose header has the names from the headers of all files. All headers are therefore read first.
async fn csv(
    app: &App,
    store: &impl Store,
    chosen: &Chosen,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (mut cells, mut listed) = (Cells::new(&app.plan), deliveries(store, chosen));
    while let Some(delivery) = listed.next().await? {
        if has_entries(&delivery)
            && let Some(header) = header_of(app, store, &delivery).await?
        {
            cells.add(&header);
        }
    }
    let mut guard = Guard::new(!arguments.exact);
    let names = header(arguments.all).into_iter().map(String::from).chain(cells.names());
    line(out, &mut guard, &names.map(String::into_bytes).collect::<Vec<_>>())?;
    let mut listed = deliveries(store, chosen);
    while let Some(delivery) = listed.next().await? {
        let mut entries = Entries::new(store, delivery.id, chosen.entries.clone());
        let mut layout = None;
        while let Some(page) = entries.page().await? {
            if layout.is_none() {
                let header = header_of(app, store, &delivery).await?;
                layout = Some(header.map_or_else(Vec::new, |header| cells.layout(&header)));
            }
            for entry in &page {
                let about = about(&delivery, entry, arguments.all).into_iter().map(String::into_bytes);
                let fields = cells.of(layout.as_deref().unwrap_or_default(), entry).await;
                line(out, &mut guard, &about.chain(fields).collect::<Vec<_>>())?;
            }
        }
    }
    guard.warn("use --exact to write all cells unchanged");
    Ok(())
}

fn has_entries(delivery: &Delivery) -> bool {
    delivery.receipt.quarantined + delivery.receipt.replayed > 0
}

fn line(out: &mut impl Write, guard: &mut Guard, cells: &[Vec<u8>]) -> io::Result<()> {
    let cells: Vec<_> = cells.iter().map(|cell| guard.cell(cell)).collect();
    render::csv(out, cells.iter().map(AsRef::as_ref), false)
}
