//! Parses field text into values. docs/types.md has the grammar of each type; `grammar.rs` tests the parsers against
//! it.
//!
//! If a library would accept more than the grammar, the text is checked first and the library only computes the value.
//! Nothing is cut off, rounded to another unit or guessed.

#[cfg(test)]
mod grammar;
pub mod collection;
mod number;
pub mod refusal;
mod scalar;
#[cfg(test)]
mod tests;
pub(super) mod time;

use memchr::memchr;
pub use number::{plain_float, plain_whole};
pub use time::days;

use super::record::Reason;
use super::value::{Cell, Scalar, Type, Unit};
use crate::domain::parse::refusal::{Parsed, Refusal, not};

/// How the fields of a column are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By the grammar of this type.
    Plain(Type),
    /// A timestamp written as a number that counts since 1970.
    Since(Unit),
}

impl From<Type> for Form {
    fn from(kind: Type) -> Self {
        Self::Plain(kind)
    }
}

/// Parses one field. If the value has bytes, they are appended to `arena`.
///
/// # Errors
/// Returns the rule of the type that the field breaks.
pub fn parse(form: impl Into<Form>, field: &[u8], arena: &mut Vec<u8>) -> Parsed {
    if field.is_empty() {
        return Ok(Cell::Empty);
    }
    let (form, text) = (form.into(), utf8(field)?);
    let text = if keeps_spaces(form) { text } else { text.trim_matches(' ') };
    match form {
        _ if text.is_empty() => Ok(Cell::Empty),
        Form::Plain(kind) => match Scalar::try_from(kind) {
            Ok(scalar) => scalar::parse(scalar, text, arena),
            Err(collection) => collection::parse(collection, text, arena),
        },
        Form::Since(unit) => time::since(unit, text, false),
    }
}

/// Whether the field is an empty value of this type.
pub fn is_empty(kind: Type, field: &[u8]) -> bool {
    field.is_empty() || (!keeps_spaces(kind.into()) && field.iter().all(|byte| *byte == b' '))
}

/// Whether spaces around a value are part of it. They are part of text and blobs only.
pub(super) fn keeps_spaces(form: Form) -> bool {
    matches!(form, Form::Plain(kind) if Scalar::try_from(kind).is_ok_and(scalar::keeps_spaces))
}

/// Checks that the field is text. A NUL byte is not text: it usually comes from another encoding, and readers of the
/// value may stop at it.
pub(super) fn utf8(field: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(field).ok().filter(|_| memchr(0, field).is_none());
    text.ok_or(Refusal { reason: Reason::Encoding, ..not("text") })
}
