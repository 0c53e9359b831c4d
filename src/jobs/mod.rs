//! One-off work over a store and kept files.

pub mod export;
pub mod locate;
pub mod backfill;
mod ledger_state;
pub mod late_rows;
mod loaded_rows;
pub mod paced;
pub mod read_again;
pub mod replacement;
mod row_repairs;
mod same_records;
pub mod replay;
pub mod undo;
pub mod verification;
pub mod verify;
