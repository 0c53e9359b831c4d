//! Reads and writes deliveries in the ledger of the SQLite store.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{generations, listing, schema};
use crate::domain::ledger::{Amendment, Continuation, InitialState, KnownPath, NewDelivery, Verdict};
use crate::domain::stamp::far_ahead;
use crate::domain::{Delivery, DeliveryId, Fingerprint, Parts, Position, Stamp, StampRange};
use crate::store;
use crate::store::failpoint;
use crate::store::sqlite::delivery_row::{clock, noted, now_ms, state};
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::shared::Shared;

pub fn known(connection: &Connection, attempt: &Fingerprint) -> SqlResult<Vec<KnownPath>> {
    let sql = "SELECT path, state, noted_size, noted_mtime, noted_ctime, attempt = ?1, id, max(generation), \
               sum(quarantined - discarded) \
               FROM _needledrop_deliveries GROUP BY path";
    connection
        .prepare_cached(sql)?
        .query_map([&attempt.0], |row| {
            Ok(KnownPath {
                id: DeliveryId(row.get(6)?),
                path: row.get(0)?,
                state: state(&row.get::<_, String>(1)?),
                noted: noted(row, 2)?,
                same_attempt: row.get(5)?,
                open: row.get(8)?,
                has_note: false,
            })
        })?
        .collect()
}

pub fn by_id(connection: &Connection, id: DeliveryId) -> SqlResult<Delivery> {
    listing::find(connection, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// Returns the end of the last range of stamps that was handed out, or 0 if there is none.
fn given(connection: &Connection) -> SqlResult<Stamp> {
    let sql = "SELECT base + 2 * records FROM _needledrop_stamps ORDER BY base DESC LIMIT 1";
    let given = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(Stamp(given.unwrap_or(0)))
}

/// Returns how far the stamps handed out are ahead of the clock, if a correct clock cannot have allowed them.
pub fn ahead(connection: &Connection) -> SqlResult<Option<Duration>> {
    Ok(far_ahead(given(connection)?, clock()))
}

/// Hands out the next range of stamps. Returns [`Fault::Ahead`] with the time to wait if the range would be too far
/// ahead of the clock.
fn hand_out(
    shared: &Shared,
    connection: &Connection,
    id: DeliveryId,
    first: u64,
    records: u64,
) -> Result<StampRange, Fault> {
    let range = StampRange::after(given(connection)?, clock(), (first, records), shared.stamps_ahead);
    let range = range.map_err(Fault::Ahead)?;
    let sql = "INSERT INTO _needledrop_stamps (base, delivery, first, records) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![range.base.0, id.0, first, range.records])?;
    Ok(range)
}

pub fn take_up(shared: &Shared, connection: &mut Connection, entry: &NewDelivery) -> Result<Delivery, Fault> {
    let transaction = shared.begin(connection)?;
    let generation = generations::newest(&transaction, &entry.path)? + 1;
    generations::replace(&transaction, &entry.path, generation)?;
    if matches!(entry.verdict, Verdict::Load { .. }) {
        generations::discard_failed(&transaction, &entry.path, generation)?;
    }
    let id = insert(&transaction, entry, generation)?;
    if let Some(records) = entry.verdict.stamped() {
        hand_out(shared, &transaction, id, 0, records)?;
    }
    if entry.verdict.loads() {
        begin_counts(shared, &transaction, id)?;
    }
    if let Verdict::Assumed { reach, .. } = &entry.verdict {
        assume(shared, &transaction, id, *reach)?;
    }
    let delivery = by_id(&transaction, id)?;
    failpoint::step("take_up before commit");
    transaction.commit()?;
    failpoint::step("take_up after commit");
    Ok(delivery)
}

fn begin_counts(shared: &Shared, connection: &Connection, id: DeliveryId) -> SqlResult<()> {
    for table in &shared.plan.tables {
        let sql = "INSERT INTO _needledrop_counts VALUES (?1, ?2, 0, 0, ?3, 0, 0)";
        connection.prepare_cached(sql)?.execute(params![id.0, table.name, table.fingerprint.0])?;
    }
    Ok(())
}

/// Enters a delivery that another program has loaded. A table without rows has none of that program either, so it is
/// marked as behind.
fn assume(shared: &Shared, connection: &Connection, id: DeliveryId, reach: Position) -> Result<(), Fault> {
    add_part(connection, id, reach.offset)?;
    // A dry run has no tables to check.
    if shared.dry {
        return Ok(());
    }
    let mut empty = 0;
    for table in &shared.plan.tables {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", schema::quoted(&table.name));
        if connection.query_row(&sql, [], |row| row.get::<_, bool>(0))? {
            continue;
        }
        empty += 1;
        let sql = "UPDATE _needledrop_counts SET fingerprint = '' WHERE delivery = ?1 AND table_name = ?2";
        connection.prepare_cached(sql)?.execute(params![id.0, table.name])?;
    }
    if empty == shared.plan.tables.len() {
        let (what, next) = store::NOTHING_ASSUMED;
        return Err(Fault::Shape { what: what.to_owned(), next });
    }
    Ok(())
}

fn insert(connection: &Connection, entry: &NewDelivery, generation: u32) -> SqlResult<DeliveryId> {
    let InitialState { state, detail, same_as, reach, hash, tail, assumed, skipped } =
        entry.verdict.beginning();
    let sql = "INSERT INTO _needledrop_deliveries (path, generation, state, detail, same_as, bytes, records, \
               line, hash, head, noted_size, noted_mtime, noted_ctime, fingerprint, attempt, loaded, skipped, \
               quarantined, taken_up, changed, assumed, strikes) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?17, ?18, 0, ?16, ?16, ?17, ?19)";
    connection.prepare_cached(sql)?.execute(params![
        entry.path,
        generation,
        state.name(),
        detail,
        same_as.map(|of| of.0),
        reach.offset,
        reach.record,
        reach.line,
        hash,
        entry.head.hash,
        entry.noted.size,
        entry.noted.mtime,
        entry.noted.ctime,
        entry.fingerprint.0,
        entry.attempt.0,
        now_ms(),
        assumed,
        skipped,
        entry.strikes,
    ])?;
    let id = DeliveryId(connection.last_insert_rowid());
    note_tail(connection, id, tail)?;
    Ok(id)
}

pub fn reopen(
    shared: &Shared,
    connection: &mut Connection,
    id: DeliveryId,
    how: &Continuation,
) -> Result<Option<Delivery>, Fault> {
    let transaction = shared.begin(connection)?;
    if by_id(&transaction, id)?.reach != how.compared.0 {
        return Ok(None);
    }
    let sql = "UPDATE _needledrop_deliveries SET state = 'loading', detail = ?2, noted_size = ?3, \
               noted_mtime = ?4, noted_ctime = ?5, changed = ?6, head = ?7 WHERE id = ?1";
    let Continuation { noted, head, detail, .. } = how;
    transaction.prepare_cached(sql)?.execute(params![
        id.0,
        detail,
        noted.size,
        noted.mtime,
        noted.ctime,
        now_ms(),
        head.hash
    ])?;
    let delivery = by_id(&transaction, id)?;
    failpoint::step("reopen before commit");
    transaction.commit()?;
    failpoint::step("reopen after commit");
    Ok(Some(delivery))
}

pub fn extend(
    shared: &Shared,
    connection: &mut Connection,
    id: DeliveryId,
    first: u64,
    records: u64,
) -> Result<StampRange, Fault> {
    let transaction = shared.begin(connection)?;
    let range = hand_out(shared, &transaction, id, first, records)?;
    failpoint::step("extend before commit");
    transaction.commit()?;
    Ok(range)
}

pub fn amend(
    shared: &Shared,
    connection: &mut Connection,
    id: DeliveryId,
    amendment: &Amendment,
) -> Result<(), Fault> {
    let transaction = shared.begin(connection)?;
    if let Some((state, detail)) = &amendment.state {
        let sql = "UPDATE _needledrop_deliveries SET state = ?2, detail = ?3, changed = ?4 WHERE id = ?1";
        transaction.prepare_cached(sql)?.execute(params![id.0, state.name(), detail, now_ms()])?;
    }
    if let Some(noted) = amendment.noted {
        let sql = "UPDATE _needledrop_deliveries SET noted_size = ?2, noted_mtime = ?3, noted_ctime = ?4 \
                   WHERE id = ?1";
        transaction.prepare_cached(sql)?.execute(params![id.0, noted.size, noted.mtime, noted.ctime])?;
    }
    if let Some(head) = &amendment.head {
        let sql = "UPDATE _needledrop_deliveries SET head = ?2 WHERE id = ?1";
        transaction.prepare_cached(sql)?.execute(params![id.0, head])?;
    }
    failpoint::step("amend before commit");
    transaction.commit()?;
    Ok(())
}

/// Stores where the open tail of a delivery begins; `None` if the delivery has no open tail.
pub fn note_tail(connection: &Connection, id: DeliveryId, tail: Option<Position>) -> SqlResult<()> {
    let sql =
        "UPDATE _needledrop_deliveries SET tail_bytes = ?2, tail_record = ?3, tail_line = ?4 WHERE id = ?1";
    let (offset, record, line) = (tail.map(|at| at.offset), tail.map(|at| at.record), tail.map(|at| at.line));
    connection.prepare_cached(sql)?.execute(params![id.0, offset, record, line]).map(|_| ())
}

/// Adds a part that ends at `end`, and removes the ends that [`Parts`] does not keep.
pub fn add_part(connection: &Connection, id: DeliveryId, end: u64) -> SqlResult<()> {
    let sql = "INSERT OR IGNORE INTO _needledrop_parts VALUES (?1, ?2)";
    if connection.prepare_cached(sql)?.execute(params![id.0, end])? == 0 {
        return Ok(());
    }
    let sql = "UPDATE _needledrop_deliveries SET parts = parts + 1 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([id.0])?;
    bound_parts(connection, id)
}

/// Removes all ends except the first and the newest.
fn bound_parts(connection: &Connection, id: DeliveryId) -> SqlResult<()> {
    let sql = "DELETE FROM _needledrop_parts WHERE delivery = ?1 \
               AND bytes > (SELECT min(bytes) FROM _needledrop_parts WHERE delivery = ?1) \
               AND bytes <= (SELECT bytes FROM _needledrop_parts WHERE delivery = ?1 \
                             ORDER BY bytes DESC LIMIT 1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute(params![id.0, Parts::KEPT - 1]).map(|_| ())
}

/// Returns the delivery whose ranges contain this stamp.
pub fn owner(connection: &Connection, stamp: Stamp) -> SqlResult<Option<DeliveryId>> {
    let sql = "SELECT delivery FROM _needledrop_stamps WHERE base <= ?1 ORDER BY base DESC LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([stamp.0], |row| row.get(0)).optional()?;
    Ok(found.map(DeliveryId))
}
