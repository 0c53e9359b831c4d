//! Converts values to their stored form in SQLite and back.
//!
//! Whole numbers and booleans are stored as INTEGER, floats as REAL, blobs as BLOB, and all other types as TEXT.
//! Timestamps, dates and times are text of fixed width, which sorts in the order of the values. The text of decimal,
//! varint, timeuuid and inet values does not, so these types are refused as clustering keys. A collection is its JSON
//! text, which SQLite's JSON functions can read.

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};

use crate::domain::parse::{Form, parse};
use crate::domain::{Type, Unit, Value, text};
use crate::store::sqlite::fault::SqlResult;

/// Returns the SQLite type of a column.
pub fn sql_type(kind: Type) -> &'static str {
    match kind {
        Type::Int | Type::Bigint | Type::Smallint | Type::Tinyint | Type::Boolean => "INTEGER",
        Type::Float | Type::Double => "REAL",
        Type::Blob => "BLOB",
        _ => "TEXT",
    }
}

/// Whether the stored form sorts in the order of the values.
pub fn sorts(kind: Type) -> bool {
    !matches!(kind, Type::Decimal | Type::Varint | Type::Timeuuid | Type::Inet | Type::Collection(_))
}

/// Returns the stored form of a value.
pub fn stored<'a>(value: &'a Value<'a>) -> ToSqlOutput<'a> {
    match value {
        Value::Empty => ToSqlOutput::Owned(Owned::Null),
        Value::Text(text) | Value::Decimal(text) | Value::Collection(text) => {
            ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
        }
        Value::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        Value::Whole(n) => ToSqlOutput::Owned(Owned::Integer(*n)),
        Value::Boolean(yes) => ToSqlOutput::Owned(Owned::Integer(i64::from(*yes))),
        // Stored as the double that prints like the 32-bit value, so that SQL shows 495.3073 and no further digits.
        Value::Float(x) => ToSqlOutput::Owned(Owned::Real(text::widen(*x))),
        Value::Double(x) => ToSqlOutput::Owned(Owned::Real(*x)),
        other => ToSqlOutput::Owned(Owned::Text(text::plain(other).into_owned())),
    }
}

/// Returns the form in which SQLite stores a value. Equal values have the same form.
pub fn owned(value: &Value<'_>) -> Owned {
    match stored(value) {
        ToSqlOutput::Owned(value) => value,
        ToSqlOutput::Borrowed(value) => value.try_into().unwrap_or(Owned::Null),
        _ => Owned::Null,
    }
}

/// Returns the value of a stored form, read as the declared type.
pub fn value(kind: Type, stored: ValueRef<'_>) -> SqlResult<Value<'static>> {
    Ok(match (stored, kind) {
        (ValueRef::Null, _) => Value::Empty,
        (ValueRef::Integer(n), Type::Boolean) => Value::Boolean(n != 0),
        (ValueRef::Integer(n), _) => Value::Whole(n),
        #[expect(clippy::cast_possible_truncation, reason = "it was widened from 32 bits")]
        (ValueRef::Real(x), Type::Float) => Value::Float(x as f32),
        (ValueRef::Real(x), _) => Value::Double(x),
        (ValueRef::Blob(bytes), _) => Value::Blob(Cow::Owned(bytes.to_vec())),
        (ValueRef::Text(bytes), Type::Text) => {
            Value::Text(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
        }
        (ValueRef::Text(bytes), _) => parsed(kind, bytes),
    })
}

/// Parses a stored text. Text that the parser cannot read is returned as a text value.
fn parsed(kind: Type, text: &[u8]) -> Value<'static> {
    let mut arena = Vec::new();
    // Version 0.1.0 stored the last 26 hours of the year 9999 as a number of milliseconds.
    let of_before = |refusal| match kind {
        Type::Timestamp => parse(Form::Since(Unit::Millis), text, &mut Vec::new()),
        _ => Err(refusal),
    };
    let cell = parse(kind, text, &mut arena).or_else(of_before);
    cell.map_or_else(
        |_| Value::Text(Cow::Owned(String::from_utf8_lossy(text).into_owned())),
        |cell| cell.value(&arena).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_that_an_earlier_version_stored_as_a_number_is_read() {
        let read = |text: &str| value(Type::Timestamp, ValueRef::Text(text.as_bytes())).unwrap();
        let end = Value::Timestamp(253_402_300_799_999);
        assert_eq!(read("253402300799999"), end);
        assert_eq!(read("9999-12-31T23:59:59.999Z"), end);
    }
}
