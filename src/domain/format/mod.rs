//! How the bytes of a file are divided into records and fields.

mod dialect;
mod header_rule;
mod lines;
mod marks;

use std::sync::Arc;

pub use dialect::{Ambiguous, Dialect};
pub use header_rule::{HeaderRule, NameMatch};
pub use lines::{FooterLines, LineEnd};
pub use marks::{Delimiter, Escape, Mark};

use super::feed::Feed;
use super::lenient_settings::LenientSettings;

/// The byte that ends a file in DOS (^Z). As the last byte of a file it belongs to no record.
pub const END_OF_FILE: u8 = 0x1a;

/// The format of the files of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Records in lines, with fields between delimiters.
    Csv(Arc<Dialect>),
}

impl Default for Format {
    /// Returns comma-separated values with a header, and quotes by RFC 4180.
    fn default() -> Self {
        Self::Csv(Arc::default())
    }
}

impl Format {
    /// Returns the format as this feed declares it.
    #[must_use]
    pub fn of(self, feed: &Feed) -> Self {
        match self {
            Self::Csv(dialect) => Self::Csv(Arc::new(Dialect { feed: feed.clone(), ..(*dialect).clone() })),
        }
    }

    /// Returns the feed that declares the format.
    pub fn feed(&self) -> &Feed {
        match self {
            Self::Csv(dialect) => &dialect.feed,
        }
    }

    /// Returns the path of a setting of the format in the configuration.
    pub fn setting(&self, key: &str) -> String {
        self.feed().setting(&format!("source.format.{key}"))
    }

    /// Describes what differs from the default, for fingerprints. The default is the empty text.
    pub fn declaration(&self) -> String {
        match self {
            Self::Csv(dialect) => dialect.declaration(),
        }
    }

    /// Whether this is the delimiter.
    pub fn is_delimiter(&self, text: &str) -> bool {
        match self {
            Self::Csv(dialect) => dialect.delimiter.bytes() == text.as_bytes(),
        }
    }

    /// Returns the names of the fields, if they are declared and not read from the file.
    pub fn names(&self) -> Option<&[String]> {
        match self {
            Self::Csv(dialect) => match &dialect.header {
                HeaderRule::Names(names) => Some(names),
                HeaderRule::Lines(_) => None,
            },
        }
    }

    /// Returns when a name of a header is that of a column.
    pub fn name_match(&self) -> NameMatch {
        match self {
            Self::Csv(dialect) => dialect.name_match,
        }
    }

    /// Returns what the format tolerates.
    pub fn lenient(&self) -> &LenientSettings {
        match self {
            Self::Csv(dialect) => &dialect.lenient,
        }
    }

    /// Whether the last lines of a file are no records.
    pub fn has_footer(&self) -> bool {
        match self {
            Self::Csv(dialect) => dialect.skip_footer.count() > 0,
        }
    }

    /// Returns the number of bytes that surely contain the end of a record or a footer, if records have at most `limit`
    /// bytes.
    pub fn longest_end(&self, limit: usize) -> usize {
        match self {
            Self::Csv(dialect) => (limit + 3).saturating_mul(dialect.skip_footer.count() + 1),
        }
    }

    /// Returns the last byte of a line end.
    pub fn line_byte(&self) -> u8 {
        match self {
            Self::Csv(dialect) => dialect.lines.last_byte(),
        }
    }

    /// Whether a record alone is a comment.
    pub fn is_comment(&self, record: &[u8]) -> bool {
        match self {
            Self::Csv(dialect) => dialect.is_comment(record),
        }
    }

    /// Returns the number of the line on which the header is expected, from 1.
    pub fn header_line(&self) -> u64 {
        match self {
            Self::Csv(dialect) => dialect.skip_lines.saturating_add(1),
        }
    }
}
