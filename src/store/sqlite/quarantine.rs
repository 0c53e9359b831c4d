//! Quarantined records in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Fault, Outcome};
use crate::domain::{DeliveryId, Header, Quarantined, Reason, RowChunk};
use crate::quarantine::{Entry, Fate, Filter, PAGE, PAGE_BYTES};

/// Enters the quarantined records of a chunk, and those of its rows that the store rejected.
pub fn save_all(connection: &Connection, chunk: &RowChunk, rejected: &[Quarantined]) -> Outcome<()> {
    let id = chunk.source.id;
    if !chunk.quarantined.is_empty() || !rejected.is_empty() {
        save_header(connection, id, &chunk.source.header)?;
    }
    chunk.quarantined.iter().chain(rejected).try_for_each(|record| save(connection, id, record))
}

fn save(connection: &Connection, id: DeliveryId, record: &Quarantined) -> Outcome<()> {
    let sql = "INSERT INTO _needledrop_quarantine VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'open')";
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

/// The header is kept with the first quarantined record of a delivery: its file may be gone one day.
fn save_header(connection: &Connection, id: DeliveryId, header: &Header) -> Outcome<()> {
    let sql = "INSERT OR IGNORE INTO _needledrop_headers VALUES (?1, ?2)";
    let names = serde_json::json!(header.0).to_string();
    connection.prepare_cached(sql)?.execute(params![id.0, names])?;
    Ok(())
}

pub fn header(connection: &Connection, id: DeliveryId) -> Outcome<Option<Header>> {
    let sql = "SELECT names FROM _needledrop_headers WHERE delivery = ?1";
    let names: Option<String> =
        connection.prepare_cached(sql)?.query_row([id.0], |row| row.get(0)).optional()?;
    Ok(names.and_then(|names| serde_json::from_str(&names).ok()).map(Header))
}

/// Settles one entry, which must be open: nothing is loaded twice.
pub fn settle(connection: &Connection, id: DeliveryId, record: u64, fate: Fate) -> Result<(), Fault> {
    let sql = "UPDATE _needledrop_quarantine SET state = ?3 \
               WHERE delivery = ?1 AND record = ?2 AND state = 'open'";
    one(id, record, connection.prepare_cached(sql)?.execute(params![id.0, record, fate.name()])?)
}

/// Enters why a record still cannot become rows.
pub fn explain(connection: &Connection, id: DeliveryId, record: &Quarantined) -> Result<(), Fault> {
    let sql = "UPDATE _needledrop_quarantine SET column_name = ?3, reason = ?4, detail = ?5 \
               WHERE delivery = ?1 AND record = ?2 AND state = 'open'";
    let Quarantined { record, column, reason, detail, .. } = record;
    let values = params![id.0, record, column, reason.name(), detail];
    one(id, *record, connection.prepare_cached(sql)?.execute(values)?)
}

fn one(id: DeliveryId, record: u64, changed: usize) -> Result<(), Fault> {
    match changed {
        1 => Ok(()),
        _ => Err(Fault::Broken(format!("record {record} of delivery {} is not open in quarantine", id.0))),
    }
}

pub fn list(connection: &Connection, filter: &Filter) -> Outcome<Vec<Entry>> {
    let sql = "SELECT q.delivery, d.path, d.generation, q.record, q.line, q.bytes, q.length, q.column_name, \
               q.reason, q.detail, CASE WHEN ?5 THEN q.raw ELSE x'' END, q.state \
               FROM _needledrop_quarantine AS q JOIN _needledrop_deliveries AS d ON d.id = q.delivery \
               WHERE (?1 IS NULL OR d.path = ?1) AND (?2 IS NULL OR q.reason = ?2) \
               AND (?3 IS NULL OR q.column_name = ?3) AND (?4 IS NULL OR q.delivery = ?4) \
               AND (?6 IS NULL OR q.state = ?6) AND q.record >= ?7 ORDER BY q.delivery, q.record";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(
        params![
            filter.path,
            filter.reason,
            filter.column,
            filter.delivery.map(|id| id.0),
            filter.raw,
            filter.fate.map(Fate::name),
            filter.page_from.unwrap_or(0),
        ],
        entry,
    )?;
    match filter.page_from {
        None => found.collect(),
        Some(_) => page(found),
    }
}

fn page(found: impl Iterator<Item = Outcome<Entry>>) -> Outcome<Vec<Entry>> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for entry in found.take(PAGE) {
        let entry = entry?;
        bytes += entry.record.raw.len() as u64;
        entries.push(entry);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> Outcome<Entry> {
    let (reason, fate): (String, String) = (row.get(8)?, row.get(11)?);
    Ok(Entry {
        delivery: DeliveryId(row.get(0)?),
        path: row.get(1)?,
        generation: row.get(2)?,
        fate: Fate::from_name(&fate).unwrap_or(Fate::Open),
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
