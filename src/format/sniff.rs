//! Recognizes files that are not CSV by their first bytes, to report the kind of file instead of a bad header.

use encoding_rs::Encoding;

use crate::domain::Feed;
use crate::domain::header::HeaderError;

/// The number of bytes checked. They include the magic bytes of a tar archive.
pub const LOOKED_AT: usize = 512;

const KINDS: [(&[u8], &str); 14] = [
    (b"PK\x03\x04", "a zip archive inside a compressed file"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"LZIP\x01", "compressed by lzip"),
    (b"\x5d\0\0", "compressed by LZMA"),
    (b"\x1f\x9d", "compressed by compress"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (.xls)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"\x1f\x8b", "a gzip file inside a compressed file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file inside a compressed file"),
    (b"%PDF-", "a PDF document"),
    (b"PAR1\x15", "a Parquet file"),
    (b"SQLite format 3\0", "an SQLite file"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
];

/// The offset of the magic bytes of a tar archive, and the bytes.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// The bytes that bzip2 writes after the digit of its level.
const BZIP2: &[u8] = b"\x31\x41\x59\x26\x53\x59";

/// Checks that a file that begins with these decompressed bytes can be read.
///
/// # Errors
/// Returns an error that names the kind of file and the next step.
pub fn check(first: &[u8], encoding: &'static Encoding, feed: &Feed) -> Result<(), HeaderError> {
    if let Some(kind) = kind(first) {
        return Err(HeaderError::NotCsv(kind));
    }
    if first.starts_with(b"\xff\xfe\0\0") || first.starts_with(b"\0\0\xfe\xff") {
        return Err(HeaderError::NotCsv("UTF-32 text, which needledrop cannot read,"));
    }
    match Encoding::for_bom(first) {
        Some((found, _)) if found != encoding => {
            let (found, set) = (found.name(), encoding.name());
            Err(HeaderError::OtherEncoding { found, set, setting: feed.setting("source.encoding") })
        }
        _ => Ok(()),
    }
}

fn kind(first: &[u8]) -> Option<&'static str> {
    if first.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return Some("a tar archive");
    }
    if first.starts_with(b"BZh") && first.get(4..).is_some_and(|rest| rest.starts_with(BZIP2)) {
        return Some("compressed by bzip2");
    }
    KINDS.iter().find(|(magic, _)| first.starts_with(magic)).map(|(_, kind)| *kind)
}
