//! Records of a delivery: where they stand, and what is kept of those that were refused.

use std::fmt;

/// A place between two records of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Decoded bytes before this place.
    pub offset: u64,
    /// Records before this place; also the number of the record that begins here.
    pub record: u64,
    /// Line ends before this place.
    pub line: u64,
}

/// A run of whole records, `(from, to]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Position,
    pub to: Position,
}

/// A span that does not begin where the durable part of its delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk from byte {found} does not continue what is durable up to byte {durable}")]
pub struct OutOfOrder {
    pub durable: u64,
    pub found: u64,
}

impl Position {
    /// Moves past `span`.
    ///
    /// # Errors
    /// When the span leaves a gap or repeats records.
    pub fn advance(self, span: Span) -> Result<Self, OutOfOrder> {
        if span.from == self && span.to >= self {
            return Ok(span.to);
        }
        Err(OutOfOrder { durable: self.offset, found: span.from.offset })
    }
}

/// Why a record could not become rows. Few and fixed: they are a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// More or fewer fields than the header.
    Fields,
    /// A key column is empty.
    EmptyKey,
    /// A field is not a value of its column's type.
    Value,
    /// A value is outside the range of its type.
    Range,
    /// Bytes that are not UTF-8.
    Encoding,
    /// Longer than `limits.max_record_bytes`.
    TooLong,
    /// A quote where RFC 4180 allows none, or that is never closed.
    Quote,
    /// The store refused the row.
    Refused,
}

impl Reason {
    pub const ALL: [Self; 8] = [
        Self::Fields,
        Self::EmptyKey,
        Self::Value,
        Self::Range,
        Self::Encoding,
        Self::TooLong,
        Self::Quote,
        Self::Refused,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Fields => "fields",
            Self::EmptyKey => "empty_key",
            Self::Value => "value",
            Self::Range => "range",
            Self::Encoding => "encoding",
            Self::TooLong => "too_long",
            Self::Quote => "quote",
            Self::Refused => "refused",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A record that could not become rows, with all that is needed to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Number of the record in its delivery, from 0.
    pub record: u64,
    /// Line it begins on; the header is line 1.
    pub line: u64,
    /// Decoded bytes before it.
    pub offset: u64,
    /// Its length in decoded bytes, line end not counted.
    pub len: u64,
    /// The column whose value was refused.
    pub column: Option<String>,
    pub reason: Reason,
    /// What is wrong, in words, with the value and the rule.
    pub detail: String,
    /// The bytes as they came; of a record that is too long only the beginning.
    pub raw: Vec<u8>,
}
