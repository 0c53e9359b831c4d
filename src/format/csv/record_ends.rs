//! Finds the line ends of CSV records and comments. Knows quotes, escapes and line ends, but not fields.
//!
//! Agrees with the splitter on where a quoted field begins (only at the start of a field) and ends. A record ends at a
//! line end outside quotes that is not escaped. A line end is found by its last byte: a line feed, or a carriage return if
//! lines end with nothing else.

use std::sync::Arc;

use memchr::{memchr, memchr_iter, memchr2, memchr3, memmem};

use crate::domain::format::{Dialect, END_OF_FILE, Escape, Mark};
use crate::domain::lenient_settings::Comment;

/// The result of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The line end whose last byte is at this index ends the record.
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
    /// The last byte of a line end.
    line: u8,
    /// The largest number of carriage returns before the last byte of a line end.
    returns: usize,
    /// Whether the last byte alone is a line end.
    is_one_byte: bool,
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
    /// The number of carriage returns before the record that belong to a line end which ends in the record.
    begun: usize,
    /// The number of lines inside the record so far, by the last byte of a line end.
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
            line: dialect.lines.last_byte(),
            returns: dialect.lines.returns(),
            is_one_byte: dialect.lines.is_one_byte(),
            first: dialect.lenient.comment.as_ref().map_or(State::Plain, |_| State::Start),
        };
        let (state, dialect) = (marks.first, Arc::clone(dialect));
        Self { dialect, marks, state, field: 0, escaped: 0, begun: 0, inner_lines: 0 }
    }

    /// Begins after an open tail that ends with this many carriage returns of a line end.
    pub fn begin_in_line_end(&mut self, returns: usize) {
        self.begun = returns;
    }

    /// Begins the scan of the next record.
    pub fn restart(&mut self) {
        (self.state, self.inner_lines) = (self.marks.first, 0);
        (self.field, self.escaped, self.begun) = (0, 0, 0);
    }

    /// Scans up to the end of the record, or until more than `most` bytes of it are scanned, and advances `scanned`.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8], start: usize, scanned: &mut usize, most: usize) -> Step {
        loop {
            match self.step(bytes, start, scanned) {
                Step::Within if *scanned - start <= most => {}
                step => return step,
            }
        }
    }

    /// Scans up to the next byte that may have a meaning, and advances `scanned` past it. The record begins at `start`.
    // A call for each quote and each line end would cost more than the scan.
    #[inline(always)]
    fn step(&mut self, bytes: &[u8], start: usize, scanned: &mut usize) -> Step {
        match self.state {
            State::Plain => self.plain(bytes, start, scanned),
            State::Quoted => self.quoted(bytes, scanned),
            State::QuoteSeen => {
                let Some(next) = bytes.get(*scanned) else { return Step::OutOfBytes };
                let is_pair = self.marks.doubled && Some(*next) == self.marks.quote;
                self.state = if is_pair { State::Quoted } else { State::Plain };
                self.field = *scanned - start;
                *scanned += usize::from(is_pair);
                Step::Within
            }
            _ => self.unusual(bytes, start, scanned),
        }
    }

    /// The steps of escapes and comments, apart from the frequent ones, so that these are compiled into their caller.
    #[inline(never)]
    fn unusual(&mut self, bytes: &[u8], start: usize, scanned: &mut usize) -> Step {
        let rest = &bytes[*scanned..];
        match self.state {
            State::Plain | State::Quoted | State::QuoteSeen => Step::Within,
            State::Escaped { quoted } => {
                let Some(next) = rest.first() else { return Step::OutOfBytes };
                self.inner_lines += u64::from(*next == self.marks.line);
                self.state = match next {
                    b'\r' if self.marks.returns > 0 => State::EscapedReturn { quoted },
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
            State::Comment => match self.next_line_end(bytes, start, *scanned) {
                Some(at) => Step::End(at),
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

    #[inline(always)]
    fn plain(&mut self, bytes: &[u8], start: usize, scanned: &mut usize) -> Step {
        let rest = &bytes[*scanned..];
        let found = match (self.marks.quote, self.marks.escape) {
            (Some(quote), _) => memchr2(quote, self.marks.line, rest),
            (None, Some(escape)) => memchr2(escape, self.marks.line, rest),
            (None, None) => memchr(self.marks.line, rest),
        };
        let Some(at) = found.map(|at| *scanned + at) else { return Step::OutOfBytes };
        *scanned = at + 1;
        match bytes[at] {
            byte if byte == self.marks.line => {
                if self.ends_line(bytes, start, at) {
                    return Step::End(at);
                }
                self.inner_lines += 1;
            }
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
            Some(escape) => memchr3(quote, self.marks.line, escape, rest),
            None => memchr2(quote, self.marks.line, rest),
        };
        let Some(at) = found.map(|at| *scanned + at) else { return Step::OutOfBytes };
        *scanned = at + 1;
        match bytes[at] {
            byte if byte == self.marks.line => self.inner_lines += 1,
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

    /// Whether the last byte of a line end at `at`, which is neither in quotes nor escaped, ends a line.
    #[inline]
    fn ends_line(&self, bytes: &[u8], start: usize, at: usize) -> bool {
        self.marks.is_one_byte || self.has_returns(&bytes[start..at])
    }

    /// Whether a line ends with as many carriage returns as a line end has.
    fn has_returns(&self, line: &[u8]) -> bool {
        let returns = self.returns_behind(line);
        let begun = if returns == line.len() { self.begun } else { 0 };
        returns + begun >= self.marks.returns
    }

    /// Returns the index of the first last byte of a line end from `scanned` on, whatever is in quotes. Counts the lines
    /// before it, so no byte may be passed twice.
    pub fn line_end(&mut self, bytes: &[u8], scanned: usize) -> Option<usize> {
        self.next_line_end(bytes, scanned, scanned)
    }

    /// Does the same for a line that begins at `start`.
    fn next_line_end(&mut self, bytes: &[u8], start: usize, scanned: usize) -> Option<usize> {
        for at in memchr_iter(self.marks.line, &bytes[scanned..]).map(|at| scanned + at) {
            if self.ends_line(bytes, start, at) {
                return Some(at);
            }
            self.inner_lines += 1;
        }
        None
    }

    /// Returns how many carriage returns at the end of `line`, the beginning of the record, belong to its line end or to one
    /// that may follow. A carriage return that is escaped belongs to the record.
    #[inline]
    pub fn returns_behind(&self, line: &[u8]) -> usize {
        let behind = line[self.escaped.min(line.len())..].iter().rev().take(self.marks.returns);
        behind.take_while(|byte| **byte == b'\r').count()
    }

    /// Returns the beginning of the record without its line end. `line` is the record up to the last byte of its line end,
    /// or to the end of the bytes.
    #[inline]
    pub fn without_line_end<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        &line[..line.len() - self.returns_behind(line)]
    }

    /// Takes the bytes of the record up to `len` as text, which no line end includes.
    pub fn forget(&mut self, len: usize) {
        self.escaped = len;
    }

    /// Returns the last record of a file without what follows it: half a line end, and the end of file of DOS. `tail` is
    /// what follows the last line end.
    pub fn without_end<'l>(&self, tail: &'l [u8]) -> &'l [u8] {
        self.without_line_end(self.without_end_of_file(tail))
    }

    /// Whether nothing but the end of file of DOS follows the last line end.
    pub fn is_end_of_file(&self, tail: &[u8]) -> bool {
        tail.ends_with(&[END_OF_FILE]) && self.without_end(tail).is_empty()
    }

    fn without_end_of_file<'l>(&self, tail: &'l [u8]) -> &'l [u8] {
        let is_text = self.escaped > 0 && self.escaped == tail.len();
        tail.strip_suffix(&[END_OF_FILE]).filter(|_| !is_text).unwrap_or(tail)
    }

    /// Whether only the scan of the whole record shows which line ends are text, and never a quote that is not closed.
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
