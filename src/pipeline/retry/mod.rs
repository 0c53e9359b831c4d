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
use crate::quarantine::{Fate, Filter, Retried};
use crate::store::listing::{Deliveries, Entries};
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
    /// The deliveries whose records are settled.
    pub deliveries: ledger::Filter,
    /// The records of these deliveries that are settled.
    pub filter: Filter,
}

/// The action on open records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Replay,
    Discard,
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

/// A run over all deliveries, in the order they were taken up.
pub struct Run<'r, S> {
    retry: &'r Retry<S>,
    deliveries: Deliveries<'r, S>,
    what: What,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
}

impl<S: Store> Run<'_, S> {
    /// Settles the records of the next delivery that has open records; `None` at the end.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn next(&mut self) -> Result<Option<Settled>, StoreError> {
        while !self.stopped
            && let Some(delivery) = self.deliveries.next().await?
        {
            if delivery.receipt.open() == 0 {
                continue;
            }
            let mut settled = Settled::of(&delivery, &self.retry.plan);
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

impl<S: Store> Retry<S> {
    /// A run that begins with the first delivery.
    pub fn run(&self, what: What) -> Run<'_, S> {
        let deliveries = Deliveries::patiently(&*self.store, &self.patience, self.deliveries.clone());
        Run { retry: self, deliveries, what, stopped: false }
    }

    /// The open records of a delivery.
    fn entries(&self, delivery: &Delivery, raw: bool) -> Entries<'_, S> {
        let filter = Filter { fate: Some(Fate::Open), raw, ..self.filter.clone() };
        Entries::patiently(&*self.store, &self.patience, delivery.id, filter)
    }

    /// Discards the open records of a delivery. Returns whether it was stopped before the end.
    async fn discard(&self, delivery: &Delivery, settled: &mut Settled) -> Result<bool, StoreError> {
        let mut entries = self.entries(delivery, false);
        while let Some(page) = entries.page().await? {
            if self.stop.is_cancelled() {
                return Ok(true);
            }
            let records: Vec<u64> = page.iter().map(|entry| entry.record.record).collect();
            self.patience.with(|| self.store.discard(delivery.id, records.clone())).await?;
            settled.discarded += records.len() as u64;
        }
        Ok(false)
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
