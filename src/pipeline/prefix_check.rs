//! Files that were begun before: is their beginning still what was loaded?

use std::io;
use std::path::Path;

use encoding_rs::Encoding;

use crate::domain::header::HeaderError;
use crate::domain::ledger::HEAD;
use crate::domain::{Ahead, Delivery, Header, Mapping, Plan, Position};
use crate::format::framer::Framer;
use crate::pipeline::byte_source;
use crate::pipeline::byte_source::ByteSource;
use crate::pipeline::hash_checkpoint::{HashCheckpoint, Window};
use crate::pipeline::header_probe::{framer, headed, open, read_or_end, start};

/// A file whose beginning is what was loaded, open behind it.
pub struct PrefixCheck {
    pub bytes: ByteSource,
    /// Decoded bytes from the mark on, as far as they were read.
    pub buffered: Vec<u8>,
    /// Has seen everything before `buffered`.
    pub hasher: blake3::Hasher,
    /// What follows what is durable.
    pub growth: Growth,
    /// The last bytes up to the end of `buffered`.
    pub window: Window,
    /// All of the beginning was compared, not only its ends.
    pub verified: bool,
}

/// What follows the durable part of a delivery in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    None,
    /// A carriage return behind an open tail: a line feed may follow.
    HalfLineEnd,
    /// More records.
    More,
    /// Bytes that make another record of the open tail that was loaded.
    Contradiction,
}

impl Growth {
    /// `last` is the last durable byte, `behind` up to two bytes or more that follow it.
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

impl PrefixCheck {
    /// Goes on behind a trail when the bytes before it are still there. Only while a file keeps
    /// growing: once it is quiet, all of it is verified.
    pub async fn follow(
        place: &Path,
        delivery: &Delivery,
        trail: Option<HashCheckpoint>,
    ) -> io::Result<Option<Self>> {
        let Some(HashCheckpoint { reach, hasher, window }) = trail else { return Ok(None) };
        let len = window.bytes().len();
        let is_whole = len as u64 == reach.min(HEAD as u64) && reach == delivery.reach.offset;
        if !is_whole || hasher.finalize().to_hex().as_str() != delivery.hash {
            return Ok(None);
        }
        let mut bytes = byte_source::open_at(place, reach - len as u64).await?;
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

    /// Whether the file still begins with all bytes that were handed out, also those that the ledger does not
    /// reach over.
    pub async fn has_what_was_sent(
        place: &Path,
        delivery: &Delivery,
        encoding: &'static Encoding,
    ) -> io::Result<bool> {
        let Some(Ahead { bytes, .. }) = &delivery.ahead else { return Ok(true) };
        if bytes.offset <= delivery.reach.offset {
            return Ok(true);
        }
        let found = byte_source::open(place, encoding).await?.hash_of_first(bytes.offset).await?;
        Ok(found.is_some_and(|found| found.to_hex().as_str() == bytes.hash))
    }

    /// Reads on until more than `len` bytes are buffered or the file ends.
    pub async fn buffer(&mut self, len: usize) -> io::Result<()> {
        let before = self.buffered.len();
        while self.buffered.len() <= len && read_or_end(&mut self.bytes, &mut self.buffered).await? > 0 {}
        self.window.push(self.buffered.get(before..).unwrap_or(&[]));
        Ok(())
    }

    /// Lets go of everything behind what is durable, read or not.
    pub fn end(mut self) -> Self {
        self.buffered.clear();
        Self { bytes: self.bytes.ended(), window: Window::default(), ..self }
    }

    /// Reads the file up to where the delivery stands. `None` when these are other bytes.
    pub async fn verify(
        place: &Path,
        delivery: &Delivery,
        encoding: &'static Encoding,
    ) -> io::Result<Option<Self>> {
        let mut bytes = byte_source::open(place, encoding).await?;
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

/// Why a kept file does not serve.
#[derive(Debug, thiserror::Error)]
pub enum KeptFileError {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("its bytes are not those that were loaded")]
    OtherBytes,
}

/// A file whose beginning is what was loaded, open at its first record.
pub struct VerifiedFile {
    pub header: Header,
    pub mapping: Mapping,
    pub framer: Framer,
    pub bytes: ByteSource,
}

impl VerifiedFile {
    /// Opens a file that still begins with what was loaded.
    ///
    /// # Errors
    /// When it cannot be read, has other bytes or a header that does not serve.
    pub async fn of(
        place: &Path,
        delivery: &Delivery,
        plan: &Plan,
        limit: usize,
    ) -> Result<Self, KeptFileError> {
        Self::verify(place, delivery, plan.encoding).await?;
        Self::unverified(place, plan, limit).await
    }

    /// The header alone, whatever is declared.
    ///
    /// # Errors
    /// When the file cannot be read or has no header.
    pub async fn header(place: &Path, encoding: &'static Encoding) -> Result<Header, KeptFileError> {
        let opened = open(place, encoding).await?;
        Ok(headed(&opened, encoding).await?.header)
    }

    /// Whether the file still begins with what was loaded.
    ///
    /// # Errors
    /// When it cannot be read or has other bytes.
    pub async fn verify(
        place: &Path,
        delivery: &Delivery,
        encoding: &'static Encoding,
    ) -> Result<(), KeptFileError> {
        let verified = PrefixCheck::verify(place, delivery, encoding).await?;
        verified.map(|_| ()).ok_or(KeptFileError::OtherBytes)
    }

    /// Hash of all decoded bytes.
    ///
    /// # Errors
    /// What the system says.
    pub async fn hash(place: &Path, encoding: &'static Encoding) -> io::Result<String> {
        Ok(open(place, encoding).await?.hash_whole().await?.0)
    }

    /// Takes the file as it is.
    ///
    /// # Errors
    /// When it cannot be read or has a header that does not serve.
    pub async fn unverified(place: &Path, plan: &Plan, limit: usize) -> Result<Self, KeptFileError> {
        let opened = open(place, plan.encoding).await?;
        let start = start(&opened, plan).await?;
        let framer = framer(limit, Position::default(), start.mark, &opened.read);
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
