//! Reads rows of the declared tables by key, a page at a time.

use rusqlite::{Connection, Row, params_from_iter};

use crate::domain::correction::KeyedRow;
use crate::domain::ledger::Page;
use crate::domain::paging::{PAGE_BYTES, Paging};
use crate::domain::table_row::{PAGE, row_bytes};
use crate::domain::{Order, RowCursor, Stamps, Table, TableRow, Type, Value};
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::row_cursor::{self, KeyValue};
use crate::store::sqlite::schema::{self, Difference, quoted};
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::{cell, rows, stamped_row};

/// The number of rows that are looked at for a page of those with some stamps.
const SCANNED: usize = 20_000;

/// The number of such rows that a page has at most.
const FOUND: u64 = 1000;

/// Returns a page of the rows whose leading key columns have these values, in key order.
pub fn page(
    shared: &Shared,
    connection: &Connection,
    index: usize,
    key: &[Value<'static>],
    from: Option<&RowCursor>,
) -> Result<Page<TableRow, RowCursor>, Fault> {
    let select = Select::new(shared, connection, (index, ""))?;
    let take = |row: &Row<'_>| {
        let values = select.columns.iter().enumerate();
        let values = values.map(|(at, (_, kind))| cell::value(*kind, row.get_ref(at)?));
        values.collect::<SqlResult<TableRow>>().map(Some)
    };
    select.page(key, from, (PAGE, |row: &TableRow| row_bytes(row)), take)
}

/// Returns a page of the rows with cells that have one of these stamps, and of those without cells whose newest record has one.
pub fn page_with_stamps(
    shared: &Shared,
    connection: &Connection,
    index: usize,
    stamps: &Stamps,
    from: Option<&RowCursor>,
) -> Result<Page<KeyedRow, RowCursor>, Fault> {
    let select = Select::new(shared, connection, (index, ", _stamp, _first, _cells"))?;
    let key_len = select.table.key_len();
    let take = |row: &Row<'_>| {
        let stored = rows::stored_row(row, key_len..select.columns.len())?;
        let Some(own) = stamped_row::of_stamps(&stored, (select.table, &shared.declared), stamps)? else {
            return Ok(None);
        };
        let key = select.columns.iter().take(key_len).enumerate();
        let key =
            key.map(|(at, (_, kind))| cell::value(*kind, row.get_ref(at)?)).collect::<SqlResult<_>>()?;
        Ok(Some(KeyedRow { key, row: own }))
    };
    let bytes = |row: &KeyedRow| (row_bytes(&row.key) + row_bytes(&row.row.values)).max(PAGE_BYTES / FOUND);
    select.page(&[], from, (SCANNED, bytes), take)
}

/// The rows whose leading key columns equal `equal`. With `after`, only the rows whose next key column comes after it.
struct Range {
    equal: Vec<KeyValue>,
    after: Option<KeyValue>,
}

/// Returns the ranges of the rows with this key that come after the key `last`, in order. SQLite finds the beginning of
/// each range by the primary key, which one condition for all of them would prevent.
fn ranges(key: Vec<KeyValue>, last: Option<Vec<KeyValue>>) -> Vec<Range> {
    let Some(last) = last else { return vec![Range { equal: key, after: None }] };
    let range = |len: usize| {
        let behind = last.iter().take(len).skip(key.len());
        Range { equal: key.iter().chain(behind).cloned().collect(), after: last.get(len).cloned() }
    };
    (key.len()..last.len()).rev().map(range).collect()
}

/// Selects rows of one table.
struct Select<'s> {
    connection: &'s Connection,
    table: &'s Table,
    /// The names and types of all columns, key first.
    columns: Vec<(String, Type)>,
    /// What is selected after the columns.
    more: &'static str,
}

impl<'s> Select<'s> {
    fn new(
        shared: &'s Shared,
        connection: &'s Connection,
        (index, more): (usize, &'static str),
    ) -> Result<Self, Fault> {
        let table = shared.declared.tables.get(index);
        let table = table.ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
        as_declared(shared, connection, table)?;
        let columns = shared.declared.columns_of(table).map(|column| (quoted(&column.name), column.kind));
        Ok(Self { connection, table, columns: columns.collect(), more })
    }

    /// Reads up to `most` rows with this key from the cursor on. `take` leaves rows out by returning `None`.
    fn page<T>(
        &self,
        key: &[Value<'static>],
        from: Option<&RowCursor>,
        (most, bytes): (usize, impl Fn(&T) -> u64),
        take: impl Fn(&Row<'_>) -> SqlResult<Option<T>>,
    ) -> Result<Page<T, RowCursor>, Fault> {
        let last = from.map(|cursor| row_cursor::key(self.table, cursor)).transpose()?;
        let mut page = Paging::new(most);
        for range in ranges(key.iter().map(KeyValue::of).collect(), last) {
            let mut statement = self.connection.prepare_cached(&self.sql(&range))?;
            let mut found = statement.query(params_from_iter(range.equal.iter().chain(&range.after)))?;
            while let Some(row) = found.next()? {
                match take(row)? {
                    Some(item) => {
                        let bytes = bytes(&item);
                        page.push(item, bytes);
                    }
                    None => page.skip(0),
                }
                if page.is_full() {
                    let next = row_cursor::after(self.table, row)?;
                    return Ok(page.end(Some(next)));
                }
            }
        }
        Ok(page.end(None))
    }

    fn sql(&self, range: &Range) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let equal = names.iter().take(range.equal.len()).zip(1..).map(|(name, n)| format!("{name} = ?{n}"));
        let at = range.equal.len();
        let after = range.after.iter().map(|_| {
            let sign = if self.descends(at) { '<' } else { '>' };
            format!("{} {sign} ?{}", names.get(at).copied().unwrap_or_default(), at + 1)
        });
        let conditions = equal.chain(after).collect::<Vec<_>>();
        let filter = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
        // A WITHOUT ROWID table is stored in the order of its primary key, so SQLite does not sort.
        let order = names.iter().take(self.table.key_len()).enumerate();
        let order = order.map(|(at, name)| format!("{name}{}", if self.descends(at) { " DESC" } else { "" }));
        format!(
            "SELECT {}{} FROM {} WHERE {filter} ORDER BY {}",
            names.join(", "),
            self.more,
            quoted(&self.table.name),
            order.collect::<Vec<_>>().join(", ")
        )
    }

    /// Whether the key column at this index is in descending order.
    fn descends(&self, at: usize) -> bool {
        let clustering = at.checked_sub(self.table.partition_key.len());
        let order = clustering.and_then(|at| self.table.clustering_key.get(at));
        order.is_some_and(|(_, order)| *order == Order::Descending)
    }
}

/// Returns an error if the table does not exist or does not have the declared shape.
fn as_declared(shared: &Shared, connection: &Connection, table: &Table) -> Result<(), Fault> {
    match schema::compare(connection, &shared.declared, table)? {
        None => Ok(()),
        Some(Difference::Missing) => Err(Fault::Shape {
            what: format!("table {} does not exist yet", table.name),
            next: "the next load creates it; then `needledrop load --table` fills it from the kept files",
        }),
        Some(Difference::Other(difference)) => Err(Fault::Shape {
            what: format!("table {} has another shape:\n  {difference}", table.name),
            next: "declare the table as it is, declare it under another name, or move it away",
        }),
    }
}

pub fn count(shared: &Shared, connection: &Connection, index: usize) -> Result<u64, Fault> {
    let table = shared.declared.tables.get(index).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
    as_declared(shared, connection, table)?;
    let sql = format!("SELECT count(*) FROM {}", quoted(&table.name));
    Ok(connection.query_row(&sql, [], |row| row.get(0))?)
}
