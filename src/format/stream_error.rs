//! Describes where the bytes of a file break off. A decoder returns such an error only once, and then the end of the
//! file.

use std::{fmt, io};

/// The reason the bytes of a file end too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The file is truncated, and more bytes are expected.
    Cut(&'static str),
    /// The following bytes cannot be decompressed.
    Corrupt(String),
}

impl StreamError {
    /// Classifies a read error. Returns `None` if the error comes from the system.
    pub fn by(error: &io::Error, compressed: bool) -> Option<Self> {
        match error.kind() {
            _ if error.raw_os_error().is_some() => None,
            io::ErrorKind::UnexpectedEof if compressed => Some(Self::Cut("the compressed file")),
            io::ErrorKind::UnexpectedEof => Some(Self::Cut("the last character")),
            _ => compressed.then(|| Self::Corrupt(error.to_string())),
        }
    }

    /// Returns the error for further reads.
    pub fn error(&self) -> io::Error {
        match self {
            Self::Cut(_) => io::ErrorKind::UnexpectedEof.into(),
            Self::Corrupt(why) => io::Error::new(io::ErrorKind::InvalidData, why.clone()),
        }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(what) => write!(f, "{what} is incomplete; more is expected"),
            Self::Corrupt(why) if why.contains("too much memory") => f.write_str(
                "decompressing it needs a window of over 8 MiB; compress it without --long and --ultra, or with gzip",
            ),
            Self::Corrupt(why) => {
                write!(f, "the rest cannot be decompressed: {why}; compress the file again and drop it again")
            }
        }
    }
}
