//! A limit on how many rows are read in a second.

use std::time::Duration;

/// Spreads reading over time. A time without reading is not made up for later, so there are no bursts.
#[derive(Clone, Copy, Debug)]
pub struct ReadRate {
    /// 0 means no limit.
    rows_per_second: u64,
    /// When the rows that were read so far have used up their time.
    until: Duration,
}

impl ReadRate {
    pub fn new(rows_per_second: u64) -> Self {
        Self { rows_per_second, until: Duration::ZERO }
    }

    /// Returns how long to pause after reading this number of rows. `now` is measured from any fixed point in time.
    pub fn pause(&mut self, rows: u64, now: Duration) -> Duration {
        let nanos = rows.saturating_mul(1_000_000_000).checked_div(self.rows_per_second);
        let Some(nanos) = nanos else { return Duration::ZERO };
        self.until = self.until.max(now).saturating_add(Duration::from_nanos(nanos));
        self.until.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rows_take_their_time_and_no_time_is_saved_up() {
        let mut rate = ReadRate::new(1000);
        assert_eq!(rate.pause(2000, Duration::ZERO), SECOND * 2);
        assert_eq!(rate.pause(500, SECOND * 2), SECOND / 2);
        assert_eq!(rate.pause(1000, SECOND * 2), SECOND * 3 / 2, "the pause was not kept");
        assert_eq!(rate.pause(1000, SECOND * 100), SECOND, "a slow store is followed by no burst");
        assert_eq!(rate.pause(0, SECOND * 200), Duration::ZERO);
    }

    #[test]
    fn without_a_limit_there_is_no_pause() {
        assert_eq!(ReadRate::new(0).pause(u64::MAX, SECOND), Duration::ZERO);
        assert!(ReadRate::new(1).pause(u64::MAX, SECOND) > SECOND * 1_000_000);
    }
}
