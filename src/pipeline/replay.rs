//! Kept files played into one table anew, under the stamps their records have (`load --table`).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::find::Find;
use super::kept::Kept;
use super::tally::Tally;
use super::transform::Transform;
use crate::domain::{Delivery, DeliveryId, Plan, RowChunk, State};
use crate::quarantine::{self, Fate};
use crate::store::patience::Patience;
use crate::store::{Store, StoreError};

/// How the replay of one delivery went.
#[derive(Debug)]
pub enum Replayed {
    Done,
    Stopped,
    /// Why the file is not what was loaded.
    Gone(String),
}

/// Replays deliveries into one table.
pub struct Replay<S> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub find: Find,
    pub patience: Patience,
    pub tally: Arc<Tally>,
    pub stop: CancellationToken,
    /// Index in the plan.
    pub table: usize,
}

impl<S: Store> Replay<S> {
    /// Deliveries that have records this table has not, in the order of their stamps.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn behind(&self) -> Result<Vec<Delivery>, StoreError> {
        let all = self.patience.with(|| self.store.deliveries(crate::ledger::Filter::All)).await?;
        let table = self.plan.tables.get(self.table);
        let mut behind: Vec<_> =
            all.into_iter().filter(|delivery| table.is_some_and(|table| delivery.is_behind(table))).collect();
        behind.sort_by_key(|delivery| delivery.stamps.begin());
        Ok(behind)
    }

    /// Plays one delivery, as far as it is durable in the other tables.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn delivery(&self, delivery: &Delivery) -> Result<Replayed, StoreError> {
        let beginning = match self.find.beginning(delivery).await {
            Ok(beginning) => beginning,
            Err(why) => return Ok(Replayed::Gone(why)),
        };
        let (id, path, until) = (delivery.id, &delivery.path, delivery.reach.offset);
        let mut kept = Kept::new(beginning, id, path, delivery.stamps.clone(), until);
        let transform = Transform::new(Arc::clone(&self.plan), Arc::default());
        let refused = self.refused(id).await?;
        let (mut first, mut rows) = (true, 0);
        loop {
            if self.stop.is_cancelled() {
                return Ok(Replayed::Stopped);
            }
            match kept.next().await {
                Ok(Some(mut raw)) => {
                    let left_out = raw.leave_out(&refused);
                    rows += self.write(transform.chunk(raw).await, left_out, first).await?;
                }
                Ok(None) => {
                    self.compare(delivery, rows);
                    return Ok(Replayed::Done);
                }
                Err(error) => return Ok(Replayed::Gone(error.to_string())),
            }
            first = false;
        }
    }

    /// Numbers of the records that were refused before and not replayed: they are in no table.
    async fn refused(&self, id: DeliveryId) -> Result<HashSet<u64>, StoreError> {
        let filter = quarantine::Filter { delivery: Some(id), ..quarantine::Filter::default() };
        let entries = self.patience.with(|| self.store.quarantined(filter.clone())).await?;
        let never = entries.into_iter().filter(|entry| entry.fate != Fate::Replayed);
        Ok(never.map(|entry| entry.record.record).collect())
    }

    /// Records that are in other tables, but cannot be in this one.
    fn compare(&self, delivery: &Delivery, rows: u64) {
        let missing = delivery.receipt.loaded.saturating_sub(rows);
        if missing > 0 {
            warn!(
                file = delivery.path,
                "{missing} loaded records have no row in this table: its key is empty, or a value does not fit"
            );
            self.tally.refused.fetch_add(missing, Ordering::Relaxed);
        }
    }

    async fn write(&self, chunk: RowChunk, left_out: u64, first: bool) -> Result<u64, StoreError> {
        let chunk = Arc::new(chunk);
        let applied = self.patience.with(|| self.store.replay(self.table, Arc::clone(&chunk), first)).await?;
        self.tally.records(&chunk, 0);
        self.tally.left_out(left_out);
        self.tally.passed(chunk.len());
        if let (Some(table), Some(delta)) = (self.plan.tables.get(self.table), applied.tables.first()) {
            self.tally.rows(&table.name, delta);
        }
        if chunk.end.is_some() {
            self.tally.delivery(State::Loaded);
        }
        Ok(chunk.rows.len() as u64)
    }
}
