//! Backfills one table from kept files, under the stamps of the records.

use std::time::Instant;

use rusqlite::{Connection, params};

use crate::domain::ledger::{Applied, TableDelta};
use crate::domain::{RowChunk, Stamp};
use crate::store::failpoint;
use crate::store::rejection::Rejection;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::rows::Writer;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::{progress, row_by_row};

/// Writes a chunk into one table. With `first`, the row count of this delivery in the table restarts from zero. The
/// number of collisions stays, because the collision of a record that was sent before is not counted again, whether the
/// row still exists or not.
pub fn chunk(
    shared: &Shared,
    connection: &mut Connection,
    table: usize,
    chunk: &RowChunk,
    first: bool,
) -> Result<Applied, Fault> {
    match played(shared, connection, table, chunk, first, None) {
        Err(fault) if fault.may_be_of_rows() => {
            row_by_row::undisturbed(|known| played(shared, connection, table, chunk, first, Some(known)))
        }
        done => done,
    }
}

/// Writes all rows at once, or row by row if `rejected` is given. `rejected` contains rows that are known to roll back
/// the transaction and are therefore left out.
fn played(
    shared: &Shared,
    connection: &mut Connection,
    table: usize,
    chunk: &RowChunk,
    first: bool,
    rejected: Option<&[Rejection]>,
) -> Result<Applied, Fault> {
    let began = Instant::now();
    let declared = shared.plan.tables.get(table).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
    let transaction = shared.begin(connection)?;
    if first {
        let sql = "INSERT INTO _needledrop_counts VALUES (?1, ?2, 0, 0, '', 0, 0) \
                   ON CONFLICT DO UPDATE SET rows = 0, refused = 0, fingerprint = ''";
        transaction.prepare_cached(sql)?.execute(params![chunk.source.id.0, declared.name])?;
    }
    let id = chunk.source.id;
    let sql = "SELECT sent FROM _needledrop_counts WHERE delivery = ?1 AND table_name = ?2";
    let sent: i64 =
        transaction.prepare_cached(sql)?.query_row(params![id.0, declared.name], |row| row.get(0))?;
    let mut delta = TableDelta { rows: chunk.rows.len() as u64, ..TableDelta::default() };
    let mut left_out = 0;
    if !shared.dry {
        let written = match rejected {
            None => {
                let mut writer = Writer::new(shared, &transaction, table)?;
                progress::rows(&transaction, &mut writer, chunk, Stamp(sent))?
            }
            Some(known) => {
                let at_zero = (0, chunk);
                let tried = row_by_row::rows(shared, &transaction, at_zero, &[table], Stamp(sent), known)?;
                left_out = tried.refused.len();
                no_row_at_all(&declared.name, chunk, &tried.refused)?;
                tried.written.into_iter().next().unwrap_or_default()
            }
        };
        delta.collisions = written.collisions();
        written.enter(&transaction, id, &declared.name)?;
    }
    delta.rows -= left_out as u64;
    progress::count(&transaction, chunk, &declared.name, left_out)?;
    refused(&transaction, chunk, &declared.name, left_out)?;
    // The table is up to date only after the last chunk. An interrupted backfill repeats the whole delivery.
    if chunk.end.is_some() {
        let sql = "UPDATE _needledrop_counts SET fingerprint = ?3 WHERE delivery = ?1 AND table_name = ?2";
        transaction.prepare_cached(sql)?.execute(params![
            chunk.source.id.0,
            declared.name,
            declared.fingerprint.0
        ])?;
    }
    failpoint::step("replay before commit");
    transaction.commit()?;
    failpoint::step("replay after commit");
    delta.took = began.elapsed();
    Ok(Applied { tables: vec![delta], ..Applied::default() })
}

/// Returns an error if the table rejects every row of the chunk, because the cause is then the table and not single
/// rows.
fn no_row_at_all(table: &str, chunk: &RowChunk, refused: &[Rejection]) -> Result<(), Fault> {
    let Some(refusal) = refused.first().filter(|_| refused.len() == chunk.rows.len()) else { return Ok(()) };
    Err(Fault::Shape {
        what: format!("table {table} takes no row: {}", refusal.words),
        next: "repair the table, then run `needledrop load --table` again",
    })
}

/// Counts the records that are loaded in other tables but cannot be rows in this table. Records in quarantine that were
/// not replayed do not count, because no table has them.
fn refused(connection: &Connection, chunk: &RowChunk, table: &str, rejected: usize) -> Result<(), Fault> {
    let id = chunk.source.id.0;
    let sql =
        "SELECT 1 FROM _needledrop_quarantine WHERE delivery = ?1 AND record = ?2 AND state <> 'replayed'";
    let mut known = connection.prepare_cached(sql)?;
    let mut count = rejected as u64;
    for entry in &chunk.quarantined {
        count += u64::from(!known.exists(params![id, entry.record])?);
    }
    let sql = "UPDATE _needledrop_counts SET refused = refused + ?3 WHERE delivery = ?1 AND table_name = ?2";
    connection.prepare_cached(sql)?.execute(params![id, table, count])?;
    Ok(())
}
