//! The store: its size, its nodes, what is sent to it, and who may write.

use std::time::Duration;

use metrics::{Histogram, counter, gauge, histogram};

use crate::metrics::declared::{
    BATCH_ROWS, DRIVER_CONNECTIONS, DRIVER_NODES, DRIVER_TIMEOUTS, LEASE_HELD, LEASE_TAKEOVER,
    REQUESTS_IN_FLIGHT, STORE_BYTES, STORE_UP, WRITE_RETRIES,
};

/// Sets the size of the embedded store, including its log.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn store_bytes(bytes: u64) {
    gauge!(STORE_BYTES.name).set(bytes as f64);
}

/// Sets the number of nodes that the driver knows.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn nodes(connected: usize, disconnected: usize) {
    gauge!(DRIVER_NODES.name, "state" => "connected").set(connected as f64);
    gauge!(DRIVER_NODES.name, "state" => "away").set(disconnected as f64);
}

/// Sets what the driver counts: its open connections, and its timeouts since it began.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn driver(connections: u64, connection_timeouts: u64, request_timeouts: u64) {
    gauge!(DRIVER_CONNECTIONS.name).set(connections as f64);
    counter!(DRIVER_TIMEOUTS.name, "of" => "connection").absolute(connection_timeouts);
    counter!(DRIVER_TIMEOUTS.name, "of" => "request").absolute(request_timeouts);
}

pub fn in_flight(change: f64) {
    gauge!(REQUESTS_IN_FLIGHT.name).increment(change);
}

/// Counts a request to the store that is tried again.
pub fn retry(table: &str, reason: &'static str) {
    counter!(WRITE_RETRIES.name, "table" => table.to_owned(), "reason" => reason).increment(1);
}

/// Records how many rows of a table are sent to the store in one request. The sender keeps this value: a lookup would
/// build the label for each request, and a million rows take a hundred thousand requests.
pub struct Batches(Histogram);

impl Batches {
    pub fn of(table: &str) -> Self {
        Self(histogram!(BATCH_ROWS.name, "table" => table.to_owned()))
    }

    #[expect(clippy::cast_precision_loss, reason = "a histogram is of 64-bit floats")]
    pub fn sent(&self, rows: usize) {
        self.0.record(rows as f64);
    }
}

/// Counts a retry that concerns the whole store, not one table.
pub fn store_waits(reason: &'static str) {
    counter!(WRITE_RETRIES.name, "table" => "*", "reason" => reason).increment(1);
}

/// Sets whether the store answers.
pub fn store_up(up: bool) {
    gauge!(STORE_UP.name).set(f64::from(u8::from(up)));
}

/// Sets whether this process may write, if several processes could.
pub fn lease_held(held: bool) {
    gauge!(LEASE_HELD.name).set(f64::from(u8::from(held)));
}

/// Records that this process took over the lease. `after` is how long the previous holder had been silent.
pub fn lease_taken(after: Duration) {
    gauge!(LEASE_TAKEOVER.name).set(after.as_secs_f64());
}
