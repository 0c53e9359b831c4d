//! Rows of the declared tables: written by stamp, read by key.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params, params_from_iter};

use super::merge::{self, Change, Row};
use super::schema::quoted;
use super::{Fault, Outcome, Shared, cell};
use crate::domain::{Cell, Delivery, Plan, Rows, Stamp, Table, Value};

/// The statements of one table.
pub struct TableSql {
    insert: String,
    select: String,
    update: String,
    /// Names of the columns behind the key.
    names: Vec<String>,
}

impl TableSql {
    pub fn new(plan: &Plan, table: &Table) -> Self {
        let all: Vec<String> = plan.columns_of(table).map(|column| quoted(&column.name)).collect();
        let (key, columns) = all.split_at(table.key_len());
        let name = quoted(&table.name);
        let marks =
            |from: usize, count: usize| (from..from + count).map(|n| format!("?{n}")).collect::<Vec<_>>();
        let pairs = |names: &[String], from: usize| {
            names
                .iter()
                .zip(marks(from, names.len()))
                .map(|(name, mark)| format!("{name} = {mark}"))
                .collect::<Vec<_>>()
        };
        let ours = ["_stamp", "_first", "_cells"].map(String::from);
        let set: Vec<String> = columns.iter().chain(&ours).cloned().collect();
        let is_key = pairs(key, 1).join(" AND ");
        Self {
            insert: format!(
                "INSERT INTO {name} ({}, _stamp) VALUES ({}) ON CONFLICT DO NOTHING",
                all.join(", "),
                marks(1, all.len() + 1).join(", "),
            ),
            select: format!("SELECT {} FROM {name} WHERE {is_key}", set.join(", ")),
            update: format!("UPDATE {name} SET {} WHERE {is_key}", pairs(&set, 1 + key.len()).join(", ")),
            names: plan.columns_of(table).skip(key.len()).map(|column| column.name.clone()).collect(),
        }
    }
}

/// Where a row fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// On a new key.
    New,
    /// On a key that an older record had made.
    OnOlder,
    /// On a key whose oldest record so far is newer: that one is the collision now.
    UnderNewer(Stamp),
    /// On itself: it was written before.
    Again,
}

/// Writes rows of one table.
pub struct Writer<'c> {
    table: &'c Table,
    sql: &'c TableSql,
    connection: &'c Connection,
    insert: CachedStatement<'c>,
}

impl<'c> Writer<'c> {
    pub fn new(shared: &'c Shared, connection: &'c Connection, index: usize) -> Result<Self, Fault> {
        let table = shared.plan.tables.get(index).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
        let sql = shared.sql.get(index).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
        let insert = connection.prepare_cached(&sql.insert)?;
        Ok(Self { table, sql, connection, insert })
    }

    /// The rows of a chunk in the order of their keys, so that each page of the tree is visited once.
    /// Rows of one key stay in the order of their records.
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

    /// Writes one row; an older stamp never overwrites a newer one, in any column.
    pub fn write(&mut self, rows: &Rows, row: usize) -> Outcome<Landed> {
        let mut position = 0;
        for column in self.table.all() {
            position += 1;
            bind(&mut self.insert, position, rows.cell(row, column), rows.arena_bytes())?;
        }
        self.insert.raw_bind_parameter(position + 1, rows.stamp(row).0)?;
        if self.insert.raw_execute()? == 1 {
            return Ok(Landed::New);
        }
        self.merge(rows, row)
    }

    fn merge(&self, rows: &Rows, row: usize) -> Outcome<Landed> {
        let key = self.key(rows, row);
        let mut select = self.connection.prepare_cached(&self.sql.select)?;
        let count = self.sql.names.len();
        let old = select.query_row(params_from_iter(&key), |found| stored_row(found, count))?;
        let values = self.table.columns.iter().map(|column| owned(rows, row, *column)).collect();
        let change = Change { values, stamp: rows.stamp(row) };
        let landed = landed(&old, change.stamp);
        let names: Vec<&str> = self.sql.names.iter().map(String::as_str).collect();
        let new = merge::merge(&old, change, &names, self.table.empty);
        if new != old {
            self.update(key, new)?;
        }
        Ok(landed)
    }

    fn update(&self, key: Vec<Sql>, row: Row) -> Outcome<()> {
        let first = if row.first == row.stamp { Sql::Null } else { Sql::Integer(row.first.0) };
        let cells = if row.cells.is_empty() {
            Sql::Null
        } else {
            Sql::Text(serde_json::json!(row.cells).to_string())
        };
        let ours = [Sql::Integer(row.stamp.0), first, cells];
        let values = key.into_iter().chain(row.values).chain(ours);
        self.connection.prepare_cached(&self.sql.update)?.execute(params_from_iter(values)).map(|_| ())
    }

    /// The key of a row, in the stored form.
    pub fn key(&self, rows: &Rows, row: usize) -> Vec<Sql> {
        self.table.key().map(|column| owned(rows, row, column)).collect()
    }

    /// Writes a row that may have been written before: between the oldest and the newest record of
    /// its key it is taken for itself.
    pub fn replay(&mut self, rows: &Rows, row: usize) -> Outcome<Landed> {
        let newest = self.newest(rows, row)?;
        let landed = self.write(rows, row)?;
        let is_new = newest.is_none_or(|newest| rows.stamp(row) > newest);
        Ok(if is_new { landed } else { Landed::Again })
    }

    fn newest(&self, rows: &Rows, row: usize) -> Outcome<Option<Stamp>> {
        let mut select = self.connection.prepare_cached(&self.sql.select)?;
        let count = self.sql.names.len();
        let key = self.key(rows, row);
        select.query_row(params_from_iter(key), |found| found.get(count).map(Stamp)).optional()
    }
}

fn landed(old: &Row, stamp: Stamp) -> Landed {
    if stamp == old.stamp || stamp == old.first {
        Landed::Again
    } else if stamp < old.first {
        Landed::UnderNewer(old.first)
    } else {
        Landed::OnOlder
    }
}

/// Text goes from the arena to SQLite without a copy or a second look at its encoding.
fn bind(statement: &mut CachedStatement<'_>, position: usize, cell: Cell, arena: &[u8]) -> Outcome<()> {
    match cell {
        Cell::Text(at) | Cell::Decimal(at) => {
            statement.raw_bind_parameter(position, ToSqlOutput::Borrowed(ValueRef::Text(at.of(arena))))
        }
        Cell::Whole(n) => statement.raw_bind_parameter(position, n),
        other => statement.raw_bind_parameter(position, cell::stored(&other.value(arena))),
    }
}

fn owned(rows: &Rows, row: usize, column: usize) -> Sql {
    match cell::stored(&rows.value(row, column)) {
        ToSqlOutput::Owned(value) => value,
        ToSqlOutput::Borrowed(value) => value.try_into().unwrap_or(Sql::Null),
        _ => Sql::Null,
    }
}

fn stored_row(found: &rusqlite::Row<'_>, count: usize) -> Outcome<Row> {
    let values = (0..count).map(|at| found.get(at)).collect::<Outcome<_>>()?;
    let stamp = Stamp(found.get(count)?);
    let first = found.get::<_, Option<i64>>(count + 1)?.map_or(stamp, Stamp);
    let cells: Option<String> = found.get(count + 2)?;
    let cells: BTreeMap<String, i64> =
        cells.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Row { values, stamp, first, cells })
}

/// The rows whose leading key columns have these values.
pub fn of(
    shared: &Shared,
    connection: &Connection,
    index: usize,
    key: &[Value<'static>],
) -> Result<Vec<Vec<Value<'static>>>, Fault> {
    let table = shared.plan.tables.get(index).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
    let columns: Vec<_> = shared.plan.columns_of(table).collect();
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let conditions: Vec<String> =
        names.iter().take(key.len()).enumerate().map(|(n, name)| format!("{name} = ?{}", n + 1)).collect();
    let filter = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
    // The primary key of a table without row ids is its order.
    let sql = format!(
        "SELECT {} FROM {} WHERE {filter} ORDER BY {}",
        names.join(", "),
        quoted(&table.name),
        order(table, &names)
    );
    let mut statement = connection.prepare(&sql)?;
    let stored: Vec<_> = key.iter().map(cell::stored).collect();
    let mut found = statement.query(params_from_iter(stored))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let values =
            columns.iter().enumerate().map(|(at, column)| cell::value(column.kind, row.get_ref(at)?));
        rows.push(values.collect::<Outcome<_>>()?);
    }
    Ok(rows)
}

fn order(table: &Table, names: &[String]) -> String {
    let partition = table.partition_key.len();
    let name = |at: usize| names.get(at).cloned().unwrap_or_default();
    let clustering = table.clustering_key.iter().enumerate().map(|(n, (_, order))| match order {
        crate::domain::Order::Ascending => name(partition + n),
        crate::domain::Order::Descending => format!("{} DESC", name(partition + n)),
    });
    (0..partition).map(name).chain(clustering).collect::<Vec<_>>().join(", ")
}

pub fn count(shared: &Shared, connection: &Connection, index: usize) -> Result<u64, Fault> {
    let table = shared.plan.tables.get(index).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
    let sql = format!("SELECT count(*) FROM {}", quoted(&table.name));
    Ok(connection.query_row(&sql, [], |row| row.get(0))?)
}

/// Remembers where the row of a provisional last record fell, so that it can be taken back.
pub fn remember(connection: &Connection, id: i64, table: &str, key: &[Sql], landed: Landed) -> Outcome<()> {
    let sql = "INSERT OR REPLACE INTO _needledrop_provisional VALUES (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare_cached(sql)?;
    if landed != Landed::New {
        return statement.execute(params![id, table, -1, Sql::Null]).map(|_| ());
    }
    for (position, value) in key.iter().enumerate() {
        statement.execute(params![id, table, position, value])?;
    }
    Ok(())
}

/// Takes back what a provisional last record did: its row, where no other record touched it, its
/// counts, its quarantine entry. What it overwrote in an older row is overwritten again by itself.
pub fn take_back(shared: &Shared, connection: &Connection, delivery: &Delivery) -> Result<(), Fault> {
    let Some((mark, _)) = &delivery.provisional else { return Ok(()) };
    let id = delivery.id.0;
    let stamp = delivery.stamps.of(mark.record).unwrap_or(Stamp(0));
    for table in &shared.plan.tables {
        let sql = "SELECT position, value FROM _needledrop_provisional WHERE delivery = ?1 AND table_name = ?2 ORDER BY 1";
        let remembered: Vec<(i64, Sql)> = connection
            .prepare_cached(sql)?
            .query_map(params![id, table.name], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Outcome<_>>()?;
        let Some((position, _)) = remembered.first() else { continue };
        let collided = *position < 0;
        if !collided && !shared.dry {
            delete(
                shared,
                connection,
                table,
                remembered.into_iter().map(|(_, value)| value).collect(),
                stamp,
            )?;
        }
        let sql = "UPDATE _needledrop_counts SET rows = rows - 1, collisions = collisions - ?3 \
                   WHERE delivery = ?1 AND table_name = ?2";
        connection.prepare_cached(sql)?.execute(params![id, table.name, collided])?;
    }
    connection.prepare_cached("DELETE FROM _needledrop_provisional WHERE delivery = ?1")?.execute([id])?;
    let sql = "DELETE FROM _needledrop_quarantine WHERE delivery = ?1 AND record = ?2";
    connection.prepare_cached(sql)?.execute(params![id, mark.record])?;
    Ok(())
}

fn delete(
    shared: &Shared,
    connection: &Connection,
    table: &Table,
    key: Vec<Sql>,
    stamp: Stamp,
) -> Outcome<()> {
    let names = shared.plan.columns_of(table).take(key.len());
    let is_key: Vec<String> =
        names.enumerate().map(|(n, column)| format!("{} = ?{}", quoted(&column.name), n + 1)).collect();
    let sql = format!(
        "DELETE FROM {} WHERE {} AND _stamp = ?{} AND _first IS NULL",
        quoted(&table.name),
        is_key.join(" AND "),
        key.len() + 1
    );
    connection.execute(&sql, params_from_iter(key.into_iter().chain([Sql::Integer(stamp.0)]))).map(|_| ())
}
