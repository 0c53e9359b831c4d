//! Open records of the quarantine, tried once more by the configuration of now, or discarded.
//!
//! A page at a time: rows, entries and account of a page are settled together, so that a run that ends
//! anywhere is gone on with by the next.

mod chunk;
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::find::Find;
use super::transform::Transform;
use crate::domain::{Delivery, Header, Plan};
use crate::ledger::{self, Applied, TableDelta};
use crate::quarantine::{Entry, Fate, Filter, Retried};
use crate::store::patience::Patience;
use crate::store::{Store, StoreError};
use chunk::Making;

/// Settles open records.
pub struct Retry<S> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub find: Find,
    pub patience: Patience,
    pub stop: CancellationToken,
    /// Which of them.
    pub filter: Filter,
}

/// What became of the records of one delivery.
#[derive(Debug)]
pub struct Settled {
    pub path: String,
    pub generation: u32,
    pub loaded: u64,
    pub skipped: u64,
    pub discarded: u64,
    /// Still open, by reason.
    pub open: BTreeMap<&'static str, u64>,
    /// By name.
    pub tables: BTreeMap<String, TableDelta>,
    /// Some of its records were loaded under another declaration.
    pub other_declaration: bool,
    /// Why some could not be tried.
    pub untried: Option<String>,
}

/// What a run did, and whether it was stopped before its end.
#[derive(Debug, Default)]
pub struct Run {
    pub deliveries: Vec<Settled>,
    pub stopped: bool,
}

impl<S: Store> Retry<S> {
    /// Tries all of them once more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn replay(&self) -> Result<Run, StoreError> {
        let mut run = Run::default();
        for delivery in self.deliveries().await? {
            let mut settled = Settled::of(&delivery, &self.plan);
            run.stopped = self.again(&delivery, &mut settled).await?;
            run.add(settled);
            if run.stopped {
                break;
            }
        }
        Ok(run)
    }

    /// Discards all of them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn discard(&self) -> Result<Run, StoreError> {
        let mut run = Run::default();
        for delivery in self.deliveries().await? {
            let mut settled = Settled::of(&delivery, &self.plan);
            let mut from = 0;
            while let Some((page, next)) = self.page(&delivery, from, false).await? {
                run.stopped = self.stop.is_cancelled();
                if run.stopped {
                    break;
                }
                let records: Vec<u64> = page.iter().map(|entry| entry.record.record).collect();
                self.patience.with(|| self.store.discard(delivery.id, records.clone())).await?;
                settled.discarded += records.len() as u64;
                from = next;
            }
            run.add(settled);
            if run.stopped {
                break;
            }
        }
        Ok(run)
    }

    /// Deliveries with open records, in the order they were taken up.
    async fn deliveries(&self) -> Result<Vec<Delivery>, StoreError> {
        let of = self.filter.path.clone().map_or(ledger::Filter::All, ledger::Filter::Path);
        let mut all = self.patience.with(|| self.store.deliveries(of.clone())).await?;
        all.retain(|delivery| delivery.receipt.open() > 0);
        Ok(all)
    }

    /// The next open records of a delivery and where those behind them begin.
    async fn page(
        &self,
        delivery: &Delivery,
        from: u64,
        raw: bool,
    ) -> Result<Option<(Vec<Entry>, u64)>, StoreError> {
        let (fate, delivery_id) = (Some(Fate::Open), Some(delivery.id));
        let filter =
            Filter { delivery: delivery_id, fate, page_from: Some(from), raw, ..self.filter.clone() };
        let page = self.patience.with(|| self.store.quarantined(filter.clone())).await?;
        let next = page.last().map(|entry| entry.record.record + 1);
        Ok(next.map(|next| (page, next)))
    }

    /// Whether it was stopped before the end.
    async fn again(&self, delivery: &Delivery, settled: &mut Settled) -> Result<bool, StoreError> {
        let making = match self.making(delivery).await? {
            Ok(making) => Some(making),
            Err(why) => {
                settled.cannot(why);
                None
            }
        };
        let transform = Transform::new(Arc::clone(&self.plan), Arc::default());
        let (mut making, mut from) = (making, 0);
        while let Some((page, next)) = self.page(delivery, from, true).await? {
            if self.stop.is_cancelled() {
                return Ok(true);
            }
            from = next;
            let Some(making) = &mut making else {
                page.iter().for_each(|entry| settled.still_open(entry.record.reason.name()));
                continue;
            };
            let mut page = page.into_iter().peekable();
            while page.peek().is_some() {
                let retried = Arc::new(making.retried(&transform, &mut page, settled).await);
                if !retried.is_empty() {
                    let applied = self.patience.with(|| self.store.retry(Arc::clone(&retried))).await?;
                    settled.add(&self.plan, &retried, &applied);
                }
            }
        }
        Ok(false)
    }

    /// The inner error is why the records of this delivery cannot be read.
    async fn making(&self, delivery: &Delivery) -> Result<Result<Making, String>, StoreError> {
        let header = match header(&*self.store, &self.find, delivery).await? {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        Ok(Making::new(&self.find, delivery, header))
    }
}

/// The header of a delivery, as it was kept, or from its file; the inner error is why there is none.
///
/// # Errors
/// When the store does not answer.
pub async fn header(
    store: &impl Store,
    find: &Find,
    delivery: &Delivery,
) -> Result<Result<Header, String>, StoreError> {
    if let Some(header) = store.header(delivery.id).await? {
        return Ok(Ok(header));
    }
    let found = find.header(delivery).await;
    Ok(found.map_err(|why| format!("its header was not kept, and its file is not there any more: {why}")))
}

impl Run {
    fn add(&mut self, settled: Settled) {
        if settled.tried() + settled.discarded > 0 {
            self.deliveries.push(settled);
        }
    }
}

impl Settled {
    fn of(delivery: &Delivery, plan: &Plan) -> Self {
        Self {
            path: delivery.path.clone(),
            generation: delivery.generation,
            loaded: 0,
            skipped: 0,
            discarded: 0,
            open: BTreeMap::new(),
            tables: BTreeMap::new(),
            other_declaration: delivery.receipt.loaded > 0 && delivery.fingerprint != plan.fingerprint,
            untried: None,
        }
    }

    /// Records that were looked at.
    pub fn tried(&self) -> u64 {
        self.loaded + self.skipped + self.open.values().sum::<u64>()
    }

    fn still_open(&mut self, reason: &'static str) {
        *self.open.entry(reason).or_default() += 1;
    }

    /// Told once a delivery.
    fn cannot(&mut self, why: String) {
        if self.untried.is_none() {
            warn!(file = self.path, "left open: {why}");
            self.untried = Some(why);
        }
    }

    fn add(&mut self, plan: &Plan, retried: &Retried, applied: &Applied) {
        self.loaded += (retried.chunk.rows.len() - applied.refused.len()) as u64;
        self.skipped += retried.skipped.len() as u64;
        for entry in retried.chunk.quarantined.iter().chain(&applied.refused) {
            self.still_open(entry.reason.name());
        }
        for (table, delta) in plan.tables.iter().zip(&applied.tables) {
            let sum = self.tables.entry(table.name.clone()).or_default();
            sum.rows += delta.rows;
            sum.collisions += delta.collisions;
        }
    }
}
