//! The embedded store: one SQLite file. Rows and ledger are written in the same transaction.

mod apply;
mod cell;
mod generations;
mod ledger;
mod listing;
mod lock;
mod merge;
mod migrations;
mod open;
mod place;
mod quarantine;
mod repair;
mod recreated;
mod remarks;
mod row_by_row;
mod reader;
mod row_cursor;
mod rows;
pub mod schema;
#[cfg(test)]
pub mod tests;
pub mod config;
mod connection_thread;
mod entry;
mod backfill;
mod replay;
mod delivery_row;
mod paths;
mod progress;
mod fault;
mod shared;
mod table_sql;
mod sampled;
mod saved_results;
mod scratch;
mod stamped_row;
mod expected_keys;
pub mod expected_rows;
pub mod earlier_rows;
mod undo;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::listing::Deliveries;
use super::{Access, ChunkWriter, Ledger, QuarantineStore, RowReader, Store, StoreError};
use crate::domain::correction::KeyedRow;
use crate::domain::ledger::{
    Amendment, Applied, Continuation, Cursor, DeliveryFilter, KnownFile, NewDelivery, Page, TakenUp,
};
use crate::domain::quarantine::{EntryFilter, QuarantineEntry, Replay};
use crate::domain::{
    Delivery, DeliveryId, Feeds, Fingerprint, Header, RowChunk, RowCursor, StampRange, Stamps, StampsAhead,
    TableRow, Value,
};
use crate::metrics;
use crate::store::observer::StoreObserver;
use crate::store::sqlite::connection_thread::ConnectionThread;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::shared::Shared;

/// The settings of a SQLite store.
#[derive(Clone, Debug)]
pub struct Settings {
    pub path: PathBuf,
    pub stamps_ahead: StampsAhead,
}

impl Settings {
    /// Returns the default settings for a store at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), stamps_ahead: StampsAhead::Wait }
    }
}

/// How often to check that the files of the store are still in place.
const LOOK: Duration = Duration::from_secs(1);

/// A store in one SQLite file. The fields are dropped in the order of their declaration.
pub struct SqliteStore {
    /// The connection for reading, so that readers do not wait for the writer. `None` if `writer` is the only
    /// connection, because the store is open only for reading. Declared before `writer` so that it closes
    /// first: the last connection to close writes the WAL into the file, and a read-only connection cannot do this.
    reader: Option<ConnectionThread>,
    writer: ConnectionThread,
    shared: Arc<Shared>,
}

impl SqliteStore {
    /// Runs `work` on the writing connection.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        metrics::in_flight(1.0);
        let done = self.writer.run(move |connection| {
            let done = work(&shared, connection);
            // If the files are no longer in place, nothing that `work` did is in the store.
            shared.check().inspect_err(|fault| shared.leave(connection, fault))?;
            done
        });
        let done = done.await;
        metrics::in_flight(-1.0);
        self.result(done)
    }

    /// Runs `work` on the reading connection.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let reader = self.reader.as_ref().unwrap_or(&self.writer);
        let done = reader.run(move |connection| {
            let done = work(&shared, connection);
            shared.check()?;
            done
        });
        let done = done.await;
        self.result(done)
    }

    fn result<T>(&self, done: Option<Result<T, Fault>>) -> Result<T, StoreError> {
        let panicked = || Err(Fault::Broken("its thread panicked".to_owned()));
        done.unwrap_or_else(panicked).map_err(|fault| fault.in_store(&self.shared.name()))
    }
}

impl Ledger for SqliteStore {
    async fn known(&self, attempts: Arc<Feeds<Fingerprint>>) -> Result<Vec<KnownFile>, StoreError> {
        self.read(move |_, connection| Ok(ledger::known(connection, &attempts)?)).await
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        cursor: Cursor,
    ) -> Result<Page<Delivery, Cursor>, StoreError> {
        self.read(move |_, connection| Ok(listing::page(connection, &filter, cursor.after)?)).await
    }

    async fn each(&self, take: &mut (dyn FnMut(Delivery) + Send)) -> Result<(), StoreError> {
        let mut all = Deliveries::new(self, DeliveryFilter::All);
        while let Some(delivery) = all.next().await? {
            take(delivery);
        }
        Ok(())
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        self.read(move |_, connection| Ok(listing::find(connection, id)?)).await
    }

    async fn has_content(&self, head: String, len: Option<u64>) -> Result<bool, StoreError> {
        self.read(move |_, connection| Ok(listing::has_content(connection, &head, len)?)).await
    }

    async fn take_up(&self, entry: NewDelivery) -> Result<TakenUp, StoreError> {
        self.write(move |shared, connection| ledger::take_up(shared, connection, &entry)).await
    }

    async fn reopen(&self, id: DeliveryId, how: Continuation) -> Result<Option<Delivery>, StoreError> {
        self.write(move |shared, connection| ledger::reopen(shared, connection, id, &how)).await
    }

    async fn extend(&self, id: DeliveryId, first: u64, records: u64) -> Result<StampRange, StoreError> {
        self.write(move |shared, connection| ledger::extend(shared, connection, id, first, records)).await
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.write(move |shared, connection| ledger::amend(shared, connection, id, amendment)).await
    }
}

impl ChunkWriter for SqliteStore {
    type Sent = ();

    /// Does nothing, because `apply` writes everything in one transaction.
    async fn send(&self, _: Arc<Vec<RowChunk>>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn apply(&self, chunks: Arc<Vec<RowChunk>>, (): &()) -> Result<Vec<Applied>, StoreError> {
        self.write(move |shared, connection| apply::chunks(shared, connection, &chunks)).await
    }

    async fn backfill(&self, table: usize, chunk: Arc<RowChunk>, first: bool) -> Result<Applied, StoreError> {
        self.write(move |shared, connection| backfill::chunk(shared, connection, table, &chunk, first)).await
    }
}

impl QuarantineStore for SqliteStore {
    async fn quarantined(
        &self,
        id: DeliveryId,
        filter: EntryFilter,
        from: u64,
    ) -> Result<Page<QuarantineEntry, u64>, StoreError> {
        self.read(move |_, connection| Ok(quarantine::page(connection, id, &filter, from)?)).await
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        self.read(move |_, connection| Ok(quarantine::header(connection, id)?)).await
    }

    async fn replay(&self, retried: Arc<Replay>) -> Result<Applied, StoreError> {
        self.write(move |shared, connection| replay::retried(shared, connection, &retried)).await
    }

    async fn discard(&self, id: DeliveryId, records: Vec<u64>) -> Result<(), StoreError> {
        self.write(move |shared, connection| replay::discarded(shared, connection, id, &records)).await
    }
}

impl RowReader for SqliteStore {
    async fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
        from: Option<RowCursor>,
    ) -> Result<Page<TableRow, RowCursor>, StoreError> {
        self.read(move |shared, connection| reader::page(shared, connection, table, &key, from.as_ref()))
            .await
    }

    async fn rows_with_stamps(
        &self,
        table: usize,
        stamps: Stamps,
        from: Option<RowCursor>,
    ) -> Result<Page<KeyedRow, RowCursor>, StoreError> {
        self.read(move |shared, connection| {
            reader::page_with_stamps(shared, connection, table, &stamps, from.as_ref())
        })
        .await
    }

    async fn count(&self, table: usize) -> Result<u64, StoreError> {
        self.read(move |shared, connection| reader::count(shared, connection, table)).await
    }
}

impl Store for SqliteStore {
    /// Checks every second that the files are still in place. The lock needs no renewal, because it ends with the
    /// process.
    async fn tend(&self, _: &dyn StoreObserver) -> StoreError {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(gone @ StoreError::Gone { .. }) = self.read(|_, _| Ok(())).await {
                return gone;
            }
        }
    }

    /// Waits for the work under way. The connections close when the store is dropped.
    async fn close(&self) {
        // If the files were removed or replaced, this was reported before.
        let _ = self.write(|_, _| Ok(())).await;
    }
}
