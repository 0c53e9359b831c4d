//! Backfills one table from kept files, under the stamps of the records.

use std::time::Instant;

use rusqlite::{Connection, params};

use crate::domain::ledger::Applied;
use crate::domain::{RowChunk, TableDelta};
use crate::store::failpoint;
use crate::store::rejection::Rejection;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::{entry, progress, row_by_row};

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
    let (began, id) = (Instant::now(), chunk.source.id);
    let declared = chunk.source.plan.tables.get(table);
    let declared = declared.ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
    let name = declared.name.as_str();
    let transaction = shared.begin(connection)?;
    let sent = progress::sent(&transaction, id, name)?;
    let tried = row_by_row::write(shared, &transaction, chunk, &[table], sent, rejected)?;
    no_row_at_all(name, chunk, &tried.refused)?;
    let written = tried.written.into_iter().next().unwrap_or_default();
    let rows = (chunk.rows.len() - tried.refused.len()) as u64;
    let refused = refused(&transaction, chunk)? + tried.refused.len() as u64;
    entry::change(&transaction, id, |delivery| {
        let count = delivery.receipt.count_of(name);
        if first {
            count.restart();
        }
        count.backfill(&written.own_delta(id, rows), refused);
        // The table is up to date only after the last chunk. An interrupted backfill repeats the whole delivery.
        if chunk.end.is_some() {
            count.fingerprint = declared.fingerprint.clone();
        }
        Ok(())
    })?;
    written.credit_others(&transaction, id, name)?;
    progress::note_sent(&transaction, chunk, name)?;
    failpoint::step("backfill before commit");
    transaction.commit()?;
    failpoint::step("backfill after commit");
    let delta = TableDelta { took: began.elapsed(), ..written.delta(rows) };
    Ok(Applied { tables: vec![delta], ..Applied::default() })
}

/// Returns an error if the table rejects every row of the chunk, because the cause is then the table and not single
/// rows.
fn no_row_at_all(table: &str, chunk: &RowChunk, refused: &[Rejection]) -> Result<(), Fault> {
    let Some(refusal) = refused.first().filter(|_| refused.len() == chunk.rows.len()) else { return Ok(()) };
    Err(Fault::Shape {
        what: format!("table {table} rejects all rows: {}", refusal.words),
        next: "repair the table, then run `needledrop load --table` again",
    })
}

/// Counts the records that are loaded in other tables but cannot be rows in this table. Records in quarantine that were
/// not replayed do not count, because no table has them.
fn refused(connection: &Connection, chunk: &RowChunk) -> Result<u64, Fault> {
    let sql =
        "SELECT 1 FROM _needledrop_quarantine WHERE delivery = ?1 AND record = ?2 AND state <> 'replayed'";
    let mut known = connection.prepare_cached(sql)?;
    let mut count = 0;
    for entry in &chunk.quarantined {
        count += u64::from(!known.exists(params![chunk.source.id.0, entry.record])?);
    }
    Ok(count)
}
