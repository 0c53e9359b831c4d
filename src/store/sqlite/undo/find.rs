//! Finds the rows of a delivery by the stamps in them.

use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use crate::domain::undo::{EXAMPLES, RowsOf};
use crate::domain::{DeliveryId, Schema, Stamp, Table, TableRow};
use crate::store::sqlite::cell;
use crate::store::sqlite::fault::SqlResult;
use crate::store::sqlite::schema::quoted;
use crate::store::sqlite::undo::expected::{Expected, key};

/// The statements that find the rows of a delivery in one table. Parameter 1 is the delivery.
pub struct Statements {
    /// Returns the key of each row, whether it is the delivery's own, whether its first record is of the delivery, and the
    /// stamp of the first record.
    pub select: String,
    /// Deletes the rows to which no other delivery wrote.
    pub delete_own: String,
    /// Returns a row if the table has any of the delivery.
    pub any: String,
}

/// The ranges of stamps of the delivery, from `b` up to but not including `e`.
const RANGES: &str = "WITH _needledrop_own (b, e) AS MATERIALIZED \
    (SELECT base, base + 2 * records FROM _needledrop_stamps WHERE delivery = ?1) ";

fn is_own(stamp: &str) -> String {
    format!("EXISTS (SELECT 1 FROM _needledrop_own AS o WHERE {stamp} >= o.b AND {stamp} < o.e)")
}

impl Statements {
    pub fn new(declared: &Schema, table: &Table) -> Self {
        let (name, first) = (quoted(&table.name), is_own("coalesce(_first, _stamp)"));
        let key: Vec<String> =
            declared.columns_of(table).take(table.key_len()).map(|column| quoted(&column.name)).collect();
        let (newest, cell, key) = (is_own("_stamp"), is_own("c.value"), key.join(", "));
        let cells =
            format!("(_cells IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(_cells) AS c WHERE {cell}))");
        let has_some = format!("({newest} OR {first} OR {cells})");
        // If the first and the newest record are of the delivery, others of the key can only be in the ranges between them.
        let is_alone = format!(
            "({newest} AND {first} AND NOT EXISTS (SELECT 1 FROM _needledrop_stamps AS s \
             WHERE s.base > coalesce(_first, _stamp) AND s.base <= _stamp AND s.delivery <> ?1))"
        );
        Self {
            select: format!(
                "{RANGES}SELECT {key}, {is_alone}, {first}, coalesce(_first, _stamp) FROM {name} WHERE {has_some}"
            ),
            delete_own: format!("{RANGES}DELETE FROM {name} WHERE {is_alone}"),
            any: format!("{RANGES}SELECT 1 FROM {name} WHERE {has_some} LIMIT 1"),
        }
    }
}

/// Returns a key as values.
pub fn shown(declared: &Schema, table: &Table, key: &[Sql]) -> SqlResult<TableRow> {
    let columns = declared.columns_of(table).zip(key);
    columns.map(|(column, value)| cell::value(column.kind, value.into())).collect()
}

/// Counts the rows of a delivery in a table, and notes the keys of those that others may share.
pub fn rows(
    connection: &Connection,
    expected: &Expected,
    (index, table, declared): (usize, &Table, &Schema),
    id: DeliveryId,
) -> SqlResult<RowsOf> {
    let mut found = RowsOf {
        table: table.name.clone(),
        own: 0,
        shared: 0,
        first: 0,
        is_newest_by: table.newest_by.is_some(),
        examples: Vec::new(),
    };
    let (statements, fields) = (Statements::new(declared, table), table.key_len());
    let mut select = connection.prepare(&statements.select)?;
    let mut rows = select.query([id.0])?;
    let keys = expected.begin_keys(index, fields)?;
    while let Some(row) = rows.next()? {
        if row.get(fields)? {
            found.own += 1;
            if found.examples.len() < EXAMPLES {
                found.examples.push(shown(declared, table, &key(row, fields)?)?);
            }
            continue;
        }
        found.shared += 1;
        let is_first: bool = row.get(fields + 1)?;
        found.first += u64::from(is_first);
        let floor = row.get(fields + 2)?;
        keys.add(&key(row, fields)?, Stamp(floor))?;
    }
    keys.end()?;
    Ok(found)
}
