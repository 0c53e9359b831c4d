//! Reads the beginning of a file: its first bytes, its header, and where its records begin.

use std::io;
use std::time::{Duration, SystemTime};

use encoding_rs::Encoding;

use crate::domain::header::HeaderError;
use crate::domain::ledger::HEAD;
use crate::domain::{FileKey, FileStat, Format, Header, Mapping, Plan, Position, stamp};
use crate::format::decoded::Decoded;
use crate::format::framer::Framer;
use crate::format::header;
use crate::format::header::Headed;
use crate::format::header_advice::advice;
use crate::format::stream_error::StreamError;
use crate::pipeline::byte_source;
use crate::pipeline::hash_checkpoint::Window;
use crate::pipeline::messages::Head;
use crate::source::{Source, SourceFile};

/// A file gets stamps for this many times the records that its first bytes suggest. If it has more records, it takes a
/// further range. The factor is small because unused stamps are lost, and no file may run far ahead of the clock.
const MARGIN: u64 = 4;

/// A file that changed more recently than this may change again without a change of its times.
pub const TRUSTED_AFTER: Duration = Duration::from_secs(2);

/// The beginning of a file, and the source of the remaining bytes.
pub struct Opened<F> {
    pub bytes: Decoded<F>,
    /// The bytes read so far, from the beginning of the file.
    pub read: Vec<u8>,
    pub head: String,
    /// Whether `read` contains the complete file.
    pub ended: bool,
}

/// Where the records of a file begin, and which field belongs to which column.
pub struct Start {
    pub header: Header,
    pub mapping: Mapping,
    pub mark: Position,
    /// The number of comments before the records.
    pub comments: u64,
    /// Whether the header has its line end. If not, the file may grow and get another header.
    pub is_complete: bool,
}

impl<F: SourceFile> Opened<F> {
    pub fn head(&self) -> Head {
        Head { len: self.read.len().min(HEAD), hash: self.head.clone() }
    }

    /// Returns the number of decoded bytes, if it is known without reading them.
    pub fn known_len(&self) -> Option<u64> {
        if self.ended {
            return Some(self.read.len() as u64);
        }
        self.bytes.is_plain().then_some(self.bytes.file.noted().size)
    }

    pub fn window(&self) -> Window {
        let mut window = Window::default();
        window.push(&self.read);
        window
    }

    /// Returns an upper bound on the number of records. The bound is too low only if records become much shorter after
    /// the first bytes.
    pub fn records(&self, format: &Format, fields: usize) -> u64 {
        let lines = memchr::memchr_iter(format.line_byte(), &self.read).count() as u64 + 1;
        if self.ended {
            return lines;
        }
        let size = self.bytes.file.noted().size.saturating_mul(self.bytes.expansion());
        let size = size.max(self.read.len() as u64);
        let by_mean = (size / self.read.len().max(1) as u64 + 1).saturating_mul(lines).saturating_mul(MARGIN);
        stamp::records_in(size, fields).min(by_mean)
    }

    /// Reads to the end without keeping the bytes. Returns the hash and the number of all bytes.
    pub async fn hash_all(&mut self) -> io::Result<(String, u64)> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.read);
        let mut len = self.read.len() as u64;
        let mut part = Vec::new();
        while !self.ended && read_or_end(&mut self.bytes, &mut part).await? > 0 {
            hasher.update(&part);
            len += part.len() as u64;
            part.clear();
        }
        Ok((hasher.finalize().to_hex().to_string(), len))
    }
}

pub async fn open<I: Source>(
    source: &I,
    file: &FileKey,
    encoding: &'static Encoding,
) -> io::Result<Opened<I::File>> {
    let mut bytes = byte_source::open(source, file, encoding).await?;
    let mut read = Vec::new();
    // The complete records of a broken file are loaded. Later reads return the error again.
    match bytes.read_up_to(&mut read, HEAD).await {
        Err(_) if bytes.broken().is_some() => {}
        other => other?,
    }
    let ended = read.len() < HEAD;
    let head = blake3::hash(read.get(..HEAD).unwrap_or(&read)).to_hex().to_string();
    Ok(Opened { bytes, read, head, ended })
}

/// Reads bytes. If the file breaks off, returns 0 as if it had ended. A later read returns the error.
pub async fn read_or_end<F: SourceFile>(bytes: &mut Decoded<F>, into: &mut Vec<u8>) -> io::Result<usize> {
    match bytes.read(into).await {
        Err(_) if bytes.broken().is_some() => Ok(0),
        other => other,
    }
}

/// Checks that a file that is not loaded yet seems to be in the declared encoding.
pub fn check_encoding<F: SourceFile>(opened: &Opened<F>, plan: &Plan) -> Result<(), HeaderError> {
    opened.bytes.check_kind(&plan.feed)?;
    if plan.refuses_utf8 { opened.bytes.check_encoding(&plan.feed) } else { Ok(()) }
}

/// Finds the header in the first bytes of a file, and the columns of the plan in the header.
pub async fn start<F: SourceFile>(opened: &Opened<F>, plan: &Plan) -> Result<Start, HeaderError> {
    let Headed { header, line, mark, comments, is_complete } = headed(opened, plan).await?;
    // An empty file is loaded with no records, whatever columns are declared.
    let mapping = if header.0.is_empty() {
        Mapping { fields: 0, field_of: vec![None; plan.columns.len()], ignored: Vec::new() }
    } else {
        match header.map(plan) {
            Ok(mapping) => mapping,
            Err(error) => return Err(advised(error.on_line(line), &header, opened, plan).await),
        }
    };
    Ok(Start { header, mapping, mark, comments, is_complete })
}

/// Adds to an error about missing columns which settings would find them.
async fn advised<F: SourceFile>(
    error: HeaderError,
    header: &Header,
    opened: &Opened<F>,
    plan: &Plan,
) -> HeaderError {
    // A header of one field names its delimiter itself, and a change of nothing else is not tried.
    let is_told = header.other_delimiter().is_some_and(|(found, _)| !plan.format.is_delimiter(&found));
    match error {
        HeaderError::Missing { line, missing, found, next } => {
            let first = (opened.read.as_slice(), opened.ended);
            let columns = |header: &Header| header.columns_found(plan);
            let next = advice(&plan.format, first, plan.encoding, columns, is_told).await.unwrap_or(next);
            HeaderError::Missing { line, missing, found, next }
        }
        other => other,
    }
}

/// Finds the header in the first bytes of a file.
pub async fn headed<F: SourceFile>(opened: &Opened<F>, plan: &Plan) -> Result<Headed, HeaderError> {
    opened.bytes.check_kind(&plan.feed)?;
    let headed = header::find(&plan.format, &opened.read, opened.ended, plan.encoding).await;
    let is_complete = headed.as_ref().is_ok_and(|headed| headed.is_complete);
    match opened.bytes.broken().filter(|_| !is_complete) {
        Some(StreamError::Cut(_)) => Err(HeaderError::Cut),
        Some(corrupt) => Err(HeaderError::Corrupt(corrupt.to_string())),
        None => headed,
    }
}

/// Whether the file ends within its header, so that more of it may come.
pub async fn has_open_header<F: SourceFile>(opened: &Opened<F>, plan: &Plan) -> bool {
    headed(opened, plan).await.is_ok_and(|headed| !headed.is_complete)
}

/// Returns the version to note, which is untrusted if the file changed too recently.
pub fn trusted(noted: FileStat) -> FileStat {
    let age = SystemTime::now().duration_since(noted.changed_at()).unwrap_or_default();
    if age >= TRUSTED_AFTER { noted } else { noted.untrusted() }
}

/// Makes a framer for `read`, the first bytes of a file. It frames the bytes from `start.mark` on, where the records
/// begin. The first span begins at `from`. `counted` is the number of comments before `from`.
pub fn framer(
    plan: &Plan,
    limit: usize,
    (from, counted): (Position, u64),
    start: &Start,
    read: &[u8],
) -> Framer {
    let at = usize::try_from(start.mark.offset).unwrap_or(usize::MAX).min(read.len());
    let (before, behind) = read.split_at(at);
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    let mut framer = Framer::new(&plan.format, limit, from, start.mark, hasher);
    framer.count_comments(start.comments.saturating_sub(counted));
    framer.bytes().extend_from_slice(behind);
    framer
}
