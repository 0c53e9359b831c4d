//! `needledrop verify`: compares the tables with the kept files.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::{load, render};
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::cli::render::grouped;
use crate::daemon::app::App;
use crate::daemon::signals;
use crate::daemon::verifier::VerifyOptions;
use crate::domain::verify::WrongRow;
use crate::domain::{Column, Share, Value};
use crate::jobs::read_again::Lost;
use crate::jobs::verify::{Example, SourceRecord, Verified, VerifiedTable};
use crate::store::{Access, Store as _};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only these tables [default: all declared tables]
    tables: Vec<String>,
    /// Compare only a random share of the partitions, such as 1%
    #[arg(long, value_name = "SHARE", value_parser = share)]
    sample: Option<Share>,
    /// Read at most this many rows a second from the tables, and make at most as many from the files; 0 means no limit
    #[arg(long, value_name = "ROWS", default_value_t = 0, hide_default_value = true)]
    rate: u64,
    /// Rewrite wrong rows so that they are what the files give. Extra rows are deleted
    #[arg(long)]
    repair: bool,
    /// The folder for the file of expected rows, which takes about as much space as the tables
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<Share, String> {
    Share::read_sample(text).ok_or_else(|| "write a share above 0% and at most 100%, like 1%".to_owned())
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let began = Instant::now();
    let tables = tables(app, arguments)?;
    let (stop, patience) = (CancellationToken::new(), Some(*app.config.store.patience));
    let store = match arguments.repair {
        true => app.open_with_backoff(false, patience, &stop, &Arc::default()).await?,
        false => app.open(Access::Read).await?,
    };
    let store = Arc::new(store);
    let options = VerifyOptions {
        tables,
        share: arguments.sample,
        rows_per_second: arguments.rate,
        repairs: arguments.repair,
        scratch: arguments.scratch.clone(),
    };
    let verifier = app.verifier(Arc::clone(&store), options, &stop)?;
    // The right to write is renewed while files are read.
    let work = async {
        tokio::select! {
            verified = verifier.run() => verified,
            lost = store.tend(&()) => Err(lost),
        }
    };
    let verified = signals::with_signals(stop, work).await?;
    store.close().await;
    let verified = verified?;
    let mut out = std::io::stdout().lock();
    match arguments.json {
        true => render::json(&mut out, &object(app, &verified, arguments.sample))?,
        false => print(app, &mut out, &verified, (arguments, began))?,
    }
    Ok(match verified {
        _ if verified.stopped => Exit::Stopped,
        _ if is_right(&verified) => Exit::Done,
        _ => Exit::Short,
    })
}

/// Whether every delivery was compared, and every wrong row was repaired.
fn is_right(verified: &Verified) -> bool {
    let wrong = |table: &VerifiedTable| table.missing + table.different + table.extra;
    verified.lost.is_empty() && verified.tables.iter().all(|table| wrong(table) == table.repaired)
}

/// Returns the tables to compare, by index.
fn tables(app: &App, arguments: &Arguments) -> Result<Vec<usize>, Failure> {
    match arguments.tables.as_slice() {
        [] => Ok((0..app.schema.tables.len()).collect()),
        named => named.iter().map(|name| load::table_index(app, name)).collect(),
    }
}

fn columns<'a>(app: &'a App, table: &str) -> Vec<&'a Column> {
    app.schema.table(table).map(|(_, table)| app.schema.columns_of(table).collect()).unwrap_or_default()
}

fn print(
    app: &App,
    out: &mut impl Write,
    verified: &Verified,
    (arguments, began): (&Arguments, Instant),
) -> std::io::Result<()> {
    let row = |table: &VerifiedTable| {
        let counts = [table.rows, table.missing, table.different, table.extra].map(grouped);
        [vec![table.name.clone()], counts.into()].concat()
    };
    let rows: Vec<Vec<String>> = verified.tables.iter().map(row).collect();
    render::table(out, &["table", "rows", "missing", "different", "extra"], &rows)?;
    for table in &verified.tables {
        for example in &table.examples {
            writeln!(out, "{}", described(app, &table.name, example))?;
        }
    }
    for Lost { file, generation, why, .. } in &verified.lost {
        writeln!(out, "not compared  {file}, generation {generation}: {why}")?;
    }
    if arguments.repair {
        match verified.lost.is_empty() {
            true => writeln!(out, "repaired {} rows", grouped(repaired(verified)))?,
            false => writeln!(
                out,
                "repaired nothing: rows of what was not compared would seem to be extra, and be deleted"
            )?,
        }
    }
    if verified.has_loaded {
        let told = "files were loaded meanwhile, so rows may be reported that are not wrong; run it again when the daemon is idle";
        writeln!(out, "{told}")?;
    }
    let (files, records) = (grouped(verified.deliveries), grouped(verified.records));
    let sample = arguments.sample.map(|share| format!("a sample of {share} ")).unwrap_or_default();
    let took = began.elapsed().as_secs_f64();
    writeln!(out, "{sample}compared with {records} records of {files} deliveries in {took:.2} s")
}

fn repaired(verified: &Verified) -> u64 {
    verified.tables.iter().map(|table| table.repaired).sum()
}

/// Describes a wrong row on one line.
fn described(app: &App, table: &str, Example { row, origin }: &Example) -> String {
    let columns = columns(app, table);
    let key = render::key(&app.schema, table, row.any());
    let what = match (&row.expected, &row.found) {
        (Some(expected), Some(found)) => differences(&columns, expected, found),
        (Some(_), None) => "missing".to_owned(),
        _ => "extra: no kept file gives it".to_owned(),
    };
    let from = match origin {
        Some(SourceRecord { file, line: Some(line) }) => format!(" ({file}, line {line})"),
        Some(SourceRecord { file, line: None }) => format!(" ({file})"),
        None => String::new(),
    };
    render::printable(&format!("{table}  {key}: {what}{from}"))
}

fn differences(columns: &[&Column], expected: &[Value<'_>], found: &[Value<'_>]) -> String {
    let cells =
        columns.iter().zip(expected.iter().zip(found)).filter(|(_, (expected, found))| expected != found);
    let each = cells.map(|(column, (expected, found))| {
        format!("{} is {}, expected {}", column.name, render::value(found), render::value(expected))
    });
    each.collect::<Vec<_>>().join("; ")
}

fn object(app: &App, verified: &Verified, sample: Option<Share>) -> Json {
    let table = |table: &VerifiedTable| {
        let examples: Vec<Json> =
            table.examples.iter().map(|example| example_json(app, &table.name, example)).collect();
        json!({
            "table": table.name, "rows": table.rows, "missing": table.missing, "different": table.different,
            "extra": table.extra, "repaired": table.repaired, "examples": examples,
        })
    };
    let lost = |Lost { file, generation, why, tables, .. }: &Lost| {
        json!({
            "feed": file.feed(), "file": file.path(), "generation": generation, "tables": tables, "why": why.to_string(),
        })
    };
    json!({
        "sample": sample.map(|share| share.to_string()),
        "loaded_meanwhile": verified.has_loaded,
        "deliveries": verified.deliveries,
        "records": verified.records,
        "tables": verified.tables.iter().map(table).collect::<Vec<_>>(),
        "not_compared": verified.lost.iter().map(lost).collect::<Vec<_>>(),
    })
}

fn example_json(app: &App, table: &str, Example { row, origin }: &Example) -> Json {
    let columns = columns(app, table);
    let cells = |row: &Option<Vec<Value<'static>>>| -> Json {
        let Some(row) = row else { return Json::Null };
        columns
            .iter()
            .zip(row)
            .map(|(column, value)| (column.name.clone(), super::query::json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let WrongRow { expected, found, .. } = row;
    json!({
        "expected": cells(expected), "found": cells(found),
        "file": origin.as_ref().map(|origin| &origin.file), "line": origin.as_ref().and_then(|origin| origin.line),
    })
}
