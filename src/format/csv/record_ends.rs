//! Finds the line feeds that end CSV records and comments. Knows quotes, escapes and line ends, but not fields.
//!
//! Agrees with the splitter on where a quoted field begins (only at the start of a field) and ends. A record ends at a
//! line feed outside quotes that is not escaped.

use std::sync::Arc;

use memchr::{memchr, memchr_iter, memchr2, memchr3, memmem};

use crate::domain::format::{Dialect, Escape, LineEnd, Mark};
use crate::domain::lenient::Comment;

/// The result of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The line feed at this index ends the record.
    End(usize),
    /// The record continues.
    Within,
    /// There are no more bytes to decide by.
    OutOfBytes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Outside quotes.
    #[default]
    Plain,
    /// Inside a quoted field.
    Quoted,
    /// After a quote inside a quoted field. The quote either ends the field or is the first of a pair.
    QuoteSeen,
    /// After an escape character. The next byte is text.
    Escaped { quoted: bool },
    /// After an escaped carriage return. A line feed belongs to the same escaped line end.
    EscapedReturn { quoted: bool },
    /// At the beginning of what may be a comment. Used only if the dialect has comments.
    Start,
    /// In a comment.
    Comment,
}

impl State {
    fn outside_escape(quoted: bool) -> Self {
        if quoted { Self::Quoted } else { Self::Plain }
    }
}

/// What a scan needs to know of a dialect.
#[derive(Clone, Copy, Debug)]
struct Marks {
    quote: Option<u8>,
    /// The escape character in the fields where escapes work: in quoted fields, or in all fields if there is no quote.
    escape: Option<u8>,
    /// The delimiter, if it is one byte.
    delimiter: Option<u8>,
    /// Whether two quotes in a quoted field are one quote of its text.
    doubled: bool,
    /// Whether a quote may begin a field after blanks.
    trim: bool,
    /// The state at the beginning of a record.
    first: State,
}

/// The scan of one record or comment.
#[derive(Debug)]
pub struct RecordEnds {
    dialect: Arc<Dialect>,
    marks: Marks,
    state: State,
    /// A place in the record from which the delimiters have not been looked for. It is outside quotes. Used if the
    /// delimiter is longer than one byte.
    field: usize,
    /// The place in the record after the last escaped byte.
    escaped: usize,
    /// The number of line feeds inside the record so far.
    pub inner_lines: u64,
}

impl RecordEnds {
    pub fn new(dialect: &Arc<Dialect>) -> Self {
        let marks = Marks {
            quote: dialect.quote.map(Mark::byte),
            escape: dialect.escape.byte(),
            delimiter: dialect.delimiter.byte(),
            doubled: dialect.escape == Escape::Doubled,
            trim: dialect.lenient.trim,
            first: dialect.lenient.comment.as_ref().map_or(State::Plain, |_| State::Start),
        };
        Self { dialect: Arc::clone(dialect), marks, state: marks.first, field: 0, escaped: 0, inner_lines: 0 }
    }

    /// Begins the scan of the next record.
    pub fn restart(&mut self) {
        (self.state, self.field, self.escaped, self.inner_lines) = (self.marks.first, 0, 0, 0);
    }

    /// Scans up to the next byte that may have a meaning, and advances `scanned` past it. The record begins at `start`.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], start: usize, scanned: &mut usize) -> Step {
        let rest = &bytes[*scanned..];
        match self.state {
            State::Plain => self.plain(bytes, start, scanned),
            State::Quoted => self.quoted(bytes, scanned),
            State::QuoteSeen => {
                let Some(next) = rest.first() else { return Step::OutOfBytes };
                let is_pair = self.marks.doubled && Some(*next) == self.marks.quote;
                self.state = if is_pair { State::Quoted } else { State::Plain };
                self.field = *scanned - start;
                *scanned += usize::from(is_pair);
                Step::Within
            }
            State::Escaped { quoted } => {
                let Some(next) = rest.first() else { return Step::OutOfBytes };
                self.inner_lines += u64::from(*next == b'\n');
                self.state = match next {
                    b'\r' if self.dialect.lines != LineEnd::Lf => State::EscapedReturn { quoted },
                    _ => State::outside_escape(quoted),
                };
                *scanned += 1;
                self.escaped = *scanned - start;
                Step::Within
            }
            State::EscapedReturn { quoted } => {
                let Some(next) = rest.first() else { return Step::OutOfBytes };
                self.state = State::outside_escape(quoted);
                if *next == b'\n' {
                    self.inner_lines += 1;
                    *scanned += 1;
                    self.escaped = *scanned - start;
                }
                Step::Within
            }
            State::Start => self.start(&bytes[start..], start, scanned),
            State::Comment => match memchr(b'\n', rest) {
                Some(at) => Step::End(*scanned + at),
                None => Step::OutOfBytes,
            },
        }
    }

    /// Decides whether a comment begins here.
    fn start(&mut self, line: &[u8], start: usize, scanned: &mut usize) -> Step {
        let comment = self.dialect.lenient.comment.as_ref().map(Comment::bytes).unwrap_or_default();
        if line.len() < comment.len() && comment.starts_with(line) {
            return Step::OutOfBytes;
        }
        self.state = if line.starts_with(comment) { State::Comment } else { State::Plain };
        *scanned = start;
        Step::Within
    }

    #[inline]
    fn plain(&mut self, bytes: &[u8], start: usize, scanned: &mut usize) -> Step {
        let rest = &bytes[*scanned..];
        let found = match (self.marks.quote, self.marks.escape) {
            (Some(quote), _) => memchr2(quote, b'\n', rest),
            (None, Some(escape)) => memchr2(escape, b'\n', rest),
            (None, None) => memchr(b'\n', rest),
        };
        let Some(at) = found.map(|at| *scanned + at) else { return Step::OutOfBytes };
        *scanned = at + 1;
        match bytes[at] {
            b'\n' if self.ends_line(bytes, start, at) => return Step::End(at),
            b'\n' => self.inner_lines += 1,
            byte if Some(byte) != self.marks.quote => self.state = State::Escaped { quoted: false },
            _ if self.begins_a_field(bytes, start, at) => self.state = State::Quoted,
            _ => {}
        }
        Step::Within
    }

    #[inline]
    fn quoted(&mut self, bytes: &[u8], scanned: &mut usize) -> Step {
        let Some(quote) = self.marks.quote else { return Step::OutOfBytes };
        let rest = &bytes[*scanned..];
        let found = match self.marks.escape {
            Some(escape) => memchr3(quote, b'\n', escape, rest),
            None => memchr2(quote, b'\n', rest),
        };
        let Some(at) = found.map(|at| *scanned + at) else { return Step::OutOfBytes };
        *scanned = at + 1;
        match bytes[at] {
            b'\n' => self.inner_lines += 1,
            byte if byte == quote => self.state = State::QuoteSeen,
            _ => self.state = State::Escaped { quoted: true },
        }
        Step::Within
    }

    /// Whether a field begins at `at`, which is outside quotes.
    #[inline]
    fn begins_a_field(&mut self, bytes: &[u8], start: usize, at: usize) -> bool {
        let at = if self.marks.trim { self.without_blanks(bytes, start, at) } else { at };
        match self.marks.delimiter {
            _ if at == start => true,
            Some(delimiter) => bytes[at - 1] == delimiter,
            None => self.follows_delimiter(&bytes[start..at]),
        }
    }

    /// Returns the end of what precedes the blanks before `at`.
    fn without_blanks(&self, bytes: &[u8], start: usize, at: usize) -> usize {
        let before = bytes[start..at].iter().rposition(|byte| !self.dialect.is_trimmed(*byte));
        before.map_or(start, |last| start + last + 1)
    }

    /// Whether `before`, the beginning of the record, ends with a delimiter. A delimiter of several bytes may overlap
    /// with itself, so all delimiters are looked for from left to right.
    fn follows_delimiter(&mut self, before: &[u8]) -> bool {
        let delimiter = self.dialect.delimiter.bytes();
        while let Some(at) = memmem::find(&before[self.field..], delimiter) {
            self.field += at + delimiter.len();
            if self.field == before.len() {
                return true;
            }
        }
        // No delimiter begins earlier than this, so that a long field is not searched again and again.
        self.field = self.field.max((before.len() + 1).saturating_sub(delimiter.len()));
        false
    }

    /// Whether the line feed at `at`, which is neither in quotes nor escaped, ends a line.
    #[inline]
    fn ends_line(&self, bytes: &[u8], start: usize, at: usize) -> bool {
        self.dialect.lines != LineEnd::CrLf || self.without_line_end(&bytes[start..at]).len() < at - start
    }

    /// Returns the index of the first line feed that ends a line, from `scanned` on, whatever is in quotes.
    pub fn line_end(&self, bytes: &[u8], scanned: usize) -> Option<usize> {
        let mut line_feeds = memchr_iter(b'\n', &bytes[scanned..]).map(|at| scanned + at);
        line_feeds.find(|at| self.ends_line(bytes, scanned, *at))
    }

    /// Returns the beginning of the record without its line end. `line` is the record up to a line feed, or to the end of
    /// the bytes. A carriage return that is escaped belongs to the record.
    pub fn without_line_end<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        let is_text = self.dialect.lines == LineEnd::Lf || (self.escaped > 0 && self.escaped == line.len());
        line.strip_suffix(b"\r").filter(|_| !is_text).unwrap_or(line)
    }

    /// Whether only the scan of the whole record shows which line feeds are text, and never a quote that is not closed.
    pub fn has_escaped_lines(&self) -> bool {
        self.dialect.escape_outside_quotes().is_some()
    }

    /// Whether this is a comment and no record.
    pub fn is_comment(&self) -> bool {
        self.state == State::Comment
    }

    /// Whether a quote is open.
    pub fn is_quoted(&self) -> bool {
        matches!(
            self.state,
            State::Quoted | State::Escaped { quoted: true } | State::EscapedReturn { quoted: true }
        )
    }

    /// Whether the last byte is an escape character outside quotes, so that the next byte is text.
    pub fn is_escaped(&self) -> bool {
        self.state == State::Escaped { quoted: false }
    }
}
