//! Reads rows with the write times of their cells.

use std::ops::ControlFlow;

use futures::future::try_join_all;
use scylla::response::PagingState;
use scylla::value::{CqlValue, Row};

use crate::domain::correction::{ExpectedRow, KeyedRow, StoredCell, StoredRow};
use crate::domain::ledger::Page;
use crate::domain::{RowCursor, Stamp, Stamps, TableRow, Value};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::corrections::bound::{Bound, BoundValues};
use crate::store::cassandra::corrections::statements::{IN_FLIGHT, Statements};
use crate::store::cassandra::shared::Inner;
use crate::store::cassandra::writer::cell;

/// The number of rows in a page of a whole table.
const SCANNED: i32 = 1000;

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

/// Whether rows without cells are read. Nothing shows the stamps of their records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    LeftOut,
    Included,
}

/// Returns a page of the rows of a table with cells that have one of these stamps.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn page(
    inner: &Inner,
    index: usize,
    wanted: (&Stamps, Bare),
    from: Option<RowCursor>,
) -> Result<Page<KeyedRow, RowCursor>, StoreError> {
    let cluster = &inner.cluster;
    let statements = inner.correcting.of(cluster, &inner.declared, index).await?;
    let table = inner.declared.tables.get(index).ok_or_else(|| cluster.broken("no such table"))?;
    let Some(mut select) = statements.select_all.clone() else {
        // A table of key columns only has no write times.
        return Ok(Page { found: Vec::new(), next: None });
    };
    let state = match from {
        None => PagingState::start(),
        Some(cursor) => {
            let at = cursor.at(table).ok_or_else(|| StoreError::Cursor(cluster.name()))?;
            PagingState::new_from_raw_bytes(at)
        }
    };
    select.set_page_size(SCANNED);
    let (rows, next) = cluster.page::<Row>(&select, (), state).await?;
    let found = rows.into_iter().filter_map(|row| of_stamps(&statements, row, wanted)).collect();
    let next = match next.into_paging_control_flow() {
        ControlFlow::Break(()) => None,
        ControlFlow::Continue(next) => {
            next.as_bytes_slice().map(|bytes| RowCursor::new(table, bytes.to_vec()))
        }
    };
    Ok(Page { found, next })
}

/// Returns those cells of a row that have one of these stamps, if there are any.
fn of_stamps(statements: &Statements, row: Row, (stamps, bare): (&Stamps, Bare)) -> Option<KeyedRow> {
    let mut values = row.columns.into_iter();
    let key = values.by_ref().take(statements.key_len).map(cell::value).collect();
    let mut own = ExpectedRow {
        values: Vec::new(),
        stamps: Vec::new(),
        newest: Stamp(i64::MIN),
        first: Stamp(i64::MAX),
    };
    let mut has_cells = false;
    while let (Some(value), Some(at)) = (values.next(), values.next()) {
        has_cells |= value.is_some();
        let at = at.and_then(|at| at.as_bigint()).map(Stamp);
        // Records have even stamps.
        let at = at.filter(|at| at.0 & 1 == 0 && stamps.contains(*at));
        own.values.push(if at.is_some() { cell::value(value) } else { Value::Empty });
        own.stamps.push(at);
        if let Some(at) = at {
            (own.newest, own.first) = (own.newest.max(at), own.first.min(at));
        }
    }
    if !has_cells && bare == Bare::Included {
        return Some(KeyedRow { key, row: ExpectedRow::unknown(own.stamps.len()) });
    }
    own.stamps.iter().any(Option::is_some).then_some(KeyedRow { key, row: own })
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
    values.push(Bound::Int(i32::try_from(most).unwrap_or(i32::MAX)));
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
