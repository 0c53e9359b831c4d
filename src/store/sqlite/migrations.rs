//! The format of the ledger. A writer brings an older ledger to this format; a reader sees it through views.

use rusqlite::Connection;

use super::schema;
use crate::domain::Parts;
use crate::store::failpoint;

/// What each format changes in the one before it, from the second on.
///
/// 2: what became of quarantined records, and the headers they came under. 3: records that another program wrote.
/// 4: a provisional last record becomes an open tail. Its rows are in the tables already, so that only the means to
/// take it back are dropped. The parts of a delivery are counted, and most of their ends removed. 5: indexes
/// find deliveries by all of their contents and by their state, not only by their head.
fn changes() -> [String; 4] {
    [
        "
ALTER TABLE _needledrop_deliveries ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _needledrop_deliveries ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _needledrop_quarantine ADD COLUMN state TEXT NOT NULL DEFAULT 'open';
CREATE TABLE _needledrop_headers (
  delivery INTEGER PRIMARY KEY, names TEXT NOT NULL);
"
        .to_owned(),
        "ALTER TABLE _needledrop_deliveries ADD COLUMN assumed INTEGER NOT NULL DEFAULT 0;".to_owned(),
        format!(
            "
ALTER TABLE _needledrop_deliveries RENAME COLUMN provisional_bytes TO tail_bytes;
ALTER TABLE _needledrop_deliveries RENAME COLUMN provisional_record TO tail_record;
ALTER TABLE _needledrop_deliveries RENAME COLUMN provisional_line TO tail_line;
ALTER TABLE _needledrop_deliveries DROP COLUMN provisional_hash;
ALTER TABLE _needledrop_deliveries DROP COLUMN provisional_outcome;
ALTER TABLE _needledrop_deliveries ADD COLUMN strikes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _needledrop_deliveries ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;
UPDATE _needledrop_deliveries SET parts = n
  FROM (SELECT delivery, count(*) AS n FROM _needledrop_parts GROUP BY delivery) WHERE id = delivery;
DELETE FROM _needledrop_parts WHERE (delivery, bytes) IN (
  SELECT delivery, bytes FROM (
    SELECT delivery, bytes, row_number() OVER (PARTITION BY delivery ORDER BY bytes) AS oldest,
           row_number() OVER (PARTITION BY delivery ORDER BY bytes DESC) AS newest
    FROM _needledrop_parts)
  WHERE oldest > 1 AND newest >= {});
DROP TABLE _needledrop_provisional;
DROP TABLE _needledrop_shadows;
",
            Parts::KEPT
        ),
        format!("DROP INDEX IF EXISTS _needledrop_heads;{}", schema::INDEXES),
    ]
}

/// How the deliveries of formats 1 to 3 are read in later formats.
const DELIVERIES: &str = "provisional_bytes AS tail_bytes, provisional_record AS tail_record, \
    provisional_line AS tail_line, 0 AS strikes, \
    (SELECT count(*) FROM main._needledrop_parts WHERE delivery = id) AS parts \
    FROM main._needledrop_deliveries";

/// The format as it is written down.
pub fn of(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT CAST(value AS INTEGER) FROM _needledrop_meta WHERE key = 'format'";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Brings the ledger to this format, all or nothing.
pub fn bring_up(connection: &mut Connection) -> rusqlite::Result<()> {
    let format = of(connection)?;
    if format >= schema::FORMAT {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for (_, change) in (2..).zip(changes()).filter(|(to, _)| *to > format) {
        transaction.execute_batch(&change)?;
    }
    let sql = "UPDATE _needledrop_meta SET value = ?1 WHERE key = 'format'";
    transaction.execute(sql, [schema::FORMAT.to_string()])?;
    failpoint::step("format before commit");
    transaction.commit()?;
    failpoint::step("format after commit");
    Ok(())
}

/// Lets a connection that only reads see an older ledger in this format. A format that is missing is reported
/// where the ledger is checked.
pub fn stand_in(connection: &Connection) -> rusqlite::Result<()> {
    let added = match of(connection) {
        Ok(1) => "0 AS replayed, 0 AS discarded, 0 AS assumed, ",
        Ok(2) => "0 AS assumed, ",
        Ok(3) => "",
        _ => return Ok(()),
    };
    connection.execute_batch(&format!(
        "CREATE TEMP VIEW _needledrop_deliveries AS SELECT *, {added}{DELIVERIES};"
    ))?;
    if added.contains("replayed") {
        connection.execute_batch(
            "CREATE TEMP VIEW _needledrop_quarantine AS SELECT *, 'open' AS state FROM main._needledrop_quarantine;
             CREATE TEMP TABLE _needledrop_headers (delivery INTEGER PRIMARY KEY, names TEXT NOT NULL);",
        )?;
    }
    Ok(())
}
