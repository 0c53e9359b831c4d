//! Values in SQLite: whole numbers and booleans are INTEGER, floats REAL, blobs BLOB, the rest TEXT.
//!
//! Timestamps, dates and times are text of fixed width and sort as they should. Decimal, timeuuid and
//! inet would not, so they are refused as clustering keys.

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};

use crate::domain::parse::{Form, parse};
use crate::domain::{Type, Unit, Value, text};
use crate::store::sqlite::fault::SqlResult;

/// The SQLite type of a column.
pub fn sql_type(kind: Type) -> &'static str {
    match kind {
        Type::Int | Type::Bigint | Type::Smallint | Type::Tinyint | Type::Boolean => "INTEGER",
        Type::Float | Type::Double => "REAL",
        Type::Blob => "BLOB",
        _ => "TEXT",
    }
}

/// Whether the stored form sorts as the values do.
pub fn sorts(kind: Type) -> bool {
    !matches!(kind, Type::Decimal | Type::Timeuuid | Type::Inet)
}

/// The stored form of a value.
pub fn stored<'a>(value: &'a Value<'a>) -> ToSqlOutput<'a> {
    match value {
        Value::Empty => ToSqlOutput::Owned(Owned::Null),
        Value::Text(text) | Value::Decimal(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Value::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        Value::Whole(n) => ToSqlOutput::Owned(Owned::Integer(*n)),
        Value::Boolean(yes) => ToSqlOutput::Owned(Owned::Integer(i64::from(*yes))),
        // Written as the shortest decimal, so that SQL shows 495.3073 too.
        Value::Float(x) => ToSqlOutput::Owned(Owned::Real(text::widen(*x))),
        Value::Double(x) => ToSqlOutput::Owned(Owned::Real(*x)),
        other => ToSqlOutput::Owned(Owned::Text(text::plain(other).into_owned())),
    }
}

/// The value of a stored form; the declared type says how to read it.
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

/// The text forms are those that the parser reads.
fn parsed(kind: Type, text: &[u8]) -> Value<'static> {
    let mut arena = Vec::new();
    // Version 0.1.0 stored the last 26 hours of the year 9999 as bare milliseconds.
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
