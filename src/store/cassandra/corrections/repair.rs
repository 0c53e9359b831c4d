//! Repairs rows by a correction.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::domain::correction::late_row::{Fate, NewestTable};
use crate::domain::correction::rewrite::{Change, Lifetime, MOST_DELETED, Rewrite};
use crate::domain::correction::{Correction, ExpectedRow, KeyedRow, RowRepair, StoredRow};
use crate::domain::text::plain;
use crate::domain::{Stamp, TableRow};
use crate::store::cassandra::CassandraStore;
use crate::store::cassandra::ledger::lock::lock;
use crate::store::clock::clock;
use crate::store::repairs::{Lateness, Repairs};
use crate::store::{RowRewriter as _, StoreError};

/// A repair that has begun.
pub struct Repair {
    correction: Correction,
    /// The current partition, and how many of its rows were deleted. The rows of a partition come one after another.
    deleted: Mutex<(TableRow, u64)>,
}

impl Repair {
    /// Counts rows to delete. Returns the current partition if it has too many.
    fn count(&self, partition_len: usize, rewrites: &[Rewrite]) -> Option<TableRow> {
        let mut deleted = lock(&self.deleted);
        for rewrite in rewrites.iter().filter(|one| matches!(one.change, Change::Delete(_))) {
            let partition = rewrite.key.iter().take(partition_len);
            if !deleted.0.iter().eq(partition.clone()) {
                *deleted = (partition.cloned().collect(), 0);
            }
            deleted.1 += 1;
        }
        (deleted.1 > MOST_DELETED).then(|| deleted.0.clone())
    }
}

impl Repairs for CassandraStore {
    type Repair = Repair;

    async fn check_repairable(&self, tables: &[usize]) -> Result<(), StoreError> {
        self.check_tables(tables).await
    }

    async fn begin_repair(&self, tables: Vec<usize>) -> Result<Repair, StoreError> {
        self.check_tables(&tables).await?;
        let correction = self.begin_correction(None, tables).await?;
        Ok(Repair { correction, deleted: Mutex::default() })
    }

    async fn repair(&self, repair: &Repair, table: usize, rows: Vec<RowRepair>) -> Result<u64, StoreError> {
        let lifetime = Lifetime { ttl: self.lifetime(table).await?, now: clock() };
        let keys: Vec<TableRow> = rows.iter().map(|row| row.key.clone()).collect();
        let stored = self.stored_rows(table, keys).await?;
        let rewrite = |(row, stored): (RowRepair, Option<StoredRow>)| {
            let expected = row.expected.as_ref();
            let change = lifetime.repair(expected, stored.as_ref(), repair.correction.stamps.delete())?;
            Some(Rewrite { key: row.key, change })
        };
        let rewrites: Vec<Rewrite> = rows.into_iter().zip(stored).filter_map(rewrite).collect();
        let count = rewrites.len() as u64;
        let statements = self.statements(table).await?;
        if let Some(partition) = repair.count(statements.partition_len, &rewrites) {
            let partition: Vec<String> = partition.iter().map(|value| plain(value).into_owned()).collect();
            return Err(self.inner.cluster.shape(
                format!(
                    "table {} has more than {MOST_DELETED} extra rows in partition {}, and deleting them one by one would leave more \
                     than half of the tombstones at which a read fails",
                    statements.table,
                    partition.join(", ")
                ),
                "delete them with one statement, then verify again",
            ));
        }
        self.rewrite(&repair.correction, table, rewrites).await?;
        Ok(count)
    }

    fn lateness(&self, table: usize, stamp: Stamp, newest: Stamp) -> Lateness {
        let (table, writing) = (self.inner.declared.tables.get(table), self.inner.writing.as_ref());
        let (Some(table), Some(writing)) = (table, writing) else { return Lateness::None };
        let is_corrected = writing.corrections.is_late(stamp, std::iter::once(table.name.as_str()));
        match table.newest_by {
            Some(_) if is_corrected || stamp < newest => Lateness::Newest,
            None if is_corrected => Lateness::Corrected,
            _ => Lateness::None,
        }
    }

    async fn fates(&self, table: usize, rows: Vec<KeyedRow>) -> Result<Vec<Fate>, StoreError> {
        let keys: Vec<TableRow> = rows.iter().map(|row| row.key.clone()).collect();
        let (stored, restored) =
            (self.stored_rows(table, keys).await?, self.inner.writer()?.corrections.restored());
        let of = self.newest_table(table, &restored)?;
        let fate = |(late, stored): (&KeyedRow, Option<StoredRow>)| match &of {
            Some(of) => of.fate(&late.row, stored.as_ref()),
            None => Fate::Hidden,
        };
        Ok(rows.iter().zip(stored).map(fate).collect())
    }

    async fn uncover(&self, repair: &Repair, table: usize, rows: Vec<KeyedRow>) -> Result<(), StoreError> {
        let lifetime = Lifetime { ttl: self.lifetime(table).await?, now: clock() };
        let restored = self.inner.writer()?.corrections.restored();
        let keys: Vec<TableRow> = rows.iter().map(|row| row.key.clone()).collect();
        let stored = self.stored_rows(table, keys).await?;
        let of = self.newest_table(table, &restored)?;
        let change = |late: &ExpectedRow, stored: Option<&StoredRow>| match &of {
            Some(of) => matches!(of.fate(late, stored), Fate::Hidden | Fate::Tie)
                .then(|| NewestTable::replace_row(late)),
            None => lifetime.uncover(late, stored, &restored),
        };
        let rewrites = rows.into_iter().zip(stored).filter_map(|(late, stored)| {
            Some(Rewrite { change: change(&late.row, stored.as_ref())?, key: late.key })
        });
        self.rewrite(&repair.correction, table, rewrites.collect()).await
    }
}

impl CassandraStore {
    /// Returns what is known of a table with `newest_by`.
    fn newest_table<'r>(
        &self,
        table: usize,
        restored: &'r BTreeSet<Stamp>,
    ) -> Result<Option<NewestTable<'r>>, StoreError> {
        let Some(table) = self.inner.declared.tables.get(table) else { return Ok(None) };
        let corrected = self.inner.writer()?.corrections.last(&table.name);
        Ok(table.newest_at().map(|newest_at| NewestTable { newest_at, restored, corrected }))
    }
}
