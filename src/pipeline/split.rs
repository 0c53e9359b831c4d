//! The fields of a framed record, where they lie: no byte of most records is moved to find them.
//!
//! A field in quotes that has no quote inside is found here too. What is left, doubled quotes and
//! bytes behind a closing quote, csv-async reads; both agree wherever both can (a property test).

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use csv_async::{AsyncReader, AsyncReaderBuilder, ByteRecord, Terminator};
use futures::AsyncRead;

/// Bytes that csv-async takes at a time: a record over two of them costs it more.
const BUFFER: usize = 64 * 1024;

/// One record as fields.
#[derive(Clone, Copy, Debug)]
pub struct Record<'r> {
    bytes: &'r [u8],
    fields: &'r [Range<usize>],
    /// All of it is ASCII, without NUL: text as it is.
    pub ascii: bool,
}

impl<'r> Record<'r> {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The field at this place, unquoted.
    pub fn get(&self, at: usize) -> Option<&'r [u8]> {
        self.bytes.get(self.fields.get(at)?.clone())
    }

    /// All fields, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'r [u8]> {
        self.fields.iter().map(|field| self.bytes.get(field.clone()).unwrap_or_default())
    }
}

/// Splits records one after the other, in the same memory.
#[derive(Default)]
pub struct Splitter {
    fields: Vec<Range<usize>>,
    /// Made when first needed.
    odd: Option<Odd>,
}

impl Splitter {
    /// The fields of one record without its line end.
    pub async fn split<'r>(&'r mut self, record: &'r [u8]) -> Record<'r> {
        if let Some(ascii) = find(record, &mut self.fields) {
            return Record { bytes: record, fields: &self.fields, ascii };
        }
        let odd = self.odd.get_or_insert_with(Odd::new);
        odd.read(record, &mut self.fields).await;
        let bytes = odd.record.as_slice();
        let ascii = bytes.is_ascii() && !bytes.contains(&0);
        Record { bytes, fields: &self.fields, ascii }
    }
}

/// Where in a record the scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    Quoted,
    /// Behind the closing quote.
    Closed,
}

/// Where the fields of a record lie, quotes included; none where a quote stays open.
pub fn places(record: &[u8]) -> Option<Vec<Range<usize>>> {
    let (mut places, mut begin, mut state) = (Vec::new(), 0, State::Plain);
    for (at, byte) in record.iter().enumerate() {
        state = match (state, byte) {
            (State::Plain, b'"') if at == begin => State::Quoted,
            (State::Quoted, b'"') => State::Closed,
            // One of a pair.
            (State::Quoted, _) | (State::Closed, b'"') => State::Quoted,
            (_, b',') => {
                places.push(begin..at);
                begin = at + 1;
                State::Plain
            }
            // Bytes behind a closing quote belong to the field.
            (State::Plain | State::Closed, _) => State::Plain,
        };
    }
    places.push(begin..record.len());
    (state != State::Quoted).then_some(places)
}

/// Finds the fields, and tells whether all is ASCII without NUL; `None` when a field is not in the record as it is.
fn find(record: &[u8], fields: &mut Vec<Range<usize>>) -> Option<bool> {
    fields.clear();
    let (mut begin, mut state, mut seen) = (0, State::Plain, 0);
    let (words, rest) = record.as_chunks::<WORD>();
    let mut last = [b' '; WORD];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    for (number, word) in words.iter().chain([&last]).enumerate() {
        let word = u64::from_le_bytes(*word);
        // Taking one from each byte sets the high bit of the lowest zero among them, where all are ASCII.
        seen |= word | word.wrapping_sub(ONES);
        let (mut hits, quotes) = hits(word);
        while hits != 0 {
            let lowest = hits & hits.wrapping_neg();
            let at = number * WORD + (lowest.trailing_zeros() / u8::BITS) as usize;
            let comma = quotes & lowest == 0;
            hits ^= lowest;
            match state {
                State::Plain if comma => {
                    fields.push(begin..at);
                    begin = at + 1;
                }
                // A quote in the middle of a field that did not begin with one is a byte as any other.
                State::Plain if at == begin => state = State::Quoted,
                State::Quoted if !comma => {
                    if !matches!(record.get(at + 1), None | Some(b',')) {
                        return None;
                    }
                    fields.push(begin + 1..at);
                    state = State::Closed;
                }
                State::Closed => {
                    begin = at + 1;
                    state = State::Plain;
                }
                State::Plain | State::Quoted => {}
            }
        }
    }
    if state == State::Plain {
        fields.push(begin..record.len());
    }
    (state != State::Quoted).then_some(seen & !LOW == 0)
}

/// Bytes that are looked at together.
const WORD: usize = size_of::<u64>();

const ONES: u64 = u64::from_ne_bytes([1; WORD]);
const LOW: u64 = u64::from_ne_bytes([0x7f; WORD]);

/// The high bit of each byte that is a comma or a quote, and of those that are quotes.
const fn hits(word: u64) -> (u64, u64) {
    let quotes = is_zero(word ^ (ONES * b'"' as u64));
    (is_zero(word ^ (ONES * b',' as u64)) | quotes, quotes)
}

/// The high bit of each byte that is zero, and no other bit: no carry leaves a byte.
const fn is_zero(word: u64) -> u64 {
    !(((word & LOW) + LOW) | word | LOW)
}

/// Where the field at this place lies in a record, with its quotes.
pub fn place(record: &[u8], field: usize) -> Range<usize> {
    let (mut begin, mut left, mut state) = (0, field, State::Plain);
    for (at, byte) in record.iter().enumerate() {
        state = match (state, byte) {
            (State::Plain, b'"') if at == begin => State::Quoted,
            (State::Quoted, b'"') => State::Closed,
            // Behind a quote in quotes: the other of a pair.
            (State::Closed, b'"') => State::Quoted,
            (State::Plain | State::Closed, b',') if left == 0 => return begin..at,
            (State::Plain | State::Closed, b',') => {
                (begin, left) = (at + 1, left - 1);
                State::Plain
            }
            (State::Closed, _) => State::Plain,
            (state, _) => state,
        };
    }
    begin..record.len()
}

/// Reads the records that [`find`] does not.
struct Odd {
    reader: AsyncReader<Feed>,
    record: ByteRecord,
}

impl Odd {
    fn new() -> Self {
        let reader = AsyncReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(BUFFER)
            // Otherwise a byte order mark at the beginning of the first record would be taken for a file's.
            .create_reader(Feed { bytes: vec![b'\n'], read: 0 });
        Self { reader, record: ByteRecord::new() }
    }

    async fn read(&mut self, record: &[u8], fields: &mut Vec<Range<usize>>) {
        self.reader.get_mut().put(record);
        // Reading from memory does not fail, and a framed record ends where its line does.
        if !matches!(self.reader.read_byte_record(&mut self.record).await, Ok(true)) {
            self.record.clear();
        }
        fields.clear();
        fields.extend((0..self.record.len()).filter_map(|at| self.record.range(at)));
    }
}

/// Bytes that csv-async has yet to read.
struct Feed {
    bytes: Vec<u8>,
    read: usize,
}

impl Feed {
    fn put(&mut self, record: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(record);
        self.bytes.push(b'\n');
    }
}

impl AsyncRead for Feed {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let len = rest.len().min(into.len());
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
        self.read += len;
        Poll::Ready(Ok(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of a field without its quotes.
    fn unquoted(field: &[u8]) -> Vec<u8> {
        let Some(rest) = field.strip_prefix(b"\"") else { return field.to_vec() };
        let text = String::from_utf8(rest.to_vec()).unwrap();
        let mut inside = true;
        let mut out = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '"' if inside && rest.peek() == Some(&'"') => {
                    rest.next();
                    out.push('"');
                }
                '"' if inside => inside = false,
                c => out.push(c),
            }
        }
        out.into_bytes()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn places_are_those_of_the_fields(record in "[a,\"]{0,14}") {
            if let Some(places) = places(record.as_bytes()) {
                let mut splitter = Splitter::default();
                let fields = futures::executor::block_on(splitter.split(record.as_bytes()));
                let found: Vec<Vec<u8>> =
                    places.into_iter().map(|at| unquoted(&record.as_bytes()[at])).collect();
                prop_assert_eq!(found, fields.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            }
        }
    }
}
