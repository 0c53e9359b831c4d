//! Chunks: what flows through the queues.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::delivery::{DeliveryId, DeliveryState};
use super::header::{Header, Mapping};
use super::record::{Quarantined, Span};
use super::stamp::{Stamp, Stamps};
use super::value::{Cell, Value};

/// What every chunk of a delivery shares.
#[derive(Debug)]
pub struct DeliveryContext {
    pub id: DeliveryId,
    pub path: String,
    pub header: Header,
    pub mapping: Mapping,
    /// Days since 1970 of the date in the name.
    pub file_date: Option<i32>,
    /// When the file arrived, or this process started, whichever is later.
    pub arrived: std::time::SystemTime,
    /// Records before what is read now, and the quarantined and skipped ones among them.
    pub records_before: u64,
    pub quarantined_before: u64,
    pub skipped_before: u64,
    /// Bytes of the file as it lies there that were read and that no progress has shown yet.
    pub read: AtomicU64,
    /// Set when nothing more of this delivery is wanted.
    pub halt: Halt,
}

impl DeliveryContext {
    /// For records of a delivery that are read from its beginning, or again.
    pub fn new(
        id: DeliveryId,
        path: &str,
        (header, mapping): (Header, Mapping),
        file_date: Option<i32>,
        arrived: std::time::SystemTime,
    ) -> Self {
        Self {
            id,
            path: path.to_owned(),
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

    /// Loaded records before what is read now.
    pub fn loaded_before(&self) -> u64 {
        self.records_before.saturating_sub(self.quarantined_before + self.skipped_before)
    }
}

/// Tells those who work on a delivery that nothing more of it is wanted.
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

/// One framed record in the bytes of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Number in its delivery, from 0.
    pub record: u64,
    /// Line it begins on, from 1.
    pub line: u64,
    /// Decoded bytes of the file before it.
    pub offset: u64,
    /// Where it lies in the bytes of the chunk, line end not included.
    pub start: usize,
    pub len: usize,
}

/// How a delivery ended for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// To its last byte.
    Loaded,
    /// What follows the last whole record waits for more. With `held`, it is a record with all its fields, and
    /// waits only because its writer may not have finished.
    Incomplete { detail: String, held: bool },
    /// Its bytes changed while they were read: it ends before what may be of others.
    Replaced { detail: String },
    /// The system gives no more of it now: it stays under way, and is tried again.
    BrokenOff { detail: String },
    /// Given up.
    Failed { detail: String },
}

impl End {
    /// The state of the delivery behind it.
    pub fn state(&self) -> DeliveryState {
        match self {
            Self::Loaded => DeliveryState::Loaded,
            Self::Incomplete { .. } => DeliveryState::Incomplete,
            Self::Replaced { .. } => DeliveryState::Replaced,
            Self::BrokenOff { .. } => DeliveryState::Loading,
            Self::Failed { .. } => DeliveryState::Failed,
        }
    }

    /// What to do next, or what was seen; the delivery keeps what it has where there is nothing to say.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Loaded => None,
            Self::Incomplete { detail, .. }
            | Self::Replaced { detail }
            | Self::BrokenOff { detail }
            | Self::Failed { detail } => Some(detail),
        }
    }
}

/// Whole records as bytes: from `read` to `transform`.
#[derive(Debug)]
pub struct RawChunk {
    pub source: Arc<DeliveryContext>,
    pub stamps: Arc<Stamps>,
    pub span: Span,
    pub bytes: Vec<u8>,
    pub frames: Vec<Frame>,
    /// Records that could not be framed; their numbers lie between those of the frames.
    pub refused: Vec<Quarantined>,
    /// Hash of the decoded bytes up to the end of the span, hexadecimal; empty where the span is and the
    /// delivery keeps the hash it has.
    pub hash: String,
    /// It is the open tail: what follows the last line end of its file.
    pub is_tail: bool,
    pub end: Option<End>,
}

impl RawChunk {
    /// A chunk without a record.
    pub fn empty(source: Arc<DeliveryContext>, stamps: Arc<Stamps>, span: Span) -> Self {
        Self {
            source,
            stamps,
            span,
            bytes: Vec::new(),
            frames: Vec::new(),
            refused: Vec::new(),
            hash: String::new(),
            is_tail: false,
            end: None,
        }
    }

    /// The bytes of a record, line end not included.
    pub fn record(&self, frame: &Frame) -> &[u8] {
        self.bytes.get(frame.start..frame.start + frame.len).unwrap_or_default()
    }

    /// Takes records out, by number, and says how many there were. Their numbers stay theirs.
    pub fn leave_out(&mut self, records: &HashSet<u64>) -> u64 {
        let before = self.frames.len() + self.refused.len();
        self.frames.retain(|frame| !records.contains(&frame.record));
        self.refused.retain(|entry| !records.contains(&entry.record));
        (before - self.frames.len() - self.refused.len()) as u64
    }
}

/// Typed records: from `transform` to `write`.
#[derive(Debug)]
pub struct RowChunk {
    pub source: Arc<DeliveryContext>,
    pub stamps: Arc<Stamps>,
    pub span: Span,
    pub rows: Rows,
    pub quarantined: Vec<Quarantined>,
    pub skipped: u64,
    pub hash: String,
    /// The records as they came, for those that the store refuses.
    pub bytes: Vec<u8>,
    pub frames: Vec<Frame>,
    /// As in [`RawChunk`]. Nothing else is in the chunk.
    pub is_tail: bool,
    pub end: Option<End>,
}

/// What became of a record that is not quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    Loaded,
    Skipped,
}

impl RowChunk {
    /// Records in this chunk.
    pub fn records(&self) -> u64 {
        self.span.to.record - self.span.from.record
    }

    /// Decoded bytes in this chunk.
    pub fn len(&self) -> u64 {
        self.span.to.offset - self.span.from.offset
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The values of a run of records, column by column of the plan; rows of tables are projections of it.
#[derive(Debug, Default)]
pub struct Rows {
    width: usize,
    cells: Vec<Cell>,
    stamps: Vec<Stamp>,
    arena: Vec<u8>,
    /// Where the bytes of the last record end.
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

    /// The same buffers with nothing in them.
    pub fn emptied(mut self, width: usize, records: usize) -> Self {
        self.width = width;
        self.cells.clear();
        self.cells.reserve_exact(width * records);
        self.stamps.clear();
        self.arena.clear();
        (self.end, self.longest) = (0, 0);
        self
    }

    /// Bytes that it has room for.
    pub fn capacity(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>() + self.arena.capacity()
    }

    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Adds the record whose cells `fill` appends, with their bytes at the end of the arena. When it
    /// fails nothing was added.
    ///
    /// # Errors
    /// That of `fill`.
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

    /// Adds a record whose cells were parsed into this arena. They are drained from `cells`.
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

    /// Bytes in the arena that no record has more of.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The arena that the cells of the next record are parsed into.
    pub fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    pub fn arena_bytes(&self) -> &[u8] {
        &self.arena
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
