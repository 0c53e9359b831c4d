//! Finds the files to identify, from events of the system and from listings of the folder.

use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use crate::domain::FileKey;
use crate::pipeline::discover::Discover;
use crate::pipeline::discover::files::Again;
use crate::source::{Events, Found, Signal, Source};
use crate::store::{Store, StoreError};

/// How long after an unclear event the folder is listed again.
const RELIST: Duration = Duration::from_millis(500);

impl<S: Store, I: Source> Discover<S, I> {
    /// Lists the folder. First watches it again if it was replaced by another folder.
    pub(super) async fn relist(&mut self, watch: &mut Option<I::Events>) -> Result<(), StoreError> {
        if !self.identify.inbox.find_again(watch.as_ref()) {
            *watch = None;
            *watch = self.begin_watch();
        }
        self.list().await
    }

    pub(super) fn begin_watch(&mut self) -> Option<I::Events> {
        let (folder, watch) = (self.identify.inbox.name(), self.identify.inbox.watch());
        let poll = humantime::format_duration(*self.source.poll);
        // A failure is logged once. Polling continues without events.
        let was_unwatched = std::mem::replace(&mut self.unwatched, watch.is_err());
        match &watch {
            Ok(watch) => {
                if let Some(gaps) = watch.as_ref().and_then(Events::gaps) {
                    warn!(%folder, "{gaps}; needledrop lists it every {poll}");
                }
            }
            Err(error) if !was_unwatched => {
                warn!(%folder, "the system sends no events ({error}); needledrop lists the folder every {poll}");
            }
            Err(_) => {}
        }
        watch.ok().flatten()
    }

    /// Lists the folder. Its absence is not an error.
    pub(super) async fn list(&mut self) -> Result<(), StoreError> {
        self.relist_at = None;
        let inbox = self.identify.inbox.clone();
        let listed = inbox.each(&mut |found| self.arrived(found)).await;
        self.observer.inbox_listed(listed.is_ok());
        let was_absent = std::mem::replace(&mut self.absent, listed.is_err());
        let folder = inbox.name();
        if let Err(error) = listed {
            if !was_absent {
                warn!(%folder, "cannot be listed: {error}; needledrop tries again until it can");
            }
            return Ok(());
        }
        if was_absent {
            info!(%folder, "can be listed again");
        }
        for file in self.files.troubled() {
            let is_there = inbox.may_exist(&file).await;
            if !is_there && let Some(id) = self.files.gone(&file) {
                self.gone(id, &file).await?;
            }
        }
        Ok(())
    }

    /// Takes note of a listed file. The clock is read for each file, because a listing may take longer than
    /// `source.settle`.
    fn arrived(&mut self, found: Found) {
        let now = Instant::now();
        if self.files.is_known(&found, now) {
            return self.listed(&found);
        }
        // Files that existed before the watch began are complete once they have been quiet for long enough.
        let quiet = SystemTime::now().duration_since(found.noted.quiet_since()).unwrap_or_default();
        let is_complete = !self.identify.inbox.can_grow();
        let quiet = is_complete || quiet >= *self.source.settle;
        if quiet && self.files.is_young(&found) {
            self.files.check(found, now);
        } else if quiet {
            self.files.offer(found, is_complete, now);
        } else {
            self.files.settle(found, *self.source.settle, now);
        }
    }

    pub(super) async fn signal(&mut self, signal: Signal) -> Result<(), StoreError> {
        match signal {
            Signal::Lost => self.list().await?,
            Signal::Unclear => {
                self.list().await?;
                // A new folder is watched only a moment after its event, so events in between may be missing.
                self.relist_at = Some(Instant::now() + RELIST);
            }
            Signal::Complete(file) => {
                if let Some(found) = self.identify.inbox.look(&file).await {
                    self.files.readable(&file);
                    self.files.offer(found, true, Instant::now());
                }
            }
            Signal::Changing(file) => {
                if let Some(found) = self.identify.inbox.look(&file).await {
                    self.files.settle(found, *self.source.settle, Instant::now());
                }
            }
            // The change may have made an unreadable file readable.
            Signal::Touched(file) => {
                if let Some(found) = self.identify.inbox.look(&file).await
                    && self.files.readable(&file)
                {
                    self.files.offer(found, false, Instant::now());
                }
            }
        }
        Ok(())
    }

    /// Queues a file again if it changed while it was in use.
    pub(super) async fn look_again(&mut self, file: &FileKey, again: Again) {
        let Some(closed) = again else { return };
        let Some(found) = self.identify.inbox.look(file).await else { return };
        if closed {
            self.files.offer(found, true, Instant::now());
        } else {
            self.files.settle(found, *self.source.settle, Instant::now());
        }
    }

    /// Schedules another look at a file whose open tail is held. `since` is the time since which it is known not to
    /// have changed.
    pub(super) async fn hold(&mut self, file: &FileKey, strikes: u32, since: Instant) {
        if self.single {
            return;
        }
        if let Some(found) = self.identify.inbox.look(file).await {
            let wait = self.identify.tails.look_again_in(found.noted, strikes);
            self.files.hold(found, since, Instant::now() + wait);
        }
    }
}
