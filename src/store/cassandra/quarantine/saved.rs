//! Converts rows of the quarantine. A row counts only as far as the row of its delivery vouches for it.

use crate::domain::quarantine::{Fate, QuarantineEntry};
use crate::domain::{Quarantined, Reason};
use crate::store::cassandra::lease::trust::Trust;
use crate::store::cassandra::ledger::delivery_row::count;

/// The columns of an entry except its raw bytes. Only `record` is never null.
pub const COLUMNS: &str = "record, line, bytes, length, column_name, reason, detail, state, WRITETIME(line), \
                           WRITETIME(state)";

/// A row of the quarantine, with the raw bytes if they were requested.
pub type Stored = (
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<Vec<u8>>,
);

/// A row of the quarantine without the raw bytes.
pub type WithoutRaw = (
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
);

/// Returns the entry if it counts, which means that a writer that held the lease saved it. The write time of `line`
/// proves this, because no later write changes `line`. A state written by a writer without the lease is ignored. The
/// reason is kept, whichever writer wrote it.
pub fn entry(trust: &Trust, stored: Stored) -> Option<QuarantineEntry> {
    let (record, line, offset, len, column, reason, detail, state, saved, settled, raw) = stored;
    let counts = |time: &Option<i64>| time.is_some_and(|time| trust.covers(time));
    let line = line.filter(|_| counts(&saved))?;
    // A new entry is saved without a state.
    let fate = state.filter(|_| counts(&settled)).and_then(|name| Fate::from_name(&name));
    let record = Quarantined {
        record: count(record),
        line: count(line),
        offset: count(offset.unwrap_or_default()),
        len: count(len.unwrap_or_default()),
        column,
        reason: reason.and_then(|name| Reason::from_name(&name)).unwrap_or(Reason::Refused),
        detail: detail.unwrap_or_default(),
        raw: raw.unwrap_or_default(),
    };
    Some(QuarantineEntry { fate: fate.unwrap_or(Fate::Open), record })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cassandra::lease::epoch::EPOCH;

    /// An entry with the write times of its line and its state.
    fn stored(saved: Option<i64>, settled: Option<i64>) -> Stored {
        let line = saved.map(|_| 3);
        let state = settled.map(|_| Fate::Replayed.name().to_owned());
        (2, line, None, None, None, None, None, state, saved, settled, None)
    }

    #[test]
    fn an_entry_and_its_state_count_as_far_as_the_delivery_vouches_for_them() {
        let mut trust = Trust::first();
        trust.rewritten((1 << EPOCH) + 5);
        let (covered, late) = (Some(1 << EPOCH), Some((1 << EPOCH) + 6));
        let fate = |saved, settled| entry(&trust, stored(saved, settled)).map(|entry| entry.fate);
        assert_eq!(fate(covered, None), Some(Fate::Open));
        assert_eq!(fate(covered, covered), Some(Fate::Replayed));
        assert_eq!(fate(covered, late), Some(Fate::Open), "a late state");
        assert_eq!(fate(late, None), None, "a late entry");
        assert_eq!(fate(None, covered), None, "a state without an entry");
    }

    #[test]
    fn before_format_4_every_entry_counts() {
        let trust = Trust::new(None, None);
        assert_eq!(entry(&trust, stored(Some(1), Some(2))).map(|entry| entry.fate), Some(Fate::Replayed));
    }
}
