//! Errors of `needledrop init`.

use std::io;
use std::path::PathBuf;

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
