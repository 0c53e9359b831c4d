//! `needledrop check`: checks everything that must hold before a load, and says what to do about each problem.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::{health, logging};
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::config::{After, Layers};
use crate::daemon::app::App;
use crate::domain::stamp::MAX_AHEAD;
use crate::domain::{StampsAhead, TooFarAhead};
use crate::store::StoreError;

/// One line of the report.
struct Finding {
    what: &'static str,
    outcome: Result<String, Failure>,
}

pub async fn run(layers: &Layers) -> CommandResult {
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
        let (mark, text) = match &finding.outcome {
            Ok(text) => ("ok   ", text),
            Err(failure) => ("WRONG", &failure.message),
        };
        writeln!(out, "{mark}  {:<14} {text}", finding.what)?;
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
    let text = format!("{}: {columns} columns, {tables} tables", app.origin);
    Finding { what: "configuration", outcome: Ok(text) }
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
    let text = listed.map(|files| format!("{}: {} files", app.config.source.folder.display(), files.len()));
    Finding { what: "inbox", outcome: text }
}

/// Reports the folder that loaded files are moved to, if they are moved.
fn archive(app: &App) -> Option<Finding> {
    let place = app.config.source.archive();
    let device = |place: &Path| std::fs::metadata(place).map(|meta| meta.dev());
    let text = match (std::fs::metadata(&place), device(&app.inbox.folder)) {
        (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("{}: not there yet, the first moved file creates it", place.display()))
        }
        (Ok(meta), Ok(inbox)) if meta.is_dir() && meta.dev() != inbox => Ok(format!(
            "{}: on another device than the inbox, so files are copied and compared",
            place.display()
        )),
        (Ok(meta), _) if meta.is_dir() => Ok(format!("{}: on the same device as the inbox", place.display())),
        (found, _) => {
            let what = found.map_or_else(|error| error.to_string(), |_| "not a folder".to_owned());
            let next = "create a folder there that this user can write to, or change source.archive";
            Err(Failure::system(format!("{}: {what}\n  next: {next}", place.display())))
        }
    };
    (app.config.source.after == After::Move).then_some(Finding { what: "archive", outcome: text })
}

/// Reports whether the store can be reached, what is in it, and what an acknowledgement and a stamp are worth.
async fn store(app: &App) -> Vec<Finding> {
    let backend = match app.backend() {
        Ok(backend) => backend,
        Err(error) => return vec![Finding { what: "store", outcome: Err(error.into()) }],
    };
    let report = backend.check(&app.plan, app.config.store.create_schema).await;
    let store = report.store.map(|text| format!("{}: {text}", app.config.store.name()));
    let mut findings = vec![Finding { what: "store", outcome: store.map_err(Failure::from) }];
    let tables = report.tables.map(|tables| tables.map(|()| names(app)).map_err(Failure::from));
    findings.extend(tables.map(|outcome| Finding { what: "tables", outcome }));
    findings.extend(report.stamps_ahead.map(|ahead| stamps(app, ahead)));
    findings.extend(report.warnings.into_iter().map(|text| Finding { what: "warning", outcome: Ok(text) }));
    findings
}

/// Reports stamps that are ahead of the clock by `ahead`.
fn stamps(app: &App, ahead: Duration) -> Finding {
    if app.config.store.stamps_ahead == StampsAhead::Accept {
        let text =
            format!("stamps are {} s ahead of the clock (store.stamps_ahead: accept)", ahead.as_secs());
        return Finding { what: "warning", outcome: Ok(text) };
    }
    let wait = ahead.saturating_sub(Duration::from_micros(MAX_AHEAD.unsigned_abs()));
    let error = StoreError::Ahead(TooFarAhead { wait, clock_is_behind: true });
    Finding { what: "stamps", outcome: Err(error.into()) }
}

fn names(app: &App) -> String {
    app.plan.tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>().join(", ")
}

/// Reports the port. A daemon that already runs is the usual reason for a port in use, and not a mistake.
async fn listen(app: &App) -> Finding {
    let listen = app.config.http.listen;
    let outcome = match app.listen().await {
        Ok(_) => Ok(format!("{listen}: free")),
        Err(_) if health::is_needledrop(listen).await => Ok(format!("{listen}: in use by a running daemon")),
        Err(error) => Err(error.into()),
    };
    Finding { what: "http", outcome }
}
