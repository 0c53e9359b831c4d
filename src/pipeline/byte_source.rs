//! Opens files of a source as decoded bytes.

use std::io;
use std::pin::Pin;

use encoding_rs::Encoding;
use tokio::io::AsyncRead;

use crate::domain::FileKey;
use crate::format::decoded::Decoded;
use crate::format::raw_file::RawFile;
use crate::source::{Source, SourceFile};

impl<F: SourceFile> RawFile for F {
    fn size(&self) -> u64 {
        self.noted().size
    }

    async fn at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        SourceFile::at(self, offset, len).await
    }

    async fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        SourceFile::read(self, into).await
    }

    fn reader(&self) -> io::Result<Pin<Box<dyn AsyncRead + Send + Sync>>> {
        SourceFile::reader(self)
    }
}

/// Opens a file at its beginning.
///
/// # Errors
/// Returns an error if the file cannot be opened or read.
pub async fn open<I: Source>(
    source: &I,
    file: &FileKey,
    encoding: &'static Encoding,
) -> io::Result<Decoded<I::File>> {
    Decoded::new(source.open(file, 0).await?, encoding).await
}

/// Opens a file at an offset and reads its bytes without decoding them.
///
/// # Errors
/// Returns an error if the file cannot be opened.
pub async fn open_at<I: Source>(source: &I, file: &FileKey, offset: u64) -> io::Result<Decoded<I::File>> {
    Ok(Decoded::as_it_is(source.open(file, offset).await?))
}

/// Opens the same file again at its beginning, even if its path leads to another file by now.
///
/// # Errors
/// Returns an error if the file cannot be opened or read.
pub async fn again<F: SourceFile>(bytes: &Decoded<F>) -> io::Result<Decoded<F>> {
    Decoded::new(bytes.file.again().await?, bytes.encoding()).await
}
