//! Every metric, with unit and help, in one place. Labels are bounded: table, state, stage, reason.
//!
//! Counters count acknowledged work of this process. What a crash interrupted is counted again by the
//! process that replays it; totals come from receipts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::domain::{Plan, Quarantined, RowChunk, State};
use crate::ledger::TableDelta;

const WRITE_SECONDS: &str = "needledrop_write_seconds";
const BATCH_ROWS: &str = "needledrop_batch_rows";
const DROP_TO_QUERYABLE: &str = "needledrop_drop_to_queryable_seconds";

/// From 100 µs to 10 s.
const WRITE_BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From one row to the most that a batch may have.
const BATCH_BUCKETS: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0];

/// From 5 ms to 10 minutes.
const DROP_BUCKETS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Installs the recorder and declares everything, so that counters and gauges are there before their
/// first event. Histograms appear with it.
///
/// # Errors
/// When a recorder is installed already.
pub fn install(plan: &Plan) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(WRITE_SECONDS.to_owned()), &WRITE_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(DROP_TO_QUERYABLE.to_owned()), &DROP_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(BATCH_ROWS.to_owned()), &BATCH_BUCKETS)?
        .install_recorder()?;
    describe();
    begin(plan);
    Ok(handle)
}

fn describe() {
    let counters: [(&'static str, Unit, &'static str); 10] = [
        ("needledrop_records_read_total", Unit::Count, "Records read and accounted for."),
        (
            "needledrop_records_skipped_total",
            Unit::Count,
            "Records that are no events (source.skip_when_empty).",
        ),
        ("needledrop_records_quarantined_total", Unit::Count, "Records in quarantine, by reason."),
        ("needledrop_rows_written_total", Unit::Count, "Rows acknowledged by the store, by table."),
        ("needledrop_bytes_read_total", Unit::Bytes, "Decoded bytes read from files."),
        ("needledrop_deliveries_total", Unit::Count, "Entries of deliveries into a state."),
        (
            "needledrop_write_retries_total",
            Unit::Count,
            "Writes tried again, by table and reason; table `*` is all of them.",
        ),
        ("needledrop_files_unreadable_total", Unit::Count, "Files that could not be opened or read."),
        (
            "needledrop_config_reloads_total",
            Unit::Count,
            "How often the configuration was read again, by outcome.",
        ),
        (
            "needledrop_files_after_total",
            Unit::Count,
            "Loaded files that left the inbox (source.after), by outcome; failed ones are tried again.",
        ),
    ];
    for (name, unit, help) in counters {
        describe_counter!(name, unit, help);
    }
    describe_histogram!(WRITE_SECONDS, Unit::Seconds, "Time to write one chunk's rows of one table.");
    let help =
        "From the file's ctime, or start-up if later, to the acknowledgement of its last row in every table.";
    describe_histogram!(DROP_TO_QUERYABLE, Unit::Seconds, help);
    describe_histogram!(BATCH_ROWS, Unit::Count, "Rows in one request to the cluster.");
    let gauges: [(&'static str, Unit, &'static str); 11] = [
        ("needledrop_lease_held", Unit::Count, "1 while this process may write (the Cassandra store only)."),
        (
            "needledrop_lease_takeover_seconds",
            Unit::Seconds,
            "How long this process waited for the right to write.",
        ),
        ("needledrop_queue_depth", Unit::Count, "Chunks or files that wait in a queue."),
        ("needledrop_requests_in_flight", Unit::Count, "Requests to the store under way."),
        ("needledrop_backlog_files", Unit::Count, "Files that are known to be new and not loaded yet."),
        ("needledrop_backlog_bytes", Unit::Bytes, "Bytes of these files as they lie in the folder."),
        (
            "needledrop_oldest_waiting_seconds",
            Unit::Seconds,
            "How long the oldest of these files has waited.",
        ),
        (
            "needledrop_last_loaded_timestamp_seconds",
            Unit::Seconds,
            "When a delivery was last loaded, since 1970.",
        ),
        (
            "needledrop_config_last_reload_successful",
            Unit::Count,
            "0 while a configuration that was read again is refused and the one before goes on.",
        ),
        ("needledrop_store_up", Unit::Count, "1 while the store answers."),
        ("needledrop_build_info", Unit::Count, "1, with the version as label."),
    ];
    for (name, unit, help) in gauges {
        describe_gauge!(name, unit, help);
    }
}

fn begin(plan: &Plan) {
    for name in
        ["needledrop_records_read_total", "needledrop_records_skipped_total", "needledrop_bytes_read_total"]
    {
        counter!(name).absolute(0);
    }
    for reason in crate::domain::Reason::ALL {
        counter!("needledrop_records_quarantined_total", "reason" => reason.name()).absolute(0);
    }
    tables(plan);
    for outcome in ["applied", "refused", "unchanged"] {
        counter!("needledrop_config_reloads_total", "outcome" => outcome).absolute(0);
    }
    gauge!("needledrop_config_last_reload_successful").set(1.0);
    for state in State::ALL {
        counter!("needledrop_deliveries_total", "state" => state.name()).absolute(0);
    }
    counter!("needledrop_files_unreadable_total").absolute(0);
    for outcome in ["moved", "deleted", "failed"] {
        counter!("needledrop_files_after_total", "outcome" => outcome).absolute(0);
    }
    for reason in ["locked", "full", "io", "stamps"] {
        counter!("needledrop_write_retries_total", "table" => "*", "reason" => reason).absolute(0);
    }
    for queue in ["files", "chunks", "rows"] {
        gauge!("needledrop_queue_depth", "queue" => queue).set(0.0);
    }
    for name in ["needledrop_requests_in_flight", "needledrop_last_loaded_timestamp_seconds"] {
        gauge!(name).set(0.0);
    }
    backlog(0, 0, Duration::ZERO);
    gauge!("needledrop_store_up").set(1.0);
    gauge!("needledrop_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// One durable chunk.
pub fn records(chunk: &RowChunk, refused: &[Quarantined]) {
    counter!("needledrop_bytes_read_total").increment(chunk.len());
    counter!("needledrop_records_read_total").increment(chunk.records());
    counter!("needledrop_records_skipped_total").increment(chunk.skipped);
    for entry in chunk.quarantined.iter().chain(refused) {
        counter!("needledrop_records_quarantined_total", "reason" => entry.reason.name()).increment(1);
    }
}

/// What a durable chunk did to one table.
pub fn rows(table: &str, delta: &TableDelta) {
    counter!("needledrop_rows_written_total", "table" => table.to_owned()).increment(delta.rows);
    if delta.rows > 0 {
        histogram!(WRITE_SECONDS, "table" => table.to_owned()).record(delta.took.as_secs_f64());
    }
}

/// A delivery entered a state.
pub fn delivery(state: State) {
    counter!("needledrop_deliveries_total", "state" => state.name()).increment(1);
}

/// A delivery that arrived then is loaded now.
pub fn loaded(arrived: SystemTime, now: SystemTime) {
    let took = now.duration_since(arrived).unwrap_or_default();
    histogram!(DROP_TO_QUERYABLE).record(took.as_secs_f64());
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("needledrop_last_loaded_timestamp_seconds").set(since.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn backlog(files: usize, bytes: u64, oldest: Duration) {
    gauge!("needledrop_backlog_files").set(files as f64);
    gauge!("needledrop_backlog_bytes").set(bytes as f64);
    gauge!("needledrop_oldest_waiting_seconds").set(oldest.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn queue(queue: &'static str, depth: usize) {
    gauge!("needledrop_queue_depth", "queue" => queue).set(depth as f64);
}

pub fn in_flight(change: f64) {
    gauge!("needledrop_requests_in_flight").increment(change);
}

/// A request of the store that is tried again.
pub fn retry(table: &str, reason: &'static str) {
    counter!("needledrop_write_retries_total", "table" => table.to_owned(), "reason" => reason).increment(1);
}

/// Rows that go to the store in one request.
#[expect(clippy::cast_precision_loss, reason = "a histogram is of 64-bit floats")]
pub fn batch(table: &str, rows: usize) {
    histogram!(BATCH_ROWS, "table" => table.to_owned()).record(rows as f64);
}

/// Whether this process may write, where several could.
pub fn lease_held(held: bool) {
    gauge!("needledrop_lease_held").set(f64::from(u8::from(held)));
}

/// How long it took to get there.
pub fn lease_taken(after: Duration) {
    gauge!("needledrop_lease_takeover_seconds").set(after.as_secs_f64());
}

/// The tables of a configuration that is taken on while the process runs.
pub fn tables(plan: &Plan) {
    for table in &plan.tables {
        counter!("needledrop_rows_written_total", "table" => table.name.clone()).increment(0);
    }
}

/// The configuration was read again.
pub fn reload(outcome: &'static str) {
    counter!("needledrop_config_reloads_total", "outcome" => outcome).increment(1);
    let is_refused = outcome == "refused";
    gauge!("needledrop_config_last_reload_successful").set(f64::from(u8::from(!is_refused)));
}

/// What became of a file that was loaded.
pub fn after(outcome: &'static str) {
    counter!("needledrop_files_after_total", "outcome" => outcome).increment(1);
}

pub fn unreadable() {
    counter!("needledrop_files_unreadable_total").increment(1);
}

/// The store did not answer and is tried again.
pub fn store_waits(reason: &'static str) {
    counter!("needledrop_write_retries_total", "table" => "*", "reason" => reason).increment(1);
    if reason != "stamps" {
        gauge!("needledrop_store_up").set(0.0);
    }
}

pub fn store_answers() {
    gauge!("needledrop_store_up").set(1.0);
}
