//! Hashes of keys: which rows share a partition, and which fall on the same row.

use bigdecimal::BigDecimal;
use twox_hash::XxHash64;

use crate::domain::parse::parse;
use crate::domain::text::plain;
use crate::domain::{Cell, Plan, Rows, Table, Type};

/// Hashes must be the same in every process that goes on with a delivery.
const SEED: u64 = 0x6e65_6564_6c65;

/// The key of a table: its columns, those of the partition first.
pub struct Key {
    columns: Vec<(usize, Type)>,
    partition: usize,
}

impl Key {
    pub fn of(plan: &Plan, table: &Table) -> Self {
        let columns = table.key().filter_map(|index| Some((index, plan.columns.get(index)?.kind)));
        Self { columns: columns.collect(), partition: table.partition_key.len() }
    }

    /// The hash of a row's key.
    pub fn hash(&self, rows: &Rows, row: usize, scratch: &mut Vec<u8>) -> u64 {
        self.first(self.columns.len(), rows, row, scratch)
    }

    /// That of its partition.
    pub fn partition(&self, rows: &Rows, row: usize, scratch: &mut Vec<u8>) -> u64 {
        self.first(self.partition, rows, row, scratch)
    }

    fn first(&self, columns: usize, rows: &Rows, row: usize, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        for (at, (column, kind)) in self.columns.iter().take(columns).enumerate() {
            self.append(at, *kind, rows.cell(row, *column), rows.arena_bytes(), scratch);
        }
        XxHash64::oneshot(SEED, scratch)
    }

    /// The hash of a key in the text form of its values, which the parser reads.
    pub fn of_text(&self, texts: &[String]) -> u64 {
        let (mut arena, mut scratch) = (Vec::new(), Vec::new());
        for (at, ((_, kind), text)) in self.columns.iter().zip(texts).enumerate() {
            let cell = parse(*kind, text.as_bytes(), &mut arena).unwrap_or(Cell::Empty);
            self.append(at, *kind, cell, &arena, &mut scratch);
        }
        XxHash64::oneshot(SEED, &scratch)
    }

    fn append(&self, at: usize, kind: Type, cell: Cell, arena: &[u8], into: &mut Vec<u8>) {
        // Clustering keys are compared by value: 12.5 and 12.50 are one, as a partition key they are two.
        if kind == Type::Decimal && at >= self.partition {
            let number: BigDecimal = plain(&cell.value(arena)).parse().unwrap_or_default();
            into.extend_from_slice(number.normalized().to_plain_string().as_bytes());
        } else {
            append(into, cell, arena);
        }
    }
}

/// The bytes that tell a value from others of its column.
fn append(into: &mut Vec<u8>, cell: Cell, arena: &[u8]) {
    match cell {
        Cell::Text(at) | Cell::Blob(at) | Cell::Decimal(at) | Cell::Uuid(at) | Cell::Inet(at) => {
            let bytes = at.of(arena);
            into.extend_from_slice(&bytes.len().to_le_bytes());
            into.extend_from_slice(bytes);
        }
        Cell::Whole(n) | Cell::Timestamp(n) | Cell::Time(n) => into.extend_from_slice(&n.to_le_bytes()),
        Cell::Date(n) => into.extend_from_slice(&n.to_le_bytes()),
        Cell::Float(x) => into.extend_from_slice(&x.to_bits().to_le_bytes()),
        Cell::Double(x) => into.extend_from_slice(&x.to_bits().to_le_bytes()),
        Cell::Boolean(yes) => into.push(u8::from(yes)),
        Cell::Empty => into.push(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Stamp;

    /// Rows of one column that hold these texts.
    fn rows(kind: Type, texts: &[&str]) -> Rows {
        let mut rows = Rows::new(1, texts.len());
        for text in texts {
            let cell = parse(kind, text.as_bytes(), rows.arena()).unwrap();
            rows.push(Stamp(0), &mut vec![cell]);
        }
        rows
    }

    fn key(kind: Type, partition: usize) -> Key {
        Key { columns: vec![(0, kind)], partition }
    }

    #[test]
    fn a_key_has_the_hash_of_its_text() {
        for (_, kind) in Type::ALL {
            let texts: &[&str] = match kind {
                Type::Text => &["", " x ", "Zoë", "0"],
                Type::Int | Type::Bigint | Type::Smallint | Type::Tinyint => &["0", "-128", "+7", " 12 "],
                Type::Float | Type::Double => &["0", "-0", "1e-7", "0.1", "16777217"],
                Type::Decimal => &["12.5", "12.50", "1e3", "-0.001"],
                Type::Boolean => &["yes", "0"],
                Type::Timestamp => &["2018-11-01T21:01:46.796+02:00", "1541105830796", "-1"],
                Type::Date => &["2018-11-01", "0001-01-01"],
                Type::Time => &["21:01:46.796000001", "00:00"],
                Type::Uuid => &["123E4567-e89b-12d3-a456-426614174000"],
                Type::Timeuuid => &["123e4567-e89b-12d3-a456-426614174000"],
                Type::Blob => &["0x00ff", "0xAB"],
                Type::Inet => &["10.0.0.1", "2001:DB8::1"],
            };
            let rows = rows(kind, texts);
            for partition in [0, 1] {
                let key = key(kind, partition);
                for (row, text) in texts.iter().enumerate() {
                    let shown = plain(&rows.value(row, 0)).into_owned();
                    let hash = key.hash(&rows, row, &mut Vec::new());
                    assert_eq!(hash, key.of_text(std::slice::from_ref(&shown)), "{kind} {text} {shown}");
                }
            }
        }
    }

    #[test]
    fn decimals_that_are_equal_share_a_row_and_not_a_partition() {
        let rows = rows(Type::Decimal, &["12.5", "12.50"]);
        let hashes = |key: &Key| [0, 1].map(|row| key.hash(&rows, row, &mut Vec::new()));
        let [one, other] = hashes(&key(Type::Decimal, 0));
        assert_eq!(one, other);
        let [one, other] = hashes(&key(Type::Decimal, 1));
        assert_ne!(one, other);
    }
}
