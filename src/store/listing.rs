//! Reads long listings one page at a time, as the caller needs them.

use std::vec;

use super::{Ledger, QuarantineStore, RowReader, StoreError};
use crate::domain::ledger::{Cursor, DeliveryFilter, Page};
use crate::domain::quarantine::QuarantineEntry;
use crate::domain::{Delivery, DeliveryId, Feed, FileKey, RowCursor, TableRow, Value, quarantine};
use crate::store::backoff::Backoff;

/// A listing of deliveries in the order they were taken up.
pub struct Deliveries<'s, S> {
    store: &'s S,
    backoff: Option<&'s Backoff>,
    filter: DeliveryFilter,
    /// The only feed whose deliveries are listed.
    feed: Option<Feed>,
    page: vec::IntoIter<Delivery>,
    /// `None` after the last page.
    next: Option<Cursor>,
}

impl<'s, S: Ledger> Deliveries<'s, S> {
    /// Creates a listing that does not wait: an error of the store is returned at once.
    pub fn new(store: &'s S, filter: DeliveryFilter) -> Self {
        let (page, next) = (Vec::new().into_iter(), Some(Cursor::default()));
        Self { store, backoff: None, filter, feed: None, page, next }
    }

    /// Creates a listing that waits while the store is busy or unavailable.
    pub fn patiently(store: &'s S, backoff: &'s Backoff, filter: DeliveryFilter) -> Self {
        Self { backoff: Some(backoff), ..Self::new(store, filter) }
    }

    /// Lists only deliveries of this feed, if one is given.
    #[must_use]
    pub fn of(self, feed: Option<Feed>) -> Self {
        Self { feed, ..self }
    }

    /// Returns the next delivery, or `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Delivery>, StoreError> {
        loop {
            let is_listed =
                |delivery: &Delivery| self.feed.as_ref().is_none_or(|feed| delivery.file.is_of(feed));
            if let Some(delivery) = self.page.find(is_listed) {
                return Ok(Some(delivery));
            }
            let Some(cursor) = self.next.take() else { return Ok(None) };
            let Page { found, next } = self.read(cursor).await?;
            (self.page, self.next) = (found.into_iter(), next);
        }
    }

    /// Returns all remaining deliveries. Use it only for a listing that is known to be short.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read.
    pub async fn all(mut self) -> Result<Vec<Delivery>, StoreError> {
        let mut all = Vec::new();
        while let Some(delivery) = self.next().await? {
            all.push(delivery);
        }
        Ok(all)
    }

    async fn read(&self, cursor: Cursor) -> Result<Page<Delivery, Cursor>, StoreError> {
        let read = || self.store.deliveries(self.filter.clone(), cursor.clone());
        match self.backoff {
            Some(backoff) => backoff.with(read).await,
            None => read().await,
        }
    }
}

/// Returns the newest generation of a file.
///
/// # Errors
/// Returns an error if the store cannot be read.
pub async fn newest(store: &impl Ledger, file: &FileKey) -> Result<Option<Delivery>, StoreError> {
    let filter = DeliveryFilter::Newest(file.clone());
    Ok(store.deliveries(filter, Cursor::default()).await?.found.pop())
}

/// A listing of the quarantined records of one delivery, in the order of the records.
pub struct Entries<'s, S> {
    store: &'s S,
    backoff: Option<&'s Backoff>,
    id: DeliveryId,
    filter: quarantine::EntryFilter,
    /// `None` after the last page.
    next: Option<u64>,
}

impl<'s, S: QuarantineStore> Entries<'s, S> {
    /// Creates a listing that does not wait: an error of the store is returned at once.
    pub fn new(store: &'s S, id: DeliveryId, filter: quarantine::EntryFilter) -> Self {
        Self { store, backoff: None, id, filter, next: Some(0) }
    }

    /// Creates a listing that waits while the store is busy or unavailable.
    pub fn patiently(
        store: &'s S,
        backoff: &'s Backoff,
        id: DeliveryId,
        filter: quarantine::EntryFilter,
    ) -> Self {
        Self { backoff: Some(backoff), ..Self::new(store, id, filter) }
    }

    /// Starts the listing at this record.
    #[must_use]
    pub fn from(self, record: u64) -> Self {
        Self { next: Some(record), ..self }
    }

    /// Returns the next page that is not empty, or `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read.
    pub async fn page(&mut self) -> Result<Option<Vec<QuarantineEntry>>, StoreError> {
        while let Some(from) = self.next.take() {
            let read = || self.store.quarantined(self.id, self.filter.clone(), from);
            let page = match self.backoff {
                Some(backoff) => backoff.with(read).await?,
                None => read().await?,
            };
            self.next = page.next;
            if !page.found.is_empty() {
                return Ok(Some(page.found));
            }
        }
        Ok(None)
    }
}

/// A listing of the rows of one table whose leading key columns have some values.
pub struct TableRows<'s, S> {
    store: &'s S,
    table: usize,
    key: Vec<Value<'static>>,
    /// Where the next page begins. `None` for the first page.
    from: Option<RowCursor>,
    is_over: bool,
}

/// A clone continues where the listing stands.
impl<S> Clone for TableRows<'_, S> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), from: self.from.clone(), ..*self }
    }
}

impl<'s, S: RowReader> TableRows<'s, S> {
    pub fn new(store: &'s S, table: usize, key: Vec<Value<'static>>) -> Self {
        Self { store, table, key, from: None, is_over: false }
    }

    /// Returns the next page that is not empty, or `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read.
    pub async fn page(&mut self) -> Result<Option<Vec<TableRow>>, StoreError> {
        while !self.is_over {
            let page = self.store.rows(self.table, self.key.clone(), self.from.take()).await?;
            (self.is_over, self.from) = (page.next.is_none(), page.next);
            if !page.found.is_empty() {
                return Ok(Some(page.found));
            }
        }
        Ok(None)
    }
}
