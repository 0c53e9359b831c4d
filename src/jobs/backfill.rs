//! Loads kept files into one new or changed table, under the stamps that their records already have (`load --table`).

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::domain::quarantine::Fate;
use crate::domain::{Delivery, DeliveryId, DeliveryState, Plan, RowChunk, Stamp, ledger, quarantine};
use crate::jobs::locate::KeptFiles;
use crate::pipeline::archived_reader::ArchivedReader;
use crate::pipeline::prefix_check::KeptFileError;
use crate::pipeline::row_builder::RowBuilder;
use crate::pipeline::run_stats::RunStats;
use crate::source::Source;
use crate::store::backoff::Backoff;
use crate::store::listing::{Deliveries, Entries};
use crate::store::{Store, StoreError};

/// The outcome of the backfill of one delivery.
#[derive(Debug)]
pub enum Backfilled {
    Done,
    Stopped,
    /// No kept file with the bytes that were loaded can be read.
    Gone(KeptFileError),
}

/// A delivery with records that the table does not have. Kept in memory until its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Behind {
    /// The first stamp of the delivery, by which deliveries are ordered.
    begin: Option<Stamp>,
    pub id: DeliveryId,
    pub bytes: u64,
}

impl Behind {
    pub fn of(delivery: &Delivery) -> Self {
        Self { begin: delivery.stamps.begin(), id: delivery.id, bytes: delivery.reach.offset }
    }
}

/// Backfills one table with deliveries.
pub struct Backfill<S, I> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub find: KeptFiles<I>,
    pub backoff: Backoff,
    pub stats: Arc<RunStats>,
    pub stop: CancellationToken,
    /// The index of the table in the plan.
    pub table: usize,
}

impl<S: Store, I: Source> Backfill<S, I> {
    /// Whether a delivery has records that this table does not have.
    pub fn is_behind(&self, delivery: &Delivery) -> bool {
        self.plan.tables.get(self.table).is_some_and(|table| delivery.is_behind(table))
    }

    /// Returns the deliveries with records that this table does not have.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn behind(&self) -> Result<Vec<Behind>, StoreError> {
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        let mut behind = Vec::new();
        while let Some(delivery) = all.next().await? {
            if self.is_behind(&delivery) {
                behind.push(Behind::of(&delivery));
            }
        }
        Ok(behind)
    }

    /// Backfills the records of one delivery that are durable in the other tables.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn delivery(&self, delivery: &Delivery) -> Result<Backfilled, StoreError> {
        let beginning = match self.find.beginning(delivery).await {
            Ok(beginning) => beginning,
            Err(why) => return Ok(Backfilled::Gone(why)),
        };
        let (id, file, until) = (delivery.id, &delivery.file, delivery.reach.offset);
        let mut kept = ArchivedReader::new(beginning, id, file, delivery.stamps.clone(), until);
        let transform = RowBuilder::new(Arc::clone(&self.plan), Arc::default());
        let has_entries = delivery.receipt.quarantined + delivery.receipt.replayed > 0;
        let (mut first, mut rows) = (true, 0);
        loop {
            if self.stop.is_cancelled() {
                return Ok(Backfilled::Stopped);
            }
            match kept.next().await {
                Ok(Some(mut raw)) => {
                    let left_out = match has_entries {
                        true => {
                            raw.leave_out(&self.refused(id, raw.span.from.record..raw.span.to.record).await?)
                        }
                        false => 0,
                    };
                    rows += self.write(transform.chunk(raw).await, left_out, first).await?;
                }
                Ok(None) => {
                    self.compare(delivery, rows);
                    return Ok(Backfilled::Done);
                }
                Err(error) => return Ok(Backfilled::Gone(error.into())),
            }
            first = false;
        }
    }

    /// Returns the numbers of the records in this range that were refused and not replayed. They are in no table.
    async fn refused(&self, id: DeliveryId, records: Range<u64>) -> Result<HashSet<u64>, StoreError> {
        let filter = quarantine::EntryFilter::default();
        let entries = Entries::patiently(&*self.store, &self.backoff, id, filter);
        let (mut entries, mut never) = (entries.from(records.start), HashSet::new());
        while let Some(page) = entries.page().await? {
            let in_range = page.iter().take_while(|entry| entry.record.record < records.end);
            let refused = in_range.filter(|entry| entry.fate != Fate::Replayed);
            never.extend(refused.map(|entry| entry.record.record));
            if page.last().is_some_and(|last| last.record.record >= records.end) {
                break;
            }
        }
        Ok(never)
    }

    /// Reports records that are in other tables but have no row in this table.
    fn compare(&self, delivery: &Delivery, rows: u64) {
        let missing = delivery.receipt.loaded.saturating_sub(rows);
        if missing > 0 {
            warn!(
                file = delivery.file.text(),
                "{missing} loaded records have no row in this table: their key is empty, or a value does not fit"
            );
            self.stats.refused.fetch_add(missing, Ordering::Relaxed);
        }
    }

    async fn write(&self, chunk: RowChunk, left_out: u64, first: bool) -> Result<u64, StoreError> {
        let chunk = Arc::new(chunk);
        let applied =
            self.backoff.with(|| self.store.backfill(self.table, Arc::clone(&chunk), first)).await?;
        self.stats.records(&chunk, 0);
        self.stats.left_out(left_out);
        self.stats.passed(chunk.len());
        if let (Some(table), Some(delta)) = (self.plan.tables.get(self.table), applied.tables.first()) {
            self.stats.rows(&table.name, delta);
        }
        if chunk.end.is_some() {
            self.stats.delivery(DeliveryState::Loaded);
        }
        Ok(chunk.rows.len() as u64)
    }
}
