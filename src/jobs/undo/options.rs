//! The options and the outcome of an undo.

use std::collections::BTreeSet;

use crate::domain::undo::TableUndo;
use crate::domain::{Delivery, DeliveryId};
use crate::jobs::read_again::Lost;

#[derive(Clone, Debug)]
pub struct UndoOptions {
    /// Whether the tables and the ledger are changed. Otherwise the undo only counts.
    pub write: bool,
    /// Whether to go on if a needed file cannot be read. Values of other deliveries may then be lost. If the file of the undone
    /// delivery cannot be read, cells that its write times do not show stay.
    pub force: bool,
    /// In a mirror: the generation of the file that takes the place of the undone one.
    pub replaced_by: Option<u32>,
    /// All deliveries that the same job undoes. Nothing of them is restored.
    pub also_undone: BTreeSet<DeliveryId>,
}

impl UndoOptions {
    /// Whether the values of `other` come back where they were under those of the undone delivery.
    pub fn restores(&self, other: &Delivery, undone: &Delivery) -> bool {
        other.id != undone.id && other.counts() && !self.also_undone.contains(&other.id)
    }
}

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
