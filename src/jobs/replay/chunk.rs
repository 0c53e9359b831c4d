//! Turns quarantine entries into a chunk, from the bytes that were kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use crate::domain::quarantine::{QuarantineEntry, Replay};
use crate::domain::{
    Delivery, DeliveryContext, Format, Frame, Header, Position, Quarantined, RawChunk, Reason, Span, Stamps,
    Tolerated, path,
};
use crate::format::framer::lone_record::is_one_record;
use crate::jobs::locate::KeptFiles;
use crate::jobs::replay::full_record::FullRecords;
use crate::jobs::replay::settled::Settled;
use crate::jobs::replay::untried::UntriedError;
use crate::pipeline::row_builder::RowBuilder;
use crate::source::Source;

/// The number of bytes at which a chunk is full.
const FULL: usize = 1024 * 1024;

/// Makes chunks from the records of one delivery.
pub struct ChunkMaker<I: Source> {
    source: Arc<DeliveryContext>,
    stamps: Arc<Stamps>,
    format: Format,
    max_record_bytes: usize,
    full_records: FullRecords<I>,
    transform: RowBuilder,
}

impl<I: Source> ChunkMaker<I> {
    /// Creates a maker for a delivery with this header.
    ///
    /// # Errors
    /// Returns an error if the current plan cannot use the header, or needs a value that the path does not have.
    pub fn new(find: &KeptFiles<I>, delivery: &Delivery, header: Header) -> Result<Self, UntriedError> {
        let plan = &find.plan;
        let mapping = header.map(plan)?;
        let file_date = path::check(plan, delivery.file.path())?;
        let source = DeliveryContext::new(
            Arc::clone(plan),
            delivery.id,
            delivery.file.clone(),
            (header, mapping),
            file_date,
            SystemTime::now(),
        );
        Ok(Self {
            source: Arc::new(source),
            stamps: Arc::new(delivery.stamps.clone()),
            format: plan.format.clone(),
            max_record_bytes: find.max_record_bytes,
            full_records: FullRecords::new(find.clone(), delivery.clone()),
            transform: RowBuilder::new(Arc::clone(plan), Arc::default()),
        })
    }

    /// Tries the next entries of a page again, until the chunk is full. The chunk is limited by its bytes because a
    /// page holds only the beginning of long records. Entries that cannot be tried stay open.
    pub async fn retried(
        &mut self,
        page: &mut impl Iterator<Item = QuarantineEntry>,
        settled: &mut Settled,
    ) -> Replay {
        let (mut raw, mut comments) = (self.empty(), Vec::new());
        while raw.bytes.len() < FULL
            && let Some(QuarantineEntry { record, .. }) = page.next()
        {
            let reason = record.reason.name();
            match self.bytes(&record).await {
                // Under the current format it is not a record, so it must not be loaded.
                Ok(Some(bytes)) if self.format.is_comment(&bytes) => comments.push(record.record),
                Ok(Some(bytes)) => self.append(&mut raw, record, &bytes),
                Ok(None) => settled.still_open(reason),
                Err(why) => {
                    settled.still_open(reason);
                    settled.cannot(&why);
                }
            }
        }
        raw.tolerated.count(Tolerated::Comments, comments.len() as u64);
        let tried: Vec<u64> = raw.frames.iter().map(|frame| frame.record).chain(comments).collect();
        let chunk = Arc::new(self.transform.chunk(raw).await);
        let mut retried = Replay { chunk, skipped: Vec::new() };
        let refused = retried.chunk.quarantined.iter().map(|entry| entry.record);
        let others: HashSet<u64> = retried.loaded().chain(refused).collect();
        retried.skipped = tried.into_iter().filter(|record| !others.contains(record)).collect();
        retried
    }

    /// Returns all bytes of a record, or `None` if the record is longer than a record may be.
    async fn bytes(&mut self, record: &Quarantined) -> Result<Option<Vec<u8>>, UntriedError> {
        if record.len > self.max_record_bytes as u64 {
            return Ok(None);
        }
        if record.raw.len() as u64 == record.len {
            return Ok(Some(record.raw.clone()));
        }
        self.full_records.record(record).await.map(Some)
    }

    fn append(&self, raw: &mut RawChunk, record: Quarantined, bytes: &[u8]) {
        if is_one_record(&self.format, self.max_record_bytes, bytes) {
            let (start, len) = (raw.bytes.len(), bytes.len());
            let Quarantined { record, line, offset, .. } = record;
            raw.bytes.extend_from_slice(bytes);
            raw.frames.push(Frame { record, line, offset, start, len });
            return;
        }
        let detail = "a quote in it is not closed, so it may continue on the following lines; correct the file, \
                      then load it again";
        let (reason, detail) = match record.reason {
            Reason::Quote => (Reason::Quote, record.detail),
            _ => (Reason::Quote, detail.to_owned()),
        };
        raw.refused.push(Quarantined { column: None, reason, detail, raw: Vec::new(), ..record });
    }

    fn empty(&self) -> RawChunk {
        let span = Span { from: Position::default(), to: Position::default() };
        RawChunk::empty(Arc::clone(&self.source), Arc::clone(&self.stamps), span)
    }
}

impl Replay {
    /// Whether there is nothing to settle and nothing to report.
    pub fn is_empty(&self) -> bool {
        self.chunk.rows.is_empty() && self.chunk.quarantined.is_empty() && self.skipped.is_empty()
    }
}
