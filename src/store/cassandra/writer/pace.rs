//! Limits how many rows are sent in a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The limit `write.rows_per_second`, which applies to all tables together.
pub struct Pace {
    rows_per_second: u64,
    /// When the next row may be sent.
    next: Mutex<Instant>,
}

impl Pace {
    pub fn new(rows_per_second: u64) -> Self {
        Self { rows_per_second, next: Mutex::new(Instant::now()) }
    }

    /// Waits until this number of rows may be sent.
    pub async fn wait(&self, rows: usize) {
        if let Some(begin) = self.take(rows) {
            tokio::time::sleep_until(begin.into()).await;
        }
    }

    /// Reserves time for this number of rows. Returns when it begins, or `None` if there is no limit.
    pub fn take(&self, rows: usize) -> Option<Instant> {
        let nanos = (rows as u64).saturating_mul(1_000_000_000).checked_div(self.rows_per_second)?;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*next).max(Instant::now());
        *next = begin + Duration::from_nanos(nanos);
        Some(begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_limit_also_applies_to_rows_that_are_sent_again() {
        let pace = Pace::new(1000);
        let first = pace.take(10).unwrap();
        assert_eq!(pace.take(500).unwrap() - first, Duration::from_millis(10));
        assert_eq!(pace.take(1).unwrap() - first, Duration::from_millis(510));
        assert_eq!(Pace::new(0).take(10), None, "0 is no limit");
    }
}
