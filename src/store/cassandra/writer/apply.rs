//! Applies chunks whose rows have been written: saves their quarantined records, then advances the ledger (law 1).

use std::collections::HashMap;
use std::sync::PoisonError;

use crate::domain::ledger::Applied;
use crate::domain::{Delivery, DeliveryId, DeliveryState, Position, Quarantined, RowChunk};
use crate::store::cassandra::ledger::delivery_row::Entered;
use crate::store::cassandra::shared::{Inner, Writing};
use crate::store::cassandra::writer::key_counts::{Counted, KeyCounts};
use crate::store::cassandra::writer::layout::tables_of;
use crate::store::cassandra::writer::progress::Progress;
use crate::store::cassandra::writer::send_window::{Run, Window};
use crate::store::cassandra::writer::{rows, tails};
use crate::store::rejection::{Failed, Judged, judged};
use crate::store::{StoreError, failpoint};

/// Applies a window of chunks. Open tails are sent and applied after all other chunks.
pub async fn chunks(inner: &Inner, window: &[RowChunk], sent: &Window) -> Result<Vec<Applied>, StoreError> {
    let writing = inner.writer()?;
    let body = sent.body.chunks(window);
    let tails: Vec<&RowChunk> = window.iter().filter(|chunk| chunk.is_tail).collect();
    run(inner, writing, (&body, &tails), &sent.body).await?;
    let tails = sent.tails.get_or_try_init(|| tails::send(inner, writing, window)).await?;
    run(inner, writing, (&tails.chunks(window), &[]), tails).await?;
    let mut all = vec![Applied::default(); window.len()];
    sent.body.copy_results(&mut all);
    tails.copy_results(&mut all);
    tails::report_failed(inner, window, tails, &mut all).await?;
    Ok(all)
}

/// Applies chunks whose rows have been sent. The write that advances a delivery in the ledger also notes the open tail
/// that follows.
async fn run(
    inner: &Inner,
    writing: &Writing,
    (chunks, tails): (&[&RowChunk], &[&RowChunk]),
    Run { rows, progress, .. }: &Run,
) -> Result<(), StoreError> {
    if chunks.is_empty() {
        return Ok(());
    }
    let failed = in_order(inner, chunks, progress).await?;
    writing.lease.check().await?;
    let judged = progress.judged.get_or_init(|| {
        let mut known = writing.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        judged(&mut known, chunks, &rows.refused, failed)
    });
    let accounts = KeyCounts::all(inner, writing, chunks, judged, progress).await?;
    // Saving keys before the ledger advances is safe: keys beyond the committed position do not count.
    let saves = futures::future::try_join_all(accounts.iter().map(|account| account.save(writing)));
    futures::try_join!(writing.tables.check(), saves)?;
    let quarantined = quarantined(chunks, judged, progress);
    writing.quarantine.save_headers(&writing.lease, chunks, &quarantined).await?;
    writing.quarantine.save(&writing.lease, quarantined).await?;
    failpoint::step("apply before the ledger");
    entered(inner, writing, (chunks, tails, judged), accounts, (rows, progress)).await?;
    writing.ahead.done(chunks);
    Ok(())
}

impl Run {
    /// Copies the results of this run's chunks to their places in the window.
    fn copy_results(&self, all: &mut [Applied]) {
        let judged = self.progress.judged.get().map(Vec::as_slice).unwrap_or_default();
        for (at, applied) in self.progress.entered().values().flatten() {
            if let Some(place) = self.places.get(*at).and_then(|place| all.get_mut(*place)) {
                *place = applied.clone();
            }
        }
        for (place, judged) in self.places.iter().zip(judged) {
            if let Some(applied) = all.get_mut(*place) {
                (applied.refused, applied.failed) = (judged.refused.clone(), judged.failed.clone());
            }
        }
    }
}

/// Returns the records that still have to be saved to quarantine. Deliveries whose ledger row is already written are
/// left out: their records were saved before that row, and an entry saved after it would not count.
fn quarantined<'c>(
    chunks: &'c [&'c RowChunk],
    judged: &'c [Judged],
    progress: &Progress,
) -> Vec<(DeliveryId, &'c Quarantined)> {
    let of = |(chunk, judged): (&'c &'c RowChunk, &'c Judged)| {
        let own = chunk.quarantined.iter().filter(|_| judged.failed.is_none());
        own.chain(&judged.refused).map(|record| (chunk.source.id, record))
    };
    let left = chunks.iter().zip(judged).filter(|(chunk, _)| !progress.has(chunk.source.id));
    left.flat_map(of).collect()
}

/// Checks that every chunk continues where its delivery stands. Returns the deliveries that have already failed, with
/// the reason. Their chunks are not checked.
async fn in_order(inner: &Inner, chunks: &[&RowChunk], progress: &Progress) -> Result<Failed, StoreError> {
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
                if state == DeliveryState::Failed {
                    failed.insert(id, detail);
                    continue;
                }
                reach
            }
        };
        let advanced: Result<Position, _> = mark.advance(chunk.span);
        marks.insert(id, advanced.map_err(|error| inner.cluster.broken(error))?);
    }
    Ok(failed)
}

/// Writes the ledger, once for each delivery.
async fn entered(
    inner: &Inner,
    writing: &Writing,
    (chunks, tails, judged): (&[&RowChunk], &[&RowChunk], &[Judged]),
    accounts: Vec<KeyCounts>,
    (sent, progress): (&rows::Sent, &Progress),
) -> Result<(), StoreError> {
    for KeyCounts { id, own, keys, counted, .. } in accounts {
        let change = |entered: &mut Entered| {
            for at in &own {
                advance(inner, entered, (chunks[*at], *at), &judged[*at], (&counted, sent))?;
            }
            if let Some(tail) = tails.iter().find(|tail| tail.source.id == id) {
                tails::note(entered, tail);
            }
            Ok::<_, StoreError>(())
        };
        let (entered, ()) = inner.ledger.change(&writing.lease, id, change).await?;
        failpoint::step("apply after the ledger");
        if entered.delivery.state == DeliveryState::Loading {
            writing.collisions.keep(id, keys).await;
        }
        let applied =
            own.into_iter().map(|at| (at, counts(inner, (chunks[at], at), &judged[at], &counted, sent)));
        let applied = applied.collect();
        progress.entered().insert(id, applied);
    }
    Ok(())
}

fn advance(
    inner: &Inner,
    entered: &mut Entered,
    (chunk, at): (&RowChunk, usize),
    judged: &Judged,
    (counted, sent): (&Counted, &rows::Sent),
) -> Result<(), StoreError> {
    let delivery = &mut entered.delivery;
    if let Some(why) = &judged.failed {
        delivery.fail(why);
        return Ok(());
    }
    let refused = judged.refused.len() as u64;
    delivery.advance(chunk, refused).map_err(|error| inner.cluster.broken(error.to_string()))?;
    let rows = chunk.rows.len() as u64 - refused;
    let deltas =
        tables_of(&inner.declared, chunk).into_iter().map(|table| counted.delta(sent, (at, table), rows));
    delivery.receipt.add_rows(&chunk.source.plan.tables, deltas);
    Ok(())
}

fn counts(
    inner: &Inner,
    (chunk, at): (&RowChunk, usize),
    judged: &Judged,
    counted: &Counted,
    sent: &rows::Sent,
) -> Applied {
    let rows = if judged.failed.is_some() { 0 } else { (chunk.rows.len() - judged.rows.len()) as u64 };
    let delta = |table: usize| counted.delta(sent, (at, table), rows);
    let tables = tables_of(&inner.declared, chunk).into_iter().map(delta).collect();
    Applied { tables, ..Applied::default() }
}
