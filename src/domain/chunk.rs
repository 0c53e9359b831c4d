//! Chunks: runs of whole records, the unit that flows through the queues.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::delivery::{DeliveryId, DeliveryState};
use super::feed::FileKey;
use super::header::{Header, Mapping};
use super::plan::Plan;
use super::record::{Position, Quarantined, Span};
use super::stamp::{Stamp, Stamps};
use super::tolerated_counts::ToleratedCounts;
use super::value::{Cell, Value};

/// The data that all chunks of a delivery share.
#[derive(Debug)]
pub struct DeliveryContext {
    /// The plan that the delivery is loaded by: that of its feed when it was taken up or is read again.
    pub plan: Arc<Plan>,
    pub id: DeliveryId,
    pub file: FileKey,
    pub header: Header,
    pub mapping: Mapping,
    /// The date in the file's name, as days since 1970.
    pub file_date: Option<i32>,
    /// The later of the time the file last changed and the time this process started.
    pub arrived: std::time::SystemTime,
    /// The number of records that the ledger had when the reading began.
    pub records_before: u64,
    /// The number of quarantined records among `records_before`.
    pub quarantined_before: u64,
    /// The number of skipped records among `records_before`.
    pub skipped_before: u64,
    /// Bytes read from the file, as stored on disk, that are not yet included in the progress of the run.
    pub read: AtomicU64,
    /// Set when the rest of this delivery is not needed.
    pub halt: Halt,
}

impl DeliveryContext {
    /// Creates the context for records that are read from the beginning of a delivery, or read again.
    pub fn new(
        plan: Arc<Plan>,
        id: DeliveryId,
        file: FileKey,
        (header, mapping): (Header, Mapping),
        file_date: Option<i32>,
        arrived: std::time::SystemTime,
    ) -> Self {
        Self {
            plan,
            id,
            file,
            header,
            mapping,
            file_date,
            arrived,
            records_before: 0,
            quarantined_before: 0,
            skipped_before: 0,
            read: AtomicU64::default(),
            halt: Halt::default(),
        }
    }

    /// Returns the number of loaded records that the ledger had when the reading began.
    pub fn loaded_before(&self) -> u64 {
        self.records_before.saturating_sub(self.quarantined_before + self.skipped_before)
    }
}

/// A flag by which a later stage stops the reading of a delivery.
#[derive(Debug, Default)]
pub struct Halt(AtomicBool);

impl Halt {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A record in the bytes of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The number of the record in its delivery, from 0.
    pub record: u64,
    /// The line on which the record begins, from 1.
    pub line: u64,
    /// The number of decoded bytes of the file before the record.
    pub offset: u64,
    /// The position of the record's first byte in the bytes of the chunk.
    pub start: usize,
    /// The length of the record in bytes, without its line end.
    pub len: usize,
}

/// How the reading of a delivery ended, for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The file was read to its last byte.
    Loaded,
    /// The bytes after the last complete record wait for more. With `held`, they are a record with all its fields, and
    /// wait only because the writer may not have finished.
    Incomplete { detail: String, held: bool },
    /// The bytes changed while they were read. The delivery ends before the first byte that may be new content.
    Replaced { detail: String },
    /// The system failed to read the file. The delivery stays `loading` and is tried again.
    BrokenOff { detail: String },
    /// The file was read to its last byte, and none of its records could be loaded.
    Refused { detail: String },
    /// The delivery failed, for the reason in `detail`.
    Failed { detail: String },
}

impl End {
    /// Returns the state of the delivery after this end.
    pub fn state(&self) -> DeliveryState {
        match self {
            Self::Loaded => DeliveryState::Loaded,
            Self::Incomplete { .. } => DeliveryState::Incomplete,
            Self::Replaced { .. } => DeliveryState::Replaced,
            Self::BrokenOff { .. } => DeliveryState::Loading,
            Self::Refused { .. } | Self::Failed { .. } => DeliveryState::Failed,
        }
    }

    /// Returns what to do next, or what was observed. If it is `None`, the delivery keeps its previous detail.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Loaded => None,
            Self::Incomplete { detail, .. }
            | Self::Replaced { detail }
            | Self::BrokenOff { detail }
            | Self::Refused { detail }
            | Self::Failed { detail } => Some(detail),
        }
    }
}

/// Whole records as bytes. `read` sends them to `transform`.
#[derive(Debug)]
pub struct RawChunk {
    pub source: Arc<DeliveryContext>,
    pub stamps: Arc<Stamps>,
    pub span: Span,
    pub bytes: Vec<u8>,
    pub frames: Vec<Frame>,
    /// Records that could not be framed. The numbers of the frames leave out the numbers of these records.
    pub refused: Vec<Quarantined>,
    /// The comments and the footer in the span.
    pub tolerated: ToleratedCounts,
    /// The hash of the decoded bytes up to the end of the span, in hexadecimal. Empty if the span is empty: the
    /// delivery then keeps its hash.
    pub hash: String,
    /// Whether this is the open tail: the bytes after the last line end of the file.
    pub is_tail: bool,
    pub end: Option<End>,
}

impl RawChunk {
    /// Creates a chunk without records.
    pub fn empty(source: Arc<DeliveryContext>, stamps: Arc<Stamps>, span: Span) -> Self {
        Self {
            source,
            stamps,
            span,
            bytes: Vec::new(),
            frames: Vec::new(),
            refused: Vec::new(),
            tolerated: ToleratedCounts::default(),
            hash: String::new(),
            is_tail: false,
            end: None,
        }
    }

    /// Returns the bytes of a record, without its line end.
    pub fn record(&self, frame: &Frame) -> &[u8] {
        self.bytes.get(frame.start..frame.start + frame.len).unwrap_or_default()
    }

    /// Removes records by number, and returns how many were removed. The other records keep their numbers.
    pub fn leave_out(&mut self, records: &HashSet<u64>) -> u64 {
        let before = self.frames.len() + self.refused.len();
        self.frames.retain(|frame| !records.contains(&frame.record));
        self.refused.retain(|entry| !records.contains(&entry.record));
        (before - self.frames.len() - self.refused.len()) as u64
    }
}

/// Typed records. `transform` sends them to `write`.
#[derive(Debug)]
pub struct RowChunk {
    pub source: Arc<DeliveryContext>,
    pub stamps: Arc<Stamps>,
    pub span: Span,
    pub rows: Rows,
    pub quarantined: Vec<Quarantined>,
    pub skipped: u64,
    /// How often lenient settings acted. Records in `quarantined` do not count: a replay counts them.
    pub tolerated: ToleratedCounts,
    pub hash: String,
    /// The bytes of the records as read, for records that the store rejects.
    pub bytes: Vec<u8>,
    pub frames: Vec<Frame>,
    /// Whether this is the open tail, as in [`RawChunk`]. Such a chunk contains nothing else.
    pub is_tail: bool,
    pub end: Option<End>,
}

impl RowChunk {
    /// Returns the number of records in this chunk.
    pub fn records(&self) -> u64 {
        self.span.to.record - self.span.from.record
    }

    /// Returns the number of decoded bytes in this chunk.
    pub fn len(&self) -> u64 {
        self.span.to.offset - self.span.from.offset
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Creates a chunk without records, with which a delivery ends at this position.
    pub fn end_at(position: Position, source: Arc<DeliveryContext>, stamps: Arc<Stamps>, end: End) -> Self {
        Self {
            source,
            stamps,
            span: Span { from: position, to: position },
            rows: Rows::default(),
            quarantined: Vec::new(),
            skipped: 0,
            tolerated: ToleratedCounts::default(),
            hash: String::new(),
            bytes: Vec::new(),
            frames: Vec::new(),
            is_tail: false,
            end: Some(end),
        }
    }

    /// Returns the number of quarantined records before the record with this number.
    pub fn quarantined_before(&self, record: u64) -> u64 {
        self.quarantined.partition_point(|entry| entry.record < record) as u64
    }

    /// Returns the number of the first record that begins at this byte of the file or after it.
    pub fn record_from(&self, offset: u64) -> Option<u64> {
        let framed = self.frames.get(self.frames.partition_point(|frame| frame.offset < offset));
        let refused = self.quarantined.get(self.quarantined.partition_point(|entry| entry.offset < offset));
        framed.map(|frame| frame.record).into_iter().chain(refused.map(|entry| entry.record)).min()
    }
}

/// The values of a run of records, with a cell for each column of the plan. The rows of tables are projections of them.
#[derive(Debug, Default)]
pub struct Rows {
    width: usize,
    cells: Vec<Cell>,
    stamps: Vec<Stamp>,
    arena: Vec<u8>,
    /// The end of the last record's bytes in the arena.
    end: usize,
    longest: usize,
}

impl Rows {
    pub fn new(width: usize, records: usize) -> Self {
        Self {
            width,
            cells: Vec::with_capacity(width * records),
            stamps: Vec::with_capacity(records),
            ..Self::default()
        }
    }

    /// Empties the buffers for reuse, with room for `records` records of `width` columns.
    pub fn emptied(mut self, width: usize, records: usize) -> Self {
        self.width = width;
        self.cells.clear();
        self.cells.reserve_exact(width * records);
        self.stamps.clear();
        self.arena.clear();
        (self.end, self.longest) = (0, 0);
        self
    }

    /// Returns the number of bytes allocated for cells and their values.
    pub fn capacity(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>() + self.arena.capacity()
    }

    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Adds a record. `fill` appends its cells, and their bytes at the end of the arena. If `fill` fails, nothing is
    /// added.
    ///
    /// # Errors
    /// Returns the error of `fill`.
    pub fn add<E>(
        &mut self,
        stamp: Stamp,
        fill: impl FnOnce(&mut Vec<Cell>, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (cells, bytes) = (self.cells.len(), self.arena.len());
        let filled = fill(&mut self.cells, &mut self.arena);
        if filled.is_ok() {
            debug_assert_eq!(self.cells.len(), cells + self.width, "a record has a cell for every column");
            self.added(stamp);
        } else {
            self.cells.truncate(cells);
            self.arena.truncate(bytes);
        }
        filled
    }

    /// Adds a record whose cells were parsed into this arena. Drains `cells`.
    pub fn push(&mut self, stamp: Stamp, cells: &mut Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.width, "a record has a cell for every column");
        self.cells.append(cells);
        self.added(stamp);
    }

    fn added(&mut self, stamp: Stamp) {
        self.stamps.push(stamp);
        self.longest = self.longest.max(self.arena.len() - self.end);
        self.end = self.arena.len();
    }

    /// Returns the largest number of arena bytes that one record has.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Returns the arena that the cells of the next record are parsed into.
    pub fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    pub fn arena_bytes(&self) -> &[u8] {
        &self.arena
    }

    /// Returns the stamp of the first row, if there is a row.
    pub fn first_stamp(&self) -> Option<Stamp> {
        self.stamps.first().copied()
    }

    pub fn stamp(&self, row: usize) -> Stamp {
        self.stamps.get(row).copied().unwrap_or(Stamp(0))
    }

    pub fn cell(&self, row: usize, column: usize) -> Cell {
        self.cells.get(row * self.width + column).copied().unwrap_or(Cell::Empty)
    }

    pub fn value(&self, row: usize, column: usize) -> Value<'_> {
        self.cell(row, column).value(&self.arena)
    }
}
