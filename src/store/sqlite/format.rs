//! The format of the ledger: one of an earlier version is brought to this one by who writes, and read as it
//! is by who only asks.

use rusqlite::Connection;

use super::schema;
use crate::fault;

/// What each format has more than the one before, from the second on: what became of quarantined records, and
/// the headers they came under; records that another program wrote.
const ADDED: [&str; 2] = [
    "
ALTER TABLE _needledrop_deliveries ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _needledrop_deliveries ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _needledrop_quarantine ADD COLUMN state TEXT NOT NULL DEFAULT 'open';
CREATE TABLE _needledrop_headers (
  delivery INTEGER PRIMARY KEY, names TEXT NOT NULL);
",
    "ALTER TABLE _needledrop_deliveries ADD COLUMN assumed INTEGER NOT NULL DEFAULT 0;",
];

/// Format 1 as this version asks for it.
const FIRST: &str = "
CREATE TEMP VIEW _needledrop_deliveries AS
  SELECT *, 0 AS replayed, 0 AS discarded, 0 AS assumed FROM main._needledrop_deliveries;
CREATE TEMP VIEW _needledrop_quarantine AS SELECT *, 'open' AS state FROM main._needledrop_quarantine;
CREATE TEMP TABLE _needledrop_headers (delivery INTEGER PRIMARY KEY, names TEXT NOT NULL);
";

/// Format 2, the same.
const SECOND: &str = "
CREATE TEMP VIEW _needledrop_deliveries AS SELECT *, 0 AS assumed FROM main._needledrop_deliveries;
";

/// The format as it is written down.
pub fn of(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT CAST(value AS INTEGER) FROM _needledrop_meta WHERE key = 'format'";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Brings the ledger to this format, all or none.
pub fn bring_up(connection: &mut Connection) -> rusqlite::Result<()> {
    let format = of(connection)?;
    if format >= schema::FORMAT {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for (_, added) in (2..).zip(ADDED).filter(|(of, _)| *of > format) {
        transaction.execute_batch(added)?;
    }
    let sql = "UPDATE _needledrop_meta SET value = ?1 WHERE key = 'format'";
    transaction.execute(sql, [schema::FORMAT.to_string()])?;
    fault::step("format before commit");
    transaction.commit()?;
    fault::step("format after commit");
    Ok(())
}

/// Lets a connection that only reads see an older ledger as if it had this format. What is wrong with the
/// ledger is told by who checks it.
pub fn stand_in(connection: &Connection) -> rusqlite::Result<()> {
    match of(connection) {
        Ok(1) => connection.execute_batch(FIRST),
        Ok(2) => connection.execute_batch(SECOND),
        _ => Ok(()),
    }
}
