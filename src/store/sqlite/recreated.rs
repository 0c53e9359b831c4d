//! Detects tables that another program dropped and created again. They have the same shape but lack the loaded rows.
//!
//! A table that needledrop creates has a random mark in a comment of its DDL. `_needledrop_meta` stores the same mark.

use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::domain::{Schema, Table, TableCount};
use crate::store::sqlite::fault::{CHANGED, Fault, SqlResult};
use crate::store::sqlite::schema;
use crate::store::sqlite::schema::Difference;
use crate::store::sqlite::shared::Shared;

fn key(table: &Table) -> String {
    format!("table {}", table.name)
}

/// Creates a table and marks it. The table is behind by all deliveries, because rows sent to an earlier table of this
/// name are not in the new table.
pub fn make(connection: &Connection, declared: &Schema, table: &Table) -> SqlResult<()> {
    let mark = format!("{:032x}", fastrand::u128(..));
    let ddl = schema::create(declared, table).replacen('(', &format!("( /* needledrop {mark} */"), 1);
    connection.execute_batch(&ddl)?;
    let sql = "INSERT OR REPLACE INTO _needledrop_meta VALUES (?1, ?2)";
    connection.execute(sql, params![key(table), mark])?;
    is_behind(connection, table)
}

/// Whether another table has replaced a table that needledrop created.
pub fn is_another(connection: &Connection, table: &Table) -> SqlResult<bool> {
    let sql = "SELECT instr(s.sql, m.value) = 0 FROM _needledrop_meta AS m, sqlite_schema AS s \
               WHERE m.key = ?1 AND s.type = 'table' AND s.name = ?2 COLLATE NOCASE";
    let is_another =
        connection.query_row(sql, params![key(table), table.name], |row| row.get(0)).optional()?;
    Ok(is_another.unwrap_or(false))
}

/// Accepts a recreated table as it is, and treats it as empty.
pub fn reset_counts(connection: &Connection, table: &Table) -> SqlResult<()> {
    tracing::warn!("table {} was dropped and recreated; `needledrop load --table {0}` fills it", table.name);
    connection.execute("DELETE FROM _needledrop_meta WHERE key = ?1", [key(table)])?;
    is_behind(connection, table)
}

fn is_behind(connection: &Connection, table: &Table) -> SqlResult<()> {
    let TableCount { table, rows, collisions, refused, older, fingerprint, .. } =
        TableCount::behind(&table.name);
    let sql = "UPDATE _needledrop_counts SET rows = ?2, collisions = ?3, refused = ?4, older = ?5, fingerprint = ?6, sent = 0 \
               WHERE table_name = ?1";
    connection.execute(sql, params![table, rows, collisions, refused, older, fingerprint.0])?;
    Ok(())
}

/// Returns an error if a table was dropped, altered or recreated while needledrop was running. A dropped or altered
/// table would reject every row, and a recreated table lacks the rows loaded before.
pub fn check(shared: &Shared, connection: &Connection) -> Result<(), Fault> {
    let version = version(connection)?;
    if version == shared.schema.load(Ordering::Relaxed) {
        return Ok(());
    }
    for table in &shared.declared.tables {
        let what = match schema::compare(connection, &shared.declared, table)? {
            None if is_another(connection, table)? => "dropped and recreated".to_owned(),
            None => continue,
            Some(Difference::Missing) => "dropped".to_owned(),
            Some(Difference::Other(difference)) => format!("altered:\n  {difference}"),
        };
        let what = format!("while needledrop ran, table {} was {what}", table.name);
        return Err(Fault::Shape { what, next: CHANGED });
    }
    shared.schema.store(version, Ordering::Relaxed);
    Ok(())
}

/// Returns SQLite's schema version. It changes with every change of the schema, by this or any other program.
pub fn version(connection: &Connection) -> SqlResult<i64> {
    connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

impl Shared {
    /// Begins a write transaction. No other process can write during the transaction, so its first step is to check
    /// that the files are in place, that this process still has the right to write, and that the tables are as
    /// declared.
    pub fn begin<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c>, Fault> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.check()?;
        check(self, &transaction)?;
        Ok(transaction)
    }
}
