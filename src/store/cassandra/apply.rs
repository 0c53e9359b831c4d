//! Chunks whose rows are in the tables into quarantine and ledger: only now they count (law 1).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::account::{Account, Counted};
use super::ahead::Sent;
use super::ledger::count_of;
use super::refusal::{Failed, Judged, judged};
use super::rows::{self, Sending};
use super::stored::Entered;
use super::{Inner, Writing};
use crate::domain::{Delivery, DeliveryId, End, Mark, Outcome, Quarantined, RowChunk, State};
use crate::fault;
use crate::ledger::{Applied, TableDelta};
use crate::store::StoreError;

/// How far chunks are applied. Whoever waited for the store goes on from there: what counted once is not counted
/// again.
#[derive(Default)]
pub struct Progress {
    judged: OnceLock<Vec<Judged>>,
    /// Deliveries that the ledger has, and what is to be told of their chunks, by position.
    entered: Mutex<HashMap<DeliveryId, Vec<(usize, Applied)>>>,
}

impl Progress {
    fn entered(&self) -> MutexGuard<'_, HashMap<DeliveryId, Vec<(usize, Applied)>>> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has(&self, id: DeliveryId) -> bool {
        self.entered().contains_key(&id)
    }
}

pub async fn chunks(inner: &Inner, chunks: &[RowChunk], sent: &Sent) -> Result<Vec<Applied>, StoreError> {
    let (Some(writing), Some((sent, progress))) = (&inner.writing, sent) else {
        return dry(inner, chunks).await;
    };
    let failed = in_order(inner, chunks, progress).await?;
    writing.lease.check().await?;
    let judged = progress.judged.get_or_init(|| judged(writing, chunks, sent, failed));
    let accounts = Account::all(inner, writing, chunks, judged, progress).await?;
    // Keys count only as far as the ledger reaches.
    let saves = futures::future::try_join_all(accounts.iter().map(|account| account.save(writing)));
    futures::try_join!(writing.tables.check(inner), saves)?;
    let quarantined = quarantined(chunks, judged);
    writing.quarantine.save_headers(&writing.lease, chunks, &quarantined).await?;
    writing.quarantine.save(&writing.lease, quarantined).await?;
    fault::step("apply before the ledger");
    entered(inner, writing, (chunks, judged), accounts, sent, progress).await?;
    writing.ahead.done(chunks);
    Ok(told(chunks.len(), judged, progress))
}

/// The records that go to quarantine.
fn quarantined<'c>(chunks: &'c [RowChunk], judged: &'c [Judged]) -> Vec<(DeliveryId, &'c Quarantined)> {
    let of = |(chunk, judged): (&'c RowChunk, &'c Judged)| {
        let own = chunk.quarantined.iter().filter(|_| judged.failed.is_none());
        own.chain(&judged.refused).map(|record| (chunk.source.id, record))
    };
    chunks.iter().zip(judged).flat_map(of).collect()
}

pub fn sending<'s>(inner: &'s Inner, writing: &'s Writing, chunks: &'s [RowChunk]) -> Sending<'s> {
    Sending {
        session: &inner.session,
        settings: &inner.settings,
        lease: &writing.lease,
        pace: &writing.pace,
        permits: &writing.permits,
        writers: &writing.writers,
        chunks,
        longest: chunks.iter().map(|chunk| chunk.rows.longest()).max().unwrap_or(0),
    }
}

/// Every chunk must continue where its delivery stands. Those of deliveries that have failed do not matter:
/// why they have.
async fn in_order(inner: &Inner, chunks: &[RowChunk], progress: &Progress) -> Result<Failed, StoreError> {
    let (mut marks, mut failed) = (HashMap::new(), Failed::new());
    for chunk in chunks {
        let id = chunk.source.id;
        if failed.contains_key(&id) || progress.has(id) {
            continue;
        }
        let mark = match marks.get(&id) {
            Some(mark) => *mark,
            None => {
                let Delivery { state, detail, reach, .. } = inner.ledger.find(id).await?.delivery;
                if state == State::Failed {
                    failed.insert(id, detail);
                    continue;
                }
                reach
            }
        };
        let advanced: Result<Mark, _> = mark.advance(chunk.span);
        marks.insert(id, advanced.map_err(|error| inner.broken(error.to_string()))?);
    }
    Ok(failed)
}

pub fn is_provisional_row(chunk: &RowChunk) -> bool {
    chunk.ends_provisionally() && chunk.last == Some(Outcome::Loaded)
}

/// The ledger, once for each delivery.
async fn entered(
    inner: &Inner,
    writing: &Writing,
    (chunks, judged): (&[RowChunk], &[Judged]),
    accounts: Vec<Account>,
    sent: &rows::Sent,
    progress: &Progress,
) -> Result<(), StoreError> {
    for Account { id, own, keys, counted, .. } in accounts {
        let change = |entered: &mut Entered| {
            for at in &own {
                advance(inner, entered, &chunks[*at], &judged[*at], &counted, *at)?;
            }
            Ok(())
        };
        let (entered, ()) = inner.ledger.change(&writing.lease, id, change).await?;
        fault::step("apply after the ledger");
        if entered.delivery.state == State::Loading {
            writing.collisions.keep(id, keys).await;
        }
        let applied = own.into_iter().map(|at| (at, counts(&chunks[at], &judged[at], &counted, at, sent)));
        let applied = applied.collect();
        progress.entered().insert(id, applied);
    }
    Ok(())
}

/// What is to be told of all chunks.
fn told(chunks: usize, judged: &[Judged], progress: &Progress) -> Vec<Applied> {
    let mut all = vec![Applied::default(); chunks];
    for (at, applied) in progress.entered().values().flatten() {
        all[*at] = applied.clone();
    }
    for (applied, judged) in all.iter_mut().zip(judged) {
        (applied.refused, applied.failed) = (judged.refused.clone(), judged.failed.clone());
    }
    all
}

fn advance(
    inner: &Inner,
    entered: &mut Entered,
    chunk: &RowChunk,
    judged: &Judged,
    counted: &Counted,
    at: usize,
) -> Result<(), StoreError> {
    let delivery = &mut entered.delivery;
    if let Some(why) = &judged.failed {
        (delivery.state, delivery.detail) = (State::Failed, why.clone());
        return Ok(());
    }
    let refused = judged.refused.len() as u64;
    let loaded = chunk.rows.len() as u64 - refused;
    let reach = delivery.reach.advance(chunk.span);
    delivery.reach = reach.map_err(|error| inner.broken(error.to_string()))?;
    if !chunk.hash.is_empty() {
        delivery.hash.clone_from(&chunk.hash);
    }
    let receipt = &mut delivery.receipt;
    receipt.records = delivery.reach.record;
    receipt.loaded += loaded;
    receipt.skipped += chunk.skipped;
    receipt.quarantined += chunk.quarantined.len() as u64 + refused;
    for (table, declared) in inner.plan.tables.iter().enumerate() {
        let count = count_of(receipt, &declared.name);
        count.rows += loaded;
        let collisions = counted.collisions.get(&(at, table)).copied().unwrap_or(0);
        count.collisions = count.collisions.saturating_add_signed(collisions);
        count.estimated |= counted.estimated.get(table).copied().unwrap_or(false);
    }
    ended(entered, chunk, counted);
    Ok(())
}

fn ended(entered: &mut Entered, chunk: &RowChunk, counted: &Counted) {
    let delivery = &mut entered.delivery;
    let Some(end) = &chunk.end else { return };
    delivery.state = end.state();
    if let Some(detail) = end.detail() {
        detail.clone_into(&mut delivery.detail);
    }
    let End::Loaded { provisional } = end else { return };
    if delivery.receipt.parts.last() != Some(&delivery.reach.offset) {
        delivery.receipt.parts.push(delivery.reach.offset);
    }
    if let Some(at) = provisional {
        delivery.provisional = Some(at.clone());
        entered.outcome = outcome(chunk.last, &counted.collided);
    }
}

/// Before what became of a provisional record that was in quarantine.
pub const REPLAYED: &str = "replayed ";
/// What became of one that is to stay there.
pub const DISCARDED: &str = "discarded";

/// What became of a provisional record, and in which tables it was a collision.
pub fn outcome(last: Option<Outcome>, collided: &[String]) -> String {
    match last {
        Some(Outcome::Loaded) => format!("loaded {}", collided.join(",")),
        Some(Outcome::Skipped) => "skipped".to_owned(),
        Some(Outcome::Quarantined) | None => "quarantined".to_owned(),
    }
}

/// The account without its provisional last record.
pub fn without_provisional(entered: &mut Entered) -> Option<Delivery> {
    let before = entered.delivery.clone();
    let (mark, hash) = entered.delivery.provisional.take()?;
    let delivery = &mut entered.delivery;
    (delivery.reach, delivery.hash) = (mark, hash);
    let receipt = &mut delivery.receipt;
    receipt.records = mark.record;
    // It was in quarantine, and something became of it there.
    if let Some(outcome) = entered.outcome.strip_prefix(REPLAYED) {
        receipt.replayed = receipt.replayed.saturating_sub(1);
        entered.outcome = outcome.to_owned();
    } else if entered.outcome == DISCARDED {
        receipt.discarded = receipt.discarded.saturating_sub(1);
    }
    match entered.outcome.split_once(' ').map_or((entered.outcome.as_str(), ""), |parts| parts) {
        ("loaded", collided) => {
            receipt.loaded = receipt.loaded.saturating_sub(1);
            for count in &mut receipt.tables {
                count.rows = count.rows.saturating_sub(1);
                let was = collided.split(',').any(|table| table == count.table);
                count.collisions = count.collisions.saturating_sub(u64::from(was));
            }
        }
        ("skipped", _) => receipt.skipped = receipt.skipped.saturating_sub(1),
        _ => receipt.quarantined = receipt.quarantined.saturating_sub(1),
    }
    entered.outcome.clear();
    Some(before)
}

fn counts(chunk: &RowChunk, judged: &Judged, counted: &Counted, at: usize, sent: &rows::Sent) -> Applied {
    let rows = if judged.failed.is_some() { 0 } else { (chunk.rows.len() - judged.rows.len()) as u64 };
    let delta = |(table, (_, took)): (usize, &(u64, Duration))| TableDelta {
        rows,
        collisions: u64::try_from(counted.collisions.get(&(at, table)).copied().unwrap_or(0)).unwrap_or(0),
        took: *took,
    };
    Applied { tables: sent.tables.iter().enumerate().map(delta).collect(), ..Applied::default() }
}

/// Nothing is written, not even to the ledger: it moves on in memory.
async fn dry(inner: &Inner, chunks: &[RowChunk]) -> Result<Vec<Applied>, StoreError> {
    in_order(inner, chunks, &Progress::default()).await?;
    let mut applied = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        let counted = Counted::default();
        let change = |entered: &mut Entered| advance(inner, entered, chunk, &Judged::default(), &counted, at);
        inner.ledger.change_in_memory(chunk.source.id, change).await?;
        let rows = chunk.rows.len() as u64;
        let delta = TableDelta { rows, ..TableDelta::default() };
        applied.push(Applied { tables: vec![delta; inner.plan.tables.len()], ..Applied::default() });
    }
    Ok(applied)
}
