//! Records the metrics. The values of labels are bounded: table, state, stage, reason.
//!
//! Counters count acknowledged work of this process. Work that a crash interrupted is counted again by the process that
//! repeats it. Totals come from receipts.

pub mod declared;
pub mod heartbeat;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use declared::*;
use metrics::{Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::domain::{DeliveryState, Plan, Quarantined, Reason, RowChunk, TableDelta};

/// The stages of the pipeline, in the order of the data flow.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Discover,
    Read,
    Transform,
    Write,
}

/// The queues between the stages.
#[derive(Clone, Copy, Debug)]
pub enum Queue {
    Files,
    Chunks,
    Rows,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Read => "read",
            Self::Transform => "transform",
            Self::Write => "write",
        }
    }

    /// Starts to measure a piece of work of this stage.
    pub fn begin(self) -> Measured {
        Measured { histogram: histogram!(STAGE_SECONDS.name, "stage" => self.name()), began: Instant::now() }
    }
}

impl Queue {
    const ALL: [Self; 3] = [Self::Files, Self::Chunks, Self::Rows];

    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Chunks => "chunks",
            Self::Rows => "rows",
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
    pub fn depth(self, depth: usize) {
        gauge!(QUEUE_DEPTH.name, "queue" => self.name()).set(depth as f64);
    }

    /// Starts to measure how long an item waits for room in this queue.
    pub fn wait(self) -> Measured {
        Measured { histogram: histogram!(QUEUE_WAIT.name, "queue" => self.name()), began: Instant::now() }
    }
}

/// A time measurement in progress. Code that uses it need not read a clock.
pub struct Measured {
    histogram: Histogram,
    began: Instant,
}

impl Measured {
    /// Ends the measurement and records it.
    pub fn end(self) {
        self.histogram.record(self.began.elapsed().as_secs_f64());
    }
}

/// The source of the answer to `/metrics`.
#[derive(Clone)]
pub struct Scrape {
    recorded: PrometheusHandle,
    process: Collector,
}

impl Scrape {
    /// Returns the current values of all metrics, in the text format of Prometheus.
    pub fn text(&self) -> String {
        self.process.collect();
        self.recorded.render()
    }

    /// Moves samples into buckets, so that they do not pile up if nobody scrapes.
    pub fn upkeep(&self) {
        self.recorded.run_upkeep();
    }
}

/// Installs the recorder and declares all metrics. Counters and gauges then exist before their first event. A histogram
/// appears with its first sample.
///
/// # Errors
/// Returns an error if a recorder is already installed.
pub fn install(plan: &Plan) -> Result<Scrape, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for Metric { name, kind, .. } in ALL {
        if let Kind::Histogram(buckets) = kind {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
        }
    }
    let recorded = builder.install_recorder()?;
    declared::describe();
    let process = Collector::new("needledrop_");
    process.describe();
    begin(plan);
    Ok(Scrape { recorded, process })
}

fn begin(plan: &Plan) {
    for metric in [&UNTERMINATED, &RECORDS_READ, &RECORDS_SKIPPED, &BYTES_READ, &FILES_UNREADABLE] {
        counter!(metric.name).absolute(0);
    }
    for reason in Reason::ALL {
        counter!(RECORDS_QUARANTINED.name, "reason" => reason.name()).absolute(0);
    }
    tables(plan);
    for state in DeliveryState::ALL {
        counter!(DELIVERIES.name, "state" => state.name()).absolute(0);
    }
    for reason in ["locked", "full", "io", "gone", "stamps", "clock"] {
        counter!(WRITE_RETRIES.name, "table" => "*", "reason" => reason).absolute(0);
    }
    for outcome in ["applied", "refused", "unchanged"] {
        counter!(CONFIG_RELOADS.name, "outcome" => outcome).absolute(0);
    }
    for outcome in ["moved", "deleted", "failed"] {
        counter!(FILES_AFTER.name, "outcome" => outcome).absolute(0);
    }
    Queue::ALL.into_iter().for_each(|queue| queue.depth(0));
    for metric in [&REQUESTS_IN_FLIGHT, &LAST_LOADED, &QUARANTINE_OPEN, &LEDGER_LAG] {
        gauge!(metric.name).set(0.0);
    }
    backlog(0, 0, Duration::ZERO);
    files_open(0, 0, 0);
    ready(false);
    for metric in [&CONFIG_RELOADED, &STORE_UP] {
        gauge!(metric.name).set(1.0);
    }
    gauge!(BUILD_INFO.name, "version" => env!("CARGO_PKG_VERSION"), "commit" => crate::COMMIT).set(1.0);
}

/// Creates the row counters of the declared tables. A reload may add tables.
pub fn tables(plan: &Plan) {
    for table in &plan.tables {
        counter!(ROWS_WRITTEN.name, "table" => table.name.clone()).increment(0);
    }
}

/// Sets the gauges when the pipeline begins. `open` is the number of open records in quarantine.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn begins(open: u64) {
    gauge!(QUARANTINE_OPEN.name).set(open as f64);
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

/// Counts open records of a failed delivery that were discarded.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn discarded(records: u64) {
    gauge!(QUARANTINE_OPEN.name).decrement(records as f64);
}

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

/// Counts the records of one durable chunk.
pub fn records(chunk: &RowChunk, refused: &[Quarantined]) {
    counter!(BYTES_READ.name).increment(chunk.len());
    counter!(RECORDS_READ.name).increment(chunk.records());
    counter!(RECORDS_SKIPPED.name).increment(chunk.skipped);
    for entry in chunk.quarantined.iter().chain(refused) {
        gauge!(QUARANTINE_OPEN.name).increment(1.0);
        counter!(RECORDS_QUARANTINED.name, "reason" => entry.reason.name()).increment(1);
    }
}

/// Counts the rows that a durable chunk wrote to one table.
pub fn rows(table: &str, delta: &TableDelta) {
    counter!(ROWS_WRITTEN.name, "table" => table.to_owned()).increment(delta.rows);
    if delta.rows > 0 {
        histogram!(WRITE_SECONDS.name, "table" => table.to_owned()).record(delta.took.as_secs_f64());
    }
}

/// Counts a delivery that entered a state.
pub fn delivery(state: DeliveryState) {
    counter!(DELIVERIES.name, "state" => state.name()).increment(1);
}

/// Counts a last record that was loaded without a line end.
pub fn unterminated() {
    counter!(UNTERMINATED.name).increment(1);
}

/// Records that a delivery is loaded. `arrived` is when its file arrived.
pub fn loaded(arrived: SystemTime, now: SystemTime) {
    let took = now.duration_since(arrived).unwrap_or_default();
    histogram!(DROP_TO_QUERYABLE.name).record(took.as_secs_f64());
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(LAST_LOADED.name).set(since.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn backlog(files: usize, bytes: u64, oldest: Duration) {
    gauge!(BACKLOG_FILES.name).set(files as f64);
    gauge!(BACKLOG_BYTES.name).set(bytes as f64);
    gauge!(OLDEST_WAITING.name).set(oldest.as_secs_f64());
}

/// Sets the number of files that need attention.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn files_open(failed: usize, incomplete: usize, unreadable: usize) {
    for (state, files) in [("failed", failed), ("incomplete", incomplete), ("unreadable", unreadable)] {
        gauge!(FILES_OPEN.name, "state" => state).set(files as f64);
    }
}

/// Sets whether the daemon does its work, as `/readyz` reports it.
pub fn ready(is: bool) {
    gauge!(READY.name).set(f64::from(u8::from(is)));
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

/// Sets whether this process may write, if several processes could.
pub fn lease_held(held: bool) {
    gauge!(LEASE_HELD.name).set(f64::from(u8::from(held)));
}

/// Records that this process took over the lease. `after` is how long the previous holder had been silent.
pub fn lease_taken(after: Duration) {
    gauge!(LEASE_TAKEOVER.name).set(after.as_secs_f64());
}

/// Counts a reload of the configuration by its outcome.
pub fn reload(outcome: &'static str) {
    counter!(CONFIG_RELOADS.name, "outcome" => outcome).increment(1);
    let is_rejected = outcome == "refused";
    gauge!(CONFIG_RELOADED.name).set(f64::from(u8::from(!is_rejected)));
}

/// Counts a loaded file by what happened to it under `source.after`.
pub fn after(outcome: &'static str) {
    counter!(FILES_AFTER.name, "outcome" => outcome).increment(1);
}

pub fn unreadable() {
    counter!(FILES_UNREADABLE.name).increment(1);
}

/// Counts a retry that concerns the whole store, not one table.
pub fn store_waits(reason: &'static str) {
    counter!(WRITE_RETRIES.name, "table" => "*", "reason" => reason).increment(1);
}

/// Sets whether the store answers.
pub fn store_up(up: bool) {
    gauge!(STORE_UP.name).set(f64::from(u8::from(up)));
}
