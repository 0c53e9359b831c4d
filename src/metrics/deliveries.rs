//! Deliveries, and the records and rows of what was loaded.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge, histogram};

use crate::domain::{DeliveryState, Quarantined, RowChunk, TableDelta};
use crate::metrics::declared::{
    BYTES_READ, DELIVERIES, DROP_TO_QUERYABLE, LAST_LOADED, LEDGER_LAG, QUARANTINE_OPEN, RECORDS_QUARANTINED,
    RECORDS_READ, RECORDS_SKIPPED, ROWS_WRITTEN, UNTERMINATED, WRITE_SECONDS,
};
use crate::metrics::labels::labels;

/// Sets the gauge of what is under way, when the pipeline begins.
pub fn begins() {
    gauge!(LEDGER_LAG.name).set(0.0);
}

/// Counts decoded bytes that were read.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn handed_on(bytes: u64) {
    gauge!(LEDGER_LAG.name).increment(bytes as f64);
}

/// Counts decoded bytes that are now in the ledger, or that are no longer needed.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn settled(bytes: u64) {
    gauge!(LEDGER_LAG.name).decrement(bytes as f64);
}

/// Counts the records of one durable chunk.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn records(chunk: &RowChunk, refused: &[Quarantined]) {
    let feed = chunk.source.file.feed();
    counter!(BYTES_READ.name, labels(feed, [])).increment(chunk.len());
    counter!(RECORDS_READ.name, labels(feed, [])).increment(chunk.records());
    counter!(RECORDS_SKIPPED.name, labels(feed, [])).increment(chunk.skipped);
    let mut reasons = BTreeMap::<&'static str, u64>::new();
    for entry in chunk.quarantined.iter().chain(refused) {
        *reasons.entry(entry.reason.name()).or_default() += 1;
    }
    for (reason, records) in reasons {
        gauge!(QUARANTINE_OPEN.name, labels(feed, [])).increment(records as f64);
        counter!(RECORDS_QUARANTINED.name, labels(feed, [("reason", reason)])).increment(records);
    }
}

/// Counts the rows that a durable chunk wrote to one table.
pub fn rows(feed: &str, table: &str, delta: &TableDelta) {
    counter!(ROWS_WRITTEN.name, labels(feed, [("table", table)])).increment(delta.rows);
    if delta.rows > 0 {
        histogram!(WRITE_SECONDS.name, "table" => table.to_owned()).record(delta.took.as_secs_f64());
    }
}

/// Counts a delivery that entered a state.
pub fn delivery(feed: &str, state: DeliveryState) {
    counter!(DELIVERIES.name, labels(feed, [("state", state.name())])).increment(1);
}

/// Counts a last record that was loaded without a line end.
pub fn unterminated(feed: &str) {
    counter!(UNTERMINATED.name, labels(feed, [])).increment(1);
}

/// Records that a delivery is loaded. `arrived` is when its file arrived.
pub fn loaded(feed: &str, arrived: SystemTime, now: SystemTime) {
    let took = now.duration_since(arrived).unwrap_or_default();
    histogram!(DROP_TO_QUERYABLE.name, labels(feed, [])).record(took.as_secs_f64());
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(LAST_LOADED.name, labels(feed, [])).set(since.as_secs_f64());
}

/// Sets the number of open records that a feed has in quarantine.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn open_records(feed: &str, open: u64) {
    gauge!(QUARANTINE_OPEN.name, labels(feed, [])).set(open as f64);
}

/// Counts open records of a failed delivery that were discarded.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn discarded(feed: &str, records: u64) {
    gauge!(QUARANTINE_OPEN.name, labels(feed, [])).decrement(records as f64);
}
