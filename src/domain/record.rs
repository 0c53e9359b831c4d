//! Positions in a delivery, and records that could not become rows.

use std::fmt;

/// A place between two records of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The number of decoded bytes before this place.
    pub offset: u64,
    /// The number of records before this place, which is also the number of the record that begins here.
    pub record: u64,
    /// The number of line ends before this place.
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
#[error("a chunk begins at byte {found}, but its delivery is durable up to byte {durable}")]
pub struct OutOfOrder {
    pub durable: u64,
    pub found: u64,
}

impl Position {
    /// Returns the position after `span`.
    ///
    /// # Errors
    /// Returns an error if the span leaves a gap or repeats records.
    pub fn advance(self, span: Span) -> Result<Self, OutOfOrder> {
        if span.from == self && span.to >= self {
            return Ok(span.to);
        }
        Err(OutOfOrder { durable: self.offset, found: span.from.offset })
    }
}

/// Why a record could not become rows. The reasons are few and fixed, because they are values of a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The record has more or fewer fields than the header.
    Fields,
    /// A key column is empty.
    EmptyKey,
    /// A field is not a value of its column's type.
    Value,
    /// A value is outside the range of its type.
    Range,
    /// The bytes are not UTF-8, contain a NUL byte, or begin with a byte order mark.
    Encoding,
    /// The record is longer than `limits.max_record_bytes`.
    TooLong,
    /// There is a quote where RFC 4180 allows none, or a quote is never closed.
    Quote,
    /// The record repeats the header.
    RepeatedHeader,
    /// The store rejected the row.
    Refused,
}

impl Reason {
    pub const ALL: [Self; 9] = [
        Self::Fields,
        Self::EmptyKey,
        Self::Value,
        Self::Range,
        Self::Encoding,
        Self::TooLong,
        Self::Quote,
        Self::RepeatedHeader,
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
            Self::RepeatedHeader => "repeated_header",
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

/// A record that could not become rows, with everything needed to correct it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The number of the record in its delivery, from 0.
    pub record: u64,
    /// The line on which the record begins. The header is line 1.
    pub line: u64,
    /// The number of decoded bytes before the record.
    pub offset: u64,
    /// The length of the record in decoded bytes, without its line end.
    pub len: u64,
    /// The column whose value was refused.
    pub column: Option<String>,
    pub reason: Reason,
    /// What is wrong, with the value and the rule.
    pub detail: String,
    /// The bytes as read. For a record that is too long, only the beginning.
    pub raw: Vec<u8>,
}
