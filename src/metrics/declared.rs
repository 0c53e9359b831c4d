//! Every metric: its name, kind, unit, labels and meaning. Metrics are declared only here. docs/metrics.md is generated
//! from these declarations.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// The kind of a metric.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    /// A histogram, with the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// The declaration of a metric.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    /// The names of its labels. Their values are bounded, such as table, state, stage or reason, and never a file name
    /// or a key.
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// Bucket bounds from 100 µs to 10 s.
const WRITE: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bucket bounds from one row to the maximum of a batch.
const BATCH: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0];

/// Bucket bounds from 5 ms to 10 minutes.
const DROP: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

const fn counter(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, unit, labels, help }
}

const fn gauge(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help }
}

const fn histogram(
    name: &'static str,
    buckets: &'static [f64],
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(buckets), unit, labels, help }
}

macro_rules! declared {
    ($($constant:ident = $metric:expr;)*) => {
        $(pub static $constant: Metric = $metric;)*

        /// All metrics, in the order of the data flow.
        pub static ALL: &[&Metric] = &[$(&$constant),*];
    };
}

declared! {
    READY = gauge("needledrop_ready", Unit::Count, &[],
        "1 while the daemon is ready, as in /readyz: it can list the inbox, use the store and write to it.");
    INBOX_LISTED = gauge("needledrop_inbox_listed", Unit::Count, &["feed"],
        "1 while the inbox answers and can be listed, 0 before the first listing. NaN once its feed is no longer declared.");
    FILES_UNREADABLE = counter("needledrop_files_unreadable_total", Unit::Count, &["feed"],
        "Failed attempts to open or read a file.");
    FILES_LEFT_OUT = gauge("needledrop_files_left_out", Unit::Count, &["feed", "reason"],
        "Files in the inbox that are not loaded because of their names: unmatched (by source.pattern), ignored (hidden, or by source.ignore) or not_utf8; or because they are broken links, links to folders, pipes or the like: not_a_file.");
    FILES_OPEN = gauge("needledrop_files_open", Unit::Count, &["feed", "state"],
        "Files that need attention: failed, incomplete (more is expected) or unreadable.");
    BACKLOG_FILES = gauge("needledrop_backlog_files", Unit::Count, &["feed"],
        "Files that are new and not loaded yet.");
    BACKLOG_BYTES = gauge("needledrop_backlog_bytes", Unit::Bytes, &["feed"],
        "Size of the files that are new and not loaded yet, as stored in the inbox.");
    OLDEST_WAITING = gauge("needledrop_oldest_waiting_seconds", Unit::Seconds, &["feed"],
        "How long the oldest waiting file has waited for its loading to begin.");
    DELIVERIES = counter("needledrop_deliveries_total", Unit::Count, &["feed", "state"],
        "Deliveries that entered a state.");
    BYTES_READ = counter("needledrop_bytes_read_total", Unit::Bytes, &["feed"],
        "Decoded bytes read from files.");
    UNTERMINATED = counter("needledrop_deliveries_unterminated_total", Unit::Count, &["feed"],
        "Deliveries whose last record was loaded without a line end. The file may have been cut off.");
    RECORDS_READ = counter("needledrop_records_read_total", Unit::Count, &["feed"],
        "Records that were read, and are now loaded, skipped or in quarantine.");
    RECORDS_SKIPPED = counter("needledrop_records_skipped_total", Unit::Count, &["feed"],
        "Records that were skipped (source.skip_when_empty).");
    RECORDS_QUARANTINED = counter("needledrop_records_quarantined_total", Unit::Count, &["feed", "reason"],
        "Records that went to quarantine, by reason.");
    QUARANTINE_OPEN = gauge("needledrop_quarantine_open", Unit::Count, &["feed"],
        "Records of all deliveries that are in quarantine, neither replayed nor discarded.");
    ROWS_WRITTEN = counter("needledrop_rows_written_total", Unit::Count, &["feed", "table"],
        "Rows acknowledged by the store, by table.");
    WRITE_SECONDS = histogram("needledrop_write_seconds", WRITE, Unit::Seconds, &["table"],
        "Time to write one chunk's rows of one table.");
    BATCH_ROWS = histogram("needledrop_batch_rows", BATCH, Unit::Count, &["table"],
        "Rows in one request to the cluster (the Cassandra store only).");
    WRITE_RETRIES = counter("needledrop_write_retries_total", Unit::Count, &["table", "reason"],
        "Writes that were retried, by table and reason. Table `*` means the whole store, `ledger` the ledger.");
    REQUESTS_IN_FLIGHT = gauge("needledrop_requests_in_flight", Unit::Count, &[],
        "Requests to the store that are in flight: batches and single rows (Cassandra), or transactions (SQLite).");
    DROP_TO_QUERYABLE = histogram("needledrop_drop_to_queryable_seconds", DROP, Unit::Seconds, &["feed"],
        "Time from the file's ctime (or the start of the process, if later) until every table has all its rows.");
    LAST_LOADED = gauge("needledrop_last_loaded_timestamp_seconds", Unit::Seconds, &["feed"],
        "When this process last finished loading a delivery, in seconds since 1970. 0 if it has loaded none.");
    FILES_AFTER = counter("needledrop_files_after_total", Unit::Count, &["feed", "outcome"],
        "Loaded files that were moved or deleted (source.after) or could not be, by outcome. A failure is counted at each attempt.");
    STAGE_SECONDS = histogram("needledrop_stage_seconds", WRITE, Unit::Seconds, &["stage"],
        "Time that a stage took to identify a file (discover), or to read, transform or write a chunk.");
    QUEUE_WAIT = histogram("needledrop_queue_wait_seconds", WRITE, Unit::Seconds, &["queue"],
        "Time that a file or chunk waited for room in a queue. Long waits mean that the stage after the queue is slower.");
    QUEUE_DEPTH = gauge("needledrop_queue_depth", Unit::Count, &["queue"],
        "Files or chunks in a queue.");
    LEDGER_LAG = gauge("needledrop_ledger_lag_bytes", Unit::Bytes, &[],
        "Decoded bytes that were read but are not in the ledger yet. After a crash they are read again.");
    STORE_UP = gauge("needledrop_store_up", Unit::Count, &[],
        "1 while the store answers.");
    STORE_BYTES = gauge("needledrop_store_bytes", Unit::Bytes, &[],
        "Size of the database file and its write-ahead log (the SQLite store only).");
    LEASE_HELD = gauge("needledrop_lease_held", Unit::Count, &[],
        "1 while this process holds the lease, which is the right to write (the Cassandra store only).");
    LEASE_TAKEOVER = gauge("needledrop_lease_takeover_seconds", Unit::Seconds, &[],
        "How long the previous lease holder had been silent when this process took over. 0 if there was none (the Cassandra store only).");
    DRIVER_NODES = gauge("needledrop_driver_nodes", Unit::Count, &["state"],
        "Nodes of the cluster that the driver knows: connected or away, which means not connected (the Cassandra store only).");
    DRIVER_CONNECTIONS = gauge("needledrop_driver_connections", Unit::Count, &[],
        "Open connections of the driver to the cluster (the Cassandra store only).");
    DRIVER_TIMEOUTS = counter("needledrop_driver_timeouts_total", Unit::Count, &["of"],
        "Timeouts of the driver, by connection or request (the Cassandra store only).");
    WRONG_ROWS = gauge("needledrop_verify_wrong_rows", Unit::Count, &["table", "kind"],
        "Wrong rows that the last completed verification by the daemon found in its sample: missing, different or extra. 0 before the first one (verify).");
    NOT_COMPARED = gauge("needledrop_verify_not_compared", Unit::Count, &[],
        "Deliveries that the last completed verification by the daemon could not compare. Their rows may count as different or extra.");
    LAST_VERIFIED = gauge("needledrop_last_verified_timestamp_seconds", Unit::Seconds, &[],
        "When a daemon last completed a verification, in seconds since 1970. 0 if none did, or if verify is off.");
    VERIFICATIONS = counter("needledrop_verifications_total", Unit::Count, &["outcome"],
        "Verifications by the daemon, by outcome: completed, interrupted (files arrived; it starts again) or failed.");
    CONFIG_RELOADS = counter("needledrop_config_reloads_total", Unit::Count, &["outcome"],
        "Reloads of the configuration, by outcome.");
    CONFIG_RELOADED = gauge("needledrop_config_last_reload_successful", Unit::Count, &[],
        "0 while the last reload is rejected and the previous configuration stays in force, otherwise 1.");
    BUILD_INFO = gauge("needledrop_build_info", Unit::Count, &["version", "commit"],
        "Always 1. The labels are the version and the commit of the build (`unknown` if it is not known).");
}

/// Registers the kind, unit and help text of every metric with the recorder.
pub fn describe() {
    for Metric { name, kind, unit, help, .. } in ALL {
        match kind {
            Kind::Counter => describe_counter!(*name, *unit, *help),
            Kind::Gauge => describe_gauge!(*name, *unit, *help),
            Kind::Histogram(_) => describe_histogram!(*name, *unit, *help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;

    use super::*;

    /// Returns the text of docs/metrics.md.
    fn page() -> String {
        let mut page = String::from(
            "# Metrics\n\n\
             `/metrics` returns these metrics in the text format of Prometheus. This page is generated from their\n\
             declarations in `src/metrics/declared.rs`: `NEEDLEDROP_WRITE_DOCS=1 cargo test --lib metrics` updates it.\n\n\
             Counters begin at zero with each process. Those of rows and records count only what the store acknowledged.\n\
             Work that a crash interrupted is done again by the next process, and both may have counted it, so take\n\
             totals from receipts. A histogram appears with its first sample, metrics\n\
             of the cluster appear with the first connection, and all others exist from the start. Metrics of the\n\
             process itself (`needledrop_process_…`: CPU, memory, open files, threads, start time) come from the kernel\n\
             and have their usual names. The label `feed` is the name of a feed. A feed without a name has no such label.\n\n\
             | metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n",
        );
        for Metric { name, kind, unit, labels, help } in ALL {
            let kind = match kind {
                Kind::Counter => "counter".to_owned(),
                Kind::Gauge => "gauge".to_owned(),
                Kind::Histogram(buckets) => format!(
                    "histogram, {} buckets from {} to {}",
                    buckets.len(),
                    buckets[0],
                    buckets[buckets.len() - 1]
                ),
            };
            let unit = if *unit == Unit::Count { "" } else { unit.as_str() };
            writeln!(page, "| `{name}` | {kind} | {unit} | {} | {help} |", labels.join(", ")).unwrap();
        }
        page
    }

    #[test]
    fn the_page_of_metrics_matches_the_declarations() {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("NEEDLEDROP_WRITE_DOCS").is_some() {
            std::fs::write(place, page()).unwrap();
        }
        let written = std::fs::read_to_string(place).unwrap();
        assert_eq!(written, page(), "NEEDLEDROP_WRITE_DOCS=1 cargo test --lib metrics updates it");
    }

    #[test]
    fn names_follow_the_rules() {
        let mut names = HashSet::new();
        for Metric { name, kind, unit, help, .. } in ALL {
            assert!(name.starts_with("needledrop_") && names.insert(name), "{name}");
            assert_eq!(matches!(kind, Kind::Counter), name.ends_with("_total"), "{name}");
            let base = name.trim_end_matches("_total");
            assert!(*unit != Unit::Seconds || base.ends_with("_seconds"), "{name}");
            assert!(*unit != Unit::Bytes || base.contains("bytes"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            if let Kind::Histogram(buckets) = kind {
                assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
            }
        }
    }
}
