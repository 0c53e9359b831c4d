//! `needledrop quarantine list`: entries as a table, as JSON, or for a spreadsheet.

use std::io::{self, Write};

use clap::Args;

use super::cells::Cells;
use super::{Which, object};
use crate::app::App;
use crate::cli::guard::Guard;
use crate::cli::{Exit, Outcome, render};
use crate::domain::Delivery;
use crate::ledger;
use crate::pipeline::retry;
use crate::quarantine::{Entry, Filter};
use crate::store::{Access, Store, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Also those that were replayed or discarded, each with its state
    #[arg(long)]
    all: bool,
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// With the fields of the records, each in a cell of its own; a cell that a spreadsheet would run as a
    /// formula is preceded by an apostrophe
    #[arg(long)]
    csv: bool,
    /// Cells as they are, also where a spreadsheet would run them
    #[arg(long, requires = "csv")]
    exact: bool,
}

const HEADER: [&str; 6] = ["file", "line", "byte", "reason", "column", "detail"];

pub async fn run(app: &App, arguments: &Arguments) -> Outcome {
    let store = app.open(Access::Read).await?;
    let mut filter = arguments.which.filter(app, &store).await?;
    if arguments.all {
        filter.fate = None;
    }
    if arguments.csv {
        return csv(app, &store, filter, arguments).await;
    }
    filter.raw = arguments.json;
    let entries = store.quarantined(filter).await?;
    let mut out = io::stdout().lock();
    if arguments.json {
        render::json(&mut out, &entries.iter().map(object).collect())?;
    } else {
        text(&mut out, &entries, arguments.all)?;
    }
    Ok(Exit::Done)
}

fn text(out: &mut impl Write, entries: &[Entry], all: bool) -> io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "nothing in quarantine");
    }
    let rows: Vec<Vec<String>> = entries.iter().map(|entry| about(entry, all)).collect();
    render::table(out, &header(all), &rows)
}

fn header(all: bool) -> Vec<&'static str> {
    HEADER.into_iter().chain(all.then_some("state")).collect()
}

fn about(entry: &Entry, all: bool) -> Vec<String> {
    let record = &entry.record;
    let column = record.column.clone().unwrap_or_default();
    let (line, offset) = (record.line.to_string(), record.offset.to_string());
    let mut row =
        vec![entry.path.clone(), line, offset, record.reason.to_string(), column, record.detail.clone()];
    row.extend(all.then(|| entry.fate.to_string()));
    row
}

/// A page at a time, below the names that all headers have together.
async fn csv(app: &App, store: &impl Store, filter: Filter, arguments: &Arguments) -> Outcome {
    let deliveries = deliveries(store, &filter).await?;
    let mut cells = Cells::new(&app.plan);
    for delivery in &deliveries {
        cells.add(delivery.id, retry::header(store, &app.find(), delivery).await?.ok());
    }
    let (mut out, mut guard) = (io::BufWriter::new(io::stdout().lock()), Guard::new(!arguments.exact));
    let names = header(arguments.all).into_iter().map(String::from).chain(cells.names());
    line(&mut out, &mut guard, &names.map(String::into_bytes).collect::<Vec<_>>())?;
    for delivery in &deliveries {
        let mut from = Some(0);
        while from.is_some() {
            let page = Filter { delivery: Some(delivery.id), page_from: from, raw: true, ..filter.clone() };
            let page = store.quarantined(page).await?;
            from = page.last().map(|entry| entry.record.record + 1);
            for entry in &page {
                let about = about(entry, arguments.all).into_iter().map(String::into_bytes);
                let cells: Vec<_> = about.chain(cells.of(entry).await).collect();
                line(&mut out, &mut guard, &cells)?;
            }
        }
    }
    out.flush()?;
    guard.tell("--exact leaves them as they are");
    Ok(Exit::Done)
}

async fn deliveries(store: &impl Store, filter: &Filter) -> Result<Vec<Delivery>, StoreError> {
    let of = filter.path.clone().map_or(ledger::Filter::All, ledger::Filter::Path);
    let mut all = store.deliveries(of).await?;
    all.retain(|delivery| delivery.receipt.quarantined + delivery.receipt.replayed > 0);
    Ok(all)
}

fn line(out: &mut impl Write, guard: &mut Guard, cells: &[Vec<u8>]) -> io::Result<()> {
    let cells: Vec<_> = cells.iter().map(|cell| guard.cell(cell)).collect();
    render::csv(out, cells.iter().map(AsRef::as_ref), false)
}
