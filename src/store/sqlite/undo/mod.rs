//! Takes back what a delivery wrote. The stamps in a row tell which of its values are of the delivery.

mod begun;
mod expected;
mod find;
mod take_back;
mod without;

use std::sync::{Arc, PoisonError};

use begun::Undo;
use rusqlite::{Connection, Transaction};

use crate::domain::undo::{RowsOf, TableUndo, UndoEnd};
use crate::domain::{DeliveryId, RowChunk};
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::generations;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::undo::expected::Expected;
use crate::store::sqlite::{SqliteStore, entry};
use crate::store::{Corrections, StoreError, failpoint};

/// Takes the rows out, and enters the undo into the ledger.
fn write(
    undo: &Undo,
    shared: &Shared,
    transaction: &Transaction<'_>,
    expected: &Expected,
    end: &UndoEnd,
) -> Result<Vec<TableUndo>, Fault> {
    let tables = take_back::all(shared, transaction, undo, expected, end)?;
    entry::change(transaction, undo.id, |delivery| Ok(delivery.undo(&tables, end.by)))?;
    generations::discard_entries(transaction, undo.id)?;
    for lost in &end.lost {
        take_back::set_behind(transaction, lost)?;
    }
    Ok(tables)
}

impl Corrections for SqliteStore {
    type Undo = Arc<Undo>;

    async fn begin_undo(&self, id: DeliveryId) -> Result<(Self::Undo, Vec<RowsOf>), StoreError> {
        let undo = self.write(move |shared, connection| Ok(Undo::begin(shared, connection, id)?)).await?;
        let found = undo.found.clone();
        Ok((Arc::new(undo), found))
    }

    async fn expect(&self, undo: &Self::Undo, chunk: Arc<RowChunk>) -> Result<(), StoreError> {
        let undo = Arc::clone(undo);
        let add = move |shared: &Shared, _: &mut Connection| {
            let expected = undo.expected.lock().unwrap_or_else(PoisonError::into_inner);
            let tables = &chunk.source.plan.tables;
            tables.iter().try_for_each(|table| expected.add(shared, table, &chunk))
        };
        self.write(add).await
    }

    async fn end_undo(&self, undo: Self::Undo, end: UndoEnd) -> Result<Vec<TableUndo>, StoreError> {
        self.write(move |shared, connection| {
            let expected = undo.expected.lock().unwrap_or_else(PoisonError::into_inner);
            if !end.write {
                return take_back::all(shared, connection, &undo, &expected, &end);
            }
            let transaction = shared.begin(connection)?;
            let tables = write(&undo, shared, &transaction, &expected, &end)?;
            failpoint::step("undo before commit");
            transaction.commit()?;
            failpoint::step("undo after commit");
            Ok(tables)
        })
        .await
    }
}
