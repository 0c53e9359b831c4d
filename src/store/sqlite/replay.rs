//! Settles quarantined records: rows, entries and the receipt of their delivery in one transaction.

use rusqlite::Connection;

use crate::domain::ledger::Applied;
use crate::domain::quarantine::{Fate, Replay};
use crate::domain::{DeliveryId, Stamp};
use crate::store::rejection::Rejection;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::progress::note_sent;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::{entry, quarantine, row_by_row};
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
    let (chunk, tables) = (&retried.chunk, &retried.chunk.source.plan.tables);
    // Every collision is counted, because these records were never sent before.
    let tried =
        row_by_row::write(shared, &transaction, chunk, &row_by_row::tables_of(chunk), Stamp(0), rejected)?;
    let written = &tried.written;
    let refused = rejection::each(chunk, &tried.refused).refused;
    let rows = (chunk.rows.len() - refused.len()) as u64;
    let is_refused = |record: &u64| refused.iter().any(|entry| entry.record == *record);
    for record in retried.loaded().filter(|record| !is_refused(record)).chain(retried.skipped.iter().copied())
    {
        quarantine::settle(&transaction, id, record, Fate::Replayed)?;
    }
    for record in chunk.quarantined.iter().chain(&refused) {
        quarantine::explain(&transaction, id, record)?;
    }
    let (delivery, ()) = entry::change(&transaction, id, |delivery| {
        let settled = (rows, retried.skipped.len() as u64, &chunk.tolerated);
        delivery.replay(settled, tables, written.iter().map(|written| written.own_delta(id, rows)));
        Ok(())
    })?;
    for (table, written) in tables.iter().zip(written) {
        written.credit_others(&transaction, id, &table.name)?;
        // The backfill that fills a table that is behind counts from the first record.
        if !delivery.receipt.is_behind(&table.name) {
            note_sent(&transaction, chunk, &table.name)?;
        }
    }
    let tables = written.iter().map(|written| written.delta(rows)).collect();
    failpoint::step("replay before commit");
    transaction.commit()?;
    failpoint::step("replay after commit");
    Ok(Applied { tables, refused, failed: None })
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
    entry::change(&transaction, id, |delivery| {
        delivery.receipt.discard(records.len() as u64);
        Ok(())
    })?;
    failpoint::step("discard before commit");
    transaction.commit()?;
    failpoint::step("discard after commit");
    Ok(())
}
