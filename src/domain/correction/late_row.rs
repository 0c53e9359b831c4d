//! Rows of late records in tables with `newest_by`. Their records may be newer than the row that is there, with earlier stamps.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::domain::correction::rewrite::{Change, NewCell};
use crate::domain::correction::{ExpectedRow, StoredRow};
use crate::domain::recency::compare_values;
use crate::domain::{Stamp, Value};

/// How late records compare with the stored row of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The stored row is newer.
    Older,
    /// They win, and are visible under their own stamps.
    Shows,
    /// They win, but later stamps would hide them.
    Hidden,
    /// The stored row has the same value, and was written by a correction. The stamp of its record is not known.
    Tie,
}

/// What is known of a table with `newest_by`.
#[derive(Debug)]
pub struct NewestTable<'t> {
    /// The place of the column `newest_by` among the columns after the key.
    pub newest_at: usize,
    /// The write times of restored values.
    pub restored: &'t BTreeSet<Stamp>,
    /// The last correction of the table. It hides what is written with earlier stamps.
    pub corrected: Option<Stamp>,
}

impl NewestTable<'_> {
    /// Compares what late records give with the stored row.
    pub fn fate(&self, late: &ExpectedRow, stored: Option<&StoredRow>) -> Fate {
        let own = late.stamps.get(self.newest_at).copied().flatten().unwrap_or(late.newest);
        let value = late.values.get(self.newest_at).unwrap_or(&Value::Empty);
        if let Some(cell) = stored.and_then(|cells| cells.get(self.newest_at)?.as_ref()) {
            match compare_values(value, &cell.value) {
                Ordering::Less => return Fate::Older,
                Ordering::Equal if self.restored.contains(&cell.stamp) => return Fate::Tie,
                Ordering::Equal if cell.stamp > own => return Fate::Older,
                Ordering::Equal | Ordering::Greater => {}
            }
        }
        let mut cells = stored.into_iter().flatten().flatten();
        // All late records of the key are written, including those with later stamps.
        let is_hidden = late.newest > own
            || self.corrected.is_some_and(|corrected| corrected >= own)
            || cells.any(|cell| cell.stamp > own);
        if is_hidden { Fate::Hidden } else { Fate::Shows }
    }

    /// Returns the change that replaces the whole row.
    pub fn replace_row(late: &ExpectedRow) -> Change {
        let cells = late.values.iter().cloned().enumerate();
        let cells: Vec<NewCell> = cells.map(|(at, value)| (at, value, None)).collect();
        Change::Insert(None, cells)
    }
}
