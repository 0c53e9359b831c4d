//! What becomes of one row in a correction.

use std::collections::BTreeSet;

use crate::domain::correction::cell_origins::{CellOrigin, CellOrigins};
use crate::domain::correction::{ExpectedRow, StoredCell, StoredRow};
use crate::domain::{Stamp, TableRow, Value};

/// The most rows of a partition that are deleted one by one: half of Cassandra's default `tombstone_failure_threshold`.
pub const MOST_DELETED: u64 = 50_000;

/// A cell to write: the index of its column after the key, its value, and the seconds until it expires. An empty value
/// deletes the cell.
pub type NewCell = (usize, Value<'static>, Option<i32>);

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    pub key: TableRow,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The row is deleted. These cells are of other programs, and are written again.
    Delete(Vec<NewCell>),
    /// These cells change, and the others stay as they are.
    Set(Vec<NewCell>),
    /// The row is inserted, with its key living for this number of seconds, and these cells change.
    Insert(Option<i32>, Vec<NewCell>),
}

/// How long new cells of a table live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// In seconds, if cells expire.
    pub ttl: Option<i64>,
    /// The clock.
    pub now: Stamp,
}

impl Lifetime {
    /// Returns the seconds until a cell with this stamp expires, or `None` if it has expired.
    fn left(self, stamp: Stamp) -> Option<Option<i32>> {
        let Some(ttl) = self.ttl else { return Some(None) };
        let age = self.now.0.saturating_sub(stamp.0) / 1_000_000;
        let left = i32::try_from(ttl.saturating_sub(age)).unwrap_or(i32::MAX);
        (left > 0).then_some(Some(left))
    }

    /// Returns the cell that the deliveries give, unless it is empty or has expired.
    fn cell(self, expected: &ExpectedRow, at: usize) -> Option<NewCell> {
        let value = expected.values.get(at).filter(|value| **value != Value::Empty)?;
        let stamp = expected.stamps.get(at).copied().flatten().unwrap_or(expected.newest);
        Some((at, value.clone(), self.left(stamp)?))
    }

    /// Returns the change that keeps cells of late records from being hidden, or `None` if writing them under their own stamps
    /// is enough. `late` has only the cells that these records win, and `restored` the write times of restored values.
    pub fn uncover(
        self,
        late: &ExpectedRow,
        stored: Option<&StoredRow>,
        restored: &BTreeSet<Stamp>,
    ) -> Option<Change> {
        let marker = self.left(late.newest)?;
        let cell = |(at, own): (usize, Option<Stamp>)| {
            let own = own?;
            let stored = stored.and_then(|cells| cells.get(at)?.as_ref());
            // A value with a later stamp, which is no restored one, is another program's. For an empty cell, a delete of the
            // correction cannot be told from one of another program, so it is written.
            let is_hidden =
                stored.is_none_or(|stored| stored.stamp > own && restored.contains(&stored.stamp));
            let new = self.cell(late, at).unwrap_or((at, Value::Empty, None));
            let is_same = stored.map_or(&Value::Empty, |stored| &stored.value) == &new.1;
            (is_hidden && !is_same).then_some(new)
        };
        let cells: Vec<NewCell> = late.stamps.iter().copied().enumerate().filter_map(cell).collect();
        (stored.is_none() || !cells.is_empty()).then_some(Change::Insert(marker, cells))
    }

    /// Returns what makes a row equal to what the deliveries give, whoever changed it. Returns `None` if it would have expired,
    /// or if a cell has a write time from `beaten` on, which a repair cannot change.
    pub fn repair(
        self,
        expected: Option<&ExpectedRow>,
        stored: Option<&StoredRow>,
        beaten: Stamp,
    ) -> Option<Change> {
        let cells = || stored.into_iter().flatten().flatten();
        let Some(expected) = expected else {
            let is_old = cells().all(|cell| cell.stamp < beaten);
            return is_old.then_some(Change::Delete(Vec::new()));
        };
        // A row that is there has not expired, whatever the lifetime of new cells is now.
        let marker = match stored {
            Some(_) => {
                self.left(expected.newest).unwrap_or_else(|| cells().filter_map(|cell| cell.ttl).max())
            }
            None => self.left(expected.newest)?,
        };
        let stored = |at: usize| stored.and_then(|cells| cells.get(at)?.as_ref());
        let mut new = Vec::new();
        for at in 0..expected.values.len() {
            let (cell, value) = (stored(at), expected.values.get(at).unwrap_or(&Value::Empty));
            if cell.map_or(&Value::Empty, |cell| &cell.value) == value {
                continue;
            }
            if cell.is_some_and(|cell| cell.stamp >= beaten) {
                return None;
            }
            let given = self.cell(expected, at).map(|(_, _, ttl)| ttl);
            let ttl = given.or_else(|| cell.map(|cell| cell.ttl));
            new.extend(ttl.map(|ttl| (at, value.clone(), ttl)));
        }
        Some(Change::Insert(marker, new))
    }
}

/// The rules of one correction in one table.
#[derive(Debug)]
pub struct Rules<'c> {
    /// The place of the column `newest_by` among the columns after the key.
    pub newest_at: Option<usize>,
    pub origins: &'c CellOrigins,
    /// Whether the expected rows lack the records of some delivery.
    pub is_incomplete: bool,
    pub lifetime: Lifetime,
}

/// One row of a correction.
#[derive(Debug)]
pub struct Corrected<'r> {
    /// What the corrected delivery alone gives.
    pub own: &'r ExpectedRow,
    /// What the deliveries that count give.
    pub expected: Option<&'r ExpectedRow>,
    /// What the table has.
    pub stored: &'r StoredRow,
}

impl Rules<'_> {
    /// Returns what becomes of a row, or `None` if it stays as it is.
    pub fn change(&self, row: &Corrected<'_>) -> Option<Change> {
        let lifetime = self.lifetime_of(row.stored);
        let is_given = row.expected.is_some_and(|expected| lifetime.left(expected.newest).is_some());
        if !is_given && !self.has_cell_that_stays(row) {
            return Some(Change::Delete(self.of_others(row.stored)));
        }
        let cells = (0..row.own.values.len()).filter_map(|at| self.cell(row, at, lifetime));
        let cells: Vec<NewCell> = cells.collect();
        (!cells.is_empty()).then_some(Change::Set(cells))
    }

    /// Returns the lifetime that cells had when the undone records were written. That of the table may have changed since.
    fn lifetime_of(&self, stored: &StoredRow) -> Lifetime {
        let mut cells = stored.iter().flatten();
        let undone = cells.find(|cell| self.origins.of(cell.stamp) == CellOrigin::NotCounting);
        let Some(cell) = undone else { return self.lifetime };
        let age = self.lifetime.now.0.saturating_sub(cell.stamp.0) / 1_000_000;
        Lifetime { ttl: cell.ttl.map(|left| i64::from(left).saturating_add(age)), ..self.lifetime }
    }

    /// Whether the row has a cell of a delivery that counts. It is then not deleted.
    fn has_cell_that_stays(&self, row: &Corrected<'_>) -> bool {
        let mut cells = row.stored.iter().enumerate();
        cells.any(|(at, cell)| cell.as_ref().is_some_and(|cell| self.stays(row.own, at, cell)))
    }

    fn of_others(&self, stored: &StoredRow) -> Vec<NewCell> {
        let cells = stored.iter().enumerate().filter_map(|(at, cell)| Some((at, cell.as_ref()?)));
        let others = cells.filter(|(_, cell)| self.origins.of(cell.stamp) == CellOrigin::Other);
        others.map(|(at, cell)| (at, cell.value.clone(), cell.ttl)).collect()
    }

    /// Returns the new cell, or `None` if it stays as it is.
    fn cell(&self, row: &Corrected<'_>, at: usize, lifetime: Lifetime) -> Option<NewCell> {
        let expected = row.expected.and_then(|expected| lifetime.cell(expected, at));
        match row.stored.get(at)?.as_ref() {
            Some(cell) => match self.origins.of(cell.stamp) {
                CellOrigin::Other | CellOrigin::Counting => None,
                CellOrigin::Restored if self.stays(row.own, at, cell) => None,
                CellOrigin::Restored
                    if expected.as_ref().is_some_and(|(_, value, _)| *value == cell.value) =>
                {
                    None
                }
                CellOrigin::Restored | CellOrigin::NotCounting => {
                    Some(expected.unwrap_or((at, Value::Empty, None)))
                }
            },
            None if is_cleared(row, at) || self.is_of_undone(row) => expected,
            // Another program deleted the cell, or no record set it.
            None => None,
        }
    }

    /// Whether the row, which one record gives as a whole, is of a delivery that does not count.
    fn is_of_undone(&self, row: &Corrected<'_>) -> bool {
        let cell = self.newest_at.and_then(|at| row.stored.get(at)?.as_ref());
        cell.is_some_and(|cell| match self.origins.of(cell.stamp) {
            CellOrigin::NotCounting => true,
            CellOrigin::Restored => !self.is_incomplete,
            CellOrigin::Counting | CellOrigin::Other => false,
        })
    }

    /// Whether a cell is of a delivery that counts, or may be of one whose records are not among the expected ones.
    fn stays(&self, own: &ExpectedRow, at: usize, cell: &StoredCell) -> bool {
        let sets = own.stamps.get(at).is_some_and(Option::is_some);
        match self.origins.of(cell.stamp) {
            CellOrigin::Counting => true,
            CellOrigin::Restored => self.is_incomplete && !sets,
            CellOrigin::NotCounting | CellOrigin::Other => false,
        }
    }
}

/// Whether the corrected delivery cleared a cell that the others set.
fn is_cleared(row: &Corrected<'_>, at: usize) -> bool {
    let stamp = |of: &ExpectedRow| of.stamps.get(at).copied().flatten();
    stamp(row.own) > row.expected.and_then(stamp) && row.own.values.get(at) == Some(&Value::Empty)
}

#[cfg(test)]
mod tests;
