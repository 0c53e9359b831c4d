//! Stamps, in microseconds. They define the order of all records of all deliveries.

use std::time::Duration;

use serde::Deserialize;

/// A write stamp in microseconds since 1970. Even stamps belong to records, odd stamps to a later undo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub i64);

/// Stamps for `records` records from number `first` on. Record n has the stamp `base + 2 (n - first)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampRange {
    pub first: u64,
    pub base: Stamp,
    pub records: u64,
}

/// How far ahead of the clock stamps may be handed out, in microseconds (10 minutes). A stamp far ahead swallows later
/// deletes by others, and Scylla refuses it.
pub const MAX_AHEAD: i64 = 600_000_000;

/// The maximum number of records in one range: 5 minutes of stamps. A longer file takes further ranges.
pub const MAX_RECORDS: u64 = 150_000_000;

/// The largest step, in microseconds, by which an ordinary adjustment sets a clock back.
const ADJUSTED: i64 = 1_000_000;

/// What to do if stamps would run further ahead of the clock than [`MAX_AHEAD`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum StampsAhead {
    #[default]
    Wait,
    /// The user has consented to stamps that run ahead of the clock.
    Accept,
}

/// No range can be handed out now, because it would be too far ahead of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFarAhead {
    pub wait: Duration,
    /// True if the clock was wrong or is wrong now: earlier stamps are further ahead of the clock than was allowed when
    /// they were handed out. False if records arrive faster than the clock has stamps for them.
    pub clock_is_behind: bool,
}

impl StampRange {
    /// Returns the first stamp after this range.
    pub fn end(&self) -> Stamp {
        let records = i64::try_from(self.records).unwrap_or(i64::MAX / 4);
        Stamp(self.base.0.saturating_add(records.saturating_mul(2)))
    }

    pub fn contains(&self, stamp: Stamp) -> bool {
        self.base <= stamp && stamp < self.end()
    }

    /// Returns a range for `records` records that begins at the later of `clock` and `given`, the end of the last range
    /// handed out.
    pub fn next(given: Stamp, clock: Stamp, (first, records): (u64, u64)) -> Self {
        let begin = given.0.max(clock.0);
        Self { first, base: Stamp(begin + (begin & 1)), records: records.clamp(1, MAX_RECORDS) }
    }

    /// Returns the range of [`Self::next`], if it may be handed out now.
    ///
    /// # Errors
    /// Returns how long to wait if the range would end too far ahead of the clock.
    pub fn after(
        given: Stamp,
        clock: Stamp,
        records: (u64, u64),
        ahead_of_clock: StampsAhead,
    ) -> Result<Self, TooFarAhead> {
        let range = Self::next(given, clock, records);
        let ahead = range.end().0.saturating_sub(clock.0);
        // A range that begins at the clock is never further ahead than its own length.
        if ahead <= MAX_AHEAD || given.0 <= clock.0 || ahead_of_clock == StampsAhead::Accept {
            return Ok(range);
        }
        let wait = Duration::from_micros(u64::try_from(ahead - MAX_AHEAD).unwrap_or(0));
        Err(TooFarAhead { wait, clock_is_behind: far_ahead(given, clock).is_some() })
    }
}

/// Returns how far stamps are ahead of the clock, if a correct clock cannot have allowed them.
pub fn far_ahead(given: Stamp, clock: Stamp) -> Option<Duration> {
    let ahead = given.0.saturating_sub(clock.0);
    (ahead > MAX_AHEAD + ADJUSTED).then(|| Duration::from_micros(ahead.unsigned_abs()))
}

/// All ranges of one delivery, in the order in which they were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps(Vec<StampRange>);

impl Stamps {
    pub fn new(mut ranges: Vec<StampRange>) -> Self {
        ranges.sort_by_key(|range| range.base);
        Self(ranges)
    }

    /// Adds a range. It applies from its first record on, even if an earlier range includes that record.
    pub fn push(&mut self, range: StampRange) {
        self.0.push(range);
    }

    pub fn ranges(&self) -> &[StampRange] {
        &self.0
    }

    /// Returns the stamp of record `n`, from the newest range that begins at or before record `n`.
    pub fn of(&self, n: u64) -> Option<Stamp> {
        let range = self.0.iter().rev().find(|range| range.first <= n)?;
        let ahead = n - range.first;
        let step = i64::try_from(ahead).ok()?.checked_mul(2)?;
        (ahead < range.records).then(|| Stamp(range.base.0 + step))
    }

    /// Returns the number of the record with this stamp.
    pub fn number(&self, stamp: Stamp) -> Option<u64> {
        let range = self.0.iter().find(|range| range.contains(stamp))?;
        let ahead = u64::try_from((stamp.0 - range.base.0) / 2).ok()?;
        Some(range.first + ahead)
    }

    /// Returns the ranges of stamps that no record before number `reach` has: the first stamp, and the one after the last.
    pub fn beyond(&self, reach: u64) -> Vec<(Stamp, Stamp)> {
        let mut taken_over = reach;
        let mut beyond = Vec::new();
        for range in self.0.iter().rev() {
            let used = taken_over.saturating_sub(range.first).min(range.records);
            let begin = Stamp(range.base.0 + 2 * i64::try_from(used).unwrap_or(0));
            if begin < range.end() {
                beyond.push((begin, range.end()));
            }
            taken_over = taken_over.min(range.first);
        }
        beyond
    }

    /// Returns the number of the first record that has no stamp yet.
    pub fn reach(&self) -> u64 {
        self.0.last().map_or(0, |range| range.first + range.records)
    }

    /// Whether the stamp belongs to this delivery.
    pub fn contains(&self, stamp: Stamp) -> bool {
        self.0.iter().any(|range| range.contains(stamp))
    }

    /// Returns the first stamp after all ranges, or the lowest stamp if there is no range.
    pub fn end(&self) -> Stamp {
        self.0.iter().map(StampRange::end).max().unwrap_or(Stamp(i64::MIN))
    }

    /// Returns the delivery's first stamp, which is its place in the order of all deliveries.
    pub fn begin(&self) -> Option<Stamp> {
        self.0.first().map(|range| range.base)
    }
}

/// Returns an upper bound on the records in `bytes` of CSV whose header has `fields` fields. A record has at least a
/// delimiter between two fields and a line end. Shorter records have too few fields and are rare; a file that is full
/// of them takes a further range.
pub fn records_in(bytes: u64, fields: usize) -> u64 {
    bytes / (fields.max(2) as u64) + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn later_ranges_take_over_from_their_first_record() {
        let mut stamps = Stamps::default();
        stamps.push(StampRange { first: 0, base: Stamp(100), records: 10 });
        stamps.push(StampRange { first: 7, base: Stamp(500), records: 10 });
        assert_eq!(stamps.of(6), Some(Stamp(112)));
        assert_eq!(stamps.of(7), Some(Stamp(500)));
        assert_eq!(stamps.of(17), None);
        assert_eq!(stamps.reach(), 17);
        for record in 0..17 {
            assert_eq!(stamps.of(record).and_then(|stamp| stamps.number(stamp)), Some(record));
        }
        for reach in 0..17 {
            let beyond = stamps.beyond(reach);
            let is_beyond = |stamp: Stamp| beyond.iter().any(|(begin, end)| *begin <= stamp && stamp < *end);
            let used: Vec<Stamp> = (0..reach).filter_map(|record| stamps.of(record)).collect();
            for stamp in [100..120, 500..520].into_iter().flatten().step_by(2).map(Stamp) {
                assert_eq!(is_beyond(stamp), !used.contains(&stamp), "{reach} {stamp:?}");
            }
        }
    }

    #[test]
    fn a_range_far_ahead_of_the_clock_has_to_wait() {
        let after = |given, clock, ahead| StampRange::after(Stamp(given), Stamp(clock), (0, 50), ahead);
        let ahead = after(MAX_AHEAD, 0, StampsAhead::Wait).unwrap_err();
        assert_eq!(ahead, TooFarAhead { wait: Duration::from_micros(100), clock_is_behind: false });
        assert!(after(MAX_AHEAD, 100, StampsAhead::Wait).is_ok());
        let year = 365 * 86_400_000_000;
        assert!(after(year, 0, StampsAhead::Wait).unwrap_err().clock_is_behind);
        assert_eq!(after(year, 0, StampsAhead::Accept).unwrap().base, Stamp(year), "stamps never go back");
    }

    #[test]
    fn stamps_allowed_by_the_clock_never_indicate_a_wrong_clock() {
        let (mut given, mut clock) = (Stamp(0), Stamp(0));
        for _ in 0..100 {
            match StampRange::after(given, clock, (0, MAX_RECORDS), StampsAhead::Wait) {
                Ok(range) => given = range.end(),
                Err(ahead) => {
                    assert!(!ahead.clock_is_behind);
                    clock.0 += 1 + i64::try_from(ahead.wait.as_micros()).unwrap();
                }
            }
        }
    }

    proptest! {
        #[test]
        fn ranges_never_overlap_and_begin_even(steps in prop::collection::vec((0i64..100, 1u64..1000), 1..50)) {
            let (mut given, mut clock) = (Stamp(0), Stamp(0));
            for (pause, records) in steps {
                clock = Stamp(clock.0 + pause);
                let range = StampRange::after(given, clock, (0, records), StampsAhead::Wait).unwrap();
                prop_assert!(range.base >= given && range.base >= clock && range.base.0 % 2 == 0);
                given = range.end();
            }
        }
    }
}
