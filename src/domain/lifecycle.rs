//! How a delivery changes: it begins, advances, ends, and is resumed or superseded. The stores write these changes down,
//! and a dry run keeps them in memory.

use super::chunk::{End, RowChunk};
use super::delivery::{Delivery, DeliveryId, DeliveryState};
use super::ledger::{Amendment, Continuation, NewDelivery, Verdict};
use super::plan::Table;
use super::receipt::{Receipt, TableDelta};
use super::record::{OutOfOrder, Position};
use super::replacement::Comparison;
use super::stamp::Stamps;
use super::tolerated_counts::ToleratedCounts;
use super::undo::TableUndo;

impl Delivery {
    /// Creates a delivery at the time `now`, without stamps.
    pub fn begin(entry: &NewDelivery, (id, generation): (DeliveryId, u32), now: i64) -> Self {
        let (state, detail) = entry.verdict.initial_state();
        let mut delivery = Self {
            id,
            file: entry.file.clone(),
            generation,
            state,
            detail,
            same_as: None,
            replacement: entry.replacement.clone(),
            mirrored_by: None,
            reach: Position::default(),
            hash: blake3::hash(b"").to_hex().to_string(),
            head: entry.head.hash.clone(),
            tail: None,
            strikes: entry.strikes,
            ahead: None,
            note: None,
            noted: entry.noted,
            stamps: Stamps::default(),
            fingerprint: entry.plan.fingerprint.clone(),
            receipt: Receipt::default(),
            taken_up: now,
            changed: now,
        };
        if entry.verdict.loads() {
            delivery.receipt.bring_up(&entry.plan.tables);
        }
        match &entry.verdict {
            // The records of a duplicate are counted in the other delivery.
            Verdict::Duplicate { of, reach, hash, .. } => {
                delivery.same_as = Some(*of);
                (delivery.reach, delivery.hash) = (Position { record: 0, ..*reach }, hash.clone());
            }
            Verdict::Assumed { reach, hash, tail, skipped, tolerated, .. } => {
                (delivery.reach, delivery.hash, delivery.tail) = (*reach, hash.clone(), *tail);
                delivery.receipt.assume(*reach, *skipped, tolerated);
            }
            Verdict::Load { .. } | Verdict::Incomplete { .. } | Verdict::Failed { .. } => {}
        }
        delivery
    }

    /// Continues a delivery whose file grew, or whose load was interrupted.
    pub fn resume(&mut self, how: &Continuation) {
        (self.state, self.detail) = (DeliveryState::Loading, how.detail.clone());
        if let Some(replacement) = &mut self.replacement {
            // Counts of a part would be wrong.
            replacement.comparison = Comparison::Due;
        }
        (self.noted, self.head) = (how.noted, how.head.hash.clone());
    }

    /// Changes a delivery without rows.
    pub fn amend(&mut self, amendment: Amendment) {
        if let Some((state, detail)) = amendment.state {
            (self.state, self.detail) = (state, detail);
        }
        if self.state != DeliveryState::Loading {
            self.note = None;
        }
        self.noted = amendment.noted.unwrap_or(self.noted);
        self.same_as = amendment.same_as.or(self.same_as);
        if amendment.replacement.is_some() {
            self.replacement = amendment.replacement;
        }
        if let Some(head) = amendment.head {
            self.head = head;
        }
    }

    /// Advances past a chunk. `refused` is the number of its rows that the store rejected and that are in quarantine.
    /// The rows per table are counted with [`Receipt::add_rows`].
    ///
    /// # Errors
    /// Returns an error if the chunk leaves a gap or repeats records.
    pub fn advance(&mut self, chunk: &RowChunk, refused: u64) -> Result<(), OutOfOrder> {
        self.reach = self.reach.advance(chunk.span)?;
        if !chunk.hash.is_empty() {
            self.hash.clone_from(&chunk.hash);
        }
        self.receipt.records = self.reach.record;
        self.receipt.loaded += chunk.rows.len() as u64 - refused;
        self.receipt.skipped += chunk.skipped;
        self.receipt.tolerated.add(&chunk.tolerated);
        self.receipt.quarantined += chunk.quarantined.len() as u64 + refused;
        if chunk.span.to > chunk.span.from {
            self.tail = chunk.is_tail.then_some(chunk.span.from);
            self.note = None;
        }
        if let Some(end) = &chunk.end {
            self.end(end);
        }
        Ok(())
    }

    fn end(&mut self, end: &End) {
        self.state = end.state();
        if let Some(detail) = end.detail() {
            detail.clone_into(&mut self.detail);
        }
        if self.state != DeliveryState::Loading {
            // All bytes that were sent have been applied.
            self.ahead = None;
        }
        match end {
            End::Loaded | End::Refused { .. } => self.receipt.parts.push(self.reach.offset),
            // More bytes follow those that were refused before the file grew, so not all of its records are known.
            End::Failed { .. } if self.receipt.loaded == 0 => self.receipt.parts.forget(self.reach.offset),
            _ => {}
        }
    }

    /// Counts records in quarantine that a replay loaded or skipped. See [`Receipt::replay`].
    ///
    /// A delivery that failed because none of its records could be loaded is loaded once some are. Its file is then not read
    /// again, which would load the records twice. It is compared again, because it may have grown.
    pub fn replay(
        &mut self,
        settled: (u64, u64, &ToleratedCounts),
        tables: &[Table],
        deltas: impl Iterator<Item = TableDelta>,
    ) {
        let was_refused = self.state == DeliveryState::Failed && self.is_refused_as_a_whole();
        self.receipt.replay(settled, tables, deltas);
        let has_some = self.receipt.loaded > 0 || self.receipt.quarantined == 0;
        if was_refused && has_some {
            self.state = DeliveryState::Loaded;
            self.detail = "its records were replayed; at first, none of them could be loaded".to_owned();
            self.noted = self.noted.untrusted();
        }
    }

    /// Whether all records of its file are in quarantine or were skipped. A delivery that failed for another reason has only
    /// a part of its file.
    pub fn is_refused_as_a_whole(&self) -> bool {
        self.receipt.loaded == 0 && self.is_read_to_end()
    }

    /// Whether all bytes that its file had were read when it ended.
    pub fn is_read_to_end(&self) -> bool {
        self.receipt.parts.ends().last() == Some(&self.reach.offset)
    }

    /// Fails a delivery because the store rejects all its rows. `why` tells what to do.
    pub fn fail(&mut self, why: &str) {
        (self.state, self.detail) = (DeliveryState::Failed, why.to_owned());
        (self.ahead, self.note) = (None, None);
    }

    /// Notes that the rows of the delivery were taken out of the tables. Its receipt keeps its counts, and its open records
    /// are discarded. Returns how many these are. `by` is the generation that took its place, if one did.
    pub fn undo(&mut self, tables: &[TableUndo], by: Option<u32>) -> u64 {
        if self.state == DeliveryState::Incomplete {
            // What follows is not part of what was undone.
            self.receipt.parts.push(self.reach.offset);
        }
        let open = self.receipt.open();
        self.receipt.discard(open);
        (self.state, self.ahead, self.note) = (DeliveryState::Undone, None, None);
        self.mirrored_by = by;
        let list = |of: fn(&TableUndo) -> u64| {
            let each =
                tables.iter().filter(|one| of(one) > 0).map(|one| format!("{} {}", one.table, of(one)));
            each.collect::<Vec<_>>().join(", ")
        };
        let (removed, restored) = (list(|one| one.removed), list(|one| one.restored));
        let taker =
            by.map(|generation| format!("generation {generation} took its place")).unwrap_or_default();
        let said = [("", taker), ("rows removed: ", removed), ("rows restored: ", restored)];
        let said =
            said.into_iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| what.to_owned() + &list);
        self.detail = said.collect::<Vec<_>>().join("; ");
        open
    }

    /// Whether this delivery changes if `next` becomes a newer generation of its file.
    pub fn is_unsettled(&self, next: &NewDelivery) -> bool {
        self.state.is_unfinished() || self.state == DeliveryState::Waiting || self.is_read_again(next)
    }

    /// Whether the newer generation takes the place of this delivery's records in quarantine, because this one has failed,
    /// or has loaded nothing so far: the newer one reads the file again, or the file's records are in the tables already. A
    /// generation that fails at once does neither.
    fn is_read_again(&self, next: &NewDelivery) -> bool {
        let fails = matches!(next.verdict, Verdict::Failed { .. });
        let is_unfinished = self.state.is_unfinished() || self.state == DeliveryState::Waiting;
        let has_nothing = is_unfinished && self.receipt.loaded == 0;
        !fails && (self.state == DeliveryState::Failed || has_nothing) && self.receipt.open() > 0
    }

    /// Settles a delivery because `next`, with this generation, follows it. If the delivery has failed or has loaded nothing,
    /// its open records are discarded; if it has not failed, it is replaced. Returns how many records were discarded.
    pub fn supersede(&mut self, next: &NewDelivery, generation: u32) -> u64 {
        let open = if self.is_read_again(next) { self.receipt.open() } else { 0 };
        self.receipt.discard(open);
        if open > 0 && self.state == DeliveryState::Failed {
            let how = next.verdict.takes_over();
            self.detail +=
                &format!("\ngeneration {generation} {how}: the open records of this one were discarded");
            // The newest generation stays failed until the next one is in the ledger. If the process ends before that,
            // a replaced one would be resumed.
            if self.generation + 1 < generation {
                self.state = DeliveryState::Replaced;
            }
            return open;
        }
        self.state = DeliveryState::Replaced;
        let reach = self.reach.offset;
        self.detail = format!(
            "only {reach} bytes of it were loaded before its file changed; generation {generation} took its place"
        );
        if let Some(ahead) = self.ahead.as_ref().filter(|ahead| ahead.bytes.offset > reach) {
            self.detail += &format!("; rows up to byte {} may be in the tables", ahead.bytes.offset);
        }
        self.note = None;
        open
    }
}

impl Verdict {
    /// Describes why the open records of a failed generation are not needed.
    fn takes_over(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "has the bytes of a loaded file",
            Self::Assumed { .. } => "was entered as loaded",
            Self::Load { .. } | Self::Incomplete { .. } | Self::Failed { .. } => "reads the file again",
        }
    }

    fn initial_state(&self) -> (DeliveryState, String) {
        match self {
            Self::Load { .. } => (DeliveryState::Loading, String::new()),
            Self::Incomplete { detail } => (DeliveryState::Incomplete, detail.clone()),
            Self::Failed { detail } => (DeliveryState::Failed, detail.clone()),
            Self::Duplicate { same_as, is_undone: true, .. } => {
                let why = format!(
                    "the same bytes as {same_as}, which was undone: nothing was written; load it with --again"
                );
                (DeliveryState::Duplicate, why)
            }
            Self::Duplicate { same_as, .. } => {
                (DeliveryState::Duplicate, format!("the same bytes as {same_as}: nothing was written"))
            }
            Self::Assumed { detail, .. } => (DeliveryState::Loaded, detail.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
