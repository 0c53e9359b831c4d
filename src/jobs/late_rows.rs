//! Writes rows of late records: records with earlier stamps than a correction of their table, or than other records of a table with
//! `newest_by`. Written under their own stamps, they could be hidden, so the cells that they win are written above all stamps.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::correction::KeyedRow;
use crate::domain::correction::late_row::Fate;
use crate::domain::{Delivery, Feeds, RowChunk, Stamp, TableRow};
use crate::jobs::locate::KeptFiles;
use crate::jobs::read_again::{Lost, ReadAgain};
use crate::source::Source;
use crate::store::StoreError;
use crate::store::backoff::Backoff;
use crate::store::repairs::{Lateness, Repairs};
use crate::store::scratch_folder::ScratchFolder;
use crate::store::sqlite::expected_rows::ExpectedRows;

/// The maximum number of deliveries that a message names.
const NAMED: usize = 10;

/// Rows of late records, and what all deliveries give for their keys.
pub struct LateRows<'r, S, I> {
    store: (&'r S, &'r Backoff),
    feeds: &'r Feeds<KeptFiles<I>>,
    stop: &'r CancellationToken,
    own: ExpectedRows,
    expected: ExpectedRows,
    tables: Vec<LateTable>,
}

/// A table with late rows.
#[derive(Clone, Debug)]
pub struct LateTable {
    pub index: usize,
    pub name: String,
    pub lateness: Lateness,
}

impl LateTable {
    /// Returns the table if records of it with stamps from `stamp` on are late.
    pub fn of(
        store: &impl Repairs,
        (index, name): (usize, &str),
        stamp: Stamp,
        newest: Stamp,
    ) -> Option<Self> {
        let lateness = store.lateness(index, stamp, newest);
        (lateness != Lateness::None).then(|| Self { index, name: name.to_owned(), lateness })
    }
}

/// How writing late rows ended.
#[derive(Debug)]
pub enum LateEnd {
    Done,
    Stopped,
    /// Nothing was written, because these deliveries cannot be read.
    Lost(Vec<Lost>),
}

impl<'r, S: Repairs, I: Source> LateRows<'r, S, I> {
    /// Begins to collect rows of these tables.
    ///
    /// # Errors
    /// Returns an error if the scratch files cannot be created.
    pub fn begin(
        store: (&'r S, &'r Backoff),
        (feeds, stop): (&'r Feeds<KeptFiles<I>>, &'r CancellationToken),
        scratch: &ScratchFolder,
        tables: Vec<LateTable>,
    ) -> Result<Self, StoreError> {
        let (own, expected) = (scratch.create("late")?, scratch.create("expected")?);
        Ok(Self { store, feeds, stop, own, expected, tables })
    }

    /// Adds rows of late records.
    ///
    /// # Errors
    /// Returns an error if a scratch file cannot be written to.
    pub async fn add(&self, chunk: Arc<RowChunk>) -> Result<(), StoreError> {
        self.own.add(Arc::clone(&chunk)).await?;
        self.expected.add(chunk).await
    }

    /// Makes the cells visible that late records win. The rows do not count until the ledger has them.
    ///
    /// # Errors
    /// Returns an error if a table cannot be corrected, or if the store does not answer.
    pub async fn write(&mut self) -> Result<LateEnd, StoreError> {
        self.drop_visible().await?;
        if self.tables.is_empty() {
            return Ok(LateEnd::Done);
        }
        match self.expect().await? {
            LateEnd::Done => {}
            ended => return Ok(ended),
        }
        let (store, backoff) = self.store;
        let tables: Vec<usize> = self.tables.iter().map(|table| table.index).collect();
        let repair = backoff.with(|| store.begin_repair(tables.clone())).await?;
        for LateTable { index, lateness, .. } in &self.tables {
            let mut after = None;
            loop {
                let page = self.own.page(*index, after.take()).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                let rows =
                    if *lateness == Lateness::Corrected { self.won(*index, page).await? } else { page };
                backoff.with(|| store.uncover(&repair, *index, rows.clone())).await?;
            }
        }
        Ok(LateEnd::Done)
    }

    /// Drops the tables that need no correction. Of the rest, finds those that need the kept files.
    async fn drop_visible(&mut self) -> Result<(), StoreError> {
        let mut tables = Vec::new();
        for table in std::mem::take(&mut self.tables) {
            let lateness = match table.lateness {
                Lateness::Newest => self.lateness_by_rows(table.index).await?,
                known => known,
            };
            if lateness != Lateness::None {
                tables.push(LateTable { lateness, ..table });
            }
        }
        self.tables = tables;
        Ok(())
    }

    async fn lateness_by_rows(&self, table: usize) -> Result<Lateness, StoreError> {
        let (store, backoff) = self.store;
        let (mut after, mut lateness) = (None, Lateness::None);
        loop {
            let page = self.own.page(table, after.take()).await?;
            let Some(last) = page.last() else { return Ok(lateness) };
            after = Some(last.key.clone());
            let fates = backoff.with(|| store.fates(table, page.clone())).await?;
            if fates.contains(&Fate::Tie) {
                return Ok(Lateness::Corrected);
            }
            if fates.contains(&Fate::Hidden) {
                lateness = Lateness::Newest;
            }
        }
    }

    /// Collects what the other records give for the keys.
    async fn expect(&self) -> Result<LateEnd, StoreError> {
        let read_again =
            ReadAgain { store: self.store, feeds: self.feeds, stop: self.stop, same_values: false };
        let add = async |chunk: Arc<RowChunk>| {
            let wanted = self.own.wanted(Arc::clone(&chunk)).await?;
            self.expected.add_wanted(chunk, wanted).await
        };
        Ok(match read_again.each(|other| self.tables_of(other), add).await? {
            None => LateEnd::Stopped,
            Some(lost) if lost.is_empty() => LateEnd::Done,
            Some(lost) => LateEnd::Lost(lost),
        })
    }

    /// Returns the tables for which a delivery has to be read. For a table that is behind by it, its rows are among the late ones.
    fn tables_of(&self, delivery: &Delivery) -> Vec<String> {
        let plan = self.feeds.of(&delivery.file).ok().map(|find| &find.plan);
        let is_behind = |name: &str| {
            let declared = plan.and_then(|plan| plan.table(name));
            declared.is_some_and(|(_, table)| delivery.is_behind(table))
        };
        let counts = delivery.receipt.tables.iter().filter(|count| count.rows > 0 && delivery.counts());
        let names = counts.map(|count| &count.table).filter(|name| !is_behind(name));
        let needs = |of: &LateTable| of.lateness == Lateness::Corrected;
        let is_needed = |name: &&String| self.tables.iter().any(|of| needs(of) && of.name == **name);
        names.filter(is_needed).cloned().collect()
    }

    /// Returns rows with only the cells that late records win.
    async fn won(&self, table: usize, page: Vec<KeyedRow>) -> Result<Vec<KeyedRow>, StoreError> {
        let keys: Vec<TableRow> = page.iter().map(|row| row.key.clone()).collect();
        let expected = self.expected.rows_of(table, keys).await?;
        let rows = page.into_iter().zip(expected);
        let won = rows.filter_map(|(KeyedRow { key, row }, expected)| {
            Some(KeyedRow { key, row: row.won_from(expected.as_ref())? })
        });
        Ok(won.collect())
    }
}

impl LateEnd {
    /// Returns whether the run was stopped.
    ///
    /// # Errors
    /// Returns an error that names the deliveries that cannot be read.
    pub fn into_stopped(self, what: &str) -> Result<bool, StoreError> {
        match self {
            Self::Done => Ok(false),
            Self::Stopped => Ok(true),
            Self::Lost(lost) => {
                let each = lost.iter().take(NAMED);
                let each =
                    each.map(|one| format!("\n  {}, generation {}: {}", one.file, one.generation, one.why));
                Err(StoreError::Settings(format!(
                    "{what} were delivered before an undo or a repair of their table, so other files must be read, but these cannot be:{}\n  \
                     next: fix the problem named for each file, then try again",
                    each.collect::<String>()
                )))
            }
        }
    }
}
