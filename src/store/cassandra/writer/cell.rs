//! Encodes the cells of a chunk as CQL values, directly from the chunk's arena, and decodes values that are read.

use std::borrow::Cow;
use std::net::IpAddr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::{CellWriter, RowWriter};
use scylla::value::CqlValue;

use crate::domain::{Cell, Rows, Type, Value};

/// The number that CQL gives to 1970-01-01: dates are counted from 2^31 days earlier.
const DAY_ZERO: i64 = 1 << 31;

/// The most bytes that a cell takes in a request, including its length prefix but not its bytes in the arena.
pub const LARGEST: usize = 12;

/// One row as the values of a statement: the columns of a table in the order of the bind markers, then the stamp.
pub struct BoundRow<'r> {
    pub rows: &'r Rows,
    pub row: usize,
    pub columns: &'r [(usize, Type)],
    /// Whether an empty column deletes the stored value, at the cost of a tombstone. Otherwise it is not sent.
    pub clears: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("a value of {0} bytes is too long for CQL")]
struct TooLong(usize);

impl SerializeRow for BoundRow<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for (column, kind) in self.columns {
            let cell = self.rows.cell(self.row, *column);
            write(writer.make_cell_writer(), *kind, cell, self.rows.arena_bytes(), self.clears)?;
        }
        bytes(writer.make_cell_writer(), &self.rows.stamp(self.row).0.to_be_bytes())
    }

    fn is_empty(&self) -> bool {
        false
    }
}

impl BoundRow<'_> {
    /// Returns the approximate number of bytes that the key and the columns take.
    pub fn size(&self) -> usize {
        let of = |(column, _): &(usize, Type)| match self.rows.cell(self.row, *column) {
            Cell::Text(at) | Cell::Blob(at) | Cell::Decimal(at) | Cell::Uuid(at) | Cell::Inet(at) => {
                at.len() + 4
            }
            _ => LARGEST,
        };
        self.columns.iter().map(of).sum()
    }

    /// Reads the first byte of each value, to bring the values into the processor's cache. The sum has no other use.
    pub fn seen(&self) -> usize {
        let first = |(column, _): &(usize, Type)| match self.rows.cell(self.row, *column) {
            Cell::Text(at) | Cell::Blob(at) => at.of(self.rows.arena_bytes()).first().copied().unwrap_or(0),
            _ => 0,
        };
        self.columns.iter().map(first).map(usize::from).sum()
    }
}

fn write(
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
        Cell::Decimal(_) => bytes(writer, &decimal(&cell.value(arena))),
    }
}

fn bytes(writer: CellWriter<'_>, value: &[u8]) -> Result<(), SerializationError> {
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

fn unscaled(value: &Value<'_>) -> (BigInt, i32) {
    let text = match value {
        Value::Decimal(text) => text.as_ref(),
        _ => "0",
    };
    let number: BigDecimal = text.parse().unwrap_or_default();
    let (unscaled, scale) = number.into_bigint_and_exponent();
    (unscaled, i32::try_from(scale).unwrap_or_default())
}

/// Converts a value to the driver's type, for statements that need not be fast. Returns `None` for an empty value.
pub fn cql(kind: Type, value: &Value<'_>) -> Option<CqlValue> {
    Some(match value {
        Value::Empty => return None,
        Value::Text(text) => CqlValue::Text(text.to_string()),
        Value::Blob(bytes) => CqlValue::Blob(bytes.to_vec()),
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

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Stamp;
    use crate::domain::parse::parse;

    proptest! {
        #[test]
        fn no_record_is_larger_than_the_longest_and_its_cells(
            texts in prop::collection::vec(("[a-z]{0,40}", "[0-9]{1,9}", "([0-9a-f]{2}){0,20}"), 1..20),
            lost in "[a-z]{0,9}",
            again in any::<bool>(),
        ) {
            let columns = [(0, Type::Text), (1, Type::Bigint), (2, Type::Blob)];
            let mut rows = Rows::new(3, texts.len());
            if again {
                rows.arena().extend_from_slice(&[b'x'; 999]);
                rows.push(Stamp(0), &mut vec![Cell::Empty; 3]);
                rows = rows.emptied(3, texts.len());
            }
            for (number, (one, n, other)) in texts.iter().enumerate() {
                let of = |arena: &mut Vec<u8>| {
                    let kinds = [(Type::Text, one.clone()), (Type::Bigint, n.clone()), (Type::Blob, format!("0x{other}"))];
                    kinds.map(|(kind, text)| parse(kind, text.as_bytes(), arena).unwrap())
                };
                if number % 2 == 0 {
                    let mut cells = of(rows.arena()).to_vec();
                    rows.push(Stamp(0), &mut cells);
                } else {
                    rows.add(Stamp(0), |cells, arena| { cells.extend(of(arena)); Ok::<(), ()>(()) }).unwrap();
                }
                // A row that was not added does not count.
                rows.add(Stamp(0), |_, arena| { arena.extend(lost.bytes()); Err(()) }).unwrap_err();
            }
            let sizes = (0..rows.len()).map(|row| BoundRow { rows: &rows, row, columns: &columns, clears: false }.size());
            prop_assert!(sizes.max().unwrap() <= rows.longest() + columns.len() * LARGEST);
            let longest = texts.iter().map(|(one, _, other)| one.len() + other.len() / 2).max();
            prop_assert_eq!(Some(rows.longest()), longest);
        }
    }
}
