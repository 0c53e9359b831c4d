//! Records how far chunks have been applied, and with which results.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::domain::DeliveryId;
use crate::domain::ledger::Applied;
use crate::store::rejection::Judged;

/// How far chunks have been applied. After an error of the store, applying resumes from here, so that nothing is
/// counted twice.
#[derive(Default)]
pub struct Progress {
    pub judged: OnceLock<Vec<Judged>>,
    /// The deliveries whose ledger row is written, and the results of their chunks by index.
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
