//! Writes the rows of a chunk into a table, and finds the collisions that they cause.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::{DeliveryId, RowChunk, Stamp, Table, TableDelta};
use crate::store::sqlite::fault::SqlResult;
use crate::store::sqlite::ledger;
use crate::store::sqlite::rows::{Found, Landed, Writer};

/// What became of the rows that were written.
#[derive(Default)]
pub struct Written {
    /// The number of rows with a key that an older record had written.
    own: u64,
    /// By delivery: the number of its rows that became collisions because an older record of their key was written
    /// later.
    of_others: HashMap<DeliveryId, u64>,
    /// The number of rows that were left out because their key has a newer record.
    older: u64,
    took: Duration,
}

impl Written {
    /// Counts what became of a row.
    pub fn add(&mut self, connection: &Connection, landed: Landed) -> SqlResult<()> {
        self.older += u64::from(landed.is_older);
        match landed.on {
            Found::New | Found::Again => {}
            Found::OnOlder => self.own += 1,
            Found::UnderNewer(stamp) => {
                if let Some(owner) = ledger::owner(connection, stamp)? {
                    *self.of_others.entry(owner).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// Returns the effect of `rows` rows on the table.
    pub fn delta(&self, rows: u64) -> TableDelta {
        let collisions = self.own + self.of_others.values().sum::<u64>();
        TableDelta { rows, collisions, older: self.older, took: self.took, ..TableDelta::default() }
    }

    /// Returns the part of [`Self::delta`] that the receipt of the delivery itself counts.
    pub fn own_delta(&self, id: DeliveryId, rows: u64) -> TableDelta {
        let collisions = self.own + self.of_others.get(&id).copied().unwrap_or(0);
        TableDelta { collisions, ..self.delta(rows) }
    }

    /// Adds the collisions of other deliveries to their receipts. There may be as many of these deliveries as rows.
    pub fn credit_others(&self, connection: &Connection, id: DeliveryId, table: &str) -> SqlResult<()> {
        let sql = "UPDATE _needledrop_counts SET collisions = collisions + ?3 \
                   WHERE delivery = ?1 AND table_name = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        for (owner, count) in self.of_others.iter().filter(|(owner, _)| **owner != id) {
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
) -> SqlResult<Written> {
    let (began, mut written) = (Instant::now(), Written::default());
    for row in writer.order(&chunk.rows) {
        let landed = self::row(writer, chunk, row, sent)?;
        written.add(connection, landed)?;
    }
    written.took = began.elapsed();
    Ok(written)
}

/// Writes one row into one table. If the row was sent before, what became of it is not reported again.
pub fn row(writer: &mut Writer<'_>, chunk: &RowChunk, row: usize, sent: Stamp) -> SqlResult<Landed> {
    let landed = writer.write(&chunk.rows, row)?;
    let again = Landed { on: Found::Again, is_older: false };
    Ok(if chunk.rows.stamp(row) <= sent { again } else { landed })
}

/// Returns the stamp of the newest row that the delivery sent to a table.
pub fn sent(connection: &Connection, id: DeliveryId, table: &str) -> SqlResult<Stamp> {
    let sql = "SELECT sent FROM _needledrop_counts WHERE delivery = ?1 AND table_name = ?2";
    let sent =
        connection.prepare_cached(sql)?.query_row(params![id.0, table], |row| row.get(0)).optional()?;
    Ok(Stamp(sent.unwrap_or(0)))
}

/// Notes that the rows of a chunk were sent to a table. The table must have a count in the receipt.
pub fn note_sent(connection: &Connection, chunk: &RowChunk, table: &str) -> SqlResult<()> {
    let last = chunk.rows.len().checked_sub(1).map_or(0, |last| chunk.rows.stamp(last).0);
    let sql = "UPDATE _needledrop_counts SET sent = max(sent, ?3) WHERE delivery = ?1 AND table_name = ?2";
    connection.prepare_cached(sql)?.execute(params![chunk.source.id.0, table, last])?;
    Ok(())
}

/// Enters what the receipt of the chunk's delivery does not count: the collisions of other deliveries, and which rows
/// were sent.
pub fn enter_effects(
    connection: &Connection,
    chunk: &RowChunk,
    tables: &[Table],
    written: &[Written],
) -> SqlResult<()> {
    for (table, written) in tables.iter().zip(written) {
        written.credit_others(connection, chunk.source.id, &table.name)?;
        note_sent(connection, chunk, &table.name)?;
    }
    Ok(())
}
