//! Looks up expected rows by their keys, and keeps only those of wanted keys.

use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use crate::domain::correction::{ExpectedRow, KeyedRow};
use crate::domain::{RowChunk, Table, TableRow, Type};
use crate::store::StoreError;
use crate::store::sqlite::cell;
use crate::store::sqlite::expected_rows::ExpectedRows;
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::rows::{Writer, stored_row};
use crate::store::sqlite::schema::quoted;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::stamped_row::{expected_row, stamped_row};

/// The number of keys in a page.
const PAGE: usize = 1000;

/// Which rows of a chunk are wanted: for each table of its plan, a flag for each row.
pub type Wanted = Vec<Vec<bool>>;

impl ExpectedRows {
    /// Returns which rows of a chunk have a key that is here.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn wanted(&self, chunk: Arc<RowChunk>) -> Result<Wanted, StoreError> {
        self.run(move |shared, connection| {
            let tables = chunk.source.plan.tables.iter();
            tables.map(|table| has_keys(shared, connection, table, &chunk)).collect()
        })
        .await
    }

    /// Adds the wanted rows of a chunk to the tables of its plan.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written to.
    pub async fn add_wanted(&self, chunk: Arc<RowChunk>, wanted: Wanted) -> Result<(), StoreError> {
        self.run(move |shared, connection| {
            let transaction = connection.transaction()?;
            for (table, wanted) in chunk.source.plan.tables.iter().zip(&wanted) {
                let mut writer = Writer::new(shared, &transaction, table)?;
                for (row, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
                    writer.write(&chunk.rows, row)?;
                }
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Adds rows, except those whose keys are here already.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written to.
    pub async fn put(&self, table: usize, rows: Vec<KeyedRow>) -> Result<(), StoreError> {
        self.run(move |shared, connection| {
            let Some(of) = KeyedTable::of(shared, table) else { return Ok(()) };
            let transaction = connection.transaction()?;
            let writer = Writer::new(shared, &transaction, of.table)?;
            for KeyedRow { key, row } in &rows {
                let key: Vec<Sql> = key.iter().map(cell::owned).collect();
                if writer.row(&key)?.is_none() {
                    writer.put(key, stamped_row(&writer, row), false)?;
                }
            }
            drop(writer);
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Returns the rows whose keys follow `after`, in key order: one page. The last page is empty.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn page(&self, table: usize, after: Option<TableRow>) -> Result<Vec<KeyedRow>, StoreError> {
        self.paged(table, after, None).await
    }

    async fn paged(
        &self,
        table: usize,
        after: Option<TableRow>,
        which: Option<&'static str>,
    ) -> Result<Vec<KeyedRow>, StoreError> {
        self.run(move |shared, connection| {
            let Some(of) = KeyedTable::of(shared, table) else { return Ok(Vec::new()) };
            Ok(of.rows(shared, connection, after.as_ref(), which)?)
        })
        .await
    }

    /// Returns the rows that were not seen in a comparison and whose keys follow `after`, in key order: one page. The last
    /// page is empty.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn unseen(&self, table: usize, after: Option<TableRow>) -> Result<Vec<KeyedRow>, StoreError> {
        self.paged(table, after, Some("_seen IS NULL")).await
    }

    /// Returns the rows with these keys.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn rows_of(
        &self,
        table: usize,
        keys: Vec<TableRow>,
    ) -> Result<Vec<Option<ExpectedRow>>, StoreError> {
        self.run(move |shared, connection| {
            let Some(of) = KeyedTable::of(shared, table) else { return Ok(Vec::new()) };
            let writer = Writer::new(shared, connection, of.table)?;
            let find = |key: &TableRow| {
                let key: Vec<Sql> = key.iter().map(cell::owned).collect();
                Ok(writer
                    .row(&key)?
                    .map(|row| expected_row(&row, (of.table, &shared.declared)))
                    .transpose()?)
            };
            keys.iter().map(find).collect()
        })
        .await
    }
}

fn has_keys(
    shared: &Shared,
    connection: &Connection,
    table: &Table,
    chunk: &RowChunk,
) -> Result<Vec<bool>, Fault> {
    let writer = Writer::new(shared, connection, table)?;
    let rows = 0..chunk.rows.len();
    rows.map(|row| Ok(writer.row(&writer.key(&chunk.rows, row))?.is_some())).collect()
}

/// A declared table and the types of its columns.
struct KeyedTable<'s> {
    table: &'s Table,
    kinds: Vec<Type>,
    /// The names of all columns, key first, and those of the key.
    all: Vec<String>,
    key: Vec<String>,
}

impl<'s> KeyedTable<'s> {
    fn of(shared: &'s Shared, index: usize) -> Option<Self> {
        let table = shared.declared.tables.get(index)?;
        let columns: Vec<_> = shared.declared.columns_of(table).collect();
        let all: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
        let key = all.iter().take(table.key_len()).cloned().collect();
        Some(Self { table, kinds: columns.iter().map(|column| column.kind).collect(), all, key })
    }

    fn rows(
        &self,
        shared: &Shared,
        connection: &Connection,
        after: Option<&TableRow>,
        which: Option<&str>,
    ) -> SqlResult<Vec<KeyedRow>> {
        let key = self.key.join(", ");
        let marks: Vec<String> = (1..=self.key.len()).map(|n| format!("?{n}")).collect();
        let follows = after.map(|_| format!("({key}) > ({})", marks.join(", ")));
        let (name, which) = (quoted(&self.table.name), which.map(str::to_owned));
        let conditions: Vec<String> = ["1".to_owned()].into_iter().chain(follows).chain(which).collect();
        let (all, conditions) = (self.all.join(", "), conditions.join(" AND "));
        let sql = format!(
            "SELECT {all}, _stamp, _first, _cells FROM {name} WHERE {conditions} ORDER BY {key} LIMIT {PAGE}"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let after = after.into_iter().flatten().map(cell::owned);
        let rows = statement.query_map(params_from_iter(after), |row| {
            let key = self.kinds.iter().enumerate().take(self.key.len());
            let key = key.map(|(at, kind)| cell::value(*kind, row.get_ref(at)?)).collect::<SqlResult<_>>()?;
            let stored = stored_row(row, self.key.len()..self.all.len())?;
            Ok(KeyedRow { key, row: expected_row(&stored, (self.table, &shared.declared))? })
        })?;
        rows.collect()
    }
}
