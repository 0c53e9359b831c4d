//! A zip archive with one file is read like a compressed file: as a stream, in bounded memory. The directory at its end
//! says where the bytes of the file are; an archive without a directory is incomplete.

mod checked;
mod directory;
mod unusable;

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::DeflateDecoder;
use checked::Checked;
use directory::{Found, Method};
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};
use unusable::Unusable;

use crate::format::raw_file::RawFile;

/// The first bytes of an archive, and those of an archive without files.
const BEGINNINGS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// An opened archive.
pub enum Archive {
    /// The bytes of its only file.
    File(Pin<Box<dyn AsyncRead + Send + Sync>>),
    /// The end of the archive is missing.
    Cut,
    Unusable(Unusable),
}

/// Whether a file that begins with these bytes is an archive.
pub fn is_archive(head: &[u8]) -> bool {
    BEGINNINGS.iter().any(|beginning| head.starts_with(beginning))
}

/// Opens an archive that was opened at its beginning. `buffer` is the number of bytes to request at a time.
///
/// # Errors
/// Returns an error if the archive cannot be read.
pub async fn open(file: &impl RawFile, buffer: usize) -> io::Result<Archive> {
    let member = match directory::read(file).await? {
        Found::One(member) => member,
        Found::Cut => return Ok(Archive::Cut),
        Found::Unusable(unusable) => return Ok(Archive::Unusable(unusable)),
    };
    let mut reader = file.reader()?;
    tokio::io::copy(&mut (&mut reader).take(member.begin), &mut tokio::io::sink()).await?;
    let packed = BufReader::with_capacity(buffer, reader).take(member.packed);
    let bytes: Pin<Box<dyn AsyncRead + Send + Sync>> = match member.method {
        Method::Stored => Box::pin(packed),
        Method::Deflated => Box::pin(DeflateDecoder::new(packed)),
    };
    Ok(Archive::File(Box::pin(Checked::new(bytes, member.size, member.crc))))
}
