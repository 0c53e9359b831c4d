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
    #[error(
        "{file}: line 1 is not a header: {why}\n  next: try a copy with the names of the columns in line 1; if the files have lines before them, set source.format.skip_lines in the configuration, and if they have no names, header: false and names"
    )]
    NoHeader { file: PathBuf, why: String },
    #[error(
        "{file}: {why}\n  next: write the configuration by hand; config/needledrop.yaml describes every key"
    )]
    LineEnds { file: PathBuf, why: String },
    #[error(
        "{file}: line 1: the header has `{name}` twice, as columns {first} and {second}\n  next: rename one of the two in the program that writes the file; if the line is a record, set source.format.header: false and names in the configuration"
    )]
    Twice { file: PathBuf, name: String, first: usize, second: usize },
    #[error(
        "{file}: line 1: the header is not valid CSV: {why}\n  next: quote its fields as RFC 4180 describes"
    )]
    Quote { file: PathBuf, why: String },
    #[error(
        "{file}: line 1: the header is not UTF-8\n  next: name its encoding, such as --encoding windows-1252 or utf-16le (source.encoding)"
    )]
    Encoding { file: PathBuf },
    #[error(
        "there is no encoding `{label}`\n  next: use a label of encoding.spec.whatwg.org, such as utf-16le, windows-1252 or shift_jis"
    )]
    Label { label: String },
    #[error("{file}: the path is not UTF-8, or it names no file\n  next: rename it")]
    Path { file: PathBuf },
}
