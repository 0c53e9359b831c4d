//! Quarantined records in SQLite.

use rusqlite::{Connection, Row, params};

use super::Outcome;
use crate::domain::{DeliveryId, Quarantined, Reason};
use crate::quarantine::{Entry, Filter};

pub fn save(connection: &Connection, id: DeliveryId, record: &Quarantined) -> Outcome<()> {
    let sql = "INSERT INTO _needledrop_quarantine VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(sql)?.execute(params![
        id.0,
        record.record,
        record.line,
        record.offset,
        record.len,
        record.column,
        record.reason.name(),
        record.detail,
        record.raw,
    ])?;
    Ok(())
}

pub fn list(connection: &Connection, filter: &Filter) -> Outcome<Vec<Entry>> {
    let sql = "SELECT q.delivery, d.path, d.generation, q.record, q.line, q.bytes, q.length, q.column_name, \
               q.reason, q.detail, CASE WHEN ?5 THEN q.raw ELSE x'' END FROM _needledrop_quarantine AS q \
               JOIN _needledrop_deliveries AS d ON d.id = q.delivery \
               WHERE (?1 IS NULL OR d.path = ?1) AND (?2 IS NULL OR q.reason = ?2) \
               AND (?3 IS NULL OR q.column_name = ?3) AND (?4 IS NULL OR q.delivery = ?4) \
               ORDER BY q.delivery, q.record";
    connection
        .prepare_cached(sql)?
        .query_map(
            params![filter.path, filter.reason, filter.column, filter.delivery.map(|id| id.0), filter.raw],
            entry,
        )?
        .collect()
}

fn entry(row: &Row<'_>) -> Outcome<Entry> {
    let reason: String = row.get(8)?;
    Ok(Entry {
        delivery: DeliveryId(row.get(0)?),
        path: row.get(1)?,
        generation: row.get(2)?,
        record: Quarantined {
            record: row.get(3)?,
            line: row.get(4)?,
            offset: row.get(5)?,
            len: row.get(6)?,
            column: row.get(7)?,
            reason: Reason::from_name(&reason).unwrap_or(Reason::Refused),
            detail: row.get(9)?,
            raw: row.get(10)?,
        },
    })
}
