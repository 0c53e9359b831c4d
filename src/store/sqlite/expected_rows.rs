//! The rows that the kept files give by law 2, collected in an SQLite file by the writer that loads rows. The tables of any store
//! are compared with them.

use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, InterruptHandle, OptionalExtension, Row, params_from_iter};

use crate::domain::verify::{Comparison, WrongRow};
use crate::domain::{RowChunk, Sample, Schema, Stamp, StampsAhead, Table, TableRow, Type, Value};
use crate::store::StoreError;
use crate::store::sqlite::cell;
use crate::store::sqlite::connection_thread::ConnectionThread;
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::rows::Writer;
use crate::store::sqlite::sampled;
use crate::store::sqlite::schema::quoted;
pub use crate::store::sqlite::scratch::KeyEquality;
use crate::store::sqlite::scratch::Scratch;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::table_sql::TableSql;

/// The expected rows of the declared tables.
pub struct ExpectedRows {
    thread: ConnectionThread,
    shared: Arc<Shared>,
    /// The partitions whose rows are collected. `None` means all.
    sample: Option<Sample>,
    interrupt: InterruptHandle,
}

impl ExpectedRows {
    /// Creates the file at this path. It is removed at the end.
    ///
    /// # Errors
    /// Returns an error if the file cannot be created.
    pub fn create(path: PathBuf, declared: Arc<Schema>, keys: KeyEquality) -> Result<Self, StoreError> {
        let name = path.display().to_string();
        let failed = |fault: Fault| fault.in_store(&name);
        let scratch = Scratch::create(&path, &declared, keys).map_err(|error| failed(error.into()))?;
        for table in &declared.tables {
            let sql = format!("ALTER TABLE {} ADD COLUMN _seen INTEGER", quoted(&table.name));
            scratch.connection.execute_batch(&sql).map_err(|error| failed(error.into()))?;
        }
        let sql = declared.tables.iter().map(|table| TableSql::new(&declared, table)).collect();
        let shared = Shared {
            path,
            declared,
            sql,
            schema: AtomicI64::default(),
            stamps_ahead: StampsAhead::Wait,
            refusals: Mutex::default(),
            place: None,
        };
        let Scratch { connection } = scratch;
        let interrupt = connection.get_interrupt_handle();
        let thread =
            ConnectionThread::of(connection, "sqlite-expected").map_err(|error| StoreError::System {
                store: name.clone(),
                what: format!("cannot start a thread: {error}"),
                next: "raise the limit on the number of processes of this user".to_owned(),
            })?;
        Ok(Self { thread, shared: Arc::new(shared), sample: None, interrupt })
    }

    /// Collects only the rows of the partitions in the sample.
    #[must_use]
    pub fn sampling(mut self, sample: Option<Sample>) -> Self {
        self.sample = sample;
        self
    }

    /// Returns those rows of a table whose partitions are in the sample.
    pub fn sampled(&self, table: usize, mut rows: Vec<TableRow>) -> Vec<TableRow> {
        if let (Some(sample), Some(table)) = (&self.sample, self.shared.declared.tables.get(table)) {
            rows.retain(|row| {
                sampled::has(sample, row.iter().take(table.partition_key.len()).map(cell::owned))
            });
        }
        rows
    }

    /// Adds the rows of a chunk to the tables of its plan.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written to.
    pub async fn add(&self, chunk: Arc<RowChunk>) -> Result<(), StoreError> {
        let sample = self.sample.clone();
        self.run(move |shared, connection| {
            let transaction = connection.transaction()?;
            for table in &chunk.source.plan.tables {
                let mut writer = Writer::new(shared, &transaction, table)?;
                for row in writer.order(&chunk.rows) {
                    if is_sampled(sample.as_ref(), table, || writer.key(&chunk.rows, row)) {
                        writer.write(&chunk.rows, row)?;
                    }
                }
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Compares rows of a table, and notes that they were seen. Returns those that are not as expected.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn compare(
        &self,
        table: usize,
        rows: Vec<TableRow>,
        how: Comparison,
    ) -> Result<Vec<WrongRow>, StoreError> {
        self.run(move |shared, connection| {
            let transaction = connection.transaction()?;
            let wrong = self::compare(shared, &transaction, (table, rows), &how)?;
            transaction.commit()?;
            Ok(wrong)
        })
        .await
    }

    /// Returns the number of expected rows that were not seen, and the first `most` of them.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn missing(&self, table: usize, most: usize) -> Result<(u64, Vec<WrongRow>), StoreError> {
        self.run(move |shared, connection| Ok(missing(shared, connection, table, most)?)).await
    }

    /// Runs `work` on the thread of the file.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = self.thread.run(move |connection| work(&shared, connection)).await;
        let panicked = || Err(Fault::Broken("its thread panicked".to_owned()));
        done.unwrap_or_else(panicked).map_err(|fault| fault.in_store(&self.shared.name()))
    }
}

/// The work under way ends early, so that dropping the rows does not wait for a long query.
impl Drop for ExpectedRows {
    fn drop(&mut self) {
        self.interrupt.interrupt();
    }
}

fn is_sampled(sample: Option<&Sample>, table: &Table, key: impl FnOnce() -> Vec<Sql>) -> bool {
    sample.is_none_or(|sample| sampled::has(sample, key().into_iter().take(table.partition_key.len())))
}

/// The statements for one table.
struct ExpectedTable<'s> {
    table: &'s Table,
    kinds: Vec<Type>,
    columns: String,
    is_key: String,
    /// The stamp of the newest record of a row, or of the one that gives it in a table with `newest_by`.
    stamp: String,
}

impl<'s> ExpectedTable<'s> {
    fn of(shared: &'s Shared, index: usize) -> Option<Self> {
        let table = shared.declared.tables.get(index)?;
        let columns: Vec<_> = shared.declared.columns_of(table).collect();
        let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
        let is_key = names.iter().take(table.key_len()).zip(1..).map(|(name, n)| format!("{name} = ?{n}"));
        let (is_key, kinds) =
            (is_key.collect::<Vec<_>>().join(" AND "), columns.iter().map(|column| column.kind).collect());
        let newest_by = table.newest_at().and_then(|at| columns.get(table.key_len() + at));
        let stamp = newest_by.map_or_else(|| "_stamp".to_owned(), |column| stamp_of(&column.name));
        Some(Self { table, kinds, columns: names.join(", "), is_key, stamp })
    }

    /// Reads a row and the stamp after it.
    fn row(&self, row: &Row<'_>) -> SqlResult<(TableRow, Stamp)> {
        let values = self.kinds.iter().enumerate();
        let values =
            values.map(|(at, kind)| cell::value(*kind, row.get_ref(at)?)).collect::<SqlResult<_>>()?;
        Ok((values, Stamp(row.get(self.kinds.len())?)))
    }
}

/// Returns the stamp of a cell as SQL.
fn stamp_of(column: &str) -> String {
    let column = column.replace('\'', "''");
    format!("coalesce((SELECT c.value FROM json_each(_cells) AS c WHERE c.key = '{column}'), _stamp)")
}

fn compare(
    shared: &Shared,
    connection: &Connection,
    (index, rows): (usize, Vec<TableRow>),
    how: &Comparison,
) -> SqlResult<Vec<WrongRow>> {
    let Some(select) = ExpectedTable::of(shared, index) else { return Ok(Vec::new()) };
    let (name, ExpectedTable { columns, is_key, stamp, .. }) = (quoted(&select.table.name), &select);
    let sql = format!("UPDATE {name} SET _seen = 1 WHERE {is_key} RETURNING {columns}, {stamp}");
    let mut see = connection.prepare_cached(&sql)?;
    let (mut wrong, key_len) = (Vec::new(), select.table.key_len());
    for found in rows {
        let key = found.iter().take(key_len).map(cell::owned);
        let expected = see.query_row(params_from_iter(key), |row| select.row(row)).optional()?;
        let is_same = expected.as_ref().is_some_and(|(expected, _)| is_same(expected, &found, key_len, how));
        if !is_same {
            let stamp = expected.as_ref().map(|(_, stamp)| *stamp);
            wrong.push(WrongRow { expected: expected.map(|(row, _)| row), found: Some(found), stamp });
        }
    }
    Ok(wrong)
}

/// Whether two rows with the same key have the same values.
fn is_same(expected: &TableRow, found: &TableRow, key_len: usize, how: &Comparison) -> bool {
    let mut cells = expected.iter().zip(found).enumerate().skip(key_len);
    cells.all(|(at, (expected, found))| {
        let may_differ = how.left_out.contains(&at) || (how.expires && *found == Value::Empty);
        may_differ || cell::owned(expected) == cell::owned(found)
    })
}

fn missing(
    shared: &Shared,
    connection: &Connection,
    index: usize,
    most: usize,
) -> SqlResult<(u64, Vec<WrongRow>)> {
    let Some(select) = ExpectedTable::of(shared, index) else { return Ok((0, Vec::new())) };
    let name = quoted(&select.table.name);
    let count = format!("SELECT count(*) FROM {name} WHERE _seen IS NULL");
    let count = connection.query_row(&count, [], |row| row.get(0))?;
    let ExpectedTable { columns, stamp, .. } = &select;
    let sql = format!("SELECT {columns}, {stamp} FROM {name} WHERE _seen IS NULL LIMIT {most}");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let (expected, stamp) = select.row(row)?;
        Ok(WrongRow { expected: Some(expected), found: None, stamp: Some(stamp) })
    })?;
    Ok((count, rows.collect::<SqlResult<_>>()?))
}
