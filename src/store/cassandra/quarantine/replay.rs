//! Settles quarantined records. The rows are written first. Entries, keys and the receipt of the delivery follow in one
//! logged batch, which the server completes.

use std::collections::BTreeSet;

use crate::domain::ledger::Applied;
use crate::domain::quarantine::{Fate, Replay};
use crate::domain::{DeliveryId, RowChunk, TableDelta};
use crate::store::cassandra::ledger::Beside;
use crate::store::cassandra::ledger::delivery_row::Entered;
use crate::store::cassandra::shared::{Inner, Writing, sending};
use crate::store::cassandra::writer::key_counts::KeyCounts;
use crate::store::cassandra::writer::layout::tables_of;
use crate::store::cassandra::writer::progress::Progress;
use crate::store::cassandra::writer::rows::Sent;
use crate::store::rejection::Judged;
use crate::store::{StoreError, failpoint, rejection};

pub async fn retried(inner: &Inner, retried: &Replay) -> Result<Applied, StoreError> {
    let (writing, chunk) = (inner.writer()?, &retried.chunk);
    let id = chunk.source.id;
    let still = chunk.quarantined.iter().map(|entry| entry.record);
    check_open(inner, writing, id, retried.loaded().chain(retried.skipped.iter().copied()).chain(still))
        .await?;
    let sent = send(inner, writing, chunk).await?;
    let judged = rejection::each(chunk, &sent.refused);
    let still = chunk.quarantined.iter().chain(&judged.refused);
    writing.quarantine.explain(&writing.lease, id, still).await?;
    failpoint::step("replay before the ledger");
    let mut accounts =
        KeyCounts::all(inner, writing, &[chunk], std::slice::from_ref(&judged), &Progress::default()).await?;
    let Some(account) = accounts.pop() else { return Ok(Applied::default()) };
    let beside = beside(writing, retried, &judged, &account);
    let change = |entered: &mut Entered| enter(inner, entered, retried, &judged, (&account, &sent));
    inner.ledger.settle(&writing.lease, id, change, beside).await?;
    failpoint::step("replay after the ledger");
    let tables = tables_of(&inner.declared, chunk);
    let tables = tables.into_iter().map(|table| delta(chunk, &sent, &judged, &account, table)).collect();
    writing.collisions.keep_alone(id, account.keys).await;
    Ok(Applied { tables, refused: judged.refused, failed: None })
}

/// Checks that all of these records are open, so that no record is settled twice.
async fn check_open(
    inner: &Inner,
    writing: &Writing,
    id: DeliveryId,
    records: impl Iterator<Item = u64>,
) -> Result<(), StoreError> {
    let records: BTreeSet<u64> = records.collect();
    let entered = inner.ledger.find(id).await?;
    // The row of a delivery with a noted tail can be too large for the batch that settles records.
    if entered.delivery.note.is_some() {
        let what = format!("delivery {} was interrupted while its last record was being written", id.0);
        let next = "run `needledrop run --once`, which writes that record, then try again".to_owned();
        return Err(StoreError::System { store: inner.cluster.name(), what, next });
    }
    if inner.ledger.is_unsettled(id)
        || writing.quarantine.open_among(&entered, &records).await? == records.len()
    {
        return Ok(());
    }
    Err(inner.cluster.broken(format!(
        "some of {} records of delivery {} are not open in quarantine",
        records.len(),
        id.0
    )))
}

/// Sends the rows of a chunk to all tables.
async fn send(inner: &Inner, writing: &Writing, chunk: &RowChunk) -> Result<Sent, StoreError> {
    writing.lease.check().await?;
    writing.tables.check().await?;
    failpoint::step("replay before the rows");
    let all: Vec<usize> = (0..inner.declared.tables.len()).collect();
    let sent = sending(inner, writing, &[chunk]).all(&all).await?;
    writing.tables.check().await?;
    failpoint::step("replay after the rows");
    Ok(sent)
}

/// Returns the numbers of the records that are now rows in every table.
fn loaded<'r>(retried: &'r Replay, judged: &'r Judged) -> impl Iterator<Item = u64> + 'r {
    let is_refused = |record: &u64| judged.refused.iter().any(|entry| entry.record == *record);
    retried.loaded().filter(move |record| !is_refused(record))
}

fn beside(writing: &Writing, retried: &Replay, judged: &Judged, account: &KeyCounts) -> Vec<Beside> {
    let id = retried.chunk.source.id;
    let settled = loaded(retried, judged).chain(retried.skipped.iter().copied());
    let fates = settled.map(|record| writing.quarantine.settling(id, record, Fate::Replayed));
    let first = loaded(retried, judged).next().unwrap_or(0);
    let keys = writing.writers.iter().zip(&account.counted.new);
    let keys = keys.filter_map(|(writer, new)| writing.collisions.beside(id, &writer.name, first, new));
    fates.chain(keys).collect()
}

fn enter(
    inner: &Inner,
    entered: &mut Entered,
    retried: &Replay,
    judged: &Judged,
    (account, sent): (&KeyCounts, &Sent),
) {
    let (loaded, skipped) = (loaded(retried, judged).count() as u64, retried.skipped.len() as u64);
    let tables = &retried.chunk.source.plan.tables;
    let of_chunk = tables_of(&inner.declared, &retried.chunk);
    let deltas = of_chunk.into_iter().map(|table| account.counted.delta(sent, (0, table), loaded));
    let tolerated = &retried.chunk.tolerated;
    entered.delivery.replay((loaded, skipped, tolerated), tables, deltas);
}

fn delta(chunk: &RowChunk, sent: &Sent, judged: &Judged, account: &KeyCounts, table: usize) -> TableDelta {
    let rows = (chunk.rows.len() - judged.rows.len()) as u64;
    account.counted.delta(sent, (0, table), rows)
}

pub async fn discarded(inner: &Inner, id: DeliveryId, records: &[u64]) -> Result<(), StoreError> {
    let writing = inner.writer()?;
    let settling = |record: &u64| writing.quarantine.settling(id, *record, Fate::Discarded);
    let change = |entered: &mut Entered| entered.delivery.receipt.discard(records.len() as u64);
    check_open(inner, writing, id, records.iter().copied()).await?;
    failpoint::step("discard before the ledger");
    inner.ledger.settle(&writing.lease, id, change, records.iter().map(settling).collect()).await?;
    failpoint::step("discard after the ledger");
    Ok(())
}
