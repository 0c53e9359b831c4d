//! `needledrop quarantine list`: lists entries as a table, as JSON, or as CSV for a spreadsheet.

use std::io::{self, Write};

use clap::Args;

use super::cells::Cells;
use crate::cli::guard::Guard;
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::cli::quarantine::chosen::{Chosen, Which};
use crate::cli::quarantine::object::object;
use crate::cli::{feed, refusals, render};
use crate::daemon::app::App;
use crate::domain::quarantine::QuarantineEntry;
use crate::domain::{Delivery, Feeds, Format, Header, Plan, Refusals};
use crate::jobs::locate::KeptFiles;
use crate::jobs::replay;
use crate::source::backend::AnySource;
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

/// The columns that every entry has.
const HEADER: [&str; 6] = ["file", "line", "byte", "reason", "column", "detail"];

/// The columns that only some listings have.
#[derive(Clone, Copy)]
struct Shown {
    /// What is written instead of an empty name, if feeds are named because several are declared.
    feed: Option<&'static str>,
    /// Whether the state is named, because not only open entries are listed.
    state: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let store = app.open(Access::Read).await?;
    let mut chosen = arguments.which.chosen(app, &store).await?;
    if arguments.all {
        chosen.entries.fate = None;
    }
    chosen.entries.raw = arguments.csv || arguments.json;
    let no_name = if arguments.csv { "" } else { feed::NO_NAME };
    let shown = Shown { feed: feed::are_several(app).then_some(no_name), state: arguments.all };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match (arguments.csv, arguments.json) {
        (true, _) => csv(app, &store, &chosen, (shown, arguments.exact), &mut out).await?,
        (_, true) => json(&store, &chosen, &mut out).await?,
        _ => {
            if !text(&store, &chosen, shown, &mut out).await? {
                writeln!(out, "{}", nothing(arguments))?;
            }
        }
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

/// Summarises the entries by column and reason.
async fn summary(store: &impl Store, chosen: &Chosen) -> Result<(Refusals, u64), Failure> {
    let (mut refusals, mut count) = (Refusals::default(), 0);
    let mut deliveries = deliveries(store, chosen);
    while let Some(delivery) = deliveries.next().await? {
        let mut entries = Entries::new(store, delivery.id, chosen.entries.clone());
        while let Some(page) = entries.page().await? {
            page.iter().for_each(|entry| refusals.add(&delivery.file, &entry.record));
            count += page.len() as u64;
        }
    }
    Ok((refusals, count))
}

/// Says that there is nothing to list.
fn nothing(arguments: &Arguments) -> &'static str {
    match (arguments.which.is_all(), arguments.all) {
        (true, _) => "nothing in quarantine",
        (false, true) => "no record matches",
        (false, false) => "no open record matches",
    }
}

/// Writes the entries. Returns whether there are any.
async fn text(
    store: &impl Store,
    chosen: &Chosen,
    shown: Shown,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let (refusals, count) = summary(store, chosen).await?;
    if count > 1 {
        refusals::table(out, &refusals)?;
        writeln!(out)?;
    }
    let mut rows = render::Rows::new(header(shown));
    let mut deliveries = deliveries(store, chosen);
    while let Some(delivery) = deliveries.next().await? {
        let mut entries = Entries::new(store, delivery.id, chosen.entries.clone());
        while let Some(page) = entries.page().await? {
            page.iter().try_for_each(|entry| rows.push(out, about(&delivery, entry, shown)))?;
        }
    }
    Ok(rows.end(out)?)
}

fn deliveries<'s, S: Store>(store: &'s S, chosen: &Chosen) -> Deliveries<'s, S> {
    Deliveries::new(store, chosen.deliveries.clone()).of(chosen.feed.clone())
}

fn header(shown: Shown) -> Vec<&'static str> {
    shown.feed.map(|_| "feed").into_iter().chain(HEADER).chain(shown.state.then_some("state")).collect()
}

fn about(delivery: &Delivery, entry: &QuarantineEntry, shown: Shown) -> Vec<String> {
    let record = &entry.record;
    let column = record.column.clone().unwrap_or_default();
    let (line, offset) = (record.line.to_string(), record.offset.to_string());
    let feed = shown.feed.map(|no_name| feed::or_no_name(&delivery.file, no_name).to_owned());
    let row =
        [delivery.file.to_string(), line, offset, record.reason.to_string(), column, record.detail.clone()];
    let state = shown.state.then(|| entry.fate.to_string());
    feed.into_iter().chain(row).chain(state).collect()
}

/// Returns the header of a delivery, if it is still known, and the plan that reads it.
async fn header_of<'f>(
    feeds: &'f Feeds<KeptFiles<AnySource>>,
    store: &impl Store,
    delivery: &Delivery,
) -> Result<Option<(Header, &'f Plan)>, StoreError> {
    let Ok(find) = feeds.of(&delivery.file) else { return Ok(None) };
    match replay::header(store, find, delivery).await {
        Ok(header) => Ok(Some((header, &find.plan))),
        Err(error) => error.untried().map(|_| None),
    }
}

/// Writes CSV whose header has the names from the headers of all files. All headers are therefore read first.
async fn csv(
    app: &App,
    store: &impl Store,
    chosen: &Chosen,
    (shown, exact): (Shown, bool),
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (feeds, plain) = (app.find(), Format::default());
    let plans = feeds.values().map(|find| &*find.plan);
    let about_entry = header(shown);
    let (mut cells, mut listed) = (Cells::new(plans), deliveries(store, chosen));
    while let Some(delivery) = listed.next().await? {
        if has_entries(&delivery)
            && let Some((header, plan)) = header_of(&feeds, store, &delivery).await?
        {
            cells.add(&header, plan);
        }
    }
    let mut guard = Guard::new(!exact);
    let names = about_entry.iter().copied().map(String::from).chain(cells.names(&about_entry));
    line(out, &mut guard, &names.map(String::into_bytes).collect::<Vec<_>>())?;
    let mut listed = deliveries(store, chosen);
    while let Some(delivery) = listed.next().await? {
        let mut entries = Entries::new(store, delivery.id, chosen.entries.clone());
        let format = feeds.of(&delivery.file).map_or(&plain, |find| &find.plan.format);
        let mut layout = None;
        while let Some(page) = entries.page().await? {
            if layout.is_none() {
                let header = header_of(&feeds, store, &delivery).await?;
                layout = Some(header.map_or_else(Vec::new, |(header, plan)| cells.layout(&header, plan)));
            }
            for entry in &page {
                let about = about(&delivery, entry, shown).into_iter().map(String::into_bytes);
                let fields = cells.of(format, layout.as_deref().unwrap_or_default(), entry).await;
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
