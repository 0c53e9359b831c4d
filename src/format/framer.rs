//! Cuts bytes into complete records. The format decides which line feeds end a record. One carriage return before such a
//! line feed belongs to the line end. The splitter finds the fields of a record.

use std::sync::Arc;

use crate::domain::{
    DeliveryContext, End, Format, Frame, Lenience, LenienceCounts, Position, Quarantined, RawChunk, Reason,
    Span, Stamps,
};
use crate::format::csv::record_ends::{RecordEnds, Step};

/// The number of bytes kept of a record that is longer than the limit.
const KEPT_OF_TOO_LONG: usize = 4096;

/// Collects bytes and cuts them into runs of complete records.
pub struct Framer {
    format: Format,
    limit: usize,
    bytes: Vec<u8>,
    /// The number of bytes in `bytes` that were scanned.
    scanned: usize,
    /// The index in `bytes` at which the open record begins.
    start: usize,
    /// The scan of the open record, up to `scanned`.
    ends: RecordEnds,
    /// Whether the open record is over the limit. Everything up to the next line feed is then dropped.
    is_dropping: bool,
    /// The position of the open record.
    open: Position,
    /// The position at which the next run begins.
    from: Position,
    frames: Vec<Frame>,
    /// The approximate number of records in the next run.
    expected: usize,
    refused: Vec<Quarantined>,
    lenient: LenienceCounts,
    hasher: blake3::Hasher,
    /// The number of bytes in `bytes` that were hashed.
    hashed: usize,
    /// The number of bytes of the record being dropped that are no longer in `bytes`.
    dropped: u64,
    /// The hash of all bytes before the record being dropped. The hasher has already seen bytes of that record.
    before_dropped: Option<String>,
}

/// A run of complete records.
pub struct Cut {
    pub span: Span,
    pub bytes: Vec<u8>,
    pub frames: Vec<Frame>,
    pub refused: Vec<Quarantined>,
    /// The comments in the span.
    pub lenient: LenienceCounts,
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
        let Self { span, bytes, frames, refused, lenient, hash } = self;
        RawChunk { source, stamps, span, bytes, frames, refused, lenient, hash, is_tail, end }
    }
}

/// What follows the last line end.
#[derive(Debug, PartialEq, Eq)]
pub enum Tail<'a> {
    Nothing,
    Comment,
    Record(&'a [u8]),
    /// A quote in the record on this line is still open.
    OpenQuote {
        line: u64,
        len: u64,
    },
    /// The record on this line ends with an escape character, which belongs to the next byte.
    OpenEscape {
        line: u64,
    },
    /// The record on this line is over the limit and has no end.
    TooLong {
        line: u64,
        len: u64,
    },
}

impl Framer {
    /// Creates a framer for the bytes of a file in this format from `at` on. `hasher` has seen all bytes before `at`. The first span begins at
    /// `from`. The bytes between `from` and `at`, such as the header, contain no record.
    pub fn new(format: &Format, limit: usize, from: Position, at: Position, hasher: blake3::Hasher) -> Self {
        let Format::Csv(dialect) = format;
        let ends = RecordEnds::new(dialect);
        Self {
            format: format.clone(),
            limit,
            bytes: Vec::new(),
            scanned: 0,
            start: 0,
            ends,
            is_dropping: false,
            open: at,
            from,
            frames: Vec::new(),
            expected: 0,
            refused: Vec::new(),
            lenient: LenienceCounts::default(),
            hasher,
            hashed: 0,
            dropped: 0,
            before_dropped: None,
        }
    }

    /// Counts comments before the first record that are not in the bytes of the framer.
    pub fn count_comments(&mut self, comments: u64) {
        self.lenient.count(Lenience::Comments, comments);
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

    /// Returns the number of records that can be cut off.
    pub fn records(&self) -> usize {
        self.frames.len() + self.refused.len()
    }

    /// Returns the number of bytes of the records that can be cut off.
    pub fn len(&self) -> usize {
        self.start
    }

    /// Whether nothing can be cut off, because no byte precedes the open record.
    pub fn is_empty(&self) -> bool {
        self.open == self.from
    }

    /// Returns the number of decoded bytes of the file up to the end of the buffer.
    pub fn reach(&self) -> u64 {
        self.open.offset + (self.bytes.len() - self.start) as u64 + self.dropped
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

    /// Finds records in the appended bytes, until there are `records` records or `bytes` bytes of records.
    pub fn scan(&mut self, records: usize, bytes: usize) {
        while self.records() < records && self.len() < bytes && self.step() {}
    }

    /// Scans a part of the open record. Returns false if there are no more bytes.
    fn step(&mut self) -> bool {
        if self.is_dropping {
            return match self.end_of_dropped() {
                Some(at) => self.dropped_until(at),
                None => self.drop_scanned(),
            };
        }
        match self.ends.step(&self.bytes, self.start, &mut self.scanned) {
            Step::End(at) => self.record_ends(at),
            Step::Within => {}
            Step::OutOfBytes => return self.out_of_bytes(),
        }
        if self.is_over_limit() {
            self.over_limit();
        }
        true
    }

    /// Returns where the record that is dropped ends.
    fn end_of_dropped(&mut self) -> Option<usize> {
        if !self.ends.has_escaped_lines() {
            return self.ends.line_end(&self.bytes, self.scanned);
        }
        loop {
            match self.ends.step(&self.bytes, self.start, &mut self.scanned) {
                Step::End(at) => return Some(at),
                Step::Within => {}
                Step::OutOfBytes => return None,
            }
        }
    }

    fn out_of_bytes(&mut self) -> bool {
        self.scanned = self.bytes.len();
        if !self.is_over_limit() {
            return false;
        }
        self.over_limit();
        true
    }

    /// The limit is exceeded by one more byte, because the last byte may be the carriage return of the line end.
    fn is_over_limit(&self) -> bool {
        !self.is_dropping && self.scanned - self.start > self.limit + 1
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

    fn comment_ends(&mut self, at: usize) {
        self.lenient.count(Lenience::Comments, 1);
        self.next(at + 1, 0);
    }

    /// Opens the next record at `at`, after a line feed.
    fn next(&mut self, at: usize, records: u64) {
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

    /// Handles an open record that is longer than the limit. If a quote is open, that quote is most likely wrong, so
    /// only its line is refused and reading continues with the next line.
    fn over_limit(&mut self) {
        if self.ends.is_comment() {
            return self.begin_dropping();
        }
        self.ends.restart();
        let within = (self.start + self.limit + 1).min(self.bytes.len());
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
            format!("{len} bytes where a record may have {}; the first {kept} bytes are kept", self.limit);
        self.refuse(Reason::TooLong, detail, raw, len);
    }

    /// Keeps the beginning of the record being dropped, and discards the rest.
    fn drop_scanned(&mut self) -> bool {
        let keep = (self.start + KEPT_OF_TOO_LONG).min(self.bytes.len());
        self.hash_up_to(self.bytes.len());
        self.dropped += (self.bytes.len() - keep) as u64;
        self.bytes.truncate(keep);
        self.hashed = keep;
        self.scanned = keep;
        false
    }

    fn dropped_until(&mut self, at: usize) -> bool {
        if self.ends.is_comment() {
            self.comment_ends(at);
            return true;
        }
        let len = (at - self.start) as u64 + self.dropped;
        self.refuse_too_long(len);
        self.next(at + 1, 1);
        true
    }

    fn hash_up_to(&mut self, end: usize) {
        self.hasher.update(&self.bytes[self.hashed..end]);
        self.hashed = end;
    }

    /// Cuts off everything before the open record. The bytes after it stay.
    pub fn cut(&mut self) -> Cut {
        let end = self.start;
        let hash = self.hash_before_open();
        let rest = self.bytes[end..].to_vec();
        let mut bytes = std::mem::replace(&mut self.bytes, rest);
        bytes.truncate(end);
        let span = Span { from: self.from, to: self.open };
        self.from = self.open;
        self.hashed -= end;
        self.scanned -= end;
        self.start = 0;
        let (frames, refused) = (std::mem::take(&mut self.frames), std::mem::take(&mut self.refused));
        let lenient = std::mem::take(&mut self.lenient);
        self.expected = frames.len() + frames.len() / 8;
        Cut { span, bytes, frames, refused, lenient, hash }
    }

    /// Returns the hash of all bytes before the open record.
    fn hash_before_open(&mut self) -> String {
        if let Some(hash) = &self.before_dropped {
            return hash.clone();
        }
        self.hash_up_to(self.start);
        self.hasher.finalize().to_hex().to_string()
    }

    /// Returns what follows the last line end, when no more bytes come.
    pub fn tail(&self) -> Tail<'_> {
        let open = &self.bytes[self.start..];
        let (line, len) = (self.open.line + 1, self.reach() - self.open.offset);
        match () {
            () if self.ends.is_comment() => Tail::Comment,
            () if self.is_dropping => Tail::TooLong { line, len },
            () if self.ends.is_quoted() => Tail::OpenQuote { line, len },
            () if self.ends.is_escaped() => Tail::OpenEscape { line },
            () if self.ends.without_line_end(open).is_empty() => Tail::Nothing,
            () => Tail::Record(self.ends.without_line_end(open)),
        }
    }

    /// Whether anything follows the last line end, including half a line end.
    pub fn has_tail(&self) -> bool {
        self.reach() > self.open.offset
    }

    /// Takes the bytes after the last line end as a complete record, a comment or a blank line. Returns where they begin, or
    /// `None` if there are none.
    pub fn close_tail(&mut self) -> Option<Position> {
        let begin = self.has_tail().then_some(self.open);
        let end = self.bytes.len();
        let len = self.ends.without_line_end(&self.bytes[self.start..]).len();
        if self.ends.is_comment() {
            self.lenient.count(Lenience::Comments, 1);
            (self.is_dropping, self.before_dropped) = (false, None);
        } else if len > 0 {
            let Position { offset, record, line } = self.open;
            self.frames.push(Frame { record, line: line + 1, offset, start: self.start, len });
            self.open.record += 1;
        }
        self.open.offset += (end - self.start) as u64 + std::mem::take(&mut self.dropped);
        self.open.line += self.ends.inner_lines;
        self.start = end;
        self.scanned = end;
        self.ends.restart();
        begin
    }

    /// Returns the offset of the last cut, and the number of bytes read after it.
    pub fn cut_at(&self) -> (u64, u64) {
        (self.from.offset, self.reach() - self.from.offset)
    }

    /// Returns the hasher, if it has seen exactly the bytes before the last cut.
    pub fn into_hasher(self) -> Option<blake3::Hasher> {
        (self.hashed == 0 && self.before_dropped.is_none()).then_some(self.hasher)
    }
}

/// Whether a file with these bytes would contain exactly this record.
pub fn is_one_record(format: &Format, limit: usize, record: &[u8]) -> bool {
    let begin = Position::default();
    let mut framer = Framer::new(format, limit, begin, begin, blake3::Hasher::new());
    framer.bytes().extend_from_slice(record);
    let Format::Csv(dialect) = format;
    framer.bytes().extend_from_slice(dialect.lines.bytes());
    framer.scan(usize::MAX, usize::MAX);
    matches!(framer.cut().frames.as_slice(), [frame] if frame.len == record.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns all results of framing the bytes, which are appended in parts cut at the given places.
    fn framed(
        bytes: &[u8],
        cuts: &[usize],
        limit: usize,
        window: usize,
    ) -> (Vec<String>, Vec<String>, Position, String) {
        let mut framer = Framer::new(
            &Format::default(),
            limit,
            Position::default(),
            Position::default(),
            blake3::Hasher::new(),
        );
        let (mut frames, mut refused) = (Vec::new(), Vec::new());
        let mut hash = String::new();
        let mut last = Position::default();
        let mut take = |framer: &mut Framer| {
            let cut = framer.cut();
            last = last.advance(cut.span).unwrap();
            hash = cut.hash;
            frames.extend(cut.frames.iter().map(|frame| {
                let raw =
                    String::from_utf8_lossy(&cut.bytes[frame.start..frame.start + frame.len]).into_owned();
                format!("{} {} {} {raw:?}", frame.record, frame.line, frame.offset)
            }));
            refused.extend(cut.refused.iter().map(|entry| format!("{entry:?}")));
            last
        };
        let mut from = 0;
        for to in cuts.iter().copied().chain([bytes.len()]) {
            framer.bytes().extend_from_slice(&bytes[from..to]);
            from = to;
            loop {
                framer.scan(window, usize::MAX);
                if framer.records() < window {
                    break;
                }
                take(&mut framer);
            }
        }
        let end = take(&mut framer);
        assert_eq!(hash, blake3::hash(&bytes[..usize::try_from(end.offset).unwrap()]).to_hex().to_string());
        (frames, refused, end, hash)
    }

    fn at_once(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
        let (frames, refused, _, _) = framed(bytes, &[], 1000, 100);
        (frames, refused)
    }

    #[test]
    fn line_ends_inside_quotes_belong_to_the_record() {
        let (frames, _) = at_once(b"a,\"b\nc\"\r\n\r\n\nd,\"\"\"\n\"\ne\"f,g\n");
        assert_eq!(frames, [r#"0 1 0 "a,\"b\nc\"""#, r#"1 5 12 "d,\"\"\"\n\"""#, r#"2 7 20 "e\"f,g""#,]);
    }

    #[test]
    fn an_oversized_record_is_one_entry_and_later_records_are_read() {
        let mut bytes = vec![b'x'; 5000];
        bytes.extend_from_slice(b"\na,b\n");
        let (frames, refused) = at_once(&bytes);
        assert_eq!(frames, [r#"1 2 5001 "a,b""#]);
        assert!(refused[0].contains("TooLong") && refused[0].contains("len: 5000"), "{refused:?}");
    }

    #[test]
    fn an_open_quote_costs_its_own_line_only() {
        let mut bytes = b"a,\"open\n".to_vec();
        for _ in 0..300 {
            bytes.extend_from_slice(b"c,d\n");
        }
        let (frames, refused) = at_once(&bytes);
        assert_eq!((frames.len(), refused.len()), (300, 1));
        assert!(refused[0].contains("Quote") && refused[0].contains("line: 1"), "{refused:?}");
    }

    #[test]
    fn the_tail_is_classified() {
        let tail = |bytes: &[u8]| {
            let mut framer = Framer::new(
                &Format::default(),
                100,
                Position::default(),
                Position::default(),
                blake3::Hasher::new(),
            );
            framer.bytes().extend_from_slice(bytes);
            framer.scan(100, usize::MAX);
            format!("{:?}", framer.tail())
        };
        assert_eq!(tail(b"a\n"), "Nothing");
        assert_eq!(tail(b"a\n\r"), "Nothing");
        assert_eq!(tail(b"a\n\"b\"\r"), format!("{:?}", Tail::Record(b"\"b\"")));
        assert_eq!(tail(b"a\n\"b"), "OpenQuote { line: 2, len: 2 }");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn cutting_the_bytes_anywhere_gives_the_same_records(
            bytes in prop::collection::vec(prop::sample::select(b"ab,\"\"\n\n\r,\xef\xbb".to_vec()), 0..200),
            cuts in prop::collection::btree_set(0usize..200, 0..20),
            limit in 1usize..40,
            window in 1usize..5,
        ) {
            let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= bytes.len()).collect();
            let at_once = framed(&bytes, &[], limit, 1000);
            prop_assert_eq!(&framed(&bytes, &cuts, limit, 1000), &at_once);
            prop_assert_eq!(&framed(&bytes, &cuts, limit, window), &at_once);
        }
    }
}
