//! Deliveries that replace an earlier generation of their file, from when they are taken up until they were compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::domain::{Delivery, DeliveryId, DeliveryState, FileKey, Replacement};
use crate::store::StoreError;
use crate::store::scratch_folder::ScratchFolder;
use crate::store::sqlite::earlier_rows::EarlierRows;

pub struct PendingReplacements {
    /// The rows of earlier generations as the tables had them before the newer one was written.
    pub earlier: EarlierRows,
    state: Mutex<State>,
    changed: Notify,
    began: Instant,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<DeliveryId, Waiting>,
    /// The earlier generations whose rows are all in [`PendingReplacements::earlier`].
    saved: BTreeSet<DeliveryId>,
    /// Deliveries that this process has settled, or tried to. A pipeline that starts again leaves them alone, unless they grow.
    handled: BTreeSet<DeliveryId>,
    /// How long reading earlier rows has taken so far.
    spent: Duration,
}

struct Waiting {
    file: FileKey,
    /// When all of it was loaded. `None` while it is not.
    loaded: Option<Instant>,
}

impl PendingReplacements {
    pub fn new(scratch: ScratchFolder) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self { earlier: EarlierRows::new(scratch), state, changed, began: Instant::now() }
    }

    /// Notes a delivery that an earlier process loaded in this state and did not settle.
    pub fn add_unsettled(&self, id: DeliveryId, file: &FileKey, state: DeliveryState) {
        if !self.state().handled.contains(&id) {
            self.begin(id, file);
            self.ended(id, state);
        }
    }

    /// Notes a delivery that was entered and has nothing to read, if it replaces an earlier generation.
    pub fn add_if_due(&self, delivery: &Delivery) {
        if delivery.replacement.as_ref().is_some_and(Replacement::is_due) {
            self.add_unsettled(delivery.id, &delivery.file, delivery.state);
        }
    }

    /// Notes that a delivery which replaces an earlier generation is loaded from now on, or grows.
    pub fn begin(&self, id: DeliveryId, file: &FileKey) {
        let mut state = self.state();
        state.handled.remove(&id);
        state.waiting.insert(id, Waiting { file: file.clone(), loaded: None });
    }

    /// Notes how loading a delivery ended. Does nothing for a delivery that replaces none.
    pub fn ended(&self, id: DeliveryId, state: DeliveryState) {
        if let Some(waiting) = self.state().waiting.get_mut(&id) {
            let is_loaded = matches!(state, DeliveryState::Loaded | DeliveryState::Duplicate);
            waiting.loaded = is_loaded.then(Instant::now);
        }
        self.changed.notify_one();
    }

    /// Notes that all rows of an earlier generation are saved.
    pub fn mark_saved(&self, earlier: DeliveryId) {
        self.state().saved.insert(earlier);
    }

    /// Whether all rows of an earlier generation are saved.
    pub fn has_saved(&self, earlier: DeliveryId) -> bool {
        self.state().saved.contains(&earlier)
    }

    /// Returns how long earlier rows may be read for one file: at most `limit`. All reads together take at most `limit` and half of
    /// the time since the start, so that loading goes on if many files are replaced.
    pub fn time_left(&self, limit: Duration) -> Duration {
        (limit + self.began.elapsed() / 2).saturating_sub(self.state().spent).min(limit)
    }

    /// Notes how long reading earlier rows has taken.
    pub fn spend(&self, time: Duration) {
        self.state().spent += time;
    }

    /// Returns the deliveries that have been loaded for as long as `quiet` returns for their files.
    pub fn due(&self, quiet: impl Fn(&FileKey) -> Duration) -> Vec<(DeliveryId, FileKey)> {
        let state = self.state();
        let is_due = |waiting: &&Waiting| {
            waiting.loaded.is_some_and(|loaded| loaded.elapsed() >= quiet(&waiting.file))
        };
        let due = state.waiting.iter().filter(|(_, waiting)| is_due(waiting));
        due.map(|(id, waiting)| (*id, waiting.file.clone())).collect()
    }

    /// Waits until a delivery has been loaded for as long as `quiet` returns for its file.
    pub async fn next_due(&self, quiet: impl Fn(&FileKey) -> Duration) -> (DeliveryId, FileKey) {
        loop {
            let earliest = self.earliest(&quiet);
            match earliest {
                Some((at, id, file)) if at <= Instant::now() => return (id, file),
                Some((at, ..)) => {
                    let _ = tokio::time::timeout_at(at.into(), self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn earliest(&self, quiet: impl Fn(&FileKey) -> Duration) -> Option<(Instant, DeliveryId, FileKey)> {
        let state = self.state();
        let loaded = state
            .waiting
            .iter()
            .filter_map(|(id, Waiting { file, loaded })| Some(((*loaded)? + quiet(file), *id, file.clone())));
        loaded.min_by_key(|(at, ..)| *at)
    }

    /// Puts off a delivery whose file may still be written.
    pub fn restart_quiet_period(&self, id: DeliveryId) {
        self.ended(id, DeliveryState::Loaded);
    }

    /// Stops waiting for a delivery in this process, whether it was settled or not, and drops the rows of the generation that it
    /// was compared with.
    ///
    /// # Errors
    /// Returns an error if the file of these rows cannot be written to.
    pub async fn finish(&self, id: DeliveryId, earlier: Option<DeliveryId>) -> Result<(), StoreError> {
        {
            let mut state = self.state();
            state.waiting.remove(&id);
            state.handled.insert(id);
        }
        match earlier {
            Some(earlier) => self.forget(earlier).await,
            None => Ok(()),
        }
    }

    /// Forgets the rows of an earlier generation.
    ///
    /// # Errors
    /// Returns an error if the file of these rows cannot be written to.
    pub async fn forget(&self, earlier: DeliveryId) -> Result<(), StoreError> {
        self.state().saved.remove(&earlier);
        self.earlier.forget(earlier).await
    }

    /// Ignores poisoning: no code that holds the lock panics between two changes.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
