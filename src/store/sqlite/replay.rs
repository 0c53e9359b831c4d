//! Settles quarantined records: rows, entries and the receipt of their delivery in one transaction.

use rusqlite::{Connection, params};

use crate::domain::ledger::{Applied, TableDelta};
use crate::domain::quarantine::{Fate, Replay};
use crate::domain::{DeliveryId, RowChunk, Stamp, Table};
use crate::store::rejection::Rejection;
use crate::store::sqlite::delivery_row::now_ms;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::progress::Written;
use crate::store::sqlite::row_by_row::Tried;
use crate::store::sqlite::rows::Writer;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::{progress, quarantine, row_by_row};
use crate::store::{failpoint, rejection};

pub fn retried(shared: &Shared, connection: &mut Connection, retried: &Replay) -> Result<Applied, Fault> {
    match settled(shared, connection, retried, None) {
        Err(fault) if fault.may_be_of_rows() => {
            row_by_row::undisturbed(|known| settled(shared, connection, retried, Some(known)))
        }
        done => done,
    }
}

/// Writes all rows at once, or row by row if `rejected` is given. `rejected` contains rows that are known to roll back
/// the transaction and are therefore left out.
fn settled(
    shared: &Shared,
    connection: &mut Connection,
    retried: &Replay,
    rejected: Option<&[Rejection]>,
) -> Result<Applied, Fault> {
    let id = retried.chunk.source.id;
    let transaction = shared.begin(connection)?;
    is_first(&transaction, id)?.then(|| bring_up(shared, &transaction, id)).transpose()?;
    let tried = write(shared, &transaction, &retried.chunk, rejected)?;
    let refused = rejection::each(&retried.chunk, &tried.refused).refused;
    let mut applied = Applied { refused, ..Applied::default() };
    for (table, written) in shared.plan.tables.iter().zip(&tried.written) {
        let rejected = applied.refused.len();
        applied.tables.push(count(&transaction, table, &retried.chunk, written, rejected)?);
    }
    let is_refused = |record: &u64| applied.refused.iter().any(|entry| entry.record == *record);
    let loaded: Vec<u64> = retried.loaded().filter(|record| !is_refused(record)).collect();
    for record in loaded.iter().chain(&retried.skipped) {
        quarantine::settle(&transaction, id, *record, Fate::Replayed)?;
    }
    for record in retried.chunk.quarantined.iter().chain(&applied.refused) {
        quarantine::explain(&transaction, id, record)?;
    }
    let sql = "UPDATE _needledrop_deliveries SET loaded = loaded + ?2, skipped = skipped + ?3, \
               quarantined = quarantined - ?2 - ?3, replayed = replayed + ?2 + ?3, \
               changed = ?4 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![id.0, loaded.len(), retried.skipped.len(), now_ms()])?;
    failpoint::step("retry before commit");
    transaction.commit()?;
    failpoint::step("retry after commit");
    Ok(applied)
}

/// Whether no record of the delivery has been loaded yet.
fn is_first(connection: &Connection, id: DeliveryId) -> Result<bool, Fault> {
    let sql = "SELECT loaded = 0 FROM _needledrop_deliveries WHERE id = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([id.0], |row| row.get(0))?)
}

/// Marks every table as up to date with a delivery that has no loaded record yet. No table lacks a record of it,
/// whatever the declaration of the table was when the records were quarantined.
fn bring_up(shared: &Shared, connection: &Connection, id: DeliveryId) -> Result<(), Fault> {
    for table in &shared.plan.tables {
        let sql = "INSERT INTO _needledrop_counts VALUES (?1, ?2, 0, 0, ?3, 0, 0) \
                   ON CONFLICT DO UPDATE SET fingerprint = ?3";
        connection.prepare_cached(sql)?.execute(params![id.0, table.name, table.fingerprint.0])?;
    }
    Ok(())
}

/// Writes the rows into all tables. Every collision is counted, because these records were never sent before.
fn write(
    shared: &Shared,
    connection: &Connection,
    chunk: &RowChunk,
    rejected: Option<&[Rejection]>,
) -> Result<Tried, Fault> {
    let tables: Vec<usize> = (0..shared.plan.tables.len()).collect();
    if let Some(known) = rejected {
        return row_by_row::rows(shared, connection, (0, chunk), &tables, Stamp(0), known);
    }
    let mut written = Vec::new();
    for table in tables {
        let mut writer = Writer::new(shared, connection, table)?;
        written.push(progress::rows(connection, &mut writer, chunk, Stamp(0))?);
    }
    Ok(Tried { written, refused: Vec::new() })
}

fn count(
    connection: &Connection,
    table: &Table,
    chunk: &RowChunk,
    written: &Written,
    rejected: usize,
) -> Result<TableDelta, Fault> {
    let id = chunk.source.id;
    // A table that is newer than the delivery has no count yet. It stays behind, because it lacks the other records.
    let sql = "INSERT OR IGNORE INTO _needledrop_counts VALUES (?1, ?2, 0, 0, '', 0, 0)";
    connection.prepare_cached(sql)?.execute(params![id.0, table.name])?;
    written.enter(connection, id, &table.name)?;
    // If the table is behind, `sent` stays, because the backfill that fills the table counts from the first record.
    let sql = "UPDATE _needledrop_counts SET rows = rows + ?3, \
               sent = CASE fingerprint WHEN '' THEN sent ELSE max(sent, ?4) END \
               WHERE delivery = ?1 AND table_name = ?2";
    let sent = chunk.rows.len().checked_sub(1).map_or(0, |last| chunk.rows.stamp(last).0);
    let rows = (chunk.rows.len() - rejected) as u64;
    connection.prepare_cached(sql)?.execute(params![id.0, table.name, rows, sent])?;
    Ok(TableDelta { rows, collisions: written.collisions(), ..TableDelta::default() })
}

pub fn discarded(
    shared: &Shared,
    connection: &mut Connection,
    id: DeliveryId,
    records: &[u64],
) -> Result<(), Fault> {
    let transaction = shared.begin(connection)?;
    for record in records {
        quarantine::settle(&transaction, id, *record, Fate::Discarded)?;
    }
    let sql = "UPDATE _needledrop_deliveries SET discarded = discarded + ?2, changed = ?3 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![id.0, records.len(), now_ms()])?;
    failpoint::step("discard before commit");
    transaction.commit()?;
    failpoint::step("discard after commit");
    Ok(())
}
