//! Decides which entries of a delivery count. A writer that lost the lease may have requests under way that arrive
//! late. Every entry of the ledger carries the epoch and sequence of its writer as its write time. It counts only as
//! far as the delivery's own row vouches for it.

use crate::store::cassandra::lease::epoch::{epoch_of, first_of};

/// The number of earlier writers that are distinguished. Everything before the oldest of them counts, because no
/// request is that late.
const KEPT: usize = 32;

/// For each writer, the write time up to which its entries count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The last write time of each earlier epoch that wrote the row, ascending. `None` before format 4, when everything
    /// counts.
    earlier: Option<Vec<i64>>,
    /// The write time of the row, or 0 if the row was not written yet.
    written: i64,
}

impl Trust {
    /// Returns the trust of a stored row. Rows from before format 4 have neither value.
    pub fn new(earlier: Option<Vec<i64>>, written: Option<i64>) -> Self {
        Self { earlier, written: written.unwrap_or(0) }
    }

    /// Returns the trust of a row that is about to be written for the first time.
    pub fn first() -> Self {
        Self { earlier: Some(Vec::new()), written: 0 }
    }

    pub fn earlier(&self) -> Option<&[i64]> {
        self.earlier.as_deref()
    }

    pub fn written(&self) -> i64 {
        self.written
    }

    /// Notes that the row is written again at the time `now`. Entries that its last writer saved before the row still
    /// count.
    pub fn rewritten(&mut self, now: i64) {
        match &mut self.earlier {
            None => self.earlier = Some(vec![first_of(now) - 1]),
            Some(earlier) if self.written != 0 && epoch_of(self.written) != epoch_of(now) => {
                earlier.push(self.written);
                let surplus = earlier.len().saturating_sub(KEPT);
                earlier.drain(..surplus);
            }
            Some(_) => {}
        }
        self.written = now;
    }

    /// Whether an entry that was written at this time counts.
    pub fn covers(&self, time: i64) -> bool {
        let Some(earlier) = &self.earlier else { return true };
        let before_all = earlier.first().is_some_and(|first| time <= *first);
        let mut last = earlier.iter().chain([&self.written]);
        before_all || last.any(|last| epoch_of(*last) == epoch_of(time) && time <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cassandra::lease::epoch::EPOCH;

    fn at(epoch: i64, sequence: i64) -> i64 {
        (epoch << EPOCH) + sequence
    }

    #[test]
    fn entries_count_up_to_the_last_row_that_their_writer_wrote() {
        let mut trust = Trust::first();
        trust.rewritten(at(3, 10));
        assert!(trust.covers(at(3, 10)) && !trust.covers(at(3, 11)), "its own epoch");
        assert!(!trust.covers(at(4, 1)), "an epoch that never wrote the row");
        trust.rewritten(at(5, 4));
        let stored = Trust::new(trust.earlier.clone(), Some(at(5, 4)));
        assert_eq!(stored, trust);
        assert!(trust.covers(at(3, 10)) && !trust.covers(at(3, 11)), "what the first writer saved in time");
        assert!(!trust.covers(at(4, 1)) && trust.covers(at(5, 3)) && !trust.covers(at(5, 5)));
    }

    #[test]
    fn a_row_of_an_older_format_vouches_for_everything_before_it() {
        let mut trust = Trust::new(None, None);
        assert!(trust.covers(at(9, 9)));
        trust.rewritten(at(8, 1));
        assert!(trust.covers(at(2, 99)) && trust.covers(at(7, 7)));
        assert!(trust.covers(at(8, 1)) && !trust.covers(at(8, 2)));
    }

    #[test]
    fn the_list_of_writers_is_bounded() {
        let mut trust = Trust::first();
        (1..=1000).for_each(|epoch| trust.rewritten(at(epoch, 5)));
        assert_eq!(trust.earlier().map(<[i64]>::len), Some(KEPT));
        assert!(trust.covers(at(1, 5)) && trust.covers(at(999, 5)) && !trust.covers(at(999, 6)));
    }
}
