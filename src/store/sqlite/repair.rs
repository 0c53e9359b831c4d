//! Repairs rows: their values and their stamps become those that the deliveries give.

use rusqlite::types::{ToSqlOutput, Value as Sql};

use crate::domain::Value;
use crate::domain::correction::{ExpectedRow, RowRepair};
use crate::store::repairs::Repairs;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::cell;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::merge::{Row, implied};
use crate::store::sqlite::rows::Writer;
use crate::store::{StoreError, failpoint};

impl Repairs for SqliteStore {
    type Repair = ();

    async fn begin_repair(&self, _: Vec<usize>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn repair(&self, (): &(), table: usize, rows: Vec<RowRepair>) -> Result<(), StoreError> {
        self.write(move |shared, connection| {
            let no_table = || Fault::Broken("no such table".to_owned());
            let table = shared.declared.tables.get(table).ok_or_else(no_table)?;
            let transaction = shared.begin(connection)?;
            let writer = Writer::new(shared, &transaction, table)?;
            for row in &rows {
                repair(&writer, row)?;
            }
            drop(writer);
            failpoint::step("repair before commit");
            transaction.commit()?;
            failpoint::step("repair after commit");
            Ok(())
        })
        .await
    }

    async fn end_repair(&self, (): ()) -> Result<(), StoreError> {
        Ok(())
    }
}

fn repair(writer: &Writer<'_>, row: &RowRepair) -> Result<(), Fault> {
    let key: Vec<Sql> = row.key.iter().map(stored).collect();
    let is_there = writer.row(&key)?.is_some();
    match &row.expected {
        Some(expected) => writer.put(key, self::row(writer, expected), is_there)?,
        None if is_there => writer.delete(&key)?,
        None => {}
    }
    Ok(())
}

fn row(writer: &Writer<'_>, expected: &ExpectedRow) -> Row {
    let values: Vec<Sql> = expected.values.iter().map(stored).collect();
    let stamp = expected.newest;
    let cells = writer.names().into_iter().zip(&values).zip(&expected.stamps);
    let cells = cells.filter(|((_, value), at)| **at != implied(value, stamp, writer.empty()));
    let cells = cells.filter_map(|((name, _), at)| Some((name.to_owned(), (*at)?.0)));
    let cells = cells.collect();
    Row { values, stamp, first: expected.first, cells }
}

/// Returns the form in which SQLite stores a value.
fn stored(value: &Value<'static>) -> Sql {
    match cell::stored(value) {
        ToSqlOutput::Owned(value) => value,
        ToSqlOutput::Borrowed(value) => value.try_into().unwrap_or(Sql::Null),
        _ => Sql::Null,
    }
}
