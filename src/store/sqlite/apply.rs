//! Chunks into tables, quarantine and ledger, in one transaction.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::{Connection, params};

use super::rows::{Landed, Writer};
use super::{Fault, Shared, ledger, quarantine, row_by_row};
use crate::domain::{DeliveryId, End, Mark, RowChunk, Stamp};
use crate::fault;
use crate::ledger::{Applied, TableDelta};

/// Applies the chunks in one go. If the store rejects one of their rows, applies them row by row.
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
    fault::step("apply before commit");
    transaction.commit()?;
    fault::step("apply after commit");
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
    // A dry run would keep them in memory.
    if !shared.dry {
        quarantine::save_all(connection, chunk, &[])?;
    }
    Ok(applied)
}

fn dry(chunk: &RowChunk) -> TableDelta {
    TableDelta { rows: chunk.rows.len() as u64, ..TableDelta::default() }
}

/// Advances the delivery past the chunk, which must start at the delivery's position. `rejected` of its rows were
/// rejected.
pub fn advance(connection: &Connection, chunk: &RowChunk, rejected: usize) -> Result<(), Fault> {
    let id = chunk.source.id.0;
    let sql = "SELECT bytes, records, line FROM _needledrop_deliveries WHERE id = ?1";
    let durable = connection
        .prepare_cached(sql)?
        .query_row([id], |row| Ok(Mark { offset: row.get(0)?, record: row.get(1)?, line: row.get(2)? }))?;
    let reach = durable.advance(chunk.span).map_err(|error| Fault::Broken(error.to_string()))?;
    let sql = "UPDATE _needledrop_deliveries SET bytes = ?2, records = ?3, line = ?4, hash = coalesce(nullif(?5, ''), hash), \
               loaded = loaded + ?6, skipped = skipped + ?7, quarantined = quarantined + ?8, \
               state = coalesce(?9, state), detail = coalesce(?10, detail), changed = ?11 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        id,
        reach.offset,
        reach.record,
        reach.line,
        chunk.hash,
        chunk.rows.len() - rejected,
        chunk.skipped,
        chunk.quarantined.len() + rejected,
        chunk.end.as_ref().map(|end| end.state().name()),
        chunk.end.as_ref().and_then(End::detail),
        ledger::now_ms(),
    ])?;
    if chunk.span.to > chunk.span.from {
        ledger::note_tail(connection, chunk.source.id, chunk.is_tail.then_some(chunk.span.from))?;
    }
    if let Some(End::Loaded) = &chunk.end {
        ledger::add_part(connection, chunk.source.id, reach.offset)?;
    }
    Ok(())
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

/// What writing rows came to.
#[derive(Default)]
pub struct Written {
    /// Rows that fell on a key which an older record had made.
    own: u64,
    /// Rows of others that these came to lie under: they are the collisions now.
    of_others: HashMap<DeliveryId, u64>,
}

impl Written {
    /// Counts a row by the way it landed in the table.
    pub fn add(&mut self, connection: &Connection, landed: Landed) -> Result<(), rusqlite::Error> {
        match landed {
            Landed::New | Landed::Again => {}
            Landed::OnOlder => self.own += 1,
            Landed::UnderNewer(stamp) => {
                if let Some(owner) = ledger::owner(connection, stamp)? {
                    *self.of_others.entry(owner).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    pub fn collisions(&self) -> u64 {
        self.own + self.of_others.values().sum::<u64>()
    }

    /// Enters the collisions into the ledger, each with its own delivery.
    pub fn enter(&self, connection: &Connection, id: DeliveryId, table: &str) -> Result<(), rusqlite::Error> {
        let sql = "UPDATE _needledrop_counts SET collisions = collisions + ?3 \
                   WHERE delivery = ?1 AND table_name = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        for (owner, count) in self.of_others.iter().chain([(&id, &self.own)]) {
            statement.execute(params![owner.0, table, count])?;
        }
        Ok(())
    }
}

/// Writes the rows of a chunk into one table. Rows up to the stamp `sent` were sent and counted before.
pub fn rows(
    connection: &Connection,
    writer: &mut Writer<'_>,
    chunk: &RowChunk,
    sent: Stamp,
) -> Result<Written, rusqlite::Error> {
    let mut written = Written::default();
    for row in writer.order(&chunk.rows) {
        let landed = self::row(writer, chunk, row, sent)?;
        written.add(connection, landed)?;
    }
    Ok(written)
}

/// Writes one row into one table. A collision that was already counted is not counted again.
pub fn row(
    writer: &mut Writer<'_>,
    chunk: &RowChunk,
    row: usize,
    sent: Stamp,
) -> Result<Landed, rusqlite::Error> {
    let landed = writer.write(&chunk.rows, row)?;
    Ok(if chunk.rows.stamp(row) <= sent { Landed::Again } else { landed })
}

/// Counts the rows of a chunk as sent to a table, without those that were rejected.
pub fn count(
    connection: &Connection,
    chunk: &RowChunk,
    table: &str,
    rejected: usize,
) -> Result<(), rusqlite::Error> {
    let last = chunk.rows.len().checked_sub(1).map_or(0, |last| chunk.rows.stamp(last).0);
    let sql = "UPDATE _needledrop_counts SET rows = rows + ?3, sent = max(sent, ?4) \
               WHERE delivery = ?1 AND table_name = ?2";
    let id = chunk.source.id.0;
    connection.prepare_cached(sql)?.execute(params![id, table, chunk.rows.len() - rejected, last])?;
    Ok(())
}
