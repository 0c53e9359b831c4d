//! Stores for tables, ledger and quarantine.
//!
//! [`Store`] is the interface of a store. The tests in `suite` check the rules that every store must follow.

pub mod cassandra;
pub mod limits;
pub mod listing;
pub mod observer;
pub mod reader_handle;
pub mod repairs;
pub mod sqlite;
#[cfg(test)]
pub mod suite;
pub mod failpoint;
pub mod backend;
pub mod backoff;
pub mod clock;
pub mod dry_run;
mod error;
mod rejection;
mod saved_replacement;
pub mod scratch_folder;

use std::sync::Arc;

pub use error::StoreError;

use crate::domain::correction::rewrite::Rewrite;
use crate::domain::correction::{Correction, KeyedRow, StoredRow};
use crate::domain::ledger::{
    Amendment, Applied, Continuation, Cursor, DeliveryFilter, KnownFile, NewDelivery, Page, TakenUp,
};
use crate::domain::undo::{RowsOf, TableUndo, UndoEnd};
use crate::domain::{
    Delivery, DeliveryId, Feeds, Fingerprint, Header, RowChunk, RowCursor, StampRange, Stamps, TableRow,
    Value, quarantine,
};
use crate::store::observer::StoreObserver;

/// The error text and the next step if files are entered as already loaded but no table has a row. Most likely, the
/// user meant another store.
const NOTHING_ASSUMED: (&str, &str) = (
    "its tables are empty, so nothing can have been loaded into them before",
    "check the settings of store and keyspace, or load the files without --assume-loaded",
);

/// The purpose for which a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loading. With `create`, missing tables are created. With `standby`, opening a store that another process writes
    /// to returns [`StoreError::Standby`], so that the caller can wait. Only Cassandra supports `standby`.
    Write { create: bool, standby: bool },
    /// Reading only.
    Read,
    /// Reading for a [dry run](dry_run). The tables must have the declared shape, as for loading.
    Dry,
}

/// Which deliveries are durable, and how far.
pub trait Ledger: Send + Sync + 'static {
    /// Returns what the ledger knows about every file, also of feeds that are not declared. Each declared feed has the
    /// fingerprint that identifies its configuration in this process. Must not be called while files are loaded.
    fn known(
        &self,
        attempts: Arc<Feeds<Fingerprint>>,
    ) -> impl Future<Output = Result<Vec<KnownFile>, StoreError>> + Send;

    /// Returns a page of deliveries with their receipts, in the order they were taken up. A page may be empty without
    /// being the last. Deliveries entered during the listing may be left out. [`listing::Deliveries`] reads all pages.
    fn deliveries(
        &self,
        filter: DeliveryFilter,
        cursor: Cursor,
    ) -> impl Future<Output = Result<Page<Delivery, Cursor>, StoreError>> + Send;

    /// Calls `take` once for every delivery, in no particular order.
    fn each(
        &self,
        take: &mut (dyn FnMut(Delivery) + Send),
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the delivery with this id and its receipt, or `None` if there is no such delivery.
    fn delivery(&self, id: DeliveryId) -> impl Future<Output = Result<Option<Delivery>, StoreError>> + Send;

    /// Whether there is a loaded or undone delivery with this head and, if `len` is given, this length.
    fn has_content(
        &self,
        head: String,
        len: Option<u64>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Enters a new delivery. If its records are to be loaded, or were loaded by another program, the delivery receives
    /// its first range of stamps. An unfinished earlier generation of the file becomes `replaced`. The open records of
    /// failed generations are discarded, unless the new delivery fails too.
    fn take_up(&self, entry: NewDelivery) -> impl Future<Output = Result<TakenUp, StoreError>> + Send;

    /// Resumes a delivery that grew or was interrupted. Returns `None` if the delivery has changed since its file was
    /// compared with it.
    fn reopen(
        &self,
        id: DeliveryId,
        how: Continuation,
    ) -> impl Future<Output = Result<Option<Delivery>, StoreError>> + Send;

    /// Hands out a further range of stamps to a delivery, for `records` records starting at number `first`.
    fn extend(
        &self,
        id: DeliveryId,
        first: u64,
        records: u64,
    ) -> impl Future<Output = Result<StampRange, StoreError>> + Send;

    /// Changes a delivery without writing rows: its state, the noted metadata of its file, or the hash of its head.
    fn amend(
        &self,
        id: DeliveryId,
        amendment: Amendment,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Writes chunks in two steps: [`Self::send`], then [`Self::apply`].
///
/// Law 1: the second step returns only when every row, every quarantined record and the ledger's progress over the chunks
/// are durable. Law 2: applying chunks in any order across deliveries has the same result as applying all records in the
/// order of their stamps.
pub trait ChunkWriter: Send + Sync + 'static {
    /// The result of [`Self::send`], which [`Self::apply`] needs.
    type Sent: Send + Sync;

    /// Begins to write chunks. Earlier chunks need not be applied yet. Rows do not count until they are applied: a
    /// process that resumes the delivery sends them again, under the same stamps.
    fn send(&self, chunks: Arc<Vec<RowChunk>>)
    -> impl Future<Output = Result<Self::Sent, StoreError>> + Send;

    /// Finishes writing chunks that were sent, and advances the ledger past them. The chunks of one delivery must be in
    /// order and begin where the ledger stands. Once a chunk is rejected as a whole, later chunks of that delivery are
    /// rejected too. After a transient error, the caller calls `apply` again with the same `sent`, and the work resumes
    /// where it stopped.
    fn apply(
        &self,
        chunks: Arc<Vec<RowChunk>>,
        sent: &Self::Sent,
    ) -> impl Future<Output = Result<Vec<Applied>, StoreError>> + Send;

    /// Writes a chunk of an already loaded delivery into one table, which is named by its index in the plan of the
    /// delivery, under the stamps of its records. With `first`, the
    /// count of this delivery in the table restarts from zero.
    fn backfill(
        &self,
        table: usize,
        chunk: Arc<RowChunk>,
        first: bool,
    ) -> impl Future<Output = Result<Applied, StoreError>> + Send;
}

/// Records that could not become rows.
pub trait QuarantineStore: Send + Sync + 'static {
    /// Returns a page of the quarantined records that the receipt of this delivery counts, in order, starting at the
    /// record `from`. [`listing::Entries`] reads all pages.
    fn quarantined(
        &self,
        id: DeliveryId,
        filter: quarantine::EntryFilter,
        from: u64,
    ) -> impl Future<Output = Result<Page<quarantine::QuarantineEntry, u64>, StoreError>> + Send;

    /// Returns the header of a delivery that has quarantined records, or `None` if the header was not kept.
    fn header(&self, id: DeliveryId) -> impl Future<Output = Result<Option<Header>, StoreError>> + Send;

    /// Settles open quarantined records after a replay, and updates the receipt of their delivery, all or none. Records
    /// that became rows are loaded under their own stamps, others are skipped, and the rest stay open with their new
    /// reason. If a record is not open, the method returns an error and changes nothing. After an error, a retry must
    /// pass the same records.
    fn replay(
        &self,
        retried: Arc<quarantine::Replay>,
    ) -> impl Future<Output = Result<Applied, StoreError>> + Send;

    /// Marks open quarantined records as discarded, and updates the receipt of their delivery, all or none. The rules
    /// for errors are those of [`Self::replay`].
    fn discard(
        &self,
        id: DeliveryId,
        records: Vec<u64>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Takes back what deliveries wrote, while nothing else is loaded.
pub trait Corrections: Store {
    /// An undo that has begun.
    type Undo: Send + Sync;

    /// Finds the rows of a delivery. Writes nothing.
    fn begin_undo(
        &self,
        id: DeliveryId,
    ) -> impl Future<Output = Result<(Self::Undo, Vec<RowsOf>), StoreError>> + Send;

    /// Adds records of another delivery to what is expected of the shared rows of the tables in the plan of the chunk.
    fn expect(
        &self,
        undo: &Self::Undo,
        chunk: Arc<RowChunk>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes the rows of the delivery alone, and puts the expected values into the shared rows. The delivery becomes
    /// `undone`, and its open records in quarantine are discarded: all or none.
    fn end_undo(
        &self,
        undo: Self::Undo,
        end: UndoEnd,
    ) -> impl Future<Output = Result<Vec<TableUndo>, StoreError>> + Send;
}

/// Rewrites rows for corrections, in a store whose rows have lost the stamps of their records after a correction. Nothing
/// else is loaded meanwhile.
pub trait RowRewriter: Store {
    /// Refuses tables whose rows cannot be corrected, with the reason.
    fn check_tables(&self, tables: &[usize]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns all corrections.
    fn corrections(&self) -> impl Future<Output = Result<Vec<Correction>, StoreError>> + Send;

    /// Returns the seconds after which new cells of a table expire, if they do.
    fn lifetime(&self, table: usize) -> impl Future<Output = Result<Option<i64>, StoreError>> + Send;

    /// Returns the rows with these keys, in this order. `None` stands for a row that does not exist.
    fn stored_rows(
        &self,
        table: usize,
        keys: Vec<TableRow>,
    ) -> impl Future<Output = Result<Vec<Option<StoredRow>>, StoreError>> + Send;

    /// Returns a page of the rows of a table that a delivery with these stamps may have written: as
    /// [`RowReader::rows_with_stamps`], and also the rows without cells, whose records are not known.
    fn rows_possibly_of(
        &self,
        table: usize,
        stamps: Stamps,
        from: Option<RowCursor>,
    ) -> impl Future<Output = Result<Page<KeyedRow, RowCursor>, StoreError>> + Send;

    /// Returns the number of rows in the partition of a key, or `most` if there are more.
    fn partition_rows(
        &self,
        table: usize,
        key: TableRow,
        most: u64,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Begins a correction: hands out its stamps, waits until the clock has passed them, and notes it.
    fn begin_correction(
        &self,
        delivery: Option<DeliveryId>,
        tables: Vec<usize>,
    ) -> impl Future<Output = Result<Correction, StoreError>> + Send;

    /// Enters an undone delivery into the ledger. `by` is the generation that took its place, if one did.
    fn enter_undone(
        &self,
        id: DeliveryId,
        tables: Vec<TableUndo>,
        by: Option<u32>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rewrites rows, each all or none.
    fn rewrite(
        &self,
        correction: &Correction,
        table: usize,
        rewrites: Vec<Rewrite>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes the partition of a key.
    fn delete_partition(
        &self,
        correction: &Correction,
        table: usize,
        key: TableRow,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes that all rows of a correction are written.
    fn settle_correction(
        &self,
        correction: Correction,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Reads tables.
pub trait RowReader: Send + Sync + 'static {
    /// Returns a page of the rows whose leading key columns have these values. Each row has all columns, key first. The
    /// rows of a partition are in key order; the partitions are in the order of the store, which is key order in SQLite
    /// and token order in Cassandra. A page may be empty without being the last. Rows written during the listing appear
    /// if they come after the cursor. [`listing::TableRows`] reads all pages.
    fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
        from: Option<RowCursor>,
    ) -> impl Future<Output = Result<Page<TableRow, RowCursor>, StoreError>> + Send;

    /// Returns a page of the rows of a table with cells that have one of these stamps. The rows have these cells only. A page
    /// may be empty without being the last. A table without columns besides its key may have no such cells.
    fn rows_with_stamps(
        &self,
        table: usize,
        stamps: Stamps,
        from: Option<RowCursor>,
    ) -> impl Future<Output = Result<Page<KeyedRow, RowCursor>, StoreError>> + Send;

    /// Returns the number of rows in a table.
    fn count(&self, table: usize) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Keeps the last result of a job, for other processes. No loading depends on it, and earlier versions ignore it.
pub trait SavedResults: Send + Sync + 'static {
    /// Replaces the result of the job with this name.
    fn save_result(
        &self,
        job: &'static str,
        result: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the last result of the job with this name.
    fn saved_result(
        &self,
        job: &'static str,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
}

/// Tables, ledger and quarantine in one store. The test suite defines the details of what a store must do.
pub trait Store: Ledger + ChunkWriter + QuarantineStore + RowReader + SavedResults {
    /// Does the periodic work of a store that is open for writing, and notifies `observer` whether writing is still
    /// allowed. Returns only when writing is no longer allowed, with the reason.
    fn tend(&self, observer: &dyn StoreObserver) -> impl Future<Output = StoreError> + Send;

    /// Gives up the right to write, so that another process need not wait for it.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
