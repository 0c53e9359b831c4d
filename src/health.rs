//! Whether the daemon can do its work now, and if not, why.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::heartbeat::Heartbeat;
use crate::metrics;

/// Shared by those who know and those who ask.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
    /// That of the stages.
    pub heartbeat: Heartbeat,
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
    /// Files that wait to be loaded, or are being loaded.
    files: usize,
    reloads: Reloads,
}

/// How often the configuration was read again, and how often that was over: taken on, refused, or nothing new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    pub begun: u64,
    pub over: u64,
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

    /// The configuration is read again.
    pub fn reload_begins(&self) {
        self.lock().reloads.begun += 1;
    }

    /// One configuration is in force, the next or the one before. Of several requests in a row the last one tells.
    pub fn reload_is_over(&self) {
        let mut state = self.lock();
        state.reloads.over = state.reloads.begun;
    }

    pub fn reloads(&self) -> Reloads {
        self.lock().reloads
    }

    pub fn stopping(&self) {
        self.lock().stopping = true;
    }

    pub fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    pub fn files_wait(&self, files: usize) {
        self.lock().files = files;
    }

    /// Whether it has begun: the inbox is watched, or will be when the store that it waits for answers.
    pub fn has_begun(&self) -> bool {
        let state = self.lock();
        state.folder || state.store.is_some()
    }

    /// What it does now, in a few words for people.
    pub fn doing(&self) -> String {
        let state = self.lock();
        match (state.store, state.files) {
            _ if state.stopping => "stopping: what was read is being written".to_owned(),
            _ if state.reloading => "taking on another configuration".to_owned(),
            (Some("standby"), _) => "standing by: another process writes".to_owned(),
            (Some(reason), _) => format!("waiting for the store ({reason})"),
            _ if !state.folder => "waiting for the inbox".to_owned(),
            (None, 0) => "ready; no files waiting".to_owned(),
            (None, 1) => "ready; 1 file waiting".to_owned(),
            (None, files) => format!("ready; {files} files waiting"),
        }
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
