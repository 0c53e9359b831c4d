//! Loads kept files into one new or changed table, under the stamps that their records already have (`load --table`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::domain::{Delivery, DeliveryId, DeliveryState, Feed, Feeds, Plan, Stamp, Table, ledger};
use crate::jobs::late_rows::{LateRows, LateTable};
use crate::jobs::loaded_rows::{LoadedChunk, LoadedRows};
use crate::jobs::locate::KeptFiles;
use crate::pipeline::prefix_check::KeptFileError;
use crate::pipeline::run_stats::RunStats;
use crate::source::Source;
use crate::store::StoreError;
use crate::store::backoff::Backoff;
use crate::store::listing::Deliveries;
use crate::store::repairs::{Lateness, Repairs};
use crate::store::scratch_folder::ScratchFolder;

/// The outcome of the backfill of one delivery.
#[derive(Debug)]
pub enum Backfilled {
    Done,
    Stopped,
    /// No kept file with the bytes and the records that were loaded can be read.
    Gone(KeptFileError),
}

/// A delivery with records that the table does not have. Kept in memory until its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Behind {
    /// The first stamp of the delivery, by which deliveries are ordered.
    begin: Option<Stamp>,
    /// The stamp after its last one.
    end: Stamp,
    pub id: DeliveryId,
    pub bytes: u64,
}

impl Behind {
    pub fn of(delivery: &Delivery) -> Self {
        let (begin, end) = (delivery.stamps.begin(), delivery.stamps.end());
        Self { begin, end, id: delivery.id, bytes: delivery.reach.offset }
    }
}

/// Backfills one table with deliveries.
pub struct Backfill<S, I> {
    pub store: Arc<S>,
    pub feeds: Feeds<KeptFiles<I>>,
    pub backoff: Backoff,
    pub stats: Arc<RunStats>,
    pub stop: CancellationToken,
    /// The name of the table.
    pub table: String,
}

impl<S: Repairs, I: Source> Backfill<S, I> {
    /// Whether a delivery has records that this table does not have.
    pub fn is_behind(&self, delivery: &Delivery) -> bool {
        let find = self.feeds.of(&delivery.file).ok();
        find.and_then(|find| self.table_in(&find.plan)).is_some_and(|(_, table)| delivery.is_behind(table))
    }

    /// Returns the table as a plan declares it, with its index in the plan. Not every feed has the table.
    fn table_in<'p>(&self, plan: &'p Plan) -> Option<(usize, &'p Table)> {
        plan.table(&self.table)
    }

    /// Returns the deliveries with records that this table does not have.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn behind_of(&self, feed: Option<&Feed>) -> Result<Vec<Behind>, StoreError> {
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        let mut behind = Vec::new();
        while let Some(delivery) = all.next().await? {
            if feed.is_none_or(|feed| delivery.file.feed() == feed.name()) && self.is_behind(&delivery) {
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
        let find = match self.feeds.of(&delivery.file) {
            Ok(find) => find,
            Err(why) => return Ok(Backfilled::Gone(why.into())),
        };
        let mut kept = match LoadedRows::open((&*self.store, &self.backoff), find, delivery).await? {
            Ok(kept) => kept,
            Err(why) => return Ok(Backfilled::Gone(why)),
        };
        let (mut first, mut rows) = (true, 0);
        loop {
            if self.stop.is_cancelled() {
                return Ok(Backfilled::Stopped);
            }
            match kept.next().await? {
                Ok(Some(chunk)) => rows += self.write(chunk, first).await?,
                Ok(None) => {
                    self.compare(delivery, rows);
                    return Ok(Backfilled::Done);
                }
                Err(why) => return Ok(Backfilled::Gone(why)),
            }
            first = false;
        }
    }

    /// Makes rows of these deliveries visible that a correction of the table would hide. Returns whether the run was stopped.
    ///
    /// # Errors
    /// Returns an error if other files that are needed cannot be read, or if the store does not answer.
    pub async fn uncover(
        &self,
        behind: &[Behind],
        table: usize,
        scratch: &ScratchFolder,
    ) -> Result<bool, StoreError> {
        let Some(late) = self.late_table(behind, table).await? else { return Ok(false) };
        let store = (&*self.store, &self.backoff);
        let is_needed = |one: &&Behind| {
            let begin = one.begin.unwrap_or_default();
            late.lateness == Lateness::Newest || self.store.lateness(table, begin, begin) != Lateness::None
        };
        let needed: Vec<&Behind> = behind.iter().filter(is_needed).collect();
        let mut rows = LateRows::begin(store, (&self.feeds, &self.stop), scratch, vec![late])?;
        for Behind { id, .. } in needed {
            let delivery = self.backoff.with(|| self.store.delivery(*id)).await?;
            let found = delivery.as_ref().and_then(|one| Some((one, self.feeds.of(&one.file).ok()?)));
            let Some((delivery, find)) = found else { continue };
            let Ok(mut kept) = LoadedRows::open(store, find, delivery).await? else { continue };
            while let Ok(Some(chunk)) = kept.next().await? {
                if self.stop.is_cancelled() {
                    return Ok(true);
                }
                rows.add(Arc::new(chunk.rows)).await?;
            }
        }
        rows.write().await?.into_stopped("records of the table")
    }

    /// Returns the table if records of these deliveries are late in it.
    async fn late_table(&self, behind: &[Behind], table: usize) -> Result<Option<LateTable>, StoreError> {
        let mut newest = self.newest().await?;
        for one in behind {
            let late = LateTable::of(&*self.store, (table, &self.table), one.begin.unwrap_or(newest), newest);
            if late.is_some() {
                return Ok(late);
            }
            newest = newest.max(one.end);
        }
        Ok(None)
    }

    /// Returns the end of the stamps of the deliveries that have rows in the table.
    async fn newest(&self) -> Result<Stamp, StoreError> {
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        let mut newest = Stamp::default();
        while let Some(delivery) = all.next().await? {
            let mut counts = delivery.receipt.tables.iter();
            if counts.any(|count| count.table == self.table && count.rows > 0) {
                newest = newest.max(delivery.stamps.end());
            }
        }
        Ok(newest)
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

    async fn write(&self, chunk: LoadedChunk, first: bool) -> Result<u64, StoreError> {
        let LoadedChunk { rows: chunk, left_out } = chunk;
        let chunk = Arc::new(chunk);
        let Some((table, _)) = self.table_in(&chunk.source.plan) else { return Ok(0) };
        let applied = self.backoff.with(|| self.store.backfill(table, Arc::clone(&chunk), first)).await?;
        self.stats.records(&chunk, 0);
        self.stats.left_out(left_out);
        self.stats.passed(chunk.len());
        if let Some(delta) = applied.tables.first() {
            self.stats.rows(&self.table, delta);
        }
        if chunk.end.is_some() {
            self.stats.delivery(DeliveryState::Loaded);
        }
        Ok(chunk.rows.len() as u64)
    }
}
