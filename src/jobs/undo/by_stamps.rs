//! Takes back what one delivery wrote, in a store whose rows have the stamps of their records. What the other deliveries give
//! for the same keys comes from their kept files.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::undo::{RowsOf, UndoEnd};
use crate::domain::{Delivery, Feeds, RowChunk, TableCount, ledger};
use crate::jobs::locate::KeptFiles;
use crate::jobs::read_again::{Lost, LostError, ReadAgain, ReadEnd};
use crate::jobs::undo::Undone;
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
        if !lost.is_empty() && !self.force {
            return Ok(Undone::Needed(lost));
        }
        let of_tables = lost.iter().flat_map(Lost::of_tables).collect();
        let end = UndoEnd { write: self.write, force: self.force, lost: of_tables };
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
        let same_values = !self.force;
        let read_again = ReadAgain { store, feeds: &self.feeds, stop: &self.stop, same_values };
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        let mut lost = Vec::new();
        while let Some(other) = all.next().await? {
            let tables = tables_of(&other, shared);
            let is_other = other.id != delivery.id && other.counts();
            if !is_other || tables.is_empty() || !may_matter(&other, delivery, shared) {
                continue;
            }
            if other.receipt.assumed > 0 {
                lost.push(Lost::of(&other, tables, LostError::Assumed));
                continue;
            }
            let add = async |chunk: Arc<RowChunk>| {
                let expect = || self.store.expect(undo, Arc::clone(&chunk));
                self.backoff.with(expect).await
            };
            match read_again.delivery(&other, &tables, add).await? {
                ReadEnd::Done => {}
                ReadEnd::Stopped => return Ok(None),
                ReadEnd::Lost(why) => lost.push(Lost::of(&other, tables, why)),
            }
        }
        Ok(Some(lost))
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
/// first of their keys, newer ones are needed to count the collisions.
fn may_matter(other: &Delivery, delivery: &Delivery, shared: &[RowsOf]) -> bool {
    let is_older = other.stamps.begin() < Some(delivery.stamps.end());
    is_older || shared.iter().any(|found| found.first > 0)
}
