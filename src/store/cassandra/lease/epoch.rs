//! The stamps of ledger rows: the epoch of the lease, then a sequence. Also the clock for stamps of rows.

use std::time::{SystemTime, UNIX_EPOCH};

/// The number of bits below the epoch in the stamp of a ledger row. The stamps of an epoch begin at `epoch << EPOCH`,
/// so a row of a later epoch always wins.
pub const EPOCH: u32 = 38;

/// Returns the epoch in which a ledger row with this stamp was written.
pub fn epoch_of(stamp: i64) -> i64 {
    stamp >> EPOCH
}

/// Returns the first stamp of the epoch in which `stamp` lies.
pub fn first_of(stamp: i64) -> i64 {
    epoch_of(stamp) << EPOCH
}

/// Returns the current time, in microseconds since 1970.
pub fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2)
}
