//! Ends earlier generations of a file when a new generation begins. A file may have thousands of generations, so
//! indexes lead directly to the generations that have to end.

use rusqlite::Connection;

use crate::domain::ledger::NewDelivery;
use crate::domain::{DeliveryId, FileKey};
use crate::store::sqlite::entry;
use crate::store::sqlite::fault::{Fault, SqlResult};

const NEWEST: &str = "SELECT coalesce(max(generation), 0) FROM _needledrop_deliveries WHERE path = ?1";

/// The generations that may have to end: unfinished generations, and failed generations with open records.
const UNSETTLED: &str = "SELECT id FROM _needledrop_deliveries \
    WHERE path = ?1 AND state IN ('loading', 'incomplete', 'waiting') UNION ALL \
    SELECT id FROM _needledrop_deliveries WHERE path = ?1 AND state = 'failed' AND discarded < quarantined";

const DISCARD_ENTRIES: &str =
    "UPDATE _needledrop_quarantine SET state = 'discarded' WHERE delivery = ?1 AND state = 'open'";

/// Returns the newest generation of a file, or 0 if the file has none.
pub fn newest(connection: &Connection, file: &FileKey) -> SqlResult<u32> {
    connection.prepare_cached(NEWEST)?.query_row([file], |row| row.get(0))
}

/// Settles the earlier generations of a file, because `next` follows them as this generation. Returns how many open
/// records were discarded.
pub fn settle(connection: &Connection, next: &NewDelivery, generation: u32) -> Result<u64, Fault> {
    let ids: SqlResult<Vec<i64>> =
        connection.prepare_cached(UNSETTLED)?.query_map([&next.file], |row| row.get(0))?.collect();
    let mut discarded = 0;
    for id in ids?.into_iter().map(DeliveryId) {
        if !entry::by_id(connection, id)?.is_unsettled(next) {
            continue;
        }
        let (_, of_this) = entry::change(connection, id, |earlier| Ok(earlier.supersede(next, generation)))?;
        if of_this > 0 {
            discard_entries(connection, id)?;
        }
        discarded += of_this;
    }
    Ok(discarded)
}

/// Discards the open entries of a delivery in quarantine. Its receipt must count them as discarded.
pub fn discard_entries(connection: &Connection, id: DeliveryId) -> SqlResult<()> {
    connection.prepare_cached(DISCARD_ENTRIES)?.execute([id.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::{StatementStatus, ToSql};

    use super::*;
    use crate::store::sqlite::schema;

    /// Returns a ledger with this number of generations of one path. All are loaded except one incomplete and one
    /// failed generation.
    fn ledger(generations: i64) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema::LEDGER).unwrap();
        connection.execute_batch(schema::INDEXES).unwrap();
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {generations})
             INSERT INTO _needledrop_deliveries (path, generation, state, detail, bytes, records, line, hash, head,
               noted_size, noted_mtime, noted_ctime, fingerprint, attempt, loaded, skipped, quarantined, taken_up,
               changed)
             SELECT 'a', i, CASE i WHEN 3 THEN 'incomplete' WHEN 5 THEN 'failed' ELSE 'loaded' END, '', 1, 1, 1, '',
               '', 1, 1, 1, '', '', 1, 0, i = 5, 1, 1 FROM n;
             INSERT INTO _needledrop_quarantine VALUES (5, 1, 1, 1, 1, NULL, 'value', '', x'00', 'open');"
        );
        connection.execute_batch(&fill).unwrap();
        connection
    }

    /// Returns the number of virtual machine steps that SQLite takes for each statement of a new generation.
    fn steps(connection: &Connection) -> [i32; 3] {
        let values: [(&str, &dyn ToSql); 3] = [(NEWEST, &"a"), (UNSETTLED, &"a"), (DISCARD_ENTRIES, &5)];
        values.map(|(sql, value)| {
            let mut statement = connection.prepare(sql).unwrap();
            let mut rows = statement.query([value]).unwrap();
            while rows.next().unwrap().is_some() {}
            drop(rows);
            statement.get_status(StatementStatus::VmStep)
        })
    }

    #[test]
    fn a_new_generation_costs_the_same_after_few_and_after_many() {
        let (few, many) = (steps(&ledger(10)), steps(&ledger(10_000)));
        assert_eq!(few, many);
    }
}
