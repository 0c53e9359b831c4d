//! A dry run: a store that reads from another store, keeps new ledger entries in memory, and writes nothing.

mod entries;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entries::{Entries, Entry};

use super::{ChunkWriter, Ledger, QuarantineStore, RowReader, SavedResults, Store, StoreError};
use crate::domain::correction::KeyedRow;
use crate::domain::ledger::{
    Amendment, Applied, Continuation, Cursor, DeliveryFilter, KnownFile, NewDelivery, Page, TakenUp,
};
use crate::domain::quarantine::{EntryFilter, QuarantineEntry, Replay};
use crate::domain::{
    Delivery, DeliveryId, Feeds, Fingerprint, Header, RowChunk, RowCursor, StampRange, Stamps, TableDelta,
    TableRow, Value,
};
use crate::store::listing::Deliveries;
use crate::store::observer::StoreObserver;

/// A dry run over a store. It assumes that the store accepts every row.
pub struct DryRun<S> {
    /// `None` if there is no store yet. The ledger is then empty.
    store: Option<S>,
    entries: Mutex<Entries>,
}

impl<S: Store> DryRun<S> {
    pub fn new(store: Option<S>) -> Self {
        Self { store, entries: Mutex::default() }
    }

    /// Begins a dry run over a store that was opened for it. A store that does not exist yet has an empty ledger.
    ///
    /// # Errors
    /// Returns the error of opening the store, unless the store is missing.
    pub fn over(opened: Result<S, StoreError>) -> Result<Self, StoreError> {
        match opened {
            Err(StoreError::Missing(_)) => Ok(Self::new(None)),
            opened => Ok(Self::new(Some(opened?))),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a delivery in memory.
    async fn change<T>(
        &self,
        id: DeliveryId,
        change: impl FnOnce(&mut Delivery) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(stored) = self.delivery(id).await? else {
            return Err(broken(format!("there is no delivery {}", id.0)));
        };
        let mut entries = self.entries();
        let mut entry = entries.get(id).cloned().unwrap_or_else(|| Entry::of_stored(stored));
        let result = change(&mut entry.delivery)?;
        entries.put(entry);
        Ok(result)
    }
}

fn broken(what: String) -> StoreError {
    StoreError::Broken { store: "dry run".to_owned(), what }
}

fn writes_nothing<T>() -> Result<T, StoreError> {
    Err(broken("a dry run does not replay or discard quarantined records".to_owned()))
}

impl<S: Store> Ledger for DryRun<S> {
    async fn known(&self, attempts: Arc<Feeds<Fingerprint>>) -> Result<Vec<KnownFile>, StoreError> {
        let known = match &self.store {
            Some(store) => store.known(Arc::clone(&attempts)).await?,
            None => Vec::new(),
        };
        Ok(self.entries().known(known, &attempts))
    }

    /// Returns a page of the store with the deliveries of this run that belong there.
    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        cursor: Cursor,
    ) -> Result<Page<Delivery, Cursor>, StoreError> {
        let after = cursor.after;
        let mut page = match &self.store {
            Some(store) => store.deliveries(filter.clone(), cursor).await?,
            None => Page { found: Vec::new(), next: None },
        };
        let until = page.next.as_ref().and_then(|next| next.after);
        let is_in_page = |id| after.is_none_or(|after| id > after) && until.is_none_or(|until| id <= until);
        let entries = self.entries();
        page.found.retain(|delivery| entries.get(delivery.id).is_none());
        page.found.extend(entries.selected(&filter).filter(|own| is_in_page(own.id)).cloned());
        page.found.sort_by_key(|delivery| delivery.id);
        if matches!(filter, DeliveryFilter::Newest(_)) {
            page.found.drain(..page.found.len().saturating_sub(1));
        }
        Ok(page)
    }

    async fn each(&self, take: &mut (dyn FnMut(Delivery) + Send)) -> Result<(), StoreError> {
        let mut all = Deliveries::new(self, DeliveryFilter::All);
        while let Some(delivery) = all.next().await? {
            take(delivery);
        }
        Ok(())
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let own = self.entries().get(id).map(|entry| entry.delivery.clone());
        match (own, &self.store) {
            (None, Some(store)) => store.delivery(id).await,
            (own, _) => Ok(own),
        }
    }

    async fn has_content(&self, head: String, len: Option<u64>) -> Result<bool, StoreError> {
        if self.entries().has_content(&head, len) {
            return Ok(true);
        }
        match &self.store {
            Some(store) => store.has_content(head, len).await,
            None => Ok(false),
        }
    }

    async fn take_up(&self, new: NewDelivery) -> Result<TakenUp, StoreError> {
        let (mut newest, mut unsettled) = (0, Vec::new());
        let mut earlier = Deliveries::new(self, DeliveryFilter::Path(new.file.clone()));
        while let Some(delivery) = earlier.next().await? {
            newest = newest.max(delivery.generation);
            if delivery.is_unsettled(&new) {
                unsettled.push(delivery.id);
            }
        }
        let mut discarded = 0;
        for id in unsettled {
            discarded += self.change(id, |earlier| Ok(earlier.supersede(&new, newest + 1))).await?;
        }
        let delivery = self.entries().begin(&new, newest + 1);
        Ok(TakenUp { delivery, discarded })
    }

    async fn reopen(&self, id: DeliveryId, how: Continuation) -> Result<Option<Delivery>, StoreError> {
        self.change(id, |delivery| {
            if (delivery.reach, &delivery.ahead) != (how.compared.0, &how.compared.1) {
                return Ok(None);
            }
            delivery.resume(&how);
            Ok(Some(delivery.clone()))
        })
        .await
    }

    async fn extend(&self, id: DeliveryId, first: u64, records: u64) -> Result<StampRange, StoreError> {
        let range = self.entries().hand_out(first, records);
        self.change(id, |delivery| {
            delivery.stamps.push(range);
            Ok(range)
        })
        .await
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.change(id, |delivery| {
            delivery.amend(amendment);
            Ok(())
        })
        .await
    }
}

impl<S: Store> ChunkWriter for DryRun<S> {
    type Sent = ();

    async fn send(&self, _: Arc<Vec<RowChunk>>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Advances the deliveries in memory. Quarantined records are only counted, because keeping them would take memory
    /// without limit.
    async fn apply(&self, chunks: Arc<Vec<RowChunk>>, (): &()) -> Result<Vec<Applied>, StoreError> {
        let mut all = Vec::with_capacity(chunks.len());
        for chunk in chunks.iter() {
            let tables = &chunk.source.plan.tables;
            let deltas = vec![rows(chunk); tables.len()];
            self.change(chunk.source.id, |delivery| {
                delivery.advance(chunk, 0).map_err(|error| broken(error.to_string()))?;
                delivery.receipt.add_rows(tables, deltas.iter().copied());
                Ok(())
            })
            .await?;
            all.push(Applied { tables: deltas, ..Applied::default() });
        }
        Ok(all)
    }

    async fn backfill(&self, _: usize, chunk: Arc<RowChunk>, _: bool) -> Result<Applied, StoreError> {
        Ok(Applied { tables: vec![rows(&chunk)], ..Applied::default() })
    }
}

fn rows(chunk: &RowChunk) -> TableDelta {
    TableDelta { rows: chunk.rows.len() as u64, ..TableDelta::default() }
}

impl<S: Store> QuarantineStore for DryRun<S> {
    async fn quarantined(
        &self,
        id: DeliveryId,
        filter: EntryFilter,
        from: u64,
    ) -> Result<Page<QuarantineEntry, u64>, StoreError> {
        match self.store.as_ref().filter(|_| !entries::is_new(id)) {
            Some(store) => store.quarantined(id, filter, from).await,
            None => Ok(Page { found: Vec::new(), next: None }),
        }
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        match self.store.as_ref().filter(|_| !entries::is_new(id)) {
            Some(store) => store.header(id).await,
            None => Ok(None),
        }
    }

    async fn replay(&self, _: Arc<Replay>) -> Result<Applied, StoreError> {
        writes_nothing()
    }

    async fn discard(&self, _: DeliveryId, _: Vec<u64>) -> Result<(), StoreError> {
        writes_nothing()
    }
}

impl<S: Store> RowReader for DryRun<S> {
    async fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
        from: Option<RowCursor>,
    ) -> Result<Page<TableRow, RowCursor>, StoreError> {
        match &self.store {
            Some(store) => store.rows(table, key, from).await,
            None => Ok(Page { found: Vec::new(), next: None }),
        }
    }

    async fn rows_with_stamps(
        &self,
        table: usize,
        stamps: Stamps,
        from: Option<RowCursor>,
    ) -> Result<Page<KeyedRow, RowCursor>, StoreError> {
        match &self.store {
            Some(store) => store.rows_with_stamps(table, stamps, from).await,
            None => Ok(Page { found: Vec::new(), next: None }),
        }
    }

    async fn count(&self, table: usize) -> Result<u64, StoreError> {
        match &self.store {
            Some(store) => store.count(table).await,
            None => Ok(0),
        }
    }
}

impl<S: Store> SavedResults for DryRun<S> {
    async fn save_result(&self, _: &'static str, _: String) -> Result<(), StoreError> {
        Ok(())
    }

    async fn saved_result(&self, job: &'static str) -> Result<Option<String>, StoreError> {
        match &self.store {
            Some(store) => store.saved_result(job).await,
            None => Ok(None),
        }
    }
}

impl<S: Store> Store for DryRun<S> {
    /// Never returns: a dry run does not write, so it cannot lose the right to.
    async fn tend(&self, _: &dyn StoreObserver) -> StoreError {
        std::future::pending().await
    }

    async fn close(&self) {
        if let Some(store) = &self.store {
            store.close().await;
        }
    }
}
