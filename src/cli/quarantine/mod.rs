//! `needledrop quarantine`: records that could not become rows, and what is to become of them.

mod cells;
mod list;
mod settle;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{Failure, Outcome, load};
use crate::app::App;
use crate::domain::{Delivery, Plan, Reason};
use crate::ledger;
use crate::quarantine::{Entry, Fate, Filter};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List open entries
    List(list::Arguments),
    /// Show one record, with the field that is to blame marked
    Show(show::Arguments),
    /// Try open records once more, by the configuration of now
    ///
    /// Those that pass are loaded exactly once, in their own place in the order of all records; the others stay
    /// open with their new reason. The file may be gone, unless a record is longer than its kept beginning.
    /// Exit 1 when records that were tried are still open.
    Replay(settle::Replay),
    /// Mark open records as not to be loaded; they are kept for the account
    Discard(settle::Discard),
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
}

pub async fn run(app: &App, arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::List(arguments) => list::run(app, arguments).await,
        Command::Show(arguments) => show::run(app, arguments).await,
        Command::Replay(arguments) => settle::replay(app, arguments).await,
        Command::Discard(arguments) => settle::discard(app, arguments).await,
    }
}

impl Which {
    fn is_all(&self) -> bool {
        self.file.is_none() && self.reason.is_none() && self.column.is_none()
    }

    async fn chosen(&self, app: &App, store: &impl Store) -> Result<Chosen, Failure> {
        if let Some(reason) = self.reason.as_ref().filter(|reason| Reason::from_name(reason).is_none()) {
            let known = Reason::ALL.map(Reason::name).join(", ");
            return Err(Failure::usage(format!(
                "there is no reason `{reason}`\n  next: choose from {known}"
            )));
        }
        self.column.as_deref().map_or(Ok(()), |name| known_column(&app.plan, name))?;
        let deliveries = match &self.file {
            Some(file) => ledger::Filter::Path(load::known_path(app, store, file).await?),
            None => ledger::Filter::Quarantined,
        };
        let (reason, column) = (self.reason.clone(), self.column.clone());
        let entries = Filter { reason, column, fate: Some(Fate::Open), ..Filter::default() };
        Ok(Chosen { deliveries, entries })
    }
}

fn known_column(plan: &Plan, name: &str) -> Result<(), Failure> {
    if plan.columns.iter().any(|column| column.name == name) {
        return Ok(());
    }
    let names: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let names = names.join(", ");
    Err(Failure::usage(format!("there is no column `{name}`\n  next: choose from {names}")))
}

/// The requested entries, and the deliveries they belong to.
struct Chosen {
    deliveries: ledger::Filter,
    entries: Filter,
}

fn object(delivery: &Delivery, entry: &Entry) -> Json {
    let record = &entry.record;
    json!({
        "file": delivery.path,
        "generation": delivery.generation,
        "record": record.record,
        "line": record.line,
        "byte": record.offset,
        "bytes": record.len,
        "reason": record.reason.name(),
        "column": record.column,
        "detail": record.detail,
        "state": entry.fate.name(),
        "raw": String::from_utf8_lossy(&record.raw),
    })
}
