//! A file as a stream of decoded bytes: plain, gzip or zstd, told by its first bytes, and as UTF-8.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use encoding_rs::{Encoding, UTF_8};
use rustix::fs::OFlags;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use super::broken::Broken;
use super::encoding::Transcoder;
use super::kind;
use crate::domain::Noted;
use crate::domain::header::HeaderError;
use crate::fault;
use crate::pipeline::open_writers;

/// Bytes asked of the file at a time: each time costs two changes of thread.
const READ: usize = 256 * 1024;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Bytes of one that say nothing may stand before a frame of zstd: the last three of their four.
const ZSTD_SKIPPED: &[u8] = b"\x2a\x4d\x18";

/// The window of a zstd frame is at most 2 to the power of this (8 MiB): what its levels up to 19 need. A frame
/// may ask for gigabytes.
const ZSTD_WINDOW: u32 = 23;

/// How many times longer than compressed the text of a compressed file is taken to be: with less the
/// file takes a further range of stamps.
const COMPRESSED: u64 = 32;

/// How many times longer a text can be in UTF-8 than in another encoding.
const TRANSCODED: u64 = 3;

/// An open file.
pub struct ByteSource {
    bytes: Bytes,
    file: Arc<File>,
    /// Where the file is not UTF-8.
    text: Option<Text>,
    compressed: bool,
    encoding: &'static Encoding,
    /// The first decompressed bytes.
    first: Vec<u8>,
    broken: Option<Broken>,
    /// Size and times at opening.
    pub noted: Noted,
}

/// Bytes of another encoding on their way to UTF-8.
struct Text {
    transcoder: Transcoder,
    bytes: Vec<u8>,
    over: bool,
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
    pub async fn open(path: &Path, encoding: &'static Encoding) -> io::Result<Self> {
        let path = path.to_owned();
        let (file, noted, head) = off_thread(move || {
            let (mut file, noted) = opened(&path)?;
            let mut head = Vec::new();
            (&mut file).take(ZSTD.len() as u64).read_to_end(&mut head)?;
            file.rewind()?;
            Ok((file, noted, head))
        })
        .await?;
        let file = Arc::new(file);
        let bytes = Bytes::of(&file, &head)?;
        Ok(Self { compressed: !matches!(bytes, Bytes::Plain(_)), ..Self::new(file, bytes, encoding, noted) })
    }

    /// Opens a plain file at an offset.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let path = path.to_owned();
        off_thread(move || {
            let (mut file, noted) = opened(&path)?;
            file.seek(io::SeekFrom::Start(offset))?;
            let file = Arc::new(file);
            Ok(Self::new(Arc::clone(&file), Bytes::Plain(file), UTF_8, noted))
        })
        .await
    }

    fn new(file: Arc<File>, bytes: Bytes, encoding: &'static Encoding, noted: Noted) -> Self {
        let text = (encoding != UTF_8).then(|| Text::new(encoding));
        Self { bytes, file, text, compressed: false, encoding, first: Vec::new(), broken: None, noted }
    }

    /// Opens the same file once more at its beginning, also when its name is another's by now.
    ///
    /// # Errors
    /// What the system says.
    pub async fn again(&self) -> io::Result<Self> {
        Self::open(Path::new(&format!("/proc/self/fd/{}", self.file.as_raw_fd())), self.encoding).await
    }

    /// Where the file lies that was opened, whatever its name leads to by now.
    ///
    /// # Errors
    /// What the system says.
    pub fn real_place(&self) -> io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Size and times now.
    ///
    /// # Errors
    /// What the system says.
    pub async fn look(&self) -> io::Result<Noted> {
        let file = Arc::clone(&self.file);
        off_thread(move || Ok(note(&file.metadata()?))).await
    }

    /// Whether a process is seen that has the file open for writing.
    pub async fn has_writer(&self) -> bool {
        let file = Arc::clone(&self.file);
        let seen = off_thread(move || Ok(open_writers::has_writer(&file.metadata()?))).await;
        seen.unwrap_or(false)
    }

    /// How far the file was read, in bytes as they lie there.
    pub fn position(&self) -> u64 {
        rustix::fs::tell(&self.file).unwrap_or(0)
    }

    /// Up to `len` bytes as they lie in the file, from `offset` on.
    ///
    /// # Errors
    /// What the system says.
    pub async fn at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        off_thread(move || {
            let mut bytes = vec![0; len];
            let mut read = 0;
            while read < len {
                match file.read_at(&mut bytes[read..], offset + read as u64) {
                    Ok(0) => break,
                    Ok(more) => read += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(read);
            Ok(bytes)
        })
        .await
    }

    /// The same, with something between the file and who reads it.
    #[cfg(test)]
    pub fn through<R: AsyncRead + Send + Sync + 'static>(
        self,
        wrap: impl FnOnce(Pin<Box<dyn AsyncRead + Send + Sync>>) -> R,
    ) -> Self {
        let bytes: Pin<Box<dyn AsyncRead + Send + Sync>> = match self.bytes {
            Bytes::Plain(file) => Box::pin(buffered(&file).unwrap()),
            Bytes::Decoded(bytes) => bytes,
            Bytes::Ended => Box::pin(tokio::io::empty()),
        };
        Self { bytes: Bytes::Decoded(Box::pin(wrap(bytes))), ..self }
    }

    /// Its bytes are decoded as they are: it can be opened at any of their offsets.
    pub fn is_plain(&self) -> bool {
        !self.compressed && self.text.is_none()
    }

    /// How many times longer than the file its text is taken to be.
    pub fn expansion(&self) -> u64 {
        match (self.compressed, &self.text) {
            (true, _) => COMPRESSED,
            (false, Some(_)) => TRANSCODED,
            (false, None) => 1,
        }
    }

    /// Room that a chunk of so many bytes of it needs, with what is read beyond it.
    pub fn room(&self, chunk: usize) -> usize {
        let all = usize::try_from(self.noted.size).unwrap_or(usize::MAX);
        if self.is_plain() { chunk.min(all) + READ } else { chunk + READ }
    }

    /// The same without what was not read yet.
    pub fn ended(self) -> Self {
        Self { bytes: Bytes::Ended, text: None, ..self }
    }

    /// Why reading ended before the file did, where it did.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Whether what was read from the beginning can be CSV in this encoding.
    ///
    /// # Errors
    /// What the file is instead.
    pub fn check_kind(&self) -> Result<(), HeaderError> {
        kind::check(&self.first, self.encoding)
    }

    /// Appends what can be read at once, a few hundred KiB at most; 0 at the end. Where it fails, or is dropped
    /// before it is done, what was in `into` may be gone.
    ///
    /// # Errors
    /// What the system says; with [`Self::broken`], and again at each call, where the bytes end too early.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        if let Some(broken) = &self.broken {
            return Err(broken.error());
        }
        let read = match &mut self.text {
            Some(text) => text.read(&mut self.bytes, &mut self.first, into).await,
            None => self.bytes.read(&mut self.first, into).await,
        };
        // A decoder tells its errors once, and the end behind them.
        read.inspect_err(|error| self.broken = Broken::by(error, self.compressed))
    }

    /// Hash of the first `len` decoded bytes; `None` where there are not so many, or reading breaks off before.
    ///
    /// # Errors
    /// What the system says.
    pub async fn hash_of_first(mut self, len: u64) -> io::Result<Option<blake3::Hash>> {
        let (mut hasher, mut part, mut left) = (blake3::Hasher::new(), Vec::new(), len);
        while left > 0 {
            part.clear();
            match self.read(&mut part).await {
                Ok(0) => return Ok(None),
                Err(_) if self.broken.is_some() => return Ok(None),
                read => read?,
            };
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
            hasher.update(&part[..take]);
            left -= take as u64;
        }
        Ok(Some(hasher.finalize()))
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

impl Bytes {
    fn of(file: &Arc<File>, head: &[u8]) -> io::Result<Self> {
        Ok(if head.starts_with(GZIP) {
            let mut decoder = GzipDecoder::new(buffered(file)?);
            decoder.multiple_members(true);
            Self::Decoded(Box::pin(decoder))
        } else if head.starts_with(ZSTD) || is_skipped(head) {
            let limit = [DParameter::window_log_max(ZSTD_WINDOW)];
            let mut decoder = ZstdDecoder::with_params(buffered(file)?, &limit);
            decoder.multiple_members(true);
            Self::Decoded(Box::pin(decoder))
        } else {
            Self::Plain(Arc::clone(file))
        })
    }

    /// Appends what can be read at once; what is among the first bytes of the file to `first` too.
    async fn read(&mut self, first: &mut Vec<u8>, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        let read = match self {
            Self::Plain(file) => {
                let (file, mut bytes) = (Arc::clone(file), std::mem::take(into));
                bytes.reserve_exact(READ);
                let (read, bytes) = off_thread(move || Ok((fill(&file, &mut bytes), bytes))).await?;
                *into = bytes;
                read?
            }
            Self::Decoded(bytes) => {
                into.reserve(READ);
                bytes.take(READ as u64).read_buf(into).await?
            }
            Self::Ended => 0,
        };
        first.extend(into.iter().skip(before).take(kind::LOOKED_AT - first.len()));
        Ok(read)
    }
}

impl Text {
    fn new(encoding: &'static Encoding) -> Self {
        Self { transcoder: Transcoder::new(encoding), bytes: Vec::new(), over: false }
    }

    /// Reads until there is a whole character.
    async fn read(&mut self, from: &mut Bytes, first: &mut Vec<u8>, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        while into.len() == before && !self.over {
            self.bytes.clear();
            if from.read(first, &mut self.bytes).await? == 0 {
                self.over = true;
                let cut = || io::ErrorKind::UnexpectedEof.into();
                return if self.transcoder.is_whole() { Ok(0) } else { Err(cut()) };
            }
            self.transcoder.push(&self.bytes, into);
        }
        Ok(into.len() - before)
    }
}

/// Never waits: what was a file when it was looked at may be a pipe by now, which nobody writes to.
fn opened(path: &Path) -> io::Result<(File, Noted)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("is no file any more"));
    }
    Ok((file, note(&meta)))
}

fn is_skipped(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, rest @ ..] if rest == ZSTD_SKIPPED)
}

/// Runs what may wait for the disk where waiting holds up nobody.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Reads once into the room that is there, without clearing it first.
fn fill(file: &File, into: &mut Vec<u8>) -> io::Result<usize> {
    fault::read()?;
    loop {
        match rustix::io::read(file, rustix::buffer::spare_capacity(into)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn buffered(file: &File) -> io::Result<BufReader<tokio::fs::File>> {
    let mut file = tokio::fs::File::from_std(file.try_clone()?);
    file.set_max_buf_size(READ);
    Ok(BufReader::with_capacity(READ, file))
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
