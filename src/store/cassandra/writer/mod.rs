//! Writes rows: cuts them into requests, sends them, and applies them to the ledger once they are acknowledged.

pub mod layout;
pub mod apply;
pub mod backfill;
pub mod backfill_totals;
mod batching;
pub mod bound_row;
pub mod cell;
pub mod collisions;
mod hash;
pub mod key_counts;
mod keys;
mod newest;
pub mod pace;
pub mod progress;
pub mod rows;
pub mod send;
pub mod send_window;
mod tails;
