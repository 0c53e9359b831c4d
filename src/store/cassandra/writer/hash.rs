//! Hashes keys, to find rows in the same partition and rows with the same key.

use bigdecimal::BigDecimal;
use twox_hash::XxHash64;

use crate::domain::text::plain;
use crate::domain::{Cell, Plan, Rows, Table, Type};

/// The seed of the hashes. It is fixed, because every process that resumes a delivery must compute the same hashes.
const SEED: u64 = 0x6e65_6564_6c65;

/// The key columns of a table. The columns of the partition key come first.
pub struct Key {
    columns: Vec<(usize, Type)>,
    partition: usize,
}

impl Key {
    pub fn of(plan: &Plan, table: &Table) -> Self {
        let columns = table.key().filter_map(|index| Some((index, plan.columns.get(index)?.kind)));
        Self { columns: columns.collect(), partition: table.partition_key.len() }
    }

    /// Returns the hash of a row's key.
    pub fn hash(&self, rows: &Rows, row: usize, scratch: &mut Vec<u8>) -> u64 {
        self.first(self.columns.len(), rows, row, scratch)
    }

    /// Returns the hash of a row's partition key.
    pub fn partition(&self, rows: &Rows, row: usize, scratch: &mut Vec<u8>) -> u64 {
        self.first(self.partition, rows, row, scratch)
    }

    /// Puts bytes into `into` that are the same for rows with the same key only.
    pub fn bytes(&self, rows: &Rows, row: usize, into: &mut Vec<u8>) {
        self.append_first(self.columns.len(), rows, row, into);
    }

    fn first(&self, columns: usize, rows: &Rows, row: usize, scratch: &mut Vec<u8>) -> u64 {
        self.append_first(columns, rows, row, scratch);
        XxHash64::oneshot(SEED, scratch)
    }

    fn append_first(&self, columns: usize, rows: &Rows, row: usize, scratch: &mut Vec<u8>) {
        scratch.clear();
        for (at, (column, kind)) in self.columns.iter().take(columns).enumerate() {
            self.append(at, *kind, rows.cell(row, *column), rows.arena_bytes(), scratch);
        }
    }

    fn append(&self, at: usize, kind: Type, cell: Cell, arena: &[u8], into: &mut Vec<u8>) {
        // Clustering keys are compared by value: 12.5 and 12.50 are equal. As partition keys they are different.
        if kind == Type::Decimal && at >= self.partition {
            let number: BigDecimal = plain(&cell.value(arena)).parse().unwrap_or_default();
            into.extend_from_slice(number.normalized().to_plain_string().as_bytes());
        } else {
            append(into, cell, arena);
        }
    }
}

/// Appends bytes that distinguish the value from other values of its column.
fn append(into: &mut Vec<u8>, cell: Cell, arena: &[u8]) {
    match cell {
        Cell::Text(at)
        | Cell::Blob(at)
        | Cell::Decimal(at)
        | Cell::Collection(at)
        | Cell::Uuid(at)
        | Cell::Inet(at) => {
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
    use crate::domain::parse::parse;

    /// Returns rows with one column that holds these texts.
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
    fn decimals_that_are_equal_share_a_row_and_not_a_partition() {
        let rows = rows(Type::Decimal, &["12.5", "12.50"]);
        let hashes = |key: &Key| [0, 1].map(|row| key.hash(&rows, row, &mut Vec::new()));
        let [one, other] = hashes(&key(Type::Decimal, 0));
        assert_eq!(one, other);
        let [one, other] = hashes(&key(Type::Decimal, 1));
        assert_ne!(one, other);
    }
}
