//! `needledrop load`: loads the given files or folders now.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{progress, summary};
use crate::cli::outcome::{CommandResult, Failure};
use crate::daemon::app::{App, AppError, LoadOptions};
use crate::daemon::signals;
use crate::domain::ledger::DeliveryFilter;
use crate::domain::path::order;
use crate::domain::{Delivery, DeliveryState, FileKey, FileStat};
use crate::jobs::backfill::{Backfill, Backfilled, Behind};
use crate::jobs::locate::KeptFiles;
use crate::metrics::heartbeat::Pulse;
use crate::pipeline::messages::{Ended, LoadMode, Scope};
use crate::pipeline::run_stats::RunStats;
use crate::source::backend::AnySource;
use crate::source::folder::inbox;
use crate::source::{Found, Source};
use crate::store::backend::AnyStore;
use crate::store::backoff::Backoff;
use crate::store::listing::{Deliveries, newest};
use crate::store::{Access, Ledger, Store, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files, or folders of files
    #[arg(required_unless_present = "table")]
    paths: Vec<PathBuf>,
    /// Only report what would be loaded; write nothing and create no store
    #[arg(long)]
    dry_run: bool,
    /// Load the files as new generations, even if they were loaded before
    #[arg(long, conflicts_with = "table")]
    again: bool,
    /// Backfill this table from files in the inbox and the archive; other tables stay unchanged
    #[arg(long, value_name = "T")]
    table: Option<String>,
    /// Record the files as loaded without writing rows, because another program wrote them
    #[arg(long, conflicts_with_all = ["again", "table"])]
    assume_loaded: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn mode(&self) -> LoadMode {
        match (self.again, self.assume_loaded) {
            (true, _) => LoadMode::Again,
            (_, true) => LoadMode::Assumed,
            _ => LoadMode::New,
        }
    }
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let began = Instant::now();
    let options = LoadOptions { mode: arguments.mode(), dry_run: arguments.dry_run };
    match &arguments.table {
        None => {
            let found = find(app, &arguments.paths)?;
            files(app, Scope::These(found), options, arguments.json, began).await
        }
        Some(table) => {
            let wanted = find_kept(app, &arguments.paths)?;
            let wanted = (!arguments.paths.is_empty()).then_some(wanted);
            into_table(app, table, wanted, arguments, began).await
        }
    }
}

/// Finds files like [`find`], and also moved files. A path that no longer exists means all files of that name in the
/// archive.
pub fn find_kept(app: &App, paths: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let archive = &app.inbox.archive;
    let moved = |path: &PathBuf| {
        let possible = app.inbox.typed(path).into_iter();
        possible.flat_map(|file| archive.candidates(file.path(), FileStat::default())).collect::<Vec<_>>()
    };
    let mut places = Vec::new();
    for path in paths {
        match (real_place(app, path), moved(path)) {
            (Err(error), moved) if moved.is_empty() => return Err(error),
            (Err(_), moved) => places.extend(moved),
            (Ok(_), _) => places.push(path.clone()),
        }
    }
    find(app, &places)
}

/// Finds the files that the paths name, in listing order.
pub fn find(app: &App, paths: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        let place = real_place(app, path)?;
        if place.is_dir() {
            let folder = app.inbox.at(place);
            let listed =
                folder.list().map_err(|error| Failure::system(format!("{}: {error}", path.display())))?;
            found.extend(
                listed.iter().filter_map(|found| app.inbox.look_at(&folder.place(found.file.path()))),
            );
        } else {
            let file = app.inbox.look_at(&place);
            found.push(file.ok_or_else(|| not_a_file(path))?);
        }
    }
    found.sort_by_cached_key(|found| order(&found.file));
    found.dedup_by(|a, b| a.file == b.file);
    Ok(found)
}

fn not_a_file(path: &Path) -> Failure {
    let next =
        "name a regular file with a UTF-8 name; with source.links: inside, a link must stay in the inbox";
    Failure::usage(format!("{}: not a file that can be loaded\n  next: {next}", path.display()))
}

/// Returns the real path. `path` is relative to the current folder or to the inbox. `.` and `..` are folders too,
/// although they have no name of their own.
fn real_place(app: &App, path: &Path) -> Result<PathBuf, Failure> {
    let folder = || path.canonicalize().ok().filter(|place| place.is_dir());
    let places = folder().into_iter().chain(inbox::real_place(path)).chain([app.inbox.folder.join(path)]);
    places.into_iter().find(|place| place.exists()).ok_or_else(|| {
        let path = path.display();
        let next = "check the path; it may be relative to the current folder or to the inbox";
        Failure::usage(format!("{path}: there is no such file or folder\n  next: {next}"))
    })
}

/// Finds the deliveries of these files: by key or, for files in the archive, by their bytes.
pub async fn deliveries_of(
    find: &KeptFiles<impl Source>,
    store: &impl Store,
    files: &[Found],
    mut take: impl FnMut(&Delivery),
) -> Result<(), StoreError> {
    let mut taken = HashSet::new();
    for Found { file, .. } in files {
        let mut here = Deliveries::new(store, DeliveryFilter::Path(file.clone()));
        while let Some(delivery) = here.next().await? {
            if taken.insert(delivery.id) {
                take(&delivery);
            }
        }
        let mut possible = Vec::new();
        for origin in find.inbox.origins(file) {
            possible.extend(Deliveries::new(store, DeliveryFilter::Path(origin)).all().await?);
        }
        let possible: Vec<&Delivery> = possible.iter().collect();
        let meant = find.delivery_of(file, &possible).await.filter(|id| taken.insert(*id));
        possible.into_iter().filter(|delivery| Some(delivery.id) == meant).for_each(&mut take);
    }
    Ok(())
}

/// Returns the key under which the ledger knows a file as typed. If several keys are possible, it is the first that the
/// ledger knows. For a file in the archive, it is the key that the file had in the inbox. A key with a
/// feed can be typed as `status` shows it.
pub async fn known_file(app: &App, store: &impl Store, typed: &Path) -> Result<FileKey, Failure> {
    let text = FileKey::from_text(typed.to_string_lossy());
    if text.path() != text.text() && newest(store, &text).await?.is_some() {
        return Ok(text);
    }
    let moved = inbox::real_place(typed).map(|place| app.inbox.origins_of(&place));
    let possible: Vec<FileKey> =
        app.inbox.typed(typed).into_iter().chain(moved.into_iter().flatten()).collect();
    for file in &possible {
        if newest(store, file).await?.is_some() {
            return Ok(file.clone());
        }
    }
    Ok(possible.into_iter().next().unwrap_or(text))
}

/// Loads files, shows progress, prints the summary.
pub async fn files(
    app: &App,
    scope: Scope,
    options: LoadOptions,
    json: bool,
    began: Instant,
) -> CommandResult {
    let expected = scope.bytes();
    let stats = Arc::new(RunStats::default());
    let stop = CancellationToken::new();
    let work = app.once(scope, options, Arc::clone(&stats), stop.clone());
    let ended = signals::with_signals(stop, progress::during(&stats, expected, work))
        .await?
        .map_err(|error| in_use(error, options))?;
    Ok(summary::finish(app, &stats, ended, began.elapsed(), json, options.dry_run)?)
}

/// If the store is in use, suggests the inbox of the process that holds it. That process can load new files.
fn in_use(error: AppError, options: LoadOptions) -> Failure {
    match error {
        AppError::Store(StoreError::InUse { store, holder }) if options.mode == LoadMode::New => {
            Failure::system(format!(
                "{store} is in use by {holder}\n  next: drop the files into the inbox of that process, or stop it first"
            ))
        }
        error => error.into(),
    }
}

async fn into_table(
    app: &App,
    table: &str,
    wanted: Option<Vec<Found>>,
    arguments: &Arguments,
    began: Instant,
) -> CommandResult {
    let index = table_index(app, table)?;
    let (stats, stop) = (Arc::new(RunStats::default()), CancellationToken::new());
    let store = match arguments.dry_run {
        true => app.open(Access::Dry).await?,
        false => {
            app.open_with_backoff(false, Some(*app.config.store.patience), &stop, &Arc::default()).await?
        }
    };
    let backfill = backfill(app, store, index, Arc::clone(&stats), stop.clone());
    let mut behind = match wanted {
        None => backfill.behind().await?,
        Some(wanted) => {
            let mut behind = Vec::new();
            let take = |delivery: &Delivery| {
                if backfill.is_behind(delivery) {
                    behind.push(Behind::of(delivery));
                }
            };
            deliveries_of(&backfill.find, &*backfill.store, &wanted, take).await?;
            behind
        }
    };
    behind.sort_unstable();
    let expected = behind.iter().map(|delivery| delivery.bytes).sum();
    let work = run_backfill(&backfill, &behind, &stats);
    let ended = signals::with_signals(stop, progress::during(&stats, expected, work)).await?;
    backfill.store.close().await;
    Ok(summary::finish(app, &stats, ended?, began.elapsed(), arguments.json, arguments.dry_run)?)
}

/// Returns the index of a declared table.
pub fn table_index(app: &App, table: &str) -> Result<usize, Failure> {
    let names: Vec<&str> = app.plan.tables.iter().map(|table| table.name.as_str()).collect();
    app.plan.table(table).map(|(index, _)| index).ok_or_else(|| {
        Failure::usage(format!("there is no table `{table}`\n  next: choose from {}", names.join(", ")))
    })
}

fn backfill(
    app: &App,
    store: AnyStore,
    table: usize,
    stats: Arc<RunStats>,
    stop: CancellationToken,
) -> Backfill<AnyStore, AnySource> {
    Backfill {
        store: Arc::new(store),
        plan: Arc::clone(&app.plan),
        find: app.find(),
        backoff: Backoff {
            limit: Some(*app.config.store.patience),
            halt: stop.clone(),
            observer: Arc::new(()),
            pulse: Pulse::default(),
        },
        stats,
        stop,
        table,
    }
}

async fn run_backfill(
    backfill: &Backfill<AnyStore, AnySource>,
    behind: &[Behind],
    stats: &RunStats,
) -> Result<Ended, Failure> {
    for Behind { id, .. } in behind {
        let delivery = backfill.backoff.with(|| backfill.store.delivery(*id)).await?;
        let Some(delivery) = delivery else { continue };
        match backfill.delivery(&delivery).await? {
            Backfilled::Done => {}
            Backfilled::Stopped => return Ok(Ended::Stopped),
            Backfilled::Gone(why) => {
                warn!(file = delivery.file.text(), "cannot be loaded into the table: {why}");
                stats.delivery(DeliveryState::Replaced);
            }
        }
    }
    Ok(Ended::Done)
}
