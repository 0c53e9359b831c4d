//! How far chunks are applied, and what is told of them.

use crate::domain::DeliveryId;
use crate::domain::ledger::Applied;
use crate::store::rejection::Judged;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// How far chunks are applied. Whoever waited for the store goes on from there: what counted once is not counted
/// again.
#[derive(Default)]
pub struct Progress {
    pub judged: OnceLock<Vec<Judged>>,
    /// Deliveries that the ledger has, and what is to be told of their chunks, by position.
    pub entered: Mutex<HashMap<DeliveryId, Vec<(usize, Applied)>>>,
}

impl Progress {
    pub fn entered(&self) -> MutexGuard<'_, HashMap<DeliveryId, Vec<(usize, Applied)>>> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has(&self, id: DeliveryId) -> bool {
        self.entered().contains_key(&id)
    }
}
