//! Rewrites the rows that a verification found wrong.

use crate::domain::TableRow;
use crate::domain::correction::{KeyedRow, RowRepair};
use crate::domain::verify::WrongRow;
use crate::store::StoreError;
use crate::store::backoff::Backoff;
use crate::store::repairs::Repairs;
use crate::store::sqlite::expected_rows::ExpectedRows;

/// Repairs in a store, by a repair that has begun.
pub struct RowRepairs<'v, S: Repairs> {
    store: &'v S,
    backoff: &'v Backoff,
    expected: &'v ExpectedRows,
    repair: S::Repair,
}

impl<'v, S: Repairs> RowRepairs<'v, S> {
    /// Begins to repair these tables.
    ///
    /// # Errors
    /// Returns an error if a table cannot be repaired, or if the store does not answer.
    pub async fn begin(
        (store, backoff): (&'v S, &'v Backoff),
        expected: &'v ExpectedRows,
        tables: Vec<usize>,
    ) -> Result<Self, StoreError> {
        let repair = backoff.with(|| store.begin_repair(tables.clone())).await?;
        Ok(Self { store, backoff, expected, repair })
    }

    /// Rewrites rows that are in the table and are not as expected. Returns their number.
    ///
    /// # Errors
    /// Returns an error if the store or the file of expected rows does not answer.
    pub async fn found(&self, table: usize, key_len: usize, wrong: &[WrongRow]) -> Result<u64, StoreError> {
        let keys = wrong.iter().filter_map(|row| row.found.as_ref());
        let keys: Vec<TableRow> = keys.map(|row| row.iter().take(key_len).cloned().collect()).collect();
        let expected = self.expected.rows_of(table, keys.clone()).await?;
        let rows = keys.into_iter().zip(expected).map(|(key, expected)| RowRepair { key, expected });
        self.write(table, rows.collect()).await
    }

    /// Writes the expected rows that are not in the table. Returns their number.
    ///
    /// # Errors
    /// Returns an error if the store or the file of expected rows does not answer.
    pub async fn missing(&self, table: usize) -> Result<u64, StoreError> {
        let (mut written, mut after) = (0, None);
        loop {
            let page = self.expected.unseen(table, after.take()).await?;
            let Some(last) = page.last() else { return Ok(written) };
            after = Some(last.key.clone());
            let rows = page.into_iter().map(|KeyedRow { key, row }| RowRepair { key, expected: Some(row) });
            written += self.write(table, rows.collect()).await?;
        }
    }

    async fn write(&self, table: usize, rows: Vec<RowRepair>) -> Result<u64, StoreError> {
        if !rows.is_empty() {
            self.backoff.with(|| self.store.repair(&self.repair, table, rows.clone())).await?;
        }
        Ok(rows.len() as u64)
    }

    /// Notes that all rows are written.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn end(self) -> Result<(), StoreError> {
        self.store.end_repair(self.repair).await
    }
}
