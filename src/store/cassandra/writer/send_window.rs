//! A window of chunks whose rows have been sent, and what has been sent ahead of the ledger.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::domain::{DeliveryId, Position, RowChunk};
use crate::store::cassandra::writer::progress::Progress;
use crate::store::cassandra::writer::rows;

/// A window that was sent, and how far it is applied. It is split into two runs. Open tails are sent only after everything before them is in the ledger.
pub struct Window {
    pub body: Run,
    pub tails: OnceCell<Run>,
}

/// Chunks whose rows have been sent.
pub struct Run {
    /// The indexes of the chunks in the window.
    pub places: Vec<usize>,
    pub rows: rows::Sent,
    pub progress: Progress,
}

impl Run {
    pub fn new(places: Vec<usize>, rows: rows::Sent) -> Self {
        Self { places, rows, progress: Progress::default() }
    }

    pub fn chunks<'c>(&self, window: &'c [RowChunk]) -> Vec<&'c RowChunk> {
        self.places.iter().filter_map(|at| window.get(*at)).collect()
    }
}

/// The chunks that have been sent but not applied.
#[derive(Default)]
pub struct Ahead {
    /// Where these chunks end, by delivery.
    pub ends: Mutex<HashMap<DeliveryId, Vec<Position>>>,
}

impl Ahead {
    pub fn ends(&self) -> MutexGuard<'_, HashMap<DeliveryId, Vec<Position>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn ends_at(&self, id: DeliveryId, mark: Position) -> bool {
        self.ends().get(&id).is_some_and(|ends| ends.contains(&mark))
    }

    pub fn begin(&self, chunks: &[&RowChunk]) {
        let mut all = self.ends();
        for chunk in chunks {
            let ends = all.entry(chunk.source.id).or_default();
            if !ends.contains(&chunk.span.to) {
                ends.push(chunk.span.to);
            }
        }
    }

    /// Removes chunks that have been applied.
    pub fn done(&self, chunks: &[&RowChunk]) {
        let mut all = self.ends();
        for chunk in chunks {
            if let Some(ends) = all.get_mut(&chunk.source.id) {
                ends.retain(|end| end.offset > chunk.span.to.offset);
            }
        }
        all.retain(|_, ends| !ends.is_empty());
    }
}
