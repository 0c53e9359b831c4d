//! Takes back what one delivery wrote. What the other deliveries give for the same keys comes from their kept files.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::undo::{RowsOf, TableUndo, UndoEnd};
use crate::domain::{Delivery, DeliveryId, Feeds, FileKey, TableCount, ledger};
use crate::jobs::loaded_rows::LoadedRows;
use crate::jobs::locate::KeptFiles;
use crate::pipeline::prefix_check::KeptFileError;
use crate::source::Source;
use crate::store::backoff::Backoff;
use crate::store::listing::Deliveries;
use crate::store::{Corrections, StoreError};

/// Undoes deliveries.
pub struct Undoer<S, I> {
    pub store: Arc<S>,
    pub feeds: Feeds<KeptFiles<I>>,
    pub backoff: Backoff,
    pub stop: CancellationToken,
    /// Whether the tables and the ledger are changed. Otherwise the undo only counts.
    pub write: bool,
    /// Whether values of deliveries whose files cannot be read may stay lost.
    pub force: bool,
}

/// The outcome of an undo.
#[derive(Debug)]
pub enum Undone {
    Done {
        tables: Vec<TableUndo>,
        /// The deliveries whose values may be lost.
        lost: Vec<Lost>,
    },
    /// Nothing was changed, because these deliveries may share rows, and their records cannot be read.
    Needed(Vec<Lost>),
    Stopped,
}

/// A delivery whose records cannot be made again as they were loaded.
#[derive(Debug)]
pub struct Lost {
    pub id: DeliveryId,
    pub file: FileKey,
    pub generation: u32,
    pub why: LostError,
    /// The tables with shared rows that have records of it.
    tables: Vec<String>,
}

/// Why the records of a delivery cannot be made again as they were loaded.
#[derive(Debug, thiserror::Error)]
pub enum LostError {
    #[error(transparent)]
    File(#[from] KeptFileError),
    #[error(
        "table {0} was declared otherwise when it was loaded; fill it with `needledrop load --table {0}` first"
    )]
    Declaration(String),
    #[error("the current configuration gives {made} rows of it, and {loaded} were loaded")]
    Rows { made: u64, loaded: u64 },
}

impl<S: Corrections, I: Source> Undoer<S, I> {
    /// Takes a delivery out of the tables.
    ///
    /// # Errors
    /// Returns an error if the store does not answer, or if a table has values that no kept file explains.
    pub async fn undo(&self, delivery: &Delivery) -> Result<Undone, StoreError> {
        let id = delivery.id;
        let (undo, found) = self.backoff.with(|| self.store.begin_undo(id)).await?;
        let shared: Vec<RowsOf> = found.into_iter().filter(|found| found.shared > 0).collect();
        let mut lost = Vec::new();
        if !shared.is_empty() {
            let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
            while let Some(other) = all.next().await? {
                if self.stop.is_cancelled() {
                    return Ok(Undone::Stopped);
                }
                let tables = tables_of(&other, &shared);
                if other.id != id
                    && other.counts()
                    && !tables.is_empty()
                    && may_matter(&other, delivery, &shared)
                {
                    match self.expect(&undo, &other, &tables).await? {
                        Ok(true) => {}
                        Ok(false) => return Ok(Undone::Stopped),
                        Err(why) => lost.push(Lost::of(&other, tables, why)),
                    }
                }
            }
        }
        if !lost.is_empty() && !self.force {
            return Ok(Undone::Needed(lost));
        }
        let end = UndoEnd {
            write: self.write,
            force: self.force,
            lost: lost.iter().flat_map(Lost::of_tables).collect(),
        };
        let tables = self.store.end_undo(undo, end).await?;
        Ok(Undone::Done { tables, lost })
    }

    /// Adds the records of another delivery to what is expected of shared rows. Returns false if the run was stopped.
    async fn expect(
        &self,
        undo: &S::Undo,
        other: &Delivery,
        tables: &[String],
    ) -> Result<Result<bool, LostError>, StoreError> {
        let find = match self.feeds.of(&other.file) {
            Ok(find) => find,
            Err(why) => return Ok(Err(KeptFileError::from(why).into())),
        };
        let mut indexes = Vec::new();
        for name in tables {
            match find.plan.table(name) {
                Some((index, table)) if !other.is_behind(table) => indexes.push(index),
                _ => return Ok(Err(LostError::Declaration(name.clone()))),
            }
        }
        let mut kept = match LoadedRows::open((&*self.store, &self.backoff), find, other).await? {
            Ok(kept) => kept,
            Err(why) => return Ok(Err(why.into())),
        };
        let mut made = 0;
        loop {
            match kept.next().await? {
                Ok(Some(_)) if self.stop.is_cancelled() => return Ok(Ok(false)),
                Ok(Some(chunk)) => {
                    made += chunk.rows.rows.len() as u64;
                    let chunk = Arc::new(chunk.rows);
                    let expect = || self.store.expect(undo, indexes.clone(), Arc::clone(&chunk));
                    self.backoff.with(expect).await?;
                }
                Ok(None) if made == other.receipt.loaded => return Ok(Ok(true)),
                Ok(None) => return Ok(Err(LostError::Rows { made, loaded: other.receipt.loaded })),
                Err(why) => return Ok(Err(why.into())),
            }
        }
    }
}

/// Returns the tables with shared rows that have, or had under an earlier declaration, records of this delivery.
fn tables_of(delivery: &Delivery, shared: &[RowsOf]) -> Vec<String> {
    let has_some =
        |count: &&TableCount| delivery.receipt.loaded > 0 && (count.rows > 0 || !count.is_behind());
    let counts = delivery.receipt.tables.iter().filter(has_some);
    let is_shared = |name: &str| shared.iter().any(|found| found.table == name);
    counts.map(|count| count.table.clone()).filter(|name| is_shared(name)).collect()
}

/// Whether values of `other` can come back. Only older records can be under those of the delivery. Where its records are the
/// first of their keys, newer ones are needed to count the collisions.
fn may_matter(other: &Delivery, delivery: &Delivery, shared: &[RowsOf]) -> bool {
    let is_older = other.stamps.begin() < Some(delivery.stamps.end());
    is_older || shared.iter().any(|found| found.first > 0)
}

impl Lost {
    fn of(delivery: &Delivery, tables: Vec<String>, why: LostError) -> Self {
        let Delivery { id, file, generation, .. } = delivery;
        Self { id: *id, file: file.clone(), generation: *generation, why, tables }
    }

    fn of_tables(&self) -> impl Iterator<Item = (DeliveryId, String)> + '_ {
        self.tables.iter().map(|table| (self.id, table.clone()))
    }
}
