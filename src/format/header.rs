//! Finds the header in the first bytes of a file.

use std::sync::Arc;

use encoding_rs::Encoding;
use memchr::memchr;

use crate::domain::format::{Dialect, HeaderRule};
use crate::domain::header::HeaderError;
use crate::domain::ledger::HEAD;
use crate::domain::lenient_settings::ExtraFields;
use crate::domain::{Feed, Format, Header, Position, Tolerated};
use crate::format::encoding::not_text;
use crate::format::framer::Framer;
use crate::format::framer::open_tail::Tail;
use crate::format::splitter::Splitter;

/// The byte order mark of UTF-8.
pub const BOM: &[u8] = b"\xef\xbb\xbf";

/// A header, and where it ends.
pub struct Headed {
    pub header: Header,
    /// The line on which the names are, from 1.
    pub line: u64,
    /// Where the records begin.
    pub mark: Position,
    /// The number of comments before the records.
    pub comments: u64,
    /// Whether the header has its line end.
    pub is_complete: bool,
}

/// Finds the header in `read`, the first decoded bytes of a file. `ended` tells whether these are all bytes of the file.
///
/// # Errors
/// Returns an error if there is no valid header within the first [`HEAD`] bytes.
pub async fn find(
    format: &Format,
    read: &[u8],
    ended: bool,
    encoding: &'static Encoding,
) -> Result<Headed, HeaderError> {
    let Format::Csv(dialect) = format;
    let bom = if read.starts_with(BOM) { BOM.len() } else { 0 };
    let nothing = |comments: u64| Headed {
        header: Header(Vec::new()),
        line: format.header_line(),
        mark: Position { offset: read.len() as u64, record: 0, line: 0 },
        comments,
        is_complete: false,
    };
    if ended && read.len() == bom {
        return Ok(nothing(0));
    }
    let short =
        || if ended { HeaderError::Short { line: format.header_line() } } else { HeaderError::TooLong(HEAD) };
    let line_byte = format.line_byte();
    let skipped = after_lines(read, bom, (dialect.skip_lines, line_byte)).ok_or_else(short)?;
    let begin = Position { offset: skipped as u64, record: 0, line: dialect.skip_lines };
    let lines = match &dialect.header {
        HeaderRule::Lines(lines) => *lines,
        HeaderRule::Names(names) => {
            let (header, line) = (Header(names.clone()), format.header_line());
            return Ok(Headed { header, line, mark: begin, comments: 0, is_complete: true });
        }
    };
    let mut framer = Framer::new(format, HEAD, begin, begin, blake3::Hasher::new()).without_footer();
    framer.bytes().extend_from_slice(&read[skipped..]);
    framer.scan(1, usize::MAX);
    let mut is_complete = true;
    if framer.records() == 0 {
        match framer.tail() {
            Tail::Nothing | Tail::Comment | Tail::EndOfFile if ended && dialect.skip_lines == 0 => {
                framer.close_tail();
                return Ok(nothing(framer.cut().tolerated.get(Tolerated::Comments)));
            }
            Tail::Nothing | Tail::Comment | Tail::EndOfFile => return Err(short()),
            Tail::Record(_) if ended => {
                framer.close_tail();
                is_complete = false;
            }
            _ => return Err(HeaderError::TooLong(HEAD)),
        }
    }
    let cut = framer.cut();
    let Some(frame) = cut.frames.first() else { return Err(HeaderError::TooLong(HEAD)) };
    let header = cut.bytes.get(frame.start..frame.start + frame.len).unwrap_or_default();
    if let Some((at, byte)) = not_text(header) {
        let (at, encoding) = (frame.offset + at as u64, encoding.name());
        let (line, next) = (frame.line, encoding_remedy(read, format.feed()));
        return Err(HeaderError::Encoding { line, at, byte, encoding, next });
    }
    // A null word is the name of a column like any other.
    let mut splitter =
        Splitter::new(&Format::Csv(Arc::new(Dialect { null: Vec::new(), ..(**dialect).clone() })));
    let fields = splitter.split(header).await.map_err(|malformed| {
        let place = frame.offset + malformed.at as u64;
        let why = malformed.describe(place);
        HeaderError::Quote { line: frame.line, why, feed: format.feed().clone() }
    })?;
    let names = fields.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let header = Header(without_empty_last(format, names));
    let comments = cut.tolerated.get(Tolerated::Comments);
    let to = cut.span.to;
    let end = usize::try_from(to.offset).unwrap_or(read.len());
    let within = || if ended { HeaderError::ShortHeader { lines } } else { HeaderError::TooLong(HEAD) };
    let end = after_lines(read, end, (lines - 1, line_byte)).ok_or_else(within)?;
    let mark = Position { offset: end as u64, record: 0, line: to.line + lines - 1 };
    Ok(Headed { header, line: frame.line, mark, comments, is_complete })
}

/// Returns what to do about a header that is not text. UTF-16 without a byte order mark has a NUL byte in each ASCII
/// character.
fn encoding_remedy(read: &[u8], feed: &Feed) -> String {
    let setting = feed.setting("source.encoding");
    let is_nul = |at: usize| read.get(at) == Some(&0);
    match (is_nul(0) || is_nul(2), is_nul(1) || is_nul(3)) {
        (true, true) => {
            "its beginning is empty: if it is still being copied, it is loaded later; if not, send it again"
                .to_owned()
        }
        (false, true) => format!("the file seems to be UTF-16: set {setting}: utf-16le"),
        (true, false) => format!("the file seems to be UTF-16: set {setting}: utf-16be"),
        (false, false) => format!(
            "set {setting} to the encoding of the file, such as windows-1252, or save the file as UTF-8"
        ),
    }
}

/// Removes an empty last name, if the format ignores an empty last field.
fn without_empty_last(format: &Format, mut names: Vec<String>) -> Vec<String> {
    let ignores = format.lenient().extra_fields == ExtraFields::IgnoreEmptyLast;
    if ignores && names.len() > 1 && names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    names
}

/// Returns the index after this many lines from `at` on, which end with `line_byte`, or `None` if there are fewer.
fn after_lines(read: &[u8], at: usize, (lines, line_byte): (u64, u8)) -> Option<usize> {
    (0..lines).try_fold(at, |at, _| Some(at + memchr(line_byte, read.get(at..)?)? + 1))
}
