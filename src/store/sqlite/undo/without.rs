//! What remains of a row without the values of one delivery.

use std::collections::BTreeMap;

use rusqlite::types::Value as Sql;

use crate::domain::{Empty, Stamp, Stamps};
use crate::store::sqlite::merge::{Row, implied};

/// A table, as far as its rows are concerned.
#[derive(Clone, Copy)]
pub struct Columns<'t> {
    /// The names of the columns after the key.
    pub names: &'t [&'t str],
    pub empty: Empty,
    /// Whether a record with a later stamp can be older by `newest_by`, so that it is expected too.
    pub is_newest_by: bool,
}

/// What remains of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// The row that remains, or `None` if no record of another delivery has its key.
    pub row: Option<Row>,
    /// The stamp of a value that stays although the expected row does not have it.
    pub unexpected: Option<Stamp>,
}

/// Takes the values of a delivery, which has the stamps `own`, out of a row. `expected` is the row that the other deliveries
/// give. Unless the first record of the row is of the delivery, only those with older records are needed: newer values cover
/// its values and not the other way round.
///
/// Values of others stay, also those that another program changed in the meantime: their stamps do not show it. If the
/// expected row lacks one of them, a record of another delivery was not read, and the row may lack further values of it.
pub fn without(row: &Row, expected: Option<&Row>, columns: Columns<'_>, own: &Stamps) -> Rest {
    let is_own = |stamp| own.contains(stamp);
    let mut cells: Vec<(Sql, Option<Stamp>)> = Vec::with_capacity(columns.names.len());
    let mut unexpected = None;
    let mut keep = |stamp: Stamp, expected: Option<Stamp>| {
        if expected != Some(stamp) && (columns.is_newest_by || stamp < own.end()) {
            unexpected = Some(stamp);
        }
        Some(stamp)
    };
    for (at, name) in columns.names.iter().enumerate() {
        let value = row.values.get(at).cloned().unwrap_or(Sql::Null);
        let stamp = row.stamp_of(at, name, columns.empty);
        let other = expected.and_then(|expected| expected.stamp_of(at, name, columns.empty));
        cells.push(match stamp {
            Some(stamp) if !is_own(stamp) => (value, keep(stamp, other)),
            // A table that keeps values now may have cleared this one under an earlier declaration.
            None if !is_own(row.stamp) => (value, None),
            _ => {
                let value = expected.and_then(|expected| expected.values.get(at)).cloned();
                (value.unwrap_or(Sql::Null), other)
            }
        });
    }
    let newest = if is_own(row.stamp) { None } else { keep(row.stamp, expected.map(|row| row.stamp)) };
    let first = if is_own(row.first) { None } else { keep(row.first, expected.map(|row| row.first)) };
    let known = cells.iter().filter_map(|(_, stamp)| *stamp).chain(newest).chain(first);
    let known: Vec<Stamp> = known.chain(expected.iter().flat_map(|row| [row.first, row.stamp])).collect();
    let (Some(oldest), Some(latest)) = (known.iter().min().copied(), known.iter().max().copied()) else {
        return Rest { row: None, unexpected };
    };
    let row = assembled(cells, newest.unwrap_or(latest), first.unwrap_or(oldest), columns);
    Rest { row: Some(row), unexpected }
}

fn assembled(
    cells: Vec<(Sql, Option<Stamp>)>,
    stamp: Stamp,
    first: Stamp,
    Columns { names, empty, .. }: Columns<'_>,
) -> Row {
    let differs =
        |(value, at): &(Sql, Option<Stamp>)| at.filter(|at| implied(value, stamp, empty) != Some(*at));
    let stamps =
        names.iter().zip(&cells).filter_map(|(name, cell)| Some(((*name).to_owned(), differs(cell)?.0)));
    let stamps: BTreeMap<String, i64> = stamps.collect();
    Row { values: cells.into_iter().map(|(value, _)| value).collect(), stamp, first, cells: stamps }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::StampRange;
    use crate::store::sqlite::merge::{Change, Gives, merge};

    const NAMES: [&str; 2] = ["a", "b"];

    fn row(changes: impl Iterator<Item = Change>, empty: Empty) -> Option<Row> {
        let merged = |row: Option<Row>, change: Change| {
            Some(row.map_or_else(
                || Row::from(change.clone()),
                |row| merge(&row, change.clone(), Gives::Cells, &NAMES, empty),
            ))
        };
        changes.fold(None, merged)
    }

    fn own(stamps: impl Iterator<Item = Stamp>) -> Stamps {
        Stamps::new(stamps.map(|base| StampRange { first: 0, base, records: 1 }).collect())
    }

    proptest! {
        /// Each record is of the delivery or of another one, in any order of stamps.
        #[test]
        fn what_remains_is_what_the_other_records_give(
            records in prop::collection::vec((any::<bool>(), prop::option::of(0i64..3), prop::option::of(0i64..3)), 1..7),
            clear in any::<bool>(),
        ) {
            let empty = if clear { Empty::Clear } else { Empty::Keep };
            let sql = |value: Option<i64>| value.map_or(Sql::Null, Sql::Integer);
            let change = |(n, (own, a, b)): (i64, &(bool, Option<i64>, Option<i64>))| {
                (*own, Change { values: vec![sql(*a), sql(*b)], stamp: Stamp(2 * n + 2) })
            };
            let all: Vec<(bool, Change)> = (0..).zip(&records).map(change).collect();
            let own = own(all.iter().filter(|(own, _)| *own).map(|(_, change)| change.stamp));
            let before = row(all.iter().map(|(_, change)| change.clone()), empty).unwrap();
            let others = || all.iter().filter(|(own, _)| !own).map(|(_, change)| change.clone());
            let columns = Columns { names: &NAMES, empty, is_newest_by: false };
            let after = Rest { row: row(others(), empty), unexpected: None };
            prop_assert_eq!(without(&before, after.row.as_ref(), columns, &own), after.clone());
            if !own.contains(before.first) {
                let older = row(others().filter(|change| change.stamp < own.end()), empty);
                prop_assert_eq!(without(&before, older.as_ref(), columns, &own), after);
            }
        }
    }

    #[test]
    fn a_value_that_was_not_expected_stays_and_is_reported() {
        let change = |stamp, a: Option<i64>, b: Option<i64>| Change {
            values: [a, b].map(|value| value.map_or(Sql::Null, Sql::Integer)).into(),
            stamp: Stamp(stamp),
        };
        let all = [change(2, Some(1), Some(1)), change(4, Some(2), None)];
        let before = row(all.into_iter(), Empty::Keep).unwrap();
        let columns = Columns { names: &NAMES, empty: Empty::Keep, is_newest_by: false };
        let rest = without(&before, None, columns, &own([Stamp(4)].into_iter()));
        assert_eq!(rest.unexpected, Some(Stamp(2)));
        let row = rest.row.unwrap();
        assert_eq!(
            (row.values, row.stamp, row.first),
            (vec![Sql::Null, Sql::Integer(1)], Stamp(2), Stamp(2))
        );
    }
}
