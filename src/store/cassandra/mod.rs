//! The store in a Cassandra or ScyllaDB cluster. Rows are written first, under the stamps of their records. The ledger
//! follows, under the stamps of the lease.
//!
//! | module | content |
//! |---|---|
//! | `cluster` | the connection: settings, requests, errors and retries |
//! | `schema` | names, declarations and DDL of all tables, and what exists |
//! | `lease` | who may write, the stamps, and which entries count |
//! | `ledger` | deliveries, and migrations of the ledger |
//! | `writer` | rows to requests, and from acknowledged rows to the ledger |
//! | `quarantine` | quarantined records, and their replay |
//! | `reader` | rows of the tables |
//! | `corrections` | rewriting rows for corrections |
//! | `check` | what an acknowledgement is worth |
//! | `shared`, `open` | the open store, and how it is opened |

mod check;
pub mod cluster;
mod corrections;
mod lease;
mod ledger;
mod open;
mod quarantine;
mod reader;
mod saved_results;
pub mod schema;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

pub use check::Checked;

use crate::domain::correction::KeyedRow;
use crate::domain::ledger::{
    Amendment, Applied, Continuation, Cursor, DeliveryFilter, KnownFile, NewDelivery, Page, TakenUp,
};
use crate::domain::quarantine::{EntryFilter, QuarantineEntry, Replay};
use crate::domain::{
    Delivery, DeliveryId, Feeds, Fingerprint, Header, RowChunk, RowCursor, Schema, StampRange, Stamps,
    TableRow, Value,
};
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::cluster::settings::Settings;
use crate::store::cassandra::corrections::stored;
use crate::store::cassandra::corrections::stored::Bare;
use crate::store::cassandra::quarantine::replay;
use crate::store::cassandra::shared::Inner;
use crate::store::cassandra::writer::send_window::Window;
use crate::store::cassandra::writer::{apply, backfill, send};
use crate::store::observer::StoreObserver;
use crate::store::{Access, ChunkWriter, Ledger, QuarantineStore, RowReader, Store, StoreError};

/// A store in a Cassandra or ScyllaDB cluster.
pub struct CassandraStore {
    inner: Arc<Inner>,
}

impl CassandraStore {
    /// Opens the store.
    ///
    /// # Errors
    /// Returns an error if the cluster cannot be reached or denies access, if a table has another shape than declared,
    /// or if another process holds the lease.
    pub async fn open(settings: Settings, declared: Arc<Schema>, access: Access) -> Result<Self, StoreError> {
        let inner = open::store(Arc::new(settings), declared, access).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Checks the cluster as opening the store for writing would, but creates nothing.
    ///
    /// # Errors
    /// Returns an error with the cause if the cluster cannot be reached or rejects a request.
    pub async fn check(settings: &Settings, declared: &Schema, create: bool) -> Result<Checked, StoreError> {
        let cluster = Cluster::connect(Arc::new(settings.clone())).await?;
        check::checked(&cluster, declared, create).await
    }
}

impl Ledger for CassandraStore {
    async fn known(&self, attempts: Arc<Feeds<Fingerprint>>) -> Result<Vec<KnownFile>, StoreError> {
        self.inner.ledger.known(&attempts).await
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        cursor: Cursor,
    ) -> Result<Page<Delivery, Cursor>, StoreError> {
        self.inner.ledger.page(&filter, cursor).await
    }

    async fn each(&self, take: &mut (dyn FnMut(Delivery) + Send)) -> Result<(), StoreError> {
        self.inner.ledger.each(take).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        self.inner.ledger.read(id).await
    }

    async fn has_content(&self, head: String, len: Option<u64>) -> Result<bool, StoreError> {
        self.inner.ledger.has_content(&head, len).await
    }

    async fn take_up(&self, entry: NewDelivery) -> Result<TakenUp, StoreError> {
        self.inner.ledger.take_up(self.inner.writer()?, &entry).await
    }

    async fn reopen(&self, id: DeliveryId, how: Continuation) -> Result<Option<Delivery>, StoreError> {
        self.inner.ledger.reopen(self.inner.writer()?, id, how).await
    }

    async fn extend(&self, id: DeliveryId, first: u64, records: u64) -> Result<StampRange, StoreError> {
        self.inner.ledger.extend(self.inner.writer()?, id, first, records).await
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.inner.ledger.amend(&self.inner.writer()?.lease, id, amendment).await
    }
}

impl ChunkWriter for CassandraStore {
    type Sent = Window;

    async fn send(&self, chunks: Arc<Vec<RowChunk>>) -> Result<Window, StoreError> {
        send::send(&self.inner, &chunks).await
    }

    async fn apply(&self, chunks: Arc<Vec<RowChunk>>, sent: &Window) -> Result<Vec<Applied>, StoreError> {
        apply::chunks(&self.inner, &chunks, sent).await
    }

    async fn backfill(&self, table: usize, chunk: Arc<RowChunk>, first: bool) -> Result<Applied, StoreError> {
        backfill::chunk(&self.inner, table, &chunk, first).await
    }
}

impl QuarantineStore for CassandraStore {
    async fn quarantined(
        &self,
        id: DeliveryId,
        filter: EntryFilter,
        from: u64,
    ) -> Result<Page<QuarantineEntry, u64>, StoreError> {
        let entered = self.inner.ledger.find(id).await?;
        self.inner.reading.page(&entered, &filter, from).await
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        self.inner.reading.header(id).await
    }

    async fn replay(&self, retried: Arc<Replay>) -> Result<Applied, StoreError> {
        replay::retried(&self.inner, &retried).await
    }

    async fn discard(&self, id: DeliveryId, records: Vec<u64>) -> Result<(), StoreError> {
        replay::discarded(&self.inner, id, &records).await
    }
}

impl RowReader for CassandraStore {
    async fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
        from: Option<RowCursor>,
    ) -> Result<Page<TableRow, RowCursor>, StoreError> {
        self.inner.reader.page(table, &key, from.as_ref()).await
    }

    async fn rows_with_stamps(
        &self,
        table: usize,
        stamps: Stamps,
        from: Option<RowCursor>,
    ) -> Result<Page<KeyedRow, RowCursor>, StoreError> {
        stored::page(&self.inner, table, (&stamps, Bare::LeftOut), from).await
    }

    async fn count(&self, table: usize) -> Result<u64, StoreError> {
        self.inner.reader.count(table).await
    }
}

impl Store for CassandraStore {
    /// Renews the lease. Returns only if another process has the lease.
    async fn tend(&self, observer: &dyn StoreObserver) -> StoreError {
        let Some(writing) = &self.inner.writing else { return std::future::pending().await };
        let tell = async {
            loop {
                self.inner.report_driver();
                writing.lease.tell(observer);
                tokio::time::sleep(writing.lease.pause() / 4).await;
            }
        };
        tokio::select! {
            lost = writing.lease.tend() => lost,
            never = tell => never,
        }
    }

    async fn close(&self) {
        if let Ok(writing) = self.inner.writer() {
            writing.lease.release().await;
        }
    }
}
