//! The cursor of a listing of rows: the key of the last row, as it is stored.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::domain::{RowCursor, Table, Value};
use crate::store::sqlite::cell;
use crate::store::sqlite::fault::{Fault, SqlResult};

/// The sign of a whole number. Flipped, negative numbers come first.
const SIGN: u64 = 1 << 63;

/// A stored value of a key column. Text need not be UTF-8, because other programs may write to the tables too.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValue {
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl KeyValue {
    pub fn of(value: &Value<'static>) -> Self {
        match cell::stored(value) {
            ToSqlOutput::Owned(value) => Self::from(ValueRef::from(&value)),
            ToSqlOutput::Borrowed(value) => Self::from(value),
            _ => Self::Blob(Vec::new()),
        }
    }

    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Integer(n) => ValueRef::Integer(*n),
            Self::Real(x) => ValueRef::Real(*x),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }

    /// Appends the value. Whole numbers keep their order, so that keys that are encoded in order are also stored in order.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let (tag, fixed, bytes): (u8, u64, &[u8]) = match self {
            Self::Integer(n) => (0, n.cast_unsigned() ^ SIGN, &[]),
            Self::Real(x) => (1, x.to_bits(), &[]),
            Self::Text(bytes) => (2, bytes.len() as u64, bytes),
            Self::Blob(bytes) => (3, bytes.len() as u64, bytes),
        };
        into.push(tag);
        into.extend_from_slice(&fixed.to_be_bytes());
        into.extend_from_slice(bytes);
    }

    /// Decodes the first value in `bytes`, and removes it from there.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (fixed, rest) = rest.split_first_chunk()?;
        let fixed = u64::from_be_bytes(*fixed);
        let len = if *tag < 2 { 0 } else { usize::try_from(fixed).ok()? };
        let (own, rest) = rest.split_at_checked(len)?;
        *bytes = rest;
        match tag {
            0 => Some(Self::Integer((fixed ^ SIGN).cast_signed())),
            1 => Some(Self::Real(f64::from_bits(fixed))),
            2 => Some(Self::Text(own.to_vec())),
            3 => Some(Self::Blob(own.to_vec())),
            _ => None,
        }
    }
}

impl From<ValueRef<'_>> for KeyValue {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Integer(n) => Self::Integer(n),
            ValueRef::Real(x) => Self::Real(x),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
            // A key column is NOT NULL.
            ValueRef::Null => Self::Blob(Vec::new()),
        }
    }
}

impl ToSql for KeyValue {
    fn to_sql(&self) -> SqlResult<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.as_ref()))
    }
}

/// Returns the cursor after a row, whose first columns are the key.
pub fn after(table: &Table, row: &rusqlite::Row<'_>) -> SqlResult<RowCursor> {
    let mut at = Vec::new();
    for column in 0..table.key_len() {
        KeyValue::from(row.get_ref(column)?).encode(&mut at);
    }
    Ok(RowCursor::new(table, at))
}

/// Returns the key of the row after which a page begins.
pub fn key(table: &Table, cursor: &RowCursor) -> Result<Vec<KeyValue>, Fault> {
    let decoded = || {
        let mut bytes = cursor.at(table)?;
        let key: Option<Vec<_>> = (0..table.key_len()).map(|_| KeyValue::decode(&mut bytes)).collect();
        key.filter(|_| bytes.is_empty())
    };
    decoded().ok_or(Fault::Cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_decoded_as_it_was_encoded() {
        let values = [
            KeyValue::Integer(i64::MIN),
            KeyValue::Real(-0.1),
            KeyValue::Text(b"a\xff".to_vec()),
            KeyValue::Blob(Vec::new()),
        ];
        let mut encoded = Vec::new();
        values.iter().for_each(|value| value.encode(&mut encoded));
        let mut left = encoded.as_slice();
        let decoded = values.each_ref().map(|_| KeyValue::decode(&mut left));
        assert_eq!((decoded, left), (values.map(Some), &[][..]));
        let huge = [&[2], &u64::MAX.to_be_bytes()[..]].concat();
        let order = [-5, -1, 0, 3, 256].map(|n| {
            let mut encoded = Vec::new();
            KeyValue::Integer(n).encode(&mut encoded);
            encoded
        });
        assert!(order.is_sorted(), "{order:?}");
        for broken in [&[][..], &encoded[..5], &[9; 9], &huge] {
            assert_eq!(KeyValue::decode(&mut &*broken), None, "{broken:?}");
        }
    }
}
