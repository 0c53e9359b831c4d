//! `needledrop status`: where everything stands.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde_json::{Value as Json, json};

use super::states::States;
use super::{Exit, Outcome, render};
use crate::app::App;
use crate::domain::{Delivery, Receipt, State};
use crate::ledger::Filter;
use crate::pipeline::discover::inbox::Found;
use crate::store::{Access, Store, StoreError};

/// Deliveries that the text shows.
const NEWEST: usize = 10;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Count the rows that are in the tables
    #[arg(long)]
    count: bool,
    /// All deliveries, as JSON
    #[arg(long)]
    json: bool,
}

/// What the status tells.
struct Status {
    deliveries: Vec<Delivery>,
    tables: Vec<Table>,
    /// Files in the inbox that are new or changed; unknown when the inbox cannot be read.
    backlog: Option<Vec<Found>>,
}

struct Table {
    name: String,
    rows: u64,
    collisions: u64,
    estimated: bool,
    /// Deliveries with records that it was not sent.
    behind: usize,
    count: Option<u64>,
}

pub async fn run(app: &App, arguments: &Arguments) -> Outcome {
    let status = match app.open(Access::Read).await {
        Ok(store) => gather(app, &store, arguments.count).await?,
        // Before the first load there is nothing, which is no failure.
        Err(StoreError::Missing(_)) => Status::of(app, Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        render::json(&mut out, &status.json(app))?;
    } else {
        status.text(app, &mut out)?;
    }
    Ok(Exit::Done)
}

async fn gather(app: &App, store: &impl Store, count: bool) -> Result<Status, StoreError> {
    let mut status = Status::of(app, store.deliveries(Filter::All).await?);
    if count {
        for (index, table) in status.tables.iter_mut().enumerate() {
            table.count = match store.count(index).await {
                Ok(count) => Some(count),
                // Declared, but not there yet: it is behind, and says so.
                Err(StoreError::Shape { .. }) => None,
                Err(error) => return Err(error),
            };
        }
    }
    Ok(status)
}

impl Status {
    fn of(app: &App, deliveries: Vec<Delivery>) -> Self {
        let (backlog, sample) = (backlog(app, &deliveries), app.collision_sample());
        let tables = app.plan.tables.iter().map(|table| {
            let counts = deliveries.iter().flat_map(|delivery| &delivery.receipt.tables);
            let counts: Vec<_> = counts.filter(|count| count.table == table.name).collect();
            Table {
                name: table.name.clone(),
                rows: counts.iter().map(|count| count.rows).sum(),
                collisions: counts.iter().map(|count| count.told_collisions(sample)).sum(),
                estimated: counts.iter().any(|count| count.estimated),
                behind: deliveries.iter().filter(|delivery| delivery.is_behind(table)).count(),
                count: None,
            }
        });
        Self { tables: tables.collect(), backlog, deliveries }
    }

    fn states(&self) -> BTreeMap<&'static str, usize> {
        let mut states = States::default();
        self.deliveries.iter().for_each(|delivery| states.add(delivery));
        states.counts()
    }

    /// The quarantined records of all deliveries.
    fn quarantine(&self) -> Receipt {
        let mut all = Receipt::default();
        for Delivery { receipt, .. } in &self.deliveries {
            all.quarantined += receipt.quarantined;
            all.replayed += receipt.replayed;
            all.discarded += receipt.discarded;
        }
        all
    }

    fn json(&self, app: &App) -> Json {
        let tables: serde_json::Map<String, Json> = self
            .tables
            .iter()
            .map(|table| {
                let told = json!({
                    "rows_written": table.rows,
                    "collisions": table.collisions,
                    "estimated": table.estimated,
                    "behind": table.behind,
                    "count": table.count,
                });
                (table.name.clone(), told)
            })
            .collect();
        let backlog = self.backlog.as_ref().map(|files| {
            json!({ "files": files.len(), "bytes": files.iter().map(|file| file.noted.size).sum::<u64>() })
        });
        json!({
            "store": app.store_name(),
            "inbox": app.config.source.folder,
            "states": self.states(),
            "backlog": backlog,
            "quarantine": render::quarantine(&self.quarantine()),
            "tables": tables,
            "deliveries": self.deliveries.iter().map(delivery).collect::<Vec<_>>(),
        })
    }

    fn text(&self, app: &App, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "store    {}", app.store_name())?;
        writeln!(out, "inbox    {}", app.config.source.folder.display())?;
        let states: Vec<String> =
            self.states().iter().map(|(state, count)| format!("{count} {state}")).collect();
        writeln!(
            out,
            "state    {}",
            if states.is_empty() { "nothing loaded yet".to_owned() } else { states.join(", ") }
        )?;
        match &self.backlog {
            None => writeln!(out, "backlog  unknown: the inbox cannot be read")?,
            Some(files) => {
                let bytes = bytesize::ByteSize(files.iter().map(|file| file.noted.size).sum());
                writeln!(out, "backlog  {} files, {bytes}", files.len())?;
            }
        }
        let all = self.quarantine();
        if all.quarantined + all.replayed > 0 {
            let (open, discarded) = (render::grouped(all.open()), render::grouped(all.discarded));
            let replayed = render::grouped(all.replayed);
            writeln!(
                out,
                "quarantine  {open} open, {discarded} discarded; {replayed} replayed: needledrop quarantine list"
            )?;
        }
        writeln!(out)?;
        self.tables(out)?;
        writeln!(out)?;
        self.newest(out)
    }

    fn tables(&self, out: &mut impl Write) -> std::io::Result<()> {
        let rows: Vec<Vec<String>> = self
            .tables
            .iter()
            .map(|table| {
                let behind = match table.behind {
                    0 => String::new(),
                    n => format!("behind by {n} deliveries: needledrop load --table {}", table.name),
                };
                let count = table.count.map(render::grouped).unwrap_or_default();
                vec![
                    table.name.clone(),
                    render::grouped(table.rows),
                    render::collisions(table.collisions, table.estimated),
                    count,
                    behind,
                ]
            })
            .collect();
        let counted = self.tables.iter().any(|table| table.count.is_some());
        render::table(
            out,
            &["table", "rows written", "collisions", if counted { "rows there" } else { "" }, ""],
            &rows,
        )
    }

    fn newest(&self, out: &mut impl Write) -> std::io::Result<()> {
        let rows: Vec<Vec<String>> = self
            .deliveries
            .iter()
            .rev()
            .take(NEWEST)
            .map(|delivery| {
                vec![
                    delivery.path.clone(),
                    delivery.generation.to_string(),
                    delivery.state.to_string(),
                    render::grouped(delivery.receipt.records),
                    render::grouped(delivery.receipt.quarantined),
                    render::time(delivery.changed),
                    delivery.detail.lines().next().unwrap_or_default().to_owned(),
                ]
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        render::table(out, &["newest", "generation", "state", "records", "quarantined", "changed", ""], &rows)
    }
}

fn delivery(delivery: &Delivery) -> Json {
    json!({
        "file": delivery.path,
        "generation": delivery.generation,
        "state": delivery.state.name(),
        "detail": delivery.detail,
        "bytes": delivery.reach.offset,
        "records": delivery.receipt.records,
        "loaded": delivery.receipt.loaded,
        "skipped": delivery.receipt.skipped,
        "quarantined": delivery.receipt.quarantined,
        "quarantine": render::quarantine(&delivery.receipt),
        "assumed": delivery.receipt.assumed,
        "taken_up": render::time(delivery.taken_up),
        "changed": render::time(delivery.changed),
    })
}

/// Files that the ledger does not know, or knows with another size or younger times.
fn backlog(app: &App, deliveries: &[Delivery]) -> Option<Vec<Found>> {
    let newest: BTreeMap<&str, &Delivery> =
        deliveries.iter().map(|delivery| (delivery.path.as_str(), delivery)).collect();
    let is_new = |file: &Found| {
        newest.get(file.path.as_str()).is_none_or(|delivery| {
            // A time that was too young to be trusted is not a sign that the file is new.
            let noted = delivery.noted;
            let changed = noted.size != file.noted.size
                || noted.mtime != file.noted.mtime
                || (noted.ctime != 0 && noted.ctime != file.noted.ctime);
            changed || matches!(delivery.state, State::Loading | State::Waiting)
        })
    };
    Some(app.inbox.list().ok()?.into_iter().filter(is_new).collect())
}
