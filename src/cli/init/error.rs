//! Errors of `needledrop init`.

use std::io;
use std::path::PathBuf;

/// Why no configuration can be proposed.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{file}: {error}\n  next: name a CSV file that can be read")]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{file} is empty\n  next: name a file that has a header and, if possible, some records")]
    Empty { file: PathBuf },
    #[error("{file}: line 1 is not a header: {why}\n  next: put the names of the columns into line 1")]
    NoHeader { file: PathBuf, why: String },
    #[error(
        "{file}: line 1: the header has `{name}` twice, as columns {first} and {second}\n  next: rename one of the two in the program that writes the file"
    )]
    Twice { file: PathBuf, name: String, first: usize, second: usize },
    #[error(
        "{file}: line 1: the header is not valid CSV: {why}\n  next: quote its fields as RFC 4180 describes"
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
        "{file}: line 1: the fields seem to be separated by {separator}, but init reads only commas\n  next: write the configuration by hand, with the delimiter in source.format; config/needledrop.yaml shows how"
    )]
    Separator { file: PathBuf, separator: &'static str },
    #[error("{file}: the path is not UTF-8, or it names no file\n  next: rename it")]
    Path { file: PathBuf },
}
