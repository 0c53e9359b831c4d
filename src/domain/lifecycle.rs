//! How a delivery changes: it begins, advances, ends, and is resumed or superseded. The stores write these changes down,
//! and a dry run keeps them in memory.

use super::chunk::{End, RowChunk};
use super::delivery::{Delivery, DeliveryId, DeliveryState};
use super::ledger::{Amendment, Continuation, NewDelivery, Verdict};
use super::plan::Plan;
use super::receipt::Receipt;
use super::record::{OutOfOrder, Position};
use super::stamp::Stamps;

impl Delivery {
    /// Creates a delivery at the time `now`, without stamps.
    pub fn begin(entry: &NewDelivery, (id, generation): (DeliveryId, u32), plan: &Plan, now: i64) -> Self {
        let (state, detail) = entry.verdict.initial_state();
        let mut delivery = Self {
            id,
            file: entry.file.clone(),
            generation,
            state,
            detail,
            same_as: None,
            reach: Position::default(),
            hash: blake3::hash(b"").to_hex().to_string(),
            head: entry.head.hash.clone(),
            tail: None,
            strikes: entry.strikes,
            ahead: None,
            note: None,
            noted: entry.noted,
            stamps: Stamps::default(),
            fingerprint: entry.fingerprint.clone(),
            receipt: Receipt::default(),
            taken_up: now,
            changed: now,
        };
        if entry.verdict.loads() {
            delivery.receipt.bring_up(&plan.tables);
        }
        match &entry.verdict {
            // The records of a duplicate are counted in the other delivery.
            Verdict::Duplicate { of, reach, hash, .. } => {
                delivery.same_as = Some(*of);
                (delivery.reach, delivery.hash) = (Position { record: 0, ..*reach }, hash.clone());
            }
            Verdict::Assumed { reach, hash, tail, skipped, lenient, .. } => {
                (delivery.reach, delivery.hash, delivery.tail) = (*reach, hash.clone(), *tail);
                delivery.receipt.assume(*reach, *skipped, lenient);
            }
            Verdict::Load { .. } | Verdict::Incomplete { .. } | Verdict::Failed { .. } => {}
        }
        delivery
    }

    /// Continues a delivery whose file grew, or whose load was interrupted.
    pub fn resume(&mut self, how: &Continuation) {
        (self.state, self.detail) = (DeliveryState::Loading, how.detail.clone());
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
        self.receipt.lenient.add(&chunk.lenient);
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
        if *end == End::Loaded {
            self.receipt.parts.push(self.reach.offset);
        }
    }

    /// Ends a delivery of which the store accepts no row.
    pub fn fail(&mut self, why: &str) {
        (self.state, self.detail) = (DeliveryState::Failed, why.to_owned());
        (self.ahead, self.note) = (None, None);
    }

    /// Whether this delivery changes if `next` becomes a newer generation of its file.
    pub fn is_unsettled(&self, next: &NewDelivery) -> bool {
        self.state.is_unfinished() || self.state == DeliveryState::Waiting || self.is_read_again(next)
    }

    /// Whether the newer generation reads a failed delivery's file again, including its records in quarantine.
    fn is_read_again(&self, next: &NewDelivery) -> bool {
        let loads = matches!(next.verdict, Verdict::Load { .. });
        loads && self.state == DeliveryState::Failed && self.receipt.open() > 0
    }

    /// Settles a delivery because `next`, with this generation, follows it. If the delivery has failed, its open records
    /// are discarded; otherwise it is replaced.
    pub fn supersede(&mut self, next: &NewDelivery, generation: u32) {
        if self.is_read_again(next) {
            self.receipt.discard(self.receipt.open());
            self.detail += &format!(
                "\ngeneration {generation} reads the file again: the open records of this one were discarded"
            );
            return;
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
    }
}

impl Verdict {
    fn initial_state(&self) -> (DeliveryState, String) {
        match self {
            Self::Load { .. } => (DeliveryState::Loading, String::new()),
            Self::Incomplete { detail } => (DeliveryState::Incomplete, detail.clone()),
            Self::Failed { detail } => (DeliveryState::Failed, detail.clone()),
            Self::Duplicate { same_as, .. } => {
                (DeliveryState::Duplicate, format!("the same bytes as {same_as}: nothing was written"))
            }
            Self::Assumed { detail, .. } => (DeliveryState::Loaded, detail.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
