//! Where tables, ledger and quarantine live.
//!
//! [`Store`] says what a store must do; its suite of tests says what that means.

pub mod cassandra;
pub mod limits;
pub mod listing;
pub mod observer;
pub mod sqlite;
#[cfg(test)]
pub mod suite;
pub mod failpoint;
pub mod backend;
pub mod backoff;
mod rejection;

use std::sync::Arc;

use crate::domain::ledger::{
    Amendment, Applied, Continuation, Cursor, DeliveryFilter, KnownPath, NewDelivery, Page,
};
use crate::domain::quarantine;
use crate::domain::{Delivery, DeliveryId, Fingerprint, Header, RowChunk, StampRange, TooFarAhead, Value};
use crate::store::observer::StoreObserver;

/// Files are taken to be loaded, and no table has a row: most likely this is another store. What, and what next.
const NOTHING_ASSUMED: (&str, &str) = (
    "its tables are empty, so that nothing can have been loaded into them before",
    "see that store and keyspace are the ones that are meant, or load the files without --assume-loaded",
);

/// What a failed delivery says when a later generation begins.
fn read_again(generation: u32) -> String {
    format!("generation {generation} reads the file again: the open records of this one were discarded")
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load. `create` makes what is missing; `standby` waits until another writer is gone, where the store
    /// can hand over.
    Write { create: bool, standby: bool },
    /// Ask only.
    Read,
    /// What would be entered is kept in memory: nothing is written, not even a store.
    Dry,
}

/// Tables, ledger and quarantine under one roof.
///
/// Chunks are written in two steps: [`Self::send`], then [`Self::apply`]. Law 1: the second answers only when
/// every row, every quarantined record and the ledger's progress over the chunks are durable. Law 2: applying chunks in any order across deliveries
/// leaves what applying all records in the order of their stamps would.
pub trait Store: Send + Sync + 'static {
    /// What [`Self::send`] leaves to [`Self::apply`].
    type Sent: Send + Sync;

    /// What the ledger knows about every path. `attempt` identifies the configuration of this process.
    fn known(&self, attempt: Fingerprint) -> impl Future<Output = Result<Vec<KnownPath>, StoreError>> + Send;

    /// A page of deliveries with their receipts, in the order they were taken up. A page may be empty without being the
    /// last. Deliveries entered during the listing may be left out. [`listing::Deliveries`] reads all pages.
    fn deliveries(
        &self,
        filter: DeliveryFilter,
        cursor: Cursor,
    ) -> impl Future<Output = Result<Page<Delivery, Cursor>, StoreError>> + Send;

    /// Hands every delivery to `take` once, in no particular order.
    fn each(
        &self,
        take: &mut (dyn FnMut(Delivery) + Send),
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The delivery with this id and its receipt.
    fn delivery(&self, id: DeliveryId) -> impl Future<Output = Result<Option<Delivery>, StoreError>> + Send;

    /// Whether there is a loaded delivery with this head and, if `len` is given, this length.
    fn has_content(
        &self,
        head: String,
        len: Option<u64>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Enters a new delivery; one that is to be loaded receives its first range of stamps.
    /// An unfinished earlier generation of the path becomes `replaced`.
    fn take_up(&self, entry: NewDelivery) -> impl Future<Output = Result<Delivery, StoreError>> + Send;

    /// Continues a delivery that grew or was interrupted. `None` where it is not any more what it was when its
    /// file was compared with it.
    fn reopen(
        &self,
        id: DeliveryId,
        how: Continuation,
    ) -> impl Future<Output = Result<Option<Delivery>, StoreError>> + Send;

    /// A further range of stamps, for `records` records from number `first` on.
    fn extend(
        &self,
        id: DeliveryId,
        first: u64,
        records: u64,
    ) -> impl Future<Output = Result<StampRange, StoreError>> + Send;

    /// Changes state or note of a delivery.
    fn amend(
        &self,
        id: DeliveryId,
        amendment: Amendment,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Begins with chunks, also while those before them are not applied. Nothing of it counts yet: what is
    /// sent and not applied is sent again by who goes on with the delivery, under the same stamps.
    fn send(&self, chunks: Arc<Vec<RowChunk>>)
    -> impl Future<Output = Result<Self::Sent, StoreError>> + Send;

    /// Writes the rest of chunks that are sent; those of one delivery come in order and continue where it
    /// stands. What follows a chunk of which the store took no row has failed with it. After an error that passes it
    /// is called again with the same `sent`, and goes on where it was.
    fn apply(
        &self,
        chunks: Arc<Vec<RowChunk>>,
        sent: &Self::Sent,
    ) -> impl Future<Output = Result<Vec<Applied>, StoreError>> + Send;

    /// Plays a chunk that is loaded already into one table, under its own stamps. With `first`,
    /// the count of this delivery in the table begins anew.
    fn backfill(
        &self,
        table: usize,
        chunk: Arc<RowChunk>,
        first: bool,
    ) -> impl Future<Output = Result<Applied, StoreError>> + Send;

    /// The rows whose leading key columns have these values, in key order, all columns, key first.
    fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
    ) -> impl Future<Output = Result<Vec<Vec<Value<'static>>>, StoreError>> + Send;

    /// Rows in a table.
    fn count(&self, table: usize) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// What must be done now and then as long as the store is open for writing; `observer` hears whether it may
    /// still be written to. Ends only when nothing may be written any more, with the reason.
    fn tend(&self, observer: &dyn StoreObserver) -> impl Future<Output = StoreError> + Send;

    /// Gives up the right to write, so that another need not wait for it.
    fn close(&self) -> impl Future<Output = ()> + Send;

    /// A page of the quarantined records in the account of this delivery, in order, starting at the record `from`.
    /// [`listing::Entries`] reads all pages.
    fn quarantined(
        &self,
        id: DeliveryId,
        filter: quarantine::EntryFilter,
        from: u64,
    ) -> impl Future<Output = Result<Page<quarantine::QuarantineEntry, u64>, StoreError>> + Send;

    /// The header of a delivery that has quarantined records; none where it was not kept.
    fn header(&self, id: DeliveryId) -> impl Future<Output = Result<Option<Header>, StoreError>> + Send;

    /// Settles open records that were tried once more, and the account with them, all or none: those that
    /// are rows now are loaded under their own stamps, or skipped; the others stay open with their new
    /// reason. Records that are not open are refused, and nothing is changed. Tried again after a failure, it
    /// must be the same records.
    fn replay(
        &self,
        retried: Arc<quarantine::Replay>,
    ) -> impl Future<Output = Result<Applied, StoreError>> + Send;

    /// Marks open records of a delivery as discarded, in the account too, all or none; as [`Self::replay`].
    fn discard(
        &self,
        id: DeliveryId,
        records: Vec<u64>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{store}: {what}\n  next: it is tried again until it answers; {hint}")]
    Busy { store: String, reason: &'static str, what: String, hint: &'static str },
    #[error(
        "stamps would run more than 10 minutes ahead of the clock; waiting {} s\n  next: set the clock right; if it \
         is, docs/runbook.md says what to do (store.stamps_ahead)", .0.wait.as_secs().max(1)
    )]
    Ahead(TooFarAhead),
    #[error("{store}: {what}\n  next: {next}")]
    Gone { store: String, what: &'static str, next: &'static str },
    #[error("{0}: there is no store yet\n  next: `needledrop run` or `needledrop load` makes it")]
    Missing(String),
    #[error("{store} is in use by {holder}\n  next: stop it first; started again, it goes on where it stood")]
    InUse { store: String, holder: String },
    #[error("{0}")]
    Settings(String),
    #[error(
        "{store} is in use by {holder}{}\n  next: {}",
        if *.differs { ", which loads with other tables than are declared here" } else { "" },
        if *.differs {
            "give both the same configuration; this process stands by, and reads its own again when it changes"
        } else {
            "none; this process stands by and takes over when that one is gone"
        }
    )]
    Standby {
        store: String,
        holder: String,
        /// The holder loads with other tables than are declared here.
        differs: bool,
    },
    #[error(
        "{0}: another process has taken over the right to write\n  next: run it again, it goes on where that one stands"
    )]
    Lost(String),
    #[error(
        "{0} is not a needledrop store; it is left as it is\n  next: set store.sqlite.path to another file"
    )]
    Foreign(String),
    #[error(
        "{store}: the schema is not what it was when this began: {what}\n  \
         next: bring the tables back as they are declared, then start again"
    )]
    Changed { store: String, what: String },
    #[error("{store}: {what}\n  next: {next}")]
    Shape { store: String, what: String, next: String },
    #[error("{store}: {what}\n  next: this is a defect; please report it with the lines around it")]
    Broken { store: String, what: String },
    #[error("{store}: {what}\n  next: {next}")]
    System { store: String, what: String, next: String },
}

impl StoreError {
    /// Whether waiting helps, and under which label the wait is counted.
    pub fn passing(&self) -> Option<&'static str> {
        match self {
            Self::Busy { reason, .. } => Some(reason),
            Self::Ahead(ahead) if ahead.clock_is_behind => Some("clock"),
            Self::Ahead(_) => Some("stamps"),
            Self::Standby { .. } => Some("standby"),
            _ => None,
        }
    }

    /// Whether the configuration, not the system, is to be changed.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Foreign(_) | Self::Changed { .. } | Self::Shape { .. } | Self::Settings(_))
    }
}
