//! Reads and writes deliveries in the ledger of the SQLite store.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{entry, generations, schema};
use crate::domain::ledger::{Amendment, Continuation, KnownFile, NewDelivery, TakenUp, Verdict};
use crate::domain::stamp::far_ahead;
use crate::domain::{Delivery, DeliveryId, Feeds, Fingerprint, Stamp, StampRange};
use crate::store;
use crate::store::clock::{clock, now_ms};
use crate::store::failpoint;
use crate::store::saved_replacement;
use crate::store::sqlite::delivery_row::{file, noted, state};
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::shared::Shared;

/// Returns the newest generation of every file.
pub fn known(connection: &Connection, attempts: &Feeds<Fingerprint>) -> SqlResult<Vec<KnownFile>> {
    let sql = "SELECT path, state, noted_size, noted_mtime, noted_ctime, attempt, id, max(generation), \
               sum(quarantined - discarded), replacement \
               FROM _needledrop_deliveries GROUP BY path";
    let mut statement = connection.prepare_cached(sql)?;
    let known = statement.query_map([], |row| {
        let file = file(row, 0)?;
        let own: String = row.get(5)?;
        Ok(KnownFile {
            id: DeliveryId(row.get(6)?),
            state: state(&row.get::<_, String>(1)?),
            noted: noted(row, 2)?,
            same_attempt: attempts.of(&file).is_ok_and(|attempt| attempt.0 == own),
            open: row.get(8)?,
            has_note: false,
            replaces: saved_replacement::is_due(row.get(9)?),
            file,
        })
    })?;
    known.collect()
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

pub fn take_up(shared: &Shared, connection: &mut Connection, new: &NewDelivery) -> Result<TakenUp, Fault> {
    let transaction = shared.begin(connection)?;
    let generation = generations::newest(&transaction, &new.file)? + 1;
    let discarded = generations::settle(&transaction, new, generation)?;
    let place = (next_id(&transaction)?, generation);
    let mut delivery = Delivery::begin(new, place, now_ms());
    if matches!(new.verdict, Verdict::Assumed { .. }) {
        delivery.receipt.empty(&without_rows(new, &transaction)?);
    }
    entry::insert(&transaction, &delivery, &new.plan.attempt)?;
    if let Some(records) = new.verdict.stamped() {
        delivery.stamps.push(hand_out(shared, &transaction, delivery.id, 0, records)?);
    }
    failpoint::step("take_up before commit");
    transaction.commit()?;
    failpoint::step("take_up after commit");
    Ok(TakenUp { delivery, discarded })
}

fn next_id(connection: &Connection) -> SqlResult<DeliveryId> {
    let sql = "SELECT coalesce(max(id), 0) + 1 FROM _needledrop_deliveries";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).map(DeliveryId)
}

/// Returns the names of the delivery's tables without rows. Another program cannot have loaded them, so they are behind
/// even if the delivery is assumed to be loaded. Fails if no table has a row.
fn without_rows<'n>(new: &'n NewDelivery, connection: &Connection) -> Result<Vec<&'n str>, Fault> {
    let mut empty = Vec::new();
    for table in &new.plan.tables {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", schema::quoted(&table.name));
        if !connection.query_row(&sql, [], |row| row.get::<_, bool>(0))? {
            empty.push(table.name.as_str());
        }
    }
    if empty.len() == new.plan.tables.len() {
        let (what, next) = store::NOTHING_ASSUMED;
        return Err(Fault::Shape { what: what.to_owned(), next });
    }
    Ok(empty)
}

pub fn reopen(
    shared: &Shared,
    connection: &mut Connection,
    id: DeliveryId,
    how: &Continuation,
) -> Result<Option<Delivery>, Fault> {
    let transaction = shared.begin(connection)?;
    if entry::by_id(&transaction, id)?.reach != how.compared.0 {
        return Ok(None);
    }
    let (delivery, ()) = entry::change(&transaction, id, |delivery| {
        delivery.resume(how);
        Ok(())
    })?;
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
    amendment: Amendment,
) -> Result<(), Fault> {
    let transaction = shared.begin(connection)?;
    let mut delivery = entry::by_id(&transaction, id)?;
    if amendment.state.is_some() {
        delivery.changed = now_ms();
    }
    delivery.amend(amendment);
    entry::update(&transaction, &delivery)?;
    failpoint::step("amend before commit");
    transaction.commit()?;
    Ok(())
}

/// Returns the delivery whose ranges contain this stamp.
pub fn owner(connection: &Connection, stamp: Stamp) -> SqlResult<Option<DeliveryId>> {
    let sql = "SELECT delivery FROM _needledrop_stamps WHERE base <= ?1 ORDER BY base DESC LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([stamp.0], |row| row.get(0)).optional()?;
    Ok(found.map(DeliveryId))
}
