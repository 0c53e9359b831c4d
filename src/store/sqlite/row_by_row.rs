//! Writes rows one by one when a trigger, a UNIQUE index or a CHECK that the user added rejects some of them.
//!
//! A record is in all tables or in none. A single rejected record goes to quarantine (law 5).

use std::sync::{MutexGuard, PoisonError};

use rusqlite::Connection;

use super::rows::{Landed, Writer};
use super::{entry, quarantine};
use crate::domain::ledger::Applied;
use crate::domain::{Delivery, DeliveryId, DeliveryState, RowChunk, Stamp};
use crate::store::failpoint;
use crate::store::rejection::{Failed, Judged, Rejection, Rejections, judged};
use crate::store::sqlite::fault::{Fault, SqlResult, is_rejection};
use crate::store::sqlite::progress;
use crate::store::sqlite::progress::{Written, enter_effects};
use crate::store::sqlite::shared::Shared;

/// The outcome of writing the rows of a chunk.
pub struct Tried {
    pub refused: Vec<Rejection>,
    /// One entry per table, in the order of the tables that were passed in.
    pub written: Vec<Written>,
}

fn describe(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::QueryReturnedNoRows | rusqlite::Error::StatementChangedRows(_) => {
            "a trigger ignored the row".to_owned()
        }
        error => error.to_string(),
    }
}

fn known(shared: &Shared) -> MutexGuard<'_, Rejections> {
    shared.refusals.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether rejected rows directly precede these chunks. If so, the outcome of every row counts for the number of
/// rejections in a row, and the rows must be written one by one.
pub fn is_due(shared: &Shared, chunks: &[RowChunk]) -> bool {
    let known = known(shared);
    let is_open = |id: DeliveryId| known.iter().any(|((of, _), (row, _))| *of == id && *row > 0);
    !known.is_empty() && chunks.iter().any(|chunk| is_open(chunk.source.id))
}

/// Remembers that SQLite accepted all rows of these chunks.
pub fn accepted(shared: &Shared, chunks: &[RowChunk]) {
    let mut known = known(shared);
    if !known.is_empty() {
        let chunks: Vec<&RowChunk> = chunks.iter().collect();
        judged(&mut known, &chunks, &[], Failed::new());
    }
}

pub fn chunks(
    shared: &Shared,
    connection: &mut Connection,
    chunks: &[RowChunk],
) -> Result<Vec<Applied>, Fault> {
    undisturbed(|rolled_back| {
        let transaction = shared.begin(connection)?;
        let mut refusals = known(shared).clone();
        let mut applied = vec![Applied::default(); chunks.len()];
        for own in by_delivery(chunks) {
            delivery(shared, &transaction, (chunks, &own), &mut refusals, rolled_back, &mut applied)?;
        }
        failpoint::step("apply before commit");
        transaction.commit()?;
        failpoint::step("apply after commit");
        *known(shared) = refusals;
        Ok(applied)
    })
}

/// Runs `work`. If a trigger rolls the whole transaction back because of a row, repeats `work` without that row.
pub fn undisturbed<T>(mut work: impl FnMut(&[Rejection]) -> Result<T, Fault>) -> Result<T, Fault> {
    let mut rolled_back = Vec::new();
    loop {
        match work(&rolled_back) {
            Err(Fault::RolledBack(refusal)) => rolled_back.push(refusal),
            done => return done,
        }
    }
}

/// Returns the positions of the chunks of each delivery.
fn by_delivery(chunks: &[RowChunk]) -> Vec<Vec<usize>> {
    let mut all: Vec<(DeliveryId, Vec<usize>)> = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        match all.iter_mut().find(|(id, _)| *id == chunk.source.id) {
            Some((_, own)) => own.push(at),
            None => all.push((chunk.source.id, vec![at])),
        }
    }
    all.into_iter().map(|(_, own)| own).collect()
}

/// Writes the chunks of one delivery, up to the chunk with which the delivery fails.
fn delivery(
    shared: &Shared,
    connection: &Connection,
    (all, places): (&[RowChunk], &[usize]),
    refusals: &mut Rejections,
    rolled_back: &[Rejection],
    applied: &mut [Applied],
) -> Result<(), Fault> {
    let own: Vec<&RowChunk> = places.iter().filter_map(|at| all.get(*at)).collect();
    let tables = own.first().map_or_else(Vec::new, |chunk| tables_of(chunk));
    let mut tried = Vec::new();
    for (at, (chunk, place)) in own.iter().zip(places).enumerate() {
        connection.execute_batch(&format!("SAVEPOINT chunk_{at}"))?;
        let rolled_back = rolled_back.iter().filter(|refusal| refusal.chunk == *place);
        let rolled_back: Vec<_> =
            rolled_back.map(|refusal| Rejection { chunk: at, ..refusal.clone() }).collect();
        let rows = rows(shared, connection, (at, chunk), &tables, Stamp(0), &rolled_back);
        tried.push(rows.map_err(|fault| in_batch(fault, *place))?);
    }
    let refused: Vec<Rejection> = tried.iter().flat_map(|tried| tried.refused.iter().cloned()).collect();
    let before = earlier(connection, own.first(), &tables, refusals)?;
    let judged = judged(refusals, &own, &refused, before);
    if let Some(first) = judged.iter().position(|judged| judged.failed.is_some()) {
        connection.execute_batch(&format!("ROLLBACK TO chunk_{first}"))?;
    }
    for ((chunk, place), (judged, tried)) in own.iter().zip(places).zip(judged.into_iter().zip(tried)) {
        if let Some(applied) = applied.get_mut(*place) {
            *applied = entered(connection, chunk, judged, &tried.written)?;
        }
    }
    connection.execute_batch("RELEASE chunk_0")?;
    Ok(())
}

/// Replaces the chunk's index within its delivery by its index among all chunks of the transaction.
fn in_batch(fault: Fault, place: usize) -> Fault {
    match fault {
        Fault::RolledBack(refusal) => Fault::RolledBack(Rejection { chunk: place, ..refusal }),
        other => other,
    }
}

/// Reads from the ledger what happened to earlier chunks of the delivery: whether it failed, and whether any record was
/// accepted.
fn earlier(
    connection: &Connection,
    chunk: Option<&&RowChunk>,
    tables: &[usize],
    refusals: &mut Rejections,
) -> SqlResult<Failed> {
    let Some(id) = chunk.map(|chunk| chunk.source.id) else { return Ok(Failed::new()) };
    let Delivery { state, detail, receipt, .. } = entry::by_id(connection, id)?;
    for table in tables.iter().filter(|_| receipt.loaded > 0) {
        refusals.entry((id, *table)).or_insert((0, true)).1 = true;
    }
    Ok((state == DeliveryState::Failed).then_some((id, detail)).into_iter().collect())
}

/// Returns the indexes of all tables in the plan of a chunk.
pub fn tables_of(chunk: &RowChunk) -> Vec<usize> {
    (0..chunk.source.plan.tables.len()).collect()
}

/// Returns writers for these tables of a chunk's plan.
fn writers<'c>(
    shared: &'c Shared,
    connection: &'c Connection,
    chunk: &'c RowChunk,
    tables: &[usize],
) -> Result<Vec<Writer<'c>>, Fault> {
    let declared = tables.iter().filter_map(|table| chunk.source.plan.tables.get(*table));
    declared.map(|table| Writer::new(shared, connection, table)).collect()
}

/// Writes the rows of a chunk into these tables, each table at once, or row by row if `rejected` is given. `rejected`
/// contains rows that are known to roll back the transaction and are therefore left out.
pub fn write(
    shared: &Shared,
    connection: &Connection,
    chunk: &RowChunk,
    tables: &[usize],
    sent: Stamp,
    rejected: Option<&[Rejection]>,
) -> Result<Tried, Fault> {
    if let Some(known) = rejected {
        return rows(shared, connection, (0, chunk), tables, sent, known);
    }
    let mut written = Vec::new();
    for mut writer in writers(shared, connection, chunk, tables)? {
        written.push(progress::rows(connection, &mut writer, chunk, sent)?);
    }
    Ok(Tried { written, refused: Vec::new() })
}

/// Writes the rows of a chunk into these tables, in the order of the records. Collisions of rows with a stamp up to
/// `sent` were already counted.
fn rows(
    shared: &Shared,
    connection: &Connection,
    (at, chunk): (usize, &RowChunk),
    tables: &[usize],
    sent: Stamp,
    rolled_back: &[Rejection],
) -> Result<Tried, Fault> {
    let mut writers = writers(shared, connection, chunk, tables)?;
    let mut tried = Tried { refused: Vec::new(), written: Vec::new() };
    tried.written.resize_with(writers.len(), Written::default);
    for row in 0..chunk.rows.len() {
        if let Some(refusal) = rolled_back.iter().find(|refusal| (refusal.chunk, refusal.row) == (at, row)) {
            tried.refused.push(refusal.clone());
            continue;
        }
        connection.prepare_cached("SAVEPOINT record")?.execute([])?;
        match record(&mut writers, chunk, row, sent) {
            Ok(landed) => {
                let mut landed = tried.written.iter_mut().zip(landed);
                landed.try_for_each(|(written, landed)| written.add(connection, landed))?;
            }
            Err((table, error)) if is_rejection(&error) => {
                let table = tables.get(table).copied().unwrap_or_default();
                let refusal = Rejection { table, chunk: at, row, words: describe(&error) };
                if connection.is_autocommit() {
                    return Err(Fault::RolledBack(refusal));
                }
                connection.prepare_cached("ROLLBACK TO record")?.execute([])?;
                tried.refused.push(refusal);
            }
            Err((_, error)) => return Err(error.into()),
        }
        connection.prepare_cached("RELEASE record")?.execute([])?;
    }
    Ok(tried)
}

/// Writes one record into all tables. An error carries the index of the table that rejected the row.
fn record(
    writers: &mut [Writer<'_>],
    chunk: &RowChunk,
    row: usize,
    sent: Stamp,
) -> Result<Vec<Landed>, (usize, rusqlite::Error)> {
    let tables = writers.iter_mut().enumerate();
    tables.map(|(at, writer)| progress::row(writer, chunk, row, sent).map_err(|error| (at, error))).collect()
}

/// Enters the chunk into ledger and quarantine, or marks its delivery as failed.
fn entered(
    connection: &Connection,
    chunk: &RowChunk,
    judged: Judged,
    written: &[Written],
) -> Result<Applied, Fault> {
    let (id, refused, tables) = (chunk.source.id, judged.refused.len() as u64, &chunk.source.plan.tables);
    if let Some(why) = judged.failed {
        entry::change(connection, id, |delivery| {
            delivery.fail(&why);
            Ok(())
        })?;
        return Ok(Applied { failed: Some(why), ..Applied::default() });
    }
    let rows = chunk.rows.len() as u64 - refused;
    entry::change(connection, id, |delivery| {
        delivery.advance(chunk, refused)?;
        delivery.receipt.add_rows(tables, written.iter().map(|written| written.own_delta(id, rows)));
        Ok(())
    })?;
    enter_effects(connection, chunk, tables, written)?;
    quarantine::save_all(connection, chunk, &judged.refused)?;
    let tables = written.iter().map(|written| written.delta(rows)).collect();
    Ok(Applied { tables, refused: judged.refused, failed: None })
}
