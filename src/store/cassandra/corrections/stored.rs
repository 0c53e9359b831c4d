//! Reads rows with the write times of their cells.

use futures::future::try_join_all;
use scylla::value::{CqlValue, Row};

use crate::domain::correction::{StoredCell, StoredRow};
use crate::domain::{Stamp, TableRow};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::corrections::bound::{Bound, BoundValues};
use crate::store::cassandra::corrections::statements::{IN_FLIGHT, Statements};
use crate::store::cassandra::writer::cell;

/// Reads the rows with these keys.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn rows(
    cluster: &Cluster,
    statements: &Statements,
    keys: Vec<TableRow>,
) -> Result<Vec<Option<StoredRow>>, StoreError> {
    let mut found = Vec::with_capacity(keys.len());
    for some in keys.chunks(IN_FLIGHT) {
        found.extend(try_join_all(some.iter().map(|key| row(cluster, statements, key))).await?);
    }
    Ok(found)
}

async fn row(
    cluster: &Cluster,
    statements: &Statements,
    key: &TableRow,
) -> Result<Option<StoredRow>, StoreError> {
    let found: Vec<Row> = cluster.fetch(&statements.select, BoundValues(key_of(statements, key))).await?;
    Ok(found.into_iter().next().map(|row| stored(statements, row)))
}

/// Returns the number of rows in the partition of a key, or `most` if there are more.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn count(
    cluster: &Cluster,
    statements: &Statements,
    mut key: TableRow,
    most: u64,
) -> Result<u64, StoreError> {
    key.truncate(statements.partition_len);
    let mut values = key_of(statements, &key);
    values.push(Bound::Ttl(i32::try_from(most).unwrap_or(i32::MAX)));
    let mut rows = 0;
    let take = |_: Row| {
        rows += 1;
        true
    };
    cluster.each(statements.select_partition.clone(), BoundValues(values), take).await?;
    Ok(rows)
}

/// Returns the key as the values of a statement.
pub fn key_of<'v>(statements: &Statements, key: &'v TableRow) -> Vec<Bound<'v>> {
    statements.kinds.iter().zip(key).map(|(kind, value)| Bound::Value(*kind, value)).collect()
}

fn stored(statements: &Statements, row: Row) -> StoredRow {
    let mut values = row.columns.into_iter();
    let cells = statements.kinds.len() - statements.key_len;
    let cell = |_| {
        let (value, stamp, ttl) = (values.next()?, values.next()?, values.next()?);
        let stamp = stamp.and_then(|stamp| stamp.as_bigint()).map(Stamp)?;
        let ttl = ttl.as_ref().and_then(CqlValue::as_int);
        Some(StoredCell { value: cell::value(Some(value?)), stamp, ttl })
    };
    (0..cells).map(cell).collect()
}
