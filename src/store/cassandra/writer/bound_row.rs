//! The values of one row, as a statement takes them.

use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;

use crate::domain::json::{Item, Malformed, Reader};
use crate::domain::{Cell, Collection, Rows, Scalar, Type};
use crate::store::cassandra::writer::cell;

/// The most bytes that a cell takes in a request, including its length prefix but not its bytes in the arena.
const LARGEST: usize = 12;

/// The most bytes in a request for each byte of a collection in the arena. The worst is a list of bigints of one digit:
/// `1,` takes 12 bytes.
const EXPANSION: usize = 6;

/// One row as the values of a statement: the columns of a table in the order of the bind markers, then the stamp.
pub struct BoundRow<'r> {
    pub rows: &'r Rows,
    pub row: usize,
    pub columns: &'r [(usize, Type)],
    /// Whether an empty column deletes the stored value, at the cost of a tombstone. Otherwise it is not sent.
    pub clears: bool,
}

impl SerializeRow for BoundRow<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for (column, kind) in self.columns {
            let value = self.rows.cell(self.row, *column);
            cell::write(writer.make_cell_writer(), *kind, value, self.rows.arena_bytes(), self.clears)?;
        }
        cell::bytes(writer.make_cell_writer(), &self.rows.stamp(self.row).0.to_be_bytes())
    }

    fn is_empty(&self) -> bool {
        false
    }
}

impl BoundRow<'_> {
    /// Returns the approximate number of bytes that the key and the columns take.
    pub fn size(&self) -> usize {
        let of = |(column, kind): &(usize, Type)| match self.rows.cell(self.row, *column) {
            Cell::Collection(at) => collection_size(*kind, at.of(self.rows.arena_bytes())),
            Cell::Text(at) | Cell::Blob(at) | Cell::Decimal(at) | Cell::Uuid(at) | Cell::Inet(at) => {
                at.len() + 4
            }
            _ => LARGEST,
        };
        self.columns.iter().map(of).sum()
    }

    /// Reads the first byte of each text and blob, to bring them into the processor's cache. The sum has no other use.
    pub fn seen(&self) -> usize {
        let first = |(column, _): &(usize, Type)| match self.rows.cell(self.row, *column) {
            Cell::Text(at) | Cell::Blob(at) => at.of(self.rows.arena_bytes()).first().copied().unwrap_or(0),
            _ => 0,
        };
        self.columns.iter().map(first).map(usize::from).sum()
    }
}

/// Returns the most bytes that a row of these columns takes if it has `arena` bytes in the arena.
pub fn largest(columns: &[(usize, Type)], arena: usize) -> usize {
    let has_collection = columns.iter().any(|(_, kind)| kind.is_collection());
    arena * if has_collection { EXPANSION } else { 1 } + columns.len() * LARGEST
}

/// Returns about how many bytes a collection takes in a request, and never less than it takes.
fn collection_size(kind: Type, json: &[u8]) -> usize {
    let measured = match (kind, std::str::from_utf8(json)) {
        (Type::Collection(kind), Ok(text)) => values_size(kind, text),
        _ => Err(Malformed),
    };
    measured.unwrap_or(json.len() * EXPANSION) + 8
}

fn values_size(kind: Collection, text: &str) -> Result<usize, Malformed> {
    let (mut reader, key, value) = match kind {
        Collection::List(of) | Collection::Set(of) => (Reader::array(text)?, None, of),
        Collection::Map(key, value) => (Reader::object(text)?, Some(key), value),
    };
    let mut size = 0;
    while reader.has_next()? {
        if let Some(key) = key {
            size += value_size(key, reader.key()?.len());
        }
        size += match reader.item()? {
            Item::Text(text) => value_size(value, text.len()),
            Item::Literal(text) => value_size(value, text.len()),
            Item::Null | Item::Nested => 0,
        };
    }
    Ok(size)
}

/// Returns the most bytes that a value takes whose text has this length, including its length prefix.
fn value_size(kind: Scalar, len: usize) -> usize {
    let bytes = match kind {
        Scalar::Boolean | Scalar::Tinyint => 1,
        Scalar::Smallint => 2,
        Scalar::Int | Scalar::Float | Scalar::Date => 4,
        Scalar::Bigint | Scalar::Double | Scalar::Timestamp | Scalar::Time => 8,
        Scalar::Uuid | Scalar::Timeuuid | Scalar::Inet => 16,
        Scalar::Text => len,
        Scalar::Blob => len / 2,
        // Two digits take less than one byte. A decimal also has a scale of 4 bytes.
        Scalar::Varint | Scalar::Decimal => 5 + len / 2,
    };
    bytes + 4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Stamp;
    use crate::domain::parse::parse;

    /// Generates collections: their type, and JSON with many short or few long members.
    fn collection() -> impl Strategy<Value = (Collection, String)> {
        use Scalar::{Bigint, Blob, Boolean, Decimal, Double, Inet, Text, Varint};
        let texts = |pattern: &'static str| prop::collection::vec(pattern, 0..9);
        let of = |kind: Scalar, pattern: &'static str| {
            texts(pattern).prop_flat_map(move |texts| {
                let array = serde_json::json!(texts).to_string();
                let pairs = texts.iter().map(|text| (text.clone(), text.clone().into()));
                let object = serde_json::Value::Object(pairs.collect()).to_string();
                prop::sample::select(vec![
                    (Collection::List(kind), array.clone()),
                    (Collection::Set(kind), array),
                    (Collection::Map(kind, kind), object),
                ])
            })
        };
        prop_oneof![
            of(Bigint, "[0-9]|-[1-9][0-9]{0,17}"),
            of(Boolean, "true"),
            of(Double, "[0-9]"),
            of(Varint, "[0-9]|-[1-9][0-9]{0,80}"),
            of(Decimal, "[1-9]|-[1-9][0-9]{0,30}\\.[0-9]{0,30}"),
            of(Inet, "::|1\\.1\\.1\\.[1-9]"),
            of(Text, "\\PC{0,3}|[a-c\n\"]{0,90}"),
            of(Blob, "0x([0-9a-f]{2}){0,9}"),
        ]
    }

    proptest! {
        #[test]
        fn a_collection_takes_at_most_its_size((kind, json) in collection()) {
            let columns = [(0, Type::Collection(kind))];
            let mut rows = Rows::new(1, 1);
            // A set or map that contains the same decimal in two spellings is refused.
            let parsed = parse(columns[0].1, json.as_bytes(), rows.arena());
            prop_assume!(parsed.is_ok());
            rows.push(Stamp(0), &mut vec![parsed.unwrap()]);
            let row = BoundRow { rows: &rows, row: 0, columns: &columns, clears: false };
            let mut sent = Vec::new();
            row.serialize(&RowSerializationContext::empty(), &mut RowWriter::new(&mut sent)).unwrap();
            let stamp = 12;
            prop_assert!(sent.len() - stamp <= row.size(), "{} bytes for {json}, measured {}", sent.len() - stamp, row.size());
            prop_assert!(row.size() <= largest(&columns, rows.longest()), "{json}: {}", row.size());
        }

        #[test]
        fn no_row_takes_more_bytes_than_the_upper_bound(
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
            prop_assert!(sizes.max().unwrap() <= largest(&columns, rows.longest()));
            let longest = texts.iter().map(|(one, _, other)| one.len() + other.len() / 2).max();
            prop_assert_eq!(Some(rows.longest()), longest);
        }
    }
}
