//! `needledrop load`: loads the given files or folders now.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::feed::Declared;
use super::{feed, progress, summary};
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::daemon::app::{App, AppError};
use crate::daemon::signals;
use crate::daemon::single_pass::LoadOptions;
use crate::domain::ledger::DeliveryFilter;
use crate::domain::path::Place;
use crate::domain::similar::nearest;
use crate::domain::{Delivery, DeliveryState, Feed, Feeds, FileKey, FileStat};
use crate::jobs::backfill::{Backfill, Backfilled, Behind};
use crate::jobs::locate::KeptFiles;
use crate::pipeline::messages::{Ended, LoadMode, Scope};
use crate::pipeline::run_stats::RunStats;
use crate::source::backend::AnySource;
use crate::source::folder::inbox;
use crate::source::left_out::{LeftOut, Logged};
use crate::source::{Found, Listing, Source};
use crate::store::backend::AnyStore;
use crate::store::listing::{Deliveries, newest};
use crate::store::{Access, Ledger, Store, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files, whatever their names, or folders, whose files must match source.pattern; relative to the current folder or
    /// to the inbox
    #[arg(required_unless_present = "table")]
    paths: Vec<PathBuf>,
    /// Only report what would be loaded; write nothing and create no store
    #[arg(long)]
    dry_run: bool,
    /// The feed of files that lie outside all inboxes; required for them if there are several feeds
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Load the files again, each as a new generation (a further delivery of the file), even if they were loaded before
    #[arg(long, conflicts_with = "table")]
    again: bool,
    /// Fill this new or changed table with the records of files that are already loaded, from the inbox and the archive;
    /// other tables stay unchanged
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
            let Listing { files: found, left_out } = find(app, &arguments.paths, arguments.feed.as_deref())?;
            files(app, Scope::These(found), &left_out, options, arguments.json, began).await
        }
        Some(table) => {
            let wanted = find_kept(app, &arguments.paths, arguments.feed.as_deref())?;
            let wanted = (!arguments.paths.is_empty()).then_some(wanted);
            into_table(app, table, wanted, arguments, began).await
        }
    }
}

/// Finds files like [`find`], and also moved files. A path that no longer exists means all files of that name in the
/// archives.
pub fn find_kept(app: &App, paths: &[PathBuf], asked: Option<&str>) -> Result<Vec<Found>, Failure> {
    let of_feed = |feed: &Declared, path: &PathBuf| {
        let key = feed::key(path).filter(|key| key.is_of(&feed.plan.feed));
        let possible = key.into_iter().chain(feed.source.typed(path));
        let archive = &feed.source.archive;
        possible.flat_map(|file| archive.candidates(file.path(), FileStat::default())).collect::<Vec<_>>()
    };
    let moved = |path: &PathBuf| app.feeds.values().flat_map(|feed| of_feed(feed, path)).collect::<Vec<_>>();
    let mut places = Vec::new();
    for path in paths {
        match (real_place(app, path, asked), moved(path)) {
            (Err(error), moved) if moved.is_empty() => return Err(error),
            (Err(_), moved) => places.extend(moved),
            (Ok(_), _) => places.push(path.clone()),
        }
    }
    Ok(find(app, &places, asked)?.files)
}

/// Lists the inboxes of these feeds, in listing order. An inbox that cannot be read is left out.
pub async fn list<'a>(app: &App, feeds: impl Iterator<Item = &'a Declared>) -> Result<Listing, Failure> {
    let (mut files, mut left_out) = (Vec::new(), LeftOut::default());
    for feed in feeds {
        if App::check_inbox(feed).await.is_err() {
            continue;
        }
        let listed = feed.source.list().map_err(|error| unlisted(&feed.settings.folder, &error))?;
        left_out.merge(&listed.left_out);
        files.extend(listed.files);
    }
    files.sort_by_cached_key(|found| place(app, &found.file));
    Ok(Listing { files, left_out })
}

/// Returns the place of a file in listing order.
fn place(app: &App, file: &FileKey) -> Place {
    let dates = app.feeds.of(file).map(|feed| feed.plan.file_dates);
    Place::of(file, dates.unwrap_or_default())
}

/// Finds the files that the paths name, in listing order. Also returns which files of the folders are left out.
fn find(app: &App, paths: &[PathBuf], asked: Option<&str>) -> Result<Listing, Failure> {
    let (mut found, mut left_out, mut folders) = (Vec::new(), LeftOut::default(), HashSet::new());
    for path in paths {
        let place = real_place(app, path, asked)?;
        let source = &feed::of_place(app, &place, asked)?.source;
        if place.is_dir() {
            let folder = source.at(place.clone());
            let listed = folder.list().map_err(|error| unlisted(path, &error))?;
            // The same folder may be named twice.
            if folders.insert(place) {
                left_out.merge(&listed.left_out);
            }
            for listed in &listed.files {
                // The folder may contain the inbox of another feed.
                let place = folder.place(listed.file.path());
                found.extend(feed::of_place(app, &place, asked)?.source.look_at(&place));
            }
        } else {
            let file = source.look_at(&place);
            found.push(file.ok_or_else(|| not_a_file(path, &source.feed))?);
        }
    }
    found.sort_by_cached_key(|found| place(app, &found.file));
    found.dedup_by(|a, b| a.file == b.file);
    Ok(Listing { files: found, left_out })
}

fn unlisted(folder: &Path, error: &std::io::Error) -> Failure {
    let next = "make the folder and its subfolders readable for this user";
    Failure::system(format!("{}: {error}\n  next: {next}", folder.display()))
}

fn not_a_file(path: &Path, feed: &Feed) -> Failure {
    let links = feed.setting("source.links");
    let next =
        format!("name a regular file with a UTF-8 name; with {links}: inside, a link must stay in the inbox");
    Failure::usage(format!("{}: not a file that can be loaded\n  next: {next}", path.display()))
}

/// Returns the real path. `path` is relative to the current folder or to an inbox, or the key of a file.
fn real_place(app: &App, path: &Path, asked: Option<&str>) -> Result<PathBuf, Failure> {
    match feed::places(app, path, asked)?.as_slice() {
        [place] => Ok(place.clone()),
        [] => {
            let feed = feed::undeclared(app, path);
            let what = feed.map(|feed| format!(", and no feed `{feed}` is declared")).unwrap_or_default();
            let next = "check the path; it may be relative to the current folder or to the inbox";
            Err(Failure::usage(format!(
                "{}: there is no such file or folder{what}\n  next: {next}",
                path.display()
            )))
        }
        several => {
            let shown: Vec<String> = several.iter().map(|place| place.display().to_string()).collect();
            let (path, all) = (path.display(), shown.join(", "));
            let next = "name its feed with --feed, or write the whole path";
            Err(Failure::usage(format!("{path}: may be any of {all}\n  next: {next}")))
        }
    }
}

/// Finds the deliveries of these files: by key or, for files in the archive, by their bytes.
pub async fn deliveries_of(
    feeds: &Feeds<KeptFiles<impl Source>>,
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
        let Ok(find) = feeds.of(file) else { continue };
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

/// Returns the failure for a file that no delivery has.
pub fn not_in_ledger(file: &FileKey) -> Failure {
    let message =
        format!("{file} is not in the ledger\n  next: see `needledrop status` for the files that are");
    Failure { exit: Exit::Short, message }
}

/// Returns the key of the file that a user typed: the first possible key that is in the ledger. A file in the archive
/// has the key that it had in the inbox. A key with a feed can be typed as `status` shows it. If a feed is asked for, the
/// file must be one of its files.
pub async fn known_file(
    app: &App,
    store: &impl Store,
    (typed, asked): (&Path, Option<&str>),
) -> Result<FileKey, Failure> {
    if let Some(place) = inbox::real_place(typed).filter(|place| asked.is_some() && place.exists()) {
        feed::of_place(app, &place, asked)?;
    }
    let asked = feed::asked(app, asked)?;
    if let Some(key) = feed::key(typed)
        && newest(store, &key).await?.is_some()
    {
        let is_other = asked.is_some_and(|asked| !key.is_of(asked));
        return if is_other { Err(feed::belongs(typed, key.feed())) } else { Ok(key) };
    }
    let feeds = app.feeds.values().filter(|feed| asked.is_none_or(|asked| *asked == feed.plan.feed));
    let (possible, known) = possible_files(feeds, store, typed).await?;
    // The exact name of a delivery in the ledger takes precedence if several feeds have such a file, or if the feed is no
    // longer declared.
    let text = FileKey::from_text(typed.to_string_lossy());
    let is_undeclared = app.feeds.of(&text).is_err();
    if asked.is_none() && (is_undeclared || known.len() > 1) && newest(store, &text).await?.is_some() {
        return Ok(text);
    }
    match known.as_slice() {
        [] => Ok(possible.into_iter().next().unwrap_or(text)),
        [file] => Ok(file.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(FileKey::text).collect();
            let message = format!(
                "{} is a file of several feeds\n  next: name it as {}",
                typed.display(),
                names.join(" or ")
            );
            Err(Failure::usage(message))
        }
    }
}

/// Returns the keys that a typed path may mean, and for each feed the first of them that is in the ledger.
async fn possible_files<'a>(
    feeds: impl Iterator<Item = &'a Declared>,
    store: &impl Store,
    typed: &Path,
) -> Result<(Vec<FileKey>, Vec<FileKey>), StoreError> {
    let (mut possible, mut known) = (Vec::new(), Vec::new());
    for feed in feeds {
        let moved = inbox::real_place(typed).map(|place| feed.source.origins_of(&place));
        let of_feed: Vec<FileKey> =
            feed.source.typed(typed).into_iter().chain(moved.into_iter().flatten()).collect();
        for file in &of_feed {
            if newest(store, file).await?.is_some() {
                known.push(file.clone());
                break;
            }
        }
        possible.extend(of_feed);
    }
    Ok((possible, known))
}

/// Loads files, shows progress, prints the summary.
pub async fn files(
    app: &App,
    scope: Scope,
    left_out: &LeftOut,
    options: LoadOptions,
    json: bool,
    began: Instant,
) -> CommandResult {
    left_out.log("", &mut Logged::default(), true);
    let expected = scope.bytes();
    let stats = Arc::new(RunStats::default());
    let stop = CancellationToken::new();
    let work = app.load_once(scope, options, Arc::clone(&stats), stop.clone());
    let ended = signals::with_signals(stop, progress::during(&stats, expected, work))
        .await?
        .map_err(|error| in_use(error, options))?;
    Ok(summary::finish(app, &stats, left_out, ended, began.elapsed(), json, options.dry_run)?)
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
    let backfill = backfill(app, store, table, Arc::clone(&stats), stop.clone());
    let asked = feed::asked(app, arguments.feed.as_deref())?;
    let mut behind = match wanted {
        None => backfill.behind_of(asked).await?,
        Some(wanted) => {
            let mut behind = Vec::new();
            let take = |delivery: &Delivery| {
                if backfill.is_behind(delivery) {
                    behind.push(Behind::of(delivery));
                }
            };
            deliveries_of(&backfill.feeds, &*backfill.store, &wanted, take).await?;
            behind
        }
    };
    behind.sort_unstable();
    let expected = behind.iter().map(|delivery| delivery.bytes).sum();
    let scratch = app.scratch(None);
    let work = async {
        match backfill.uncover(&behind, index, &scratch).await? {
            true => Ok(Ended::Stopped),
            false => run_backfill(&backfill, &behind, &stats).await,
        }
    };
    let ended = signals::with_signals(stop, progress::during(&stats, expected, work)).await?;
    backfill.store.close().await;
    let took = began.elapsed();
    let left_out = LeftOut::default();
    Ok(summary::finish(app, &stats, &left_out, ended?, took, arguments.json, arguments.dry_run)?)
}

/// Returns the index of a declared table.
pub fn table_index(app: &App, table: &str) -> Result<usize, Failure> {
    let names: Vec<&str> = app.schema.tables.iter().map(|table| table.name.as_str()).collect();
    app.schema.table(table).map(|(index, _)| index).ok_or_else(|| {
        let near = nearest(table, names.iter().copied())
            .map(|near| format!("did you mean `{near}`? "))
            .unwrap_or_default();
        Failure::usage(format!("there is no table `{table}`\n  next: {near}choose from {}", names.join(", ")))
    })
}

fn backfill(
    app: &App,
    store: AnyStore,
    table: &str,
    stats: Arc<RunStats>,
    stop: CancellationToken,
) -> Backfill<AnyStore, AnySource> {
    Backfill {
        store: Arc::new(store),
        feeds: app.find(),
        backoff: app.patience(&stop),
        stats,
        stop,
        table: table.to_owned(),
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
