//! Repairs of rows that another program changed.

use crate::domain::correction::RowRepair;
use crate::store::{Store, StoreError};

/// Makes rows equal to what the deliveries give, while nothing else is loaded.
pub trait Repairs: Store {
    /// A repair that has begun.
    type Repair: Send + Sync;

    /// Begins a repair of these tables. Refuses tables whose rows cannot be repaired, with the reason.
    fn begin_repair(
        &self,
        tables: Vec<usize>,
    ) -> impl Future<Output = Result<Self::Repair, StoreError>> + Send;

    /// Rewrites rows of one table, each all or none.
    fn repair(
        &self,
        repair: &Self::Repair,
        table: usize,
        rows: Vec<RowRepair>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes that all rows are written.
    fn end_repair(&self, repair: Self::Repair) -> impl Future<Output = Result<(), StoreError>> + Send;
}
