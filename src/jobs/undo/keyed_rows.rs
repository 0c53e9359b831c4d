//! Collects the rows of the undone delivery, and what the other deliveries give for their keys.

use std::sync::Arc;

use tracing::info;

use crate::domain::{Delivery, Empty, RowChunk, Table};
use crate::jobs::read_again::{Lost, ReadAgain, ReadEnd};
use crate::jobs::undo::by_keys::Undoer;
use crate::source::Source;
use crate::store::{RowRewriter, StoreError};

impl<S: RowRewriter, I: Source> Undoer<S, I> {
    /// Collects the rows of the undone delivery: from its kept file, or by the write times in the tables. With `--force`, rows
    /// that neither shows may stay.
    pub(super) async fn collect_own(
        &self,
        delivery: &Delivery,
        names: &[String],
        tables: &[usize],
    ) -> Result<ReadEnd, StoreError> {
        let is_shown = tables.iter().all(|table| self.shows_its_rows(*table));
        if is_ahead(delivery) {
            return match is_shown {
                true => self.scan(delivery, tables).await,
                false => Err(interrupted(delivery)),
            };
        }
        let add = async |chunk: Arc<RowChunk>| self.own.add(chunk).await;
        let end = self.read_again(true).delivery(delivery, names, &add).await?;
        if !matches!(end, ReadEnd::Lost(_)) || !(is_shown || self.options.force) {
            return Ok(end);
        }
        if !is_shown {
            // The current configuration may give other keys. That does no harm: only cells with write times of the delivery
            // change.
            self.read_again(false).delivery(delivery, names, &add).await?;
        }
        self.scan(delivery, tables).await
    }

    /// Whether the write times in a table show every row of a delivery that an undo has to change. Key columns and cleared
    /// cells have no write times, but the column `newest_by` is never empty.
    fn shows_its_rows(&self, table: usize) -> bool {
        let shows = |table: &Table| {
            table.newest_by.is_some() || (!table.columns.is_empty() && table.empty == Empty::Keep)
        };
        self.schema.tables.get(table).is_some_and(shows)
    }

    /// Finds the rows of the undone delivery by their write times, without its file. Rows without cells have no write times; those
    /// that no other delivery gives are taken for its rows.
    async fn scan(&self, delivery: &Delivery, tables: &[usize]) -> Result<ReadEnd, StoreError> {
        info!(
            file = delivery.file.text(),
            "its records cannot be read again as they were loaded, so its rows are found by their write times"
        );
        let has_columns =
            |table: &usize| self.schema.tables.get(*table).is_some_and(|table| !table.columns.is_empty());
        for table in tables.iter().filter(|table| has_columns(table)) {
            let mut from = None;
            loop {
                if self.stop.is_cancelled() {
                    return Ok(ReadEnd::Stopped);
                }
                let read = || self.store.rows_possibly_of(*table, delivery.stamps.clone(), from.clone());
                let page = self.backoff.with(read).await?;
                self.own.put(*table, page.found).await?;
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
        }
        Ok(ReadEnd::Done)
    }

    /// Returns the tables that have rows of a delivery.
    pub(super) fn tables_of(&self, delivery: &Delivery) -> Vec<(usize, String)> {
        let counts = delivery.receipt.tables.iter().filter(|count| count.rows > 0);
        let tables = counts.filter_map(|count| self.schema.table(&count.table));
        tables.map(|(index, table)| (index, table.name.clone())).collect()
    }

    fn read_again(&self, same_values: bool) -> ReadAgain<'_, S, I> {
        let store = (&*self.store, &self.backoff);
        ReadAgain { store, feeds: &self.feeds, stop: &self.stop, same_values }
    }

    /// Collects what the other deliveries give for the keys of the undone one. Returns the deliveries that cannot be read, or
    /// `None` if the run was stopped.
    pub(super) async fn expect(
        &self,
        delivery: &Delivery,
        names: &[String],
    ) -> Result<Option<Vec<Lost>>, StoreError> {
        let add = async |chunk: Arc<RowChunk>| {
            let wanted = self.own.wanted(Arc::clone(&chunk)).await?;
            self.expected.add_wanted(chunk, wanted).await
        };
        let tables_of = |other: &Delivery| {
            let is_other = self.options.restores(other, delivery);
            let tables = self.tables_of(other).into_iter().map(|(_, name)| name);
            tables.filter(|name| is_other && names.contains(name)).collect()
        };
        self.read_again(!self.options.force).each(tables_of, add).await
    }
}

/// Whether rows may be in the tables that the ledger does not have, because the delivery was interrupted.
fn is_ahead(delivery: &Delivery) -> bool {
    let ahead = delivery.ahead.as_ref();
    ahead.is_some_and(|ahead| ahead.bytes.offset > delivery.reach.offset) || delivery.note.is_some()
}

fn interrupted(delivery: &Delivery) -> StoreError {
    StoreError::Settings(format!(
        "{} was interrupted, and rows after its byte {} may be in the tables\n  next: load the same bytes to their end with \
         `needledrop load`, then undo the file",
        delivery.file, delivery.reach.offset
    ))
}
