//! What a comparison of a table with the kept files finds.

use crate::domain::{Stamp, TableRow};

/// A row that is not what the kept files give.
#[derive(Clone, Debug)]
pub struct WrongRow {
    /// The columns of the table, key first, as the kept files give them. `None` if they give no row with this key.
    pub expected: Option<TableRow>,
    /// The columns as they are in the table. `None` if the row is missing.
    pub found: Option<TableRow>,
    /// The stamp of the newest record of the expected row.
    pub stamp: Option<Stamp>,
}

impl WrongRow {
    /// Returns the row, for its key.
    pub fn any(&self) -> &[crate::domain::Value<'static>] {
        self.found.as_ref().or(self.expected.as_ref()).map_or(&[], Vec::as_slice)
    }
}

/// How a table is compared.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Columns that are not compared, by their place in the row: static columns of a store that keeps one value for each
    /// partition.
    pub left_out: Vec<usize>,
    /// Whether values expire, so that a missing row or an empty cell is not wrong.
    pub expires: bool,
}
