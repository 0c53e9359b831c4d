//! Finds the files to identify, from events of the system and from listings of the folder.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use crate::pipeline::discover::Discover;
use crate::pipeline::discover::files::Again;
use crate::source::folder::inbox::Found;
use crate::source::folder::watch;
use crate::source::folder::watch::{Signal, Watch};
use crate::store::{Store, StoreError};

/// How long after an unclear event the folder is listed again.
const RELIST: Duration = Duration::from_millis(500);

impl<S: Store> Discover<S> {
    /// Lists the folder. First watches it again if it was replaced by another folder.
    pub(super) async fn relist(&mut self, watch: &mut Option<Watch>) -> Result<(), StoreError> {
        self.identify.inbox.resolve();
        if !watch.as_ref().is_some_and(|watch| watch.is_on(&self.identify.inbox.folder)) {
            *watch = None;
            *watch = self.begin_watch();
        }
        self.list().await
    }

    pub(super) fn begin_watch(&mut self) -> Option<Watch> {
        let folder = self.identify.inbox.folder.display();
        match Watch::begin(&self.identify.inbox) {
            Ok(watch) => {
                self.unwatched = false;
                if let Some(kind) = watch::elsewhere(&self.identify.inbox.folder) {
                    let poll = humantime::format_duration(*self.source.poll);
                    warn!(%folder, "is on {kind}: what other machines write there sends no events; it is listed every {poll}");
                }
                Some(watch)
            }
            // Already logged. Polling continues without events.
            Err(_) if self.unwatched => None,
            Err(error) => {
                let poll = humantime::format_duration(*self.source.poll);
                warn!(%folder, "no events from the system ({error}); the folder is listed every {poll}");
                self.unwatched = true;
                None
            }
        }
    }

    /// Lists the folder. Its absence is not an error.
    pub(super) async fn list(&mut self) -> Result<(), StoreError> {
        self.relist_at = None;
        let inbox = self.identify.inbox.clone();
        let now = Instant::now();
        let listed = inbox.each(&mut |file| self.arrived(file, now));
        self.observer.inbox_listed(listed.is_ok());
        let was_absent = std::mem::replace(&mut self.absent, listed.is_err());
        let folder = inbox.folder.display();
        if let Err(error) = listed {
            if !was_absent {
                warn!(%folder, "cannot be listed: {error}; waiting for it");
            }
            return Ok(());
        }
        if was_absent {
            info!(%folder, "is there again");
        }
        for path in self.files.troubled() {
            let is_there = inbox.place(&path).try_exists().unwrap_or(true);
            if !is_there && let Some(id) = self.files.gone(&path) {
                self.gone(id, &path).await?;
            }
        }
        Ok(())
    }

    fn arrived(&mut self, file: Found, now: Instant) {
        if self.files.is_known(&file, now) {
            return self.listed(&file);
        }
        // Files that existed before the watch began are complete once they have been quiet for long enough.
        let changed =
            UNIX_EPOCH + Duration::from_nanos(file.noted.ctime.max(file.noted.mtime).try_into().unwrap_or(0));
        let quiet = SystemTime::now().duration_since(changed).unwrap_or_default() >= *self.source.settle;
        if quiet && self.files.is_young(&file) {
            self.files.check(file, now);
        } else if quiet {
            self.files.offer(file, false, now);
        } else {
            self.files.settle(file, *self.source.settle, now);
        }
    }

    pub(super) async fn signal(&mut self, signal: Signal) -> Result<(), StoreError> {
        match signal {
            Signal::Unclear => {
                self.list().await?;
                // A new folder is watched only a moment after its event, so events in between may be missing.
                self.relist_at = Some(Instant::now() + RELIST);
            }
            Signal::Whole(place) => {
                if let Some(file) = self.identify.inbox.look(&place) {
                    self.files.readable(&file.path);
                    self.files.offer(file, true, Instant::now());
                }
            }
            Signal::Changing(place) => {
                if let Some(file) = self.identify.inbox.look(&place) {
                    self.files.settle(file, *self.source.settle, Instant::now());
                }
            }
            // The change may have made an unreadable file readable.
            Signal::Touched(place) => {
                if let Some(file) = self.identify.inbox.look(&place)
                    && self.files.readable(&file.path)
                {
                    self.files.offer(file, false, Instant::now());
                }
            }
        }
        Ok(())
    }

    /// Queues a file again if it changed while it was in use.
    pub(super) fn look_again(&mut self, path: &str, again: Again) {
        let Some(closed) = again else { return };
        let Some(file) = self.identify.inbox.look(&self.identify.inbox.place(path)) else { return };
        if closed {
            self.files.offer(file, true, Instant::now());
        } else {
            self.files.settle(file, *self.source.settle, Instant::now());
        }
    }

    /// Schedules another look at a file whose open tail is held. `since` is the time since which it is known not to
    /// have changed.
    pub(super) fn hold(&mut self, path: &str, strikes: u32, since: Instant) {
        if self.single {
            return;
        }
        if let Some(file) = self.identify.inbox.look(&self.identify.inbox.place(path)) {
            let wait = self.identify.tails.look_again_in(file.noted, strikes);
            self.files.hold(file, since, Instant::now() + wait);
        }
    }
}
