//! Compares the rows of an undone delivery with what the other deliveries give, page by page, and rewrites them.

use tokio_util::sync::CancellationToken;

use crate::domain::correction::KeyedRow;
use crate::domain::correction::cell_origins::CellOrigins;
use crate::domain::correction::rewrite::{Change, Corrected, Lifetime, Rewrite, Rules};
use crate::domain::undo::TableUndo;
use crate::domain::{Schema, Table, TableRow};
use crate::jobs::undo::partitions::{Partitions, Target};
use crate::store::clock::clock;
use crate::store::sqlite::expected_rows::ExpectedRows;
use crate::store::{RowRewriter, StoreError};

/// Rewrites the rows of an undone delivery, or counts them.
pub struct Rewriting<'u, S> {
    pub target: Target<'u, S>,
    pub schema: &'u Schema,
    pub stop: &'u CancellationToken,
    /// What the undone delivery gives, and what the others give for its keys.
    pub rows: (&'u ExpectedRows, &'u ExpectedRows),
    pub origins: CellOrigins,
    /// Whether some other deliveries could not be read.
    pub is_incomplete: bool,
}

impl<S: RowRewriter> Rewriting<'_, S> {
    /// Goes through these tables. Returns what changes, or `None` if the run was stopped.
    ///
    /// # Errors
    /// Returns an error if too many rows of a partition would be deleted one by one, or if the store does not answer.
    pub async fn tables(&self, tables: &[usize]) -> Result<Option<Vec<TableUndo>>, StoreError> {
        let mut done = Vec::new();
        for index in tables {
            let Some(table) = self.schema.tables.get(*index) else { continue };
            let Some(undone) = self.table(*index, table).await? else { return Ok(None) };
            if undone.removed + undone.restored > 0 {
                done.push(undone);
            }
        }
        Ok(Some(done))
    }

    async fn table(&self, index: usize, table: &Table) -> Result<Option<TableUndo>, StoreError> {
        let mut undone = TableUndo { table: table.name.clone(), ..TableUndo::default() };
        let ttl = self.target.backoff.with(|| self.target.store.lifetime(index)).await?;
        let (mut after, mut partitions) = (None, Partitions::new(&self.target, (index, table)));
        loop {
            let page = self.rows.0.page(index, after.take()).await?;
            let Some(last) = page.last() else { break };
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            after = Some(last.key.clone());
            let lifetime = Lifetime { ttl, now: clock() };
            let (origins, is_incomplete) = (&self.origins, self.is_incomplete);
            let rules = Rules { newest_at: table.newest_at(), origins, is_incomplete, lifetime };
            for rewrite in self.compared(index, page, &rules).await? {
                undone.add(rewrite.key.clone(), !is_removed(&rewrite));
                partitions.push(rewrite).await?;
            }
        }
        partitions.end().await?;
        Ok(Some(undone))
    }

    /// Returns what becomes of the rows of a page that change.
    async fn compared(
        &self,
        index: usize,
        page: Vec<KeyedRow>,
        rules: &Rules<'_>,
    ) -> Result<Vec<Rewrite>, StoreError> {
        let keys: Vec<TableRow> = page.iter().map(|row| row.key.clone()).collect();
        let expected = self.rows.1.rows_of(index, keys.clone()).await?;
        let Target { store, backoff, .. } = &self.target;
        let stored = backoff.with(|| store.stored_rows(index, keys.clone())).await?;
        let rows = page.into_iter().zip(expected).zip(stored);
        let changed = rows.filter_map(|((KeyedRow { key, row: own }, expected), stored)| {
            // A row that is not there was deleted by another program, or has expired.
            let stored = &stored?;
            if self.is_incomplete && own.is_unknown() {
                return None;
            }
            let change = rules.change(&Corrected { own: &own, expected: expected.as_ref(), stored })?;
            Some(Rewrite { key, change })
        });
        Ok(changed.collect())
    }
}

fn is_removed(rewrite: &Rewrite) -> bool {
    matches!(&rewrite.change, Change::Delete(kept) if kept.is_empty())
}
