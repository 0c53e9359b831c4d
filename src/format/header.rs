//! Finds the header in the first bytes of a file.

use encoding_rs::Encoding;

use crate::domain::header::HeaderError;
use crate::domain::ledger::HEAD;
use crate::domain::{Format, Header, Position};
use crate::format::encoding::not_text;
use crate::format::framer::{Framer, Tail};
use crate::format::splitter::Splitter;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A header, and where it ends.
pub struct Headed {
    pub header: Header,
    /// Where the records begin.
    pub mark: Position,
    /// Whether the header has its line end.
    pub is_complete: bool,
}

/// Finds the header in `read`, the first decoded bytes of a file. `ended` is whether they are all its bytes.
///
/// # Errors
/// Returns an error if there is no valid header within the first [`HEAD`] bytes.
pub async fn find(
    format: &Format,
    read: &[u8],
    ended: bool,
    encoding: &'static Encoding,
) -> Result<Headed, HeaderError> {
    let bom = if read.starts_with(BOM) { BOM.len() } else { 0 };
    let begin = Position { offset: bom as u64, ..Position::default() };
    let mut framer = Framer::new(format, HEAD, begin, begin, blake3::Hasher::new());
    framer.bytes().extend_from_slice(&read[bom..]);
    framer.scan(1, usize::MAX);
    let mut is_complete = true;
    if framer.records() == 0 {
        match framer.tail() {
            Tail::Nothing if ended => {
                let mark = Position { offset: read.len() as u64, record: 0, line: 0 };
                return Ok(Headed { header: Header(Vec::new()), mark, is_complete: false });
            }
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
        return Err(HeaderError::Encoding { at, byte, encoding });
    }
    let mut splitter = Splitter::new(format);
    let fields = splitter
        .split(header)
        .await
        .map_err(|malformed| HeaderError::Quote(malformed.describe(frame.offset + malformed.at as u64)))?;
    let header = Header(fields.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect());
    Ok(Headed { header, mark: Position { record: 0, ..cut.span.to }, is_complete })
}
