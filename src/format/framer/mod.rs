//! Cuts bytes into complete records. The format decides what ends a record. The splitter finds the fields of a record.

mod scan;
mod over_limit;
pub mod cut;
pub mod open_tail;
pub mod lone_record;
#[cfg(test)]
mod tests;

use crate::domain::{Format, Frame, Position, Quarantined, Tolerated, ToleratedCounts};
use crate::format::csv::record_ends::RecordEnds;
use crate::format::footer::Footer;

/// Collects bytes and cuts them into runs of complete records.
pub struct Framer {
    format: Format,
    limit: usize,
    /// The number of bytes of a line end that may precede its last byte.
    returns: usize,
    bytes: Vec<u8>,
    /// The index in `bytes` at which the next run begins. The bytes before it were cut off.
    cut_to: usize,
    /// The last lines of the file, if they are no records.
    footer: Option<Footer>,
    /// The number of bytes in `bytes` that may be scanned. The others are held back for the footer, or were just read.
    end: usize,
    /// The number of bytes in `bytes` that were scanned.
    scanned: usize,
    /// The index in `bytes` at which the open record begins.
    start: usize,
    /// The scan of the open record, up to `scanned`.
    ends: RecordEnds,
    /// Whether the open record is over the limit. Everything up to the next line end is then dropped.
    is_dropping: bool,
    /// The position of the open record.
    open: Position,
    /// The position at which the next run begins.
    from: Position,
    frames: Vec<Frame>,
    /// The approximate number of records in the next run.
    expected: usize,
    refused: Vec<Quarantined>,
    tolerated: ToleratedCounts,
    hasher: blake3::Hasher,
    /// The number of bytes in `bytes` that were hashed.
    hashed: usize,
    /// The number of bytes of the record being dropped that are no longer in `bytes`.
    dropped: u64,
    /// The hash of all bytes before the record being dropped. The hasher has already seen bytes of that record.
    before_dropped: Option<String>,
}

impl Framer {
    /// Creates a framer for the bytes of a file in this format from `at` on. `hasher` has seen all bytes before `at`.
    /// The first span begins at `from`. The bytes between `from` and `at`, such as the header, contain no record.
    pub fn new(format: &Format, limit: usize, from: Position, at: Position, hasher: blake3::Hasher) -> Self {
        let Format::Csv(dialect) = format;
        let ends = RecordEnds::new(dialect);
        Self {
            format: format.clone(),
            limit,
            returns: dialect.lines.returns().max(1),
            bytes: Vec::new(),
            cut_to: 0,
            footer: Footer::new(dialect, limit, at.offset),
            end: 0,
            scanned: 0,
            start: 0,
            ends,
            is_dropping: false,
            open: at,
            from,
            frames: Vec::new(),
            expected: 0,
            refused: Vec::new(),
            tolerated: ToleratedCounts::default(),
            hasher,
            hashed: 0,
            dropped: 0,
            before_dropped: None,
        }
    }

    /// Takes the last lines as records, even if the format has a footer. Nothing was scanned yet.
    pub fn without_footer(self) -> Self {
        Self { footer: None, ..self }
    }

    /// Begins after an open tail that ends with this many carriage returns of a line end.
    pub fn begin_in_line_end(&mut self, returns: usize) {
        self.ends.begin_in_line_end(returns);
    }

    /// Counts comments before the first record that are not in the bytes of the framer.
    pub fn count_comments(&mut self, comments: u64) {
        self.tolerated.count(Tolerated::Comments, comments);
    }

    /// Makes room for a run of this many bytes. `bytes_of` and `frames_of` provide buffers of at least the given
    /// capacity.
    pub fn make_room(
        &mut self,
        bytes: usize,
        bytes_of: impl FnOnce(usize) -> Vec<u8>,
        frames_of: impl FnOnce(usize) -> Vec<Frame>,
    ) {
        if self.bytes.capacity() < bytes {
            let mut room = bytes_of(bytes);
            room.append(&mut self.bytes);
            self.bytes = room;
        }
        if self.frames.capacity() < self.expected {
            let mut room = frames_of(self.expected);
            room.append(&mut self.frames);
            self.frames = room;
        }
    }

    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Returns the buffer to which bytes are appended before [`Self::scan`].
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether nothing can be cut off, because no byte precedes the open record.
    pub fn is_empty(&self) -> bool {
        self.open == self.from
    }

    /// Returns the number of decoded bytes of the file up to the end of the buffer.
    pub fn reach(&self) -> u64 {
        self.open.offset + (self.bytes.len() - self.start) as u64 + self.dropped
    }

    /// Drops the bytes after this offset, unless they were already scanned.
    pub fn truncate(&mut self, offset: u64) {
        let beyond = usize::try_from(self.reach().saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = self.bytes.len().saturating_sub(beyond).max(self.scanned);
        self.bytes.truncate(len);
    }

    /// Returns the number of the next record.
    pub fn next_record(&self) -> u64 {
        self.open.record
    }
}
