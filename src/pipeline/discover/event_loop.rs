//! The loops of discovery: one pass over given files, and the watch on the inboxes.

use std::time::Instant;

use futures::future::select_all;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Permit, Receiver, Sender};

use crate::domain::{Feed, Feeds};
use crate::metrics::Queue;
use crate::pipeline::discover::Discover;
use crate::pipeline::discover::backlog::MEASURE;
use crate::pipeline::messages::{Finished, Left, LoadMode, ToStages, Work};
use crate::source::{Events, Found, Signal, Source};
use crate::store::{Store, StoreError};

impl<S: Store, I: Source> Discover<S, I> {
    pub(super) async fn once(
        &mut self,
        found: Vec<Found>,
        to: Feeds<ToStages<I::File>>,
        (mut finished, mut left): (Receiver<Finished>, Receiver<Left>),
    ) -> Result<(), StoreError> {
        self.single = true;
        for found in found {
            let now = Instant::now();
            if self.mode == LoadMode::Again || !self.files.is_known(&found, now) {
                self.files.queue(found, true, now);
            } else {
                self.stats.passed(found.noted.size);
                if self.files.has_failed(&found.file) {
                    self.report_unchanged(&found.file).await?;
                }
                self.listed(&found);
            }
        }
        while self.files.are_active() {
            let (next, leaving) = (self.next_to(&to), self.leaving_to(&to));
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(done) = finished.recv() => self.finished(&done).await?,
                Some(left) = left.recv() => self.left(&left).await,
                Ok(permit) = reserve(leaving), if leaving.is_some() => {
                    if let Some(file) = self.files.leave() { permit.send(file) }
                }
                permit = reserve(next), if next.is_some() => match permit {
                    Ok(permit) => if let Some(work) = self.take_next(false).await? { permit.send(work) },
                    Err(_) => break,
                },
                else => break,
            }
        }
        Ok(())
    }

    pub(super) async fn watch(
        &mut self,
        to: Feeds<ToStages<I::File>>,
        (mut finished, mut left): (Receiver<Finished>, Receiver<Left>),
    ) -> Result<(), StoreError> {
        self.intakes.iter().for_each(|(feed, _)| self.observer.inbox_listed(feed, false));
        // The watch begins before the first listing, so that no file is missed between the two.
        let mut watches = self.begin_watches().await;
        let mut measure = tokio::time::interval(MEASURE);
        measure.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let (next, leaving) = (self.next_to(&to), self.leaving_to(&to));
            let (due, listing) = (self.files.next_due(), self.next_listing());
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.backoff.pulse.asked() => self.backoff.pulse.answer(),
                _ = measure.tick() => {
                    let depth = |to: &ToStages<I::File>| to.files.max_capacity() - to.files.capacity();
                    Queue::Files.depth(to.values().map(depth).sum());
                    self.measure();
                }
                Some(done) = finished.recv() => self.finished(&done).await?,
                Some(left) = left.recv() => self.left(&left).await,
                () = until(self.files.next_rest()) => self.rested().await,
                Ok(permit) = reserve(leaving), if leaving.is_some() => {
                    if let Some(file) = self.files.leave() { permit.send(file) }
                }
                (feed, signal) = next_signal(&mut watches) => self.signal(&feed, signal).await?,
                () = until(due) => self.files.settled(Instant::now()),
                () = until(listing) => self.list_due(&mut watches).await?,
                permit = reserve(next), if next.is_some() => match permit {
                    Ok(permit) => if let Some(work) = self.take_next(true).await? { permit.send(work) },
                    Err(_) => return Ok(()),
                },
            }
        }
    }

    /// Returns the queue for the next file, if its feed may have another file under way. No other feed overtakes it.
    fn next_to<'t>(&self, to: &'t Feeds<ToStages<I::File>>) -> Option<&'t Sender<Work<I::File>>> {
        let file = self.files.next()?;
        let (intake, to) = (self.intakes.of(file).ok()?, to.of(file).ok()?);
        let loading = |feed: &Feed| self.files.totals(feed).loading;
        let has_room = match self.intakes.values().any(|intake| intake.identify.plan.needs_order()) {
            true => self.intakes.iter().all(|(feed, _)| loading(feed) == 0),
            false => loading(&intake.identify.plan.feed) < intake.files_under_way,
        };
        has_room.then_some(&to.files)
    }

    /// Returns the queue for the next file that leaves the inbox.
    fn leaving_to<'t>(&self, to: &'t Feeds<ToStages<I::File>>) -> Option<&'t Sender<Found>> {
        Some(&to.of(self.files.next_leavable()?).ok()?.leaving)
    }
}

/// Returns the next event of any inbox, with its feed. Never completes without a watch.
async fn next_signal(watches: &mut Feeds<impl Events>) -> (Feed, Signal) {
    let waits: Vec<_> = watches
        .iter_mut()
        .map(|(feed, watch)| Box::pin(async { (feed.clone(), watch.next().await) }))
        .collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    select_all(waits).await.0
}

/// Waits for room in a queue. Never completes without a queue.
async fn reserve<T>(queue: Option<&Sender<T>>) -> Result<Permit<'_, T>, SendError<()>> {
    match queue {
        Some(queue) => queue.reserve().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
