//! Writes chunks to tables, quarantine and ledger in one transaction.

use std::time::Instant;

use rusqlite::Connection;

use super::rows::Writer;
use super::{quarantine, row_by_row};
use crate::domain::ledger::{Applied, TableDelta};
use crate::domain::{RowChunk, Stamp};
use crate::store::failpoint;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::progress::{advance, count, rows};
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
    advance(connection, chunk, 0)?;
    let mut applied = Applied::default();
    for table in 0..shared.plan.tables.len() {
        let delta = if shared.dry { dry(chunk) } else { write(shared, connection, table, chunk)? };
        let name = shared.plan.tables.get(table).map_or("", |table| table.name.as_str());
        count(connection, chunk, name, 0)?;
        applied.tables.push(delta);
    }
    // The ledger of a dry run is in memory, so its quarantined records would take memory without limit.
    if !shared.dry {
        quarantine::save_all(connection, chunk, &[])?;
    }
    Ok(applied)
}

fn dry(chunk: &RowChunk) -> TableDelta {
    TableDelta { rows: chunk.rows.len() as u64, ..TableDelta::default() }
}

fn write(
    shared: &Shared,
    connection: &Connection,
    table: usize,
    chunk: &RowChunk,
) -> Result<TableDelta, Fault> {
    let began = Instant::now();
    let id = chunk.source.id;
    let mut writer = Writer::new(shared, connection, table)?;
    let written = rows(connection, &mut writer, chunk, Stamp(0))?;
    let name = shared.plan.tables.get(table).map_or("", |table| table.name.as_str());
    written.enter(connection, id, name)?;
    Ok(TableDelta {
        rows: chunk.rows.len() as u64,
        collisions: written.collisions(),
        took: began.elapsed(),
        ..TableDelta::default()
    })
}
