//! Runs of complete records, and the hashes of the bytes before them.

use std::sync::Arc;

use crate::domain::{DeliveryContext, End, Frame, Quarantined, RawChunk, Span, Stamps, ToleratedCounts};
use crate::format::framer::Framer;

/// Bytes that were cut off are removed once they are this part of those that stay: then few bytes are moved, and few are
/// kept too long.
const ROOM: usize = 4;

/// A run of complete records.
pub struct Cut {
    pub span: Span,
    pub bytes: Vec<u8>,
    pub frames: Vec<Frame>,
    pub refused: Vec<Quarantined>,
    /// The comments and the footer in the span.
    pub tolerated: ToleratedCounts,
    /// The hash of all bytes up to the end of the span.
    pub hash: String,
}

impl Cut {
    /// Makes a chunk of these records.
    pub fn into_chunk(
        self,
        source: Arc<DeliveryContext>,
        stamps: Arc<Stamps>,
        is_tail: bool,
        end: Option<End>,
    ) -> RawChunk {
        let Self { span, bytes, frames, refused, tolerated, hash } = self;
        RawChunk { source, stamps, span, bytes, frames, refused, tolerated, hash, is_tail, end }
    }
}

impl Framer {
    /// Cuts off everything before the open record. The bytes after it stay.
    pub fn cut(&mut self) -> Cut {
        let hash = self.hash_before_open();
        let mut frames = std::mem::take(&mut self.frames);
        if self.cut_to > 0 {
            frames.iter_mut().for_each(|frame| frame.start -= self.cut_to);
        }
        let bytes = self.take_run();
        let span = Span { from: self.from, to: self.open };
        self.from = self.open;
        let refused = std::mem::take(&mut self.refused);
        let tolerated = std::mem::take(&mut self.tolerated);
        self.expected = frames.len() + frames.len() / 8;
        Cut { span, bytes, frames, refused, tolerated, hash }
    }

    /// Takes the bytes of the run. They are copied if there are fewer of them than of those that stay, such as a footer.
    fn take_run(&mut self) -> Vec<u8> {
        let (begin, end) = (self.cut_to, self.start);
        let stays = self.bytes.len() - end;
        if stays <= end - begin {
            let rest = self.bytes[end..].to_vec();
            let mut run = std::mem::replace(&mut self.bytes, rest);
            run.truncate(end);
            run.drain(..begin);
            self.moved(end);
            return run;
        }
        let run = self.bytes[begin..end].to_vec();
        self.cut_to = end;
        if end > stays / ROOM {
            self.bytes.drain(..end);
            self.moved(end);
        }
        run
    }

    /// Adjusts the places after the first bytes were removed, up to the open record.
    fn moved(&mut self, by: usize) {
        self.hashed -= by;
        self.scanned -= by;
        self.end -= by;
        (self.start, self.cut_to) = (0, 0);
    }

    /// Returns the hash of all bytes before the open record.
    fn hash_before_open(&mut self) -> String {
        if let Some(hash) = &self.before_dropped {
            return hash.clone();
        }
        self.hash_up_to(self.start);
        self.hasher.finalize().to_hex().to_string()
    }

    /// Returns the hash of the decoded bytes of the file up to the end of the buffer.
    pub fn hash(&self) -> blake3::Hash {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.bytes[self.hashed..]);
        hasher.finalize()
    }

    /// Returns an empty span at the end of the last run. Used if the buffered bytes must not be passed on.
    pub fn abandon(&self) -> Span {
        Span { from: self.from, to: self.from }
    }

    /// Returns the offset of the last cut, and the number of bytes read after it.
    pub fn cut_at(&self) -> (u64, u64) {
        (self.from.offset, self.reach() - self.from.offset)
    }

    /// Returns the hasher, if it has seen exactly the bytes before the last cut.
    pub fn into_hasher(self) -> Option<blake3::Hasher> {
        (self.hashed == self.cut_to && self.before_dropped.is_none()).then_some(self.hasher)
    }

    pub(super) fn hash_up_to(&mut self, end: usize) {
        self.hasher.update(&self.bytes[self.hashed..end]);
        self.hashed = end;
    }
}
