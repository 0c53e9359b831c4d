//! Repairs rows by a correction.

use crate::domain::TableRow;
use crate::domain::correction::rewrite::{Lifetime, Rewrite};
use crate::domain::correction::{Correction, RowRepair};
use crate::store::cassandra::CassandraStore;
use crate::store::clock::clock;
use crate::store::repairs::Repairs;
use crate::store::{RowRewriter as _, StoreError};

impl Repairs for CassandraStore {
    type Repair = Correction;

    async fn begin_repair(&self, tables: Vec<usize>) -> Result<Correction, StoreError> {
        self.check_tables(&tables).await?;
        self.begin_correction(None, tables).await
    }

    async fn repair(
        &self,
        repair: &Correction,
        table: usize,
        rows: Vec<RowRepair>,
    ) -> Result<(), StoreError> {
        let lifetime = Lifetime { ttl: self.lifetime(table).await?, now: clock() };
        let keys: Vec<TableRow> = rows.iter().map(|row| row.key.clone()).collect();
        let stored = self.stored_rows(table, keys).await?;
        let rewrite = |(row, stored): (RowRepair, Option<_>)| Rewrite {
            change: lifetime.repair(row.expected.as_ref(), stored.as_ref()),
            key: row.key,
        };
        self.rewrite(repair, table, rows.into_iter().zip(stored).map(rewrite).collect()).await
    }

    /// Also settles repairs that were interrupted: this one has repaired what they left.
    async fn end_repair(&self, repair: Correction) -> Result<(), StoreError> {
        let is_open = |one: &Correction| one.delivery.is_none() && !one.is_settled && one != &repair;
        for open in self.corrections().await?.into_iter().filter(is_open) {
            self.settle_correction(open).await?;
        }
        self.settle_correction(repair).await
    }
}
