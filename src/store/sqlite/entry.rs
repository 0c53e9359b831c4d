//! Reads, changes and writes one delivery. The arithmetic is in `domain`.

use rusqlite::{Connection, params};

use crate::domain::{Delivery, DeliveryId, Fingerprint, Receipt, TableCount};
use crate::store::clock::now_ms;
use crate::store::saved_replacement;
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::listing;

pub fn by_id(connection: &Connection, id: DeliveryId) -> SqlResult<Delivery> {
    listing::find(connection, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// Changes a delivery, and writes what has changed.
pub fn change<T>(
    connection: &Connection,
    id: DeliveryId,
    change: impl FnOnce(&mut Delivery) -> Result<T, Fault>,
) -> Result<(Delivery, T), Fault> {
    let mut delivery = by_id(connection, id)?;
    let before = delivery.receipt.clone();
    let result = change(&mut delivery)?;
    delivery.changed = now_ms();
    update(connection, &delivery)?;
    update_receipt(connection, id, &before, &delivery.receipt)?;
    Ok((delivery, result))
}

/// Inserts a new delivery with its receipt.
pub fn insert(connection: &Connection, delivery: &Delivery, attempt: &Fingerprint) -> SqlResult<()> {
    let sql = "INSERT INTO _needledrop_deliveries (id, path, generation, same_as, fingerprint, attempt, assumed, \
               strikes, taken_up, state, detail, bytes, records, line, hash, head, noted_size, noted_mtime, \
               noted_ctime, loaded, skipped, quarantined, changed) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, '', '', 0, 0, 0, '', '', 0, 0, 0, 0, 0, 0, 0)";
    connection.prepare_cached(sql)?.execute(params![
        delivery.id.0,
        delivery.file,
        delivery.generation,
        delivery.same_as.map(|of| of.0),
        delivery.fingerprint.0,
        attempt.0,
        delivery.receipt.assumed,
        delivery.strikes,
        delivery.taken_up,
    ])?;
    update(connection, delivery)?;
    update_receipt(connection, delivery.id, &Receipt::default(), &delivery.receipt)
}

/// Writes everything about a delivery that can change, except the counts of its tables and the ends of its parts.
pub fn update(connection: &Connection, delivery: &Delivery) -> SqlResult<()> {
    let sql = "UPDATE _needledrop_deliveries SET state = ?2, detail = ?3, bytes = ?4, records = ?5, line = ?6, \
               hash = ?7, head = ?8, tail_bytes = ?9, tail_record = ?10, tail_line = ?11, noted_size = ?12, \
               noted_mtime = ?13, noted_ctime = ?14, loaded = ?15, skipped = ?16, quarantined = ?17, \
               replayed = ?18, discarded = ?19, parts = ?20, lenient = ?21, changed = ?22, same_as = ?23, \
               replacement = ?24, mirrored_by = ?25 WHERE id = ?1";
    let Delivery { reach, tail, noted, receipt, .. } = delivery;
    connection.prepare_cached(sql)?.execute(params![
        delivery.id.0,
        delivery.state.name(),
        delivery.detail,
        reach.offset,
        reach.record,
        reach.line,
        delivery.hash,
        delivery.head,
        tail.map(|at| at.offset),
        tail.map(|at| at.record),
        tail.map(|at| at.line),
        noted.size,
        noted.mtime,
        noted.ctime,
        receipt.loaded,
        receipt.skipped,
        receipt.quarantined,
        receipt.replayed,
        receipt.discarded,
        receipt.parts.count(),
        receipt.tolerated.stored(),
        delivery.changed,
        delivery.same_as.map(|of| of.0),
        saved_replacement::text(delivery.replacement.as_ref()),
        delivery.mirrored_by,
    ])?;
    Ok(())
}

/// Writes the counts of tables and the ends of parts that differ from `before`.
fn update_receipt(
    connection: &Connection,
    id: DeliveryId,
    before: &Receipt,
    receipt: &Receipt,
) -> SqlResult<()> {
    let sql = "INSERT INTO _needledrop_counts (delivery, table_name, rows, collisions, fingerprint, sent, refused, older) \
               VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7) \
               ON CONFLICT DO UPDATE SET rows = ?3, collisions = ?4, fingerprint = ?5, refused = ?6, older = ?7";
    for count in receipt.tables.iter().filter(|count| !before.tables.contains(count)) {
        let TableCount { table, rows, collisions, fingerprint, refused, older, .. } = count;
        let values = params![id.0, table, rows, collisions, fingerprint.0, refused, older];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    if receipt.parts == before.parts { Ok(()) } else { update_parts(connection, id, receipt.parts.ends()) }
}

/// Inserts the last part, and deletes the ends that are no longer kept: those between the first two, and those after the
/// last.
fn update_parts(connection: &Connection, id: DeliveryId, ends: &[u64]) -> SqlResult<()> {
    let sql = "INSERT OR IGNORE INTO _needledrop_parts VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![id.0, ends.last()])?;
    let sql = "DELETE FROM _needledrop_parts WHERE delivery = ?1 AND bytes > ?2 AND bytes < ?3";
    connection.prepare_cached(sql)?.execute(params![id.0, ends.first(), ends.get(1)])?;
    let sql = "DELETE FROM _needledrop_parts WHERE delivery = ?1 AND bytes > coalesce(?2, -1)";
    connection.prepare_cached(sql)?.execute(params![id.0, ends.last()])?;
    Ok(())
}
