//! Merges a record into an existing row: column by column and by stamp (law 2), or whole in a table with `newest_by`.

use std::collections::BTreeMap;

use rusqlite::types::Value as Sql;

use crate::domain::{Empty, Stamp};

/// A row as it is stored in a table, without its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub values: Vec<Sql>,
    /// The stamp of the newest record of the row.
    pub stamp: Stamp,
    /// The stamp of the oldest record of the row.
    pub first: Stamp,
    /// The stamps of cells by column name. Only cells whose stamp differs from the implied stamp are here. The implied
    /// stamp of a value is `stamp`. An empty cell has no implied stamp in a table that keeps values (`keep`), and has
    /// `stamp` in a table that clears them (`clear`).
    pub cells: BTreeMap<String, i64>,
}

/// The values of a record, without its key.
#[derive(Clone, Debug)]
pub struct Change {
    pub values: Vec<Sql>,
    pub stamp: Stamp,
}

impl From<Change> for Row {
    fn from(change: Change) -> Self {
        Self { values: change.values, stamp: change.stamp, first: change.stamp, cells: BTreeMap::new() }
    }
}

/// What a record gives to the row of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// Each cell of the row whose stamp is not later. Equal stamps mean the same record.
    Cells,
    /// The whole row, in a table with `newest_by`.
    Row,
    /// Nothing: the row has a newer record, in a table with `newest_by`.
    Nothing,
}

/// Returns the row after the record was applied.
pub fn merge(row: &Row, change: Change, gives: Gives, names: &[&str], empty: Empty) -> Row {
    let stamp = row.stamp.max(change.stamp);
    let mut merged = Row {
        values: Vec::with_capacity(names.len()),
        stamp,
        first: row.first.min(change.stamp),
        cells: BTreeMap::new(),
    };
    for ((old, new), name) in row.values.iter().zip(change.values).zip(names) {
        let mut value = old.clone();
        let mut at = row.cells.get(*name).map(|at| Stamp(*at)).or_else(|| implied(old, row.stamp, empty));
        let sets = new != Sql::Null || empty == Empty::Clear;
        let is_given = match gives {
            Gives::Cells => sets && at.is_none_or(|at| change.stamp >= at),
            Gives::Row => true,
            Gives::Nothing => false,
        };
        if is_given {
            (value, at) = (new, Some(change.stamp));
        }
        if at != implied(&value, stamp, empty)
            && let Some(at) = at
        {
            merged.cells.insert((*name).to_owned(), at.0);
        }
        merged.values.push(value);
    }
    merged
}

impl Row {
    /// Returns the stamp of the cell at this index, if it has one.
    pub fn stamp_of(&self, at: usize, name: &str, empty: Empty) -> Option<Stamp> {
        let noted = self.cells.get(name).map(|at| Stamp(*at));
        noted.or_else(|| self.values.get(at).and_then(|value| implied(value, self.stamp, empty)))
    }
}

/// Returns the stamp of a cell that is not in [`Row::cells`].
pub fn implied(value: &Sql, stamp: Stamp, empty: Empty) -> Option<Stamp> {
    (*value != Sql::Null || empty == Empty::Clear).then_some(stamp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 2] = ["a", "b"];

    fn all(changes: &[Change], empty: Empty) -> Vec<Sql> {
        let mut changes = changes.iter().cloned();
        let first = Row::from(changes.next().unwrap());
        changes.fold(first, |row, change| merge(&row, change, Gives::Cells, &NAMES, empty)).values
    }

    fn change(stamp: i64, a: Option<i64>, b: Option<i64>) -> Change {
        let sql = |value: Option<i64>| value.map_or(Sql::Null, Sql::Integer);
        Change { values: vec![sql(a), sql(b)], stamp: Stamp(stamp) }
    }

    #[test]
    fn an_older_record_fills_what_a_newer_one_left_empty_and_a_middle_one_overwrites_it() {
        let (r1, r2, r3) =
            (change(2, Some(1), Some(1)), change(4, Some(2), Some(2)), change(6, Some(3), None));
        let end = vec![Sql::Integer(3), Sql::Integer(2)];
        assert_eq!(all(&[r3.clone(), r1.clone(), r2.clone()], Empty::Keep), end);
        assert_eq!(all(&[r1, r2, r3], Empty::Keep), end);
    }

    proptest! {
        #[test]
        fn any_order_ends_in_the_order_of_the_stamps(
            records in prop::collection::vec((prop::option::of(0i64..3), prop::option::of(0i64..3)), 1..7),
            seed in any::<u64>(),
            clear in any::<bool>(),
        ) {
            let empty = if clear { Empty::Clear } else { Empty::Keep };
            let sorted: Vec<Change> =
                (0i64..).zip(&records).map(|(n, (a, b))| change(2 * n, *a, *b)).collect();
            let mut shuffled = sorted.clone();
            shuffled.extend(sorted.iter().take(2).cloned()); // Some records are applied twice.
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let mut expected = vec![Sql::Null, Sql::Null];
            for record in &sorted {
                for (cell, new) in expected.iter_mut().zip(&record.values) {
                    if *new != Sql::Null || clear {
                        *cell = new.clone();
                    }
                }
            }
            prop_assert_eq!(all(&shuffled, empty), expected);
        }
    }
}
