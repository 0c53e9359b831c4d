//! `needledrop export`: writes the records of the kept files as one CSV that can be loaded again. These are the records
//! that the current configuration accepts and that were not discarded in quarantine.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::feed::Declared;
use super::guard::Guard;
use super::{feed, load, render};
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::daemon::app::App;
use crate::daemon::signals;
use crate::domain::{Delivery, DeliveryId, DeliveryState, FileKey, Origin, Plan, Stamp};
use crate::jobs::export::{Events, ExportError};
use crate::pipeline::prefix_check::KeptFileError;
use crate::source::Found;
use crate::source::folder::part_file::Part;
use crate::store::backend::AnyStore;
use crate::store::{Access, Ledger, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files or folders [default: the inbox and the archive]
    paths: Vec<PathBuf>,
    /// The feed whose records are exported; required if there are several
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Write to this file instead of stdout; an existing file is replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Put an apostrophe before each cell that a spreadsheet would run as a formula
    #[arg(long)]
    spreadsheet_safe: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let feed = feed::only(app, arguments.feed.as_deref())?;
    let mut files = if arguments.paths.is_empty() {
        App::check_inbox(feed).await?;
        load::list(app, [feed].into_iter()).await?.files
    } else {
        load::find_kept(app, &arguments.paths, arguments.feed.as_deref())?
    };
    files.retain(|found| found.file.is_of(&feed.plan.feed));
    let export = Export::prepare(app, (arguments, feed), files).await?;
    let mut guard = Guard::new(arguments.spreadsheet_safe);
    let exit = match &arguments.out {
        None => export.write(app, std::io::stdout().lock(), &mut guard).await?,
        Some(path) => to_file(app, &export, path, &mut guard).await?,
    };
    guard.warn("omit --spreadsheet-safe to write all cells unchanged");
    Ok(exit)
}

/// An export: deliveries in the order of their records, then files that were not loaded.
struct Export {
    plan: Arc<Plan>,
    store: Option<AnyStore>,
    deliveries: Vec<Loaded>,
    files: Vec<Found>,
}

/// The data kept in memory about a delivery until it is exported: 20 MB for half a million deliveries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Loaded {
    bytes: Fingerprint,
    begin: Option<Stamp>,
    id: DeliveryId,
    is_duplicate: bool,
}

/// A hash of half the usual length, which is enough to tell different contents apart.
type Fingerprint = [u8; 16];

impl Loaded {
    fn of(delivery: &Delivery) -> Option<Self> {
        let is_duplicate = delivery.state == DeliveryState::Duplicate;
        (is_duplicate || delivery.receipt.loaded > 0).then(|| Self {
            bytes: fingerprint(&delivery.hash),
            begin: delivery.stamps.begin(),
            id: delivery.id,
            is_duplicate,
        })
    }
}

fn fingerprint(hash: &str) -> Fingerprint {
    let mut half = Fingerprint::default();
    blake3::Hasher::new().update(hash.as_bytes()).finalize_xof().fill(&mut half);
    half
}

impl Export {
    async fn prepare(
        app: &App,
        (arguments, feed): (&Arguments, &Declared),
        mut files: Vec<Found>,
    ) -> Result<Self, Failure> {
        let plan = Arc::clone(&feed.plan);
        let store = match app.open(Access::Read).await {
            Ok(store) => store,
            Err(StoreError::Missing(_)) => {
                return Ok(Self { plan, store: None, deliveries: Vec::new(), files });
            }
            Err(error) => return Err(error.into()),
        };
        let (mut deliveries, mut known) = (Vec::new(), HashSet::new());
        let given: HashSet<&FileKey> = files.iter().map(|found| &found.file).collect();
        let mut add = |delivery: &Delivery| {
            if let Some(loaded) = Loaded::of(delivery).filter(|_| delivery.file.is_of(&plan.feed)) {
                deliveries.extend(delivery.counts().then_some(loaded));
                known.extend(given.get(&delivery.file).copied().cloned());
            }
        };
        if arguments.paths.is_empty() {
            store.each(&mut |delivery| add(&delivery)).await?;
        } else {
            load::deliveries_of(&app.find(), &store, &files, add).await?;
        }
        files.retain(|found| !known.contains(&found.file));
        deliveries.sort_unstable();
        Ok(Self { plan, store: Some(store), deliveries, files })
    }

    /// Returns the ids of the deliveries whose records are exported, in the order of their records. If the same bytes
    /// were delivered more than once, only the last delivery is exported.
    fn in_order(&self) -> Vec<DeliveryId> {
        let loaded = self.deliveries.iter().filter(|one| !one.is_duplicate);
        let next = loaded.clone().skip(1).map(|one| one.bytes).map(Some).chain([None]);
        let last = loaded.zip(next).filter(|(one, next)| Some(one.bytes) != *next);
        let mut last: Vec<_> = last.map(|(one, _)| (one.begin, one.id)).collect();
        last.sort_unstable();
        last.into_iter().map(|(_, id)| id).collect()
    }

    fn has(&self, bytes: Fingerprint) -> bool {
        let at = self.deliveries.partition_point(|one| one.bytes < bytes);
        self.deliveries.get(at).is_some_and(|one| one.bytes == bytes)
    }
}

/// Writes the export to a file. The file has another name until it is complete.
async fn to_file(app: &App, export: &Export, path: &Path, guard: &mut Guard) -> CommandResult {
    let failed = |error: std::io::Error| {
        Failure::system(format!(
            "{}: {error}\n  next: use --out to name a file that can be written",
            path.display()
        ))
    };
    let name = path.file_name().ok_or_else(|| {
        Failure::usage(format!("{}: not a file name\n  next: use --out to name a file", path.display()))
    })?;
    let part = path.with_file_name(format!(".{}.part", name.to_string_lossy()));
    let part = Part::of(part);
    let file = File::create(part.place()).map_err(failed)?;
    let stop = CancellationToken::new();
    let writing = stop.run_until_cancelled(export.write(app, &file, guard));
    let Some(exit) = signals::with_signals(stop.clone(), writing).await? else { return Ok(Exit::Stopped) };
    let exit = exit?;
    file.sync_all().map_err(failed)?;
    part.rename(path).map_err(failed)?;
    Ok(exit)
}

impl Export {
    async fn write(&self, app: &App, out: impl Write, guard: &mut Guard) -> CommandResult {
        let mut out = BufWriter::new(out);
        header(&mut out, &self.plan)?;
        let mut each = |fields: &mut dyn Iterator<Item = &[u8]>| line(&mut out, guard, fields);
        let events = app.find().map(|find| Events::new(find.clone()));
        let (mut unexported, mut left_out, mut incomplete) = (0, 0, 0);
        for id in self.in_order() {
            let Some(store) = &self.store else { break };
            let Some(delivery) = store.delivery(id).await? else { continue };
            let exported = match events.of(&delivery.file) {
                Ok(events) if events.is_read_again(store, &delivery).await? => continue,
                Ok(events) => events.of_delivery(store, &delivery, &mut each).await,
                Err(why) => Err(ExportError::File(why.into())),
            };
            let exported = exported.map(|records| {
                left_out += records;
                incomplete += u64::from(records > 0);
            });
            if let Some(why) = unreadable(exported)? {
                unexported += 1;
                warn!(
                    file = delivery.file.text(),
                    generation = delivery.generation,
                    "loaded, but cannot be exported: {why}"
                );
            }
        }
        // Files that were not loaded yet follow, except files whose bytes were already exported.
        let mut seen = HashSet::new();
        for found in &self.files {
            let mut is_new = |hash: String| !self.has(fingerprint(&hash)) && seen.insert(hash);
            let Ok(events) = events.of(&found.file) else { continue };
            if let Some(why) = unreadable(events.of_file(found, &mut is_new, &mut each).await)? {
                unexported += 1;
                warn!(file = found.file.text(), "cannot be exported: {why}");
            }
        }
        out.flush()?;
        if left_out > 0 {
            warn!(
                "{left_out} loaded records of {incomplete} deliveries are not exported, because the current \
                 configuration no longer accepts them"
            );
        }
        Ok(if unexported > 0 { Exit::Short } else { Exit::Done })
    }
}

/// Returns why this file cannot be exported, if other files still can. Returns an error if the output or the store fails.
fn unreadable(exported: Result<(), ExportError>) -> Result<Option<KeptFileError>, Failure> {
    match exported {
        Ok(()) => Ok(None),
        Err(ExportError::File(why)) => Ok(Some(why)),
        Err(ExportError::Output(error)) => Err(error.into()),
        Err(ExportError::Store(error)) => Err(error.into()),
    }
}

fn header(out: &mut impl Write, plan: &Plan) -> std::io::Result<()> {
    let names = plan.columns.iter().filter_map(|column| match &column.origin {
        Origin::Field(names) => Some(names.first().as_bytes()),
        _ => None,
    });
    render::csv(out, names, true)
}

fn line(
    out: &mut impl Write,
    guard: &mut Guard,
    fields: &mut dyn Iterator<Item = &[u8]>,
) -> std::io::Result<()> {
    let cells: Vec<_> = fields.map(|field| guard.cell(field)).collect();
    render::csv(out, cells.iter().map(AsRef::as_ref), true)
}
