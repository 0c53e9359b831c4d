//! The embedded store: one SQLite file. Rows and ledger share a transaction.

mod apply;
mod cell;
mod migrations;
mod ledger;
mod lock;
mod merge;
mod open;
mod owner;
mod quarantine;
mod replay;
mod retry;
mod rows;
pub mod schema;
#[cfg(test)]
pub mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use owner::Owner;
use rusqlite::Connection;

use super::{Access, Store, StoreError};
use crate::domain::{Delivery, DeliveryId, Header, Plan, RowChunk, StampRange, Value};
use crate::health::Health;
use crate::ledger::{Amendment, Applied, Continuation, Entry, Filter, Known};
use crate::metrics;

/// A store in one SQLite file.
pub struct SqliteStore {
    shared: Arc<Shared>,
    /// Readers do not wait for the writer. A dry run has one connection for both.
    /// Declared, and so closed, before the writer: only the last one to close puts the WAL back into the
    /// file, and one that only reads cannot.
    reader: Option<Owner>,
    writer: Owner,
    /// Held as long as the store is open for writing.
    _lock: Option<lock::WriterLock>,
}

/// What work on a connection needs to know.
struct Shared {
    path: PathBuf,
    plan: Arc<Plan>,
    /// Statements by index of the table.
    sql: Vec<rows::TableSql>,
    /// Rows are not written, only the ledger in memory: a dry run.
    dry: bool,
}

type Outcome<T> = Result<T, rusqlite::Error>;

impl SqliteStore {
    /// Runs `work` with the writing connection.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        metrics::in_flight(1.0);
        let done = self.writer.run(move |connection| work(&shared, connection)).await;
        metrics::in_flight(-1.0);
        self.told(done)
    }

    /// Runs `work` with a connection that only reads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let reader = self.reader.as_ref().unwrap_or(&self.writer);
        let done = reader.run(move |connection| work(&shared, connection)).await;
        self.told(done)
    }

    fn told<T>(&self, done: Option<Result<T, Fault>>) -> Result<T, StoreError> {
        let panicked = || Err(Fault::Broken("its thread panicked; please report this".to_owned()));
        done.unwrap_or_else(panicked).map_err(|fault| fault.told(&self.shared.name()))
    }
}

impl Shared {
    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// What can go wrong inside a transaction.
#[derive(Debug)]
enum Fault {
    Sqlite(rusqlite::Error),
    Ahead(std::time::Duration),
    Shape { what: String, next: &'static str },
    Broken(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    fn told(self, store: &str) -> StoreError {
        let store = store.to_owned();
        match self {
            Self::Sqlite(error) => told(store, &error),
            Self::Ahead(wait) => StoreError::Ahead(wait),
            Self::Shape { what, next } => StoreError::Shape { store, what, next: next.to_owned() },
            Self::Broken(what) => StoreError::Broken { store, what },
        }
    }
}

fn told(store: String, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode as Code;
    let what = error.to_string();
    let busy = |reason, hint| StoreError::Busy { store: store.clone(), reason, what: what.clone(), hint };
    match error.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            busy("locked", "end the process that holds the lock")
        }
        Some(Code::DiskFull) => busy("full", "make room on the disk"),
        Some(Code::SystemIoFailure) => busy("io", "check the disk"),
        Some(Code::ReadOnly | Code::PermissionDenied | Code::CannotOpen) => {
            let next = "make the file and its folder writable for this user".to_owned();
            StoreError::System { store, what, next }
        }
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
            let next = "restore it from a backup, or move it away and load the kept files anew".to_owned();
            StoreError::System { store, what, next }
        }
        // Of ours, which were there when the store was made.
        _ if what.contains("no such table: _needledrop") => {
            let next = "restore it from a backup, or move it away and load the kept files anew".to_owned();
            StoreError::Shape { store, what: format!("its ledger is damaged: {what}"), next }
        }
        _ => StoreError::Broken { store, what },
    }
}

impl Store for SqliteStore {
    type Sent = ();

    async fn known(&self) -> Result<Vec<Known>, StoreError> {
        self.read(|_, connection| Ok(ledger::known(connection)?)).await
    }

    async fn deliveries(&self, filter: Filter) -> Result<Vec<Delivery>, StoreError> {
        self.read(move |_, connection| Ok(ledger::deliveries(connection, &filter)?)).await
    }

    async fn take_up(&self, entry: Entry) -> Result<Delivery, StoreError> {
        self.write(move |shared, connection| ledger::take_up(shared, connection, &entry)).await
    }

    async fn reopen(&self, id: DeliveryId, how: Continuation) -> Result<Option<Delivery>, StoreError> {
        self.write(move |_, connection| ledger::reopen(connection, id, &how)).await
    }

    async fn extend(&self, id: DeliveryId, first: u64, records: u64) -> Result<StampRange, StoreError> {
        self.write(move |_, connection| ledger::extend(connection, id, first, records)).await
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.write(move |_, connection| ledger::amend(connection, id, &amendment)).await
    }

    /// One transaction does it all.
    async fn send(&self, _: Arc<Vec<RowChunk>>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn apply(&self, chunks: Arc<Vec<RowChunk>>, (): &()) -> Result<Vec<Applied>, StoreError> {
        self.write(move |shared, connection| apply::chunks(shared, connection, &chunks)).await
    }

    async fn replay(&self, table: usize, chunk: Arc<RowChunk>, first: bool) -> Result<Applied, StoreError> {
        self.write(move |shared, connection| replay::chunk(shared, connection, table, &chunk, first)).await
    }

    async fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
    ) -> Result<Vec<Vec<Value<'static>>>, StoreError> {
        self.read(move |shared, connection| rows::of(shared, connection, table, &key)).await
    }

    async fn count(&self, table: usize) -> Result<u64, StoreError> {
        self.read(move |shared, connection| rows::count(shared, connection, table)).await
    }

    /// The lock ends with the process.
    async fn tend(&self, _: &Health) -> StoreError {
        std::future::pending().await
    }

    async fn close(&self) {}

    async fn quarantined(
        &self,
        filter: crate::quarantine::Filter,
    ) -> Result<Vec<crate::quarantine::Entry>, StoreError> {
        self.read(move |_, connection| Ok(quarantine::list(connection, &filter)?)).await
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        self.read(move |_, connection| Ok(quarantine::header(connection, id)?)).await
    }

    async fn retry(&self, retried: Arc<crate::quarantine::Retried>) -> Result<Applied, StoreError> {
        self.write(move |shared, connection| retry::retried(shared, connection, &retried)).await
    }

    async fn discard(&self, id: DeliveryId, records: Vec<u64>) -> Result<(), StoreError> {
        self.write(move |_, connection| retry::discarded(connection, id, &records)).await
    }
}
