//! Checkpoints of readers, so that a growing file is not hashed from its beginning each time. A checkpoint has the
//! hasher, and the last bytes, to check that they are still there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::DeliveryId;
use crate::domain::ledger::HEAD;

/// The number of files whose checkpoint is kept. Other files are hashed from the beginning when they grow.
const KEPT: usize = 64;

/// The last bytes that were read, at most [`HEAD`].
#[derive(Clone, Debug, Default)]
pub struct Window(Vec<u8>);

impl Window {
    /// Appends `bytes` and drops the oldest bytes beyond [`HEAD`].
    pub fn push(&mut self, bytes: &[u8]) {
        let new = bytes.get(bytes.len().saturating_sub(HEAD)..).unwrap_or(bytes);
        let surplus = (self.0.len() + new.len()).saturating_sub(HEAD);
        self.0.drain(..surplus);
        self.0.extend_from_slice(new);
    }

    /// Removes the last `count` bytes.
    pub fn pop(&mut self, count: u64) {
        let keep = self.0.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        self.0.truncate(keep);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Where a reader stopped.
#[derive(Clone, Debug)]
pub struct HashCheckpoint {
    /// The number of decoded bytes before this place.
    pub reach: u64,
    /// A hasher that has seen all bytes before this place.
    pub hasher: blake3::Hasher,
    /// The last bytes before this place.
    pub window: Window,
}

/// The checkpoints of the files that were read last.
#[derive(Debug, Default)]
pub struct HashCheckpoints(Mutex<VecDeque<(DeliveryId, HashCheckpoint)>>);

impl HashCheckpoints {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(DeliveryId, HashCheckpoint)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn save(&self, id: DeliveryId, checkpoint: HashCheckpoint) {
        let mut kept = self.lock();
        kept.retain(|(other, _)| *other != id);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((id, checkpoint));
    }

    pub fn find(&self, id: DeliveryId) -> Option<HashCheckpoint> {
        self.lock().iter().find(|(other, _)| *other == id).map(|(_, checkpoint)| checkpoint.clone())
    }
}
