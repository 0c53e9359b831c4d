//! Files that are kept, read once more from their first record, a chunk at a time.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::discover::begun::Beginning;
use super::discover::inbox;
use super::read::frame::{Framer, Tail};
use super::read::source::ByteSource;
use super::split::field_count;
use crate::domain::{DeliveryId, End, Mark, RawChunk, Source, Stamps};

/// Records a chunk has at most.
const WINDOW: usize = 5000;

/// A kept file that is being read.
pub struct Kept {
    pub source: Arc<Source>,
    stamps: Arc<Stamps>,
    framer: Framer,
    bytes: ByteSource,
    /// Offset of the last byte that counts.
    until: u64,
    over: bool,
    /// Where the open tail begins that it ended with.
    pub tail: Option<Mark>,
}

impl Kept {
    /// Reads `path` from its beginning up to the byte `until`.
    pub fn new(beginning: Beginning, id: DeliveryId, path: &str, stamps: Stamps, until: u64) -> Self {
        let Beginning { header, mapping, mut framer, bytes } = beginning;
        framer.truncate(until);
        let source = Source {
            id,
            path: path.to_owned(),
            header,
            mapping,
            file_date: inbox::date(path),
            arrived: SystemTime::now(),
            records_before: 0,
            quarantined_before: 0,
            skipped_before: 0,
            read: Default::default(),
            halt: CancellationToken::new(),
        };
        Self {
            source: Arc::new(source),
            stamps: Arc::new(stamps),
            framer,
            bytes,
            until,
            over: false,
            tail: None,
        }
    }

    /// The next chunk; the last one has an end. Then there are no more.
    ///
    /// # Errors
    /// What the system or the decoder says.
    pub async fn next(&mut self) -> io::Result<Option<RawChunk>> {
        if self.over {
            return Ok(None);
        }
        self.framer.scan(WINDOW, usize::MAX);
        while self.framer.records() < WINDOW && self.framer.reach() < self.until && self.read().await? > 0 {
            self.framer.truncate(self.until);
            self.framer.scan(WINDOW, usize::MAX);
        }
        self.over = self.framer.records() < WINDOW;
        if self.over {
            self.close().await;
        }
        let end = self.over.then_some(End::Loaded);
        let cut = self.framer.cut();
        Ok(Some(RawChunk {
            source: Arc::clone(&self.source),
            stamps: Arc::clone(&self.stamps),
            span: cut.span,
            bytes: cut.bytes,
            frames: cut.frames,
            refused: cut.refused,
            hash: cut.hash,
            is_tail: false,
            end,
        }))
    }

    /// Bytes behind the last record, which are none: the file does not end with a whole one.
    pub fn rest(&self) -> u64 {
        self.framer.cut_at().1
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.bytes.read(self.framer.bytes()).await
    }

    /// A last record without a line end counts when it has all its fields.
    async fn close(&mut self) {
        let whole = match self.framer.tail() {
            Tail::Record(tail) => field_count(tail).is_none_or(|fields| fields >= self.source.mapping.fields),
            Tail::Nothing => true,
            Tail::OpenQuote { .. } | Tail::TooLong { .. } => false,
        };
        if whole {
            self.tail = self.framer.close_tail();
        }
    }
}
