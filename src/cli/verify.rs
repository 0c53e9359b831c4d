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
use crate::domain::verify::{Comparison, WrongRow};
use crate::domain::{Column, Table, Value};
use crate::jobs::read_again::Lost;
use crate::jobs::verify::{Example, SourceRecord, Verified, VerifiedTable, Verifier};
use crate::store::Access;
use crate::store::sqlite::expected_rows::ExpectedRows;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only these tables [default: all declared tables]
    tables: Vec<String>,
    /// The folder for the file of expected rows, which takes about as much space as the tables
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let began = Instant::now();
    let tables = tables(app, arguments)?;
    let store = Arc::new(app.open(Access::Read).await?);
    let folder = arguments.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let path = folder.join(format!("needledrop-verify-{}.db", std::process::id()));
    let stop = CancellationToken::new();
    let verifier = Verifier {
        store,
        feeds: app.find(),
        backoff: app.patience(&stop),
        stop: stop.clone(),
        expected: ExpectedRows::create(path, Arc::clone(&app.schema), app.config.store.keys())?,
        tables,
    };
    let verified = signals::with_signals(stop, verifier.run()).await??;
    let mut out = std::io::stdout().lock();
    match arguments.json {
        true => render::json(&mut out, &object(app, &verified))?,
        false => print(app, &mut out, &verified, began)?,
    }
    Ok(match verified {
        _ if verified.stopped => Exit::Stopped,
        _ if is_right(&verified) => Exit::Done,
        _ => Exit::Short,
    })
}

fn is_right(verified: &Verified) -> bool {
    let wrong = |table: &VerifiedTable| table.missing + table.different + table.extra;
    verified.lost.is_empty() && verified.tables.iter().all(|table| wrong(table) == 0)
}

/// Returns the tables to compare.
fn tables(app: &App, arguments: &Arguments) -> Result<Vec<(usize, Table, Comparison)>, Failure> {
    let all: Vec<usize> = match arguments.tables.as_slice() {
        [] => (0..app.schema.tables.len()).collect(),
        named => named.iter().map(|name| load::table_index(app, name)).collect::<Result<_, _>>()?,
    };
    let is_shared = app.config.store.has_static_columns();
    let each = all.into_iter().filter_map(|index| {
        let table = app.schema.tables.get(index)?.clone();
        let statics =
            table.all().enumerate().filter(|(_, column)| is_shared && table.statics.contains(column));
        let left_out = statics.map(|(at, _)| at).collect();
        let expires = table.options.iter().any(|(name, _)| name == "default_time_to_live");
        Some((index, table, Comparison { left_out, expires }))
    });
    Ok(each.collect())
}

fn columns<'a>(app: &'a App, table: &str) -> Vec<&'a Column> {
    app.schema.table(table).map(|(_, table)| app.schema.columns_of(table).collect()).unwrap_or_default()
}

fn print(app: &App, out: &mut impl Write, verified: &Verified, began: Instant) -> std::io::Result<()> {
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
    let (files, records) = (grouped(verified.deliveries), grouped(verified.records));
    writeln!(
        out,
        "compared with {records} records of {files} deliveries in {:.2} s",
        began.elapsed().as_secs_f64()
    )
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

fn object(app: &App, verified: &Verified) -> Json {
    let table = |table: &VerifiedTable| {
        let examples: Vec<Json> =
            table.examples.iter().map(|example| example_json(app, &table.name, example)).collect();
        json!({
            "table": table.name, "rows": table.rows, "missing": table.missing, "different": table.different,
            "extra": table.extra, "examples": examples,
        })
    };
    let lost = |Lost { file, generation, why, tables, .. }: &Lost| {
        json!({
            "feed": file.feed(), "file": file.path(), "generation": generation, "tables": tables, "why": why.to_string(),
        })
    };
    json!({
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
