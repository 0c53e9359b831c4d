//! Finds the line feeds that end CSV records. Knows quotes and line ends, but not fields.
//!
//! Agrees with csv-core on where a quoted field begins (only at the start of a field) and ends. A record ends at a line
//! feed outside quotes.

use memchr::memchr2;

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
}

/// The scan of one record. A new record begins with the default.
#[derive(Debug, Default)]
pub struct RecordEnds {
    state: State,
    /// The number of line feeds inside quotes so far.
    pub inner_lines: u64,
}

impl RecordEnds {
    /// Scans up to the next quote or line feed, and advances `scanned` past it. The record begins at `start`.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], start: usize, scanned: &mut usize) -> Step {
        let rest = &bytes[*scanned..];
        if self.state == State::QuoteSeen {
            let Some(next) = rest.first() else { return Step::OutOfBytes };
            let is_pair = *next == b'"';
            self.state = if is_pair { State::Quoted } else { State::Plain };
            *scanned += usize::from(is_pair);
            return Step::Within;
        }
        let Some(at) = memchr2(b'"', b'\n', rest).map(|at| *scanned + at) else { return Step::OutOfBytes };
        *scanned = at + 1;
        match (self.state, bytes[at]) {
            (State::Plain, b'\n') => return Step::End(at),
            (State::Plain, _) if at == start || bytes[at - 1] == b',' => self.state = State::Quoted,
            (State::Plain, _) => {}
            (_, b'\n') => self.inner_lines += 1,
            _ => self.state = State::QuoteSeen,
        }
        Step::Within
    }

    /// Whether a quote is open.
    pub fn is_quoted(&self) -> bool {
        self.state == State::Quoted
    }
}
