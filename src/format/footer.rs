//! Finds the last lines of a file while it is read. They are its footer if nothing follows (`skip_footer`), so they are held
//! back until the file is complete.

use std::collections::VecDeque;

use memchr::memchr_iter;

use crate::domain::format::{Dialect, END_OF_FILE};

/// The longest line end.
const LONGEST_END: usize = 3;

/// The last lines of what was read so far, whatever they contain. Places are offsets in the file.
#[derive(Debug)]
pub struct Footer {
    last_byte: u8,
    /// The number of carriage returns that must precede the last byte of a line end.
    needed: usize,
    /// The largest number of carriage returns before the last byte of a line end.
    returns: usize,
    /// The number of lines in the footer.
    count: usize,
    /// The maximum length of a line in the footer, with its line end.
    longest: u64,
    /// Where the last complete lines begin, at most `count`. No line before a line that is too long is among them.
    begins: VecDeque<u64>,
    /// Where the open line begins.
    open: u64,
    /// Where the bytes that were read so far end.
    seen: u64,
    /// The number of carriage returns at the end of the open line that may belong to its line end.
    begun: usize,
    /// Whether the open line is nothing but the end of file of DOS.
    is_end_of_file: bool,
}

impl Footer {
    /// Creates the footer of a file that is read from this offset on, in lines of at most `limit` bytes. Returns `None` if
    /// the files have no footer.
    pub fn new(dialect: &Dialect, limit: usize, from: u64) -> Option<Self> {
        let (count, returns) = (dialect.skip_footer.count(), dialect.lines.returns());
        (count > 0).then(|| Self {
            last_byte: dialect.lines.last_byte(),
            needed: if dialect.lines.is_one_byte() { 0 } else { returns },
            returns,
            count,
            longest: (limit + LONGEST_END) as u64,
            begins: VecDeque::with_capacity(count + 1),
            open: from,
            seen: from,
            begun: 0,
            is_end_of_file: false,
        })
    }

    /// Returns the number of bytes up to this offset that were not passed to [`Self::push`].
    pub fn unseen(&self, reach: u64) -> usize {
        usize::try_from(reach.saturating_sub(self.seen)).unwrap_or(usize::MAX)
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut from = 0;
        for at in memchr_iter(self.last_byte, bytes) {
            if self.returns_behind(&bytes[from..at]) >= self.needed {
                self.line_ends(self.seen + at as u64 + 1);
                from = at + 1;
            }
        }
        self.begun = self.returns_behind(&bytes[from..]);
        self.seen += bytes.len() as u64;
        self.is_end_of_file = match self.seen - self.open {
            0 => false,
            1 => bytes.last().map_or(self.is_end_of_file, |last| *last == END_OF_FILE),
            _ => false,
        };
        if self.is_too_long(self.seen) {
            self.begins.clear();
        }
    }

    /// Returns the number of carriage returns at the end of the open line, of which `line` is the part that was not seen.
    fn returns_behind(&self, line: &[u8]) -> usize {
        let returns = line.iter().rev().take(self.returns).take_while(|byte| **byte == b'\r').count();
        let before = if returns == line.len() { self.begun } else { 0 };
        (returns + before).min(self.returns)
    }

    fn line_ends(&mut self, end: u64) {
        if self.is_too_long(end) {
            self.begins.clear();
        } else {
            self.begins.push_back(self.open);
        }
        if self.begins.len() > self.count {
            self.begins.pop_front();
        }
        (self.open, self.begun) = (end, 0);
    }

    fn is_too_long(&self, end: u64) -> bool {
        end - self.open > self.longest
    }

    /// Whether the open line counts as a line.
    pub fn has_open_line(&self) -> bool {
        self.seen > self.open && !self.is_end_of_file
    }

    /// Returns how many of the bytes read so far are held back: the last lines, with which the footer would begin if the file
    /// ended here. If the file is longer, its footer does not begin earlier.
    pub fn held(&self) -> usize {
        let begin = match self.begins.len() - self.complete_lines() {
            _ if self.is_too_long(self.seen) => self.seen,
            before => self.begins.get(before).copied().unwrap_or(self.open),
        };
        usize::try_from(self.seen - begin).unwrap_or(usize::MAX)
    }

    /// Returns the number of held lines that have their line end.
    pub fn complete_lines(&self) -> usize {
        self.begins.len().min(self.count - usize::from(self.has_open_line()))
    }

    /// Returns the number of held lines.
    pub fn lines(&self) -> usize {
        self.complete_lines() + usize::from(self.has_open_line())
    }

    /// Returns the number of lines in the footer of a complete file.
    pub fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::format::FooterLines;

    /// Returns the bytes that are held back, and the number of their lines.
    fn held(count: u64, bytes: &str, part: usize) -> (&str, usize) {
        let skip_footer = FooterLines::new(count).unwrap();
        let dialect = Dialect { skip_footer, ..Dialect::default() };
        let mut footer = Footer::new(&dialect, 10, 0).unwrap();
        bytes.as_bytes().chunks(part).for_each(|part| footer.push(part));
        (&bytes[bytes.len() - footer.held()..], footer.lines())
    }

    #[test]
    fn the_last_lines_are_held_back() {
        for part in [1, 2, 3, 100] {
            for (bytes, expected, lines) in [
                ("a\nb\nc\n", "b\nc\n", 2),
                ("a\nb\nc", "b\nc", 2),
                ("a\nb\r\nc\n\r", "c\n\r", 2),
                ("a\nb\n\n", "b\n\n", 2),
                ("a\nb\nc\n\x1a", "b\nc\n\x1a", 2),
                ("a\nb\nc\n\x1ad", "c\n\x1ad", 2),
                ("a\n", "a\n", 1),
                ("a", "a", 1),
                ("\x1a", "\x1a", 0),
                ("", "", 0),
            ] {
                assert_eq!(held(2, bytes, part), (expected, lines), "{bytes:?}");
            }
        }
    }

    #[test]
    fn no_line_that_is_longer_than_a_record_is_held_back() {
        let long = "x".repeat(30);
        for part in [1, 7, 100] {
            assert_eq!(held(2, &format!("a\n{long}"), part), ("", 1));
            assert_eq!(held(2, &format!("a\n{long}\nb\n"), part), ("b\n", 1));
            assert_eq!(held(2, &format!("a\n{long}\nb\nc\nd\n"), part), ("c\nd\n", 2));
        }
    }
}
