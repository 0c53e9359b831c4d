//! Rewrites the rows of a table that a verification found wrong.

use tokio::sync::OnceCell;

use crate::domain::correction::{KeyedRow, RowRepair};
use crate::domain::verify::WrongRow;
use crate::domain::{Table, TableRow};
use crate::store::StoreError;
use crate::store::backoff::Backoff;
use crate::store::repairs::Repairs;
use crate::store::sqlite::expected_rows::ExpectedRows;

/// Repairs of one table. A repair begins with the first wrong row.
pub struct RowRepairs<'v, S: Repairs> {
    store: (&'v S, &'v Backoff),
    expected: &'v ExpectedRows,
    table: (usize, &'v Table),
    repair: OnceCell<S::Repair>,
}

impl<'v, S: Repairs> RowRepairs<'v, S> {
    pub fn new(store: (&'v S, &'v Backoff), expected: &'v ExpectedRows, table: (usize, &'v Table)) -> Self {
        Self { store, expected, table, repair: OnceCell::new() }
    }

    /// Rewrites rows that are in the table and are not as expected. Returns how many were rewritten.
    ///
    /// # Errors
    /// Returns an error if the store or the file of expected rows does not answer.
    pub async fn found(&self, wrong: &[WrongRow]) -> Result<u64, StoreError> {
        let (index, table) = self.table;
        let keys = wrong.iter().filter_map(|row| row.found.as_ref());
        let keys: Vec<TableRow> =
            keys.map(|row| row.iter().take(table.key_len()).cloned().collect()).collect();
        let expected = self.expected.rows_of(index, keys.clone()).await?;
        let rows = keys.into_iter().zip(expected).map(|(key, expected)| RowRepair { key, expected });
        self.write(rows.collect()).await
    }

    /// Writes the expected rows that are not in the table. Returns how many were rewritten.
    ///
    /// # Errors
    /// Returns an error if the store or the file of expected rows does not answer.
    pub async fn missing(&self) -> Result<u64, StoreError> {
        let (mut written, mut after) = (0, None);
        loop {
            let page = self.expected.unseen(self.table.0, after.take()).await?;
            let Some(last) = page.last() else { return Ok(written) };
            after = Some(last.key.clone());
            let rows = page.into_iter().map(|KeyedRow { key, row }| RowRepair { key, expected: Some(row) });
            written += self.write(rows.collect()).await?;
        }
    }

    async fn write(&self, rows: Vec<RowRepair>) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let ((store, backoff), (index, _)) = (self.store, self.table);
        let begin = || backoff.with(|| store.begin_repair(vec![index]));
        let repair = self.repair.get_or_try_init(begin).await?;
        backoff.with(|| store.repair(repair, index, rows.clone())).await
    }
}
