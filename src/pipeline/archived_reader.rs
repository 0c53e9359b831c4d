//! Reads a kept file again from its first record, one chunk at a time.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::domain::{
    DeliveryContext, DeliveryId, End, FileKey, Position, RawChunk, Stamp, StampRange, Stamps,
};
use crate::format::decoded::Decoded;
use crate::format::framer::Framer;
use crate::format::framer::open_tail::Tail;
use crate::format::splitter::lacks_fields;
use crate::pipeline::prefix_check::VerifiedFile;
use crate::source::SourceFile;

/// The maximum number of records in a chunk.
const WINDOW: usize = 5000;

/// The number of bytes of records at which a chunk is full, unless the caller sets another: the default of
/// `write.window_bytes`.
const WINDOW_BYTES: usize = 1536 << 10;

/// A kept file that is being read.
pub struct ArchivedReader<F> {
    pub source: Arc<DeliveryContext>,
    stamps: Arc<Stamps>,
    framer: Framer,
    bytes: Decoded<F>,
    /// The offset at which reading ends, if it is not the end of the file.
    until: Option<u64>,
    window_bytes: usize,
    over: bool,
    /// The position of the open tail that was read, if there was one.
    pub tail: Option<Position>,
}

impl<F: SourceFile> ArchivedReader<F> {
    /// Does the same as [`Self::new`] for callers that write no records. Each record still gets a stamp of its own, by
    /// which its row is identified.
    pub fn unstamped(beginning: VerifiedFile<F>, file: (&FileKey, Option<i32>), until: Option<u64>) -> Self {
        let stamps = Stamps::new(vec![StampRange { first: 0, base: Stamp(0), records: u64::MAX / 4 }]);
        Self::new(beginning, DeliveryId(0), file, stamps, until)
    }

    /// Reads `file`, which has this date, from its beginning up to the byte `until`, the end of its last record. `None`
    /// reads up to the end of the file, or to its footer.
    pub fn new(
        beginning: VerifiedFile<F>,
        id: DeliveryId,
        (file, file_date): (&FileKey, Option<i32>),
        stamps: Stamps,
        until: Option<u64>,
    ) -> Self {
        let VerifiedFile { plan, header, mapping, mut framer, bytes } = beginning;
        if let Some(until) = until {
            framer = framer.without_footer();
            framer.truncate(until);
        }
        let named = (header, mapping);
        let source = DeliveryContext::new(plan, id, file.clone(), named, file_date, SystemTime::now());
        Self {
            source: Arc::new(source),
            stamps: Arc::new(stamps),
            framer,
            bytes,
            until,
            window_bytes: WINDOW_BYTES,
            over: false,
            tail: None,
        }
    }

    /// Sets the number of bytes of records at which a chunk is full (`write.window_bytes`).
    #[must_use]
    pub fn with_window_bytes(self, window_bytes: usize) -> Self {
        Self { window_bytes, ..self }
    }

    /// Returns the next chunk, or `None` after the last one. The last chunk has an end.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or decoded.
    pub async fn next(&mut self) -> io::Result<Option<RawChunk>> {
        if self.over {
            return Ok(None);
        }
        self.framer.scan(WINDOW, self.window_bytes);
        let until = self.until.unwrap_or(u64::MAX);
        while !self.is_full() && self.framer.reach() < until && self.read().await? > 0 {
            self.framer.truncate(until);
            self.framer.scan(WINDOW, self.window_bytes);
        }
        self.over = !self.is_full();
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

    fn is_full(&self) -> bool {
        self.framer.records() >= WINDOW || self.framer.len() >= self.window_bytes
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.bytes.read(self.framer.bytes()).await
    }

    /// Closes the open tail. A last record without a line end is a record if it has all its fields. Lines that are held
    /// back as the footer are passed over.
    async fn close(&mut self) {
        let is_complete = match self.framer.tail() {
            Tail::Record(tail) => {
                lacks_fields(self.framer.format(), tail, self.source.mapping.fields).is_none()
            }
            Tail::Nothing | Tail::Comment | Tail::EndOfFile | Tail::Footer { .. } => true,
            Tail::OpenQuote { .. }
            | Tail::OpenEscape { .. }
            | Tail::TooLong { .. }
            | Tail::InFooter { .. }
            | Tail::ShortFooter { .. } => false,
        };
        if is_complete {
            self.tail = self.framer.close_tail();
        }
    }
}
