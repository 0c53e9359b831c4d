//! `needledrop export`: the consolidated events of the files at hand, as one CSV that can be loaded again.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::guard::Guard;
use super::{Exit, Failure, Outcome, load, render};
use crate::app::{self, App};
use crate::domain::{Delivery, Origin, State};
use crate::ledger::Filter;
use crate::part::Part;
use crate::pipeline::discover::inbox::Found;
use crate::pipeline::events::Events;
use crate::store::{Access, Store, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files or folders [default: the inbox, and what was moved from it]
    paths: Vec<PathBuf>,
    /// Into this file instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A cell that a spreadsheet would run as a formula is preceded by an apostrophe
    #[arg(long)]
    spreadsheet_safe: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> Outcome {
    let files = if arguments.paths.is_empty() {
        app.check_inbox()?;
        app.inbox.list().map_err(Failure::system)?
    } else {
        load::find_kept(app, &arguments.paths)?
    };
    let mut deliveries = deliveries(app).await?;
    if !arguments.paths.is_empty() {
        deliveries = load::of_files(&app.find(), deliveries, &files).await;
    }
    let mut guard = Guard::new(arguments.spreadsheet_safe);
    let exit = match &arguments.out {
        None => write(app, files, deliveries, std::io::stdout().lock(), &mut guard).await?,
        Some(path) => to_file(app, files, deliveries, path, &mut guard).await?,
    };
    guard.tell("without --spreadsheet-safe they are as they are");
    Ok(exit)
}

fn is_same(delivery: &Delivery, other: &Delivery) -> bool {
    other.state != State::Duplicate && other.hash == delivery.hash && other.reach == delivery.reach
}

/// Under another name until it is whole.
async fn to_file(
    app: &App,
    files: Vec<Found>,
    deliveries: Vec<Delivery>,
    path: &Path,
    guard: &mut Guard,
) -> Outcome {
    let failed = |error: std::io::Error| {
        Failure::system(format!(
            "{}: {error}\n  next: name a file that can be written with --out",
            path.display()
        ))
    };
    let name =
        path.file_name().ok_or_else(|| Failure::usage(format!("{}: is no file name", path.display())))?;
    let part = path.with_file_name(format!(".{}.part", name.to_string_lossy()));
    let part = Part::of(part);
    let file = File::create(part.place()).map_err(failed)?;
    let stop = CancellationToken::new();
    let writing = stop.run_until_cancelled(write(app, files, deliveries, &file, guard));
    let Some(exit) = app::with_signals(stop.clone(), writing).await? else { return Ok(Exit::Stopped) };
    let exit = exit?;
    file.sync_all().map_err(failed)?;
    part.rename(path).map_err(failed)?;
    Ok(exit)
}

async fn deliveries(app: &App) -> Result<Vec<Delivery>, Failure> {
    let store = match app.open(Access::Read).await {
        Ok(store) => store,
        Err(StoreError::Missing(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut deliveries = store.deliveries(Filter::All).await?;
    deliveries.retain(|delivery| delivery.receipt.loaded > 0 || delivery.state == State::Duplicate);
    deliveries.sort_by_key(|delivery| delivery.stamps.begin());
    Ok(deliveries)
}

async fn write(
    app: &App,
    files: Vec<Found>,
    deliveries: Vec<Delivery>,
    out: impl Write,
    guard: &mut Guard,
) -> Outcome {
    let mut out = BufWriter::new(out);
    let columns: Vec<usize> = (0..app.plan.columns.len())
        .filter(|index| matches!(app.plan.columns[*index].origin, Origin::Field(_)))
        .collect();
    let header = columns.iter().filter_map(|index| match &app.plan.columns[*index].origin {
        Origin::Field(name) => Some(name.as_bytes()),
        _ => None,
    });
    render::csv(&mut out, header, true)?;
    let events = Events::new(app.find());
    let mut gone = 0;
    for (at, delivery) in deliveries.iter().enumerate() {
        // Bytes that come again later count there.
        let later = deliveries.get(at + 1..).unwrap_or_default();
        if delivery.state == State::Duplicate || later.iter().any(|other| is_same(delivery, other)) {
            continue;
        }
        let mut each = |fields: &mut dyn Iterator<Item = &[u8]>| line(&mut out, guard, fields);
        if let Err(why) = events.of_delivery(delivery, &mut each).await? {
            gone += 1;
            warn!(
                file = delivery.path,
                generation = delivery.generation,
                "loaded, but cannot be exported: {why}"
            );
        }
    }
    // What lies there and was not loaded yet follows; the bytes of a duplicate are there already.
    let known: HashSet<&str> = deliveries.iter().map(|delivery| delivery.path.as_str()).collect();
    let mut seen: HashSet<String> = deliveries.iter().map(|delivery| delivery.hash.clone()).collect();
    for file in files.iter().filter(|file| !known.contains(file.path.as_str())) {
        let mut each = |fields: &mut dyn Iterator<Item = &[u8]>| line(&mut out, guard, fields);
        if let Err(why) = events.of_file(file, &mut seen, &mut each).await? {
            gone += 1;
            warn!(file = file.path, "cannot be exported: {why}");
        }
    }
    out.flush()?;
    Ok(if gone > 0 { Exit::Short } else { Exit::Done })
}

fn line(
    out: &mut impl Write,
    guard: &mut Guard,
    fields: &mut dyn Iterator<Item = &[u8]>,
) -> std::io::Result<()> {
    let cells: Vec<_> = fields.map(|field| guard.cell(field)).collect();
    render::csv(out, cells.iter().map(AsRef::as_ref), true)
}
