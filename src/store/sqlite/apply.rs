//! Chunks into tables, quarantine and ledger, in one transaction.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};

use super::rows::{self, Landed, Writer};
use super::{Fault, Shared, ledger, quarantine};
use crate::domain::{DeliveryId, End, Mark, Outcome, RowChunk, State};
use crate::fault;
use crate::ledger::{Applied, TableDelta};

pub fn chunks(
    shared: &Shared,
    connection: &mut Connection,
    chunks: &[RowChunk],
) -> Result<Vec<Applied>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let applied =
        chunks.iter().map(|chunk| apply(shared, &transaction, chunk)).collect::<Result<_, Fault>>()?;
    fault::step("apply before commit");
    transaction.commit()?;
    fault::step("apply after commit");
    Ok(applied)
}

fn apply(shared: &Shared, connection: &Connection, chunk: &RowChunk) -> Result<Applied, Fault> {
    let id = chunk.source.id;
    advance(connection, chunk)?;
    let mut applied = Applied::default();
    for table in 0..shared.plan.tables.len() {
        let delta = if shared.dry { dry(chunk) } else { write(shared, connection, table, chunk)? };
        let name = shared.plan.tables.get(table).map_or("", |table| table.name.as_str());
        add(connection, id, name, delta.rows, delta.collisions)?;
        applied.tables.push(delta);
    }
    for record in &chunk.quarantined {
        quarantine::save(connection, id, record)?;
    }
    Ok(applied)
}

fn dry(chunk: &RowChunk) -> TableDelta {
    TableDelta { rows: chunk.rows.len() as u64, ..TableDelta::default() }
}

/// Moves the delivery over the chunk, which must continue where it stands.
fn advance(connection: &Connection, chunk: &RowChunk) -> Result<(), Fault> {
    let id = chunk.source.id.0;
    let sql = "SELECT bytes, records, line FROM _needledrop_deliveries WHERE id = ?1";
    let durable = connection
        .prepare_cached(sql)?
        .query_row([id], |row| Ok(Mark { offset: row.get(0)?, record: row.get(1)?, line: row.get(2)? }))?;
    let reach = durable.advance(chunk.span).map_err(|error| Fault::Broken(error.to_string()))?;
    let (state, detail) = ended(chunk);
    let sql = "UPDATE _needledrop_deliveries SET bytes = ?2, records = ?3, line = ?4, hash = ?5, \
               loaded = loaded + ?6, skipped = skipped + ?7, quarantined = quarantined + ?8, \
               state = coalesce(?9, state), detail = coalesce(?10, detail), changed = ?11 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        id,
        reach.offset,
        reach.record,
        reach.line,
        chunk.hash,
        chunk.rows.len(),
        chunk.skipped,
        chunk.quarantined.len(),
        state.map(State::name),
        detail,
        ledger::now_ms(),
    ])?;
    if let Some(End::Loaded { provisional }) = &chunk.end {
        let sql = "INSERT OR IGNORE INTO _needledrop_parts VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![id, reach.offset])?;
        provisional_at(connection, chunk, provisional.as_ref())?;
    }
    Ok(())
}

fn ended(chunk: &RowChunk) -> (Option<State>, Option<&str>) {
    match &chunk.end {
        None => (None, None),
        Some(End::Loaded { .. }) => (Some(State::Loaded), None),
        Some(End::Incomplete { detail }) => (Some(State::Incomplete), Some(detail)),
        Some(End::Replaced { detail }) => (Some(State::Replaced), Some(detail)),
        Some(End::Failed { detail }) => (Some(State::Failed), Some(detail)),
    }
}

fn provisional_at(
    connection: &Connection,
    chunk: &RowChunk,
    at: Option<&(Mark, String)>,
) -> Result<(), Fault> {
    let Some((mark, hash)) = at else { return Ok(()) };
    let outcome = match chunk.last {
        Some(Outcome::Loaded) => "loaded",
        Some(Outcome::Skipped) => "skipped",
        Some(Outcome::Quarantined) | None => "quarantined",
    };
    let sql = "UPDATE _needledrop_deliveries SET provisional_bytes = ?2, provisional_record = ?3, \
               provisional_line = ?4, provisional_hash = ?5, provisional_outcome = ?6 WHERE id = ?1";
    let id = chunk.source.id.0;
    connection.prepare_cached(sql)?.execute(params![
        id,
        mark.offset,
        mark.record,
        mark.line,
        hash,
        outcome
    ])?;
    Ok(())
}

fn write(
    shared: &Shared,
    connection: &Connection,
    table: usize,
    chunk: &RowChunk,
) -> Result<TableDelta, Fault> {
    let began = Instant::now();
    let mut writer = Writer::new(shared, connection, table)?;
    let mut collisions = 0;
    let mut of_others: HashMap<DeliveryId, u64> = HashMap::new();
    let mut last = Landed::New;
    for row in writer.order(&chunk.rows) {
        let landed = writer.write(&chunk.rows, row)?;
        if row + 1 == chunk.rows.len() {
            last = landed;
        }
        match landed {
            Landed::New | Landed::Again => {}
            Landed::OnOlder => collisions += 1,
            Landed::UnderNewer(stamp) => {
                if let Some(owner) = ledger::owner(connection, stamp)? {
                    *of_others.entry(owner).or_default() += 1;
                }
            }
        }
    }
    let name = shared.plan.tables.get(table).map_or("", |table| table.name.as_str());
    if chunk.ends_provisionally() && chunk.last == Some(Outcome::Loaded) {
        let key = writer.key(&chunk.rows, chunk.rows.len() - 1);
        rows::remember(connection, chunk.source.id.0, name, &key, last)?;
    }
    for (owner, count) in of_others {
        add(connection, owner, name, 0, count)?;
    }
    Ok(TableDelta { rows: chunk.rows.len() as u64, collisions, took: began.elapsed() })
}

pub fn add(
    connection: &Connection,
    id: DeliveryId,
    table: &str,
    rows: u64,
    collisions: u64,
) -> Result<(), Fault> {
    let sql = "UPDATE _needledrop_counts SET rows = rows + ?3, collisions = collisions + ?4 \
               WHERE delivery = ?1 AND table_name = ?2";
    connection.prepare_cached(sql)?.execute(params![id.0, table, rows, collisions])?;
    Ok(())
}
