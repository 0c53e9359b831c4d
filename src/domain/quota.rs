//! How many quarantined records a delivery may have, and over which records that is judged first.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};

use super::chunk::{DeliveryContext, RowChunk};
use super::share::Share;
use super::units::scalar;

/// A share of fewer records than this says little about a file, so it is not judged.
const ENOUGH: u64 = 100;

/// How many quarantined records a delivery may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    Off,
    Count(u64),
    /// A share of the records read.
    Share(Share),
}

/// The records of a delivery so far. They include those that the ledger has.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub records: u64,
    pub skipped: u64,
    pub quarantined: u64,
}

impl Counts {
    /// Returns what the ledger had when the reading began.
    pub fn before(source: &DeliveryContext) -> Self {
        let DeliveryContext { records_before, skipped_before, quarantined_before, .. } = source;
        Self { records: *records_before, skipped: *skipped_before, quarantined: *quarantined_before }
    }

    #[must_use]
    pub fn with(self, chunk: &RowChunk) -> Self {
        Self {
            records: self.records + chunk.records(),
            skipped: self.skipped + chunk.skipped,
            quarantined: self.quarantined + chunk.quarantined.len() as u64,
        }
    }

    /// Whether records were refused and none was loaded.
    pub fn is_nothing_loaded(self) -> bool {
        self.quarantined > 0 && self.quarantined + self.skipped == self.records
    }

    /// Describes a delivery of which nothing could be loaded.
    pub fn nothing_loaded(self) -> String {
        let Self { records, skipped, .. } = self;
        let skipped = if skipped > 0 { format!(" ({skipped} were skipped)") } else { String::new() };
        format!("none of its {records} records could be loaded{skipped}")
    }
}

/// The first records of a delivery: those before number `records` that begin before byte `bytes`. The delivery is judged
/// over them before any of its rows is written. Both ends depend only on the bytes of the file, so every reader of the
/// file finds the same ones, wherever chunks begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstRecords {
    pub records: u64,
    /// Limits the memory that the rows of these records take while they wait.
    pub bytes: u64,
}

impl Default for FirstRecords {
    fn default() -> Self {
        Self { records: 10_000, bytes: 2 << 20 }
    }
}

impl FirstRecords {
    /// Whether the chunk begins among the first records.
    pub fn has_beginning_of(self, chunk: &RowChunk) -> bool {
        chunk.span.from.record < self.records && chunk.span.from.offset < self.bytes
    }

    /// Returns the number of first records if the chunk has a record after them.
    pub fn end_in(self, chunk: &RowChunk) -> Option<u64> {
        let by_number = (self.records < chunk.span.to.record).then_some(self.records);
        by_number.into_iter().chain(chunk.record_from(self.bytes)).min()
    }
}

impl Quota {
    /// Returns a share of so many records in a hundred, at most 100.
    pub const fn percent(percent: u8) -> Self {
        Self::Share(Share::percent(percent))
    }

    /// Whether `quarantined` of `records` records are too many.
    pub fn exceeded(self, quarantined: u64, records: u64) -> bool {
        match self {
            Self::Off => false,
            Self::Count(most) => quarantined > most,
            Self::Share(most) => records >= ENOUGH && most.is_exceeded(quarantined, records),
        }
    }

    /// Whether too many of up to `of` records may be quarantined, if `quarantined` of the first `records` are.
    pub fn may_be_exceeded(self, quarantined: u64, records: u64, of: u64) -> bool {
        let at_worst = quarantined + of.saturating_sub(records);
        match self {
            Self::Off => false,
            Self::Count(most) => at_worst > most,
            Self::Share(most) => most.is_exceeded(at_worst, of),
        }
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a count of records (100), a share of them (1%), or off";
        let text = scalar(from, EXPECTED)?;
        quota(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not {EXPECTED}")))
    }
}

fn quota(text: &str) -> Option<Quota> {
    if text == "off" {
        return Some(Quota::Off);
    }
    if let Some(percent) = text.strip_suffix('%') {
        return Share::read(percent.trim()).map(Quota::Share);
    }
    text.parse().ok().map(Quota::Count)
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Count(most) => write!(f, "{most}"),
            Self::Share(most) => write!(f, "{most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_judged_over_a_hundred_records_or_more() {
        let half = Quota::percent(50);
        assert!(!half.exceeded(99, 99));
        assert!(half.exceeded(51, 100));
        assert!(!half.exceeded(50, 100));
        assert!(Quota::Count(2).exceeded(3, 3));
        assert!(!Quota::Off.exceeded(1000, 1000));
    }

    #[test]
    fn a_share_is_compared_and_shown_exactly_as_it_is_written() {
        let read = |text: &str| serde_json::from_value::<Quota>(text.into());
        for percent in 0..=100 {
            let quota = read(&format!("{percent}%")).unwrap();
            assert!(!quota.exceeded(percent, 100) && quota.exceeded(percent + 1, 100), "{percent}");
            assert!(!quota.may_be_exceeded(percent, 100, 100) && quota.may_be_exceeded(percent, 99, 100));
            assert_eq!(quota.to_string(), format!("{percent} %"));
        }
        let seven = read("0.07%").unwrap();
        assert!(!seven.exceeded(7, 10_000) && seven.exceeded(8, 10_000));
        assert!(!seven.exceeded(7_000_000_000_000_000, 10_000_000_000_000_000_000));
        assert_eq!(
            (seven.to_string(), read("2.50 %").unwrap().to_string()),
            ("0.07 %".into(), "2.50 %".into())
        );
        assert!(["100.1%", "-1%", "x%", "%", "1.2.3%", "."].iter().all(|text| read(text).is_err()));
    }

    #[test]
    fn a_limit_that_cannot_be_exceeded_any_more_is_never_exceeded() {
        for quota in [Quota::Off, Quota::Count(3), Quota::percent(0), Quota::percent(30), Quota::percent(100)]
        {
            for (records, quarantined) in (0..12).flat_map(|records| (0..=records).map(move |q| (records, q)))
            {
                if !quota.may_be_exceeded(quarantined, records, 12) {
                    let worse = (records..=12).map(|end| (quarantined + end - records, end));
                    assert!(worse.into_iter().all(|(quarantined, end)| !over_at(quota, quarantined, end)));
                }
            }
        }
    }

    /// Like `exceeded`, for shares of any number of records.
    fn over_at(quota: Quota, quarantined: u64, records: u64) -> bool {
        match quota {
            Quota::Share(most) => most.is_exceeded(quarantined, records),
            quota => quota.exceeded(quarantined, records),
        }
    }
}
