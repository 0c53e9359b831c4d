//! The clock of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::Stamp;

/// Returns the current time in microseconds since 1970.
pub fn clock() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2))
}

/// Returns the current time in milliseconds since 1970.
pub fn now_ms() -> i64 {
    clock().0 / 1000
}
