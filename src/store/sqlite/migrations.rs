//! Migrates a ledger of an earlier format. A writer converts the ledger to the current format. A reader leaves it
//! unchanged and sees it through views.

use rusqlite::Connection;

use super::schema;
use crate::domain::Parts;
use crate::store::failpoint;

/// Returns the statements that convert each format to the next, beginning with the conversion to format 2.
///
/// - Format 2 adds the fate of quarantined records, and the headers of their deliveries.
/// - Format 3 adds the number of records that another program wrote.
/// - Format 4 replaces the provisional last record by the open tail. The rows of that record are already in the tables,
///   so only the data for undoing them is dropped. Format 4 also stores the number of parts of a delivery, and removes
///   most part ends.
/// - Format 5 adds indexes that find deliveries by their whole content and by their state, not only by their head.
/// - Format 6 adds how often lenient settings acted.
/// - Format 7 allows files of named feeds, which are written `FEED//PATH`. No table changes, but earlier versions would
///   take such a text for a path.
/// - Format 8 allows undone deliveries, whose files earlier versions would load again. The index of contents includes them.
/// - Format 9 adds what became of earlier generations of a file.
/// - Format 10 adds how many records were older than their row. Earlier versions would ignore `newest_by`.
fn changes() -> [String; 9] {
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
        "ALTER TABLE _needledrop_deliveries ADD COLUMN lenient TEXT;".to_owned(),
        String::new(),
        format!("DROP INDEX IF EXISTS _needledrop_contents;{}", schema::INDEXES),
        "ALTER TABLE _needledrop_deliveries ADD COLUMN replacement TEXT;
         ALTER TABLE _needledrop_deliveries ADD COLUMN mirrored_by INTEGER;"
            .to_owned(),
        "ALTER TABLE _needledrop_counts ADD COLUMN older INTEGER NOT NULL DEFAULT 0;".to_owned(),
    ]
}

/// The part of a query that reads deliveries of formats 1 to 3 with the columns of formats 4 and 5.
const TAILS: &str = "provisional_bytes AS tail_bytes, provisional_record AS tail_record, \
    provisional_line AS tail_line, 0 AS strikes, \
    (SELECT count(*) FROM main._needledrop_parts WHERE delivery = id) AS parts, ";

/// Returns the format that the ledger states.
pub fn of(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT CAST(value AS INTEGER) FROM _needledrop_meta WHERE key = 'format'";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Converts the ledger to the current format, in one transaction.
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

/// Creates temporary views through which a reading connection sees an older ledger in the current format. A missing
/// format is not an error here; opening the store reports it.
pub fn stand_in(connection: &Connection) -> rusqlite::Result<()> {
    const LENIENT: &str = "NULL AS lenient, ";
    let (added, tails, lenient) = match of(connection) {
        Ok(1) => ("0 AS replayed, 0 AS discarded, 0 AS assumed, ", TAILS, LENIENT),
        Ok(2) => ("0 AS assumed, ", TAILS, LENIENT),
        Ok(3) => ("", TAILS, LENIENT),
        Ok(4 | 5) => ("", "", LENIENT),
        Ok(6..=8) => ("", "", ""),
        Ok(9) => return stand_in_for_counts(connection),
        _ => return Ok(()),
    };
    connection.execute_batch(&format!(
        "CREATE TEMP VIEW _needledrop_deliveries AS \
         SELECT *, {added}{tails}{lenient}NULL AS replacement, NULL AS mirrored_by FROM main._needledrop_deliveries;"
    ))?;
    stand_in_for_counts(connection)?;
    if added.contains("replayed") {
        connection.execute_batch(
            "CREATE TEMP VIEW _needledrop_quarantine AS SELECT *, 'open' AS state FROM main._needledrop_quarantine;
             CREATE TEMP TABLE _needledrop_headers (delivery INTEGER PRIMARY KEY, names TEXT NOT NULL);",
        )?;
    }
    Ok(())
}

fn stand_in_for_counts(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TEMP VIEW _needledrop_counts AS SELECT *, 0 AS older FROM main._needledrop_counts;",
    )
}
