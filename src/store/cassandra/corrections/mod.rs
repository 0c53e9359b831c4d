//! Rewrites rows of the declared tables for corrections.

pub mod check;
pub mod noted;
pub mod bound;
mod repair;
pub mod statements;
pub mod stored;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::domain::correction::rewrite::Rewrite;
use crate::domain::correction::{Correction, CorrectionStamps, KeyedRow, StoredRow};
use crate::domain::ledger::Page;
use crate::domain::stamp::MAX_AHEAD;
use crate::domain::undo::TableUndo;
use crate::domain::{DeliveryId, RowCursor, Stamps, TableRow};
use crate::store::cassandra::CassandraStore;
use crate::store::cassandra::corrections::statements::Statements;
use crate::store::cassandra::corrections::stored::Bare;
use crate::store::cassandra::ledger::delivery_row::Entered;
use crate::store::cassandra::schema::identity;
use crate::store::clock::clock;
use crate::store::{RowRewriter, StoreError, failpoint};

/// How far, in microseconds, the clock of another client may be behind ours. What it writes during a correction is kept.
const SKEW: i64 = 1_000_000;

/// A wait that is worth a message.
const LONG: Duration = Duration::from_secs(3);

impl CassandraStore {
    async fn statements(&self, table: usize) -> Result<Arc<Statements>, StoreError> {
        let inner = &self.inner;
        inner.correcting.of(&inner.cluster, &inner.declared, table).await
    }
}

impl RowRewriter for CassandraStore {
    async fn check_tables(&self, tables: &[usize]) -> Result<(), StoreError> {
        check::tables(&self.inner, tables).await
    }

    async fn corrections(&self) -> Result<Vec<Correction>, StoreError> {
        noted::all(&self.inner.cluster).await
    }

    async fn lifetime(&self, table: usize) -> Result<Option<i64>, StoreError> {
        check::lifetime(&self.inner, table).await
    }

    async fn stored_rows(
        &self,
        table: usize,
        keys: Vec<TableRow>,
    ) -> Result<Vec<Option<StoredRow>>, StoreError> {
        let statements = self.statements(table).await?;
        stored::rows(&self.inner.cluster, &statements, keys).await
    }

    async fn rows_possibly_of(
        &self,
        table: usize,
        stamps: Stamps,
        from: Option<RowCursor>,
    ) -> Result<Page<KeyedRow, RowCursor>, StoreError> {
        stored::page(&self.inner, table, (&stamps, Bare::Included), from).await
    }

    async fn partition_rows(&self, table: usize, key: TableRow, most: u64) -> Result<u64, StoreError> {
        let statements = self.statements(table).await?;
        stored::count(&self.inner.cluster, &statements, key, most).await
    }

    async fn begin_correction(
        &self,
        delivery: Option<DeliveryId>,
        tables: Vec<usize>,
    ) -> Result<Correction, StoreError> {
        let (inner, writing) = (&self.inner, self.inner.writer()?);
        writing.tables.check().await?;
        let ids = identity::identities(&inner.cluster, &inner.declared).await?;
        let table = |at: usize| Some((inner.declared.tables.get(at)?.name.clone(), ids.get(at)?.to_text()));
        let tables = tables.into_iter().filter_map(table).collect();
        let range = writing.hand_out(0, CorrectionStamps::RECORDS).await?;
        let stamps = CorrectionStamps::new(range.base);
        // What an interrupted repair left is found again, so there is nothing to settle.
        let correction = Correction { stamps, delivery, tables, is_settled: delivery.is_none() };
        until_past(self, stamps).await?;
        writing.corrections.write(&writing.lease, &correction).await?;
        failpoint::step("correction noted");
        Ok(correction)
    }

    async fn enter_undone(
        &self,
        id: DeliveryId,
        tables: Vec<TableUndo>,
        by: Option<u32>,
    ) -> Result<(), StoreError> {
        let change = |entered: &mut Entered| {
            entered.delivery.undo(&tables, by);
            Ok::<_, StoreError>(())
        };
        self.inner.ledger.change(&self.inner.writer()?.lease, id, change).await?;
        failpoint::step("delivery undone");
        Ok(())
    }

    async fn rewrite(
        &self,
        correction: &Correction,
        table: usize,
        rewrites: Vec<Rewrite>,
    ) -> Result<(), StoreError> {
        let statements = self.statements(table).await?;
        write::rows(&self.inner, &statements, correction.stamps, &rewrites).await
    }

    async fn delete_partition(
        &self,
        correction: &Correction,
        table: usize,
        key: TableRow,
    ) -> Result<(), StoreError> {
        let statements = self.statements(table).await?;
        write::partition(&self.inner, &statements, correction.stamps, &key).await
    }

    async fn settle_correction(&self, correction: Correction) -> Result<(), StoreError> {
        let writing = self.inner.writer()?;
        failpoint::step("correction written");
        let settled = Correction { is_settled: true, ..correction };
        writing.corrections.write(&writing.lease, &settled).await?;
        failpoint::step("correction settled");
        Ok(())
    }
}

/// Waits until the clock has passed the stamps. Otherwise a value that another program writes meanwhile would be older than
/// the delete, and be lost.
async fn until_past(store: &CassandraStore, stamps: CorrectionStamps) -> Result<(), StoreError> {
    let ahead = stamps.kept().0.saturating_add(SKEW).saturating_sub(clock().0);
    if ahead > MAX_AHEAD {
        return Err(store.inner.cluster.shape(
            format!("the stamps of the correction are {} s ahead of the clock", ahead / 1_000_000),
            "wait until the clock has caught up; `needledrop check` says when",
        ));
    }
    let wait = Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
    if wait > LONG {
        info!("waiting {} s until the clock has passed the stamps of the correction", wait.as_secs());
    }
    tokio::time::sleep(wait).await;
    Ok(())
}
