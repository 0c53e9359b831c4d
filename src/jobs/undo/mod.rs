//! Takes back what one delivery wrote.

pub mod by_keys;
pub mod by_stamps;
mod keyed_rows;
mod partitions;
mod rewriting;

use crate::domain::undo::TableUndo;
use crate::jobs::read_again::Lost;

/// The outcome of an undo.
#[derive(Debug)]
pub enum Undone {
    Done {
        tables: Vec<TableUndo>,
        /// The deliveries whose values may be lost.
        lost: Vec<Lost>,
    },
    /// Nothing was changed, because these deliveries cannot be read as they were loaded. The undone one may be among them.
    Needed(Vec<Lost>),
    Stopped,
}
