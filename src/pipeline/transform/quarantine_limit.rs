//! Applies `limits.max_quarantined` to each delivery, and fails a delivery of which no record could be loaded.
//!
//! A delivery is judged first over its [`FirstRecords`], or at the end of its file. Until then its chunks are held, so
//! that a file in a wrong form leaves no rows in the tables. Chunks are held only as long as the limit can still be
//! exceeded: with 50 %, until half of the first records are good. See ADR 35.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{Counts, DeliveryId, End, FirstRecords, Quota, Refusals, RowChunk};
use crate::pipeline::transform::verdict::{Excess, Verdict};

/// Judges the deliveries under way.
pub struct QuarantineLimit {
    quota: Quota,
    first: FirstRecords,
    accounts: HashMap<DeliveryId, Account>,
}

/// Where the chunks of a delivery go.
#[derive(Debug, Default)]
pub struct Judged {
    /// The chunks to write, in order.
    pub passed: Vec<RowChunk>,
    /// The chunks whose records must not be written.
    pub dropped: Vec<RowChunk>,
}

/// What is known about a delivery.
struct Account {
    counts: Counts,
    /// The number of records that the ledger had as loaded when the reading began.
    loaded_before: u64,
    /// The chunks that wait until the delivery is judged. `None` once it was.
    held: Option<Vec<RowChunk>>,
    refusals: Refusals,
}

impl QuarantineLimit {
    pub fn new(quota: Quota, first: FirstRecords) -> Self {
        Self { quota, first, accounts: HashMap::new() }
    }

    /// Takes the next chunk of a delivery. Returns the chunks that can be written now, and those that never will be.
    pub fn take(&mut self, chunk: RowChunk) -> Judged {
        let (id, quota, first) = (chunk.source.id, self.quota, self.first);
        let account = self.accounts.entry(id).or_insert_with(|| Account::before(&chunk, quota, first));
        let verdict = match account.held {
            Some(_) => account.counts.judge_first(&chunk, quota, first),
            None => account.counts.judge_later(&chunk, quota, 1),
        };
        account.add(&chunk, verdict);
        let judged = account.apply(verdict, quota, chunk);
        if judged.passed.last().is_some_and(|last| last.end.is_some()) {
            self.accounts.remove(&id);
        }
        judged
    }

    /// Forgets a delivery that has failed.
    pub fn forget(&mut self, id: DeliveryId) {
        self.accounts.remove(&id);
    }

    /// Returns the chunks that are held when no more chunks come. They are read again by the next run.
    pub fn into_held(self) -> impl Iterator<Item = RowChunk> {
        self.accounts.into_values().filter_map(|account| account.held).flatten()
    }
}

impl Account {
    /// Creates the account of a delivery before its next chunk.
    fn before(next: &RowChunk, quota: Quota, first: FirstRecords) -> Self {
        let is_held = quota != Quota::Off && first.has_beginning_of(next);
        Self {
            counts: Counts::before(&next.source),
            loaded_before: next.source.loaded_before(),
            held: is_held.then(Vec::new),
            refusals: Refusals::default(),
        }
    }

    /// Counts the records of a chunk. Only records that were judged count as refusals.
    fn add(&mut self, chunk: &RowChunk, verdict: Verdict) {
        self.counts = self.counts.with(chunk);
        let judged = if let Verdict::Exceeded(Excess { of, .. }) = verdict { of } else { u64::MAX };
        let refused = chunk.quarantined.iter().take_while(|entry| entry.record < judged);
        refused.for_each(|entry| self.refusals.add(&chunk.source.file, entry));
    }

    fn apply(&mut self, verdict: Verdict, quota: Quota, mut chunk: RowChunk) -> Judged {
        if let Some(detail) = self.failure(verdict, quota) {
            chunk.source.halt.set();
            chunk.end = Some(failed(chunk.end, verdict, detail));
        }
        let mut chunks = self.held.take().unwrap_or_default();
        chunks.push(chunk);
        match verdict {
            Verdict::Open => {
                self.held = Some(chunks);
                Judged::default()
            }
            Verdict::BrokenOff | Verdict::Exceeded(Excess { is_later: false, .. }) => Judged::drop(chunks),
            Verdict::Within | Verdict::NothingLoaded | Verdict::Exceeded(_) => {
                Judged { passed: chunks, dropped: Vec::new() }
            }
        }
    }

    /// Describes why a delivery fails.
    fn failure(&self, verdict: Verdict, quota: Quota) -> Option<String> {
        let (what, next) = match verdict {
            Verdict::Open | Verdict::Within | Verdict::BrokenOff => return None,
            Verdict::NothingLoaded => (self.counts.nothing_loaded(), ""),
            Verdict::Exceeded(excess) => (self.exceeded(excess, quota), ", or raise the limit"),
        };
        let refusals = self.described();
        Some(format!("{what}: {refusals}\n  next: correct the file, or the settings for it{next}"))
    }

    /// Describes the refused records of this reading. An earlier one may have refused all of them.
    fn described(&self) -> String {
        match self.refusals.is_empty() {
            true => "see `needledrop quarantine list`".to_owned(),
            false => self.refusals.describe(),
        }
    }

    fn exceeded(&self, Excess { quarantined, of, is_later }: Excess, quota: Quota) -> String {
        let rows = match (is_later, self.loaded_before) {
            (true, _) => "and the others that were read are in the tables (see `needledrop quarantine list`)"
                .to_owned(),
            (false, 0) => "so none of them was loaded".to_owned(),
            (false, 1) => "so no more of them were loaded; the 1 loaded before is in the tables".to_owned(),
            (false, before) => {
                format!("so no more of them were loaded; the {before} loaded before are in the tables")
            }
        };
        format!(
            "{quarantined} of {of} records were refused, more than limits.max_quarantined ({quota}), {rows}"
        )
    }
}

impl Judged {
    /// Drops chunks. In their place, passes one without records: the delivery ends before the first dropped chunk, in
    /// the way in which the last one would have ended it.
    fn drop(mut chunks: Vec<RowChunk>) -> Self {
        let end = chunks.last_mut().and_then(|last| last.end.take());
        let passed = chunks.first().zip(end).map(|(first, end)| {
            let (source, stamps) = (Arc::clone(&first.source), Arc::clone(&first.stamps));
            RowChunk::end_at(first.span.from, source, stamps, end)
        });
        Self { passed: passed.into_iter().collect(), dropped: chunks }
    }
}

/// Returns the end of a delivery that fails. A delivery whose bytes changed stays replaced, so that they are read again.
fn failed(end: Option<End>, verdict: Verdict, detail: String) -> End {
    match (end, verdict) {
        (Some(End::Replaced { detail: why }), _) => End::Replaced { detail: format!("{why}; {detail}") },
        (_, Verdict::NothingLoaded) => End::Refused { detail },
        _ => End::Failed { detail },
    }
}
