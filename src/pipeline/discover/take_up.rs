//! Identifies the next file and takes it up.

use std::time::Instant;

use tracing::{info, warn};

use crate::domain::feed::setting;
use crate::domain::text::one_line;
use crate::domain::{DeliveryId, DeliveryState, FileKey, FileStat};
use crate::metrics;
use crate::metrics::Stage;
use crate::pipeline::discover::Discover;
use crate::pipeline::discover::files::{Candidate, Loading};
use crate::pipeline::discover::identify::identified::{Identified, IdentifyError, WaitsFor};
use crate::pipeline::header_probe::trusted;
use crate::pipeline::messages::Work;
use crate::source::{Found, Source, SourceFile};
use crate::store::{Store, StoreError, failpoint};

/// The maximum number of ignored columns that are logged, and the maximum length of their names together. A header may
/// have thousands of columns.
const NAMED: usize = 20;
const LINE: usize = 1000;

/// The maximum number of waiting files, and of different sets of ignored columns, that are remembered. Each set may come
/// from a header of 64 KiB.
const REPORTED: usize = 16;

impl<S: Store, I: Source> Discover<S, I> {
    /// Identifies the next file. Returns the work to do, if there is any.
    pub(super) async fn take_next(&mut self, keep_note: bool) -> Result<Option<Work<I::File>>, StoreError> {
        let Some(candidate) = self.files.take() else { return Ok(None) };
        let Ok(intake) = self.intakes.of(&candidate.file) else { return Ok(None) };
        let is_known = self.files.has(&candidate.file);
        let looks = Stage::Discover.begin();
        failpoint::stuck(Stage::Discover.name()).await;
        // Boxed: the future has tens of kilobytes, and each enclosing future would hold a copy on the stack.
        let identified = Box::pin(intake.identify.identify(&candidate, is_known));
        let work = match self.backoff.pulse.during(self.measured(identified)).await {
            Ok(identified) => self.identified(candidate, identified, keep_note).await?,
            Err(IdentifyError::Store(error)) => return Err(error),
            Err(IdentifyError::File(error)) => {
                self.cannot_read(&candidate.file, &error);
                None
            }
        };
        looks.end();
        Ok(work)
    }

    async fn identified(
        &mut self,
        candidate: Candidate,
        identified: Identified<I::File>,
        keep_note: bool,
    ) -> Result<Option<Work<I::File>>, StoreError> {
        let Candidate { file, queued } = candidate;
        match identified {
            Identified::Work(work, strikes) => {
                self.observer.file_taken_up();
                self.waiting.remove(&file);
                self.report_ignored(&file, &work.source.mapping.ignored);
                metrics::delivery(file.feed(), DeliveryState::Waiting);
                metrics::delivery(file.feed(), DeliveryState::Loading);
                let loading = Loading { noted: work.bytes.file.noted(), strikes };
                self.files.load(&file, work.noted, loading);
                return Ok(Some(*work));
            }
            Identified::Unchanged(same) => {
                self.stats.passed(queued.noted.size);
                if keep_note && !same.amendment.is_empty() {
                    self.amend(same.id, same.amendment).await?;
                }
                self.files.unchanged(&file, trusted(queued.noted), same.state);
                if matches!(same.state, DeliveryState::Incomplete | DeliveryState::Undone) {
                    self.report_unchanged(&file).await?;
                }
                if let Some(strikes) = same.held {
                    let since = if queued.quiet { queued.since } else { Instant::now() };
                    self.hold(&file, strikes, since).await;
                }
                if same.verified && self.files.is_complete(&file) {
                    self.compared(&Found { file, noted: same.noted });
                }
            }
            Identified::Waits(WaitsFor::Writer) if !self.single => {
                self.waits_for_writer(&file, queued.was_open)
            }
            Identified::Waits(what) => self.waits(&file, queued.noted, what),
            Identified::Entered(id, state, detail) => {
                self.entered(&file, queued.noted, id, state, &detail).await;
            }
            Identified::Assumed(delivery) => {
                self.stats.assumed(&delivery);
                self.entered(&file, queued.noted, delivery.id, delivery.state, &delivery.detail).await;
            }
            // The other file may stay open for hours, and must not hold up the files behind this one.
            Identified::Behind(_, other) if self.files.is_open(&other) => {
                self.files.open(&file, Instant::now() + self.poll(&file));
            }
            Identified::Behind(_, other)
                if self.files.is_waiting(&other) || self.files.is_loading(&other) =>
            {
                self.files.wait_behind(&file, other);
            }
            Identified::Behind(id, other) => self.left_behind(id, &other, Candidate { file, queued }).await?,
        }
        Ok(None)
    }

    /// Puts off a file that a process has open for writing, until the time of the next listing. This is logged once for
    /// each file.
    fn waits_for_writer(&mut self, file: &FileKey, is_logged: bool) {
        if !is_logged {
            info!(file = file.text(), "waiting: {}", WaitsFor::Writer.describe(file.feed()));
            metrics::delivery(file.feed(), DeliveryState::Waiting);
            self.stats.delivery(DeliveryState::Waiting);
        }
        self.files.open(file, Instant::now() + self.poll(file));
    }

    /// Puts off a file of which nothing can be read yet. This is logged and counted once for each file, as far as it is
    /// remembered.
    fn waits(&mut self, file: &FileKey, noted: FileStat, what: WaitsFor) {
        if self.waiting.len() == REPORTED {
            self.waiting.clear();
        }
        if self.waiting.insert(file.clone()) {
            info!(file = file.text(), "waiting: {}", what.describe(file.feed()));
            metrics::delivery(file.feed(), DeliveryState::Waiting);
            self.stats.delivery(DeliveryState::Waiting);
            self.stats.passed(noted.size);
        }
        self.files.put_off(file);
    }

    /// Notes that a file was entered into the ledger without anything to read.
    async fn entered(
        &mut self,
        file: &FileKey,
        noted: FileStat,
        id: DeliveryId,
        state: DeliveryState,
        detail: &str,
    ) {
        if state == DeliveryState::Failed {
            warn!(file = file.text(), "failed: {}", one_line(detail));
        } else {
            info!(file = file.text(), "{state}: {detail}");
        }
        metrics::delivery(file.feed(), state);
        self.stats.delivery(state);
        self.stats.passed(noted.size);
        let is_complete = matches!(state, DeliveryState::Duplicate | DeliveryState::Loaded);
        let leaves = self.intakes.of(file).is_ok_and(|intake| intake.rest.is_some());
        let noted = if is_complete && leaves { trusted(noted) } else { noted };
        self.files.entered(file, noted, id, state);
        self.may_leave(file).await;
    }

    /// Logs ignored columns once for all files with the same columns.
    fn report_ignored(&mut self, file: &FileKey, ignored: &[String]) {
        if ignored.is_empty() || self.reported.contains(ignored) {
            return;
        }
        if self.reported.len() == REPORTED {
            self.reported.clear();
        }
        self.reported.insert(ignored.to_vec());
        let first: Vec<&str> =
            ignored.iter().take(NAMED).map(|name| if name.is_empty() { "\"\"" } else { name }).collect();
        let more = ignored.len() - first.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names: String = one_line(&first.join(", ")).chars().take(LINE).collect();
        let setting = setting(file.feed(), "source.columns");
        info!(file = file.text(), "columns that {setting} does not name are ignored: {names}{more}");
    }

    /// Handles a file that begins like a delivery of an earlier process. If the file of that delivery still exists, it
    /// is taken up first.
    async fn left_behind(
        &mut self,
        id: DeliveryId,
        other: &FileKey,
        Candidate { file, queued }: Candidate,
    ) -> Result<(), StoreError> {
        match self.see(other).await {
            // The stage is stopped.
            None => {}
            Some(Some(_)) if self.files.is_unreadable(other) => {
                let error =
                    format!("it begins with the bytes of {other}, which comes first and cannot be read");
                self.cannot_read(&file, &std::io::Error::other(error));
            }
            // Otherwise the two files would wake each other again and again.
            Some(Some(_)) if queued.has_waited => self.waits(&file, queued.noted, WaitsFor::Earlier),
            Some(Some(found)) => {
                self.files.wait_behind(&file, found.file.clone());
                self.files.queue(found, false, Instant::now());
            }
            Some(None) => {
                let detail = "its file was removed before it was loaded completely; the same bytes came under \
                              another name";
                self.replaced(id, other, detail).await?;
                self.files.requeue(&file);
            }
        }
        Ok(())
    }
}
