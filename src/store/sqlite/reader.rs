//! Reads rows of the declared tables by key, a page at a time.

use rusqlite::{Connection, params_from_iter};

use crate::domain::ledger::Page;
use crate::domain::paging::Paging;
use crate::domain::table_row::{PAGE, row_bytes};
use crate::domain::{Order, RowCursor, Table, TableRow, Type, Value};
use crate::store::sqlite::cell;
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::row_cursor::{self, KeyValue};
use crate::store::sqlite::schema::{self, Difference, quoted};
use crate::store::sqlite::shared::Shared;

/// Returns a page of the rows whose leading key columns have these values, in key order.
pub fn page(
    shared: &Shared,
    connection: &Connection,
    index: usize,
    key: &[Value<'static>],
    from: Option<&RowCursor>,
) -> Result<Page<TableRow, RowCursor>, Fault> {
    let table = shared.declared.tables.get(index).ok_or_else(|| Fault::Broken("no such table".to_owned()))?;
    as_declared(shared, connection, table)?;
    let columns = shared.declared.columns_of(table).map(|column| (quoted(&column.name), column.kind));
    let select = Select { connection, table, columns: columns.collect() };
    let last = from.map(|cursor| row_cursor::key(table, cursor)).transpose()?;
    let mut page = Paging::new(PAGE);
    for range in ranges(key.iter().map(KeyValue::of).collect(), last) {
        if let Some(next) = select.read(&range, &mut page)? {
            return Ok(page.end(Some(next)));
        }
    }
    Ok(page.end(None))
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
}

impl Select<'_> {
    /// Reads rows of a range into the page. Returns where the next page begins if the page is full.
    fn read(&self, range: &Range, page: &mut Paging<TableRow>) -> SqlResult<Option<RowCursor>> {
        let mut statement = self.connection.prepare_cached(&self.sql(range))?;
        let mut found = statement.query(params_from_iter(range.equal.iter().chain(&range.after)))?;
        while let Some(row) = found.next()? {
            let values = self.columns.iter().enumerate();
            let values = values.map(|(at, (_, kind))| cell::value(*kind, row.get_ref(at)?));
            let values: TableRow = values.collect::<SqlResult<_>>()?;
            let bytes = row_bytes(&values);
            if !page.push(values, bytes) {
                return row_cursor::after(self.table, row).map(Some);
            }
        }
        Ok(None)
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
            "SELECT {} FROM {} WHERE {filter} ORDER BY {}",
            names.join(", "),
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
