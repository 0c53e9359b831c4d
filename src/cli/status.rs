//! `needledrop status`: prints deliveries by state, the backlog, the tables and the newest deliveries.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Write};

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::render;
use super::render::Elements;
use super::states::States;
use crate::cli::outcome::{CommandResult, Exit};
use crate::daemon::app::App;
use crate::domain;
use crate::domain::ledger::DeliveryFilter;
use crate::domain::{Delivery, DeliveryId, DeliveryState, FileKey, FileStat, Receipt};
use crate::source::Found;
use crate::source::backend::AnySource;
use crate::store::listing::Deliveries;
use crate::store::{Access, Ledger, Store, StoreError};

/// The number of deliveries that the text output shows.
const NEWEST: usize = 10;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Also count the rows that are in each table now
    #[arg(long)]
    count: bool,
    /// Print the status with all deliveries as JSON
    #[arg(long)]
    json: bool,
}

/// The data of the status, except the list of all deliveries.
#[derive(Default)]
struct Status {
    states: States,
    /// The maximum number of keys that an estimate of collisions is based on.
    sample: u64,
    /// The counts of quarantined records of all deliveries.
    quarantine: Receipt,
    tables: Vec<Table>,
    /// The newest deliveries.
    newest: BTreeMap<DeliveryId, Delivery>,
    backlog: Backlog,
}

#[derive(Default)]
struct Table {
    name: String,
    rows: u64,
    collisions: u64,
    estimated: bool,
    /// The number of deliveries whose records were not all sent to this table.
    behind: u64,
    count: Option<u64>,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let store = match app.open(Access::Read).await {
        Ok(store) => Some(store),
        // Before the first load there is no store, which is not a failure.
        Err(StoreError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let mut status = Status::new(app);
    if let Some(store) = &store {
        store.each(&mut |delivery| status.add(app, delivery)).await?;
        if arguments.count {
            status.count(store).await?;
        }
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    if arguments.json {
        let mut elements = Elements::field(&mut out, &status.json(app), "deliveries")?;
        if let Some(store) = &store {
            let mut all = Deliveries::new(store, DeliveryFilter::All);
            while let Some(one) = all.next().await? {
                elements.push(&delivery(&one))?;
            }
        }
        elements.end(&Map::new())?;
    } else {
        status.text(app, &mut out)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

impl Status {
    fn new(app: &App) -> Self {
        let table = |table: &domain::Table| Table { name: table.name.clone(), ..Table::default() };
        let tables = app.plan.tables.iter().map(table).collect();
        let (backlog, sample) = (Backlog::of(&app.inbox), app.collision_sample());
        Self { tables, backlog, sample, ..Self::default() }
    }

    fn add(&mut self, app: &App, delivery: Delivery) {
        self.states.add(&delivery);
        let receipt = &delivery.receipt;
        self.quarantine.quarantined += receipt.quarantined;
        self.quarantine.replayed += receipt.replayed;
        self.quarantine.discarded += receipt.discarded;
        for (table, declared) in self.tables.iter_mut().zip(&app.plan.tables) {
            table.behind += u64::from(delivery.is_behind(declared));
            for count in receipt.tables.iter().filter(|count| count.table == table.name) {
                table.rows += count.rows;
                table.collisions += count.reported_collisions(self.sample);
                table.estimated |= count.estimated;
            }
        }
        self.backlog.compare(&delivery);
        self.newest.insert(delivery.id, delivery);
        if self.newest.len() > NEWEST {
            self.newest.pop_first();
        }
    }

    async fn count(&mut self, store: &impl Store) -> Result<(), StoreError> {
        for (index, table) in self.tables.iter_mut().enumerate() {
            table.count = match store.count(index).await {
                Ok(count) => Some(count),
                // The table is declared but does not exist yet. The status already reports it as behind.
                Err(StoreError::Shape { .. }) => None,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    fn json(&self, app: &App) -> Map<String, Json> {
        let tables: Map<String, Json> = self
            .tables
            .iter()
            .map(|table| {
                let counts = json!({
                    "rows_written": table.rows,
                    "collisions": table.collisions,
                    "estimated": table.estimated,
                    "behind": table.behind,
                    "count": table.count,
                });
                (table.name.clone(), counts)
            })
            .collect();
        let backlog = self.backlog.sum().map(|(files, bytes)| json!({ "files": files, "bytes": bytes }));
        let fields = json!({
            "store": app.config.store.name(),
            "inbox": app.config.source.folder,
            "states": self.states.counts(),
            "backlog": backlog,
            "quarantine": render::quarantine(&self.quarantine),
            "tables": tables,
        });
        fields.as_object().cloned().unwrap_or_default()
    }

    fn text(&self, app: &App, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "store    {}", app.config.store.name())?;
        writeln!(out, "inbox    {}", app.config.source.folder.display())?;
        let states: Vec<String> =
            self.states.counts().iter().map(|(state, count)| format!("{count} {state}")).collect();
        writeln!(
            out,
            "state    {}",
            if states.is_empty() { "nothing loaded yet".to_owned() } else { states.join(", ") }
        )?;
        match self.backlog.sum() {
            None => writeln!(out, "backlog  unknown: the inbox cannot be read")?,
            Some((files, bytes)) => writeln!(out, "backlog  {files} files, {}", bytesize::ByteSize(bytes))?,
        }
        let all = &self.quarantine;
        if all.quarantined + all.replayed > 0 {
            let (open, discarded) = (render::grouped(all.open()), render::grouped(all.discarded));
            let replayed = render::grouped(all.replayed);
            writeln!(
                out,
                "quarantine  {open} open, {discarded} discarded; {replayed} replayed; see `needledrop quarantine list`"
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
                    n => format!("behind by {n} deliveries; run `needledrop load --table {}`", table.name),
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
            &["table", "rows written", "collisions", if counted { "rows now" } else { "" }, ""],
            &rows,
        )
    }

    fn newest(&self, out: &mut impl Write) -> std::io::Result<()> {
        let rows: Vec<Vec<String>> = self
            .newest
            .values()
            .rev()
            .map(|delivery| {
                vec![
                    delivery.file.to_string(),
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
        "feed": delivery.file.feed(),
        "file": delivery.file.path(),
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

/// The files in the inbox, and whether each is new or changed. `None` if the inbox cannot be read.
#[derive(Default)]
struct Backlog(Option<HashMap<FileKey, File>>);

/// A file in the inbox, with its newest delivery if the file has not changed since that delivery.
struct File {
    stat: FileStat,
    newest: Option<DeliveryId>,
    is_new: bool,
}

impl Backlog {
    fn of(inbox: &AnySource) -> Self {
        let file = |found: Found| (found.file, File { stat: found.noted, newest: None, is_new: true });
        Self(inbox.list().ok().map(|found| found.into_iter().map(file).collect()))
    }

    fn compare(&mut self, delivery: &Delivery) {
        let file = self.0.as_mut().and_then(|files| files.get_mut(&delivery.file));
        if let Some(file) = file.filter(|file| file.newest < Some(delivery.id)) {
            file.newest = Some(delivery.id);
            file.is_new = is_new(file.stat, delivery);
        }
    }

    /// Returns the number of new or changed files, and their total size in bytes.
    fn sum(&self) -> Option<(usize, u64)> {
        let new = || self.0.as_ref().map(|files| files.values().filter(|file| file.is_new));
        Some((new()?.count(), new()?.map(|file| file.stat.size).sum()))
    }
}

/// Whether the size or the times of the file differ from those in the ledger, or the delivery is not finished.
fn is_new(found: FileStat, delivery: &Delivery) -> bool {
    let known = delivery.noted;
    // An untrusted version was too recent when it was noted. That is not a sign that the file is new.
    let changed = !found.has_bytes_of(&known) || (!known.is_untrusted() && known != found);
    changed || matches!(delivery.state, DeliveryState::Loading | DeliveryState::Waiting)
}
