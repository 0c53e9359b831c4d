//! A file as a stream of decoded bytes: plain, gzip or zstd, told by its first bytes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use crate::domain::Noted;

/// Bytes asked of the file at a time: each time costs two changes of thread.
const READ: usize = 256 * 1024;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// An open file.
pub struct ByteSource {
    bytes: Bytes,
    pub compressed: bool,
    /// Size and times at opening.
    pub noted: Noted,
}

enum Bytes {
    /// Read straight into where its bytes are framed: a reader of tokio would copy them once more.
    Plain(Arc<File>),
    Decoded(Pin<Box<dyn AsyncRead + Send + Sync>>),
    Ended,
}

impl ByteSource {
    /// Opens the file at its beginning.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let (file, noted, head) = off_thread(move || {
            let mut file = File::open(path)?;
            let noted = note(&file.metadata()?);
            let mut head = Vec::new();
            (&mut file).take(ZSTD.len() as u64).read_to_end(&mut head)?;
            file.rewind()?;
            Ok((file, noted, head))
        })
        .await?;
        let (gzip, zstd) = (head.starts_with(GZIP), head.starts_with(ZSTD));
        let bytes = if gzip {
            let mut decoder = GzipDecoder::new(buffered(file));
            decoder.multiple_members(true);
            Bytes::Decoded(Box::pin(decoder))
        } else if zstd {
            let mut decoder = ZstdDecoder::new(buffered(file));
            decoder.multiple_members(true);
            Bytes::Decoded(Box::pin(decoder))
        } else {
            Bytes::Plain(Arc::new(file))
        };
        Ok(Self { bytes, compressed: gzip || zstd, noted })
    }

    /// Opens a plain file at an offset.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let path = path.to_owned();
        off_thread(move || {
            let mut file = File::open(path)?;
            let noted = note(&file.metadata()?);
            file.seek(io::SeekFrom::Start(offset))?;
            Ok(Self { bytes: Bytes::Plain(Arc::new(file)), compressed: false, noted })
        })
        .await
    }

    /// Room that a chunk of so many bytes of it needs, with what is read beyond it.
    pub fn room(&self, chunk: usize) -> usize {
        let all = usize::try_from(self.noted.size).unwrap_or(usize::MAX);
        if self.compressed { chunk + READ } else { chunk.min(all) + READ }
    }

    /// The same without what was not read yet.
    pub fn ended(self) -> Self {
        Self { bytes: Bytes::Ended, ..self }
    }

    /// Appends what can be read at once, a few hundred KiB at most; 0 at the end. Where it fails, or is dropped
    /// before it is done, what was in `into` may be gone.
    ///
    /// # Errors
    /// What the system or the decoder says; `UnexpectedEof` when a compressed file is cut off.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        match &mut self.bytes {
            Bytes::Plain(file) => {
                let (file, mut bytes) = (Arc::clone(file), std::mem::take(into));
                bytes.reserve_exact(READ);
                let (read, bytes) = off_thread(move || Ok((fill(&file, &mut bytes), bytes))).await?;
                *into = bytes;
                read
            }
            Bytes::Decoded(bytes) => {
                into.reserve(READ);
                bytes.take(READ as u64).read_buf(into).await
            }
            Bytes::Ended => Ok(0),
        }
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

/// Runs what may wait for the disk where waiting holds up nobody.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Reads once into the room that is there, without clearing it first.
fn fill(file: &File, into: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        match rustix::io::read(file, rustix::buffer::spare_capacity(into)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn buffered(file: File) -> BufReader<tokio::fs::File> {
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(READ);
    BufReader::with_capacity(READ, file)
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
