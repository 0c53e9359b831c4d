//! Verifications by the daemon.

use std::time::Duration;

use metrics::{counter, gauge};

use crate::metrics::declared::{LAST_VERIFIED, NOT_COMPARED, VERIFICATIONS, WRONG_ROWS};

/// How a row can be wrong.
pub const WRONG: [&str; 3] = ["missing", "different", "extra"];

/// How a verification can end.
pub const VERIFIED: [&str; 3] = ["completed", "interrupted", "failed"];

/// Counts a verification by its outcome.
pub fn verification(outcome: &'static str) {
    counter!(VERIFICATIONS.name, "outcome" => outcome).increment(1);
}

/// Sets what the last verification that was completed found in a table.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn wrong_rows(table: &str, wrong: impl IntoIterator<Item = (&'static str, u64)>) {
    for (kind, rows) in wrong {
        gauge!(WRONG_ROWS.name, "table" => table.to_owned(), "kind" => kind).set(rows as f64);
    }
}

/// Sets when the last verification was completed, and how many deliveries it could not compare.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
pub fn verified(since_1970: Duration, not_compared: u64) {
    gauge!(LAST_VERIFIED.name).set(since_1970.as_secs_f64());
    gauge!(NOT_COMPARED.name).set(not_compared as f64);
}

/// Forgets what was found in these tables. Another process may verify them from now on, or nobody.
pub fn forget_verified<'t>(tables: impl IntoIterator<Item = &'t str>) {
    tables.into_iter().for_each(|table| wrong_rows(table, WRONG.map(|kind| (kind, 0))));
    verified(Duration::ZERO, 0);
}
