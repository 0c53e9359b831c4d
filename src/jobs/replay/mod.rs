//! Tries open records of the quarantine again under the current configuration, or discards them.
//!
//! Works on a page at a time. Rows, entries and receipt of a page are settled together, so that an interrupted run can
//! be continued by the next one.

mod chunk;
mod failed;
mod full_record;
pub mod settled;
pub mod untried;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::quarantine::{EntryFilter, Fate};
use crate::domain::{Delivery, Feed, Feeds, Header, RowChunk, Stamp, ledger};
use crate::jobs::late_rows::{LateRows, LateTable};
use crate::jobs::locate::KeptFiles;
use crate::jobs::replay::chunk::ChunkMaker;
use crate::jobs::replay::settled::Settled;
use crate::jobs::replay::untried::{ReplayError, UntriedError};
use crate::source::Source;
use crate::store::backoff::Backoff;
use crate::store::listing::{Deliveries, Entries};
use crate::store::repairs::Repairs;
use crate::store::scratch_folder::ScratchFolder;
use crate::store::{Store, StoreError};

/// Settles open records.
pub struct Replayer<S, I> {
    pub store: Arc<S>,
    pub feeds: Feeds<KeptFiles<I>>,
    pub backoff: Backoff,
    pub stop: CancellationToken,
    /// The deliveries whose records are settled.
    pub deliveries: ledger::DeliveryFilter,
    /// The only feed whose records are settled.
    pub feed: Option<Feed>,
    /// The records of these deliveries that are settled.
    pub filter: EntryFilter,
    pub scratch: ScratchFolder,
}

/// What to do with open records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Replay,
    Discard,
}

/// A run over all deliveries, in the order they were taken up.
pub struct Run<'r, S, I> {
    retry: &'r Replayer<S, I>,
    deliveries: Deliveries<'r, S>,
    what: What,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
}

impl<S: Repairs, I: Source> Run<'_, S, I> {
    /// Settles the records of the next delivery that has open records. Returns `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn next(&mut self) -> Result<Option<Settled>, StoreError> {
        while !self.stopped
            && let Some(delivery) = self.deliveries.next().await?
        {
            if delivery.receipt.open() == 0 {
                continue;
            }
            let plan = self.retry.feeds.of(&delivery.file).ok().map(|find| &*find.plan);
            let mut settled = Settled::of(&delivery, plan);
            self.stopped = match self.what {
                What::Replay => self.retry.again(&delivery, &mut settled).await?,
                What::Discard => self.retry.discard(&delivery, &mut settled).await?,
            };
            if settled.tried() + settled.discarded > 0 {
                return Ok(Some(settled));
            }
        }
        Ok(None)
    }
}

impl<S: Repairs, I: Source> Replayer<S, I> {
    /// Starts a run at the first delivery.
    pub fn run(&self, what: What) -> Run<'_, S, I> {
        let deliveries = Deliveries::patiently(&*self.store, &self.backoff, self.deliveries.clone());
        let deliveries = deliveries.of(self.feed.clone());
        Run { retry: self, deliveries, what, stopped: false }
    }

    /// Lists the open records of a delivery.
    fn entries(&self, delivery: &Delivery, raw: bool) -> Entries<'_, S> {
        let filter = EntryFilter { fate: Some(Fate::Open), raw, ..self.filter.clone() };
        Entries::patiently(&*self.store, &self.backoff, delivery.id, filter)
    }

    /// Discards the open records of a delivery. Returns whether the run was stopped before the end.
    async fn discard(&self, delivery: &Delivery, settled: &mut Settled) -> Result<bool, StoreError> {
        self.discard_all(self.entries(delivery, false), delivery, settled).await
    }

    async fn discard_all(
        &self,
        mut entries: Entries<'_, S>,
        delivery: &Delivery,
        settled: &mut Settled,
    ) -> Result<bool, StoreError> {
        while let Some(page) = entries.page().await? {
            if self.stop.is_cancelled() {
                return Ok(true);
            }
            let records: Vec<u64> = page.iter().map(|entry| entry.record.record).collect();
            self.backoff.with(|| self.store.discard(delivery.id, records.clone())).await?;
            settled.discarded += records.len() as u64;
        }
        Ok(false)
    }

    /// Tries the open records of a delivery again. Returns whether the run was stopped before the end.
    async fn again(&self, delivery: &Delivery, settled: &mut Settled) -> Result<bool, StoreError> {
        if let Some(copy) = self.loaded_copy(delivery).await? {
            return self.make_duplicate(delivery, &copy, settled).await;
        }
        let making = match self.making(delivery).await {
            Ok(making) => Some(making),
            Err(error) => {
                settled.cannot(&error.untried()?);
                None
            }
        };
        let (mut making, mut entries) = (making, self.entries(delivery, true));
        while let Some(page) = entries.page().await? {
            if self.stop.is_cancelled() {
                return Ok(true);
            }
            let Some(making) = &mut making else {
                page.iter().for_each(|entry| settled.still_open(entry.record.reason.name()));
                continue;
            };
            let mut page = page.into_iter().peekable();
            while page.peek().is_some() {
                let retried = Arc::new(making.retried(&mut page, settled).await);
                if !retried.is_empty() {
                    if self.uncover(&retried.chunk).await? {
                        return Ok(true);
                    }
                    let applied = self.backoff.with(|| self.store.replay(Arc::clone(&retried))).await?;
                    settled.add(&retried, &applied);
                }
            }
        }
        Ok(false)
    }

    /// Makes rows visible that a later correction would hide. Returns whether the run was stopped.
    async fn uncover(&self, chunk: &Arc<RowChunk>) -> Result<bool, StoreError> {
        let Some(first) = chunk.rows.first_stamp() else { return Ok(false) };
        let tables =
            chunk.source.plan.tables.iter().filter_map(|table| self.scratch.schema.table(&table.name));
        // Other files may have been loaded since.
        let newest = Stamp(i64::MAX);
        let late = tables
            .filter_map(|(index, table)| LateTable::of(&*self.store, (index, &table.name), first, newest));
        let late: Vec<LateTable> = late.collect();
        if late.is_empty() {
            return Ok(false);
        }
        let store = (&*self.store, &self.backoff);
        let mut late = LateRows::begin(store, (&self.feeds, &self.stop), &self.scratch, late)?;
        late.add(Arc::clone(chunk)).await?;
        late.write().await?.into_stopped("records in quarantine")
    }

    async fn making(&self, delivery: &Delivery) -> Result<ChunkMaker<I>, ReplayError> {
        let find = self.feeds.of(&delivery.file).map_err(UntriedError::from)?;
        self.check_failed(find, delivery).await?;
        let header = header(&*self.store, find, delivery).await?;
        Ok(ChunkMaker::new(find, delivery, header)?)
    }
}

/// Returns the header of a delivery: the names that are declared, or else those in the store or in the file.
///
/// # Errors
/// Returns an error if neither has the header, or if the store does not answer.
pub async fn header(
    store: &impl Store,
    find: &KeptFiles<impl Source>,
    delivery: &Delivery,
) -> Result<Header, ReplayError> {
    if let Some(names) = find.plan.format.names() {
        return Ok(Header(names.to_vec()));
    }
    if let Some(header) = store.header(delivery.id).await? {
        return Ok(header);
    }
    Ok(find.header(delivery).await.map_err(UntriedError::NoHeader)?)
}
