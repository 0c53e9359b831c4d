//! Reads the beginning of a file: its header and its first records.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use csv_async::ByteRecord;
use encoding_rs::{Encoding, UTF_8};

use super::infer;
use crate::cli::init::error::InitError;
use crate::domain::format::{Delimiter, Dialect};
use crate::domain::{Feed, Format, Header, Position};
use crate::format::decoded::Decoded;
use crate::format::framer::Framer;
use crate::format::framer::open_tail::Tail;
use crate::format::splitter::{Malformed, Splitter};
use crate::format::totals;
use crate::source::folder::file::FolderFile;

/// The maximum number of records that are read.
const MOST_RECORDS: usize = 10_000;

/// The maximum number of bytes that are read. It is enough for 10,000 records of 1,600 bytes.
const MOST_BYTES: usize = 16 << 20;

/// The maximum number of lines in a footer. A longer run of such lines is data.
const LONGEST_FOOTER: usize = 3;

/// A header and its records.
#[derive(Debug)]
pub struct Sheet {
    pub header: Vec<String>,
    pub records: Vec<ByteRecord>,
    /// The number of records that would be quarantined, because they have more or fewer fields than the header, are not
    /// UTF-8 or have malformed quotes.
    pub left_out: usize,
    /// The number of lines at the end that seem to sum up the file. They are not among the records.
    pub footer: usize,
    pub encoding: &'static Encoding,
    /// The format, which differs from the default only in its delimiter.
    pub format: Format,
}

/// Reads the file as the daemon would: decompressed, and in the named encoding or that of the byte order mark.
pub async fn sheet(file: &Path, encoding: Option<&'static Encoding>) -> Result<Sheet, InitError> {
    let unreadable = |error| InitError::Unreadable { file: file.to_owned(), error };
    let encoding = match encoding {
        Some(named) => named,
        None => marked(file).await.map_err(unreadable)?,
    };
    let (bytes, is_whole_file) = beginning(file, encoding).await.map_err(unreadable)?;
    let format = format(&bytes);
    let mut found = records(&format, &bytes, is_whole_file).await;
    if found.is_empty() {
        return Err(headless(file, is_whole_file));
    }
    let first = found.remove(0).map_err(|malformed| InitError::Quote {
        file: file.to_owned(),
        why: malformed.describe(malformed.at),
    })?;
    let header = header(file, &first)?;
    let footer = if is_whole_file { footer(&found) } else { 0 };
    found.truncate(found.len() - footer);
    let read = found.len();
    let mut records: Vec<_> = found.into_iter().flatten().collect();
    check_width(file, &header, &records)?;
    records.retain(|record| record.len() == header.len() && is_utf8(record));
    let left_out = read - records.len();
    Ok(Sheet { header, records, left_out, footer, encoding, format })
}

/// Returns the number of lines at the end of a file that sum it up.
fn footer(records: &[Result<ByteRecord, Malformed>]) -> usize {
    let last = records.iter().rev();
    let lines = last.take_while(|record| record.as_ref().is_ok_and(totals::is_total)).count();
    if lines > LONGEST_FOOTER { 0 } else { lines }
}

/// Returns the format with the delimiter that the first line has. It is a comma unless the line has none.
fn format(bytes: &[u8]) -> Format {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let only = Header(vec![String::from_utf8_lossy(line).into_owned()]);
    let delimiter = if line.contains(&b',') { None } else { only.other_delimiter() };
    match delimiter.and_then(|(delimiter, _)| Delimiter::new(&delimiter)) {
        Some(delimiter) => Format::Csv(Arc::new(Dialect { delimiter, ..Dialect::default() })),
        None => Format::default(),
    }
}

/// Refuses a first line that is a title or a note. Most records after it then have another number of fields.
fn check_width(file: &Path, header: &[String], records: &[ByteRecord]) -> Result<(), InitError> {
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    records.iter().for_each(|record| *widths.entry(record.len()).or_default() += 1);
    let usual = widths.into_iter().max_by_key(|(_, records)| *records);
    match usual {
        Some((fields, count)) if fields != header.len() && count * 2 > records.len() => {
            let has = header.len();
            let why = format!("it has {has} fields, but most records after it have {fields}");
            Err(InitError::NoHeader { file: file.to_owned(), why })
        }
        _ => Ok(()),
    }
}

async fn open(file: &Path, encoding: &'static Encoding) -> io::Result<Decoded<FolderFile>> {
    Decoded::new(FolderFile::open(file).await?, encoding).await
}

/// Returns the encoding of the byte order mark at the beginning, or UTF-8 if there is no mark.
async fn marked(file: &Path) -> io::Result<&'static Encoding> {
    let mut first = Vec::new();
    open(file, UTF_8).await?.read_up_to(&mut first, 4).await?;
    Ok(Encoding::for_bom(&first).map_or(UTF_8, |(found, _)| found))
}

fn headless(file: &Path, is_whole_file: bool) -> InitError {
    let file = file.to_owned();
    if is_whole_file {
        return InitError::Empty { file };
    }
    InitError::NoHeader { file, why: format!("it does not end within {MOST_BYTES} bytes") }
}

/// Returns the first bytes, and whether they are the is_whole_file file.
async fn beginning(file: &Path, encoding: &'static Encoding) -> io::Result<(Vec<u8>, bool)> {
    let (mut source, mut bytes) = (open(file, encoding).await?, Vec::new());
    source.read_up_to(&mut bytes, MOST_BYTES + 1).await?;
    source.check_kind(&Feed::default()).map_err(io::Error::other)?;
    bytes.truncate(MOST_BYTES + 1);
    let is_whole_file = bytes.len() <= MOST_BYTES;
    Ok((bytes, is_whole_file))
}

/// Reads the header and the records as a load would. Leaves out a record that is cut off at the end of the bytes.
async fn records(format: &Format, bytes: &[u8], is_whole_file: bool) -> Vec<Result<ByteRecord, Malformed>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let begin = Position::default();
    let mut framer = Framer::new(format, bytes.len(), begin, begin, blake3::Hasher::new());
    framer.bytes().extend_from_slice(bytes);
    framer.scan(MOST_RECORDS + 1, usize::MAX);
    if is_whole_file && framer.records() <= MOST_RECORDS && matches!(framer.tail(), Tail::Record(_)) {
        framer.close_tail();
    }
    let (cut, mut splitter) = (framer.cut(), Splitter::new(format));
    let mut records = Vec::with_capacity(cut.frames.len());
    for frame in &cut.frames {
        let bytes = cut.bytes.get(frame.start..frame.start + frame.len).unwrap_or_default();
        let split = splitter.split(bytes).await;
        records.push(split.map(|record| ByteRecord::from(record.iter().collect::<Vec<_>>())));
    }
    records
}

fn is_utf8(record: &ByteRecord) -> bool {
    record.iter().all(|field| std::str::from_utf8(field).is_ok())
}

fn header(file: &Path, record: &ByteRecord) -> Result<Vec<String>, InitError> {
    let names = record.iter().map(|field| String::from_utf8(field.to_vec()));
    let names: Vec<String> =
        names.collect::<Result<_, _>>().map_err(|_| InitError::Encoding { file: file.to_owned() })?;
    // UTF-16 without a byte order mark has NUL bytes.
    if names.iter().any(|name| name.contains('\0')) {
        return Err(InitError::Encoding { file: file.to_owned() });
    }
    if let Some(why) = Header(names.clone()).line_ends(&Format::default()) {
        return Err(InitError::LineEnds { file: file.to_owned(), why });
    }
    check_names(file, &names)?;
    check_once(file, &names)?;
    Ok(names)
}

/// Refuses a first line of values. It is a record: it would be lost, and the columns would be named after its values.
fn check_names(file: &Path, names: &[String]) -> Result<(), InitError> {
    let no_header = |why: String| Err(InitError::NoHeader { file: file.to_owned(), why });
    if names.first().is_some_and(|name| name.starts_with("sep=")) {
        return no_header("it only tells a spreadsheet the delimiter".to_owned());
    }
    if names.iter().all(|name| name.trim().is_empty()) {
        return no_header("all its fields are empty".to_owned());
    }
    if let Some(value) = names.iter().find(|name| infer::is_surely_a_value(name)) {
        return no_header(format!("`{value}` is a value, not a name"));
    }
    // A year can be the name of a column, but not if all names are numbers.
    if names.iter().all(|name| name.trim().is_empty() || infer::is_number(name)) {
        return no_header("all its fields are numbers".to_owned());
    }
    Ok(())
}

fn check_once(file: &Path, names: &[String]) -> Result<(), InitError> {
    let mut places = names.iter().enumerate();
    let earlier = |second: usize, name: &String| names[..second].iter().position(|other| other == name);
    let twice = places.find_map(|(second, name)| Some((name, earlier(second, name)?, second)));
    match twice {
        Some((name, first, second)) => Err(InitError::Twice {
            file: file.to_owned(),
            name: name.clone(),
            first: first + 1,
            second: second + 1,
        }),
        None => Ok(()),
    }
}
