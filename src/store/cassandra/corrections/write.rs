//! Writes rows of a correction: for each row, one batch of a single partition.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use crate::domain::correction::CorrectionStamps;
use crate::domain::correction::rewrite::{Change, NewCell, Rewrite};
use crate::domain::{Stamp, TableRow};
use crate::store::StoreError;
use crate::store::cassandra::cluster::retry::patiently_while;
use crate::store::cassandra::corrections::bound::{Bound, BoundValues};
use crate::store::cassandra::corrections::statements::{IN_FLIGHT, Statements};
use crate::store::cassandra::corrections::stored::key_of;
use crate::store::cassandra::shared::{Inner, Writing};
use crate::store::failpoint;

/// A statement with its values.
type Part<'v> = (&'v PreparedStatement, BoundValues<'v>);

/// Writes rows.
///
/// # Errors
/// Returns an error if the lease is lost, if a table has changed, or if the cluster does not answer or rejects a request.
pub async fn rows(
    inner: &Inner,
    statements: &Statements,
    stamps: CorrectionStamps,
    rewrites: &[Rewrite],
) -> Result<(), StoreError> {
    let writing = inner.writer()?;
    writing.lease.check().await?;
    writing.tables.check_unless_fresh().await?;
    for some in rewrites.chunks(IN_FLIGHT) {
        try_join_all(some.iter().map(|rewrite| row(inner, writing, statements, (stamps, rewrite)))).await?;
    }
    failpoint::step("rows corrected");
    Ok(())
}

/// Deletes a partition.
///
/// # Errors
/// Returns an error if the lease is lost, or if the cluster does not answer or rejects the request.
pub async fn partition(
    inner: &Inner,
    statements: &Statements,
    stamps: CorrectionStamps,
    key: &TableRow,
) -> Result<(), StoreError> {
    let writing = inner.writer()?;
    writing.lease.check().await?;
    let key = key_of(statements, key).into_iter().take(statements.partition_len);
    let values = BoundValues(std::iter::once(Bound::Stamp(stamps.delete().0)).chain(key).collect());
    send(inner, writing, statements, vec![(&statements.delete_partition, values)]).await?;
    failpoint::step("partition deleted");
    Ok(())
}

async fn row(
    inner: &Inner,
    writing: &Writing,
    statements: &Statements,
    (stamps, rewrite): (CorrectionStamps, &Rewrite),
) -> Result<(), StoreError> {
    let mut parts = Vec::new();
    let key = || key_of(statements, &rewrite.key).into_iter();
    let (cells, stamp) = match &rewrite.change {
        Change::Delete(kept) => {
            let values = std::iter::once(Bound::Stamp(stamps.delete().0)).chain(key()).collect();
            parts.push((&statements.delete, BoundValues(values)));
            (kept, stamps.kept())
        }
        Change::Set(cells) => (cells, stamps.restored()),
        Change::Insert(ttl, cells) => {
            let (stamp, ttl) = (Bound::Stamp(stamps.restored().0), Bound::Int(ttl.unwrap_or(0)));
            parts.push((&statements.insert, BoundValues(key().chain([stamp, ttl]).collect())));
            (cells, stamps.restored())
        }
    };
    if let Some(update) = &statements.update {
        for (ttl, cells) in by_ttl(cells) {
            parts.push((update, updated(statements, (stamp, ttl), &cells, key())));
        }
    }
    writing.pace.wait(1).await;
    send(inner, writing, statements, parts).await
}

/// Groups cells by the seconds until they expire. Cells without an end have 0.
fn by_ttl(cells: &[NewCell]) -> BTreeMap<i32, Vec<&NewCell>> {
    let mut groups: BTreeMap<i32, Vec<&NewCell>> = BTreeMap::new();
    for cell in cells {
        groups.entry(cell.2.unwrap_or(0)).or_default().push(cell);
    }
    groups
}

fn updated<'v>(
    statements: &Statements,
    (stamp, ttl): (Stamp, i32),
    cells: &[&'v NewCell],
    key: impl Iterator<Item = Bound<'v>>,
) -> BoundValues<'v> {
    let kinds = statements.kinds.iter().skip(statements.key_len).enumerate();
    let set = kinds.map(|(at, kind)| {
        let cell = cells.iter().find(|(column, ..)| *column == at);
        cell.map_or(Bound::Unset, |(_, value, _)| Bound::Value(*kind, value))
    });
    BoundValues([Bound::Stamp(stamp.0), Bound::Int(ttl)].into_iter().chain(set).chain(key).collect())
}

/// Sends the statements of one partition, all or none.
async fn send(
    inner: &Inner,
    writing: &Writing,
    statements: &Statements,
    parts: Vec<Part<'_>>,
) -> Result<(), StoreError> {
    let mut batch = Batch::new(BatchType::Unlogged);
    batch.set_consistency(inner.cluster.settings.ledger());
    batch.set_is_idempotent(true);
    let mut values = Vec::with_capacity(parts.len());
    for (statement, bound) in parts {
        batch.append_statement(statement.clone());
        values.push(bound);
    }
    if values.is_empty() {
        return Ok(());
    }
    if !writing.lease.holds() {
        writing.lease.check().await?;
    }
    let attempt = || async { inner.cluster.session().batch(&batch, &values).await.map(|_| ()) };
    let done = patiently_while(|| writing.lease.holds(), &statements.table, attempt).await;
    done.map_err(|error| inner.cluster.store_error(&error))
}
