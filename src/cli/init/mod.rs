//! `needledrop init`: proposes a configuration for files like the given one. The user still has to choose the key.

mod read;
mod infer;
mod names;
mod key;
mod yaml;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use csv_async::ByteRecord;
use encoding_rs::Encoding;
use key::Seen;
use read::Sheet;

use crate::cli::init::column::Column;
use crate::cli::init::error::InitError;
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::domain::{Feed, Type};

/// Reads the header and the first records of `file`, and proposes a configuration as YAML.
///
/// # Errors
/// Returns an error if the encoding is unknown, if the file cannot be read, or if its header does not tell the columns
/// apart.
pub async fn configuration(
    file: &Path,
    label: Option<&str>,
    feed: Option<&Feed>,
) -> Result<String, InitError> {
    let place = names::place(file)?;
    let named = label.map(encoding).transpose()?;
    let sheet = read::sheet(file, named).await?;
    let columns = columns(&sheet);
    Ok(match feed {
        None => yaml::configuration(&place, &sheet, &columns),
        Some(feed) => yaml::entry(feed, &place, &sheet, &columns),
    })
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
        let (unit, has_decimal_commas) =
            (infer::unit(fields.clone()), infer::has_decimal_commas(fields.clone()));
        let seen = Seen::of(kind.unwrap_or(Type::Text), fields);
        let from = Some(header.clone()).filter(|header| *header != name);
        Column { name, from, kind: kind.unwrap_or(Type::Text), unit, has_decimal_commas, seen }
    });
    made.collect()
}

fn field(record: &ByteRecord, index: usize) -> &[u8] {
    record.get(index).unwrap_or_default()
}

#[derive(Debug, Args)]
pub struct Arguments {
    /// A CSV file like those that will be loaded
    file: PathBuf,
    /// Write to this file instead of stdout; it must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Propose the entry of this feed for `feeds:`, instead of a whole configuration
    #[arg(long, value_name = "NAME", value_parser = feed)]
    feed: Option<Feed>,
    /// The encoding of the file (see source.encoding), if it is not UTF-8 and has no byte order mark
    #[arg(long, value_name = "LABEL", env = "NEEDLEDROP_SOURCE__ENCODING")]
    encoding: Option<String>,
}

fn feed(name: &str) -> Result<Feed, String> {
    Feed::named(name).ok_or_else(|| "a name has up to 48 letters, digits, _ and -".to_owned())
}

pub async fn run(arguments: &Arguments) -> CommandResult {
    let label = arguments.encoding.as_deref();
    let text =
        configuration(&arguments.file, label, arguments.feed.as_ref()).await.map_err(Failure::usage)?;
    let Some(path) = &arguments.out else {
        std::io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(Exit::Done);
    };
    let failed = |error: std::io::Error| {
        Failure::system(format!(
            "{}: {error}\n  next: use --out to name a file that does not exist yet",
            path.display()
        ))
    };
    File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests;
mod error;
mod column;
