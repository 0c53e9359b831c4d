//! Takes back what one delivery wrote, in a store whose rows have the stamps of their records. What the other deliveries give
//! for the same keys comes from their kept files.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::undo::{RowsOf, UndoEnd};
use crate::domain::{Delivery, Feeds, RowChunk, TableCount};
use crate::jobs::locate::KeptFiles;
use crate::jobs::read_again::{Lost, ReadAgain};
use crate::jobs::undo::options::{UndoOptions, Undone};
use crate::source::Source;
use crate::store::backoff::Backoff;
use crate::store::{Corrections, StoreError};

/// Undoes deliveries.
pub struct Undoer<S, I> {
    pub store: Arc<S>,
    pub feeds: Feeds<KeptFiles<I>>,
    pub backoff: Backoff,
    pub stop: CancellationToken,
    pub options: UndoOptions,
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
        let lost = match shared.is_empty() {
            true => Vec::new(),
            false => match self.expect(&undo, delivery, &shared).await? {
                Some(lost) => lost,
                None => return Ok(Undone::Stopped),
            },
        };
        if !lost.is_empty() && !self.options.force {
            return Ok(Undone::Needed(lost));
        }
        let of_tables = lost.iter().flat_map(Lost::of_tables).collect();
        let UndoOptions { write, force, replaced_by: by, .. } = self.options;
        let end = UndoEnd { write, force, by, lost: of_tables };
        let tables = self.store.end_undo(undo, end).await?;
        Ok(Undone::Done { tables, lost })
    }

    /// Collects what the other deliveries give for the shared rows. Returns the deliveries that cannot be read, or `None` if
    /// the run was stopped.
    async fn expect(
        &self,
        undo: &S::Undo,
        delivery: &Delivery,
        shared: &[RowsOf],
    ) -> Result<Option<Vec<Lost>>, StoreError> {
        let store = (&*self.store, &self.backoff);
        let same_values = !self.options.force;
        let read_again = ReadAgain { store, feeds: &self.feeds, stop: &self.stop, same_values };
        let tables_of = |other: &Delivery| match self.options.restores(other, delivery) {
            true if may_matter(other, delivery, shared) => tables_of(other, shared),
            _ => Vec::new(),
        };
        let add = async |chunk: Arc<RowChunk>| {
            let expect = || self.store.expect(undo, Arc::clone(&chunk));
            self.backoff.with(expect).await
        };
        read_again.each(tables_of, add).await
    }
}

/// Returns the tables with shared rows that have, or had under an earlier declaration, records of this delivery.
fn tables_of(delivery: &Delivery, shared: &[RowsOf]) -> Vec<String> {
    let is_written = delivery.receipt.loaded > delivery.receipt.assumed;
    let has_some = |count: &&TableCount| is_written && (count.rows > 0 || !count.is_behind());
    let counts = delivery.receipt.tables.iter().filter(has_some);
    let is_shared = |name: &str| shared.iter().any(|found| found.table == name);
    counts.map(|count| count.table.clone()).filter(|name| is_shared(name)).collect()
}

/// Whether values of `other` can come back. Only older records can be under those of the delivery. Where its records are the
/// first of their keys, newer ones are needed to count the collisions. With `newest_by`, a newer record may be the older one by its
/// column.
fn may_matter(other: &Delivery, delivery: &Delivery, shared: &[RowsOf]) -> bool {
    let is_older = other.stamps.begin() < Some(delivery.stamps.end());
    is_older || shared.iter().any(|found| found.first > 0 || found.is_newest_by)
}
