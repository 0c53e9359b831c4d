//! Files of the inbox and of the archive as decoded bytes.

use std::io;
use std::path::Path;
use std::pin::Pin;

use encoding_rs::Encoding;
use tokio::io::AsyncRead;

use crate::format::decoded::{Decoded, RawFile};
use crate::source::folder::file::FolderFile;

/// An open file.
pub type ByteSource = Decoded<FolderFile>;

impl RawFile for FolderFile {
    fn size(&self) -> u64 {
        self.noted.size
    }

    async fn first(&self, len: usize) -> io::Result<Vec<u8>> {
        self.at(0, len).await
    }

    async fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        Self::read(self, into).await
    }

    fn reader(&self) -> io::Result<Pin<Box<dyn AsyncRead + Send + Sync>>> {
        Self::reader(self)
    }
}

/// Opens a file at its beginning.
///
/// # Errors
/// When it cannot be opened or read.
pub async fn open(path: &Path, encoding: &'static Encoding) -> io::Result<ByteSource> {
    Decoded::new(FolderFile::open(path).await?, encoding).await
}

/// Opens a file whose bytes are taken as they are, at an offset.
///
/// # Errors
/// When it cannot be opened.
pub async fn open_at(path: &Path, offset: u64) -> io::Result<ByteSource> {
    Ok(Decoded::as_it_is(FolderFile::open_at(path, offset).await?))
}

/// Opens the same file once more at its beginning, also when its name is another's by now.
///
/// # Errors
/// As [`open`].
pub async fn again(bytes: &ByteSource) -> io::Result<ByteSource> {
    Decoded::new(bytes.file.again().await?, bytes.encoding()).await
}
