//! Judges a delivery by the number of its records that were refused.

use crate::domain::{Counts, End, FirstRecords, Quota, RowChunk};

/// A delivery is judged again at each multiple of this many records.
const STEP: u64 = 1000;

/// What is known about a delivery with its next chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The limit may still be exceeded, so more records are needed.
    Open,
    Within,
    Exceeded(Excess),
    /// The complete file has no record that could be loaded.
    NothingLoaded,
    /// Reading was interrupted before the delivery could be judged. The file is read again.
    BrokenOff,
}

/// Too many of the records `of` were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    pub quarantined: u64,
    pub of: u64,
    /// Whether the delivery had been judged before, so that its rows may be written.
    pub is_later: bool,
}

impl Counts {
    /// Judges a delivery that was not judged yet. These are the counts before its next chunk.
    pub fn judge_first(self, chunk: &RowChunk, quota: Quota, first: FirstRecords) -> Verdict {
        let all = self.with(chunk);
        match (first.end_in(chunk), &chunk.end) {
            (Some(of), _) => match self.excess(chunk, quota, of) {
                Some(excess) => Verdict::Exceeded(excess),
                None => self.judge_later(chunk, quota, of),
            },
            (None, None) if quota.may_be_exceeded(all.quarantined, all.records, first.records) => {
                Verdict::Open
            }
            (None, None) => Verdict::Within,
            (None, Some(End::BrokenOff { .. })) => Verdict::BrokenOff,
            (None, Some(end)) => all.judge_end(end, quota, false),
        }
    }

    /// Judges a delivery again: at each step from the record `least` on, and at the end of its file.
    pub fn judge_later(self, chunk: &RowChunk, quota: Quota, least: u64) -> Verdict {
        let mut excesses = steps(chunk, least).filter_map(|of| self.excess(chunk, quota, of));
        match (excesses.next(), &chunk.end) {
            (Some(excess), _) => Verdict::Exceeded(Excess { is_later: true, ..excess }),
            (None, None | Some(End::BrokenOff { .. })) => Verdict::Within,
            (None, Some(end)) => self.with(chunk).judge_end(end, quota, true),
        }
    }

    /// Judges a delivery by all records of its file, as far as it is there.
    fn judge_end(self, end: &End, quota: Quota, is_later: bool) -> Verdict {
        let Self { records, quarantined, .. } = self;
        if *end == End::Loaded && self.is_nothing_loaded() {
            return Verdict::NothingLoaded;
        }
        if quota.exceeded(quarantined, records) {
            return Verdict::Exceeded(Excess { quarantined, of: records, is_later });
        }
        Verdict::Within
    }

    /// Returns the excess over the records before number `of`, which is a record of this chunk.
    fn excess(self, chunk: &RowChunk, quota: Quota, of: u64) -> Option<Excess> {
        let quarantined = self.quarantined + chunk.quarantined_before(of);
        quota.exceeded(quarantined, of).then_some(Excess { quarantined, of, is_later: false })
    }
}

/// Returns the multiples of [`STEP`] from `least` on that are numbers of records in this chunk.
fn steps(chunk: &RowChunk, least: u64) -> impl Iterator<Item = u64> {
    let (from, to) = (chunk.span.from.record.max(least).div_ceil(STEP), chunk.span.to.record.div_ceil(STEP));
    (from..to).map(|step| step * STEP)
}
