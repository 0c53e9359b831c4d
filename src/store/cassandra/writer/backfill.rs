//! Backfills one table from kept files, under the stamps that the records already have.

use std::collections::HashSet;
use std::time::Instant;

use crate::domain::ledger::Applied;
use crate::domain::{RowChunk, TableCount, TableDelta};
use crate::store::cassandra::ledger::delivery_row::Entered;
use crate::store::cassandra::shared::{Inner, sending};
use crate::store::cassandra::writer::backfill_totals::Played;
use crate::store::cassandra::writer::key_counts::collided;
use crate::store::cassandra::writer::keys::{Keys, Short, short};
use crate::store::cassandra::writer::layout::{Layout, layouts};
use crate::store::{StoreError, failpoint};

pub async fn chunk(
    inner: &Inner,
    table: usize,
    chunk: &RowChunk,
    first: bool,
) -> Result<Applied, StoreError> {
    let (began, id) = (Instant::now(), chunk.source.id);
    let no_table = || inner.cluster.broken("no such table");
    let declared = chunk.source.plan.tables.get(table).ok_or_else(no_table)?;
    let (place, _) = inner.declared.table(&declared.name).ok_or_else(no_table)?;
    let mut delta = TableDelta { rows: chunk.rows.len() as u64, ..TableDelta::default() };
    let writing = inner.writer()?;
    writing.lease.check().await?;
    writing.tables.check().await?;
    let one = [chunk];
    let sent = sending(inner, writing, &one).all(&[place]).await?;
    writing.tables.check().await?;
    if let Some(refusal) = sent.refused.first().filter(|_| sent.refused.len() == chunk.rows.len()) {
        let what = format!(
            "table {} rejects all {} rows of a chunk: {}",
            declared.name,
            chunk.rows.len(),
            refusal.words
        );
        let next = "repair the table, then run `needledrop load --table` again".to_owned();
        return Err(StoreError::System { store: inner.cluster.name(), what, next });
    }
    // Other tables have loaded these records, but this table rejected their rows.
    let left_out: HashSet<usize> = sent.refused.iter().map(|refusal| refusal.row).collect();
    let records = chunk.span.from.record..chunk.span.to.record;
    let entered = inner.ledger.find(id).await?;
    let known = writing.quarantine.never_loaded(&entered, records).await?;
    let refused = chunk.quarantined.iter().filter(|entry| !known.contains(&entry.record)).count();
    let refused = (refused + left_out.len()) as u64;
    delta.rows -= left_out.len() as u64;
    let mut playing = inner.playing.lock().await;
    let before = playing.get(&(id, table)).filter(|_| !first).cloned();
    let mut played = before.unwrap_or_else(|| Played {
        keys: Keys::new(inner.cluster.settings.limits.collision_keys),
        count: TableCount::behind(&declared.name),
    });
    let distinct = played.keys.distinct();
    let layouts = layouts(&inner.declared, &chunk.source.plan);
    let layout = layouts.get(place).and_then(Option::as_ref).ok_or_else(no_table)?;
    played.keys.add(hashes(layout, chunk, &left_out));
    let grown = i64::try_from(played.keys.distinct()).unwrap_or(0) - i64::try_from(distinct).unwrap_or(0);
    let collisions = i64::try_from(delta.rows).unwrap_or(0) - grown;
    let estimated = played.keys.is_estimate();
    let older = sent.older.values().sum();
    delta = TableDelta { rows: delta.rows, estimated, older, ..collided(collisions) };
    played.count.backfill(&delta, refused);
    // The table is up to date only after the last chunk. Until then, a restart backfills this delivery from the
    // beginning.
    if chunk.end.is_some() {
        played.count.fingerprint = declared.fingerprint.clone();
    }
    failpoint::step("backfill before the ledger");
    // Write totals, not increments: a write that was not acknowledged may have taken effect.
    let change = |entered: &mut Entered| {
        entered.delivery.receipt.count_of(&declared.name).clone_from(&played.count);
        Ok(())
    };
    inner.ledger.change::<_, StoreError>(&writing.lease, id, change).await?;
    if chunk.end.is_some() {
        playing.remove(&(id, table));
    } else {
        playing.insert((id, table), played);
    }
    drop(playing);
    failpoint::step("backfill after the ledger");
    delta.took = began.elapsed();
    Ok(Applied { tables: vec![delta], ..Applied::default() })
}

fn hashes(layout: &Layout, chunk: &RowChunk, left_out: &HashSet<usize>) -> Vec<Short> {
    let mut scratch = Vec::new();
    let rows = (0..chunk.rows.len()).filter(|row| !left_out.contains(row));
    rows.map(|row| short(layout.key.hash(&chunk.rows, row, &mut scratch))).collect()
}
