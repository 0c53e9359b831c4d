//! Parses field text into values. docs/types.md has the grammar of each type; `grammar.rs` tests the parsers against
//! it.
//!
//! If a library would accept more than the grammar, the text is checked first and the library only computes the value.
//! Nothing is cut off, rounded to another unit or guessed.

#[cfg(test)]
mod grammar;
mod number;
#[cfg(test)]
mod tests;
mod time;
pub mod refusal;

use std::net::IpAddr;

use memchr::memchr;
pub use number::{plain_float, plain_whole};
pub use time::days;

use super::record::Reason;
use super::value::{Cell, Type, Unit};
use crate::domain::parse::refusal::{Parsed, Refusal, keep, not};

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
        Form::Plain(kind) => typed(kind, text, arena),
        Form::Since(unit) => time::since(unit, text),
    }
}

/// Whether the field is an empty value of this type.
pub fn is_empty(kind: Type, field: &[u8]) -> bool {
    field.is_empty() || (!keeps_spaces(kind.into()) && field.iter().all(|byte| *byte == b' '))
}

/// Whether spaces around a value are part of it. They are part of text and blobs only.
fn keeps_spaces(form: Form) -> bool {
    matches!(form, Form::Plain(Type::Text | Type::Blob))
}

/// Checks that the field is text. A NUL byte is not text: it usually comes from another encoding, and readers of the
/// value may stop at it.
fn utf8(field: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(field).ok().filter(|_| memchr(0, field).is_none());
    text.ok_or(Refusal { reason: Reason::Encoding, rule: "text" })
}

fn typed(kind: Type, text: &str, arena: &mut Vec<u8>) -> Parsed {
    match kind {
        Type::Text => keep(arena, text.as_bytes()).map(Cell::Text),
        Type::Int => {
            const RULE: &str = "a whole number from -2147483648 to 2147483647";
            number::whole(text, i32::MIN.into(), i32::MAX.into(), RULE)
        }
        Type::Bigint => number::whole(text, i64::MIN, i64::MAX, "a whole number of at most 64 bits"),
        Type::Smallint => {
            number::whole(text, i16::MIN.into(), i16::MAX.into(), "a whole number from -32768 to 32767")
        }
        Type::Tinyint => {
            number::whole(text, i8::MIN.into(), i8::MAX.into(), "a whole number from -128 to 127")
        }
        Type::Float => number::float(text),
        Type::Double => number::double(text),
        Type::Decimal => number::decimal(text, arena),
        Type::Boolean => boolean(text),
        Type::Timestamp => time::timestamp(text),
        Type::Date => time::date(text),
        Type::Time => time::time(text),
        Type::Uuid => uuid(text, false, arena),
        Type::Timeuuid => uuid(text, true, arena),
        Type::Blob => blob(text, arena),
        Type::Inet => inet(text, arena),
    }
}

fn boolean(text: &str) -> Parsed {
    const YES: [&str; 5] = ["true", "t", "yes", "y", "1"];
    const NO: [&str; 5] = ["false", "f", "no", "n", "0"];
    let is = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (is(YES), is(NO)) {
        (true, _) => Ok(Cell::Boolean(true)),
        (_, true) => Ok(Cell::Boolean(false)),
        _ => Err(not("true, false, t, f, yes, no, y, n, 1 or 0")),
    }
}

fn uuid(text: &str, timed: bool, arena: &mut Vec<u8>) -> Parsed {
    const RULE: &str = "a UUID like 123e4567-e89b-12d3-a456-426614174000";
    const TIMED: &str = "a version 1 UUID";
    let is_plain = text.len() == 36;
    let id = uuid::Uuid::parse_str(text).ok().filter(|_| is_plain).ok_or(not(RULE))?;
    if timed && id.get_version_num() != 1 {
        return Err(not(TIMED));
    }
    keep(arena, id.as_bytes()).map(Cell::Uuid)
}

fn blob(text: &str, arena: &mut Vec<u8>) -> Parsed {
    const RULE: &str = "0x followed by an even count of hexadecimal digits";
    let digits = text.strip_prefix("0x").filter(|hex| hex.len() % 2 == 0).ok_or(not(RULE))?;
    let pairs = digits.as_bytes().chunks_exact(2);
    let bytes: Option<Vec<u8>> = pairs.map(|pair| Some(hex(pair[0])? << 4 | hex(pair[1])?)).collect();
    keep(arena, &bytes.ok_or(not(RULE))?).map(Cell::Blob)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

fn inet(text: &str, arena: &mut Vec<u8>) -> Parsed {
    let ip: IpAddr = text.parse().map_err(|_| not("an IPv4 or IPv6 address"))?;
    // An IPv4-mapped IPv6 address is stored as the IPv4 address.
    let slice = match ip.to_canonical() {
        IpAddr::V4(v4) => keep(arena, &v4.octets()),
        IpAddr::V6(v6) => keep(arena, &v6.octets()),
    };
    slice.map(Cell::Inet)
}
