//! Writes rows whose records are older than a correction of their table. Deletes and restored values of the correction may hide
//! what is written under the stamps of these records, so the cells that they win are written above it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::correction::KeyedRow;
use crate::domain::{Delivery, Feeds, RowChunk, TableRow};
use crate::jobs::locate::KeptFiles;
use crate::jobs::read_again::{Lost, ReadAgain};
use crate::source::Source;
use crate::store::StoreError;
use crate::store::backoff::Backoff;
use crate::store::repairs::Repairs;
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
    /// The tables, by index and name.
    tables: Vec<(usize, String)>,
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
        tables: Vec<(usize, String)>,
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
    pub async fn write(&self) -> Result<LateEnd, StoreError> {
        match self.expect().await? {
            LateEnd::Done => {}
            ended => return Ok(ended),
        }
        let (store, backoff) = self.store;
        let tables: Vec<usize> = self.tables.iter().map(|(index, _)| *index).collect();
        let repair = backoff.with(|| store.begin_repair(tables.clone())).await?;
        for table in tables {
            let mut after = None;
            loop {
                let page = self.own.page(table, after.take()).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                let rows = self.won(table, page).await?;
                backoff.with(|| store.uncover(&repair, table, rows.clone())).await?;
            }
        }
        Ok(LateEnd::Done)
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
        names.filter(|name| self.tables.iter().any(|(_, of)| of == *name)).cloned().collect()
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
                    "{what} are older than an undo or a repair of their table, so files are needed that cannot be read{}\n  \
                     next: correct what is named for each file, then try again",
                    each.collect::<String>()
                )))
            }
        }
    }
}
