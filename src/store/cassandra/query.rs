//! Rows of the declared tables, by key.

use std::cmp::Ordering;

use futures::TryStreamExt;
use scylla::statement::Statement;
use scylla::value::Row as CqlRow;

use super::{Inner, cell, schema};
use crate::domain::{Column, Order, Table, Value};
use crate::store::StoreError;

/// The rows whose leading key columns have these values, in key order.
///
/// # Errors
/// The table is not there or is another; what the cluster says.
pub async fn rows(
    inner: &Inner,
    index: usize,
    key: &[Value<'static>],
) -> Result<Vec<Vec<Value<'static>>>, StoreError> {
    let table = inner.plan.tables.get(index).ok_or_else(|| inner.broken("no such table".to_owned()))?;
    let columns: Vec<&Column> = inner.plan.columns_of(table).collect();
    let names: Vec<String> = columns.iter().map(|column| schema::column(column)).collect();
    // Without the whole partition key there is no order, and no index: all rows are looked at.
    let asked = if table.is_one_partition(key.len()) { key } else { &[] };
    let conditions: Vec<String> = names.iter().take(asked.len()).map(|name| format!("{name} = ?")).collect();
    let filter =
        if asked.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let cql = format!("SELECT {} FROM {}{filter}", names.join(", "), schema::place(&inner.settings, table));
    let values: Vec<_> =
        asked.iter().zip(&columns).map(|(value, column)| cell::cql(column.kind, value)).collect();
    let mut rows: Vec<Vec<Value<'static>>> = Vec::new();
    let mut take = |row: CqlRow| rows.push(row.columns.into_iter().map(cell::value).collect());
    each(inner, &cql, values, &mut take).await?;
    if asked.len() < key.len() || key.is_empty() {
        rows.retain(|row| row.starts_with(key));
        rows.sort_by(|a, b| in_key_order(table, a, b));
    }
    Ok(rows)
}

/// Rows in a table, counted page by page: one answer for all would be too long in coming.
///
/// # Errors
/// The table is not there; what the cluster says.
pub async fn count(inner: &Inner, index: usize) -> Result<u64, StoreError> {
    let table = inner.plan.tables.get(index).ok_or_else(|| inner.broken("no such table".to_owned()))?;
    let first = inner.plan.columns_of(table).next().map(schema::column).unwrap_or_default();
    let cql = format!("SELECT {first} FROM {}", schema::place(&inner.settings, table));
    let mut count = 0;
    each(inner, &cql, Vec::new(), &mut |_| count += 1).await?;
    Ok(count)
}

async fn each(
    inner: &Inner,
    cql: &str,
    values: Vec<Option<scylla::value::CqlValue>>,
    take: &mut (dyn FnMut(CqlRow) + Send),
) -> Result<(), StoreError> {
    let mut statement = Statement::new(cql);
    statement.set_consistency(inner.settings.read);
    statement.set_page_size(5000);
    let pager = inner.session.query_iter(statement, values).await;
    let pager = pager.map_err(|error| told(inner, &error.to_string()))?;
    let rows = pager.rows_stream::<CqlRow>().map_err(|error| inner.broken(error.to_string()))?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await.map_err(|error| told(inner, &error.to_string()))? {
        take(row);
    }
    Ok(())
}

fn told(inner: &Inner, what: &str) -> StoreError {
    let store = inner.settings.name();
    if what.contains("unconfigured table") || what.contains("does not exist") {
        return StoreError::Shape {
            store,
            what: "this table is not there yet".to_owned(),
            next: "the next load makes it; then `needledrop load --table` fills it from the kept files"
                .to_owned(),
        };
    }
    let hint = "see the logs of the cluster if it lasts";
    StoreError::Busy { store, reason: "read", what: what.to_owned(), hint }
}

fn in_key_order(table: &Table, a: &[Value<'static>], b: &[Value<'static>]) -> Ordering {
    let partition = table.partition_key.len();
    for at in 0..table.key_len() {
        let (Some(x), Some(y)) = (a.get(at), b.get(at)) else { break };
        let order = x.compare(y);
        let descends = at.checked_sub(partition).and_then(|at| table.clustering_key.get(at));
        let order = match descends {
            Some((_, Order::Descending)) => order.reverse(),
            _ => order,
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}
