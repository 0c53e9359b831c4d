//! Whether the daemon can do its work now, and if not, why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::{info, warn};

use crate::domain::Feed;
use crate::domain::feed::title;
use crate::http::Readiness;
use crate::metrics;
use crate::metrics::heartbeat::Heartbeat;
use crate::pipeline::observer::PipelineObserver;
use crate::store::observer::{Right, StoreObserver};

/// The health of the daemon. The parts that report it and the parts that read it share this value.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<HealthState>,
    /// The signs of life of the stages.
    pub heartbeat: Arc<Heartbeat>,
    /// Whether the daemon is ready and no file waits or is being loaded.
    pub idle: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct HealthState {
    /// Whether the last listing of each inbox succeeded. Empty if no pipeline runs.
    inboxes: BTreeMap<Feed, bool>,
    /// The feeds whose inbox does not answer.
    silent: BTreeSet<Feed>,
    /// Why the daemon waits for the store, if it does.
    store: Option<&'static str>,
    /// Whether the store was closed and is not open again yet.
    closed: bool,
    right: Right,
    /// Whether the process that holds the right to write loads with other tables.
    other_tables: bool,
    stopping: bool,
    /// Whether a reload is in progress: open files are loaded to their end under the previous configuration.
    reloading: bool,
    /// The number of files of each feed that wait to be loaded or are being loaded.
    files: BTreeMap<Feed, usize>,
    reloads: Reloads,
    /// Whether the last log line about readiness says that the daemon is ready.
    logged_ready: bool,
}

/// Why the daemon is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    Stopping,
    Reloading,
    Standby,
    /// Like `Standby`, and the process that writes loads with other tables than are declared here.
    OtherTables,
    /// The stamps cannot run further ahead of the clock.
    Clock,
    /// The files of the store were removed or replaced.
    Gone,
    Store(&'static str),
    Overdue,
    Expired,
    Closed,
    Folder,
    /// An inbox does not answer, as a network share whose server is away.
    Silent,
}

/// How many times a reload of the configuration began, and how many times one ended: applied, rejected or unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    pub begun: u64,
    pub over: u64,
}

impl HealthState {
    fn obstacle(&self) -> Option<Obstacle> {
        let store = match self.store {
            Some("standby") if self.other_tables => Some(Obstacle::OtherTables),
            Some("standby") => Some(Obstacle::Standby),
            // New stamps become available as the clock advances, within minutes.
            Some("stamps") => None,
            Some("clock") => Some(Obstacle::Clock),
            Some("gone") => Some(Obstacle::Gone),
            reason => reason.map(Obstacle::Store),
        };
        let right = match self.right {
            Right::Confirmed => None,
            Right::Overdue => Some(Obstacle::Overdue),
            Right::Expired => Some(Obstacle::Expired),
        };
        let stopping = self.stopping.then_some(Obstacle::Stopping);
        let reloading = self.reloading.then_some(Obstacle::Reloading);
        let closed = self.closed.then_some(Obstacle::Closed);
        let silent = (!self.silent.is_empty()).then_some(Obstacle::Silent);
        let folder = self.lacks_inbox().then_some(Obstacle::Folder);
        stopping.or(reloading).or(store).or(right).or(closed).or(silent).or(folder)
    }

    /// Whether an inbox was not listed yet, or could not be listed.
    fn lacks_inbox(&self) -> bool {
        self.inboxes.is_empty() || self.inboxes.values().any(|is_listed| !is_listed)
    }

    /// Whether the inbox of a feed is not listed, or does not answer.
    fn is_away(&self, feed: &Feed) -> bool {
        self.silent.contains(feed) || self.inboxes.get(feed).is_none_or(|is_listed| !is_listed)
    }

    /// Describes an obstacle. Names the feeds if their inboxes are the obstacle.
    fn describe(&self, obstacle: Obstacle) -> String {
        let missing = self.inboxes.iter().filter(|(_, is_listed)| !**is_listed).map(|(feed, _)| feed);
        let feeds: Vec<&Feed> = match obstacle {
            Obstacle::Silent => self.silent.iter().collect(),
            Obstacle::Folder => missing.collect(),
            _ => Vec::new(),
        };
        let is_only = self.inboxes.len() <= 1;
        let name = |feed: &Feed| match feed.is_named() {
            true => Some(format!("feed {feed}")),
            false => (!is_only).then(|| title("")),
        };
        let names: Vec<String> = feeds.into_iter().filter_map(name).collect();
        match names.is_empty() {
            true => obstacle.to_string(),
            false => format!("{}: {obstacle}", names.join(", ")),
        }
    }

    fn is_idle(&self) -> bool {
        self.obstacle().is_none() && self.files.values().all(|files| *files == 0)
    }

    /// Whether the store answers. It also does so while the daemon waits for the clock or for the process that writes.
    fn store_is_up(&self) -> bool {
        matches!(self.store, None | Some("stamps" | "clock" | "standby")) && self.right == Right::Confirmed
    }

    /// Forgets what the last pipeline reported. The next one may have other feeds.
    fn forget_feeds(&mut self) {
        self.inboxes.clear();
        self.silent.clear();
        self.files.clear();
    }

    /// Logs when the daemon becomes ready, or is no longer ready.
    fn log(&mut self) {
        match self.obstacle() {
            None if !self.logged_ready => {
                info!("ready: watching the inbox");
                self.logged_ready = true;
            }
            Some(obstacle @ (Obstacle::Overdue | Obstacle::Expired)) if self.logged_ready => {
                warn!("not ready: {obstacle}");
                self.logged_ready = false;
            }
            // For the store and the clock, other code logs the reason and the end of the wait.
            Some(obstacle) if !matches!(obstacle, Obstacle::Store(_) | Obstacle::Clock) => {
                self.logged_ready = false;
            }
            _ => {}
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopping => "stopping",
            Self::Reloading => "changing to another configuration",
            Self::Standby => "standby: another process writes; this process takes over if that one ends",
            Self::OtherTables => {
                "standby: the process that writes has other tables than are declared here; the log names that process"
            }
            Self::Clock => "waiting for the clock: it is behind the stamps that were handed out already",
            Self::Gone => "the store is gone: its file was removed or replaced",
            Self::Store(reason) => return write!(f, "the store does not answer ({reason})"),
            Self::Overdue => "the store does not confirm the right to write",
            Self::Expired => "the right to write has ended: the store did not confirm it in time",
            Self::Closed => "the store is being opened",
            Self::Folder => "the inbox was not listed yet, or does not exist",
            Self::Silent => "the inbox does not answer",
        })
    }
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and updates the log and the metric. Every change that affects readiness must use this
    /// function.
    fn change(&self, change: impl FnOnce(&mut HealthState)) {
        let mut state = self.lock();
        change(&mut state);
        metrics::store_up(state.store_is_up());
        state.log();
        self.tell_idle(&state);
    }

    fn tell_idle(&self, state: &HealthState) {
        self.idle.send_if_modified(|idle| std::mem::replace(idle, state.is_idle()) != state.is_idle());
    }

    /// Notes that the store is open.
    pub fn store_opened(&self) {
        self.change(|state| (state.store, state.closed, state.right) = (None, false, Right::Confirmed));
    }

    /// Notes that the store is closed. Nothing is loaded until it is open again and the inbox was listed.
    pub fn store_closed(&self) {
        self.change(|state| {
            (state.closed, state.right) = (true, Right::Confirmed);
            state.forget_feeds();
        });
    }

    /// Notes whether a reload is in progress. No file is taken up until the inbox was listed under the next
    /// configuration.
    pub fn reloading(&self, is: bool) {
        self.change(|state| {
            state.reloading = is;
            state.forget_feeds();
        });
    }

    /// Notes that the configuration is being read again.
    pub fn reload_begins(&self) {
        self.lock().reloads.begun += 1;
    }

    /// Notes that the reload ended, with the new or the previous configuration in force. If several reloads were
    /// requested in a row, all of them end here.
    pub fn reload_is_over(&self) {
        let mut state = self.lock();
        state.reloads.over = state.reloads.begun;
    }

    pub fn reloads(&self) -> Reloads {
        self.lock().reloads
    }

    pub fn stopping(&self) {
        self.change(|state| state.stopping = true);
    }

    pub fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Whether the daemon has started. It watches the inbox, or it waits for the store or for an inbox that does not
    /// answer, and will watch the inbox then.
    pub fn has_begun(&self) -> bool {
        let state = self.lock();
        let watches = state.inboxes.values().any(|is_listed| *is_listed);
        watches || state.store.is_some() || !state.silent.is_empty()
    }

    /// Describes in a few words, for people, what the daemon does now.
    pub fn doing(&self) -> String {
        let state = self.lock();
        match (state.obstacle(), state.files.values().sum::<usize>()) {
            (Some(Obstacle::Stopping), _) => "stopping: writing what was read".to_owned(),
            (Some(Obstacle::Standby), _) => "standing by: another process writes".to_owned(),
            (Some(Obstacle::Store(reason)), _) => format!("waiting for the store ({reason})"),
            (Some(Obstacle::Folder), _) => "waiting for the inbox".to_owned(),
            (Some(other), _) => state.describe(other),
            (None, 0) => "ready; no files waiting".to_owned(),
            (None, 1) => "ready; 1 file waiting".to_owned(),
            (None, files) => format!("ready; {files} files waiting"),
        }
    }
}

impl Readiness for Health {
    fn ready(&self) -> Result<(), String> {
        let state = self.lock();
        state.obstacle().map_or(Ok(()), |obstacle| Err(state.describe(obstacle)))
    }
}

impl StoreObserver for Health {
    fn store_waits(&self, reason: &'static str) {
        metrics::store_waits(reason);
        self.change(|state| state.store = Some(reason));
    }

    fn store_answers(&self) {
        self.change(|state| state.store = None);
    }

    fn stands_by(&self, differs: bool) {
        self.store_waits("standby");
        self.change(|state| state.other_tables = differs);
    }

    fn right(&self, right: Right) {
        self.change(|state| state.right = right);
    }
}

impl PipelineObserver for Health {
    fn inbox_listed(&self, feed: &Feed, succeeded: bool) {
        self.change(|state| {
            state.inboxes.insert(feed.clone(), succeeded);
            metrics::inbox_listed(feed.name(), !state.is_away(feed));
        });
    }

    fn inbox_answers(&self, feed: &Feed, answers: bool) {
        self.change(|state| {
            if answers {
                state.silent.remove(feed);
            } else {
                state.silent.insert(feed.clone());
            }
            metrics::inbox_listed(feed.name(), !state.is_away(feed));
        });
    }

    fn file_taken_up(&self) {
        // A small file may be loaded before the files are counted again.
        self.idle.send_if_modified(|idle| std::mem::replace(idle, false));
    }

    fn files_wait(&self, feed: &Feed, files: usize) {
        let mut state = self.lock();
        state.files.insert(feed.clone(), files);
        self.tell_idle(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Health {
        let health = Health::default();
        health.inbox_listed(&Feed::default(), true);
        assert_eq!(health.ready(), Ok(()));
        health
    }

    #[test]
    fn a_daemon_that_waits_for_the_clock_is_not_ready_and_says_why() {
        let health = ready();
        health.store_waits("stamps");
        assert_eq!(health.ready(), Ok(()));
        health.store_waits("clock");
        assert!(health.ready().unwrap_err().contains("clock"));
        assert!(health.lock().store_is_up());
        health.store_answers();
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn an_unconfirmed_right_to_write_is_not_ready_even_if_the_store_answers() {
        let health = ready();
        for right in [Right::Overdue, Right::Expired] {
            health.right(right);
            health.store_answers();
            assert!(health.ready().unwrap_err().contains("right to write"));
            assert!(!health.lock().store_is_up());
        }
        health.right(Right::Confirmed);
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn a_daemon_is_ready_once_every_inbox_was_listed() {
        let health = ready();
        let clicks = Feed::named("clicks").unwrap();
        health.inbox_listed(&clicks, false);
        assert!(health.ready().unwrap_err().starts_with("feed clicks: the inbox"), "{:?}", health.ready());
        assert!(health.has_begun(), "the other feed is watched");
        health.inbox_listed(&Feed::default(), false);
        let both = health.ready().unwrap_err();
        assert!(both.starts_with("the feed without a name, feed clicks: the inbox"), "{both}");
        health.inbox_listed(&Feed::default(), true);
        health.inbox_listed(&clicks, true);
        assert_eq!(health.ready(), Ok(()));
        health.files_wait(&clicks, 2);
        health.files_wait(&Feed::default(), 1);
        assert_eq!(health.doing(), "ready; 3 files waiting");
    }

    #[test]
    fn an_inbox_that_does_not_answer_is_named_until_it_answers() {
        let health = ready();
        let clicks = Feed::named("clicks").unwrap();
        health.inbox_listed(&clicks, true);
        health.inbox_answers(&clicks, false);
        assert_eq!(health.ready(), Err("feed clicks: the inbox does not answer".to_owned()));
        assert_eq!(health.doing(), "feed clicks: the inbox does not answer");
        health.inbox_answers(&clicks, true);
        assert_eq!(health.ready(), Ok(()));
        let hung = Health::default();
        hung.inbox_answers(&clicks, false);
        assert!(hung.has_begun(), "it waits for the inbox");
        hung.reloading(false);
        assert!(!hung.has_begun(), "the next pipeline may have other feeds");
    }

    #[test]
    fn a_closed_store_is_not_ready_until_it_is_open_and_the_inbox_was_listed() {
        let health = ready();
        health.store_closed();
        assert!(health.ready().is_err());
        health.store_opened();
        assert!(health.ready().unwrap_err().contains("inbox"));
        health.inbox_listed(&Feed::default(), true);
        assert_eq!(health.ready(), Ok(()));
    }
}
