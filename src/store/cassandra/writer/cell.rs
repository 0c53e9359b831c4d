//! Encodes the cells of a chunk as CQL values, directly from the chunk's arena, and decodes values that are read.
//!
//! A collection is its JSON text in the arena. It is parsed again for each table, and encoded element by element.

use std::borrow::Cow;
use std::net::IpAddr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use scylla::serialize::SerializationError;
use scylla::serialize::writers::CellWriter;
use scylla::value::CqlValue;

use crate::domain::parse::collection::{elements, pairs};
use crate::domain::{Cell, Collection, Scalar, Type, Value, collection};

/// The number that CQL gives to 1970-01-01: dates are counted from 2^31 days earlier.
const DAY_ZERO: i64 = 1 << 31;

#[derive(Debug, thiserror::Error)]
#[error("a value of {0} bytes is too long for CQL")]
struct TooLong(usize);

#[derive(Debug, thiserror::Error)]
#[error("a collection that was parsed cannot be read; this is a defect, please report it")]
struct Unreadable;

/// Writes a cell. `clears` says whether an empty cell deletes the stored value, or is not sent.
pub fn write(
    writer: CellWriter<'_>,
    kind: Type,
    cell: Cell,
    arena: &[u8],
    clears: bool,
) -> Result<(), SerializationError> {
    match cell {
        Cell::Empty if clears => {
            writer.set_null();
            Ok(())
        }
        Cell::Empty => {
            writer.set_unset();
            Ok(())
        }
        Cell::Text(at) | Cell::Blob(at) | Cell::Uuid(at) | Cell::Inet(at) => bytes(writer, at.of(arena)),
        Cell::Whole(n) => match kind {
            Type::Int => narrow(writer, n, 4),
            Type::Smallint => narrow(writer, n, 2),
            Type::Tinyint => narrow(writer, n, 1),
            _ => bytes(writer, &n.to_be_bytes()),
        },
        Cell::Float(x) => bytes(writer, &x.to_be_bytes()),
        Cell::Double(x) => bytes(writer, &x.to_be_bytes()),
        Cell::Boolean(yes) => bytes(writer, &[u8::from(yes)]),
        Cell::Timestamp(n) | Cell::Time(n) => bytes(writer, &n.to_be_bytes()),
        Cell::Date(days) => narrow(writer, i64::from(days) + DAY_ZERO, 4),
        Cell::Decimal(_) if kind == Type::Varint => bytes(writer, &varint(&cell.value(arena))),
        Cell::Decimal(_) => bytes(writer, &decimal(&cell.value(arena))),
        Cell::Collection(at) => match std::str::from_utf8(at.of(arena)) {
            Ok(text) => collection_of(writer, kind, text),
            Err(_) => Err(SerializationError::new(Unreadable)),
        },
    }
}

/// Writes a collection from its JSON text.
///
/// # Errors
/// Returns an error if the text is no collection of this type, or is too long for CQL.
pub fn collection_of(writer: CellWriter<'_>, kind: Type, text: &str) -> Result<(), SerializationError> {
    match kind {
        Type::Collection(kind) => collection(writer, kind, text),
        _ => Err(SerializationError::new(Unreadable)),
    }
}

/// Writes a collection: the number of its elements or pairs, then each value with its length.
fn collection(writer: CellWriter<'_>, kind: Collection, text: &str) -> Result<(), SerializationError> {
    let unreadable = |_| SerializationError::new(Unreadable);
    let mut arena = Vec::new();
    let (count, cells): (usize, Vec<(Scalar, Cell)>) = match kind {
        Collection::List(of) | Collection::Set(of) => {
            let cells = elements(of, text, &mut arena).map_err(unreadable)?;
            (cells.len(), cells.into_iter().map(|cell| (of, cell)).collect())
        }
        Collection::Map(key, value) => {
            let pairs = pairs(key, value, text, &mut arena).map_err(unreadable)?;
            (pairs.len(), pairs.into_iter().flat_map(|(one, other)| [(key, one), (value, other)]).collect())
        }
    };
    let too_long = |_| SerializationError::new(TooLong(text.len()));
    let mut builder = writer.into_value_builder();
    builder.append_bytes(&i32::try_from(count).map_err(|_| too_long(()))?.to_be_bytes());
    for (of, cell) in cells {
        write(builder.make_sub_writer(), of.into(), cell, &arena, false)?;
    }
    builder.finish().map(|_| ()).map_err(|_| too_long(()))
}

pub fn bytes(writer: CellWriter<'_>, value: &[u8]) -> Result<(), SerializationError> {
    match writer.set_value(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(SerializationError::new(TooLong(value.len()))),
    }
}

/// Writes the last `len` bytes of `n`. The other bytes carry no information, because the parser has checked the range.
fn narrow(writer: CellWriter<'_>, n: i64, len: usize) -> Result<(), SerializationError> {
    let all = n.to_be_bytes();
    bytes(writer, all.get(all.len() - len..).unwrap_or(&all))
}

/// Encodes a decimal as its scale, followed by the unscaled number.
fn decimal(value: &Value<'_>) -> Vec<u8> {
    let (unscaled, scale) = unscaled(value);
    let mut bytes = scale.to_be_bytes().to_vec();
    bytes.extend(unscaled.to_signed_bytes_be());
    bytes
}

fn varint(value: &Value<'_>) -> Vec<u8> {
    unscaled(value).0.to_signed_bytes_be()
}

fn unscaled(value: &Value<'_>) -> (BigInt, i32) {
    let text = match value {
        Value::Decimal(text) => text.as_ref(),
        _ => "0",
    };
    let number: BigDecimal = text.parse().unwrap_or_default();
    let (unscaled, scale) = number.into_bigint_and_exponent();
    (unscaled, i32::try_from(scale).unwrap_or_default())
}

/// Converts a value of a key to the driver's type. Returns `None` for an empty value, and for a collection, which cannot be
/// part of a key.
pub fn cql(kind: Type, value: &Value<'_>) -> Option<CqlValue> {
    Some(match value {
        Value::Empty | Value::Collection(_) => return None,
        Value::Text(text) => CqlValue::Text(text.to_string()),
        Value::Blob(bytes) => CqlValue::Blob(bytes.to_vec()),
        Value::Decimal(_) if kind == Type::Varint => {
            CqlValue::Varint(scylla::value::CqlVarint::from_signed_bytes_be(varint(value)))
        }
        Value::Decimal(_) => {
            let (unscaled, scale) = unscaled(value);
            let bytes = unscaled.to_signed_bytes_be();
            CqlValue::Decimal(scylla::value::CqlDecimal::from_signed_be_bytes_and_exponent(bytes, scale))
        }
        Value::Uuid(id) if kind == Type::Timeuuid => CqlValue::Timeuuid((*id).into()),
        Value::Uuid(id) => CqlValue::Uuid(*id),
        Value::Inet(ip) => CqlValue::Inet(*ip),
        Value::Whole(n) => whole(kind, *n),
        Value::Float(x) => CqlValue::Float(*x),
        Value::Double(x) => CqlValue::Double(*x),
        Value::Boolean(yes) => CqlValue::Boolean(*yes),
        Value::Timestamp(ms) => CqlValue::Timestamp(scylla::value::CqlTimestamp(*ms)),
        Value::Date(days) => {
            let since = u32::try_from(i64::from(*days) + DAY_ZERO).unwrap_or_default();
            CqlValue::Date(scylla::value::CqlDate(since))
        }
        Value::Time(ns) => CqlValue::Time(scylla::value::CqlTime(*ns)),
    })
}

/// Converts a number to the driver's type. It is in range, because it was parsed as a column of this type.
fn whole(kind: Type, n: i64) -> CqlValue {
    match kind {
        Type::Int => CqlValue::Int(i32::try_from(n).unwrap_or_default()),
        Type::Smallint => CqlValue::SmallInt(i16::try_from(n).unwrap_or_default()),
        Type::Tinyint => CqlValue::TinyInt(i8::try_from(n).unwrap_or_default()),
        _ => CqlValue::BigInt(n),
    }
}

/// Converts a value that was read. The types of the columns were compared when the store was opened.
pub fn value(read: Option<CqlValue>) -> Value<'static> {
    match read {
        None => Value::Empty,
        Some(CqlValue::Text(text) | CqlValue::Ascii(text)) => Value::Text(Cow::Owned(text)),
        Some(CqlValue::Blob(bytes)) => Value::Blob(Cow::Owned(bytes)),
        Some(CqlValue::Decimal(decimal)) => {
            let (bytes, scale) = decimal.as_signed_be_bytes_slice_and_exponent();
            let number = BigDecimal::new(BigInt::from_signed_bytes_be(bytes), i64::from(scale));
            Value::Decimal(Cow::Owned(number.to_plain_string()))
        }
        Some(CqlValue::Varint(number)) => {
            let number = BigInt::from_signed_bytes_be(number.as_signed_bytes_be_slice());
            Value::Decimal(Cow::Owned(number.to_string()))
        }
        Some(CqlValue::List(values)) => {
            Value::Collection(Cow::Owned(collection::array(values.into_iter().map(member))))
        }
        Some(CqlValue::Set(values)) => {
            Value::Collection(Cow::Owned(collection::set(values.into_iter().map(member).collect())))
        }
        Some(CqlValue::Map(pairs)) => {
            let pairs = pairs.into_iter().map(|(key, value)| (member(key), member(value)));
            Value::Collection(Cow::Owned(collection::map(pairs.collect())))
        }
        Some(CqlValue::Uuid(id)) => Value::Uuid(id),
        Some(CqlValue::Timeuuid(id)) => Value::Uuid(id.into()),
        Some(CqlValue::Inet(ip)) => Value::Inet(canonical(ip)),
        Some(CqlValue::Int(n)) => Value::Whole(n.into()),
        Some(CqlValue::BigInt(n)) => Value::Whole(n),
        Some(CqlValue::SmallInt(n)) => Value::Whole(n.into()),
        Some(CqlValue::TinyInt(n)) => Value::Whole(n.into()),
        Some(CqlValue::Float(x)) => Value::Float(x),
        Some(CqlValue::Double(x)) => Value::Double(x),
        Some(CqlValue::Boolean(yes)) => Value::Boolean(yes),
        Some(CqlValue::Timestamp(at)) => Value::Timestamp(at.0),
        Some(CqlValue::Date(date)) => {
            Value::Date(i32::try_from(i64::from(date.0) - DAY_ZERO).unwrap_or_default())
        }
        Some(CqlValue::Time(at)) => Value::Time(at.0),
        Some(other) => Value::Text(Cow::Owned(format!("{other:?}"))),
    }
}

fn member(value: CqlValue) -> Value<'static> {
    self::value(Some(value))
}

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
