//! Reads the ledger before any file is identified, and settles the open tails that an earlier process noted and may
//! have sent.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::domain::header::HeaderError;
use crate::domain::ledger::{Amendment, Continuation, DeliveryFilter, KnownFile};
use crate::domain::text::one_line;
use crate::domain::undeclared::Undeclared;
use crate::domain::{
    Checkpoint, Counts, Delivery, DeliveryContext, DeliveryState, End, Feeds, Frame, Plan, Quota, RawChunk,
    RowChunk, TailNote, ToleratedCounts, path,
};
use crate::format::framer::lone_record::record_in_tail;
use crate::metrics;
use crate::pipeline::row_builder::RowBuilder;
use crate::store::backoff::Backoff;
use crate::store::listing::Deliveries;
use crate::store::{Store, StoreError};

/// Reads the ledger for all feeds. This is done once, before files are loaded.
pub struct Opening<S> {
    pub store: Arc<S>,
    pub plans: Feeds<Arc<Plan>>,
    pub backoff: Backoff,
    /// How many quarantined records a delivery may have.
    pub quota: Quota,
}

/// Hands the known files of some feeds to the stage that discovers their files.
pub struct Handover {
    pub feeds: Feeds<()>,
    pub to: oneshot::Sender<Vec<KnownFile>>,
}

impl<S: Store> Opening<S> {
    /// Settles all noted tails of these feeds, and hands over what the ledger knows about their files.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn run(self, handovers: Vec<Handover>) -> Result<(), StoreError> {
        let (mut known, undeclared) = self.known().await?;
        undeclared.warnings().for_each(|warning| warn!("{warning}"));
        if self.settle_tails(&known).await? {
            (known, _) = self.known().await?;
        }
        metrics::begins();
        for (feed, _) in self.plans.iter() {
            let own = known.iter().filter(|known| known.file.is_of(feed));
            metrics::open_records(feed.name(), own.map(|known| known.open).sum());
        }
        for Handover { feeds, to } in handovers {
            let (own, others) = known.into_iter().partition(|known| feeds.of(&known.file).is_ok());
            known = others;
            // Discovery may have been stopped.
            let _ = to.send(own);
        }
        Ok(())
    }

    /// Returns the known files of the declared feeds, and counts the others.
    async fn known(&self) -> Result<(Vec<KnownFile>, Undeclared), StoreError> {
        let attempts = Arc::new(self.plans.map(|plan| plan.attempt.clone()));
        let mut known = self.backoff.with(|| self.store.known(Arc::clone(&attempts))).await?;
        let mut undeclared = Undeclared::default();
        known.retain(|known| {
            let is_declared = self.plans.of(&known.file).is_ok();
            if !is_declared {
                undeclared.add(&known.file, 1, known.open);
            }
            is_declared
        });
        Ok((known, undeclared))
    }

    /// Settles all noted tails. Returns whether there were any.
    async fn settle_tails(&self, known: &[KnownFile]) -> Result<bool, StoreError> {
        let noted: Vec<&KnownFile> = known.iter().filter(|known| known.has_note).collect();
        for known in &noted {
            let filter = DeliveryFilter::Path(known.file.clone());
            let mut generations = Deliveries::patiently(&*self.store, &self.backoff, filter);
            while let Some(delivery) = generations.next().await? {
                if let (true, Ok(plan)) = (delivery.note.is_some(), self.plans.of(&delivery.file)) {
                    self.settle_tail(plan, delivery).await?;
                }
            }
        }
        Ok(!noted.is_empty())
    }

    /// Sends the rows of a noted tail again, from the bytes in the ledger, and counts them.
    async fn settle_tail(&self, plan: &Arc<Plan>, delivery: Delivery) -> Result<(), StoreError> {
        let Delivery { id, reach, ahead, head, noted, .. } = delivery;
        // With offset 0, the head is not noted as bytes whose rows may have been sent: only the noted tail is sent.
        let head = Checkpoint { offset: 0, hash: head };
        let detail = "its last record is written again, because writing it was interrupted".to_owned();
        let rules = plan.rules.clone();
        let how = Continuation { noted, head, detail, rules, compared: (reach, ahead) };
        let reopened = self.backoff.with(|| self.store.reopen(id, how.clone())).await?;
        let Some(delivery) = reopened else { return Ok(()) };
        match noted_chunk(plan, &delivery) {
            Ok(Some(raw)) => self.apply_tail(raw).await,
            Ok(None) => Ok(()),
            Err(error) => self.fail_tail(&delivery, &error).await,
        }
    }

    async fn apply_tail(&self, raw: RawChunk) -> Result<(), StoreError> {
        let transform = RowBuilder::new(Arc::clone(&raw.source.plan), Arc::default());
        let file = raw.source.file.clone();
        let mut chunk = transform.chunk(raw).await;
        chunk.end = Some(self.end_of(&chunk));
        let chunk = Arc::new(vec![chunk]);
        let sent = self.backoff.with(|| self.store.send(Arc::clone(&chunk))).await?;
        let applied = self.backoff.with(|| self.store.apply(Arc::clone(&chunk), &sent)).await?;
        if let Some(why) = applied.into_iter().find_map(|applied| applied.failed) {
            warn!(file = file.text(), "failed: {}", one_line(&why));
            metrics::delivery(file.feed(), DeliveryState::Failed);
            return Ok(());
        }
        let end = chunk.first().and_then(|tail| tail.end.as_ref());
        metrics::delivery(file.feed(), end.map_or(DeliveryState::Loaded, End::state));
        info!(
            file = file.text(),
            "wrote its last record again, because an earlier process was interrupted while writing it"
        );
        if let Some(End::Refused { detail } | End::Failed { detail }) = end {
            warn!(file = file.text(), "failed: {}", one_line(detail));
        }
        Ok(())
    }

    /// Judges a delivery with its last record, as the transform stage does.
    fn end_of(&self, tail: &RowChunk) -> End {
        const NEXT: &str =
            "\n  next: see `needledrop quarantine list`; correct the file, or the settings for it";
        let counts = Counts::before(&tail.source).with(tail);
        let Counts { records, quarantined, .. } = counts;
        if counts.is_nothing_loaded() {
            return End::Refused { detail: counts.nothing_loaded() + NEXT };
        }
        if self.quota.exceeded(quarantined, records) {
            let what = format!("{quarantined} of {records} records were refused");
            let limit = format!("more than limits.max_quarantined ({})", self.quota);
            return End::Failed {
                detail: format!(
                    "{what}, {limit}, and the others are in the tables{NEXT}, or raise the limit"
                ),
            };
        }
        End::Loaded
    }

    /// Fails a delivery whose noted tail cannot become rows under the current configuration.
    async fn fail_tail(&self, delivery: &Delivery, error: &HeaderError) -> Result<(), StoreError> {
        let detail =
            format!("writing its last record was interrupted, and it cannot be written again: {error}");
        warn!(file = delivery.file.text(), "failed: {detail}");
        let state = Some((DeliveryState::Failed, detail));
        let amendment = Amendment { state, ..Amendment::default() };
        self.backoff.with(|| self.store.amend(delivery.id, amendment.clone())).await
    }
}

fn noted_chunk(plan: &Arc<Plan>, delivery: &Delivery) -> Result<Option<RawChunk>, HeaderError> {
    let Some(TailNote { span, hash, header, bytes, .. }) = delivery.note.clone() else { return Ok(None) };
    let (mapping, file_date) = (header.map(plan)?, path::file_date(plan, delivery.file.path())?);
    let (named, file) = ((header, mapping), delivery.file.clone());
    let source = DeliveryContext {
        records_before: delivery.receipt.records,
        quarantined_before: delivery.receipt.quarantined,
        skipped_before: delivery.receipt.skipped,
        ..DeliveryContext::new(Arc::clone(plan), delivery.id, file, named, file_date, SystemTime::now())
    };
    let len = record_in_tail(&plan.format, &bytes).len();
    let (record, line, offset) = (span.from.record, span.from.line + 1, span.from.offset);
    Ok(Some(RawChunk {
        source: Arc::new(source),
        stamps: Arc::new(delivery.stamps.clone()),
        span,
        bytes,
        frames: vec![Frame { record, line, offset, start: 0, len }],
        refused: Vec::new(),
        tolerated: ToleratedCounts::default(),
        hash,
        is_tail: true,
        end: Some(End::Loaded),
    }))
}
