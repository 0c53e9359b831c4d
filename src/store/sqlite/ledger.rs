//! Deliveries in SQLite.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Fault, Outcome, Shared, generations, listing, schema};
use crate::domain::stamp::far_ahead;
use crate::domain::{
    Delivery, DeliveryId, Fingerprint, Mark, Noted, Parts, Receipt, Stamp, StampRange, Stamps, State,
};
use crate::fault;
use crate::ledger::{Amendment, Beginning, Continuation, Entry, Known, Verdict};
use crate::store;

pub const COLUMNS: &str = "id, path, generation, state, detail, same_as, bytes, records, line, hash, head, \
    tail_bytes, tail_record, tail_line, strikes, noted_size, noted_mtime, \
    noted_ctime, fingerprint, loaded, skipped, quarantined, taken_up, changed, \
    replayed, discarded, assumed, parts";

pub fn known(connection: &Connection, attempt: &Fingerprint) -> Outcome<Vec<Known>> {
    let sql = "SELECT path, state, noted_size, noted_mtime, noted_ctime, attempt = ?1, id, max(generation), \
               sum(quarantined - discarded) \
               FROM _needledrop_deliveries GROUP BY path";
    connection
        .prepare_cached(sql)?
        .query_map([&attempt.0], |row| {
            Ok(Known {
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

fn state(name: &str) -> State {
    State::from_name(name).unwrap_or(State::Failed)
}

fn noted(row: &Row<'_>, at: usize) -> Outcome<Noted> {
    Ok(Noted { size: row.get(at)?, mtime: row.get(at + 1)?, ctime: row.get(at + 2)? })
}

pub fn by_id(connection: &Connection, id: DeliveryId) -> Outcome<Delivery> {
    listing::find(connection, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

pub fn delivery(row: &Row<'_>) -> Outcome<Delivery> {
    let tail = match row.get::<_, Option<u64>>(11)? {
        Some(offset) => Some(Mark { offset, record: row.get(12)?, line: row.get(13)? }),
        None => None,
    };
    Ok(Delivery {
        id: DeliveryId(row.get(0)?),
        path: row.get(1)?,
        generation: row.get(2)?,
        state: state(&row.get::<_, String>(3)?),
        detail: row.get(4)?,
        same_as: row.get::<_, Option<i64>>(5)?.map(DeliveryId),
        reach: Mark { offset: row.get(6)?, record: row.get(7)?, line: row.get(8)? },
        hash: row.get(9)?,
        head: row.get(10)?,
        tail,
        strikes: row.get(14)?,
        ahead: None,
        note: None,
        noted: noted(row, 15)?,
        stamps: Stamps::default(),
        fingerprint: Fingerprint(row.get(18)?),
        receipt: Receipt {
            records: row.get(7)?,
            loaded: row.get(19)?,
            skipped: row.get(20)?,
            quarantined: row.get(21)?,
            replayed: row.get(24)?,
            discarded: row.get(25)?,
            assumed: row.get(26)?,
            parts: Parts::new(Vec::new(), row.get(27)?),
            ..Receipt::default()
        },
        taken_up: row.get(22)?,
        changed: row.get(23)?,
    })
}

/// The clock, in microseconds since 1970.
fn clock() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2))
}

pub fn now_ms() -> i64 {
    clock().0 / 1000
}

/// The end of the last range handed out.
fn given(connection: &Connection) -> Outcome<Stamp> {
    let sql = "SELECT base + 2 * records FROM _needledrop_stamps ORDER BY base DESC LIMIT 1";
    let given = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(Stamp(given.unwrap_or(0)))
}

/// How far the stamps handed out are ahead of a clock that cannot have allowed them.
pub fn ahead(connection: &Connection) -> Outcome<Option<Duration>> {
    Ok(far_ahead(given(connection)?, clock()))
}

/// Gives out the next range, or says how long to wait for it.
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

pub fn take_up(shared: &Shared, connection: &mut Connection, entry: &Entry) -> Result<Delivery, Fault> {
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
    fault::step("take_up before commit");
    transaction.commit()?;
    fault::step("take_up after commit");
    Ok(delivery)
}

fn begin_counts(shared: &Shared, connection: &Connection, id: DeliveryId) -> Outcome<()> {
    for table in &shared.plan.tables {
        let sql = "INSERT INTO _needledrop_counts VALUES (?1, ?2, 0, 0, ?3, 0, 0)";
        connection.prepare_cached(sql)?.execute(params![id.0, table.name, table.fingerprint.0])?;
    }
    Ok(())
}

/// A table without a row has none of another program either: it is behind.
fn assume(shared: &Shared, connection: &Connection, id: DeliveryId, reach: Mark) -> Result<(), Fault> {
    add_part(connection, id, reach.offset)?;
    // A dry run has no tables to look at.
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

fn insert(connection: &Connection, entry: &Entry, generation: u32) -> Outcome<DeliveryId> {
    let Beginning { state, detail, same_as, reach, hash, tail, assumed, skipped } = entry.verdict.beginning();
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
    fault::step("reopen before commit");
    transaction.commit()?;
    fault::step("reopen after commit");
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
    fault::step("extend before commit");
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
    fault::step("amend before commit");
    transaction.commit()?;
    Ok(())
}

/// Notes where the open tail begins that a delivery ends with.
pub fn note_tail(connection: &Connection, id: DeliveryId, tail: Option<Mark>) -> Outcome<()> {
    let sql =
        "UPDATE _needledrop_deliveries SET tail_bytes = ?2, tail_record = ?3, tail_line = ?4 WHERE id = ?1";
    let (offset, record, line) = (tail.map(|at| at.offset), tail.map(|at| at.record), tail.map(|at| at.line));
    connection.prepare_cached(sql)?.execute(params![id.0, offset, record, line]).map(|_| ())
}

/// Adds a part that ends here, and removes those that [`Parts`] does not keep.
pub fn add_part(connection: &Connection, id: DeliveryId, end: u64) -> Outcome<()> {
    let sql = "INSERT OR IGNORE INTO _needledrop_parts VALUES (?1, ?2)";
    if connection.prepare_cached(sql)?.execute(params![id.0, end])? == 0 {
        return Ok(());
    }
    let sql = "UPDATE _needledrop_deliveries SET parts = parts + 1 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([id.0])?;
    bound_parts(connection, id)
}

/// Removes all ends but the first and the newest ones.
fn bound_parts(connection: &Connection, id: DeliveryId) -> Outcome<()> {
    let sql = "DELETE FROM _needledrop_parts WHERE delivery = ?1 \
               AND bytes > (SELECT min(bytes) FROM _needledrop_parts WHERE delivery = ?1) \
               AND bytes <= (SELECT bytes FROM _needledrop_parts WHERE delivery = ?1 \
                             ORDER BY bytes DESC LIMIT 1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute(params![id.0, Parts::KEPT - 1]).map(|_| ())
}

/// The delivery whose ranges hold this stamp.
pub fn owner(connection: &Connection, stamp: Stamp) -> Outcome<Option<DeliveryId>> {
    let sql = "SELECT delivery FROM _needledrop_stamps WHERE base <= ?1 ORDER BY base DESC LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([stamp.0], |row| row.get(0)).optional()?;
    Ok(found.map(DeliveryId))
}
