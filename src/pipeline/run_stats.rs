//! Counts what a run did, for its summary and its progress bar.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{
    Delivery, DeliveryState, FileKey, Quarantined, Refusals, Replacement, RowChunk, TableDelta,
};

/// The maximum number of replaced files that a run names.
const REPLACED: usize = 100;

/// Counters shared by the stages. They count only work that the store acknowledged.
#[derive(Debug, Default)]
pub struct RunStats {
    /// The number of decoded bytes.
    pub bytes: AtomicU64,
    pub read: AtomicU64,
    pub loaded: AtomicU64,
    pub skipped: AtomicU64,
    pub quarantined: AtomicU64,
    /// The loaded records that another program wrote.
    pub assumed: AtomicU64,
    /// The records that this run refused: records in quarantine, and records that have no row in the table of a
    /// backfill.
    pub refused: AtomicU64,
    /// The progress of the run in bytes. A load counts the bytes of its files as stored, compressed or not. A backfill
    /// counts the decoded bytes of its deliveries.
    pub passed: AtomicU64,
    /// The number of loaded deliveries that have no record.
    pub without_records: AtomicU64,
    /// The number of files that could not be read.
    pub unreadable: AtomicU64,
    deliveries: Mutex<BTreeMap<&'static str, u64>>,
    tables: Mutex<BTreeMap<String, TableDelta>>,
    refusals: Mutex<Refusals>,
    /// The number of files that left the inbox, or could not leave it, by outcome.
    left: Mutex<BTreeMap<&'static str, u64>>,
    /// The first files that replaced earlier ones.
    replaced: Mutex<Vec<Replaced>>,
    /// The number of all of them.
    pub replacements: AtomicU64,
}

/// A file that replaced an earlier one.
#[derive(Clone, Debug)]
pub struct Replaced {
    pub file: FileKey,
    pub generation: u32,
    pub how: Replacement,
}

impl RunStats {
    /// Counts the records of a chunk. The store rejected `refused` of its rows.
    pub fn records(&self, chunk: &RowChunk, refused: u64) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.bytes, chunk.len());
        add(&self.read, chunk.records());
        add(&self.loaded, chunk.rows.len() as u64 - refused);
        add(&self.skipped, chunk.skipped);
        add(&self.quarantined, chunk.quarantined.len() as u64 + refused);
    }

    /// Counts records in quarantine that were read again and are in no table.
    pub fn left_out(&self, records: u64) {
        self.quarantined.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts a file whose rows another program wrote.
    pub fn assumed(&self, delivery: &Delivery) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.bytes, delivery.reach.offset);
        add(&self.read, delivery.receipt.records);
        add(&self.loaded, delivery.receipt.loaded);
        add(&self.skipped, delivery.receipt.skipped);
        add(&self.assumed, delivery.receipt.assumed);
    }

    /// Advances the progress of the run by this many bytes.
    pub fn passed(&self, bytes: u64) {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts records of a file that went to quarantine, by column and reason.
    pub fn refusals<'e>(&self, file: &FileKey, entries: impl Iterator<Item = &'e Quarantined>) {
        let mut refusals = lock(&self.refusals);
        entries.for_each(|entry| refusals.add(file, entry));
    }

    /// Returns the records that went to quarantine, by column and reason.
    pub fn by_kind(&self) -> Refusals {
        lock(&self.refusals).clone()
    }

    pub fn rows(&self, table: &str, delta: &TableDelta) {
        let mut tables = lock(&self.tables);
        tables.entry(table.to_owned()).or_default().add(delta);
    }

    pub fn delivery(&self, state: DeliveryState) {
        *lock(&self.deliveries).entry(state.name()).or_default() += 1;
    }

    /// Keeps what became of a file that replaced an earlier one.
    pub fn add_replacement(&self, delivery: &Delivery, how: Replacement) {
        self.replacements.fetch_add(1, Ordering::Relaxed);
        let mut replaced = lock(&self.replaced);
        if replaced.len() < REPLACED {
            let Delivery { file, generation, .. } = delivery;
            replaced.push(Replaced { file: file.clone(), generation: *generation, how });
        }
    }

    pub fn first_replaced(&self) -> Vec<Replaced> {
        lock(&self.replaced).clone()
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

/// Ignores poisoning: the numbers stay valid if a holder panicked, because each change is a single addition.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
