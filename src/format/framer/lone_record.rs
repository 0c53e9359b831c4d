//! A record apart from its file.

use crate::domain::{Format, Position};
use crate::format::framer::Framer;
use crate::format::framer::open_tail::Tail;

/// Whether a file with these bytes would contain exactly this record.
pub fn is_one_record(format: &Format, limit: usize, record: &[u8]) -> bool {
    let begin = Position::default();
    let mut framer = Framer::new(format, limit, begin, begin, blake3::Hasher::new()).without_footer();
    framer.bytes().extend_from_slice(record);
    let Format::Csv(dialect) = format;
    framer.bytes().extend_from_slice(dialect.lines.bytes());
    framer.scan(usize::MAX, usize::MAX);
    matches!(framer.cut().frames.as_slice(), [frame] if frame.len == record.len())
}

/// Returns the record in `tail`, an open tail that is a record.
pub fn record_in_tail<'t>(format: &Format, tail: &'t [u8]) -> &'t [u8] {
    let begin = Position::default();
    let mut framer = Framer::new(format, tail.len(), begin, begin, blake3::Hasher::new()).without_footer();
    framer.bytes().extend_from_slice(tail);
    framer.scan(usize::MAX, usize::MAX);
    match framer.tail() {
        Tail::Record(record) if framer.records() == 0 => tail.get(..record.len()).unwrap_or(tail),
        _ => tail,
    }
}
