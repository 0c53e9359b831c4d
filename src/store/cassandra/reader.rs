//! Reads rows of the declared tables by key, a page at a time.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use scylla::response::PagingState;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row as CqlRow};
use tokio::sync::Mutex;

use crate::domain::ledger::Page;
use crate::domain::paging::Paging;
use crate::domain::table_row::{PAGE, row_bytes};
use crate::domain::{RowCursor, Schema, Table, TableRow, Value};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::names;
use crate::store::cassandra::writer::cell;

/// The number of rows in the first request of a page. Further requests are sized by these rows, so that rows of many
/// kilobytes do not make a page too large.
const FIRST: usize = 16;

/// Reads rows of the declared tables.
pub struct Reader {
    cluster: Cluster,
    declared: Arc<Schema>,
    /// The statements by table and number of key columns with a condition.
    statements: Mutex<HashMap<(usize, usize), PreparedStatement>>,
}

impl Reader {
    pub fn new(cluster: &Cluster, declared: Arc<Schema>) -> Self {
        Self { cluster: cluster.clone(), declared, statements: Mutex::default() }
    }

    /// Returns a page of the rows whose leading key columns have these values. A page is full requests long, because a
    /// request can only be continued at its end.
    ///
    /// # Errors
    /// Returns an error if the cursor does not belong to this listing, if the table does not exist or has changed, or if
    /// the cluster does not answer or rejects a request.
    pub async fn page(
        &self,
        index: usize,
        key: &[Value<'static>],
        from: Option<&RowCursor>,
    ) -> Result<Page<TableRow, RowCursor>, StoreError> {
        let table = self.table(index)?;
        let mut state = match from {
            None => PagingState::start(),
            Some(cursor) => {
                let at = cursor.at(table).ok_or_else(|| StoreError::Cursor(self.cluster.name()))?;
                PagingState::new_from_raw_bytes(at)
            }
        };
        // Without the whole partition key there is neither an order nor an index, so all rows are read.
        let asked = if table.is_one_partition(key.len()) { key } else { &[] };
        let columns = self.declared.columns_of(table);
        let values: Vec<Option<CqlValue>> =
            asked.iter().zip(columns).map(|(value, column)| cell::cql(column.kind, value)).collect();
        let mut statement = self.statement(index, asked.len()).await.map_err(not_there_yet)?;
        let (mut page, mut size) = (Paging::new(PAGE), FIRST);
        loop {
            statement.set_page_size(i32::try_from(size).unwrap_or(i32::MAX));
            let read = self.cluster.page::<CqlRow>(&statement, &values, state).await;
            let (rows, next) = read.map_err(not_there_yet)?;
            for row in rows {
                let row: TableRow = row.columns.into_iter().map(cell::value).collect();
                let bytes = row_bytes(&row);
                // The server compares decimals by value: 12.5 finds 12.50.
                if asked.len() == key.len() || row.starts_with(key) {
                    page.push(row, bytes);
                } else {
                    page.skip(bytes);
                }
            }
            state = match next.into_paging_control_flow() {
                ControlFlow::Break(()) => return Ok(page.end(None)),
                ControlFlow::Continue(next) if page.is_full() => {
                    let at = next.as_bytes_slice().map(|bytes| bytes.to_vec());
                    return Ok(page.end(at.map(|at| RowCursor::new(table, at))));
                }
                ControlFlow::Continue(next) => next,
            };
            size = page.room();
        }
    }

    /// Counts the rows of a table, a page at a time. A single request for the whole count would take too long.
    ///
    /// # Errors
    /// Returns an error if the table does not exist, or if the cluster does not answer or rejects the request.
    pub async fn count(&self, index: usize) -> Result<u64, StoreError> {
        let table = self.table(index)?;
        let first = self.declared.columns_of(table).next().map(names::column).unwrap_or_default();
        let cql = format!("SELECT {first} FROM {}", names::place(&self.cluster.settings, table));
        let mut count = 0;
        let take = |_: CqlRow| {
            count += 1;
            true
        };
        let statement = self.prepare(cql).await.map_err(not_there_yet)?;
        self.cluster.each(statement, (), take).await.map_err(not_there_yet)?;
        Ok(count)
    }

    fn table(&self, index: usize) -> Result<&Table, StoreError> {
        self.declared.tables.get(index).ok_or_else(|| self.cluster.broken("no such table"))
    }

    /// Returns the statement that reads a table with conditions on this number of key columns.
    async fn statement(&self, index: usize, asked: usize) -> Result<PreparedStatement, StoreError> {
        let mut statements = self.statements.lock().await;
        if let Some(statement) = statements.get(&(index, asked)) {
            return Ok(statement.clone());
        }
        let table = self.table(index)?;
        let names: Vec<String> = self.declared.columns_of(table).map(names::column).collect();
        let conditions: Vec<String> = names.iter().take(asked).map(|name| format!("{name} = ?")).collect();
        let filter = if asked == 0 { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let place = names::place(&self.cluster.settings, table);
        let statement = self.prepare(format!("SELECT {} FROM {place}{filter}", names.join(", "))).await?;
        statements.insert((index, asked), statement.clone());
        Ok(statement)
    }

    async fn prepare(&self, cql: String) -> Result<PreparedStatement, StoreError> {
        self.cluster.prepare_at(self.cluster.settings.read, cql).await
    }
}

/// Converts an error. A table that does not exist yet is not reported as a changed schema.
fn not_there_yet(error: StoreError) -> StoreError {
    match error {
        StoreError::Changed { store, what }
            if what.contains("unconfigured table") || what.contains("does not exist") =>
        {
            StoreError::Shape {
                store,
                what: "this table does not exist yet".to_owned(),
                next: "the next load creates it; then `needledrop load --table` fills it from the kept files"
                    .to_owned(),
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use scylla::client::pager::{NextPageError, NextRowError};
    use scylla::errors::{DbError, RequestAttemptError, RequestError};

    use super::*;
    use crate::store::cassandra::cluster::error::{self, PageError};

    #[test]
    fn an_error_of_a_page_keeps_its_class() {
        let converted = |error: DbError, words: &str| {
            let attempt = RequestAttemptError::DbError(error, words.to_owned());
            let page = NextPageError::from(RequestError::from(attempt));
            let PageError::Request(error) = NextRowError::from(page).into() else { panic!("no request") };
            not_there_yet(error::store_error(String::new(), &error))
        };
        let forbidden = converted(DbError::Unauthorized, "User loader has no SELECT permission");
        assert!(matches!(forbidden, StoreError::System { .. }), "{forbidden}");
        let altered = converted(DbError::Invalid, "Undefined column name length in table ks.t");
        assert!(altered.to_string().contains("Undefined column name length"), "{altered}");
        assert!(matches!(altered, StoreError::Changed { .. }), "{altered}");
        let missing = converted(DbError::Invalid, "unconfigured table t");
        assert!(missing.to_string().contains("does not exist yet"), "{missing}");
        let busy = converted(DbError::Overloaded, "");
        assert_eq!(busy.transient_reason(), Some("overload"));
    }
}
