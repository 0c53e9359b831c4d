//! Saves, settles and lists quarantined records in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::domain::ledger::Page;
use crate::domain::quarantine::{EntryFilter, EntryPaging, Fate, QuarantineEntry};
use crate::domain::{DeliveryId, Header, Quarantined, Reason, RowChunk};
use crate::store::sqlite::fault::{Fault, SqlResult};

/// Saves the quarantined records of a chunk and the records whose rows the store rejected.
pub fn save_all(connection: &Connection, chunk: &RowChunk, rejected: &[Quarantined]) -> SqlResult<()> {
    let id = chunk.source.id;
    if !chunk.quarantined.is_empty() || !rejected.is_empty() {
        save_header(connection, id, &chunk.source.header)?;
    }
    chunk.quarantined.iter().chain(rejected).try_for_each(|record| save(connection, id, record))
}

fn save(connection: &Connection, id: DeliveryId, record: &Quarantined) -> SqlResult<()> {
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

/// Saves the header of a delivery with its first quarantined record, because a replay needs the header and the file may
/// no longer exist then.
fn save_header(connection: &Connection, id: DeliveryId, header: &Header) -> SqlResult<()> {
    let sql = "INSERT OR IGNORE INTO _needledrop_headers VALUES (?1, ?2)";
    let names = serde_json::json!(header.0).to_string();
    connection.prepare_cached(sql)?.execute(params![id.0, names])?;
    Ok(())
}

pub fn header(connection: &Connection, id: DeliveryId) -> SqlResult<Option<Header>> {
    let sql = "SELECT names FROM _needledrop_headers WHERE delivery = ?1";
    let names: Option<String> =
        connection.prepare_cached(sql)?.query_row([id.0], |row| row.get(0)).optional()?;
    Ok(names.and_then(|names| serde_json::from_str(&names).ok()).map(Header))
}

/// Settles one entry. The entry must be open, so that no record is loaded twice.
pub fn settle(connection: &Connection, id: DeliveryId, record: u64, fate: Fate) -> Result<(), Fault> {
    let sql = "UPDATE _needledrop_quarantine SET state = ?3 \
               WHERE delivery = ?1 AND record = ?2 AND state = 'open'";
    one(id, record, connection.prepare_cached(sql)?.execute(params![id.0, record, fate.name()])?)
}

/// Enters the new reason why a record still cannot become rows.
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

/// Lists entries of a delivery. They are a range of the primary key, so SQLite reads nothing before the range or after
/// the page.
pub const LIST: &str = "SELECT record, line, bytes, length, column_name, reason, detail, \
    CASE WHEN ?7 THEN raw ELSE x'' END, state FROM _needledrop_quarantine \
    WHERE delivery = ?1 AND record >= ?2 AND (?3 IS NULL OR reason = ?3) \
    AND (?4 IS NULL OR column_name = ?4) AND (?5 IS NULL OR state = ?5) AND (?6 IS NULL OR line = ?6) \
    ORDER BY record";

pub fn page(
    connection: &Connection,
    id: DeliveryId,
    filter: &EntryFilter,
    from: u64,
) -> SqlResult<Page<QuarantineEntry, u64>> {
    let EntryFilter { reason, column, fate, line, raw } = filter;
    let values = params![id.0, from, reason, column, fate.map(Fate::name), line, raw];
    let mut statement = connection.prepare_cached(LIST)?;
    let mut page = EntryPaging::default();
    for found in statement.query_map(values, entry)? {
        if !page.push(found?) {
            break;
        }
    }
    Ok(page.end())
}

fn entry(row: &Row<'_>) -> SqlResult<QuarantineEntry> {
    let (reason, fate): (String, String) = (row.get(5)?, row.get(8)?);
    Ok(QuarantineEntry {
        fate: Fate::from_name(&fate).unwrap_or(Fate::Open),
        record: Quarantined {
            record: row.get(0)?,
            line: row.get(1)?,
            offset: row.get(2)?,
            len: row.get(3)?,
            column: row.get(4)?,
            reason: Reason::from_name(&reason).unwrap_or(Reason::Refused),
            detail: row.get(6)?,
            raw: row.get(7)?,
        },
    })
}
