//! Finds the fields of a framed CSV record in place: the bytes of most records are not moved.
//!
//! Quotes follow RFC 4180 strictly. A quoted field begins with a quote, ends with a quote before a delimiter or the end
//! of the record, and has its other quotes doubled. Any other quote makes the record [`Malformed`], because readers
//! differ on its meaning. csv-async decodes doubled quotes. Dialects with more rules are in
//! [`rich`](super::rich).

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use csv_async::{AsyncReader, AsyncReaderBuilder, ByteRecord, Terminator};
use futures::AsyncRead;

use crate::domain::format::Escape;
use crate::format::csv::malformed::{Fault, Malformed};

/// The number of bytes that csv-async takes at a time. A record that spans two buffers takes csv-async more time.
const BUFFER: usize = 64 * 1024;

/// The state of the scan in a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldState {
    Plain,
    Quoted,
    /// After the first of two quotes.
    Pair,
    /// After the closing quote, before a delimiter or the end.
    Closed,
}

/// Properties of a record found while splitting it.
pub struct Found {
    /// Whether the record is pure ASCII without NUL.
    pub ascii: bool,
    /// Whether a field has doubled quotes or other escapes, so that its value differs from its bytes in the record.
    pub escaped: bool,
    /// The number of fields with blanks around them that are not part of them.
    pub trimmed: u64,
}

/// Finds the fields without their quotes.
///
/// # Errors
/// Returns the first quote that RFC 4180 does not allow.
#[inline]
pub fn find(
    record: &[u8],
    (delimiter, quote): (u8, u8),
    fields: &mut Vec<Range<usize>>,
) -> Result<Found, Malformed> {
    fields.clear();
    let (mut begin, mut state, mut seen, mut escaped) = (0, FieldState::Plain, 0, false);
    let (words, rest) = record.as_chunks::<WORD>();
    let mut last = [padding(delimiter, quote); WORD];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    for (number, word) in words.iter().chain([&last]).enumerate() {
        let word = u64::from_le_bytes(*word);
        // If all bytes are ASCII, subtracting one from each byte sets the high bit of the lowest zero byte.
        seen |= word | word.wrapping_sub(ONES);
        let (mut hits, quotes) = hits(word, delimiter, quote);
        while hits != 0 {
            let lowest = hits & hits.wrapping_neg();
            let at = number * WORD + (lowest.trailing_zeros() / u8::BITS) as usize;
            let delimits = quotes & lowest == 0;
            hits ^= lowest;
            match state {
                FieldState::Plain if delimits => {
                    fields.push(begin..at);
                    begin = at + 1;
                }
                FieldState::Plain if at == begin => state = FieldState::Quoted,
                FieldState::Plain => return Err(malformed(fields, at, Fault::Inside)),
                FieldState::Quoted if !delimits => match record.get(at + 1) {
                    Some(next) if *next == quote => (escaped, state) = (true, FieldState::Pair),
                    Some(next) if *next != delimiter => return Err(malformed(fields, at, Fault::Closing)),
                    _ => {
                        fields.push(begin + 1..at);
                        state = FieldState::Closed;
                    }
                },
                FieldState::Pair => state = FieldState::Quoted,
                FieldState::Closed => {
                    begin = at + 1;
                    state = FieldState::Plain;
                }
                FieldState::Quoted => {}
            }
        }
    }
    match state {
        FieldState::Plain => fields.push(begin..record.len()),
        FieldState::Closed => {}
        FieldState::Quoted | FieldState::Pair => {
            return Err(malformed(fields, begin, Fault::Open));
        }
    }
    Ok(Found { ascii: seen & !LOW == 0, escaped, trimmed: 0 })
}

fn malformed(fields: &[Range<usize>], at: usize, fault: Fault) -> Malformed {
    Malformed { field: fields.len(), at, fault, escape: Escape::Doubled }
}

/// The number of bytes checked together.
const WORD: usize = size_of::<u64>();

const ONES: u64 = u64::from_ne_bytes([1; WORD]);
const LOW: u64 = u64::from_ne_bytes([0x7f; WORD]);

/// Returns an ASCII character that fills the last word. It is neither a delimiter nor a quote, so nothing is found in it.
#[inline]
const fn padding(delimiter: u8, quote: u8) -> u8 {
    match (delimiter, quote) {
        (b' ', b'x') | (b'x', b' ') => b'y',
        (b' ', _) | (_, b' ') => b'x',
        _ => b' ',
    }
}

/// Returns the high bit of each byte that is a delimiter or a quote, and the high bit of each byte that is a quote.
#[inline]
const fn hits(word: u64, delimiter: u8, quote: u8) -> (u64, u64) {
    let quotes = is_zero(word ^ (ONES * quote as u64));
    (is_zero(word ^ (ONES * delimiter as u64)) | quotes, quotes)
}

/// Returns the high bit of each zero byte, and no other bit: the addition carries nothing from byte to byte.
const fn is_zero(word: u64) -> u64 {
    !(((word & LOW) + LOW) | word | LOW)
}

/// Reads the records that have doubled quotes.
pub struct DoubledQuotes {
    reader: AsyncReader<Feed>,
    /// The last record.
    pub record: ByteRecord,
}

impl DoubledQuotes {
    pub fn new((delimiter, quote): (u8, u8)) -> Self {
        let reader = AsyncReaderBuilder::new()
            .delimiter(delimiter)
            .quote(quote)
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(BUFFER)
            // csv-async removes a byte order mark at the beginning of its input. A line feed comes first, so that a
            // mark in the first record is kept.
            .create_reader(Feed { bytes: vec![b'\n'], read: 0 });
        Self { reader, record: ByteRecord::new() }
    }

    /// Reads one record. The ranges of `fields` are those in [`Self::record`].
    pub async fn read(&mut self, record: &[u8], fields: &mut Vec<Range<usize>>) {
        self.reader.get_mut().put(record);
        // Reading from memory does not fail, and a framed record ends where its line ends.
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
    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Format;
    use crate::format::splitter::{Splitter, field_count, places};

    fn split(record: &str) -> Result<Vec<String>, Malformed> {
        let mut splitter = Splitter::new(&Format::default());
        let record = block_on(splitter.split(record.as_bytes()))?;
        Ok(record.iter().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect())
    }

    /// Returns the fields by the grammar of RFC 4180, or `None` if the grammar does not allow the record.
    fn by_the_grammar(record: &str) -> Option<Vec<String>> {
        let (mut chars, mut fields) = (record.chars().peekable(), Vec::new());
        loop {
            let mut field = String::new();
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next()? {
                        '"' if chars.next_if_eq(&'"').is_some() => field.push('"'),
                        '"' => break,
                        c => field.push(c),
                    }
                }
            } else {
                while let Some(c) = chars.next_if(|c| *c != ',') {
                    if c == '"' {
                        return None;
                    }
                    field.push(c);
                }
            }
            fields.push(field);
            match chars.next() {
                None => return Some(fields),
                Some(',') => {}
                Some(_) => return None,
            }
        }
    }

    /// Generates records of complete fields, or of arbitrary significant bytes.
    fn records() -> impl Strategy<Value = String> {
        const FIELDS: [&str; 12] = [
            "",
            "a",
            "long enough for several words",
            "\"\"",
            "\"a,b\"",
            "\"q\"\"q\"",
            "\"\"\"\"",
            "\"line\r\nend\"",
            "5\" pipe",
            "\"O\"Brien",
            " \"a\"",
            "\"a\" ",
        ];
        let fields = prop::collection::vec(prop::sample::select(&FIELDS[..]), 1..6);
        prop_oneof!["[ab,\"]{0,24}", fields.prop_map(|fields| fields.join(","))]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn fields_are_those_of_the_grammar(record in records()) {
            let (found, places) = (split(&record), places(&Format::default(), record.as_bytes()));
            prop_assert_eq!(found.clone().ok(), by_the_grammar(&record));
            match (found, places) {
                (Ok(fields), Ok(places)) => {
                    let alone: Vec<_> = places.iter().map(|at| split(&record[at.clone()]).unwrap().concat()).collect();
                    prop_assert_eq!(alone, fields);
                    let commas: Vec<_> = places.windows(2).map(|pair| pair[0].end..pair[1].start).collect();
                    prop_assert!(commas.iter().all(|at| &record[at.clone()] == ","), "{commas:?}");
                }
                (Err(malformed), Err(other)) => {
                    prop_assert_eq!(malformed, other);
                    prop_assert_eq!(&record[malformed.at..=malformed.at], "\"");
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn nothing_is_found_after_the_end_of_a_record() {
        let of = |marks, record: &str| {
            let mut fields = Vec::new();
            let ascii = find(record.as_bytes(), marks, &mut fields).unwrap().ascii;
            assert!(ascii);
            fields.into_iter().map(|at| record[at].to_owned()).collect::<Vec<_>>()
        };
        for (delimiter, quote) in [(b' ', b'"'), (b' ', b'x'), (b';', b' '), (b'x', b' '), (b'x', b'y')] {
            for len in 0..20 {
                let text = "a".repeat(len);
                let marks = (delimiter, quote);
                assert_eq!(of(marks, &text), std::slice::from_ref(&text));
                let two = format!("{text}{}b", char::from(delimiter));
                assert_eq!(of(marks, &two), [text, "b".to_owned()]);
            }
        }
    }

    #[test]
    fn the_malformed_quote_is_named() {
        let cases = [
            ("1,\"Hey, I \"missed\" it\",3", "field 2 does not end at its closing quote, at byte 10"),
            ("2,\"ab\"c,3", "field 2 does not end at its closing quote, at byte 5"),
            ("3,\"ab\" ,3", "field 2 does not end at its closing quote, at byte 5"),
            ("4,\"He said \"hi, there\" ok\"", "field 2 does not end at its closing quote, at byte 11"),
            ("5,\"a\"\"b\"c\"d\",3", "field 2 does not end at its closing quote, at byte 7"),
            ("6,\"\"a\"\",3", "field 2 does not end at its closing quote, at byte 3"),
            ("7,\"O\"Brien, \"A\"nn", "field 2 does not end at its closing quote, at byte 4"),
            (
                "8,5\" pipe,3",
                "field 2 has a quote at byte 3 and does not begin with one: put the field in quotes",
            ),
            ("9, \"Jones\", b", "field 2 has a quote at byte 3"),
            ("\"open", "field 1 begins with a quote at byte 0 that is not closed"),
        ];
        for (record, expected) in cases {
            let malformed = split(record).unwrap_err();
            let described = malformed.describe(malformed.at);
            assert!(described.starts_with(expected), "{record}: {described}");
            assert_eq!(field_count(&Format::default(), record.as_bytes()), None);
        }
    }
}
