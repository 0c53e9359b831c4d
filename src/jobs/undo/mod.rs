//! Takes back what one delivery wrote.

mod by_keys;
mod by_stamps;
mod keyed_rows;
pub mod options;
mod partitions;
mod rewriting;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::{Delivery, Feeds, Schema};
use crate::jobs::locate::KeptFiles;
use crate::jobs::undo::options::{UndoOptions, Undone};
use crate::source::Source;
use crate::store::StoreError;
use crate::store::backend::{AnyStore, Correctable};
use crate::store::backoff::Backoff;
use crate::store::scratch_folder::ScratchFolder;

/// Undoes deliveries in a store of either kind.
pub struct Undo<I> {
    pub schema: Arc<Schema>,
    pub feeds: Feeds<KeptFiles<I>>,
    pub scratch: ScratchFolder,
    pub backoff: Backoff,
    pub stop: CancellationToken,
    pub options: UndoOptions,
}

impl<I: Source> Undo<I> {
    /// Takes a delivery out of the tables, or completes an undo that was interrupted. The right to write must be renewed
    /// meanwhile ([`Store::tend`](crate::store::Store::tend)).
    ///
    /// # Errors
    /// Returns an error if the rows of a table cannot be corrected, or if the store does not answer.
    pub async fn run(&self, store: &AnyStore, delivery: &Delivery) -> Result<Undone, StoreError> {
        let Self { schema, feeds, scratch, backoff, stop, options } = self;
        let (feeds, backoff, stop, options) = (feeds.clone(), backoff.clone(), stop.clone(), options.clone());
        match store.correctable()? {
            Correctable::ByStamps(store) => {
                by_stamps::Undoer { store, feeds, backoff, stop, options }.undo(delivery).await
            }
            Correctable::ByKeys(store) => {
                let (own, expected) = (scratch.create("undo")?, scratch.create("expected")?);
                let schema = Arc::clone(schema);
                let undoer = by_keys::Undoer { store, schema, feeds, backoff, stop, own, expected, options };
                undoer.undo(delivery.id).await
            }
        }
    }
}
