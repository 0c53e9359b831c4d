//! Collects the rows of the undone delivery, and what the other deliveries give for their keys.

use std::sync::Arc;

use tracing::info;

use crate::domain::{Delivery, Empty, RowChunk, Table, ledger};
use crate::jobs::read_again::{Lost, LostError, ReadAgain, ReadEnd};
use crate::jobs::undo::by_keys::Undoer;
use crate::source::Source;
use crate::store::listing::Deliveries;
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
        let add = async |chunk: Arc<RowChunk>| self.own.add(chunk).await;
        let end = self.read(delivery, names, true, &add).await?;
        let is_shown = tables.iter().all(|table| self.shows_its_rows(*table));
        if !matches!(end, ReadEnd::Lost(_)) || !(is_shown || self.force) {
            return Ok(end);
        }
        if !is_shown {
            // The current configuration may give other keys. That does no harm: only cells with write times of the delivery
            // change.
            self.read(delivery, names, false, &add).await?;
        }
        self.scan(delivery, tables).await
    }

    /// Whether the write times in a table show every row of a delivery that an undo has to change. Key columns and cleared
    /// cells have no write times.
    fn shows_its_rows(&self, table: usize) -> bool {
        let shows = |table: &Table| !table.columns.is_empty() && table.empty == Empty::Keep;
        self.schema.tables.get(table).is_some_and(shows)
    }

    /// Finds the rows of the undone delivery by their write times, without its file.
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
                let read = || self.store.rows_with_stamps(*table, delivery.stamps.clone(), from.clone());
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

    async fn read(
        &self,
        delivery: &Delivery,
        tables: &[String],
        same_values: bool,
        take: &impl AsyncFn(Arc<RowChunk>) -> Result<(), StoreError>,
    ) -> Result<ReadEnd, StoreError> {
        let store = (&*self.store, &self.backoff);
        let read_again = ReadAgain { store, feeds: &self.feeds, stop: &self.stop, same_values };
        read_again.delivery(delivery, tables, take).await
    }

    /// Collects what the other deliveries give for the keys of the undone one. Returns the deliveries that cannot be read, or
    /// `None` if the run was stopped.
    pub(super) async fn expect(
        &self,
        delivery: &Delivery,
        names: &[String],
    ) -> Result<Option<Vec<Lost>>, StoreError> {
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        let mut lost = Vec::new();
        let add = async |chunk: Arc<RowChunk>| {
            let wanted = self.own.wanted(Arc::clone(&chunk)).await?;
            self.expected.add_wanted(chunk, wanted).await
        };
        while let Some(other) = all.next().await? {
            let mut tables: Vec<String> = self.tables_of(&other).into_iter().map(|(_, name)| name).collect();
            tables.retain(|name| names.contains(name));
            if other.id == delivery.id || !other.counts() || tables.is_empty() {
                continue;
            }
            if other.receipt.assumed > 0 {
                lost.push(Lost::of(&other, tables, LostError::Assumed));
                continue;
            }
            match self.read(&other, &tables, !self.force, &add).await? {
                ReadEnd::Done => {}
                ReadEnd::Stopped => return Ok(None),
                ReadEnd::Lost(why) => lost.push(Lost::of(&other, tables, why)),
            }
        }
        Ok(Some(lost))
    }
}
