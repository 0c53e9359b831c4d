//! Corrections: rows are made equal to what the deliveries that count give.

pub mod cell_origins;
pub mod late_row;
pub mod rewrite;

use std::collections::BTreeMap;

use crate::domain::{DeliveryId, Stamp, TableRow, Value};

/// The stamps of one correction. They belong to no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CorrectionStamps(Stamp);

impl CorrectionStamps {
    /// The number of records in the range of a correction. Each has two stamps, and a correction needs three.
    pub const RECORDS: u64 = 2;

    /// Returns the stamps from `base` on, which is the first stamp of a range that was handed out.
    pub fn new(base: Stamp) -> Self {
        Self(base)
    }

    /// The stamp of deletes. They hide everything up to this stamp.
    pub fn delete(self) -> Stamp {
        self.0
    }

    /// The stamp of values that deliveries gave.
    pub fn restored(self) -> Stamp {
        Stamp(self.0.0 + 1)
    }

    /// The stamp of values of other programs that a delete would hide.
    pub fn kept(self) -> Stamp {
        Stamp(self.0.0 + 2)
    }
}

/// A correction as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    pub stamps: CorrectionStamps,
    /// The undone delivery. `None` for a repair.
    pub delivery: Option<DeliveryId>,
    /// The corrected tables, by name. The id tells a table from another one of the same name.
    pub tables: BTreeMap<String, String>,
    /// Whether all its rows are written.
    pub is_settled: bool,
}

/// A cell that was read from a table.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCell {
    pub value: Value<'static>,
    /// The write time.
    pub stamp: Stamp,
    /// The seconds until the cell expires.
    pub ttl: Option<i32>,
}

/// The cells of a row after its key, as they were read from a table.
pub type StoredRow = Vec<Option<StoredCell>>;

/// The row that records give for a key by law 2, without the key.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedRow {
    pub values: Vec<Value<'static>>,
    /// The stamps of the records that set the cells. An empty cell has one only in a table that clears cells.
    pub stamps: Vec<Option<Stamp>>,
    /// The stamp of the newest record.
    pub newest: Stamp,
    /// The stamp of the oldest record.
    pub first: Stamp,
}

impl ExpectedRow {
    /// Returns a row without cells whose records are not known. Nothing shows the stamp of a row without cells in Cassandra.
    pub fn unknown(columns: usize) -> Self {
        let none = Stamp(i64::MIN);
        Self { values: vec![Value::Empty; columns], stamps: vec![None; columns], newest: none, first: none }
    }

    /// Whether the row has no cells and its records are not known.
    pub fn is_unknown(&self) -> bool {
        self.newest == Stamp(i64::MIN)
    }

    /// Leaves out the cells that other records win, where `all` is what they all give together. Returns `None` if the others win
    /// the whole row.
    pub fn won_from(mut self, all: Option<&Self>) -> Option<Self> {
        let winner = |at: usize| all.and_then(|row| row.stamps.get(at).copied().flatten());
        for (at, (value, stamp)) in self.values.iter_mut().zip(&mut self.stamps).enumerate() {
            if *stamp != winner(at) {
                (*value, *stamp) = (Value::Empty, None);
            }
        }
        (self.has_cells() || !all.is_some_and(Self::has_cells)).then_some(self)
    }

    /// Whether a record set a cell, also to nothing.
    fn has_cells(&self) -> bool {
        self.stamps.iter().any(Option::is_some)
    }
}

/// A row of a table by its key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedRow {
    pub key: TableRow,
    pub row: ExpectedRow,
}

impl KeyedRow {
    /// Returns all columns, key first.
    pub fn into_table_row(self) -> TableRow {
        let Self { mut key, row } = self;
        key.extend(row.values);
        key
    }
}

/// A row that is not as the deliveries give it.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRepair {
    pub key: TableRow,
    /// What the deliveries give. `None` deletes the row.
    pub expected: Option<ExpectedRow>,
}
