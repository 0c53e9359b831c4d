//! Enters files into the ledger: the first delivery of a file, or a new generation.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::domain::header::HeaderError;
use crate::domain::ledger::{Amendment, NewDelivery, TakenUp, Verdict};
use crate::domain::{Delivery, DeliveryState, Position};
use crate::format::tail::TailPolicy;
use crate::metrics;
use crate::pipeline::discover::adopt;
use crate::pipeline::discover::identify::identified::{Identified, IdentifyError, WaitsFor};
use crate::pipeline::discover::identify::{Identify, Subject, head};
use crate::pipeline::header_probe::{framer, has_open_header, trusted};
use crate::pipeline::messages::LoadMode;
use crate::pipeline::unwritten_end::has_unwritten_end;
use crate::source::{Source, SourceFile};
use crate::store::{Store, StoreError};

impl<S: Store, I: Source> Identify<S, I> {
    pub(super) async fn new_generation(
        &self,
        subject: Subject<'_, I::File>,
    ) -> Result<Identified<I::File>, IdentifyError> {
        let opened = self.open(&subject.candidate.file).await?;
        self.new_delivery(Subject { opened, ..subject }).await
    }

    /// Enters a new delivery: the first one of a file, or a new generation.
    pub(super) async fn new_delivery(
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
            Ok(_) => return Ok(Identified::Waits(WaitsFor::Header)),
            Err(HeaderError::Missing { .. })
                if subject.tail != TailPolicy::Load && has_open_header(&subject.opened, &self.plan).await =>
            {
                return Ok(Identified::Waits(WaitsFor::Header));
            }
            Err(_) if has_unwritten_end(&subject.opened.bytes.file).await => {
                return Ok(Identified::Waits(WaitsFor::Beginning));
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
        let records = subject.opened.records(&self.plan.format, start.mapping.fields);
        let replacement = match subject.has_earlier {
            true => self.replacement(&subject.candidate.file).await?,
            false => None,
        };
        let entry = NewDelivery { replacement, ..self.entry(&subject, Verdict::Load { records }) };
        let delivery = self.take_up(&entry).await?;
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
        let delivery = self.take_up(&entry).await?;
        Ok(Identified::Assumed(Box::new(delivery)))
    }

    fn entry(&self, subject: &Subject<'_, I::File>, verdict: Verdict) -> NewDelivery {
        let opened = &subject.opened;
        let noted = match verdict {
            // The times are noted even if they are too recent to be trusted. Otherwise the file would fail again at
            // every listing.
            Verdict::Failed { .. } | Verdict::Incomplete { .. } => opened.bytes.file.noted(),
            _ => trusted(opened.bytes.file.noted()),
        };
        let (file, strikes) = (subject.candidate.file.clone(), subject.strikes);
        let (plan, head) = (Arc::clone(&self.plan), head(opened));
        NewDelivery { plan, file, head, noted, strikes, replacement: None, verdict }
    }

    pub(super) async fn enter(
        &self,
        subject: &Subject<'_, I::File>,
        verdict: Verdict,
    ) -> Result<Identified<I::File>, IdentifyError> {
        let replacement = match verdict {
            Verdict::Duplicate { .. } if subject.has_earlier => {
                self.replacement(&subject.candidate.file).await?
            }
            _ => None,
        };
        let entry = NewDelivery { replacement, ..self.entry(subject, verdict) };
        let delivery = self.take_up(&entry).await?;
        self.replacements.add_if_due(&delivery);
        Ok(Identified::Entered(delivery.id, delivery.state, delivery.detail))
    }

    pub(super) async fn fail(
        &self,
        subject: &Subject<'_, I::File>,
        detail: String,
    ) -> Result<Identified<I::File>, IdentifyError> {
        self.enter(subject, Verdict::Failed { detail }).await
    }

    /// Boxed, so that the callers' futures do not contain the store's future, which is large.
    fn take_up<'f>(&'f self, entry: &'f NewDelivery) -> BoxFuture<'f, Result<Delivery, StoreError>> {
        Box::pin(async move {
            let entered = self.backoff.with(|| self.store.take_up(entry.clone())).await?;
            let TakenUp { delivery, discarded } = entered;
            metrics::discarded(entry.file.feed(), discarded);
            Ok(delivery)
        })
    }

    /// Sets a failed delivery to `replaced` once its file has a newer generation. Its receipt and its stamps stay. If
    /// the process ends before this, the delivery stays failed; nothing but its receipt is affected. A delivery with
    /// open records stays failed too, so that they are discarded when its file is read again.
    pub(super) async fn replace_failed(
        &self,
        failed: &Delivery,
        newer: &Identified<I::File>,
    ) -> Result<(), StoreError> {
        let is_entered =
            matches!(newer, Identified::Work(..) | Identified::Entered(..) | Identified::Assumed(_));
        if failed.state != DeliveryState::Failed || !is_entered {
            return Ok(());
        }
        let now = self.backoff.with(|| self.store.delivery(failed.id)).await?;
        let Some(now) = now.filter(|now| now.receipt.open() == 0) else { return Ok(()) };
        let detail =
            format!("{}\nit failed; generation {} took its place", now.detail, failed.generation + 1);
        let amendment = Amendment { state: Some((DeliveryState::Replaced, detail)), ..Amendment::default() };
        self.backoff.with(|| self.store.amend(failed.id, amendment.clone())).await
    }
}
