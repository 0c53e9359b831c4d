//! Writes chunks to tables, quarantine and ledger in one transaction.

use rusqlite::Connection;

use super::{entry, quarantine, row_by_row};
use crate::domain::ledger::Applied;
use crate::domain::{RowChunk, Stamp};
use crate::store::failpoint;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::progress::enter_effects;
use crate::store::sqlite::shared::Shared;

/// Applies the chunks together. If SQLite rejects one of their rows, applies them row by row.
pub fn chunks(
    shared: &Shared,
    connection: &mut Connection,
    chunks: &[RowChunk],
) -> Result<Vec<Applied>, Fault> {
    if !row_by_row::is_due(shared, chunks) {
        match together(shared, connection, chunks) {
            Err(fault) if fault.may_be_of_rows() => {}
            done => return done,
        }
    }
    row_by_row::chunks(shared, connection, chunks)
}

fn together(
    shared: &Shared,
    connection: &mut Connection,
    chunks: &[RowChunk],
) -> Result<Vec<Applied>, Fault> {
    let transaction = shared.begin(connection)?;
    let applied =
        chunks.iter().map(|chunk| apply(shared, &transaction, chunk)).collect::<Result<_, Fault>>()?;
    failpoint::step("apply before commit");
    transaction.commit()?;
    failpoint::step("apply after commit");
    row_by_row::accepted(shared, chunks);
    Ok(applied)
}

fn apply(shared: &Shared, connection: &Connection, chunk: &RowChunk) -> Result<Applied, Fault> {
    let (id, rows, tables) = (chunk.source.id, chunk.rows.len() as u64, &chunk.source.plan.tables);
    let (_, written) = entry::change(connection, id, |delivery| {
        delivery.advance(chunk, 0)?;
        let written =
            row_by_row::write(shared, connection, chunk, &row_by_row::tables_of(chunk), Stamp(0), None)?
                .written;
        delivery.receipt.add_rows(tables, written.iter().map(|written| written.own_delta(id, rows)));
        Ok(written)
    })?;
    enter_effects(connection, chunk, tables, &written)?;
    quarantine::save_all(connection, chunk, &[])?;
    let tables = written.iter().map(|written| written.delta(rows)).collect();
    Ok(Applied { tables, ..Applied::default() })
}
