//! A row with the stamps of its cells, as a table stores it.

use rusqlite::types::Value as Sql;

use crate::domain::correction::ExpectedRow;
use crate::store::sqlite::cell;
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
