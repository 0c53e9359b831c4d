//! Finds the files to identify, from events of the system and from listings of the folder.

use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use crate::domain::{Feed, Feeds, FileKey};
use crate::pipeline::discover::files::Again;
use crate::pipeline::discover::intake::Intake;
use crate::pipeline::discover::{Discover, Watches};
use crate::source::{Events, Found, Signal, Source};
use crate::store::{Store, StoreError};

/// How long after an unclear event the folder is listed again.
const RELIST: Duration = Duration::from_millis(500);

impl<S: Store, I: Source> Discover<S, I> {
    /// Returns when an inbox is listed next.
    pub(super) fn next_listing(&self) -> Option<Instant> {
        self.intakes.values().map(|intake| intake.list_at).min()
    }

    /// Lists the inboxes whose time has come. First watches an inbox again if it was replaced by another.
    pub(super) async fn list_due(&mut self, watches: &mut Watches<I>) -> Result<(), StoreError> {
        let now = Instant::now();
        let due: Vec<Feed> = self
            .intakes
            .iter()
            .filter(|(_, intake)| intake.list_at <= now)
            .map(|(feed, _)| feed.clone())
            .collect();
        for feed in due {
            self.relist(&feed, watches).await?;
        }
        Ok(())
    }

    async fn relist(&mut self, feed: &Feed, watches: &mut Watches<I>) -> Result<(), StoreError> {
        let (wait, watch) = (self.waiting_for_inbox(), watches.remove(feed));
        if let Some(intake) = self.intakes.get_mut(feed) {
            let watch = wait.answer(watch_again(intake, watch)).await.flatten();
            watch.into_iter().for_each(|watch| watches.insert(feed.clone(), watch));
        }
        self.list(feed).await
    }

    /// Begins to watch all inboxes.
    pub(super) async fn begin_watches(&mut self) -> Watches<I> {
        let (wait, mut watches) = (self.waiting_for_inbox(), Feeds::none());
        for (feed, intake) in self.intakes.iter_mut() {
            let watch = wait.answer(begin_watch(intake)).await.flatten();
            watch.into_iter().for_each(|watch| watches.insert(feed.clone(), watch));
        }
        watches
    }

    /// Lists an inbox. Its absence is not an error.
    pub(super) async fn list(&mut self, feed: &Feed) -> Result<(), StoreError> {
        let Some(intake) = self.intakes.get(feed) else { return Ok(()) };
        let (wait, inbox) = (self.waiting_for_inbox(), intake.identify.inbox.clone());
        let mut arrived = |found| self.arrived(found);
        let Some(listed) = wait.answer(inbox.each(&mut arrived)).await else { return Ok(()) };
        self.observer.inbox_listed(feed, listed.is_ok());
        let Some(intake) = self.intakes.get_mut(feed) else { return Ok(()) };
        intake.listed(listed.is_ok());
        let reason = listed.as_ref().err().map(ToString::to_string);
        let before = std::mem::replace(&mut intake.absent, reason);
        let folder = inbox.name();
        let left_out = match listed {
            Ok(left_out) => left_out,
            Err(error) => {
                if before != intake.absent {
                    warn!(%folder, "cannot be listed: {error}; needledrop tries again until it can");
                }
                return Ok(());
            }
        };
        intake.left_out(feed, left_out);
        if before.is_some() {
            info!(%folder, "can be listed again");
        }
        for file in self.files.troubled().into_iter().filter(|file| file.is_of(feed)) {
            let is_there = wait.answer(inbox.may_exist(&file)).await;
            if is_there == Some(false)
                && let Some(id) = self.files.gone(&file)
            {
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
        let Ok(Intake { identify, settings, .. }) = self.intakes.of(&found.file) else { return };
        let quiet = SystemTime::now().duration_since(found.noted.quiet_since()).unwrap_or_default();
        let is_complete = !identify.inbox.can_grow();
        let quiet = is_complete || quiet >= *settings.settle;
        if quiet && self.files.is_young(&found) {
            self.files.check(found, now);
        } else if quiet {
            self.files.offer(found, is_complete, now);
        } else {
            self.files.settle(found, *settings.settle, now);
        }
    }

    /// Returns how long a file must be unchanged.
    fn settle(&self, file: &FileKey) -> Duration {
        self.intakes.of(file).map_or(Duration::ZERO, |intake| *intake.settings.settle)
    }

    pub(super) async fn signal(&mut self, feed: &Feed, signal: Signal) -> Result<(), StoreError> {
        match signal {
            Signal::Lost => self.list(feed).await?,
            Signal::Unclear => {
                self.list(feed).await?;
                // A new folder is watched only a moment after its event, so events in between may be missing.
                if let Some(intake) = self.intakes.get_mut(feed) {
                    intake.list_within(RELIST);
                }
            }
            Signal::Complete(file) => {
                if let Some(found) = self.look(&file).await {
                    self.files.readable(&file);
                    self.files.offer(found, true, Instant::now());
                }
            }
            Signal::Changing(file) => {
                if let Some(found) = self.look(&file).await {
                    let settle = self.settle(&file);
                    self.files.settle(found, settle, Instant::now());
                }
            }
            // The change may have made an unreadable file readable.
            Signal::Touched(file) => {
                if let Some(found) = self.look(&file).await
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
        let Some(found) = self.look(file).await else { return };
        if closed {
            self.files.offer(found, true, Instant::now());
        } else {
            let settle = self.settle(file);
            self.files.settle(found, settle, Instant::now());
        }
    }

    /// Schedules another look at a file whose open tail is held. `since` is the time since which it is known not to
    /// have changed.
    pub(super) async fn hold(&mut self, file: &FileKey, strikes: u32, since: Instant) {
        if self.single {
            return;
        }
        if let (Some(found), Ok(intake)) = (self.look(file).await, self.intakes.of(file)) {
            let wait = intake.identify.tails.look_again_in(found.noted, strikes);
            self.files.hold(found, since, Instant::now() + wait);
        }
    }
}

/// Returns a watch on an inbox: this one, or another one if the inbox was replaced.
async fn watch_again<S, I: Source>(intake: &mut Intake<S, I>, watch: Option<I::Events>) -> Option<I::Events> {
    let is_watched = intake.identify.inbox.find_again(watch.as_ref()).await;
    if is_watched {
        return watch;
    }
    drop(watch);
    begin_watch(intake).await
}

/// Begins to watch an inbox.
async fn begin_watch<S, I: Source>(intake: &mut Intake<S, I>) -> Option<I::Events> {
    let (folder, watch) = (intake.identify.inbox.name(), intake.identify.inbox.watch().await);
    let poll = humantime::format_duration(*intake.settings.poll);
    // A failure is logged once. Polling continues without events.
    let was_unwatched = std::mem::replace(&mut intake.unwatched, watch.is_err());
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
