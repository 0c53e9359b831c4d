//! Identifies files by their content, never by inode, times or first line alone (law 4).

mod known;
mod resume;
mod entry;
mod duplicates;
mod earlier_rows;
pub mod identified;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use identified::{Identified, IdentifyError, WaitsFor};

use crate::config::{After, OnReplace, OpenFiles};
use crate::domain::header::HeaderError;
use crate::domain::ledger::HEAD;
use crate::domain::{
    Checkpoint, Delivery, DeliveryContext, DeliveryId, DeliveryState, FileKey, Plan, Replacement, path,
};
use crate::format::framer::Framer;
use crate::format::tail::TailPolicy;
use crate::pipeline::discover::files::Candidate;
use crate::pipeline::discover::tail_policy::Tails;
use crate::pipeline::hash_checkpoint::{HashCheckpoints, Window};
use crate::pipeline::header_probe::{Opened, Start, check_encoding, open, start};
use crate::pipeline::messages::{Head, LoadMode, Work};
use crate::pipeline::pending_replacements::PendingReplacements;
use crate::pipeline::unwritten_end::has_unwritten_end;
use crate::source::{Source, SourceFile};
use crate::store::backoff::Backoff;
use crate::store::listing::newest;
use crate::store::{Store, StoreError};

/// Compares files with the ledger and takes them up.
pub struct Identify<S, I> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub inbox: I,
    pub backoff: Backoff,
    pub max_record_bytes: usize,
    pub checkpoints: Arc<HashCheckpoints>,
    pub tails: Tails,
    pub mode: LoadMode,
    pub open_files: OpenFiles,
    pub after: After,
    pub on_replace: OnReplace,
    /// How long taking up a file may wait while the rows of its earlier generation are read.
    pub compare_wait: Duration,
    pub replacements: Arc<PendingReplacements>,
    /// When the process started. A file that arrived earlier counts as waiting from this time on.
    pub started: SystemTime,
}

/// A file that is being identified.
struct Subject<'c, F> {
    candidate: &'c Candidate,
    opened: Opened<F>,
    /// What may be done with the open tail.
    tail: TailPolicy,
    /// How often growth contradicted an open tail of this file.
    strikes: u32,
    /// The delivery of this file that was interrupted. It waits only for those that were taken up before it, so that two
    /// never wait for each other.
    interrupted: Option<DeliveryId>,
    /// Whether the ledger has an earlier generation of this file.
    has_earlier: bool,
}

impl<S: Store, I: Source> Identify<S, I> {
    /// Identifies one file. Queries the ledger for it only if `is_known`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or the store does not answer.
    pub async fn identify(
        &self,
        candidate: &Candidate,
        is_known: bool,
    ) -> Result<Identified<I::File>, IdentifyError> {
        let file = &candidate.file;
        loop {
            let opened = self.open(file).await?;
            if self.open_files == OpenFiles::Wait && self.is_open(candidate, &opened).await {
                return Ok(Identified::Waits(WaitsFor::Writer));
            }
            // A decoder could take the NUL bytes for compressed records.
            if opened.bytes.is_compressed() && has_unwritten_end(&opened.bytes.file).await {
                return Ok(Identified::Waits(WaitsFor::End));
            }
            let current = if is_known { self.newest(file).await? } else { None };
            let strikes = current.as_ref().map_or(0, |current| current.strikes);
            let tail = self.tails.policy(&candidate.queued, opened.bytes.file.noted(), strikes);
            let interrupted =
                current.as_ref().filter(|one| one.state == DeliveryState::Loading).map(|one| one.id);
            let has_earlier = current.is_some();
            let subject = Subject { candidate, opened, tail, strikes, interrupted, has_earlier };
            let identified = match current {
                // With `load --again`, this run has already loaded a candidate that is only checked. Once is enough.
                Some(current) if self.mode != LoadMode::Again || candidate.queued.checked => {
                    self.known(subject, current).await?
                }
                current => {
                    let identified = self.new_delivery(subject).await?;
                    if let Some(earlier) = &current {
                        self.replace_failed(earlier, &identified).await?;
                    }
                    Some(identified)
                }
            };
            // `None` means that the delivery was changed during the comparison, so compare again.
            if let Some(identified) = identified {
                return Ok(identified);
            }
        }
    }

    async fn open(&self, file: &FileKey) -> io::Result<Opened<I::File>> {
        open(&self.inbox, file, self.plan.encoding).await
    }

    /// Whether a process has the file open for writing. A file that was closed is looked at alone; others share a look, so
    /// that many open files do not take the time of the complete ones.
    async fn is_open(&self, candidate: &Candidate, opened: &Opened<I::File>) -> bool {
        let file = &opened.bytes.file;
        let was_seen = !candidate.queued.closed && file.had_writer().await;
        was_seen || file.has_writer().await
    }

    async fn newest(&self, file: &FileKey) -> Result<Option<Delivery>, StoreError> {
        self.backoff.with(|| newest(&*self.store, file)).await
    }

    async fn start(&self, opened: &Opened<I::File>, file: &FileKey) -> Result<Start, HeaderError> {
        path::check(&self.plan, file.path())?;
        check_encoding(opened, &self.plan)?;
        start(opened, &self.plan).await
    }

    fn work(
        &self,
        Subject { opened, tail, .. }: Subject<'_, I::File>,
        delivery: Delivery,
        start: Start,
        framer: Framer,
        (head, window): (Head, Window),
    ) -> Identified<I::File> {
        let bytes = opened.bytes;
        let changed = bytes.file.noted().changed_at();
        let header_is_tail = !start.is_complete && !start.header.0.is_empty();
        if delivery.replacement.as_ref().is_some_and(Replacement::is_due) {
            self.replacements.begin(delivery.id, &delivery.file);
        }
        let (file, file_date) = (delivery.file.clone(), self.plan.file_dates.of(delivery.file.path()).only());
        let (named, arrived) = ((start.header, start.mapping), changed.max(self.started));
        let source = DeliveryContext {
            records_before: delivery.reach.record,
            quarantined_before: delivery.receipt.quarantined,
            skipped_before: delivery.receipt.skipped,
            ..DeliveryContext::new(Arc::clone(&self.plan), delivery.id, file, named, file_date, arrived)
        };
        let strikes = delivery.strikes;
        let (source, stamps, noted) = (Arc::new(source), delivery.stamps, delivery.noted);
        let work = Work { source, stamps, bytes, noted, framer, tail, header_is_tail, window, head };
        Identified::Work(Box::new(work), strikes)
    }
}

fn head<F: SourceFile>(opened: &Opened<F>) -> Checkpoint {
    Checkpoint { offset: opened.read.len().min(HEAD) as u64, hash: opened.head.clone() }
}
