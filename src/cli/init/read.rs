//! The beginning of a file: its header and its first records.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use csv_async::{AsyncReaderBuilder, ByteRecord};
use futures::executor::block_on;

use super::{InitError, infer};

/// Records that are looked at.
const MOST_RECORDS: usize = 10_000;

/// Bytes that are looked at: enough for that many records of 1,600 bytes, and bounded.
const MOST_BYTES: usize = 16 << 20;

/// A header and the records that go with it.
#[derive(Debug)]
pub struct Sheet {
    pub header: Vec<String>,
    pub records: Vec<ByteRecord>,
    /// Records with another count of fields than the header, or not UTF-8: they would be quarantined.
    pub left_out: usize,
}

pub fn sheet(file: &Path) -> Result<Sheet, InitError> {
    check_plain(file)?;
    let unreadable = |error| InitError::Unreadable { file: file.to_owned(), error };
    let (bytes, whole) = beginning(file).map_err(unreadable)?;
    let mut records = records(&bytes, whole).map_err(unreadable)?;
    if records.is_empty() {
        return Err(headless(file, whole));
    }
    let header = header(file, &records.remove(0))?;
    let read = records.len();
    records.retain(|record| record.len() == header.len() && is_utf8(record));
    let left_out = read - records.len();
    Ok(Sheet { header, records, left_out })
}

fn headless(file: &Path, whole: bool) -> InitError {
    let file = file.to_owned();
    if whole {
        return InitError::Empty { file };
    }
    InitError::NoHeader { file, why: format!("it does not end within {MOST_BYTES} bytes") }
}

fn check_plain(file: &Path) -> Result<(), InitError> {
    let tool = match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => "gunzip --keep",
        Some("zst") => "unzstd",
        _ => return Ok(()),
    };
    Err(InitError::Compressed { file: file.to_owned(), tool })
}

/// The first bytes, and whether they are all.
fn beginning(file: &Path) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let whole = bytes.len() <= MOST_BYTES;
    Ok((bytes, whole))
}

/// Header and records, as they come, without one that is cut where the bytes end.
fn records(bytes: &[u8], whole: bool) -> io::Result<Vec<ByteRecord>> {
    let mut reader = AsyncReaderBuilder::new().has_headers(false).flexible(true).create_reader(bytes);
    let mut records = Vec::new();
    let mut record = ByteRecord::new();
    while records.len() <= MOST_RECORDS
        && block_on(reader.read_byte_record(&mut record)).map_err(io::Error::other)?
    {
        records.push(record.clone());
    }
    if !whole && reader.position().byte() >= bytes.len() as u64 {
        records.pop();
    }
    Ok(records)
}

fn is_utf8(record: &ByteRecord) -> bool {
    record.iter().all(|field| std::str::from_utf8(field).is_ok())
}

fn header(file: &Path, record: &ByteRecord) -> Result<Vec<String>, InitError> {
    let names = record.iter().map(|field| String::from_utf8(field.to_vec()));
    let names: Vec<String> =
        names.collect::<Result<_, _>>().map_err(|_| InitError::Encoding { file: file.to_owned() })?;
    check_names(file, &names)?;
    check_separator(file, &names)?;
    check_once(file, &names)?;
    Ok(names)
}

/// A first line of values is a record: a file without header would lose it, and name columns after it.
fn check_names(file: &Path, names: &[String]) -> Result<(), InitError> {
    let no_header = |why: String| Err(InitError::NoHeader { file: file.to_owned(), why });
    if names.iter().all(|name| name.trim().is_empty()) {
        return no_header("all its fields are empty".to_owned());
    }
    if let Some(value) = names.iter().find(|name| infer::is_surely_a_value(name)) {
        return no_header(format!("`{value}` is a value, not a name"));
    }
    // A year can be the name of a column, but not when no column has any other.
    if names.iter().all(|name| name.trim().is_empty() || infer::is_number(name)) {
        return no_header("all its fields are numbers".to_owned());
    }
    Ok(())
}

fn check_separator(file: &Path, names: &[String]) -> Result<(), InitError> {
    const OTHERS: [(char, &str); 3] = [(';', "`;`"), ('\t', "tabs"), ('|', "`|`")];
    let [only] = names else { return Ok(()) };
    match OTHERS.iter().find(|(other, _)| only.contains(*other)) {
        Some((_, separator)) => Err(InitError::Separator { file: file.to_owned(), separator }),
        None => Ok(()),
    }
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
