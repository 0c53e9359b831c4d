//! A file as a stream of decoded bytes: plain, gzip or zstd, told by its first bytes.

use std::io;
use std::path::Path;
use std::pin::Pin;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, BufReader};

use crate::domain::Noted;

/// Bytes asked of the file at a time: each time costs two changes of thread.
const READ: usize = 256 * 1024;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// An open file.
pub struct ByteSource {
    bytes: Pin<Box<dyn AsyncRead + Send + Sync>>,
    pub compressed: bool,
    /// Size and times at opening.
    pub noted: Noted,
}

impl ByteSource {
    /// Opens the file at its beginning.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        let noted = note(&file.metadata().await?);
        file.set_max_buf_size(READ);
        let mut file = BufReader::with_capacity(READ, file);
        let head = file.fill_buf().await?;
        let (gzip, zstd) = (head.starts_with(GZIP), head.starts_with(ZSTD));
        let bytes: Pin<Box<dyn AsyncRead + Send + Sync>> = if gzip {
            let mut decoder = GzipDecoder::new(file);
            decoder.multiple_members(true);
            Box::pin(decoder)
        } else if zstd {
            let mut decoder = ZstdDecoder::new(file);
            decoder.multiple_members(true);
            Box::pin(decoder)
        } else {
            Box::pin(file)
        };
        Ok(Self { bytes, compressed: gzip || zstd, noted })
    }

    /// Opens a plain file at an offset.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        let noted = note(&file.metadata().await?);
        file.set_max_buf_size(READ);
        file.seek(io::SeekFrom::Start(offset)).await?;
        let bytes = Box::pin(BufReader::with_capacity(READ, file));
        Ok(Self { bytes, compressed: false, noted })
    }

    /// The same without what was not read yet.
    pub fn ended(self) -> Self {
        Self { bytes: Box::pin(tokio::io::empty()), ..self }
    }

    /// Appends what can be read at once, at most 128 KiB; 0 at the end.
    ///
    /// # Errors
    /// What the system or the decoder says; `UnexpectedEof` when a compressed file is cut off.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        into.reserve(READ);
        let mut limited = (&mut self.bytes).take(READ as u64);
        limited.read_buf(into).await
    }

    /// Appends until `into` has `len` bytes or the end is reached.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_up_to(&mut self, into: &mut Vec<u8>, len: usize) -> io::Result<()> {
        while into.len() < len && self.read(into).await? > 0 {}
        Ok(())
    }
}

/// Size and times of a file.
pub fn note(meta: &std::fs::Metadata) -> Noted {
    use std::os::unix::fs::MetadataExt;
    Noted {
        size: meta.len(),
        mtime: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
        ctime: meta.ctime() * 1_000_000_000 + meta.ctime_nsec(),
    }
}
