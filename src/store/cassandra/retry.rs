//! Quarantined records settled: rows first, then entries, keys and the account of their delivery in one
//! logged batch, which the server finishes.

use std::collections::BTreeSet;

use super::account::Account;
use super::apply::{DISCARDED, Progress, REPLAYED, is_provisional_row, outcome, sending};
use super::ledger::{Beside, count_of};
use super::refusal::{self, Judged};
use super::rows::Sent;
use super::stored::Entered;
use super::{Inner, Writing};
use crate::domain::{DeliveryId, Outcome, RowChunk};
use crate::fault;
use crate::ledger::{Applied, TableDelta};
use crate::quarantine::{Fate, Retried};
use crate::store::StoreError;

pub async fn retried(inner: &Inner, retried: &Retried) -> Result<Applied, StoreError> {
    let (writing, chunk) = (inner.writer()?, &retried.chunk);
    let id = chunk.source.id;
    let still = chunk.quarantined.iter().map(|entry| entry.record);
    check_open(inner, writing, id, retried.loaded().chain(retried.skipped.iter().copied()).chain(still))
        .await?;
    let sent = send(inner, writing, chunk).await?;
    let judged = refusal::each(chunk, &sent);
    let still = chunk.quarantined.iter().chain(&judged.refused);
    writing.quarantine.explain(&writing.lease, id, still).await?;
    fault::step("retry before the ledger");
    let one = std::slice::from_ref(chunk);
    let mut accounts =
        Account::all(inner, writing, one, std::slice::from_ref(&judged), &Progress::default()).await?;
    let Some(account) = accounts.pop() else { return Ok(Applied::default()) };
    let beside = beside(writing, retried, &judged, &account);
    let change = |entered: &mut Entered| enter(inner, entered, retried, &judged, &account);
    inner.ledger.settle(&writing.lease, id, change, beside).await?;
    fault::step("retry after the ledger");
    let tables = (0..sent.tables.len()).map(|table| delta(chunk, &sent, &judged, &account, table)).collect();
    writing.collisions.keep_alone(id, account.keys).await;
    Ok(Applied { tables, refused: judged.refused, failed: None })
}

/// Nothing is settled twice.
async fn check_open(
    inner: &Inner,
    writing: &Writing,
    id: DeliveryId,
    records: impl Iterator<Item = u64>,
) -> Result<(), StoreError> {
    let records: BTreeSet<u64> = records.collect();
    if inner.ledger.is_unsettled(id) || writing.quarantine.open_among(id, &records).await? == records.len() {
        return Ok(());
    }
    Err(inner.broken(format!(
        "some of {} records of delivery {} are not open in quarantine",
        records.len(),
        id.0
    )))
}

/// The rows, into all tables.
async fn send(inner: &Inner, writing: &Writing, chunk: &RowChunk) -> Result<Sent, StoreError> {
    writing.lease.check().await?;
    writing.tables.check(inner).await?;
    if is_provisional_row(chunk) {
        for table in 0..inner.plan.tables.len() {
            writing.provisional.remember(&writing.lease, chunk, table).await?;
        }
    }
    let one = std::slice::from_ref(chunk);
    writing.provisional.merge(&writing.lease, one).await?;
    fault::step("retry before the rows");
    let all: Vec<usize> = (0..inner.plan.tables.len()).collect();
    let sent = sending(inner, writing, one).all(&all).await?;
    writing.tables.check(inner).await?;
    fault::step("retry after the rows");
    Ok(sent)
}

/// Numbers of the records that are rows in every table now.
fn loaded<'r>(retried: &'r Retried, judged: &'r Judged) -> impl Iterator<Item = u64> + 'r {
    let is_refused = |record: &u64| judged.refused.iter().any(|entry| entry.record == *record);
    retried.loaded().filter(move |record| !is_refused(record))
}

fn beside(writing: &Writing, retried: &Retried, judged: &Judged, account: &Account) -> Vec<Beside> {
    let id = retried.chunk.source.id;
    let settled = loaded(retried, judged).chain(retried.skipped.iter().copied());
    let fates = settled.map(|record| writing.quarantine.settling(id, record, Fate::Replayed));
    let first = loaded(retried, judged).next().unwrap_or(0);
    let keys = writing.writers.iter().zip(&account.counted.new);
    let keys = keys.filter_map(|(writer, new)| writing.collisions.beside(id, &writer.name, first, new));
    fates.chain(keys).collect()
}

fn enter(inner: &Inner, entered: &mut Entered, retried: &Retried, judged: &Judged, account: &Account) {
    let (loaded, skipped) = (loaded(retried, judged).count() as u64, retried.skipped.len() as u64);
    let receipt = &mut entered.delivery.receipt;
    receipt.loaded += loaded;
    receipt.skipped += skipped;
    receipt.replayed += loaded + skipped;
    receipt.quarantined = receipt.quarantined.saturating_sub(loaded + skipped);
    for (table, declared) in inner.plan.tables.iter().enumerate() {
        // A table that is newer than the delivery stays behind by the rest of it.
        let count = count_of(receipt, &declared.name);
        count.rows += loaded;
        count.collisions = count.collisions.saturating_add_signed(collisions(account, table));
        count.estimated |= account.counted.estimated.get(table).copied().unwrap_or(false);
    }
    if retried.chunk.ends_provisionally() && is_last_settled(&retried.chunk, judged) {
        let became = outcome(retried.chunk.last, &account.counted.collided);
        entered.outcome = format!("{REPLAYED}{became}");
    }
}

fn is_last_settled(chunk: &RowChunk, judged: &Judged) -> bool {
    match chunk.last {
        Some(Outcome::Loaded) => {
            chunk.rows.len().checked_sub(1).is_some_and(|row| !judged.rows.contains(&row))
        }
        Some(Outcome::Skipped) => true,
        Some(Outcome::Quarantined) | None => false,
    }
}

fn collisions(account: &Account, table: usize) -> i64 {
    account.counted.collisions.get(&(0, table)).copied().unwrap_or(0)
}

fn delta(chunk: &RowChunk, sent: &Sent, judged: &Judged, account: &Account, table: usize) -> TableDelta {
    TableDelta {
        rows: (chunk.rows.len() - judged.rows.len()) as u64,
        collisions: u64::try_from(collisions(account, table)).unwrap_or(0),
        took: sent.tables.get(table).map(|(_, took)| *took).unwrap_or_default(),
    }
}

pub async fn discarded(inner: &Inner, id: DeliveryId, records: &[u64]) -> Result<(), StoreError> {
    let writing = inner.writer()?;
    let settling = |record: &u64| writing.quarantine.settling(id, *record, Fate::Discarded);
    let change = |entered: &mut Entered| {
        let delivery = &mut entered.delivery;
        delivery.receipt.discarded += records.len() as u64;
        let open = delivery.provisional.as_ref().map(|(mark, _)| mark.record);
        if open.is_some_and(|open| records.contains(&open)) {
            DISCARDED.clone_into(&mut entered.outcome);
        }
    };
    check_open(inner, writing, id, records.iter().copied()).await?;
    fault::step("discard before the ledger");
    inner.ledger.settle(&writing.lease, id, change, records.iter().map(settling).collect()).await?;
    fault::step("discard after the ledger");
    Ok(())
}
