//! The types of reading tables: a row, and where a page of rows begins.

use std::fmt;
use std::str::FromStr;

use crate::domain::plan::{Fingerprint, Table};
use crate::domain::value::Value;

/// The maximum number of rows in a page. A page also ends once its bytes reach
/// [`PAGE_BYTES`](crate::domain::paging::PAGE_BYTES).
pub const PAGE: usize = 2000;

/// A row as it is read: all columns of its table, key first.
pub type TableRow = Vec<Value<'static>>;

/// Returns about how many bytes a row takes in memory.
pub fn row_bytes(row: &[Value<'_>]) -> u64 {
    let heap = |value: &Value<'_>| match value {
        Value::Text(text) | Value::Decimal(text) | Value::Collection(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 0,
    };
    row.iter().map(|value| (size_of::<Value<'_>>() + heap(value)) as u64).sum()
}

/// Where a page of rows begins. It continues a listing of the same table and key, also in another process. Its text form
/// is for clients of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowCursor {
    /// The declaration of the table. With another declaration, the position would have another meaning.
    table: Fingerprint,
    /// The position, in a form that only the store knows.
    at: Vec<u8>,
}

impl RowCursor {
    pub fn new(table: &Table, at: Vec<u8>) -> Self {
        Self { table: table.fingerprint.clone(), at }
    }

    /// Returns the position. Returns `None` if the cursor was made for another declaration of the table.
    pub fn at(&self, table: &Table) -> Option<&[u8]> {
        (self.table == table.fingerprint).then_some(&self.at)
    }
}

impl fmt::Display for RowCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.table)?;
        self.at.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is not the text form of a cursor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor")]
pub struct NoCursor;

impl FromStr for RowCursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (table, digits) = text.rsplit_once('-').ok_or(NoCursor)?;
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(NoCursor);
        }
        let at = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
        let at = at.collect::<Option<_>>().ok_or(NoCursor)?;
        Ok(Self { table: Fingerprint(table.to_owned()), at })
    }
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_from_its_text() {
        for at in [vec![], vec![0, 9, 0x7f, 0xff]] {
            let cursor = RowCursor { table: Fingerprint::of("a-table"), at };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "0123", "0123-0", "0123-0g", "0123-+1", "é-é"] {
            assert_eq!(text.parse::<RowCursor>(), Err(NoCursor), "{text}");
        }
    }
}
