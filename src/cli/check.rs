//! `needledrop check`: everything that must hold before a load, each with what to do.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::{Exit, Failure, Outcome, health, logging};
use crate::app::App;
use crate::config::{After, Kind, Layers, StampsAhead};
use crate::domain::TooFarAhead;
use crate::domain::stamp::MAX_AHEAD;
use crate::store::cassandra::CassandraStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Access, StoreError};

/// One line of the check.
struct Finding {
    what: &'static str,
    outcome: Result<String, Failure>,
}

pub async fn run(layers: &Layers) -> Outcome {
    let findings = match App::load(layers) {
        Err(error) => vec![Finding { what: "configuration", outcome: Err(error.into()) }],
        Ok(app) => {
            let mut findings = vec![configuration(&app), log(&app), folder(&app)];
            findings.extend(archive(&app));
            findings.extend(store(&app).await);
            findings.push(listen(&app).await);
            findings
        }
    };
    let mut out = std::io::stdout().lock();
    let mut worst = Exit::Done;
    for finding in findings {
        let (mark, told) = match &finding.outcome {
            Ok(told) => ("ok   ", told),
            Err(failure) => ("WRONG", &failure.message),
        };
        writeln!(out, "{mark}  {:<14} {told}", finding.what)?;
        if let Err(failure) = finding.outcome
            && (worst == Exit::Done || failure.exit == Exit::Usage)
        {
            worst = failure.exit;
        }
    }
    Ok(worst)
}

fn configuration(app: &App) -> Finding {
    let (columns, tables) = (app.plan.columns.len(), app.plan.tables.len());
    let told = format!("{}: {columns} columns into {tables} tables", app.origin);
    Finding { what: "configuration", outcome: Ok(told) }
}

fn log(app: &App) -> Finding {
    let log = &app.config.log;
    let place = log.file.as_ref().map_or_else(String::new, |file| format!(" and {}", file.display()));
    let outcome = logging::check(log).map(|()| format!("{} to standard error{place}", log.level));
    Finding { what: "log", outcome }
}

fn folder(app: &App) -> Finding {
    let listed =
        app.check_inbox().map_err(Failure::from).and_then(|()| app.inbox.list().map_err(Failure::system));
    let told = listed.map(|files| format!("{}: {} files", app.config.source.folder.display(), files.len()));
    Finding { what: "inbox", outcome: told }
}

/// Where files are moved to, when they are.
fn archive(app: &App) -> Option<Finding> {
    let place = app.config.source.archive();
    let device = |place: &Path| std::fs::metadata(place).map(|meta| meta.dev());
    let told = match (std::fs::metadata(&place), device(&app.inbox.folder)) {
        (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("{}: not there yet, the first file makes it", place.display()))
        }
        (Ok(meta), Ok(inbox)) if meta.is_dir() && meta.dev() != inbox => {
            Ok(format!("{}: on another device, files are copied and compared", place.display()))
        }
        (Ok(meta), _) if meta.is_dir() => Ok(format!("{}: on the device of the inbox", place.display())),
        (found, _) => {
            let what = found.map_or_else(|error| error.to_string(), |_| "is no folder".to_owned());
            let next = "make it a folder that this user can write to, or set source.archive to another";
            Err(Failure::system(format!("{}: {what}\n  next: {next}", place.display())))
        }
    };
    (app.config.source.after == After::Move).then_some(Finding { what: "archive", outcome: told })
}

async fn store(app: &App) -> Vec<Finding> {
    match app.config.store.kind {
        Kind::Sqlite => {
            let mut findings = vec![sqlite(app).await, sqlite_tables(app)];
            findings.extend(sqlite_remarks(app));
            findings
        }
        Kind::Cassandra => cluster(app).await,
    }
}

/// Whether it is ours and can be read.
async fn sqlite(app: &App) -> Finding {
    let path = app.config.store.sqlite.path.display();
    let outcome = match app.open(Access::Read).await {
        Ok(_) => Ok(format!("{path}: ours, sqlite; an acknowledged row is on disk (WAL, synchronous=FULL)")),
        Err(StoreError::Missing(_)) => Ok(format!("{path}: not there yet, the first load makes it")),
        Err(error) => Err(error.into()),
    };
    Finding { what: "store", outcome }
}

fn sqlite_tables(app: &App) -> Finding {
    let compared =
        SqliteStore::compare(&app.config.store.sqlite.path, &app.plan, app.config.store.create_schema);
    Finding { what: "tables", outcome: compared.map(|()| names(app)).map_err(Failure::from) }
}

/// Reports stamps left by a wrong clock, and whatever may reject rows. An earlier finding reports whether the store can
/// be read.
fn sqlite_remarks(app: &App) -> Vec<Finding> {
    let remarks = SqliteStore::remarks(&app.config.store.sqlite.path, &app.plan).unwrap_or_default();
    let may_reject = remarks.may_reject.into_iter();
    let may_reject = may_reject.map(|told| Finding { what: "warning", outcome: Ok(told) });
    remarks.stamps_ahead.map(|ahead| stamps(app, ahead)).into_iter().chain(may_reject).collect()
}

/// Reports stamps that are ahead of the clock by `ahead`.
fn stamps(app: &App, ahead: Duration) -> Finding {
    if app.config.store.stamps_ahead == StampsAhead::Accept {
        let told =
            format!("stamps are {} s ahead of the clock (store.stamps_ahead: accept)", ahead.as_secs());
        return Finding { what: "warning", outcome: Ok(told) };
    }
    let wait = ahead.saturating_sub(Duration::from_micros(MAX_AHEAD.unsigned_abs()));
    let told = StoreError::Ahead(TooFarAhead { wait, clock_is_behind: true });
    Finding { what: "stamps", outcome: Err(told.into()) }
}

fn names(app: &App) -> String {
    app.plan.tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>().join(", ")
}

/// What can be reached, what is there, and what an acknowledgement and a stamp are worth.
async fn cluster(app: &App) -> Vec<Finding> {
    let cassandra = &app.config.store.cassandra;
    let login = match &cassandra.username {
        Some(user) => format!("as {user}, password {}", cassandra.told_password()),
        None => "without a login".to_owned(),
    };
    let settings = match app.cassandra() {
        Ok(settings) => settings,
        Err(error) => return vec![Finding { what: "store", outcome: Err(error.into()) }],
    };
    let create = app.config.store.create_schema;
    match CassandraStore::check(&settings, &app.plan, create).await {
        Err(error) => vec![Finding { what: "store", outcome: Err(error.into()) }],
        Ok(checked) => {
            let told = format!("{}: {}, {login}", app.store_name(), checked.server);
            let mut findings = vec![Finding { what: "store", outcome: Ok(told) }];
            let tables = checked.tables.map(|()| names(app)).map_err(Failure::from);
            findings.push(Finding { what: "tables", outcome: tables });
            findings.extend(checked.stamps_ahead.map(|ahead| stamps(app, ahead)));
            let warnings = checked.warnings.into_iter();
            findings.extend(warnings.map(|told| Finding { what: "warning", outcome: Ok(told) }));
            findings
        }
    }
}

/// A daemon that runs already is the usual reason for a port in use, and no mistake.
async fn listen(app: &App) -> Finding {
    let listen = app.config.http.listen;
    let outcome = match app.listen().await {
        Ok(_) => Ok(format!("{listen}: free")),
        Err(_) if health::is_needledrop(listen).await => {
            Ok(format!("{listen}: in use by a daemon that runs"))
        }
        Err(error) => Err(error.into()),
    };
    Finding { what: "http", outcome }
}
