//! Enters a chunk into the ledger: the position that its delivery reaches, its rows and its collisions.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::domain::{DeliveryId, End, Position, RowChunk, Stamp};
use crate::store::sqlite::delivery_row::now_ms;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::ledger;
use crate::store::sqlite::rows::{Landed, Writer};

/// Advances the delivery past the chunk, which must start at the delivery's position. `rejected` is the number of
/// rejected rows of the chunk.
pub fn advance(connection: &Connection, chunk: &RowChunk, rejected: usize) -> Result<(), Fault> {
    let id = chunk.source.id.0;
    let sql = "SELECT bytes, records, line FROM _needledrop_deliveries WHERE id = ?1";
    let durable = connection.prepare_cached(sql)?.query_row([id], |row| {
        Ok(Position { offset: row.get(0)?, record: row.get(1)?, line: row.get(2)? })
    })?;
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
        now_ms(),
    ])?;
    if chunk.span.to > chunk.span.from {
        ledger::note_tail(connection, chunk.source.id, chunk.is_tail.then_some(chunk.span.from))?;
    }
    if let Some(End::Loaded) = &chunk.end {
        ledger::add_part(connection, chunk.source.id, reach.offset)?;
    }
    Ok(())
}

/// The collisions caused by the rows that were written.
#[derive(Default)]
pub struct Written {
    /// The number of rows with a key that an older record had written.
    own: u64,
    /// By delivery: the number of its rows that became collisions because an older record of their key was written
    /// later.
    of_others: HashMap<DeliveryId, u64>,
}

impl Written {
    /// Counts the collision that a row caused, if any.
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

    /// Adds the collisions to the ledger, each to the delivery of the colliding record.
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

/// Writes the rows of a chunk into one table. Rows with a stamp up to `sent` were sent and counted before.
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

/// Writes one row into one table. If the row was sent before, its collision is not reported again.
pub fn row(
    writer: &mut Writer<'_>,
    chunk: &RowChunk,
    row: usize,
    sent: Stamp,
) -> Result<Landed, rusqlite::Error> {
    let landed = writer.write(&chunk.rows, row)?;
    Ok(if chunk.rows.stamp(row) <= sent { Landed::Again } else { landed })
}

/// Adds the rows of a chunk to the count of a table, without the `rejected` rows.
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
