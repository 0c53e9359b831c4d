//! A row with the stamps of its cells, as a table stores it.

use rusqlite::types::Value as Sql;

use crate::domain::correction::ExpectedRow;
use crate::domain::{Schema, Stamp, Stamps, Table, Value};
use crate::store::sqlite::cell;
use crate::store::sqlite::fault::SqlResult;
use crate::store::sqlite::merge::{Row, implied};
use crate::store::sqlite::rows::Writer;

/// Returns the form in which a table stores a row.
pub fn stamped_row(writer: &Writer<'_>, expected: &ExpectedRow) -> Row {
    let (stamp, values) = (expected.newest, expected.values.iter().map(cell::owned));
    let values: Vec<Sql> = values.collect();
    let cells = writer.names().into_iter().zip(&values).zip(&expected.stamps);
    let differing = cells.filter(|((_, value), at)| **at != implied(value, stamp, writer.empty()));
    let cells = differing.filter_map(|((name, _), at)| Some((name.to_owned(), (*at)?.0))).collect();
    Row { values, stamp, first: expected.first, cells }
}

/// Returns a stored row with the stamp of each cell.
pub fn expected_row(row: &Row, (table, declared): (&Table, &Schema)) -> SqlResult<ExpectedRow> {
    let columns = || declared.columns_of(table).skip(table.key_len()).enumerate();
    let stamps = columns().map(|(at, column)| row.stamp_of(at, &column.name, table.empty)).collect();
    let values =
        columns().zip(&row.values).map(|((_, column), value)| cell::value(column.kind, value.into()));
    let values = values.collect::<SqlResult<_>>()?;
    Ok(ExpectedRow { values, stamps, newest: row.stamp, first: row.first })
}

/// Returns those cells of a row that have one of these stamps. `None` if there are none, unless the row has no cells and its
/// newest record has one of the stamps.
pub fn of_stamps(row: &Row, of: (&Table, &Schema), stamps: &Stamps) -> SqlResult<Option<ExpectedRow>> {
    let is_newest = stamps.contains(row.stamp);
    if !is_newest && row.cells.values().all(|at| !stamps.contains(Stamp(*at))) {
        return Ok(None);
    }
    let mut own = expected_row(row, of)?;
    let has_cells = own.stamps.iter().any(Option::is_some);
    for (value, at) in own.values.iter_mut().zip(&mut own.stamps) {
        if at.is_some_and(|at| !stamps.contains(at)) {
            (*value, *at) = (Value::Empty, None);
        }
    }
    let has_own = own.stamps.iter().any(Option::is_some) || (is_newest && !has_cells);
    Ok(has_own.then_some(own))
}
