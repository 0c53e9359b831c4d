//! `needledrop init`: a configuration for files like this one, with the key left to be chosen.

mod read;
mod infer;
mod names;
mod key;
mod yaml;

use std::fs::File;
use std::io::Write as _;

use clap::Args;

use super::{Exit, Failure, Outcome};
use std::io;
use std::path::{Path, PathBuf};

use csv_async::ByteRecord;
use encoding_rs::Encoding;

use crate::domain::{Type, Unit};
use key::Seen;
use read::Sheet;

/// Why no configuration can be proposed.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{file}: {error}\n  next: name a CSV file that can be read")]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{file} is empty\n  next: name a file that has a header, better some records too")]
    Empty { file: PathBuf },
    #[error("{file}: line 1 is no header: {why}\n  next: put the names of the columns into line 1")]
    NoHeader { file: PathBuf, why: String },
    #[error(
        "{file}: line 1: the header has `{name}` twice, as columns {first} and {second}\n  next: rename one of the two where the file is made"
    )]
    Twice { file: PathBuf, name: String, first: usize, second: usize },
    #[error(
        "{file}: line 1: the header is not valid CSV: {why}\n  next: write its quotes as RFC 4180 has them"
    )]
    Quote { file: PathBuf, why: String },
    #[error(
        "{file}: line 1: the header is not UTF-8\n  next: name its encoding, such as --encoding windows-1252"
    )]
    Encoding { file: PathBuf },
    #[error(
        "there is no encoding `{label}`\n  next: use a label of encoding.spec.whatwg.org, such as utf-16le, windows-1252 or shift_jis"
    )]
    Label { label: String },
    #[error(
        "{file}: line 1: the fields seem to be separated by {separator}, and only commas are\n  next: export the file again with commas"
    )]
    Separator { file: PathBuf, separator: &'static str },
    #[error("{file}: the path is not UTF-8, or it names no file\n  next: rename it")]
    Path { file: PathBuf },
}

/// A column of the file as it is proposed.
#[derive(Debug)]
struct Column {
    name: String,
    /// The name in the header, where it is another one.
    from: Option<String>,
    kind: Type,
    /// What its numbers may count since 1970: a guess, so it becomes a comment.
    unit: Option<Unit>,
    seen: Seen,
}

/// Reads the header and the first records of `file`, and proposes a configuration as YAML.
///
/// # Errors
/// A file that cannot be read, or that has no header that tells its columns apart.
pub async fn configuration(file: &Path, label: Option<&str>) -> Result<String, InitError> {
    let place = names::place(file)?;
    let named = label.map(encoding).transpose()?;
    let sheet = read::sheet(file, named).await?;
    let columns = columns(&sheet);
    Ok(yaml::configuration(&place, &sheet, &columns))
}

fn encoding(label: &str) -> Result<&'static Encoding, InitError> {
    let found = Encoding::for_label_no_replacement(label.as_bytes());
    found.ok_or_else(|| InitError::Label { label: label.to_owned() })
}

fn columns(sheet: &Sheet) -> Vec<Column> {
    let headers = sheet.header.iter().zip(names::columns(&sheet.header)).enumerate();
    let made = headers.map(|(index, (header, name))| {
        let fields = sheet.records.iter().map(|record| field(record, index));
        let kind = infer::kind(fields.clone());
        let unit = infer::unit(fields.clone());
        let seen = Seen::of(kind.unwrap_or(Type::Text), fields);
        let from = Some(header.clone()).filter(|header| *header != name);
        Column { name, from, kind: kind.unwrap_or(Type::Text), unit, seen }
    });
    made.collect()
}

fn field(record: &ByteRecord, index: usize) -> &[u8] {
    record.get(index).unwrap_or_default()
}

#[derive(Debug, Args)]
pub struct Arguments {
    /// A CSV file like those that will be dropped
    file: PathBuf,
    /// Into this file instead of stdout; it must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of the file's text, where it is not UTF-8 and has no byte order mark; as source.encoding
    #[arg(long, value_name = "LABEL", env = "NEEDLEDROP_SOURCE__ENCODING")]
    encoding: Option<String>,
}

pub async fn run(arguments: &Arguments) -> Outcome {
    let label = arguments.encoding.as_deref();
    let text = configuration(&arguments.file, label).await.map_err(Failure::usage)?;
    let Some(path) = &arguments.out else {
        std::io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(Exit::Done);
    };
    let failed = |error: std::io::Error| {
        Failure::system(format!(
            "{}: {error}\n  next: name a file that is not there yet with --out",
            path.display()
        ))
    };
    File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests;
