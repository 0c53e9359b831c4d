//! The values that each panel must show under the known load: the range for the biggest of them.

use super::load::{BAD, FILES, RECORDS, SECONDS, SKIPPED};

/// The stores that have such values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Both,
    Sqlite,
    Cassandra,
}

/// The range for the biggest value of any series.
pub struct Size {
    pub least: f64,
    pub most: f64,
    pub of: Of,
}

const fn size(least: f64, most: f64) -> Size {
    Size { least, most, of: Of::Both }
}

/// Returns the range for a panel, with this many daemons under load.
pub fn of_panel(board: &str, title: &str, daemons: f64) -> Option<Size> {
    let (files, all, seconds) = (f64::from(FILES), f64::from(FILES * RECORDS), SECONDS);
    let (rate, bad) = (all / seconds, f64::from(FILES * BAD));
    // A rate over ten seconds may be a little above the mean, and it may include a burst after a lock.
    let rates = |one: f64| size(one / 4.0, one * 4.0 * daemons);
    // Increases are extrapolated to the whole time range.
    let sums = |one: f64| size(one * daemons * 0.7, one * daemons * 1.5);
    Some(match (board, title) {
        ("overview", "Ready" | "Configuration") | ("store", "Store" | "Answers") => size(1.0, 1.0),
        ("overview", "Version") => size(1.0, daemons),
        ("overview", "Files waiting" | "Reloads") | ("store", "Requests in flight") => size(0.0, 0.0),
        // A file waits at least while the store is locked.
        ("overview", "Oldest waiting") => size(0.0, 30.0),
        ("overview", "Since the last load") => size(0.0, 60.0),
        ("overview", "Files that need attention") => size(2.0 * daemons, 2.0 * daemons),
        ("overview" | "files", "Open in quarantine") => size(bad * daemons, (bad + 5.0) * daemons),
        ("overview", "Backlog") => size(1_000.0, 1e7),
        ("overview", "Deliveries") => size(3.0, 40.0 * daemons),
        ("overview", "Bytes read") => rates(rate * 55.0),
        ("overview", "Records") => rates(rate),
        ("overview" | "store", "Rows") => rates(rate),
        ("overview", "Drop to queryable") => size(0.005, 30.0),
        ("overview", "Where the time goes") => size(0.001, 20.0),
        ("overview", "Waiting for room") => size(1e-6, 20.0),
        ("overview", "In the queues") => size(0.0, 10.0),
        ("overview", "Read ahead of the ledger") => size(0.0, 2e6),
        ("overview", "Into quarantine") => rates(bad / seconds),
        ("overview", "Share in quarantine") => size(0.005, 0.03),
        ("overview", "CPU") => size(0.0, 4.0),
        ("overview", "Memory") => size(5e6, 2e8),
        ("overview", "Open files") => size(5.0, 2e6),
        ("overview", "Threads") => size(2.0, 50.0),
        ("overview", "Up since") => size(1.0, 600.0),
        ("store", "Nodes away") => Size { of: Of::Cassandra, ..size(0.0, 0.0) },
        ("store", "Lease") => Size { of: Of::Cassandra, ..size(1.0, 1.0) },
        ("store", "Silence before takeover") => Size { of: Of::Cassandra, ..size(0.0, 60.0) },
        ("store", "Size" | "Size of the store") => Size { of: Of::Sqlite, ..size(1e5, 1e8) },
        ("store", "Write latency") => size(1.0, 2000.0),
        ("store", "Write latency, p99") => size(0.0001, 10.0),
        ("store", "Requests") => Size { of: Of::Cassandra, ..rates(rate) },
        ("store", "Rows in a request") => Size { of: Of::Cassandra, ..size(1.0, 1e5) },
        ("store", "Rows in a request, mean") => Size { of: Of::Cassandra, ..size(1.0, 100.0) },
        ("store", "In flight") => size(0.0, 256.0),
        ("store", "Writing") => size(0.001, 20.0),
        ("store", "Retries") => Size { of: Of::Sqlite, ..size(0.01, 50.0) },
        ("store", "Connections") => Size { of: Of::Cassandra, ..size(1.0, 20.0) },
        ("store", "Timeouts of the driver") => Size { of: Of::Cassandra, ..size(0.0, 1.0) },
        ("store", "Nodes") => Size { of: Of::Cassandra, ..size(1.0, 1.0) },
        // The daemons of this load do not verify.
        ("store", "Last verification" | "Not compared" | "Wrong rows" | "Verifications") => size(0.0, 0.0),
        ("files", "Deliveries loaded") => sums(files),
        ("files", "Records") => sums(all),
        ("files", "Failed" | "Incomplete") => size(daemons, daemons),
        ("files", "Unreadable" | "Failed attempts to read files" | "Loaded files that left the inbox") => {
            size(0.0, 0.0)
        }
        ("files", "Files left out") => size(daemons, 2.0 * daemons),
        ("files", "Deliveries a day") => sums(files),
        ("files", "Records a day") => sums(all - f64::from(FILES * SKIPPED) - bad),
        ("files", "Rows a day") => sums(all - f64::from(FILES * SKIPPED) - bad),
        ("files", "Bytes a day") => size(all * 30.0, all * 100.0),
        ("files", "Quarantine a day, by reason") => sums(bad),
        ("files", "Files that need attention") => size(daemons, daemons),
        ("files", "Inbox") => size(1.0, 1.0),
        ("files", "Since the last load, by feed") => size(0.0, 60.0),
        ("files", "Records a day, by feed") => sums(all),
        ("files", "Quarantine a day, by feed") => sums(bad),
        ("files", "Files that need attention, by feed") => size(2.0 * daemons, 2.0 * daemons),
        ("files", "Oldest waiting, by feed") => size(0.0, 30.0),
        ("files", "Drop to queryable") => size(1.0, 100.0),
        ("files", "Drop to queryable, p99 of an hour") => size(0.005, 30.0),
        _ => return None,
    })
}
