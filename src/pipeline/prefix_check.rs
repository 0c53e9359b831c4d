//! Checks whether a known file still begins with what was loaded.

use std::io;
use std::sync::Arc;

use encoding_rs::Encoding;

use crate::domain::format::END_OF_FILE;
use crate::domain::header::HeaderError;
use crate::domain::ledger::HEAD;
use crate::domain::{Ahead, Delivery, FileKey, Format, Header, Mapping, NotDeclared, Plan, Position};
use crate::format::decoded::Decoded;
use crate::format::framer::Framer;
use crate::pipeline::byte_source;
use crate::pipeline::hash_checkpoint::{HashCheckpoint, Window};
use crate::pipeline::header_probe::{
    Opened, Start, check_encoding, framer, headed, open, read_or_end, start,
};
use crate::source::{Source, SourceFile};

/// How many bytes before and after the end of the durable part are examined to see how a file grew: the length of the
/// longest line end.
const MOST_LOOKED_AT: usize = 3;

/// A file that begins with what was loaded, open after these bytes.
pub struct PrefixCheck<F> {
    pub bytes: Decoded<F>,
    /// The last bytes of the durable part, at most [`MOST_LOOKED_AT`].
    last: Vec<u8>,
    /// The decoded bytes after the durable part, as far as they were read.
    pub buffered: Vec<u8>,
    /// A hasher that has seen all bytes before `buffered`.
    pub hasher: blake3::Hasher,
    /// The last bytes up to the end of `buffered`.
    pub window: Window,
    /// Whether all durable bytes were compared, not only the first and the last ones.
    pub verified: bool,
}

/// What follows the durable part of a delivery in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    None,
    /// A part of a line end after an open tail. The rest may follow.
    HalfLineEnd,
    /// More records.
    More,
    /// Bytes that turn the loaded open tail into another record.
    Contradiction,
}

impl Growth {
    /// Classifies the growth of a delivery. `last` are the last durable bytes. `behind` has at least [`MOST_LOOKED_AT`] of
    /// the bytes that follow them, or all of them if there are fewer.
    fn of(delivery: &Delivery, format: &Format, last: &[u8], behind: &[u8]) -> Self {
        match delivery.tail {
            _ if behind.is_empty() => Self::None,
            None => Self::More,
            // Lines that were skipped as the footer are no longer the last lines of the file.
            Some(_) if format.has_footer() => Self::Contradiction,
            // The file did not end there, so the byte was text.
            Some(_) if last.ends_with(&[END_OF_FILE]) => Self::Contradiction,
            Some(_) => Self::of_tail(format, last, behind),
        }
    }

    /// Classifies what follows an open tail, whose last bytes may be a part of a line end.
    fn of_tail(Format::Csv(dialect): &Format, last: &[u8], behind: &[u8]) -> Self {
        let (before, begun) = last.split_at(last.len() - dialect.begun_line_end(last));
        // The byte before the line end may be an escape, which makes the line end part of the record.
        let escape = dialect.escape_outside_quotes().filter(|_| !begun.is_empty());
        let is_escaped = escape.is_some_and(|escape| before.ends_with(&[escape]));
        let mut rests = dialect.lines.forms().iter().filter_map(|form| form.strip_prefix(begun));
        match () {
            () if is_escaped => Self::Contradiction,
            () if rests.clone().any(|rest| behind.starts_with(rest)) => Self::More,
            () if rests.any(|rest| rest.starts_with(behind)) => Self::HalfLineEnd,
            () => Self::Contradiction,
        }
    }
}

impl<F: SourceFile> PrefixCheck<F> {
    /// Returns what follows the durable part of its delivery.
    pub fn growth(&self, delivery: &Delivery, format: &Format) -> Growth {
        Growth::of(delivery, format, &self.last, &self.buffered)
    }

    /// Makes a framer for what follows the durable part of its delivery.
    pub fn framer(&self, delivery: &Delivery, format: &Format, limit: usize) -> Framer {
        let (from, Format::Csv(dialect)) = (delivery.reach, format);
        let mut framer = Framer::new(format, limit, from, from, self.hasher.clone());
        if delivery.tail.is_some() {
            framer.begin_in_line_end(dialect.begun_line_end(&self.last));
        }
        framer.bytes().extend_from_slice(&self.buffered);
        framer
    }

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
        bytes.read_up_to(&mut buffered, len + MOST_LOOKED_AT).await?;
        if !buffered.starts_with(window.bytes()) {
            return Ok(None);
        }
        let behind = buffered.split_off(len);
        let (last, mut window) = (last_of(&window), window);
        window.push(&behind);
        Ok(Some(Self { bytes, last, buffered: behind, hasher, window, verified: false }))
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
        while buffered.len() < MOST_LOOKED_AT && read_or_end(&mut bytes, &mut buffered).await? > 0 {}
        let last = last_of(&window);
        window.push(&buffered);
        Ok(Some(Self { bytes, last, buffered, hasher, window, verified: true }))
    }
}

fn last_of(window: &Window) -> Vec<u8> {
    let bytes = window.bytes();
    bytes[bytes.len().saturating_sub(MOST_LOOKED_AT)..].to_vec()
}

/// The reason a kept file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptFileError {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    NotDeclared(#[from] NotDeclared),
    #[error("its bytes are not those that were loaded")]
    OtherBytes,
    #[error(
        "it is now split into different records than when it was loaded; restore source.format and \
         limits.max_record_bytes, or load the file again: needledrop load --again FILE"
    )]
    OtherRecords,
}

/// A file that begins with what was loaded, open at its first record.
pub struct VerifiedFile<F> {
    /// The plan that the mapping belongs to.
    pub plan: Arc<Plan>,
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
        plan: &Arc<Plan>,
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
        plan: &Arc<Plan>,
        limit: usize,
    ) -> Result<Self, KeptFileError> {
        Self::of_opened(open(source, file, plan.encoding).await?, plan, limit).await
    }

    /// Opens a file that is not loaded yet.
    ///
    /// # Errors
    /// Returns the errors of [`Self::unverified`], and one if the file is certainly in another encoding.
    pub async fn not_loaded(
        source: &impl Source<File = F>,
        file: &FileKey,
        plan: &Arc<Plan>,
        limit: usize,
    ) -> Result<Self, KeptFileError> {
        let opened = open(source, file, plan.encoding).await?;
        check_encoding(&opened, plan)?;
        Self::of_opened(opened, plan, limit).await
    }

    async fn of_opened(opened: Opened<F>, plan: &Arc<Plan>, limit: usize) -> Result<Self, KeptFileError> {
        let start = start(&opened, plan).await?;
        let framer = framer(plan, limit, (Position::default(), 0), &start, &opened.read);
        let Start { header, mapping, .. } = start;
        Ok(Self { plan: Arc::clone(plan), header, mapping, framer, bytes: opened.bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::format::{Dialect, Escape, FooterLines, LineEnd};

    fn growth(lines: LineEnd, last: &[u8], behind: &[u8]) -> Growth {
        let (tail, format) = (Some(Position::default()), in_lines(lines, Escape::Doubled));
        Growth::of(&Delivery { tail, ..Delivery::empty() }, &format, last, behind)
    }

    fn in_lines(lines: LineEnd, escape: Escape) -> Format {
        Format::Csv(Arc::new(Dialect { lines, quote: None, escape, ..Dialect::default() }))
    }

    #[test]
    fn only_a_whole_line_end_continues_an_open_tail() {
        let growth = |last: &[u8], behind: &[u8]| growth(LineEnd::Any, last, behind);
        assert_eq!(growth(b"1,2", b""), Growth::None);
        assert_eq!(growth(b"1,2", b"\r"), Growth::HalfLineEnd);
        for behind in [b"\n".as_slice(), b"\n3,4\n", b"\r\n", b"\r\n3"] {
            assert_eq!(growth(b"1,2", behind), Growth::More, "{behind:?}");
        }
        for behind in [b"3".as_slice(), b"\r3", b"\r\r", b",", b" \n"] {
            assert_eq!(growth(b"1,2", behind), Growth::Contradiction, "{behind:?}");
        }
        assert_eq!(growth(b",2\r", b"\n3,4"), Growth::More);
        for behind in [b"\r\n".as_slice(), b"\r", b"3"] {
            assert_eq!(growth(b",2\r", behind), Growth::Contradiction, "{behind:?}");
        }
        for behind in [b"\n".as_slice(), b"\r", b"3"] {
            assert_eq!(growth(b",2\x1a", behind), Growth::Contradiction, "{behind:?}");
        }
        assert_eq!(growth(b",2\x1a", b""), Growth::None);
        let after_a_line_end = Growth::of(&Delivery::empty(), &Format::default(), b"2\r\n", b"3");
        assert_eq!(after_a_line_end, Growth::More);
    }

    #[test]
    fn the_line_end_that_continues_a_tail_is_that_of_the_format() {
        use Growth::{Contradiction, HalfLineEnd, More};
        let cases: [(LineEnd, &[u8], &[u8], Growth); 17] = [
            (LineEnd::Lf, b",2", b"\n", More),
            (LineEnd::Lf, b",2", b"\r\n", Contradiction),
            (LineEnd::Lf, b"2\r", b"\n", More),
            (LineEnd::CrLf, b",2", b"\n", Contradiction),
            (LineEnd::CrLf, b",2", b"\r", HalfLineEnd),
            (LineEnd::CrLf, b",2", b"\r\n3", More),
            (LineEnd::CrLf, b"2\r", b"\n3", More),
            (LineEnd::Cr, b",2", b"\r", More),
            (LineEnd::Cr, b",2", b"\r\n", More),
            (LineEnd::Cr, b",2", b"\n", Contradiction),
            (LineEnd::CrCrLf, b",2", b"\r\r\n", More),
            (LineEnd::CrCrLf, b",2", b"\r\r", HalfLineEnd),
            (LineEnd::CrCrLf, b"2\r", b"\r", HalfLineEnd),
            (LineEnd::CrCrLf, b"2\r", b"\r\n3", More),
            (LineEnd::CrCrLf, b"\r\r", b"\n", More),
            (LineEnd::CrCrLf, b"2\r", b"\n", Contradiction),
            (LineEnd::CrCrLf, b",2", b"\r\n", Contradiction),
        ];
        for (lines, last, behind, expected) in cases {
            assert_eq!(growth(lines, last, behind), expected, "{lines:?} {last:?} {behind:?}");
        }
        let (tail, format) = (Some(Position::default()), in_lines(LineEnd::Any, Escape::Backslash));
        let escaped = Growth::of(&Delivery { tail, ..Delivery::empty() }, &format, b"2\\\r", b"\n");
        assert_eq!(escaped, Contradiction, "the line end may be escaped");
        let skip_footer = FooterLines::new(1).unwrap();
        let format = Format::Csv(Arc::new(Dialect { skip_footer, ..Dialect::default() }));
        let delivery = Delivery { tail, ..Delivery::empty() };
        assert_eq!(
            Growth::of(&delivery, &format, b"tal", b"\n"),
            Contradiction,
            "the last lines were the footer"
        );
        assert_eq!(Growth::of(&Delivery::empty(), &format, b",2\n", b"3"), More);
    }
}
