//! The central directory of a zip archive: which file is in it, and where its bytes are. All numbers are little-endian
//! (APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16).

use std::io;

use crate::format::raw_file::RawFile;
use crate::format::zip::unusable::Unusable;

/// The file in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The offset at which its bytes begin.
    pub begin: u64,
    /// The number of its bytes in the archive.
    pub packed: u64,
    pub method: Method,
    /// The number of its bytes when they are decompressed, and their CRC-32.
    pub size: u64,
    pub crc: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Stored,
    Deflated,
}

/// What the directory of an archive says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    One(Member),
    /// The archive has no directory at its end, because the rest of it is missing.
    Cut,
    Unusable(Unusable),
}

const END: &[u8] = b"PK\x05\x06";
const END_LEN: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LEN: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LEN: usize = 30;

/// The extra field with the numbers that do not fit into 32 bits.
const ZIP64: u16 = 1;

/// The maximum length of the comment at the end of an archive.
const COMMENT: usize = 0xffff;

/// The maximum length of a directory that is read. An archive of one file has a short one.
const LONGEST: u64 = 64 * 1024;

/// Finds the file in an archive.
///
/// # Errors
/// Returns an error if the archive cannot be read.
pub async fn read(file: &impl RawFile) -> io::Result<Found> {
    let size = file.size();
    let len = size.min((END_LEN + COMMENT) as u64);
    let last = file.at(size - len, usize::try_from(len).unwrap_or(0)).await?;
    let Some((at, end)) = end(&last) else { return Ok(Found::Cut) };
    let end_at = size - len + at as u64;
    let Some((begin, entries)) = directory(end, end_at) else {
        return Ok(Found::Unusable(Unusable::Unusual));
    };
    if end_at - begin > LONGEST {
        return Ok(Found::Unusable(Unusable::Several));
    }
    let bytes = file.at(begin, usize::try_from(end_at - begin).unwrap_or(0)).await?;
    match chosen(&bytes, entries) {
        Err(unusable) => Ok(Found::Unusable(unusable)),
        Ok((member, local)) => {
            let header = file.at(local, LOCAL_LEN).await?;
            let member = located(member, local, &header).filter(|member| ends_before(member, begin));
            Ok(member.map_or(Found::Unusable(Unusable::Unusual), Found::One))
        }
    }
}

/// Returns the end record, and where it begins in the last bytes of an archive. Its comment reaches to the end.
fn end(last: &[u8]) -> Option<(usize, &[u8])> {
    memchr::memmem::rfind_iter(last, END).find_map(|at| {
        let record = last.get(at..)?;
        let comment = number(record, 20, 2)?;
        (record.len() as u64 == END_LEN as u64 + comment).then_some((at, record))
    })
}

/// Returns where the directory begins, and its number of entries. Returns `None` for archives in several parts, archives
/// with other bytes before them, and those that need 64-bit numbers here.
fn directory(end: &[u8], end_at: u64) -> Option<(u64, u64)> {
    let (disk, entries) = (number(end, 4, 2)?, number(end, 10, 2)?);
    let (len, begin) = (number(end, 12, 4)?, number(end, 16, 4)?);
    (disk == 0 && begin.checked_add(len)? == end_at).then_some((begin, entries))
}

/// Returns the only file in a directory, and the offset of its local header. Folders do not count, nor what macOS adds
/// for each file.
fn chosen(bytes: &[u8], entries: u64) -> Result<(Member, u64), Unusable> {
    let (mut rest, mut names, mut found) = (bytes, Vec::new(), None);
    for _ in 0..entries {
        let (entry, name, next) = entry(rest).ok_or(Unusable::Unusual)?;
        rest = next;
        if !name.ends_with(b"/") && !name.starts_with(b"__MACOSX/") {
            names.push(name);
            found.get_or_insert(entry);
        }
    }
    match (names.len(), found) {
        (1, Some(entry)) => member(entry),
        (0, _) | (_, None) => Err(Unusable::Empty),
        _ if names.contains(&b"[Content_Types].xml".as_slice()) => Err(Unusable::Office),
        _ if names.contains(&b"mimetype".as_slice()) => Err(Unusable::Office),
        _ => Err(Unusable::Several),
    }
}

/// Splits off the first entry. Returns it without its comment, its name, and what follows it.
fn entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let len = |at| number(bytes, at, 2).and_then(|len| usize::try_from(len).ok());
    let (name, extra, comment) = (len(28)?, len(30)?, len(32)?);
    let entry = bytes.get(..ENTRY_LEN + name + extra).filter(|entry| entry.starts_with(ENTRY))?;
    Some((entry, entry.get(ENTRY_LEN..ENTRY_LEN + name)?, bytes.get(entry.len() + comment..)?))
}

fn member(entry: &[u8]) -> Result<(Member, u64), Unusable> {
    let of = |at, len| number(entry, at, len).ok_or(Unusable::Unusual);
    if of(8, 2)? & 1 != 0 {
        return Err(Unusable::Encrypted);
    }
    let method = match of(10, 2)? {
        0 => Method::Stored,
        8 => Method::Deflated,
        _ => return Err(Unusable::Method),
    };
    let crc = u32::try_from(of(16, 4)?).map_err(|_| Unusable::Unusual)?;
    let extra = ENTRY_LEN + usize::try_from(of(28, 2)?).unwrap_or(usize::MAX);
    let mut large = Large(extended(entry.get(extra..).unwrap_or_default()));
    let (size, packed, local) = (of(24, 4)?, of(20, 4)?, of(42, 4)?);
    let mut wide = |number| large.number(number).ok_or(Unusable::Unusual);
    let (size, packed, local) = (wide(size)?, wide(packed)?, wide(local)?);
    Ok((Member { begin: 0, packed, method, size, crc }, local))
}

/// The 64-bit numbers of an entry, in the order of the numbers that do not fit into 32 bits.
struct Large<'e>(&'e [u8]);

impl Large<'_> {
    fn number(&mut self, short: u64) -> Option<u64> {
        if short != u64::from(u32::MAX) {
            return Some(short);
        }
        let number = number(self.0, 0, 8);
        self.0 = self.0.get(8..).unwrap_or_default();
        number
    }
}

/// Returns the content of the extra field with 64-bit numbers, or nothing.
fn extended(mut fields: &[u8]) -> &[u8] {
    while let (Some(kind), Some(len)) = (number(fields, 0, 2), number(fields, 2, 2)) {
        let end = 4 + usize::try_from(len).unwrap_or(0);
        if kind == u64::from(ZIP64) {
            return fields.get(4..end).unwrap_or_default();
        }
        fields = fields.get(end..).unwrap_or_default();
    }
    &[]
}

/// Completes a member by its local header, after which its bytes begin.
fn located(member: Member, local: u64, header: &[u8]) -> Option<Member> {
    let lens = number(header, 26, 2)? + number(header, 28, 2)?;
    let begin = local.checked_add(LOCAL_LEN as u64 + lens)?;
    header.starts_with(LOCAL).then_some(Member { begin, ..member })
}

fn ends_before(member: &Member, directory: u64) -> bool {
    member.begin.checked_add(member.packed).is_some_and(|end| end <= directory)
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + len)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
