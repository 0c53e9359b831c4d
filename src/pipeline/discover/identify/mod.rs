//! Identifies files by their content, never by inode, times or first line alone (law 4).

mod duplicates;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::info;

use crate::domain::header::HeaderError;
use crate::domain::ledger::{Amendment, Continuation, HEAD, NewDelivery, Verdict};
use crate::domain::{
    Checkpoint, Delivery, DeliveryContext, DeliveryId, DeliveryState, FileKey, FileStat, Lenience, Origin,
    Plan, Position, path, text,
};
use crate::format::framer::Framer;
use crate::format::tail;
use crate::format::tail::{Judged, TailPolicy};
use crate::metrics;
use crate::pipeline::discover::adopt;
use crate::pipeline::discover::files::Candidate;
use crate::pipeline::discover::tail_policy::Tails;
use crate::pipeline::hash_checkpoint::{HashCheckpoints, Window};
use crate::pipeline::header_probe::{Opened, Start, framer, has_open_header, open, start, trusted};
use crate::pipeline::messages::{Head, LoadMode, Work};
use crate::pipeline::prefix_check::{Growth, PrefixCheck};
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
    /// When the process started. A file that arrived earlier counts as waiting from this time on.
    pub started: SystemTime,
}

/// The result of identifying a file.
pub enum Identified<F> {
    /// The file is unchanged since it was entered into the ledger.
    Unchanged(Same),
    /// The file must be read. The number is the strikes of the file.
    Work(Box<Work<F>>, u32),
    /// The file has an incomplete header, so it is not a delivery yet. It is looked at again.
    HeaderWaits,
    /// There is nothing to read: the file was entered into the ledger in this state.
    Entered(DeliveryId, DeliveryState, String),
    /// Another program wrote the rows: the file was entered as loaded.
    Assumed(Box<Delivery>),
    /// The file has the same first bytes as a delivery that is still being loaded, so it must wait.
    Behind(DeliveryId, FileKey),
}

/// A file that is unchanged since it was entered into the ledger.
pub struct Same {
    pub id: DeliveryId,
    pub state: DeliveryState,
    /// The size and times before the bytes were compared.
    pub noted: FileStat,
    /// Whether all bytes were compared.
    pub verified: bool,
    /// The strikes of the file, if the open tail is held.
    pub held: Option<u32>,
    /// The changes to write to the ledger.
    pub amendment: Amendment,
}

/// A file that is being identified.
struct Subject<'c, F> {
    candidate: &'c Candidate,
    opened: Opened<F>,
    /// What may be done with the open tail.
    tail: TailPolicy,
    /// How often growth contradicted an open tail of this file.
    strikes: u32,
}

/// The reason a file could not be identified.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    File(#[from] io::Error),
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
            let current = if is_known { self.newest(file).await? } else { None };
            let strikes = current.as_ref().map_or(0, |current| current.strikes);
            let tail = self.tails.policy(&candidate.queued, opened.bytes.file.noted(), strikes);
            let subject = Subject { candidate, opened, tail, strikes };
            let identified = match current {
                // A candidate that is only checked was loaded by this run.
                Some(current) if self.mode != LoadMode::Again || candidate.queued.checked => {
                    self.known(subject, current).await?
                }
                _ => Some(self.new_delivery(subject).await?),
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

    async fn newest(&self, file: &FileKey) -> Result<Option<Delivery>, StoreError> {
        self.backoff.with(|| newest(&*self.store, file)).await
    }

    /// Identifies a file that the ledger knows: it has the same bytes, more bytes or other bytes.
    async fn known(
        &self,
        subject: Subject<'_, I::File>,
        current: Delivery,
    ) -> Result<Option<Identified<I::File>>, IdentifyError> {
        match current.state {
            // The earlier attempt did not succeed or was undone. The bytes or the configuration seem to have changed
            // since.
            DeliveryState::Failed | DeliveryState::Waiting | DeliveryState::Undone => {
                let identified = self.new_delivery(subject).await?;
                if current.state == DeliveryState::Failed && matches!(identified, Identified::Work(..)) {
                    // The file is read from its beginning, so the open records of the failed delivery were discarded.
                    metrics::discarded(current.receipt.open());
                }
                return Ok(Some(identified));
            }
            DeliveryState::Duplicate
            | DeliveryState::Loading
            | DeliveryState::Loaded
            | DeliveryState::Incomplete
            | DeliveryState::Replaced => {}
        }
        let Some(mut prefix) = self.check_prefix(&subject, &current).await? else {
            return self.new_generation(subject).await.map(Some);
        };
        if prefix.growth == Growth::Contradiction && self.mode != LoadMode::Assumed {
            let strikes = subject.strikes.saturating_add(1);
            let tail =
                self.tails.policy(&subject.candidate.queued, subject.opened.bytes.file.noted(), strikes);
            return self.new_generation(Subject { strikes, tail, ..subject }).await.map(Some);
        }
        let resumes = is_interrupted(&current);
        let more = match (current.state, prefix.growth) {
            // A different size means that there is more to read. A truncated gz file may lack only its trailer, and
            // then only the size shows the growth. An equal size proves nothing: it may have been noted when the file
            // had other bytes than those that were read.
            (DeliveryState::Incomplete, _)
                if current.noted.size == subject.opened.bytes.file.noted().size =>
            {
                let judged = self.judge_rest(&subject, &mut prefix).await?;
                if matches!(judged, Judged::Wait { held: true, .. }) {
                    let same = unchanged(&current, &subject.opened, prefix.verified);
                    return Ok(Some(Identified::Unchanged(Same { held: Some(subject.strikes), ..same })));
                }
                judged == Judged::Load
            }
            (DeliveryState::Incomplete, _) | (_, Growth::More | Growth::Contradiction) => true,
            (_, Growth::HalfLineEnd) => subject.tail == TailPolicy::Load,
            (_, Growth::None) => false,
        };
        if !resumes && !more {
            return Ok(Some(Identified::Unchanged(unchanged(&current, &subject.opened, prefix.verified))));
        }
        // A duplicate that grew and a delivery begun under another configuration are loaded from the beginning.
        let is_of_another =
            current.state == DeliveryState::Duplicate || current.fingerprint != self.plan.fingerprint;
        if self.mode == LoadMode::Assumed || is_of_another {
            return self.new_generation(subject).await.map(Some);
        }
        // No record of this delivery is loaded yet, so its file may have become a copy of another one.
        if current.reach.record > 0 {
            return self.resume(subject, &current, prefix).await;
        }
        match self.unlike(subject).await? {
            ControlFlow::Continue(subject) => self.resume(subject, &current, prefix).await,
            ControlFlow::Break(identified) => Ok(Some(identified)),
        }
    }

    /// Opens the file after its durable bytes. Returns `None` if the file does not begin with the durable bytes and
    /// with the bytes sent ahead of the ledger, or if the latter were sent under other rules than the current ones.
    async fn check_prefix(
        &self,
        subject: &Subject<'_, I::File>,
        current: &Delivery,
    ) -> Result<Option<PrefixCheck<I::File>>, IdentifyError> {
        let checkpoint =
            self.checkpoints.find(current.id).filter(|_| can_compare_ends(current, &subject.opened));
        let prefix = match PrefixCheck::follow(&self.inbox, current, checkpoint).await? {
            Some(prefix) => Some(prefix),
            None => PrefixCheck::verify(&self.inbox, &current.file, current, self.plan.encoding).await?,
        };
        let Some(prefix) = prefix else { return Ok(None) };
        let ahead = current.ahead.as_ref().filter(|ahead| ahead.bytes.offset > current.reach.offset);
        let by_other_rules = ahead.is_some_and(|ahead| ahead.rules != self.plan.rules);
        if by_other_rules || !PrefixCheck::has_what_was_sent(&self.inbox, current, self.plan.encoding).await?
        {
            return Ok(None);
        }
        Ok(Some(prefix))
    }

    /// Decides what to do with the bytes after the end of an incomplete delivery.
    async fn judge_rest(
        &self,
        subject: &Subject<'_, I::File>,
        prefix: &mut PrefixCheck<I::File>,
    ) -> io::Result<Judged> {
        let limit = self.max_record_bytes;
        prefix.buffer(limit).await?;
        let mut framer = Framer::new(
            &self.plan.format,
            limit,
            Position::default(),
            Position::default(),
            blake3::Hasher::new(),
        );
        framer.bytes().extend_from_slice(&prefix.buffered);
        framer.scan(1, usize::MAX);
        if framer.records() > 0 {
            return Ok(Judged::Load);
        }
        let start = self.start(&subject.opened, &subject.candidate.file).await;
        let Some(start) = start.ok().filter(|_| prefix.bytes.broken().is_none()) else {
            return Ok(Judged::None);
        };
        Ok(match tail::judge(&framer, start.mapping.fields, subject.tail).await {
            Judged::Load if prefix.bytes.file.has_writer().await => {
                Judged::Wait { detail: String::new(), held: true }
            }
            judged => judged,
        })
    }

    async fn new_generation(
        &self,
        subject: Subject<'_, I::File>,
    ) -> Result<Identified<I::File>, IdentifyError> {
        let opened = self.open(&subject.candidate.file).await?;
        self.new_delivery(Subject { opened, ..subject }).await
    }

    /// Resumes a delivery. Returns `None` if the delivery was changed in the meantime.
    async fn resume(
        &self,
        mut subject: Subject<'_, I::File>,
        current: &Delivery,
        mut prefix: PrefixCheck<I::File>,
    ) -> Result<Option<Identified<I::File>>, IdentifyError> {
        let start = match self.start(&subject.opened, &current.file).await {
            Ok(start) => start,
            Err(error) if error.is_unfinished() => {
                return Ok(Some(Identified::Unchanged(unchanged(current, &subject.opened, false))));
            }
            Err(error) => return self.fail(&subject, error.to_string()).await.map(Some),
        };
        if !start.is_complete {
            subject.opened.bytes = subject.opened.bytes.ended();
            prefix = prefix.end();
        }
        let noted = trusted(prefix.bytes.file.noted());
        // An untrusted version never compares equal, so a file that was not fully verified is compared again once it is quiet.
        let noted = if prefix.verified { noted } else { noted.untrusted() };
        let how = Continuation {
            noted,
            head: head(&subject.opened),
            detail: describe_resumed(current, &prefix),
            compared: (current.reach, current.ahead.clone()),
        };
        let reopened = self.backoff.with(|| self.store.reopen(current.id, how.clone())).await?;
        let Some(delivery) = reopened else { return Ok(None) };
        let from = delivery.reach;
        if is_interrupted(current) {
            info!(file = current.file.text(), records = from.record, "resumed: {}", how.detail);
        }
        // If no record is durable yet, the header was read again, because it may have grown too.
        if from.record == 0 && start.mark.offset > from.offset {
            let from = (from, delivery.receipt.lenient.get(Lenience::Comments));
            let framer = framer(&self.plan, self.max_record_bytes, from, &start, &subject.opened.read);
            let ends = (subject.opened.head(), subject.opened.window());
            return Ok(Some(self.work(subject, delivery, start, framer, ends)));
        }
        let mut framer = Framer::new(&self.plan.format, self.max_record_bytes, from, from, prefix.hasher);
        framer.bytes().extend_from_slice(&prefix.buffered);
        let ends = (subject.opened.head(), prefix.window);
        subject.opened.bytes = prefix.bytes;
        Ok(Some(self.work(subject, delivery, start, framer, ends)))
    }

    /// Enters a new delivery: the first one of a file, or a new generation.
    async fn new_delivery(
        &self,
        mut subject: Subject<'_, I::File>,
    ) -> Result<Identified<I::File>, IdentifyError> {
        let file = &subject.candidate.file;
        let start = match self.start(&subject.opened, file).await {
            Ok(start)
                if start.is_complete || subject.tail == TailPolicy::Load || start.header.0.is_empty() =>
            {
                start
            }
            Ok(_) => return Ok(Identified::HeaderWaits),
            Err(HeaderError::Missing { .. })
                if subject.tail != TailPolicy::Load && has_open_header(&subject.opened, &self.plan).await =>
            {
                return Ok(Identified::HeaderWaits);
            }
            Err(error) if error.is_unfinished() => {
                let verdict = Verdict::Incomplete { detail: error.to_string() };
                return self.enter(&subject, verdict).await;
            }
            Err(error) => return self.fail(&subject, error.to_string()).await,
        };
        let opened = &subject.opened;
        let has_records = !(opened.ended && start.mark.offset >= opened.read.len() as u64);
        if has_records && self.mode != LoadMode::Again {
            subject = match self.unlike(subject).await? {
                ControlFlow::Continue(subject) => subject,
                ControlFlow::Break(identified) => return Ok(identified),
            };
        }
        if self.mode == LoadMode::Assumed {
            return self.assume(&subject).await;
        }
        if !start.is_complete {
            // The header may be incomplete. Bytes that the writer appends from now on may belong to it, so they are not
            // read as records.
            subject.opened.bytes = subject.opened.bytes.ended();
        }
        let records = subject.opened.records(start.mapping.fields);
        let entry = self.entry(&subject, Verdict::Load { records });
        let delivery = self.backoff.with(|| self.store.take_up(entry.clone())).await?;
        let from = (Position::default(), 0);
        let framer = framer(&self.plan, self.max_record_bytes, from, &start, &subject.opened.read);
        let ends = (subject.opened.head(), subject.opened.window());
        Ok(self.work(subject, delivery, start, framer, ends))
    }

    /// Reads the file to its end and enters it as loaded, without writing rows.
    async fn assume(&self, subject: &Subject<'_, I::File>) -> Result<Identified<I::File>, IdentifyError> {
        let file = &subject.candidate.file;
        let found = adopt::read(&self.inbox, file, &self.plan, self.max_record_bytes).await?;
        if found.noted != subject.opened.bytes.file.noted() {
            return Err(io::Error::other("it changed while it was being read").into());
        }
        let entry = self.entry(subject, found.verdict);
        let delivery = self.backoff.with(|| self.store.take_up(entry.clone())).await?;
        Ok(Identified::Assumed(Box::new(delivery)))
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
        let (file, file_date) = (delivery.file.clone(), path::date(delivery.file.path()));
        let (named, arrived) = ((start.header, start.mapping), changed.max(self.started));
        let source = DeliveryContext {
            records_before: delivery.reach.record,
            quarantined_before: delivery.receipt.quarantined,
            skipped_before: delivery.receipt.skipped,
            ..DeliveryContext::new(delivery.id, file, named, file_date, arrived)
        };
        let strikes = delivery.strikes;
        let (source, stamps, noted) = (Arc::new(source), delivery.stamps, delivery.noted);
        let work = Work { source, stamps, bytes, noted, framer, tail, header_is_tail, window, head };
        Identified::Work(Box::new(work), strikes)
    }

    fn entry(&self, subject: &Subject<'_, I::File>, verdict: Verdict) -> NewDelivery {
        let opened = &subject.opened;
        let noted = match verdict {
            // The times are noted even if they are too young to be trusted. Otherwise the file would fail again at
            // every listing.
            Verdict::Failed { .. } | Verdict::Incomplete { .. } => opened.bytes.file.noted(),
            _ => trusted(opened.bytes.file.noted()),
        };
        let (file, strikes) = (subject.candidate.file.clone(), subject.strikes);
        let (fingerprint, attempt) = (self.plan.fingerprint.clone(), self.plan.attempt.clone());
        NewDelivery { file, head: head(opened), noted, strikes, fingerprint, attempt, verdict }
    }

    async fn enter(
        &self,
        subject: &Subject<'_, I::File>,
        verdict: Verdict,
    ) -> Result<Identified<I::File>, IdentifyError> {
        let entry = self.entry(subject, verdict);
        let delivery = self.backoff.with(|| self.store.take_up(entry.clone())).await?;
        Ok(Identified::Entered(delivery.id, delivery.state, delivery.detail))
    }

    async fn fail(
        &self,
        subject: &Subject<'_, I::File>,
        detail: String,
    ) -> Result<Identified<I::File>, IdentifyError> {
        self.enter(subject, Verdict::Failed { detail }).await
    }

    async fn start(&self, opened: &Opened<I::File>, file: &FileKey) -> Result<Start, HeaderError> {
        let wants_date = self.plan.columns.iter().any(|column| column.origin == Origin::FileDate);
        if wants_date && path::date(file.path()).is_none() {
            return Err(HeaderError::NoDate);
        }
        start(opened, &self.plan).await
    }
}

fn head<F: SourceFile>(opened: &Opened<F>) -> Checkpoint {
    Checkpoint { offset: opened.read.len().min(HEAD) as u64, hash: opened.head.clone() }
}

/// Makes the result for an unchanged file. The amendment contains what the ledger must correct: a changed head, or size
/// and times that changed or can be trusted only now.
fn unchanged<F: SourceFile>(current: &Delivery, opened: &Opened<F>, verified: bool) -> Same {
    let noted = trusted(opened.bytes.file.noted());
    let amendment = Amendment {
        noted: (noted != current.noted).then_some(noted),
        head: (opened.head != current.head).then(|| opened.head.clone()),
        ..Amendment::default()
    };
    let (id, state, noted) = (current.id, current.state, opened.bytes.file.noted());
    Same { id, state, noted, verified, held: None, amendment }
}

/// Whether loading was interrupted before the end of the file.
fn is_interrupted(delivery: &Delivery) -> bool {
    matches!(delivery.state, DeliveryState::Loading | DeliveryState::Replaced)
}

/// Describes a resumed delivery for `status`.
fn describe_resumed<F: SourceFile>(current: &Delivery, prefix: &PrefixCheck<F>) -> String {
    let grown = prefix.bytes.file.noted().size.saturating_sub(current.noted.size);
    let ended = matches!(current.state, DeliveryState::Loaded | DeliveryState::Incomplete);
    let what = if ended && grown > 0 {
        format!("grew by {}", text::bytes(grown))
    } else {
        format!("continued at byte {}", current.reach.offset)
    };
    let verified = if prefix.verified { "beginning" } else { "head and last 64 KiB before that" };
    format!("{what}, its {verified} verified")
}

/// Whether comparing the head and the last bytes is enough, as for a file in plain UTF-8 that is still growing.
fn can_compare_ends<F: SourceFile>(delivery: &Delivery, opened: &Opened<F>) -> bool {
    let grew = opened.bytes.file.noted().size > delivery.reach.offset && opened.bytes.is_plain();
    let same_head = delivery.reach.offset < HEAD as u64 || delivery.head == opened.head;
    grew && same_head
}
