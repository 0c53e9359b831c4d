//! Quarantined records settled: rows, entries and the account of their delivery in one transaction.

use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};

use super::apply;
use super::rows::Writer;
use super::{Fault, Shared, ledger, quarantine};
use crate::domain::{DeliveryId, Stamp};
use crate::fault;
use crate::ledger::{Applied, TableDelta};
use crate::quarantine::{Fate, Retried};

pub fn retried(shared: &Shared, connection: &mut Connection, retried: &Retried) -> Result<Applied, Fault> {
    let id = retried.chunk.source.id;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut applied = Applied::default();
    is_first(&transaction, id)?.then(|| bring_up(shared, &transaction, id)).transpose()?;
    for table in 0..shared.plan.tables.len() {
        applied.tables.push(write(shared, &transaction, table, retried)?);
    }
    let loaded: Vec<u64> = retried.loaded().collect();
    for record in loaded.iter().chain(&retried.skipped) {
        quarantine::settle(&transaction, id, *record, Fate::Replayed)?;
    }
    for record in &retried.chunk.quarantined {
        quarantine::explain(&transaction, id, record)?;
    }
    let sql = "UPDATE _needledrop_deliveries SET loaded = loaded + ?2, skipped = skipped + ?3, \
               quarantined = quarantined - ?2 - ?3, replayed = replayed + ?2 + ?3, \
               changed = ?4 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![
        id.0,
        loaded.len(),
        retried.skipped.len(),
        ledger::now_ms()
    ])?;
    fault::step("retry before commit");
    transaction.commit()?;
    fault::step("retry after commit");
    Ok(applied)
}

/// Whether nothing of the delivery was loaded so far.
fn is_first(connection: &Connection, id: DeliveryId) -> Result<bool, Fault> {
    let sql = "SELECT loaded = 0 FROM _needledrop_deliveries WHERE id = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([id.0], |row| row.get(0))?)
}

/// No table lacks a record of it: each is up to date, whatever its declaration was when the records were refused.
fn bring_up(shared: &Shared, connection: &Connection, id: DeliveryId) -> Result<(), Fault> {
    for table in &shared.plan.tables {
        let sql = "INSERT INTO _needledrop_counts VALUES (?1, ?2, 0, 0, ?3, 0, 0) \
                   ON CONFLICT DO UPDATE SET fingerprint = ?3";
        connection.prepare_cached(sql)?.execute(params![id.0, table.name, table.fingerprint.0])?;
    }
    Ok(())
}

fn write(
    shared: &Shared,
    connection: &Connection,
    table: usize,
    retried: &Retried,
) -> Result<TableDelta, Fault> {
    let (began, chunk) = (Instant::now(), &retried.chunk);
    let declared = shared.plan.tables.get(table).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
    let id = chunk.source.id;
    // A table that is newer than the delivery: it stays behind by the rest of it.
    let sql = "INSERT OR IGNORE INTO _needledrop_counts VALUES (?1, ?2, 0, 0, '', 0, 0)";
    connection.prepare_cached(sql)?.execute(params![id.0, declared.name])?;
    let last = chunk.rows.len().checked_sub(1);
    let mut writer = Writer::new(shared, connection, table)?;
    // Whatever stamps were sent: these records were not.
    let written = apply::rows(connection, &mut writer, chunk, Stamp(0))?;
    written.enter(connection, id, &declared.name)?;
    // Of a table that is behind nothing is sent yet: the replay that fills it counts from its first record.
    let sql = "UPDATE _needledrop_counts SET rows = rows + ?3, \
               sent = CASE fingerprint WHEN '' THEN sent ELSE max(sent, ?4) END \
               WHERE delivery = ?1 AND table_name = ?2";
    let sent = last.map_or(0, |last| chunk.rows.stamp(last).0);
    connection.prepare_cached(sql)?.execute(params![id.0, declared.name, chunk.rows.len(), sent])?;
    Ok(TableDelta {
        rows: chunk.rows.len() as u64,
        collisions: written.collisions(),
        took: began.elapsed(),
        ..TableDelta::default()
    })
}

pub fn discarded(connection: &mut Connection, id: DeliveryId, records: &[u64]) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for record in records {
        quarantine::settle(&transaction, id, *record, Fate::Discarded)?;
    }
    let sql = "UPDATE _needledrop_deliveries SET discarded = discarded + ?2, changed = ?3 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![id.0, records.len(), ledger::now_ms()])?;
    fault::step("discard before commit");
    transaction.commit()?;
    fault::step("discard after commit");
    Ok(())
}
