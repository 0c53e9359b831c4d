//! The embedded store: one SQLite file. Rows and ledger share a transaction.

mod apply;
mod cell;
mod generations;
mod ledger;
mod listing;
mod lock;
mod merge;
mod migrations;
mod open;
mod owner;
mod place;
mod quarantine;
mod recreated;
mod remarks;
mod replay;
mod retry;
mod row_by_row;
mod rows;
pub mod schema;
#[cfg(test)]
pub mod tests;

use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use owner::Owner;
use place::{Change, Place};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::listing::Deliveries;
use super::refusal::{Refusal, Refusals};
use super::{Access, Store, StoreError};
use crate::domain::{
    Delivery, DeliveryId, Fingerprint, Header, Plan, RowChunk, StampRange, StampsAhead, TooFarAhead, Value,
};
use crate::health::Health;
use crate::ledger::{Amendment, Applied, Continuation, Cursor, Entry, Filter, Known, Page};
use crate::metrics;

/// The settings of a SQLite store.
#[derive(Clone, Debug)]
pub struct Settings {
    pub path: PathBuf,
    pub stamps_ahead: StampsAhead,
}

impl Settings {
    /// A store at this path, with default settings.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), stamps_ahead: StampsAhead::Wait }
    }
}

/// How often to check that the files of the store are still in place.
const LOOK: Duration = Duration::from_secs(1);

/// A store in one SQLite file. The fields are closed in the order of their declaration.
pub struct SqliteStore {
    /// Readers do not wait for the writer. A dry run has one connection for both.
    /// Declared, and so closed, before the writer: only the last one to close puts the WAL back into the
    /// file, and one that only reads cannot.
    reader: Option<Owner>,
    writer: Owner,
    shared: Arc<Shared>,
}

/// What work on a connection needs to know.
struct Shared {
    path: PathBuf,
    plan: Arc<Plan>,
    /// Statements by index of the table.
    sql: Vec<rows::TableSql>,
    /// Rows are not written, only the ledger in memory: a dry run.
    dry: bool,
    /// SQLite's schema version when the tables were last compared.
    schema: AtomicI64,
    stamps_ahead: StampsAhead,
    /// The refusals for each delivery and table.
    refusals: Mutex<Refusals>,
    /// The files of the store, with the writer's lock. Only set if the store is open for writing.
    place: Option<Place>,
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
        let done = self.writer.run(move |connection| {
            let done = work(&shared, connection);
            // If the files are no longer in place, nothing that `work` did is in the store.
            shared.check().inspect_err(|fault| shared.leave(connection, fault))?;
            done
        });
        let done = done.await;
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
        let done = reader.run(move |connection| {
            let done = work(&shared, connection);
            shared.check()?;
            done
        });
        let done = done.await;
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

    /// Begins a write transaction. From here on no other process can write, so this is the time to check that the files
    /// are in place and that this process still has the right to write.
    fn begin<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c>, Fault> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.check()?;
        recreated::check(self, &transaction)?;
        Ok(transaction)
    }

    /// Checks that the files of the store are still in place.
    fn check(&self) -> Result<(), Fault> {
        self.place.as_ref().map_or(Ok(()), |place| place.check().map_err(Fault::Gone))
    }

    fn leave(&self, connection: &Connection, fault: &Fault) {
        if let (Some(place), Fault::Gone(change)) = (&self.place, fault) {
            place.leave(connection, *change);
        }
    }
}

/// What can go wrong inside a transaction.
#[derive(Debug)]
enum Fault {
    Sqlite(rusqlite::Error),
    Ahead(TooFarAhead),
    Gone(Change),
    Shape {
        what: String,
        next: &'static str,
    },
    Broken(String),
    /// A trigger rolled the whole transaction back because of this row.
    RolledBack(Refusal),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    /// Whether single rows may be the cause.
    fn may_be_of_rows(&self) -> bool {
        match self {
            Self::Sqlite(error) => row_by_row::is_rejection(error),
            Self::Shape { .. } => true,
            _ => false,
        }
    }

    fn told(self, store: &str) -> StoreError {
        let store = store.to_owned();
        match self {
            Self::Sqlite(error) => told(store, &error),
            Self::Ahead(ahead) => StoreError::Ahead(ahead),
            Self::Gone(change) => {
                let (what, next) = change.words();
                StoreError::Gone { store, what, next }
            }
            Self::Shape { what, next } => StoreError::Shape { store, what, next: next.to_owned() },
            Self::Broken(what) => StoreError::Broken { store, what },
            Self::RolledBack(refusal) => StoreError::Broken { store, what: refusal.words },
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
        _ if what.contains("no such table") || what.contains("no such column") => {
            StoreError::Shape { store, what, next: schema::CHANGED.to_owned() }
        }
        _ => StoreError::Broken { store, what },
    }
}

impl Store for SqliteStore {
    type Sent = ();

    async fn known(&self, attempt: Fingerprint) -> Result<Vec<Known>, StoreError> {
        self.read(move |_, connection| Ok(ledger::known(connection, &attempt)?)).await
    }

    async fn deliveries(&self, filter: Filter, cursor: Cursor) -> Result<Page<Delivery, Cursor>, StoreError> {
        self.read(move |_, connection| Ok(listing::page(connection, &filter, cursor.after)?)).await
    }

    async fn each(&self, take: &mut (dyn FnMut(Delivery) + Send)) -> Result<(), StoreError> {
        let mut all = Deliveries::new(self, Filter::All);
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

    async fn take_up(&self, entry: Entry) -> Result<Delivery, StoreError> {
        self.write(move |shared, connection| ledger::take_up(shared, connection, &entry)).await
    }

    async fn reopen(&self, id: DeliveryId, how: Continuation) -> Result<Option<Delivery>, StoreError> {
        self.write(move |shared, connection| ledger::reopen(shared, connection, id, &how)).await
    }

    async fn extend(&self, id: DeliveryId, first: u64, records: u64) -> Result<StampRange, StoreError> {
        self.write(move |shared, connection| ledger::extend(shared, connection, id, first, records)).await
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.write(move |shared, connection| ledger::amend(shared, connection, id, &amendment)).await
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

    /// Checks every second that the files are still in place. The lock needs no renewal: it ends with the process.
    async fn tend(&self, _: &Health) -> StoreError {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(gone @ StoreError::Gone { .. }) = self.read(|_, _| Ok(())).await {
                return gone;
            }
        }
    }

    /// The connections close when the store is dropped.
    async fn close(&self) {
        // If the files are gone, that was reported before.
        let _ = self.write(|_, _| Ok(())).await;
    }

    async fn quarantined(
        &self,
        id: DeliveryId,
        filter: crate::quarantine::Filter,
        from: u64,
    ) -> Result<Page<crate::quarantine::Entry, u64>, StoreError> {
        self.read(move |_, connection| Ok(quarantine::page(connection, id, &filter, from)?)).await
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        self.read(move |_, connection| Ok(quarantine::header(connection, id)?)).await
    }

    async fn retry(&self, retried: Arc<crate::quarantine::Retried>) -> Result<Applied, StoreError> {
        self.write(move |shared, connection| retry::retried(shared, connection, &retried)).await
    }

    async fn discard(&self, id: DeliveryId, records: Vec<u64>) -> Result<(), StoreError> {
        self.write(move |shared, connection| retry::discarded(shared, connection, id, &records)).await
    }
}
