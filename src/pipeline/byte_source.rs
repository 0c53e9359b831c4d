//! Opens files of the inbox and of the archive as decoded bytes.

use std::io;
use std::path::Path;
use std::pin::Pin;

use encoding_rs::Encoding;
use tokio::io::AsyncRead;

use crate::format::decoded::{Decoded, RawFile};
use crate::source::folder::file::FolderFile;

/// An open file of a folder, read as decoded bytes.
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
/// Returns an error if the file cannot be opened or read.
pub async fn open(path: &Path, encoding: &'static Encoding) -> io::Result<ByteSource> {
    Decoded::new(FolderFile::open(path).await?, encoding).await
}

/// Opens a file at an offset and reads its bytes without decoding them.
///
/// # Errors
/// Returns an error if the file cannot be opened.
pub async fn open_at(path: &Path, offset: u64) -> io::Result<ByteSource> {
    Ok(Decoded::as_it_is(FolderFile::open_at(path, offset).await?))
}

/// Opens the same file again at its beginning, even if its name belongs to another file by now.
///
/// # Errors
/// Returns an error if the file cannot be opened or read.
pub async fn again(bytes: &ByteSource) -> io::Result<ByteSource> {
    Decoded::new(bytes.file.again().await?, bytes.encoding()).await
}
