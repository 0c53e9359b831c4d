//! One table played anew from kept files, under the stamps the records have.

use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};

use super::apply;
use super::rows::{Landed, Writer};
use super::{Fault, Shared};
use crate::domain::RowChunk;
use crate::fault;
use crate::ledger::{Applied, TableDelta};

/// With `first` the count of this delivery in the table begins anew, but not its collisions when the
/// table held its rows before: a record that is written over itself is no collision.
pub fn chunk(
    shared: &Shared,
    connection: &mut Connection,
    table: usize,
    chunk: &RowChunk,
    first: bool,
) -> Result<Applied, Fault> {
    let began = Instant::now();
    let declared = shared.plan.tables.get(table).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if first {
        let sql = "INSERT INTO _needledrop_counts VALUES (?1, ?2, 0, 0, '') \
                   ON CONFLICT DO UPDATE SET rows = 0, fingerprint = ''";
        transaction.prepare_cached(sql)?.execute(params![chunk.source.id.0, declared.name])?;
    }
    let mut delta = TableDelta { rows: chunk.rows.len() as u64, ..TableDelta::default() };
    if !shared.dry {
        let mut writer = Writer::new(shared, &transaction, table)?;
        for row in writer.order(&chunk.rows) {
            delta.collisions += u64::from(writer.replay(&chunk.rows, row)? == Landed::OnOlder);
        }
    }
    apply::add(&transaction, chunk.source.id, &declared.name, delta.rows, delta.collisions)?;
    // Up to date only with the last chunk: until then a restart begins this delivery anew.
    if chunk.end.is_some() {
        let sql = "UPDATE _needledrop_counts SET fingerprint = ?3 WHERE delivery = ?1 AND table_name = ?2";
        transaction.prepare_cached(sql)?.execute(params![
            chunk.source.id.0,
            declared.name,
            declared.fingerprint.0
        ])?;
    }
    fault::step("replay before commit");
    transaction.commit()?;
    fault::step("replay after commit");
    delta.took = began.elapsed();
    Ok(Applied { tables: vec![delta] })
}
