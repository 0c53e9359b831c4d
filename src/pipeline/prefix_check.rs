//! Checks whether a known file still begins with what was loaded.

use std::io;

use encoding_rs::Encoding;

use crate::domain::header::HeaderError;
use crate::domain::ledger::HEAD;
use crate::domain::{Ahead, Delivery, FileKey, Header, Mapping, Plan, Position};
use crate::format::decoded::Decoded;
use crate::format::framer::Framer;
use crate::pipeline::byte_source;
use crate::pipeline::hash_checkpoint::{HashCheckpoint, Window};
use crate::pipeline::header_probe::{framer, headed, open, read_or_end, start};
use crate::source::{Source, SourceFile};

/// A file that begins with what was loaded, open after these bytes.
pub struct PrefixCheck<F> {
    pub bytes: Decoded<F>,
    /// The decoded bytes after the durable part, as far as they were read.
    pub buffered: Vec<u8>,
    /// A hasher that has seen all bytes before `buffered`.
    pub hasher: blake3::Hasher,
    /// What follows the durable part.
    pub growth: Growth,
    /// The last bytes up to the end of `buffered`.
    pub window: Window,
    /// Whether all durable bytes were compared, not only the first and the last ones.
    pub verified: bool,
}

/// What follows the durable part of a delivery in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    None,
    /// A carriage return after an open tail. A line feed may follow.
    HalfLineEnd,
    /// More records.
    More,
    /// Bytes that turn the loaded open tail into another record.
    Contradiction,
}

impl Growth {
    /// Classifies the growth of a delivery. `last` is the last durable byte. `behind` has at least two of the bytes
    /// that follow it, or all of them if there are fewer.
    fn of(delivery: &Delivery, last: Option<u8>, behind: &[u8]) -> Self {
        let half = last == Some(b'\r');
        match (delivery.tail.is_some(), behind) {
            (_, []) => Self::None,
            (false, _) | (true, [b'\n', ..]) => Self::More,
            (true, [b'\r', b'\n', ..]) if !half => Self::More,
            (true, [b'\r']) if !half => Self::HalfLineEnd,
            (true, _) => Self::Contradiction,
        }
    }
}

impl<F: SourceFile> PrefixCheck<F> {
    /// Continues from a checkpoint if the bytes before it are still there. This is used only while a file keeps
    /// growing: once the file is quiet, all durable bytes are compared.
    pub async fn follow(
        source: &impl Source<File = F>,
        delivery: &Delivery,
        checkpoint: Option<HashCheckpoint>,
    ) -> io::Result<Option<Self>> {
        let Some(HashCheckpoint { reach, hasher, window }) = checkpoint else { return Ok(None) };
        let len = window.bytes().len();
        let is_whole = len as u64 == reach.min(HEAD as u64) && reach == delivery.reach.offset;
        if !is_whole || hasher.finalize().to_hex().as_str() != delivery.hash {
            return Ok(None);
        }
        let mut bytes = byte_source::open_at(source, &delivery.file, reach - len as u64).await?;
        let mut buffered = Vec::new();
        bytes.read_up_to(&mut buffered, len + 2).await?;
        if !buffered.starts_with(window.bytes()) {
            return Ok(None);
        }
        let behind = buffered.split_off(len);
        let growth = Growth::of(delivery, window.bytes().last().copied(), &behind);
        let mut window = window;
        window.push(&behind);
        Ok(Some(Self { bytes, growth, buffered: behind, hasher, window, verified: false }))
    }

    /// Whether the file still begins with all bytes that were sent to the store, including those beyond the ledger.
    pub async fn has_what_was_sent(
        source: &impl Source<File = F>,
        delivery: &Delivery,
        encoding: &'static Encoding,
    ) -> io::Result<bool> {
        let Some(Ahead { bytes, .. }) = &delivery.ahead else { return Ok(true) };
        if bytes.offset <= delivery.reach.offset {
            return Ok(true);
        }
        let found =
            byte_source::open(source, &delivery.file, encoding).await?.hash_of_first(bytes.offset).await?;
        Ok(found.is_some_and(|found| found.to_hex().as_str() == bytes.hash))
    }

    /// Reads until more than `len` bytes are buffered or the file ends.
    pub async fn buffer(&mut self, len: usize) -> io::Result<()> {
        let before = self.buffered.len();
        while self.buffered.len() <= len && read_or_end(&mut self.bytes, &mut self.buffered).await? > 0 {}
        self.window.push(self.buffered.get(before..).unwrap_or(&[]));
        Ok(())
    }

    /// Ignores all bytes after the durable part, read or not.
    pub fn end(mut self) -> Self {
        self.buffered.clear();
        Self { bytes: self.bytes.ended(), window: Window::default(), ..self }
    }

    /// Reads the file up to the end of the durable part. Returns `None` if its bytes differ from what was loaded.
    pub async fn verify(
        source: &impl Source<File = F>,
        file: &FileKey,
        delivery: &Delivery,
        encoding: &'static Encoding,
    ) -> io::Result<Option<Self>> {
        let mut bytes = byte_source::open(source, file, encoding).await?;
        let mut hasher = blake3::Hasher::new();
        let (mut buffered, mut window) = (Vec::new(), Window::default());
        let mut left = delivery.reach.offset;
        while left > 0 {
            buffered.clear();
            if read_or_end(&mut bytes, &mut buffered).await? == 0 {
                return Ok(None);
            }
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffered.len());
            hasher.update(&buffered[..take]);
            window.push(&buffered[..take]);
            buffered.drain(..take);
            left -= take as u64;
        }
        if hasher.finalize().to_hex().as_str() != delivery.hash {
            return Ok(None);
        }
        while buffered.len() < 2 && read_or_end(&mut bytes, &mut buffered).await? > 0 {}
        let growth = Growth::of(delivery, window.bytes().last().copied(), &buffered);
        window.push(&buffered);
        Ok(Some(Self { bytes, buffered, hasher, growth, window, verified: true }))
    }
}

/// The reason a kept file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptFileError {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("its bytes are not those that were loaded")]
    OtherBytes,
}

/// A file that begins with what was loaded, open at its first record.
pub struct VerifiedFile<F> {
    pub header: Header,
    pub mapping: Mapping,
    pub framer: Framer,
    pub bytes: Decoded<F>,
}

impl<F: SourceFile> VerifiedFile<F> {
    /// Opens a file that still begins with what was loaded.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, has other bytes, or has a header that the plan cannot use.
    pub async fn of(
        source: &impl Source<File = F>,
        file: &FileKey,
        delivery: &Delivery,
        plan: &Plan,
        limit: usize,
    ) -> Result<Self, KeptFileError> {
        Self::verify(source, file, delivery, plan.encoding).await?;
        Self::unverified(source, file, plan, limit).await
    }

    /// Reads the header alone, whatever columns are declared.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or has no valid header.
    pub async fn header(
        source: &impl Source<File = F>,
        file: &FileKey,
        plan: &Plan,
    ) -> Result<Header, KeptFileError> {
        let opened = open(source, file, plan.encoding).await?;
        Ok(headed(&opened, plan).await?.header)
    }

    /// Checks that the file still begins with what was loaded.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or has other bytes.
    pub async fn verify(
        source: &impl Source<File = F>,
        file: &FileKey,
        delivery: &Delivery,
        encoding: &'static Encoding,
    ) -> Result<(), KeptFileError> {
        let verified = PrefixCheck::verify(source, file, delivery, encoding).await?;
        verified.map(|_| ()).ok_or(KeptFileError::OtherBytes)
    }

    /// Returns the hash of all decoded bytes.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn hash(
        source: &impl Source<File = F>,
        file: &FileKey,
        encoding: &'static Encoding,
    ) -> io::Result<String> {
        Ok(open(source, file, encoding).await?.hash_all().await?.0)
    }

    /// Opens a file without comparing its bytes.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or has a header that the plan cannot use.
    pub async fn unverified(
        source: &impl Source<File = F>,
        file: &FileKey,
        plan: &Plan,
        limit: usize,
    ) -> Result<Self, KeptFileError> {
        let opened = open(source, file, plan.encoding).await?;
        let start = start(&opened, plan).await?;
        let framer = framer(plan, limit, (Position::default(), 0), &start, &opened.read);
        Ok(Self { header: start.header, mapping: start.mapping, framer, bytes: opened.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_end_continues_an_open_tail() {
        let growth = |last: &[u8], behind: &[u8]| {
            let tail = Some(Position::default());
            Growth::of(&Delivery { tail, ..Delivery::empty() }, last.last().copied(), behind)
        };
        assert_eq!(growth(b"1,2", b""), Growth::None);
        assert_eq!(growth(b"1,2", b"\r"), Growth::HalfLineEnd);
        for behind in [b"\n".as_slice(), b"\n3,4\n", b"\r\n", b"\r\n3"] {
            assert_eq!(growth(b"1,2", behind), Growth::More, "{behind:?}");
        }
        for behind in [b"3".as_slice(), b"\r3", b"\r\r", b",", b" \n"] {
            assert_eq!(growth(b"1,2", behind), Growth::Contradiction, "{behind:?}");
        }
        assert_eq!(growth(b"1,2\r", b"\n3,4"), Growth::More);
        for behind in [b"\r\n".as_slice(), b"\r", b"3"] {
            assert_eq!(growth(b"1,2\r", behind), Growth::Contradiction, "{behind:?}");
        }
        assert_eq!(Growth::of(&Delivery::empty(), Some(b'\n'), b"3"), Growth::More, "behind a line end");
    }
}
