//! What follows the last line end of a file.

use crate::domain::{Frame, Position, Tolerated};
use crate::format::footer::Footer;
use crate::format::framer::Framer;

/// What follows the last line end.
#[derive(Debug, PartialEq, Eq)]
pub enum Tail<'a> {
    Nothing,
    Comment,
    /// The end of file of DOS, and no record.
    EndOfFile,
    Record(&'a [u8]),
    /// The last lines of the file. With `is_open`, the last one has no line end.
    Footer {
        is_open: bool,
    },
    /// The file has so many lines after the last record, fewer than its footer.
    ShortFooter {
        lines: usize,
        count: usize,
    },
    /// The record on this line has not ended where the footer begins.
    InFooter {
        line: u64,
    },
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
    /// Returns what follows the last line end, when no more bytes come.
    pub fn tail(&self) -> Tail<'_> {
        if let Some(footer) = &self.footer {
            return self.footer_as_tail(footer);
        }
        let open = &self.bytes[self.start..];
        let (line, len) = (self.open.line + 1, self.reach() - self.open.offset);
        match () {
            () if self.ends.is_comment() => Tail::Comment,
            () if self.is_dropping => Tail::TooLong { line, len },
            () if self.ends.is_quoted() => Tail::OpenQuote { line, len },
            () if self.ends.is_escaped() => Tail::OpenEscape { line },
            () if self.ends.is_end_of_file(open) => Tail::EndOfFile,
            () if self.ends.without_end(open).is_empty() => Tail::Nothing,
            () => Tail::Record(self.ends.without_end(open)),
        }
    }

    fn footer_as_tail(&self, footer: &Footer) -> Tail<'_> {
        let (line, lines, count) = (self.open.line + 1, footer.lines(), footer.count());
        match () {
            () if self.start < self.end && self.is_dropping => {
                Tail::TooLong { line, len: self.reach() - self.open.offset }
            }
            () if self.start < self.end => Tail::InFooter { line },
            () if lines < count => Tail::ShortFooter { lines, count },
            () => Tail::Footer { is_open: footer.has_open_line() },
        }
    }

    /// Whether anything follows the last line end, including half a line end and the end of file of DOS.
    pub fn has_tail(&self) -> bool {
        self.reach() > self.open.offset
    }

    /// Takes the bytes after the last line end as a complete record, a comment, a blank line or the footer. Returns
    /// where they begin, or `None` if there are none.
    pub fn close_tail(&mut self) -> Option<Position> {
        let begin = self.has_tail().then_some(self.open);
        let end = self.bytes.len();
        let len = self.ends.without_end(&self.bytes[self.start..]).len();
        if let Some(footer) = &self.footer {
            self.tolerated.count(Tolerated::Footer, footer.lines() as u64);
            self.open.line += footer.complete_lines() as u64;
        } else if self.ends.is_comment() {
            self.tolerated.count(Tolerated::Comments, 1);
            (self.is_dropping, self.before_dropped) = (false, None);
        } else if len > 0 {
            let Position { offset, record, line } = self.open;
            self.frames.push(Frame { record, line: line + 1, offset, start: self.start, len });
            self.open.record += 1;
        }
        self.open.offset += (end - self.start) as u64 + std::mem::take(&mut self.dropped);
        self.open.line += self.ends.inner_lines;
        (self.start, self.scanned, self.end) = (end, end, end);
        self.ends.restart();
        begin
    }
}
