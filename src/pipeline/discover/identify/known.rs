//! Compares a file with the delivery that the ledger has of it: the file has the same bytes, more bytes or other bytes.

use std::io;
use std::ops::ControlFlow;

use futures::future::BoxFuture;
use tracing::warn;

use crate::domain::ledger::HEAD;
use crate::domain::{Delivery, DeliveryState};
use crate::format::tail;
use crate::format::tail::{Judged, TailPolicy};
use crate::pipeline::discover::identify::identified::{Identified, IdentifyError, Same};
use crate::pipeline::discover::identify::resume::is_interrupted;
use crate::pipeline::discover::identify::{Identify, Subject};
use crate::pipeline::header_probe::Opened;
use crate::pipeline::messages::LoadMode;
use crate::pipeline::prefix_check::{Growth, PrefixCheck};
use crate::source::{Source, SourceFile};
use crate::store::Store;

impl<S: Store, I: Source> Identify<S, I> {
    /// Identifies a file that the ledger knows: it has the same bytes, more bytes or other bytes.
    pub(super) async fn known(
        &self,
        subject: Subject<'_, I::File>,
        current: Delivery,
    ) -> Result<Option<Identified<I::File>>, IdentifyError> {
        if begins_again(current.state) {
            return self.resume_or_begin_again(subject, current).await;
        }
        if !current.counts() {
            return self.undone(subject, &current).await.map(Some);
        }
        let Some(mut prefix) = self.check_prefix(&subject, &current).await? else {
            return self.new_generation(subject).await.map(Some);
        };
        let growth = prefix.growth(&current, &self.plan.format);
        if growth == Growth::Contradiction && self.mode != LoadMode::Assumed {
            let strikes = subject.strikes.saturating_add(1);
            let tail =
                self.tails.policy(&subject.candidate.queued, subject.opened.bytes.file.noted(), strikes);
            return self.new_generation(Subject { strikes, tail, ..subject }).await.map(Some);
        }
        let resumes = is_interrupted(&current);
        let more = match (current.state, growth) {
            // A different size means that there is more to read. A truncated gz file may lack only its trailer, and
            // then only the size shows the growth. An equal size proves nothing: it may have been noted when the file
            // had other bytes than those that were read.
            (DeliveryState::Incomplete, _)
                if current.noted.size == subject.opened.bytes.file.noted().size =>
            {
                let judged = self.judge_rest(&subject, &current, &mut prefix).await?;
                if matches!(judged, Judged::Wait { held: true, .. }) {
                    let same = Same::unchanged(&current, &subject.opened, prefix.verified);
                    return Ok(Some(Identified::Unchanged(Same { held: Some(subject.strikes), ..same })));
                }
                judged == Judged::Load
            }
            (DeliveryState::Incomplete, _) | (_, Growth::More | Growth::Contradiction) => true,
            (_, Growth::HalfLineEnd) => subject.tail == TailPolicy::Load,
            // What follows cannot be decoded. Reading it finds out why.
            (_, Growth::None) => prefix.bytes.broken().is_some(),
        };
        if !resumes && !more {
            let same = Same::unchanged(&current, &subject.opened, prefix.verified);
            return Ok(Some(Identified::Unchanged(same)));
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

    /// Identifies a file whose last delivery was undone. It is not loaded again while it begins with what was undone.
    ///
    /// A delivery that was not read to its end may have been undone because of what follows, so another size means new
    /// content.
    async fn undone(
        &self,
        subject: Subject<'_, I::File>,
        current: &Delivery,
    ) -> Result<Identified<I::File>, IdentifyError> {
        let size = subject.opened.bytes.file.noted().size;
        let may_be_same = current.is_read_to_end() || current.noted.size == size;
        if may_be_same && self.check_prefix(&subject, current).await?.is_some() {
            if size > current.noted.size {
                let file = current.file.text();
                warn!(
                    file,
                    "grew after it was undone, and is not loaded; `needledrop load --again` loads all of it"
                );
            }
            return Ok(Identified::Unchanged(Same::unchanged(current, &subject.opened, false)));
        }
        self.new_generation(subject).await
    }

    /// Enters a new generation of a file whose last delivery does not count.
    async fn begin_again(
        &self,
        subject: Subject<'_, I::File>,
        current: &Delivery,
    ) -> Result<Identified<I::File>, IdentifyError> {
        let identified = self.new_delivery(subject).await?;
        self.replace_failed(current, &identified).await?;
        Ok(identified)
    }

    /// Continues with a file whose last delivery does not count: resumes the delivery, or enters a new generation.
    ///
    /// Boxed, so that the future of [`Self::known`] does not contain these futures, which are large.
    fn resume_or_begin_again<'f>(
        &'f self,
        subject: Subject<'f, I::File>,
        current: Delivery,
    ) -> BoxFuture<'f, Result<Option<Identified<I::File>>, IdentifyError>> {
        Box::pin(async move {
            match self.grown_since_refused(&subject, &current).await? {
                Some(prefix) => Box::pin(self.resume_refused(subject, &current, prefix)).await,
                None => self.begin_again(subject, &current).await.map(Some),
            }
        })
    }

    /// Opens a file after the records that were read of it, if none of them could be loaded and more follow. A file that
    /// keeps growing would otherwise be read from its beginning, as a new generation, at each growth.
    async fn grown_since_refused(
        &self,
        subject: &Subject<'_, I::File>,
        current: &Delivery,
    ) -> Result<Option<PrefixCheck<I::File>>, IdentifyError> {
        let is_refused = current.state == DeliveryState::Failed && current.is_refused_as_a_whole();
        let same_rules = current.fingerprint == self.plan.fingerprint && self.mode != LoadMode::Assumed;
        if !is_refused || !same_rules {
            return Ok(None);
        }
        let prefix = self.check_prefix(subject, current).await?;
        Ok(prefix.filter(|prefix| prefix.growth(current, &self.plan.format) == Growth::More))
    }

    /// Resumes a delivery of which no record could be loaded, unless its file has become a copy of another one.
    async fn resume_refused(
        &self,
        subject: Subject<'_, I::File>,
        current: &Delivery,
        prefix: PrefixCheck<I::File>,
    ) -> Result<Option<Identified<I::File>>, IdentifyError> {
        match self.unlike(subject).await? {
            ControlFlow::Continue(subject) => self.resume(subject, current, prefix).await,
            ControlFlow::Break(identified) => {
                self.replace_failed(current, &identified).await?;
                Ok(Some(identified))
            }
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
    pub(super) async fn judge_rest(
        &self,
        subject: &Subject<'_, I::File>,
        delivery: &Delivery,
        prefix: &mut PrefixCheck<I::File>,
    ) -> io::Result<Judged> {
        let limit = self.max_record_bytes;
        prefix.buffer(self.plan.format.longest_end(limit)).await?;
        let mut framer = prefix.framer(delivery, &self.plan.format, limit);
        framer.scan(1, usize::MAX);
        if framer.records() > 0 {
            return Ok(Judged::Load);
        }
        let start = self.start(&subject.opened, &subject.candidate.file).await;
        let Some(start) = start.ok().filter(|_| prefix.bytes.broken().is_none()) else {
            return Ok(Judged::None);
        };
        Ok(match tail::judge(&framer, start.mapping.fields, subject.tail).await {
            Judged::None if !start.is_complete => tail::judge_header(subject.tail),
            Judged::Load if prefix.bytes.file.has_writer().await => {
                Judged::Wait { detail: String::new(), held: true }
            }
            judged => judged,
        })
    }
}

/// Whether a file is loaded from its beginning, because the earlier attempt did not succeed. The bytes or
/// the configuration seem to have changed since.
fn begins_again(state: DeliveryState) -> bool {
    match state {
        DeliveryState::Failed | DeliveryState::Waiting => true,
        DeliveryState::Duplicate
        | DeliveryState::Undone
        | DeliveryState::Loading
        | DeliveryState::Loaded
        | DeliveryState::Incomplete
        | DeliveryState::Replaced => false,
    }
}

/// Whether comparing the head and the last bytes is enough, as for a file in plain UTF-8 that is still growing.
fn can_compare_ends<F: SourceFile>(delivery: &Delivery, opened: &Opened<F>) -> bool {
    let grew = opened.bytes.file.noted().size > delivery.reach.offset && opened.bytes.is_plain();
    let same_head = delivery.reach.offset < HEAD as u64 || delivery.head == opened.head;
    grew && same_head
}
