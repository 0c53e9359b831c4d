//! Repairs rows: their values and their stamps become those that the deliveries give.

use rusqlite::types::Value as Sql;

use crate::domain::Stamp;
use crate::domain::correction::late_row::Fate;
use crate::domain::correction::{KeyedRow, RowRepair};
use crate::store::repairs::{Lateness, Repairs};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::cell;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::rows::Writer;
use crate::store::sqlite::stamped_row::stamped_row;
use crate::store::{StoreError, failpoint};

impl Repairs for SqliteStore {
    type Repair = ();

    async fn check_repairable(&self, _: &[usize]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn begin_repair(&self, _: Vec<usize>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn repair(&self, (): &(), table: usize, rows: Vec<RowRepair>) -> Result<u64, StoreError> {
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
            Ok(rows.len() as u64)
        })
        .await
    }

    fn lateness(&self, _: usize, _: Stamp, _: Stamp) -> Lateness {
        Lateness::None
    }

    async fn fates(&self, _: usize, rows: Vec<KeyedRow>) -> Result<Vec<Fate>, StoreError> {
        Ok(vec![Fate::Shows; rows.len()])
    }

    async fn uncover(&self, (): &(), _: usize, _: Vec<KeyedRow>) -> Result<(), StoreError> {
        Ok(())
    }
}

fn repair(writer: &Writer<'_>, row: &RowRepair) -> Result<(), Fault> {
    let key: Vec<Sql> = row.key.iter().map(cell::owned).collect();
    let is_there = writer.row(&key)?.is_some();
    match &row.expected {
        Some(expected) => writer.put(key, stamped_row(writer, expected), is_there)?,
        None if is_there => writer.delete(&key)?,
        None => {}
    }
    Ok(())
}
