//! Repairs of rows that another program changed, and of rows that a correction would hide.

use crate::domain::Stamp;
use crate::domain::correction::late_row::Fate;
use crate::domain::correction::{KeyedRow, RowRepair};
use crate::store::{Store, StoreError};

/// Why what is written with a stamp may be hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// Nothing is hidden.
    None,
    /// The table has `newest_by`, and has records with later stamps or was corrected later. Its rows show how new they are, except for
    /// ties with restored rows.
    Newest,
    /// The table was corrected later. Its rows do not show which records they are from.
    Corrected,
}

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

    /// Returns whether records with stamps from `stamp` on may be hidden in a table that has records up to `newest`. Never in a
    /// store whose cells keep the stamps of their records.
    fn lateness(&self, table: usize, stamp: Stamp, newest: Stamp) -> Lateness;

    /// Compares rows of late records with the rows that are there, in a table with `newest_by`.
    fn fates(
        &self,
        table: usize,
        rows: Vec<KeyedRow>,
    ) -> impl Future<Output = Result<Vec<Fate>, StoreError>> + Send;

    /// Makes cells of late records visible. Each row has only the cells that these records win. In a table with `newest_by`, they
    /// win ties.
    fn uncover(
        &self,
        repair: &Self::Repair,
        table: usize,
        rows: Vec<KeyedRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
