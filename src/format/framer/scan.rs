//! Finds the ends of records in the bytes.

use crate::domain::{Frame, Tolerated};
use crate::format::csv::record_ends::Step;
use crate::format::framer::Framer;

impl Framer {
    /// Finds records in the appended bytes, until there are `records` records or `bytes` bytes of records.
    pub fn scan(&mut self, records: usize, bytes: usize) {
        self.end = self.end_of_scan();
        while self.records() < records && self.len() < bytes && self.step() {}
    }

    /// Returns how many bytes may be scanned. No byte may be a part of the footer, however the file goes on.
    fn end_of_scan(&mut self) -> usize {
        let (len, reach) = (self.bytes.len(), self.reach());
        let Some(footer) = &mut self.footer else { return len };
        footer.push(&self.bytes[len - footer.unseen(reach)..]);
        len - footer.held()
    }

    /// Scans the open record, or a part of it that is over the limit. Returns false if there are no more bytes.
    fn step(&mut self) -> bool {
        if self.is_dropping {
            return match self.end_of_dropped() {
                Some(at) => self.dropped_until(at),
                None => self.drop_scanned(),
            };
        }
        let most = self.limit + self.returns;
        match self.ends.advance(&self.bytes[..self.end], self.start, &mut self.scanned, most) {
            Step::End(at) => self.record_ends(at),
            Step::Within => {}
            Step::OutOfBytes => return self.out_of_bytes(),
        }
        if self.is_over_limit() {
            self.over_limit();
        }
        true
    }

    fn out_of_bytes(&mut self) -> bool {
        self.scanned = self.end;
        if !self.is_over_limit() {
            return false;
        }
        self.over_limit();
        true
    }

    /// Whether the open record is surely over the limit. More bytes are allowed, because they may be carriage returns of
    /// the line end.
    fn is_over_limit(&self) -> bool {
        !self.is_dropping && self.scanned - self.start > self.limit + self.returns
    }

    fn record_ends(&mut self, at: usize) {
        if self.ends.is_comment() {
            return self.comment_ends(at);
        }
        let len = self.ends.without_line_end(&self.bytes[self.start..at]).len();
        if len > self.limit {
            return self.over_limit();
        }
        if len > 0 {
            self.frames.push(Frame {
                record: self.open.record,
                line: self.open.line + 1,
                offset: self.open.offset,
                start: self.start,
                len,
            });
        }
        self.next(at + 1, u64::from(len > 0));
    }

    pub(super) fn comment_ends(&mut self, at: usize) {
        self.tolerated.count(Tolerated::Comments, 1);
        self.next(at + 1, 0);
    }

    /// Opens the next record at `at`, after a line end.
    pub(super) fn next(&mut self, at: usize, records: u64) {
        self.open.offset += (at - self.start) as u64 + self.dropped;
        self.open.record += records;
        self.open.line += 1 + self.ends.inner_lines;
        self.start = at;
        self.scanned = at;
        self.ends.restart();
        self.is_dropping = false;
        self.dropped = 0;
        self.before_dropped = None;
    }

    /// Returns the number of records that can be cut off.
    pub fn records(&self) -> usize {
        self.frames.len() + self.refused.len()
    }

    /// Returns the number of bytes of the records that can be cut off.
    pub fn len(&self) -> usize {
        self.start - self.cut_to
    }
}
