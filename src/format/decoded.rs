//! Reads a file as a stream of decoded bytes: plain, gzip, zstd or a zip archive with one file, recognized by the first
//! bytes, and as UTF-8.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use encoding_rs::{Encoding, UTF_8};
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};

use crate::domain::Feed;
use crate::domain::header::HeaderError;
use crate::format::encoding::Transcoder;
use crate::format::raw_file::RawFile;
use crate::format::sniff;
use crate::format::stream_error::StreamError;
use crate::format::utf8_text;
use crate::format::zip;
use crate::format::zip::Archive;

/// The number of bytes requested from the file at a time.
const READ: usize = 256 * 1024;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// The last three of the four bytes that begin a skippable frame, which may stand before a zstd frame.
const ZSTD_SKIPPED: &[u8] = b"\x2a\x4d\x18";

/// The maximum window of a zstd frame, as a power of 2 (8 MiB). zstd levels up to 19 need no more, but a frame may
/// demand gigabytes.
const ZSTD_WINDOW: u32 = 23;

/// The assumed expansion of a compressed file. A file that expands more takes a further range of stamps.
const COMPRESSED: u64 = 32;

/// The maximum expansion of text that is converted to UTF-8 from another encoding.
const TRANSCODED: u64 = 3;

/// An open file whose bytes are decoded while it is read.
pub struct Decoded<F> {
    pub file: F,
    bytes: Bytes,
    /// The conversion to UTF-8, if the file has another encoding.
    text: Option<Text>,
    compressed: bool,
    encoding: &'static Encoding,
    first: First,
    /// What the file is, if its bytes cannot be decompressed at all.
    unusable: Option<&'static str>,
    broken: Option<StreamError>,
}

/// The first decompressed bytes, which show what the file is.
struct First {
    bytes: Vec<u8>,
    most: usize,
}

/// Converts bytes from another encoding to UTF-8.
struct Text {
    transcoder: Transcoder,
    bytes: Vec<u8>,
    over: bool,
}

enum Bytes {
    /// Read directly into the buffer of the framer. A tokio reader would copy the bytes once more.
    Plain,
    Decoded(Pin<Box<dyn AsyncRead + Send + Sync>>),
    /// The file ends before anything of it can be decompressed.
    Cut,
    Ended,
}

impl<F: RawFile> Decoded<F> {
    /// Decodes a file that was opened at its beginning.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn new(file: F, encoding: &'static Encoding) -> io::Result<Self> {
        let head = file.at(0, ZSTD.len()).await?;
        let (bytes, unusable) = match zip::is_archive(&head) {
            true => Bytes::of_archive(zip::open(&file, READ).await?),
            false => (Bytes::of(&file, &head)?, None),
        };
        let compressed = !matches!(bytes, Bytes::Plain);
        Ok(Self { compressed, bytes, unusable, ..Self::plain(file, encoding) })
    }

    /// Reads the bytes of a file without decoding them, from the place where it was opened.
    pub fn as_it_is(file: F) -> Self {
        Self::plain(file, UTF_8)
    }

    fn plain(file: F, encoding: &'static Encoding) -> Self {
        let text = (encoding != UTF_8).then(|| Text::new(encoding));
        let (first, bytes) = (First::of(encoding), Bytes::Plain);
        Self { file, bytes, text, compressed: false, encoding, first, unusable: None, broken: None }
    }

    pub fn encoding(&self) -> &'static Encoding {
        self.encoding
    }

    /// Wraps the reader of the file.
    #[cfg(test)]
    pub fn through<R: AsyncRead + Send + Sync + 'static>(
        self,
        wrap: impl FnOnce(Pin<Box<dyn AsyncRead + Send + Sync>>) -> R,
    ) -> Self {
        let bytes: Pin<Box<dyn AsyncRead + Send + Sync>> = match self.bytes {
            Bytes::Plain => self.file.reader().unwrap(),
            Bytes::Decoded(bytes) => bytes,
            Bytes::Cut | Bytes::Ended => Box::pin(tokio::io::empty()),
        };
        Self { bytes: Bytes::Decoded(Box::pin(wrap(bytes))), ..self }
    }

    /// Whether the bytes are used as stored, so that the file can be opened at any decoded offset.
    pub fn is_plain(&self) -> bool {
        !self.compressed && self.text.is_none()
    }

    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Returns how many times longer than the file its decoded text is assumed to be.
    pub fn expansion(&self) -> u64 {
        match (self.compressed, &self.text) {
            (true, _) => COMPRESSED,
            (false, Some(_)) => TRANSCODED,
            (false, None) => 1,
        }
    }

    /// Returns the capacity needed for a chunk of this many bytes and for the bytes read beyond it.
    pub fn room(&self, chunk: usize) -> usize {
        let all = usize::try_from(self.file.size()).unwrap_or(usize::MAX);
        if self.is_plain() { chunk.min(all) + READ } else { chunk + READ }
    }

    /// Returns the file as if it ended after the bytes that were read so far.
    pub fn ended(self) -> Self {
        Self { bytes: Bytes::Ended, text: None, ..self }
    }

    /// Returns why reading ended before the end of the file, if it did.
    pub fn broken(&self) -> Option<&StreamError> {
        self.broken.as_ref()
    }

    /// Checks that the bytes read from the beginning can be CSV in this encoding, which this feed declares.
    ///
    /// # Errors
    /// Returns an error that names what the file is instead.
    pub fn check_kind(&self, feed: &Feed) -> Result<(), HeaderError> {
        match self.unusable {
            Some(kind) => Err(HeaderError::NotCsv(kind)),
            None => sniff::check(&self.first.bytes, self.encoding, feed),
        }
    }

    /// Checks that the bytes read from the beginning are not UTF-8, if the encoding is another one.
    ///
    /// # Errors
    /// Returns an error that shows what would be misread.
    pub fn check_encoding(&self, feed: &Feed) -> Result<(), HeaderError> {
        utf8_text::check(&self.first.bytes, self.encoding, feed)
    }

    /// Appends the bytes that can be read at once, at most a few hundred KiB. Returns 0 at the end. If the read fails,
    /// or its future is dropped before it completes, the earlier content of `into` may be lost.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read. Also returns an error, again at each later call, if the bytes end
    /// too early or are corrupt. [`Self::broken`] then returns the reason.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        if let Some(broken) = &self.broken {
            return Err(broken.error());
        }
        let read = match &mut self.text {
            Some(text) => text.read(&self.file, &mut self.bytes, &mut self.first, into).await,
            None => self.bytes.read(&self.file, &mut self.first, into).await,
        };
        // A decoder returns its error only once, and then the end of the file.
        read.inspect_err(|error| self.broken = StreamError::by(error, self.compressed))
    }

    /// Returns the hash of the first `len` decoded bytes, or `None` if the file has fewer bytes or breaks off before.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
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

    /// Reads until `into` has `len` bytes or the end is reached.
    ///
    /// # Errors
    /// Returns the errors of [`Self::read`].
    pub async fn read_up_to(&mut self, into: &mut Vec<u8>, len: usize) -> io::Result<()> {
        while into.len() < len && self.read(into).await? > 0 {}
        Ok(())
    }
}

impl Bytes {
    fn of(file: &impl RawFile, head: &[u8]) -> io::Result<Self> {
        let buffered = || Ok::<_, io::Error>(BufReader::with_capacity(READ, file.reader()?));
        Ok(if head.starts_with(GZIP) {
            let mut decoder = GzipDecoder::new(buffered()?);
            decoder.multiple_members(true);
            Self::Decoded(Box::pin(decoder))
        } else if head.starts_with(ZSTD) || is_skipped(head) {
            let limit = [DParameter::window_log_max(ZSTD_WINDOW)];
            let mut decoder = ZstdDecoder::with_params(buffered()?, &limit);
            decoder.multiple_members(true);
            Self::Decoded(Box::pin(decoder))
        } else {
            Self::Plain
        })
    }

    /// Also returns what the archive is, if it cannot be read.
    fn of_archive(archive: Archive) -> (Self, Option<&'static str>) {
        match archive {
            Archive::File(bytes) => (Self::Decoded(bytes), None),
            Archive::Cut => (Self::Cut, None),
            Archive::Unusable(unusable) => (Self::Ended, Some(unusable.kind())),
        }
    }

    /// Appends the bytes that can be read at once. Also appends those among the first bytes of the file to `first`.
    async fn read(
        &mut self,
        file: &impl RawFile,
        first: &mut First,
        into: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let before = into.len();
        let read = match self {
            Self::Plain => {
                into.reserve_exact(READ);
                file.read(into).await?
            }
            Self::Decoded(bytes) => {
                into.reserve(READ);
                bytes.take(READ as u64).read_buf(into).await?
            }
            Self::Cut => return Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Ended => 0,
        };
        first.push(into.get(before..).unwrap_or_default());
        Ok(read)
    }
}

impl First {
    fn of(encoding: &'static Encoding) -> Self {
        let most = if encoding == UTF_8 { sniff::LOOKED_AT } else { utf8_text::LOOKED_AT };
        Self { bytes: Vec::new(), most }
    }

    fn push(&mut self, read: &[u8]) {
        let missing = self.most - self.bytes.len();
        self.bytes.extend_from_slice(read.get(..missing).unwrap_or(read));
    }
}

impl Text {
    fn new(encoding: &'static Encoding) -> Self {
        Self { transcoder: Transcoder::new(encoding), bytes: Vec::new(), over: false }
    }

    /// Reads until there is at least one complete character.
    async fn read(
        &mut self,
        file: &impl RawFile,
        from: &mut Bytes,
        first: &mut First,
        into: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let before = into.len();
        while into.len() == before && !self.over {
            self.bytes.clear();
            if from.read(file, first, &mut self.bytes).await? == 0 {
                self.over = true;
                let cut = || io::ErrorKind::UnexpectedEof.into();
                return if self.transcoder.is_whole() { Ok(0) } else { Err(cut()) };
            }
            self.transcoder.push(&self.bytes, into);
        }
        Ok(into.len() - before)
    }
}

fn is_skipped(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, rest @ ..] if rest == ZSTD_SKIPPED)
}
