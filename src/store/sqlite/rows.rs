//! Writes rows of the declared tables by stamp.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, params_from_iter};

use super::cell;
use crate::domain::{Cell, Empty, Recency, Rows, Stamp, Table, Value};
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::merge;
use crate::store::sqlite::merge::{Change, Gives, Row};
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::table_sql::{NewestBy, TableSql};

/// What became of a row that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed {
    pub on: Found,
    /// Whether its key has a newer record by `newest_by`. The row was then left as it was.
    pub is_older: bool,
}

/// What a written row found under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The key was new.
    New,
    /// An older record had written the key.
    OnOlder,
    /// All records of the key were newer. The oldest of them, with this stamp, now counts as a collision.
    UnderNewer(Stamp),
    /// The same record had been written before.
    Again,
}

/// Writes rows to one table.
pub struct Writer<'c> {
    table: &'c Table,
    sql: &'c TableSql,
    connection: &'c Connection,
    insert: CachedStatement<'c>,
}

impl<'c> Writer<'c> {
    /// Creates a writer for a table as the plan of the rows declares it.
    pub fn new(shared: &'c Shared, connection: &'c Connection, table: &'c Table) -> Result<Self, Fault> {
        let sql = shared.sql_of(table).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
        let insert = connection.prepare_cached(&sql.insert).map_err(|error| cannot_write(table, error))?;
        Ok(Self { table, sql, connection, insert })
    }

    /// Returns the indexes of the rows in key order, so that each page of the B-tree is visited once. Rows with the
    /// same key stay in the order of their records.
    pub fn order(&self, rows: &Rows) -> Vec<usize> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|a, b| self.compare(rows, *a, *b));
        order
    }

    fn compare(&self, rows: &Rows, a: usize, b: usize) -> Ordering {
        let arena = rows.arena_bytes();
        let mut columns =
            self.table.key().map(|column| rows.cell(a, column).near(rows.cell(b, column), arena));
        columns.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Writes one row. An older stamp never overwrites a newer stamp, in any column.
    pub fn write(&mut self, rows: &Rows, row: usize) -> SqlResult<Landed> {
        let mut position = 0;
        for column in self.table.all() {
            position += 1;
            bind(&mut self.insert, position, rows.cell(row, column), rows.arena_bytes())?;
        }
        self.insert.raw_bind_parameter(position + 1, rows.stamp(row).0)?;
        if self.insert.raw_execute()? == 1 {
            return Ok(Landed { on: Found::New, is_older: false });
        }
        self.merge(rows, row)
    }

    fn merge(&self, rows: &Rows, row: usize) -> SqlResult<Landed> {
        let key = self.key(rows, row);
        let old = self.row(&key)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let change = self.change(rows, row);
        let (on, names) = (found(&old, change.stamp), self.names());
        let gives = self.gives(&old, rows, row)?;
        let new = merge::merge(&old, change, gives, &names, self.table.empty);
        if new != old {
            self.update(key, new)?;
        }
        Ok(Landed { on, is_older: gives == Gives::Nothing })
    }

    /// Returns what a record gives to a row that is there.
    fn gives(&self, old: &Row, rows: &Rows, row: usize) -> SqlResult<Gives> {
        let (Some(column), Some(NewestBy { at, kind })) = (self.table.newest_by, &self.sql.newest_by) else {
            return Ok(Gives::Cells);
        };
        let value = old.values.get(*at).map(|value| cell::value(*kind, value.into())).transpose()?;
        let name = self.sql.names.get(*at).map_or("", String::as_str);
        let stamp = old.stamp_of(*at, name, self.table.empty);
        let old = Recency { value: value.unwrap_or(Value::Empty), stamp: stamp.unwrap_or(old.stamp) };
        let new = Recency { value: rows.value(row, column), stamp: rows.stamp(row) };
        Ok(if new.is_older_than(&old) { Gives::Nothing } else { Gives::Row })
    }

    fn change(&self, rows: &Rows, row: usize) -> Change {
        let values = self.table.columns.iter().map(|column| owned(rows, row, *column)).collect();
        Change { values, stamp: rows.stamp(row) }
    }

    /// Returns the names of the columns after the key.
    pub fn names(&self) -> Vec<&'c str> {
        self.sql.names.iter().map(String::as_str).collect()
    }

    /// Returns the row with this key.
    pub fn row(&self, key: &[Sql]) -> SqlResult<Option<Row>> {
        let count = self.sql.names.len();
        let mut select = self.connection.prepare_cached(&self.sql.select)?;
        select.query_row(params_from_iter(key), |found| stored_row(found, 0..count)).optional()
    }

    /// Replaces the row with this key.
    pub fn update(&self, key: Vec<Sql>, row: Row) -> SqlResult<()> {
        let first = if row.first == row.stamp { Sql::Null } else { Sql::Integer(row.first.0) };
        let cells = if row.cells.is_empty() {
            Sql::Null
        } else {
            Sql::Text(serde_json::json!(row.cells).to_string())
        };
        let ours = [Sql::Integer(row.stamp.0), first, cells];
        let values = key.into_iter().chain(row.values).chain(ours);
        let changed = self.connection.prepare_cached(&self.sql.update)?.execute(params_from_iter(values))?;
        if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
    }

    /// Writes a row with its stamps, whether it is there or not.
    pub fn put(&self, key: Vec<Sql>, row: Row, is_there: bool) -> SqlResult<()> {
        if !is_there {
            let stamp = Sql::Integer(row.stamp.0);
            let values = key.iter().chain(&row.values).chain([&stamp]);
            self.connection.prepare_cached(&self.sql.insert)?.execute(params_from_iter(values))?;
        }
        self.update(key, row)
    }

    /// Returns what an empty column does to an older value.
    pub fn empty(&self) -> Empty {
        self.table.empty
    }

    /// Deletes the row with this key.
    pub fn delete(&self, key: &[Sql]) -> SqlResult<()> {
        let deleted = self.connection.prepare_cached(&self.sql.delete)?.execute(params_from_iter(key))?;
        if deleted == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(deleted)) }
    }

    /// Returns the key of a row in its stored form.
    pub fn key(&self, rows: &Rows, row: usize) -> Vec<Sql> {
        self.table.key().map(|column| owned(rows, row, column)).collect()
    }
}

/// Converts an error from preparing a statement. The cause is a problem of the whole table, because the error affects
/// every statement on that table.
fn cannot_write(table: &Table, error: rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::Unknown) => Fault::Shape {
            what: format!("table {} cannot be written to: {error}", table.name),
            next: "repair the table, its triggers or its indexes, then start needledrop again",
        },
        _ => error.into(),
    }
}

fn found(old: &Row, stamp: Stamp) -> Found {
    if stamp == old.stamp || stamp == old.first {
        Found::Again
    } else if stamp < old.first {
        Found::UnderNewer(old.first)
    } else {
        Found::OnOlder
    }
}

/// Binds a cell to a parameter. Text is passed from the arena to SQLite without a copy and without another check of its
/// encoding.
fn bind(statement: &mut CachedStatement<'_>, position: usize, cell: Cell, arena: &[u8]) -> SqlResult<()> {
    match cell {
        Cell::Text(at) | Cell::Decimal(at) => {
            statement.raw_bind_parameter(position, ToSqlOutput::Borrowed(ValueRef::Text(at.of(arena))))
        }
        Cell::Whole(n) => statement.raw_bind_parameter(position, n),
        other => statement.raw_bind_parameter(position, cell::stored(&other.value(arena))),
    }
}

fn owned(rows: &Rows, row: usize, column: usize) -> Sql {
    cell::owned(&rows.value(row, column))
}

/// Reads a row whose values are in these columns. Its stamps follow them.
pub fn stored_row(found: &rusqlite::Row<'_>, columns: Range<usize>) -> SqlResult<Row> {
    let count = columns.end;
    let values = columns.map(|at| found.get(at)).collect::<SqlResult<_>>()?;
    let stamp = Stamp(found.get(count)?);
    let first = found.get::<_, Option<i64>>(count + 1)?.map_or(stamp, Stamp);
    let cells: Option<String> = found.get(count + 2)?;
    let cells: BTreeMap<String, i64> =
        cells.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Row { values, stamp, first, cells })
}
