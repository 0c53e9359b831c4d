//! `needledrop check`: checks everything that must hold before a load, and says what to do about each problem.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;

use super::feed::Declared;
use super::{first_records, health, logging};
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::config::{After, Layers};
use crate::daemon::app::App;
use crate::domain::stamp::MAX_AHEAD;
use crate::domain::undeclared::Undeclared;
use crate::domain::{Delivery, StampsAhead, TooFarAhead};
use crate::source::left_out::LeftOut;
use crate::source::{Found, Listing};
use crate::store::{Access, Ledger, StoreError};

/// One line of the report.
struct Finding {
    what: String,
    outcome: Mark,
}

enum Mark {
    Fine(String),
    /// It does not prevent loading, but the user should know of it.
    Warning(String),
    Wrong(Failure),
}

impl Finding {
    fn new(what: impl Into<String>, outcome: Result<String, impl Into<Failure>>) -> Self {
        let outcome = outcome.map_or_else(|error| Mark::Wrong(error.into()), Mark::Fine);
        Self { what: what.into(), outcome }
    }

    fn fine(what: impl Into<String>, text: String) -> Self {
        Self { what: what.into(), outcome: Mark::Fine(text) }
    }

    fn warning(what: impl Into<String>, text: String) -> Self {
        Self { what: what.into(), outcome: Mark::Warning(text) }
    }

    /// Makes a finding that is a warning unless it is an error.
    fn warning_or_wrong(what: impl Into<String>, outcome: Result<String, Failure>) -> Self {
        let outcome = outcome.map_or_else(Mark::Wrong, Mark::Warning);
        Self { what: what.into(), outcome }
    }
}

pub async fn run(layers: &Layers) -> CommandResult {
    let findings = match App::load(layers) {
        Err(error) => vec![Finding::new("configuration", Err(error))],
        Ok(app) => {
            let mut findings = vec![configuration(&app), log(&app)];
            let listings = join_all(app.feeds.values().map(App::list_inbox)).await;
            for (feed, listing) in app.feeds.values().zip(listings) {
                let Listing { files, left_out } = match listing {
                    Ok(listing) => listing,
                    // Its files and its archive may not answer either.
                    Err(error) => {
                        findings.push(Finding::new(about("inbox", feed), Err(error)));
                        continue;
                    }
                };
                findings.push(inbox(feed, &files));
                findings.extend(self::left_out(feed, &left_out));
                let longest = app.config.limits.max_record_bytes.0;
                let tried = first_records::try_files(feed, files, longest).await;
                let what = about("file", feed);
                let tried = tried.into_iter().map(|outcome| Finding::warning_or_wrong(&what, outcome));
                findings.extend(tried);
                findings.extend(archive(feed));
            }
            findings.extend(store(&app).await);
            findings.extend(undeclared(&app).await);
            findings.push(listen(&app).await);
            findings
        }
    };
    let mut out = std::io::stdout().lock();
    let mut worst = Exit::Done;
    for finding in findings {
        let (mark, text) = match &finding.outcome {
            Mark::Fine(text) => ("ok   ", text),
            Mark::Warning(text) => ("warn ", text),
            Mark::Wrong(failure) => ("WRONG", &failure.message),
        };
        writeln!(out, "{mark}  {:<14} {text}", finding.what)?;
        if let Mark::Wrong(failure) = finding.outcome
            && (worst == Exit::Done || failure.exit == Exit::Usage)
        {
            worst = failure.exit;
        }
    }
    Ok(worst)
}

fn configuration(app: &App) -> Finding {
    let columns: usize = app.feeds.values().map(|feed| feed.plan.columns.len()).sum();
    let (feeds, tables) = (app.feeds.values().count(), app.schema.tables.len());
    let feeds = if feeds > 1 { format!("{feeds} feeds, ") } else { String::new() };
    let text = format!("{}: {feeds}{columns} columns, {tables} tables", app.origin);
    Finding::fine("configuration", text)
}

fn log(app: &App) -> Finding {
    let log = &app.config.log;
    let place = log.file.as_ref().map_or_else(String::new, |file| format!(" and {}", file.display()));
    let outcome = logging::check(log).map(|()| format!("{} to standard error{place}", log.level));
    Finding::new("log", outcome)
}

/// Returns the name of a line about a feed.
fn about(what: &str, feed: &Declared) -> String {
    let feed = &feed.plan.feed;
    if feed.is_named() { format!("{what} {feed}") } else { what.to_owned() }
}

/// Reports the number of files in the inbox.
fn inbox(feed: &Declared, files: &[Found]) -> Finding {
    let text = format!("{}: {} files", feed.settings.folder.display(), files.len());
    Finding::fine(about("inbox", feed), text)
}

/// Reports the files that are left out because of their names.
fn left_out(feed: &Declared, left_out: &LeftOut) -> Vec<Finding> {
    let (warning, declared) = (about("warning", feed), &feed.plan.feed);
    let not_utf8 = left_out.not_utf8_text().map(|text| {
        let message = format!("{text}\n  next: rename them, and they will be loaded");
        Finding::new(about("names", feed), Err(Failure { exit: Exit::Short, message }))
    });
    let unmatched = left_out.unmatched_text(declared.name()).map(|text| {
        let ignore = declared.setting("source.ignore");
        let next = format!("add a pattern for files to load, and add the others to {ignore}");
        Finding::warning(&warning, format!("{text}; {next}"))
    });
    let not_files = left_out.not_files_text().map(|text| {
        let next = "mend the links, or put the files themselves into the inbox";
        Finding::warning(&warning, format!("{text}; {next}"))
    });
    let ignored = left_out.ignored_text().map(|text| Finding::fine(about("left out", feed), text));
    [not_utf8, unmatched, not_files, ignored].into_iter().flatten().collect()
}

/// Reports the folder that loaded files are moved to, if they are moved.
fn archive(feed: &Declared) -> Option<Finding> {
    let place = feed.settings.archive();
    let device = |place: &Path| std::fs::metadata(place).map(|meta| meta.dev());
    let text = match (std::fs::metadata(&place), device(&feed.source.folder)) {
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
            let setting = feed.plan.feed.setting("source.archive");
            let next = format!("create a folder there that this user can write to, or change {setting}");
            Err(Failure::system(format!("{}: {what}\n  next: {next}", place.display())))
        }
    };
    (feed.settings.after == After::Move).then(|| Finding::new(about("archive", feed), text))
}

/// Reports whether the store can be reached, what is in it, and what an acknowledgement and a stamp are worth.
async fn store(app: &App) -> Vec<Finding> {
    let backend = match app.backend() {
        Ok(backend) => backend,
        Err(error) => return vec![Finding::new("store", Err(error))],
    };
    let report = backend.check(&app.schema, app.config.store.create_schema).await;
    let store = report.store.map(|text| format!("{}: {text}", app.config.store.name()));
    let mut findings = vec![Finding::new("store", store)];
    let tables = report.tables.map(|tables| Finding::new("tables", tables.map(|()| names(app))));
    findings.extend(tables);
    findings.extend(report.stamps_ahead.map(|ahead| stamps(app, ahead)));
    findings.extend(report.warnings.into_iter().map(|text| Finding::warning("warning", text)));
    findings
}

/// Warns of deliveries whose feed is not declared. If the store cannot be read, another finding says so.
async fn undeclared(app: &App) -> Vec<Finding> {
    let Ok(store) = app.open(Access::Read).await else { return Vec::new() };
    let mut undeclared = Undeclared::default();
    let add = &mut |delivery: Delivery| {
        if app.feeds.of(&delivery.file).is_err() {
            undeclared.add(&delivery.file, u64::from(delivery.generation == 1), delivery.receipt.open());
        }
    };
    // Deliveries that were read before an error are reported.
    let _ = store.each(add).await;
    undeclared.warnings().map(|text| Finding::warning("warning", text)).collect()
}

/// Reports stamps that are ahead of the clock by `ahead`.
fn stamps(app: &App, ahead: Duration) -> Finding {
    if app.config.store.stamps_ahead == StampsAhead::Accept {
        let text =
            format!("stamps are {} s ahead of the clock (store.stamps_ahead: accept)", ahead.as_secs());
        return Finding::warning("warning", text);
    }
    let wait = ahead.saturating_sub(Duration::from_micros(MAX_AHEAD.unsigned_abs()));
    let error = StoreError::Ahead(TooFarAhead { wait, clock_is_behind: true });
    Finding::new("stamps", Err(error))
}

fn names(app: &App) -> String {
    app.schema.tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>().join(", ")
}

/// Reports the port. A daemon that already runs is the usual reason for a port in use, and not a mistake.
async fn listen(app: &App) -> Finding {
    let listen = app.config.http.listen;
    let outcome = match app.listen().await {
        Ok(_) => Ok(format!("{listen}: free")),
        Err(_) if health::is_needledrop(listen).await => Ok(format!("{listen}: in use by a running daemon")),
        Err(error) => Err(error),
    };
    Finding::new("http", outcome)
}
