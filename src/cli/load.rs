//! `needledrop load`: these files or folders, now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Failure, Outcome, progress, summary};
use crate::app::{self, App, How};
use crate::domain::{Delivery, State};
use crate::health::Health;
use crate::ledger::Filter;
use crate::pipeline::Ended;
use crate::pipeline::discover::Scope;
use crate::pipeline::discover::inbox::{self, Found};
use crate::pipeline::replay::{Replay, Replayed};
use crate::pipeline::tally::Tally;
use crate::store::any::AnyStore;
use crate::store::patience::Patience;
use crate::store::{Access, Store};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files, or folders with files
    #[arg(required_unless_present = "table")]
    paths: Vec<PathBuf>,
    /// Write nothing, not even a store
    #[arg(long)]
    dry_run: bool,
    /// As new generations, whatever was loaded before
    #[arg(long, conflicts_with = "table")]
    again: bool,
    /// Play kept files into this table alone, under the stamps they have
    #[arg(long, value_name = "T")]
    table: Option<String>,
    /// The summary as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> Outcome {
    let began = Instant::now();
    let found = find(app, &arguments.paths)?;
    let how = How { again: arguments.again, dry: arguments.dry_run };
    match &arguments.table {
        None => files(app, Scope::These(found), how, arguments.json, began).await,
        Some(table) => {
            let wanted = (!arguments.paths.is_empty()).then_some(found);
            into_table(app, table, wanted, arguments, began).await
        }
    }
}

/// The files that are meant, in listing order.
pub fn find(app: &App, paths: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        let place = real_place(app, path)?;
        if place.is_dir() {
            let folder = app.inbox.at(place);
            let listed =
                folder.list().map_err(|error| Failure::system(format!("{}: {error}", path.display())))?;
            found.extend(listed.iter().filter_map(|file| app.inbox.look(&folder.place(&file.path))));
        } else {
            let file = app.inbox.look(&place);
            found.push(file.ok_or_else(|| Failure::usage(format!("{}: is no file", path.display())))?);
        }
    }
    found.sort_by_cached_key(|file| inbox::order(&file.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// Seen from here, or from the inbox. A folder may be `.` or `..`, which has no name of its own.
fn real_place(app: &App, path: &Path) -> Result<PathBuf, Failure> {
    let folder = || path.canonicalize().ok().filter(|place| place.is_dir());
    let places = folder().into_iter().chain(inbox::real_place(path)).chain([app.inbox.folder.join(path)]);
    places.into_iter().find(|place| place.exists()).ok_or_else(|| {
        let path = path.display();
        Failure::usage(format!("{path}: there is no such file or folder\n  next: name one that is there"))
    })
}

/// The ledger's name of a file as it was typed: of those that are possible, the one that is known.
pub async fn known_path(app: &App, store: &impl Store, typed: &Path) -> Result<String, Failure> {
    let possible = app.inbox.typed(typed);
    for path in &possible {
        if !store.deliveries(Filter::Newest(path.clone())).await?.is_empty() {
            return Ok(path.clone());
        }
    }
    Ok(possible.into_iter().next().unwrap_or_else(|| typed.display().to_string()))
}

/// Loads files, shows progress, prints the summary.
pub async fn files(app: &App, scope: Scope, how: How, json: bool, began: Instant) -> Outcome {
    let expected = scope.bytes();
    let tally = Arc::new(Tally::default());
    let stop = CancellationToken::new();
    let work = app.once(scope, how, Arc::clone(&tally), stop.clone());
    let ended = app::with_signals(stop, progress::during(&tally, expected, work)).await??;
    Ok(summary::finish(&tally, ended, began.elapsed(), json, how.dry)?)
}

async fn into_table(
    app: &App,
    table: &str,
    wanted: Option<Vec<Found>>,
    arguments: &Arguments,
    began: Instant,
) -> Outcome {
    let index = table_index(app, table)?;
    let (tally, stop) = (Arc::new(Tally::default()), CancellationToken::new());
    let store = match arguments.dry_run {
        true => app.open(Access::Dry).await?,
        false => app.open_patiently(false, Some(*app.config.store.patience), &stop, &Arc::default()).await?,
    };
    let replay = replay(app, store, index, Arc::clone(&tally), stop.clone());
    let mut behind = replay.behind().await?;
    if let Some(wanted) = wanted {
        behind.retain(|delivery| wanted.iter().any(|file| file.path == delivery.path));
    }
    let expected = behind.iter().map(|delivery| delivery.reach.offset).sum();
    let work = play(&replay, &behind, &tally);
    let ended = app::with_signals(stop, progress::during(&tally, expected, work)).await?;
    replay.store.close().await;
    Ok(summary::finish(&tally, ended?, began.elapsed(), arguments.json, arguments.dry_run)?)
}

/// The index of a declared table.
pub fn table_index(app: &App, table: &str) -> Result<usize, Failure> {
    let names: Vec<&str> = app.plan.tables.iter().map(|table| table.name.as_str()).collect();
    app.plan.table(table).map(|(index, _)| index).ok_or_else(|| {
        Failure::usage(format!("there is no table `{table}`\n  next: choose from {}", names.join(", ")))
    })
}

fn replay(
    app: &App,
    store: AnyStore,
    table: usize,
    tally: Arc<Tally>,
    stop: CancellationToken,
) -> Replay<AnyStore> {
    Replay {
        store: Arc::new(store),
        plan: Arc::clone(&app.plan),
        config: app.config.clone(),
        inbox: app.inbox.clone(),
        patience: Patience {
            limit: Some(*app.config.store.patience),
            halt: stop.clone(),
            health: Arc::new(Health::default()),
        },
        tally,
        stop,
        table,
    }
}

async fn play(replay: &Replay<AnyStore>, behind: &[Delivery], tally: &Tally) -> Result<Ended, Failure> {
    for delivery in behind {
        match replay.delivery(delivery).await? {
            Replayed::Done => {}
            Replayed::Stopped => return Ok(Ended::Stopped),
            Replayed::Gone(why) => {
                warn!(file = delivery.path, "cannot be played again: {why}");
                tally.delivery(State::Replaced);
            }
        }
    }
    Ok(Ended::Done)
}
