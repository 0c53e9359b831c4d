//! Reads rows of the declared tables by key.

use std::cmp::Ordering;

use scylla::value::{CqlValue, Row as CqlRow};

use crate::domain::{Column, Order, Table, Value};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::names;
use crate::store::cassandra::shared::Inner;
use crate::store::cassandra::writer::cell;

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
    let table = inner.plan.tables.get(index).ok_or_else(|| inner.cluster.broken("no such table"))?;
    let columns: Vec<&Column> = inner.plan.columns_of(table).collect();
    let names: Vec<String> = columns.iter().map(|column| names::column(column)).collect();
    // Without the whole partition key there is neither an order nor an index, so all rows are read.
    let asked = if table.is_one_partition(key.len()) { key } else { &[] };
    let conditions: Vec<String> = names.iter().take(asked.len()).map(|name| format!("{name} = ?")).collect();
    let filter =
        if asked.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let cql =
        format!("SELECT {} FROM {}{filter}", names.join(", "), names::place(&inner.cluster.settings, table));
    let values: Vec<_> =
        asked.iter().zip(&columns).map(|(value, column)| cell::cql(column.kind, value)).collect();
    let mut rows: Vec<Vec<Value<'static>>> = Vec::new();
    let mut take = |row: CqlRow| rows.push(row.columns.into_iter().map(cell::value).collect());
    each(&inner.cluster, cql, values, &mut take).await?;
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
    let table = inner.plan.tables.get(index).ok_or_else(|| inner.cluster.broken("no such table"))?;
    let first = inner.plan.columns_of(table).next().map(names::column).unwrap_or_default();
    let cql = format!("SELECT {first} FROM {}", names::place(&inner.cluster.settings, table));
    let mut count = 0;
    each(&inner.cluster, cql, Vec::new(), |_| count += 1).await?;
    Ok(count)
}

/// Hands each row of a query to `take`, a page at a time.
async fn each(
    cluster: &Cluster,
    cql: String,
    values: Vec<Option<CqlValue>>,
    mut take: impl FnMut(CqlRow),
) -> Result<(), StoreError> {
    let read = async {
        let statement = cluster.prepare_at(cluster.settings.read, cql).await?;
        let take = |row| {
            take(row);
            true
        };
        cluster.each(statement, values, take).await
    };
    read.await.map_err(not_there_yet)
}

/// Converts an error. A table that does not exist yet is not reported as a changed schema.
fn not_there_yet(error: StoreError) -> StoreError {
    match error {
        StoreError::Changed { store, what }
            if what.contains("unconfigured table") || what.contains("does not exist") =>
        {
            StoreError::Shape {
                store,
                what: "this table is not there yet".to_owned(),
                next: "the next load makes it; then `needledrop load --table` fills it from the kept files"
                    .to_owned(),
            }
        }
        other => other,
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

    use super::*;
    use crate::store::cassandra::cluster::error::{self, PageError};

    #[test]
    fn what_the_server_says_of_a_page_is_told_as_what_it_is() {
        let told = |error: DbError, words: &str| {
            let attempt = RequestAttemptError::DbError(error, words.to_owned());
            let page = NextPageError::from(RequestError::from(attempt));
            let PageError::Request(error) = NextRowError::from(page).into() else { panic!("no request") };
            not_there_yet(error::told(String::new(), &error))
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
