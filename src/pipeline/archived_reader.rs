//! Reads a kept file again from its first record, one chunk at a time.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::domain::path::date;
use crate::domain::{
    DeliveryContext, DeliveryId, End, FileKey, Position, RawChunk, Stamp, StampRange, Stamps,
};
use crate::format::decoded::Decoded;
use crate::format::framer::{Framer, Tail};
use crate::format::splitter::lacks_fields;
use crate::pipeline::prefix_check::VerifiedFile;
use crate::source::SourceFile;

/// The maximum number of records in a chunk.
const WINDOW: usize = 5000;

/// A kept file that is being read.
pub struct ArchivedReader<F> {
    pub source: Arc<DeliveryContext>,
    stamps: Arc<Stamps>,
    framer: Framer,
    bytes: Decoded<F>,
    /// The offset at which reading ends.
    until: u64,
    over: bool,
    /// The position of the open tail that was read, if there was one.
    pub tail: Option<Position>,
}

impl<F: SourceFile> ArchivedReader<F> {
    /// Reads `file` from its beginning up to the byte `until`, for callers that write no records. Each record still
    /// gets a stamp of its own, by which its row is identified.
    pub fn unstamped(beginning: VerifiedFile<F>, file: &FileKey, until: u64) -> Self {
        let stamps = Stamps::new(vec![StampRange { first: 0, base: Stamp(0), records: u64::MAX / 4 }]);
        Self::new(beginning, DeliveryId(0), file, stamps, until)
    }

    /// Reads `file` from its beginning up to the byte `until`.
    pub fn new(
        beginning: VerifiedFile<F>,
        id: DeliveryId,
        file: &FileKey,
        stamps: Stamps,
        until: u64,
    ) -> Self {
        let VerifiedFile { header, mapping, mut framer, bytes } = beginning;
        framer.truncate(until);
        let (named, file_date) = ((header, mapping), date(file.path()));
        let source = DeliveryContext::new(id, file.clone(), named, file_date, SystemTime::now());
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

    /// Returns the next chunk, or `None` after the last one. The last chunk has an end.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or decoded.
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
        let (source, stamps) = (Arc::clone(&self.source), Arc::clone(&self.stamps));
        Ok(Some(self.framer.cut().into_chunk(source, stamps, false, end)))
    }

    /// Returns the number of bytes after the last complete record. They belong to no record.
    pub fn rest(&self) -> u64 {
        self.framer.cut_at().1
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.bytes.read(self.framer.bytes()).await
    }

    /// Takes a last record without a line end as complete if it has all its fields.
    async fn close(&mut self) {
        let is_complete = match self.framer.tail() {
            Tail::Record(tail) => {
                lacks_fields(self.framer.format(), tail, self.source.mapping.fields).is_none()
            }
            Tail::Nothing | Tail::Comment => true,
            Tail::OpenQuote { .. } | Tail::OpenEscape { .. } | Tail::TooLong { .. } => false,
        };
        if is_complete {
            self.tail = self.framer.close_tail();
        }
    }
}
