//! Finds out whether a file is a duplicate: a copy of a delivery under another name.

use std::ops::ControlFlow;

use crate::domain::ledger::{Content, DeliveryFilter, Verdict};
use crate::domain::{Delivery, DeliveryId, DeliveryState, FileKey, Position, path};
use crate::format::stream_error::StreamError;
use crate::format::tail::Judged;
use crate::pipeline::discover::identify::identified::{Identified, IdentifyError};
use crate::pipeline::discover::identify::{Identify, Subject};
use crate::pipeline::messages::LoadMode;
use crate::pipeline::prefix_check::PrefixCheck;
use crate::source::Source;
use crate::store::listing::Deliveries;
use crate::store::{Store, StoreError};

impl<S: Store, I: Source> Identify<S, I> {
    /// Continues with the file unless its bytes are those of another delivery, or may turn out to be.
    pub(super) async fn unlike<'c>(
        &self,
        mut subject: Subject<'c, I::File>,
    ) -> Result<ControlFlow<Identified<I::File>, Subject<'c, I::File>>, IdentifyError> {
        Ok(match self.alike(&mut subject).await? {
            Alike::Other => ControlFlow::Continue(subject),
            Alike::OtherButRead => {
                let opened = self.open(&subject.candidate.file).await?;
                ControlFlow::Continue(Subject { opened, ..subject })
            }
            Alike::Behind(id, file) => ControlFlow::Break(Identified::Behind(id, file)),
            Alike::Same(verdict) => ControlFlow::Break(self.enter(&subject, *verdict).await?),
        })
    }

    /// Compares the file with deliveries that begin with the same bytes and derive the same values from their paths.
    /// Reads only deliveries that are unfinished or have exactly the same bytes, however many others there are.
    async fn alike(&self, subject: &mut Subject<'_, I::File>) -> Result<Alike, IdentifyError> {
        let file = &subject.candidate.file;
        let incomplete = match self.unfinished(file, subject).await? {
            ControlFlow::Break((id, file)) => return Ok(Alike::Behind(id, file)),
            ControlFlow::Continue(incomplete) => incomplete,
        };
        let (head, len) = (subject.opened.head.clone(), subject.opened.known_len());
        let has_content = || self.store.has_content(head.clone(), len);
        if incomplete.is_empty() && !self.backoff.with(has_content).await? {
            return Ok(Alike::Other);
        }
        let (hash, len) = subject.opened.hash_all().await?;
        // A corrupt file is loaded, so that the corruption is reported, even if its readable bytes are those of another
        // delivery.
        if matches!(subject.opened.bytes.broken(), Some(StreamError::Corrupt(_))) {
            return Ok(Alike::OtherButRead);
        }
        let content = Content { head, len, hash };
        let same = match self.loaded_same(file, &content).await? {
            Some(same) => Some(same),
            None => self.incomplete_same(subject, &incomplete, &content).await?,
        };
        Ok(same.map_or(Alike::OtherButRead, |other| Alike::Same(Box::new(duplicate(other, content)))))
    }

    /// Returns the incomplete deliveries with records that this file may be a copy of. Breaks with the first such
    /// delivery that is being loaded.
    async fn unfinished(
        &self,
        file: &FileKey,
        subject: &Subject<'_, I::File>,
    ) -> Result<ControlFlow<(DeliveryId, FileKey), Vec<DeliveryId>>, StoreError> {
        let filter = DeliveryFilter::Unfinished(subject.opened.head.clone());
        let mut alike = Deliveries::patiently(&*self.store, &self.backoff, filter);
        let mut incomplete = Vec::new();
        while let Some(other) = alike.next().await? {
            if !path::may_be_copies(&self.plan, &other.file, file) {
                continue;
            }
            match other.state {
                // `--assume-loaded` does not resume a delivery that an earlier run left loading.
                DeliveryState::Loading if self.mode == LoadMode::Assumed => {}
                DeliveryState::Loading if subject.interrupted.is_some_and(|own| own < other.id) => {}
                DeliveryState::Loading => return Ok(ControlFlow::Break((other.id, other.file))),
                _ if other.reach.record > 0 => incomplete.push(other.id),
                _ => {}
            }
        }
        Ok(ControlFlow::Continue(incomplete))
    }

    async fn loaded_same(&self, file: &FileKey, content: &Content) -> Result<Option<Delivery>, StoreError> {
        let filter = DeliveryFilter::Same(content.clone());
        let mut same = Deliveries::patiently(&*self.store, &self.backoff, filter);
        let mut undone = None;
        while let Some(other) = same.next().await? {
            if other.reach.record == 0 || !path::may_be_copies(&self.plan, &other.file, file) {
                continue;
            }
            if other.counts() {
                return Ok(Some(other));
            }
            undone.get_or_insert(other);
        }
        Ok(undone)
    }

    /// Compares the file with incomplete deliveries by reading their files: the hash of an incomplete delivery does not
    /// cover its last record.
    async fn incomplete_same(
        &self,
        subject: &Subject<'_, I::File>,
        incomplete: &[DeliveryId],
        content: &Content,
    ) -> Result<Option<Delivery>, IdentifyError> {
        for id in incomplete {
            let other = self.backoff.with(|| self.store.delivery(*id)).await?;
            if let Some(other) = other.filter(|other| other.state == DeliveryState::Incomplete)
                && self.waits_alike(subject, &other, content).await?
            {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Whether the file of the incomplete delivery `other` still has the same bytes as this file, and none of the bytes
    /// after the end of that delivery can be loaded from this file. A tail that waits for its writer there may be
    /// loadable here.
    async fn waits_alike(
        &self,
        subject: &Subject<'_, I::File>,
        other: &Delivery,
        content: &Content,
    ) -> Result<bool, IdentifyError> {
        if !self.is_still(&other.file, content).await {
            return Ok(false);
        }
        let file = &subject.candidate.file;
        let Some(mut prefix) = PrefixCheck::verify(&self.inbox, file, other, self.plan.encoding).await?
        else {
            return Ok(false);
        };
        Ok(self.judge_rest(subject, other, &mut prefix).await? != Judged::Load)
    }

    /// Whether the file currently has these bytes.
    async fn is_still(&self, file: &FileKey, content: &Content) -> bool {
        match self.open(file).await {
            Ok(other) if other.known_len().is_some_and(|len| len != content.len) => false,
            Ok(mut other) => other.hash_all().await.is_ok_and(|(found, _)| found == content.hash),
            Err(_) => false,
        }
    }
}

/// Makes the verdict for a duplicate. It covers all bytes of the file, including an incomplete last record that both
/// files share, so that a later copy is recognized by all of these bytes.
fn duplicate(other: Delivery, Content { len, hash, .. }: Content) -> Verdict {
    let reach = Position { offset: len, ..other.reach };
    let is_undone = !other.counts();
    Verdict::Duplicate { of: other.id, same_as: other.file, reach, hash, is_undone }
}

/// The result of comparing a file with the deliveries that have the same head.
enum Alike {
    Other,
    /// No other delivery has these bytes. The file was read to its end to find out.
    OtherButRead,
    Same(Box<Verdict>),
    Behind(DeliveryId, FileKey),
}
