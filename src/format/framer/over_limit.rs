//! Records that are longer than the limit. They are refused, and only their beginning is kept.

use crate::domain::{Quarantined, Reason};
use crate::format::csv::record_ends::Step;
use crate::format::framer::Framer;

/// The number of bytes kept of a record that is longer than the limit.
const KEPT_OF_TOO_LONG: usize = 4096;

impl Framer {
    /// Handles an open record that is longer than the limit. If a quote is open, that quote is most likely wrong, so
    /// only its line is refused and reading continues with the next line.
    pub(super) fn over_limit(&mut self) {
        if self.ends.is_comment() {
            return self.begin_dropping();
        }
        self.ends.restart();
        let within = (self.start + self.limit + 1).min(self.end);
        let line = self.ends.line_end(&self.bytes[..within], self.start);
        match line.filter(|_| !self.ends.has_escaped_lines()) {
            Some(at) => self.refuse_line(at - self.start),
            None => self.begin_dropping(),
        }
    }

    fn begin_dropping(&mut self) {
        self.hash_up_to(self.start);
        self.before_dropped = Some(self.hasher.finalize().to_hex().to_string());
        self.is_dropping = true;
        // The lines are counted again with the bytes.
        self.ends.inner_lines = 0;
        self.scanned = self.start;
    }

    fn refuse_line(&mut self, len: usize) {
        let (start, end) = (self.start, self.start + len);
        let detail = format!("a quote on this line is not closed within {} bytes", self.limit);
        let raw = self.bytes[start..end].to_vec();
        self.refuse(Reason::Quote, detail, raw, len as u64);
        self.next(end + 1, 1);
    }

    fn refuse(&mut self, reason: Reason, detail: String, raw: Vec<u8>, len: u64) {
        let (record, line, offset) = (self.open.record, self.open.line + 1, self.open.offset);
        self.refused.push(Quarantined { record, line, offset, len, column: None, reason, detail, raw });
    }

    fn refuse_too_long(&mut self, len: u64) {
        let kept = KEPT_OF_TOO_LONG.min(usize::try_from(len).unwrap_or(usize::MAX));
        let raw: Vec<u8> = self.bytes[self.start..].iter().take(kept).copied().collect();
        let detail =
            format!("{len} bytes, but a record may have {}; the first {kept} bytes are kept", self.limit);
        self.refuse(Reason::TooLong, detail, raw, len);
    }

    /// Returns where the record being dropped ends.
    pub(super) fn end_of_dropped(&mut self) -> Option<usize> {
        if !self.ends.has_escaped_lines() {
            return self.ends.line_end(&self.bytes[..self.end], self.scanned);
        }
        match self.ends.advance(&self.bytes[..self.end], self.start, &mut self.scanned, usize::MAX) {
            Step::End(at) => Some(at),
            Step::Within | Step::OutOfBytes => None,
        }
    }

    /// Keeps the beginning of the record being dropped, and discards the rest. Carriage returns at the end are scanned
    /// again, because a line end may begin with them.
    pub(super) fn drop_scanned(&mut self) -> bool {
        let returns = self.ends.returns_behind(&self.bytes[self.start..self.end]);
        let end = self.end - returns.min(self.end - self.scanned);
        let keep = (self.start + KEPT_OF_TOO_LONG).min(end);
        self.hash_up_to(end);
        self.dropped += (end - keep) as u64;
        self.bytes.drain(keep..end);
        self.end -= end - keep;
        self.hashed = keep;
        self.scanned = keep;
        if self.ends.has_escaped_lines() {
            self.ends.forget(keep - self.start);
        }
        false
    }

    pub(super) fn dropped_until(&mut self, at: usize) -> bool {
        if self.ends.is_comment() {
            self.comment_ends(at);
            return true;
        }
        let len = (at - self.start) as u64 + self.dropped;
        self.refuse_too_long(len);
        self.next(at + 1, 1);
        true
    }
}
