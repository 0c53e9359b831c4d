//! The rows that all other deliveries give for the keys that an undo shares with them. They are in an SQLite file of their
//! own, beside the store, so that memory stays bounded.

use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension, Transaction, params_from_iter};

use crate::domain::{RowChunk, Stamp, Table};
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::merge::Row;
use crate::store::sqlite::paths::beside;
use crate::store::sqlite::rows::Writer;
use crate::store::sqlite::scratch;
use crate::store::sqlite::scratch::Scratch;
use crate::store::sqlite::shared::Shared;

/// The number of keys in a page.
const PAGE: usize = 1000;

/// The expected rows of shared keys.
pub struct Expected {
    scratch: Scratch,
}

impl Expected {
    /// Creates the file, with a table of shared keys for each declared table.
    pub fn create(shared: &Shared) -> SqlResult<Self> {
        let path = beside(&shared.path, &format!("-undo-{}", std::process::id()));
        let scratch = Scratch::create(&path, &shared.declared, scratch::KeyEquality::Stored)?;
        for (index, table) in shared.declared.tables.iter().enumerate() {
            let columns: Vec<String> = (0..table.key_len()).map(|at| format!("k{at}")).collect();
            let columns = columns.join(", ");
            scratch.connection.execute_batch(&format!(
                "CREATE TABLE _keys{index} (n INTEGER PRIMARY KEY, floor INTEGER NOT NULL, {columns}, UNIQUE ({columns}))"
            ))?;
        }
        Ok(Self { scratch })
    }

    /// Begins to add keys of a table.
    pub fn begin_keys(&self, table: usize, fields: usize) -> SqlResult<AddKeys<'_>> {
        let marks: Vec<String> = (2..=fields + 1).map(|at| format!("?{at}")).collect();
        let insert = format!("INSERT INTO _keys{table} VALUES (NULL, ?1, {})", marks.join(", "));
        Ok(AddKeys { transaction: self.scratch.connection.unchecked_transaction()?, insert })
    }

    /// Returns the keys of a table that follow number `after`, with the number of the last of them.
    pub fn keys(&self, (table, fields): (usize, usize), after: i64) -> SqlResult<(Vec<Vec<Sql>>, i64)> {
        let columns: String = (0..fields).map(|at| format!("k{at}, ")).collect();
        let sql = format!("SELECT {columns}n FROM _keys{table} WHERE n > ?1 ORDER BY n LIMIT {PAGE}");
        let (mut statement, mut last) = (self.scratch.connection.prepare_cached(&sql)?, after);
        let keys = statement.query_map([after], |row| {
            last = row.get(fields)?;
            key(row, fields)
        })?;
        let keys = keys.collect::<SqlResult<_>>()?;
        Ok((keys, last))
    }

    /// Writes the rows of a chunk whose keys are shared. `table` is as the plan of the chunk declares it.
    pub fn add(&self, shared: &Shared, table: &Table, chunk: &RowChunk) -> Result<(), Fault> {
        let Some((index, _)) = shared.declared.table(&table.name) else { return Ok(()) };
        let transaction = self.scratch.connection.unchecked_transaction()?;
        let mut writer = Writer::new(shared, &self.scratch.connection, table)?;
        let is_key: Vec<String> = (0..table.key_len()).map(|at| format!("k{at} = ?{}", at + 1)).collect();
        let sql = format!("SELECT floor FROM _keys{index} WHERE {}", is_key.join(" AND "));
        let mut floor = self.scratch.connection.prepare_cached(&sql)?;
        for row in 0..chunk.rows.len() {
            let key = params_from_iter(writer.key(&chunk.rows, row));
            let floor: Option<i64> = floor.query_row(key, |found| found.get(0)).optional()?;
            if floor.is_some_and(|floor| chunk.rows.stamp(row) >= Stamp(floor)) {
                writer.write(&chunk.rows, row)?;
            }
        }
        drop((floor, writer));
        Ok(transaction.commit()?)
    }

    /// Returns the expected row with this key.
    pub fn row(&self, shared: &Shared, table: &Table, key: &[Sql]) -> Result<Option<Row>, Fault> {
        Ok(Writer::new(shared, &self.scratch.connection, table)?.row(key)?)
    }
}

/// Returns the key in the first columns of a row.
pub fn key(row: &rusqlite::Row<'_>, fields: usize) -> SqlResult<Vec<Sql>> {
    (0..fields).map(|at| row.get(at)).collect()
}

/// Adds keys of one table.
pub struct AddKeys<'c> {
    transaction: Transaction<'c>,
    insert: String,
}

impl AddKeys<'_> {
    /// Adds a key. Records with stamps below `floor` are not expected: the row had been deleted by then.
    pub fn add(&self, key: &[Sql], floor: Stamp) -> SqlResult<()> {
        let floor = Sql::Integer(floor.0);
        let values = std::iter::once(&floor).chain(key);
        self.transaction.prepare_cached(&self.insert)?.execute(params_from_iter(values))?;
        Ok(())
    }

    pub fn end(self) -> SqlResult<()> {
        self.transaction.commit()
    }
}
