//! `needledrop quarantine`: records that could not become rows.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{Exit, Failure, Outcome, load, render};
use crate::app::App;
use crate::domain::Reason;
use crate::quarantine::{Entry, Filter};
use crate::store::{Access, Store};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List entries
    List(Which),
    /// Show one record with its raw bytes
    Show {
        file: PathBuf,
        /// Its line in the file
        line: u64,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// Of this file only
    #[arg(long)]
    file: Option<PathBuf>,
    /// With this reason only
    #[arg(long)]
    reason: Option<String>,
    /// Refused for this column only
    #[arg(long)]
    column: Option<String>,
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    #[arg(long)]
    csv: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> Outcome {
    let store = app.open(Access::Read).await?;
    match &arguments.command {
        Command::List(which) => {
            let mut filter = filter(which)?;
            if let Some(file) = &which.file {
                filter.path = Some(load::known_path(app, &store, file).await?);
            }
            let entries = store.quarantined(filter).await?;
            list(&entries, which)?;
            Ok(Exit::Done)
        }
        Command::Show { file, line, json } => {
            let path = Some(load::known_path(app, &store, file).await?);
            let filter = Filter { path, raw: true, ..Filter::default() };
            let entries = store.quarantined(filter).await?;
            // The newest generation last.
            let entry = entries.iter().rev().find(|entry| entry.record.line == *line).ok_or_else(|| {
                Failure::usage(format!(
                    "{} has no quarantined record on line {line}\n  next: see `needledrop quarantine list`",
                    file.display()
                ))
            })?;
            show(entry, *json)?;
            Ok(Exit::Done)
        }
    }
}

fn filter(which: &Which) -> Result<Filter, Failure> {
    if let Some(reason) = which.reason.as_ref().filter(|reason| Reason::from_name(reason).is_none()) {
        let known = Reason::ALL.map(Reason::name).join(", ");
        return Err(Failure::usage(format!("there is no reason `{reason}`\n  next: choose from {known}")));
    }
    Ok(Filter {
        path: None,
        reason: which.reason.clone(),
        column: which.column.clone(),
        raw: which.json,
        delivery: None,
    })
}

fn list(entries: &[Entry], which: &Which) -> std::io::Result<()> {
    const HEADER: [&str; 6] = ["file", "line", "byte", "reason", "column", "detail"];
    let mut out = std::io::stdout().lock();
    if which.json {
        return render::json(&mut out, &entries.iter().map(object).collect());
    }
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    if which.csv {
        render::csv(&mut out, HEADER.iter().map(|name| name.as_bytes()), false)?;
        return rows
            .iter()
            .try_for_each(|row| render::csv(&mut out, row.iter().map(String::as_bytes), false));
    }
    if rows.is_empty() {
        return writeln!(out, "nothing in quarantine");
    }
    render::table(&mut out, &HEADER, &rows)
}

fn row(entry: &Entry) -> Vec<String> {
    let record = &entry.record;
    let column = record.column.clone().unwrap_or_default();
    let (line, offset) = (record.line.to_string(), record.offset.to_string());
    vec![entry.path.clone(), line, offset, record.reason.to_string(), column, record.detail.clone()]
}

fn object(entry: &Entry) -> Json {
    let record = &entry.record;
    json!({
        "file": entry.path,
        "generation": entry.generation,
        "record": record.record,
        "line": record.line,
        "byte": record.offset,
        "bytes": record.len,
        "reason": record.reason.name(),
        "column": record.column,
        "detail": record.detail,
        "raw": String::from_utf8_lossy(&record.raw),
    })
}

fn show(entry: &Entry, as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        return render::json(&mut out, &object(entry));
    }
    let record = &entry.record;
    writeln!(out, "{}:{}: {}", entry.path, record.line, record.reason)?;
    if let Some(column) = &record.column {
        writeln!(out, "column  {column}")?;
    }
    writeln!(out, "why     {}", record.detail)?;
    writeln!(out, "where   record {}, byte {}, {} bytes", record.record, record.offset, record.len)?;
    out.write_all(b"record  ")?;
    out.write_all(&record.raw)?;
    writeln!(out)
}
