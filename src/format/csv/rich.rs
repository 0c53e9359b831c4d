//! Finds the fields of a framed CSV record in any dialect: delimiters of several characters, no quotes, escapes, blanks
//! that are not part of fields.
//!
//! As strict as [`fields`](super::fields), which is faster for dialects with nothing but doubled quotes.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

use crate::domain::format::{Dialect, Escape, Mark};
use crate::format::csv::fields::Found;
use crate::format::csv::malformed::{Fault, Malformed};

/// Finds the fields without their quotes.
///
/// # Errors
/// Returns the first quote or escape that the dialect does not allow.
pub fn find(dialect: &Dialect, record: &[u8], fields: &mut Vec<Range<usize>>) -> Result<Found, Malformed> {
    fields.clear();
    let (mut scan, mut begin) = (Scan { dialect, record, field: 0, escaped: false, trimmed: 0 }, 0);
    loop {
        scan.field = fields.len();
        let (field, end) = scan.field_at(begin)?;
        fields.push(field);
        if end == record.len() {
            let ascii = record.is_ascii() && memchr(b'\0', record).is_none();
            let (escaped, trimmed) = (scan.escaped, scan.trimmed);
            return Ok(Found { ascii: ascii && !escaped, escaped, trimmed });
        }
        begin = end + dialect.delimiter.bytes().len();
    }
}

struct Scan<'r> {
    dialect: &'r Dialect,
    record: &'r [u8],
    /// The index of the current field.
    field: usize,
    /// Whether any field has an escape or a doubled quote.
    escaped: bool,
    /// The number of fields with blanks around them that are not part of them.
    trimmed: u64,
}

impl Scan<'_> {
    /// Returns the field that begins here without its quotes, and where the delimiter after it begins, or the end.
    fn field_at(&mut self, begin: usize) -> Result<(Range<usize>, usize), Malformed> {
        let (quote, first) = (self.dialect.quote.map(Mark::byte), self.after_blanks(begin));
        match self.record.get(first) {
            Some(byte) if Some(*byte) == quote => {
                let close = self.closing_quote(*byte, first)?;
                let end = self.after_blanks(close + 1);
                self.trimmed += u64::from((begin, end) != (first, close + 1));
                Ok((first + 1..close, end))
            }
            _ => {
                let (field, end) = self.unquoted(quote, first)?;
                self.trimmed += u64::from((begin, end) != (field.start, field.end));
                Ok((field, end))
            }
        }
    }

    /// Returns the field without the blanks behind it, and where the delimiter after it begins, or the end.
    fn unquoted(&mut self, quote: Option<u8>, begin: usize) -> Result<(Range<usize>, usize), Malformed> {
        let end = self.end_of_unquoted(begin)?;
        match quote.and_then(|quote| memchr(quote, self.slice(begin, end))) {
            Some(at) => Err(self.fault(begin + at, Fault::Inside)),
            None => Ok((begin..self.before_blanks(begin, end), end)),
        }
    }

    /// Returns the end of the blanks that begin here.
    fn after_blanks(&self, from: usize) -> usize {
        if !self.dialect.lenient.trim {
            return from;
        }
        let rest = self.slice(from, self.record.len());
        let blanks = rest.iter().position(|byte| !self.dialect.is_trimmed(*byte));
        from + blanks.unwrap_or(rest.len())
    }

    /// Returns the beginning of the blanks that end here.
    fn before_blanks(&self, from: usize, to: usize) -> usize {
        if !self.dialect.lenient.trim {
            return to;
        }
        let last = self.slice(from, to).iter().rposition(|byte| !self.dialect.is_trimmed(*byte));
        last.map_or(from, |last| from + last + 1)
    }

    fn end_of_unquoted(&mut self, begin: usize) -> Result<usize, Malformed> {
        let first = self.dialect.delimiter.first_char();
        let Some(escape) = self.dialect.escape_outside_quotes() else {
            return Ok(self.delimiter_after(begin));
        };
        let (mut from, mut end) = (begin, self.delimiter_after(begin));
        if self.dialect.is_null(self.slice(begin, self.before_blanks(begin, end))) {
            return Ok(end);
        }
        loop {
            let Some(at) = memchr(escape, self.slice(from, end)).map(|at| from + at) else { return Ok(end) };
            self.check_escape(at, |rest| rest.starts_with(first) || is_line_end(rest))?;
            from = at + 2;
            // The delimiter at `end` was escaped, so it is text. The field ends at the next one.
            if from > end {
                end = self.delimiter_after(from);
            }
        }
    }

    fn delimiter_after(&self, from: usize) -> usize {
        let rest = self.slice(from, self.record.len());
        let found = match self.dialect.delimiter.bytes() {
            [byte] => memchr(*byte, rest),
            // Fields are short, so a searcher for the whole delimiter would cost more than it saves.
            delimiter => delimiter.first().and_then(|first| {
                memchr_iter(*first, rest)
                    .find(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(delimiter)))
            }),
        };
        found.map_or(self.record.len(), |at| from + at)
    }

    /// Returns the place of the quote that closes the field, which begins with a quote.
    fn closing_quote(&mut self, quote: u8, begin: usize) -> Result<usize, Malformed> {
        let mut from = begin + 1;
        loop {
            let rest = self.slice(from, self.record.len());
            let found = match self.dialect.escape.byte() {
                Some(escape) => memchr2(quote, escape, rest),
                None => memchr(quote, rest),
            };
            let Some(at) = found.map(|at| from + at) else { return Err(self.fault(begin, Fault::Open)) };
            let is_quote = self.record.get(at) == Some(&quote);
            if !is_quote {
                let is_backslash = self.dialect.escape == Escape::Backslash;
                self.check_escape(at, |rest| {
                    rest.first() == Some(&quote) || (is_backslash && is_line_end(rest))
                })?;
            } else if self.dialect.escape == Escape::Doubled && self.record.get(at + 1) == Some(&quote) {
                self.escaped = true;
            } else if self.may_end(self.after_blanks(at + 1)) {
                return Ok(at);
            } else {
                return Err(self.fault(at, Fault::Closing));
            }
            from = at + 2;
        }
    }

    /// Whether a delimiter or the end of the record is here.
    fn may_end(&self, at: usize) -> bool {
        at == self.record.len()
            || self.slice(at, self.record.len()).starts_with(self.dialect.delimiter.bytes())
    }

    /// Checks what follows the escape character at `at`. `is_special` returns whether the bytes after it begin with
    /// something that needs an escape to be text.
    fn check_escape(&mut self, at: usize, is_special: impl Fn(&[u8]) -> bool) -> Result<(), Malformed> {
        self.escaped = true;
        let rest = self.slice(at + 1, self.record.len());
        let is_known = rest.first().copied().is_some_and(|byte| {
            let in_sequence = self.dialect.escape == Escape::Backslash && is_sequence(rest);
            Some(byte) == self.dialect.escape.byte() || is_special(rest) || in_sequence
        });
        if is_known { Ok(()) } else { Err(self.fault(at, Fault::Escape(rest.first().copied()))) }
    }

    fn slice(&self, from: usize, to: usize) -> &[u8] {
        self.record.get(from..to).unwrap_or_default()
    }

    fn fault(&self, at: usize, fault: Fault) -> Malformed {
        Malformed { field: self.field, at, fault, escape: self.dialect.escape }
    }
}

fn is_line_end(rest: &[u8]) -> bool {
    matches!(rest, [b'\n' | b'\r', ..])
}

/// Whether a backslash before these bytes begins a sequence. A zero before another digit could be an octal number.
fn is_sequence(rest: &[u8]) -> bool {
    match rest {
        [b'0', b'0'..=b'9', ..] | [] => false,
        [byte, ..] => sequence(*byte).is_some(),
    }
}

/// Returns what a backslash and this byte stand for, if they are a sequence.
fn sequence(byte: u8) -> Option<u8> {
    Some(match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'v' => 0x0b,
        b'0' => 0,
        b'Z' => 0x1a,
        b'"' | b'\'' => byte,
        _ => return None,
    })
}

/// Replaces the escapes in the fields of a record. Afterwards, `fields` are the ranges in `text`.
pub fn unescape(dialect: &Dialect, record: &[u8], fields: &mut [Range<usize>], text: &mut Vec<u8>) {
    text.clear();
    for field in fields {
        let is_quoted =
            field.start > 0 && record.get(field.start - 1).copied() == dialect.quote.map(Mark::byte);
        let bytes = record.get(field.clone()).unwrap_or_default();
        let begin = text.len();
        match (is_quoted, dialect.quote, dialect.escape.byte()) {
            (true, Some(quote), None) => undouble(bytes, quote.byte(), text),
            (true, Some(_), Some(escape)) | (false, None, Some(escape)) => {
                let is_backslash = dialect.escape == Escape::Backslash;
                unescape_field(bytes, escape, |byte| sequence(byte).filter(|_| is_backslash), text);
            }
            _ => text.extend_from_slice(bytes),
        }
        *field = begin..text.len();
    }
}

fn undouble(bytes: &[u8], quote: u8, text: &mut Vec<u8>) {
    unescape_field(bytes, quote, |_| None, text);
}

/// Replaces each escape character and the byte after it by the meaning of that byte, or by the byte itself.
fn unescape_field(bytes: &[u8], escape: u8, meaning: impl Fn(u8) -> Option<u8>, text: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr(escape, rest) {
        let (before, from) = rest.split_at(at);
        text.extend_from_slice(before);
        let next = from.get(1).copied();
        text.extend(next.map(|byte| meaning(byte).unwrap_or(byte)));
        rest = from.get(2..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
}
