//! Repairs of rows that another program changed, and of rows that a correction would hide.

use crate::domain::Stamp;
use crate::domain::correction::{KeyedRow, RowRepair};
use crate::store::{Store, StoreError};

/// Makes rows equal to what the deliveries give, while nothing else is loaded.
pub trait Repairs: Store {
    /// A repair that has begun.
    type Repair: Send + Sync;

    /// Refuses tables whose rows cannot be repaired, with the reason.
    fn check_repairable(&self, tables: &[usize]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Begins a repair of these tables. Nothing has to be done if it is interrupted: what is still wrong is found again.
    fn begin_repair(
        &self,
        tables: Vec<usize>,
    ) -> impl Future<Output = Result<Self::Repair, StoreError>> + Send;

    /// Rewrites rows of one table, each all or none. Returns how many. Rows that would have expired, and rows with a newer cell
    /// than the repair, are left out.
    fn repair(
        &self,
        repair: &Self::Repair,
        table: usize,
        rows: Vec<RowRepair>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Whether a correction of this table may hide what is written with this stamp. Never in a store whose cells keep the
    /// stamps of their records.
    fn is_late(&self, table: usize, stamp: Stamp) -> bool;

    /// Makes cells of late records visible. Each row has only the cells that these records win.
    fn uncover(
        &self,
        repair: &Self::Repair,
        table: usize,
        rows: Vec<KeyedRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
