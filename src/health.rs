//! Whether the daemon can do its work now, and if not, why.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::metrics;

/// Shared by those who know and those who ask.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The folder was listed and is there.
    folder: bool,
    /// Why the store is waited for.
    store: Option<&'static str>,
    stopping: bool,
    /// Files under way end under the configuration before.
    reloading: bool,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn folder(&self, there: bool) {
        self.lock().folder = there;
    }

    pub fn store_answers(&self) {
        self.lock().store = None;
        metrics::store_answers();
    }

    /// The store is tried again; waiting for the clock is no illness.
    pub fn store_waits(&self, reason: &'static str) {
        metrics::store_waits(reason);
        if reason != "stamps" {
            self.lock().store = Some(reason);
        }
    }

    /// No file is taken up until the inbox was listed under the next configuration.
    pub fn reloading(&self, is: bool) {
        let mut state = self.lock();
        state.reloading = is;
        state.folder = false;
    }

    pub fn stopping(&self) {
        self.lock().stopping = true;
    }

    /// Why not, in words that tell no data and no file names.
    ///
    /// # Errors
    /// The reason.
    pub fn ready(&self) -> Result<(), String> {
        let state = self.lock();
        if state.stopping {
            return Err("stopping".to_owned());
        }
        if state.reloading {
            return Err("taking on another configuration".to_owned());
        }
        if let Some(reason) = state.store {
            return Err(match reason {
                "standby" => "standby: another process writes, this one waits for its turn".to_owned(),
                reason => format!("the store does not answer ({reason})"),
            });
        }
        if state.folder { Ok(()) } else { Err("the inbox was not listed yet, or is not there".to_owned()) }
    }
}
