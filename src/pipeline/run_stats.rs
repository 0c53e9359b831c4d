//! What this run did: the numbers of its summary and of its progress bar.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ledger::TableDelta;
use crate::domain::{Delivery, DeliveryState, RowChunk};

/// Shared by the stages; every number is of acknowledged work.
#[derive(Debug, Default)]
pub struct RunStats {
    /// Decoded bytes.
    pub bytes: AtomicU64,
    pub read: AtomicU64,
    pub loaded: AtomicU64,
    pub skipped: AtomicU64,
    pub quarantined: AtomicU64,
    /// Of those loaded: another program wrote them.
    pub assumed: AtomicU64,
    /// Records that this run refused: those quarantined, and those a table played anew has no row for.
    pub refused: AtomicU64,
    /// How much of what the run has before it is done: bytes of files as they lie there, or the decoded bytes
    /// of deliveries that are played into a table.
    pub passed: AtomicU64,
    /// Files that could not be read.
    pub unreadable: AtomicU64,
    deliveries: Mutex<BTreeMap<&'static str, u64>>,
    tables: Mutex<BTreeMap<String, TableDelta>>,
    /// Files that left the inbox, and those that could not, by what became of them.
    left: Mutex<BTreeMap<&'static str, u64>>,
}

impl RunStats {
    /// `refused` of its rows the store did not take.
    pub fn records(&self, chunk: &RowChunk, refused: u64) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.bytes, chunk.len());
        add(&self.read, chunk.records());
        add(&self.loaded, chunk.rows.len() as u64 - refused);
        add(&self.skipped, chunk.skipped);
        add(&self.quarantined, chunk.quarantined.len() as u64 + refused);
    }

    /// Records in quarantine that were read again and are in no table.
    pub fn left_out(&self, records: u64) {
        self.quarantined.fetch_add(records, Ordering::Relaxed);
    }

    /// A file whose rows another program wrote.
    pub fn assumed(&self, delivery: &Delivery) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.bytes, delivery.reach.offset);
        add(&self.read, delivery.receipt.records);
        add(&self.loaded, delivery.receipt.loaded);
        add(&self.skipped, delivery.receipt.skipped);
        add(&self.assumed, delivery.receipt.assumed);
    }

    /// So much more of it is done.
    pub fn passed(&self, bytes: u64) {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn rows(&self, table: &str, delta: &TableDelta) {
        let mut tables = lock(&self.tables);
        tables.entry(table.to_owned()).or_default().add(delta);
    }

    pub fn delivery(&self, state: DeliveryState) {
        *lock(&self.deliveries).entry(state.name()).or_default() += 1;
    }

    pub fn left(&self, what: &'static str) {
        *lock(&self.left).entry(what).or_default() += 1;
    }

    pub fn files_left(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.left).clone()
    }

    pub fn deliveries(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.deliveries).clone()
    }

    pub fn tables(&self) -> BTreeMap<String, TableDelta> {
        lock(&self.tables).clone()
    }
}

/// Numbers stay usable when a holder panicked: each is one addition.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
