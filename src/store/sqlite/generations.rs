//! Ends earlier generations of a path when a new generation begins. A path may have thousands of generations, so
//! indexes lead directly to the generations that have to end.

use rusqlite::{Connection, params};

use crate::store;
use crate::store::sqlite::delivery_row::now_ms;
use crate::store::sqlite::fault::SqlResult;

const NEWEST: &str = "SELECT coalesce(max(generation), 0) FROM _needledrop_deliveries WHERE path = ?1";

const REPLACE: &str = "UPDATE _needledrop_deliveries SET state = 'replaced', changed = ?2, detail = \
    'its bytes went away after byte ' || bytes || '; generation ' || ?3 || ' took its place' \
    WHERE path = ?1 AND state IN ('loading', 'incomplete', 'waiting')";

const DISCARD_ENTRIES: &str = "UPDATE _needledrop_quarantine SET state = 'discarded' \
    WHERE state = 'open' AND delivery IN (SELECT id FROM _needledrop_deliveries \
    WHERE path = ?1 AND state = 'failed' AND discarded < quarantined)";

const DISCARD: &str = "UPDATE _needledrop_deliveries SET discarded = quarantined, changed = ?2, \
    detail = detail || char(10) || ?3 WHERE path = ?1 AND state = 'failed' AND discarded < quarantined";

/// Returns the newest generation of a path, or 0 if the path has none.
pub fn newest(connection: &Connection, path: &str) -> SqlResult<u32> {
    connection.prepare_cached(NEWEST)?.query_row([path], |row| row.get(0))
}

/// Marks unfinished generations of the path as replaced by this generation.
pub fn replace(connection: &Connection, path: &str, generation: u32) -> SqlResult<()> {
    connection.prepare_cached(REPLACE)?.execute(params![path, now_ms(), generation]).map(|_| ())
}

/// Discards the open quarantined records of failed generations, because this generation reads those records again.
pub fn discard_failed(connection: &Connection, path: &str, generation: u32) -> SqlResult<()> {
    connection.prepare_cached(DISCARD_ENTRIES)?.execute([path])?;
    let note = store::read_again(generation);
    connection.prepare_cached(DISCARD)?.execute(params![path, now_ms(), note]).map(|_| ())
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
    fn steps(connection: &Connection) -> [i32; 4] {
        let values: [&dyn ToSql; 3] = [&"a", &1, &"note"];
        [NEWEST, REPLACE, DISCARD_ENTRIES, DISCARD].map(|sql| {
            let mut statement = connection.prepare(sql).unwrap();
            let values = &values[..statement.parameter_count()];
            let mut rows = statement.query(values).unwrap();
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
