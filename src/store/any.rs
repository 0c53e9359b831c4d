//! The store that the configuration names.

use std::sync::Arc;

use super::cassandra::CassandraStore;
use super::sqlite::SqliteStore;
use super::{Store, StoreError};
use crate::domain::{Delivery, DeliveryId, Fingerprint, Header, RowChunk, StampRange, Value};
use crate::health::Health;
use crate::ledger::{Amendment, Applied, Continuation, Cursor, Entry, Filter, Known, Page};
use crate::quarantine;

/// One of the stores.
pub enum AnyStore {
    Sqlite(SqliteStore),
    Cassandra(CassandraStore),
}

/// Asks whichever it is.
macro_rules! either {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::Sqlite(store) => store.$method($($argument),*).await,
            Self::Cassandra(store) => store.$method($($argument),*).await,
        }
    };
}

impl Store for AnyStore {
    /// SQLite leaves nothing to be told.
    type Sent = Option<<CassandraStore as Store>::Sent>;

    async fn known(&self, attempt: Fingerprint) -> Result<Vec<Known>, StoreError> {
        either!(self.known(attempt))
    }

    async fn deliveries(&self, filter: Filter, cursor: Cursor) -> Result<Page<Delivery, Cursor>, StoreError> {
        either!(self.deliveries(filter, cursor))
    }

    async fn each(&self, take: &mut (dyn FnMut(Delivery) + Send)) -> Result<(), StoreError> {
        either!(self.each(take))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        either!(self.delivery(id))
    }

    async fn has_content(&self, head: String, len: Option<u64>) -> Result<bool, StoreError> {
        either!(self.has_content(head, len))
    }

    async fn take_up(&self, entry: Entry) -> Result<Delivery, StoreError> {
        either!(self.take_up(entry))
    }

    async fn reopen(&self, id: DeliveryId, how: Continuation) -> Result<Option<Delivery>, StoreError> {
        either!(self.reopen(id, how))
    }

    async fn extend(&self, id: DeliveryId, first: u64, records: u64) -> Result<StampRange, StoreError> {
        either!(self.extend(id, first, records))
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        either!(self.amend(id, amendment))
    }

    async fn send(&self, chunks: Arc<Vec<RowChunk>>) -> Result<Self::Sent, StoreError> {
        match self {
            Self::Sqlite(store) => store.send(chunks).await.map(|()| None),
            Self::Cassandra(store) => store.send(chunks).await.map(Some),
        }
    }

    async fn apply(&self, chunks: Arc<Vec<RowChunk>>, sent: &Self::Sent) -> Result<Vec<Applied>, StoreError> {
        match (self, sent) {
            (Self::Cassandra(store), Some(sent)) => store.apply(chunks, sent).await,
            (Self::Cassandra(store), None) => {
                let sent = store.send(Arc::clone(&chunks)).await?;
                store.apply(chunks, &sent).await
            }
            (Self::Sqlite(store), _) => store.apply(chunks, &()).await,
        }
    }

    async fn replay(&self, table: usize, chunk: Arc<RowChunk>, first: bool) -> Result<Applied, StoreError> {
        either!(self.replay(table, chunk, first))
    }

    async fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
    ) -> Result<Vec<Vec<Value<'static>>>, StoreError> {
        either!(self.rows(table, key))
    }

    async fn count(&self, table: usize) -> Result<u64, StoreError> {
        either!(self.count(table))
    }

    async fn tend(&self, health: &Health) -> StoreError {
        either!(self.tend(health))
    }

    async fn close(&self) {
        either!(self.close());
    }

    async fn quarantined(
        &self,
        id: DeliveryId,
        filter: quarantine::Filter,
        from: u64,
    ) -> Result<Page<quarantine::Entry, u64>, StoreError> {
        either!(self.quarantined(id, filter, from))
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        either!(self.header(id))
    }

    async fn retry(&self, retried: Arc<quarantine::Retried>) -> Result<Applied, StoreError> {
        either!(self.retry(retried))
    }

    async fn discard(&self, id: DeliveryId, records: Vec<u64>) -> Result<(), StoreError> {
        either!(self.discard(id, records))
    }
}
