//! Writes the changes of a table, which come in key order. A partition of which no row stays is deleted as a whole, because
//! reading a partition fails once it has too many deleted rows.

use crate::domain::correction::Correction;
use crate::domain::correction::rewrite::{Change, MOST_DELETED, Rewrite};
use crate::domain::{Table, TableRow};
use crate::store::backoff::Backoff;
use crate::store::{RowRewriter, StoreError};

/// The number of rows that are written at once.
const WINDOW: usize = 1000;

/// Where changes are written.
pub struct Target<'u, S> {
    pub store: &'u S,
    pub backoff: &'u Backoff,
    /// `None` if nothing is written.
    pub correction: Option<Correction>,
}

/// The changes of one table.
pub struct Partitions<'u, S> {
    target: &'u Target<'u, S>,
    index: usize,
    table: &'u Table,
    /// Changes that are ready to be written.
    ready: Vec<Rewrite>,
    /// The deletes of the current partition, unless there are more than [`MOST_DELETED`].
    deletes: Vec<Rewrite>,
    current: Current,
}

/// The current partition.
#[derive(Default)]
struct Current {
    key: Option<TableRow>,
    deleted: u64,
    /// Whether a change so far leaves a row in it.
    stays: bool,
}

impl<'u, S: RowRewriter> Partitions<'u, S> {
    pub fn new(target: &'u Target<'u, S>, (index, table): (usize, &'u Table)) -> Self {
        Self { target, index, table, ready: Vec::new(), deletes: Vec::new(), current: Current::default() }
    }

    /// Adds a change.
    pub async fn push(&mut self, rewrite: Rewrite) -> Result<(), StoreError> {
        let partition = self.table.partition_key.len();
        let is_same =
            self.current.key.as_ref().is_some_and(|key| key.iter().eq(rewrite.key.iter().take(partition)));
        if !is_same {
            self.end_partition().await?;
            self.current.key = Some(rewrite.key.iter().take(partition).cloned().collect());
        }
        match &rewrite.change {
            Change::Delete(kept) => {
                self.current.deleted += 1;
                self.current.stays |= !kept.is_empty();
                self.deletes.push(rewrite);
                if self.current.deleted > MOST_DELETED {
                    self.deletes.clear();
                }
            }
            Change::Set(_) | Change::Insert(..) => {
                self.current.stays = true;
                self.ready.push(rewrite);
            }
        }
        self.write(WINDOW).await
    }

    /// Writes what is left.
    pub async fn end(mut self) -> Result<(), StoreError> {
        self.end_partition().await?;
        self.write(1).await
    }

    async fn end_partition(&mut self) -> Result<(), StoreError> {
        let Current { key, deleted, stays } = std::mem::take(&mut self.current);
        let mut deletes = std::mem::take(&mut self.deletes);
        if let Some(key) = key.filter(|_| deleted > 1 && !stays)
            && self.is_whole(&key, deleted).await?
        {
            return self.delete(key).await;
        }
        if deleted > MOST_DELETED {
            return Err(self.too_many(deleted));
        }
        self.ready.append(&mut deletes);
        Ok(())
    }

    /// Whether a partition has only the deleted rows.
    async fn is_whole(&self, key: &TableRow, deleted: u64) -> Result<bool, StoreError> {
        let Target { store, backoff, .. } = self.target;
        let count = || store.partition_rows(self.index, key.clone(), deleted + 1);
        Ok(backoff.with(count).await? == deleted)
    }

    async fn delete(&self, key: TableRow) -> Result<(), StoreError> {
        let Target { store, backoff, correction: Some(correction) } = self.target else { return Ok(()) };
        backoff.with(|| store.delete_partition(correction, self.index, key.clone())).await
    }

    /// Writes the changes that are ready, if there are at least `least`.
    async fn write(&mut self, least: usize) -> Result<(), StoreError> {
        if self.ready.len() < least {
            return Ok(());
        }
        let ready = std::mem::take(&mut self.ready);
        let Target { store, backoff, correction: Some(correction) } = self.target else { return Ok(()) };
        backoff.with(|| store.rewrite(correction, self.index, ready.clone())).await
    }

    fn too_many(&self, deleted: u64) -> StoreError {
        StoreError::Settings(format!(
            "{deleted} rows of one partition of table {} would be deleted one by one, and others of it stay; that is more than \
             half of the tombstones at which Cassandra fails a read\n  next: drop the table, undo the file, and fill the table with \
             `needledrop load --table {}`",
            self.table.name, self.table.name
        ))
    }
}
