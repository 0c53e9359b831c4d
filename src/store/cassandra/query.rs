//! Reads rows of the declared tables by key.

use std::cmp::Ordering;

use futures::TryStreamExt;
use scylla::errors::ExecutionError;
use scylla::statement::Statement;
use scylla::value::Row as CqlRow;

use super::request::{self, ErrorClass, PageError};
use super::{cell, schema};
use crate::domain::{Column, Order, Table, Value};
use crate::store::StoreError;
use crate::store::cassandra::settings::Settings;
use crate::store::cassandra::shared::Inner;

/// Returns the rows whose leading key columns have these values, in key order.
///
/// # Errors
/// Returns an error if the table does not exist or has changed, or if the cluster does not answer or rejects the
/// request.
pub async fn rows(
    inner: &Inner,
    index: usize,
    key: &[Value<'static>],
) -> Result<Vec<Vec<Value<'static>>>, StoreError> {
    let table = inner.plan.tables.get(index).ok_or_else(|| inner.broken("no such table".to_owned()))?;
    let columns: Vec<&Column> = inner.plan.columns_of(table).collect();
    let names: Vec<String> = columns.iter().map(|column| schema::column(column)).collect();
    // Without the whole partition key there is neither an order nor an index, so all rows are read.
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

/// Counts the rows of a table, a page at a time. A single request for the whole count would take too long.
///
/// # Errors
/// Returns an error if the table does not exist, or if the cluster does not answer or rejects the request.
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
    let either = |error: PageError| match error {
        PageError::Request(error) => told(&inner.settings, &error),
        other => inner.broken(other.to_string()),
    };
    let pager = inner.session.query_iter(statement, values).await;
    let pager = pager.map_err(|error| either(error.into()))?;
    let rows = pager.rows_stream::<CqlRow>().map_err(|error| inner.broken(error.to_string()))?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await.map_err(|error| either(error.into()))? {
        take(row);
    }
    Ok(())
}

/// Converts an error of the driver. A table that does not exist yet is not reported as a changed schema.
fn told(settings: &Settings, error: &ExecutionError) -> StoreError {
    let words = request::words(error);
    let is_missing = words.contains("unconfigured table") || words.contains("does not exist");
    if !is_missing || request::classify(error) != ErrorClass::Changed {
        return request::told(settings, error);
    }
    StoreError::Shape {
        store: settings.name(),
        what: "this table is not there yet".to_owned(),
        next: "the next load makes it; then `needledrop load --table` fills it from the kept files"
            .to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use scylla::client::pager::{NextPageError, NextRowError};
    use scylla::errors::{DbError, RequestAttemptError, RequestError};

    use super::super::tests::settings_at as settings;
    use super::*;

    #[test]
    fn what_the_server_says_of_a_page_is_told_as_what_it_is() {
        let told = |error: DbError, words: &str| {
            let attempt = RequestAttemptError::DbError(error, words.to_owned());
            let page = NextPageError::from(RequestError::from(attempt));
            let PageError::Request(error) = NextRowError::from(page).into() else { panic!("no request") };
            super::told(&settings(String::new(), "ks"), &error)
        };
        let forbidden = told(DbError::Unauthorized, "User loader has no SELECT permission");
        assert!(matches!(forbidden, StoreError::System { .. }), "{forbidden}");
        let altered = told(DbError::Invalid, "Undefined column name length in table ks.t");
        assert!(altered.to_string().contains("Undefined column name length"), "{altered}");
        assert!(matches!(altered, StoreError::Changed { .. }), "{altered}");
        let missing = told(DbError::Invalid, "unconfigured table t");
        assert!(missing.to_string().contains("not there yet"), "{missing}");
        let busy = told(DbError::Overloaded, "");
        assert_eq!(busy.transient_reason(), Some("overload"));
    }
}
