//! Settles open tails that an earlier process noted and may have sent, before any file is identified.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::{info, warn};

use crate::domain::header::HeaderError;
use crate::domain::ledger::{Amendment, Continuation, DeliveryFilter, KnownFile};
use crate::domain::text::one_line;
use crate::domain::{
    Checkpoint, Delivery, DeliveryContext, DeliveryState, End, Frame, LenienceCounts, RawChunk, TailNote,
    path,
};
use crate::metrics;
use crate::pipeline::discover::Discover;
use crate::pipeline::discover::identify::Identify;
use crate::pipeline::row_builder::RowBuilder;
use crate::source::Source;
use crate::store::listing::Deliveries;
use crate::store::{Store, StoreError};

impl<S: Store, I: Source> Discover<S, I> {
    /// Settles all noted tails of this feed. Returns whether there were any.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub(super) async fn settle_tails(&self, known: &[KnownFile]) -> Result<bool, StoreError> {
        let noted: Vec<&KnownFile> = self.own(known).filter(|known| known.has_note).collect();
        for known in &noted {
            let filter = DeliveryFilter::Path(known.file.clone());
            let Identify { store, backoff, .. } = &self.identify;
            let mut generations = Deliveries::patiently(&**store, backoff, filter);
            while let Some(delivery) = generations.next().await? {
                self.settle_tail(delivery).await?;
            }
        }
        Ok(!noted.is_empty())
    }

    /// Sends the rows of a noted tail again, from the bytes in the ledger, and counts them.
    async fn settle_tail(&self, delivery: Delivery) -> Result<(), StoreError> {
        let Delivery { id, reach, ahead, head, noted, .. } = delivery.clone();
        // The bytes of the head were compared earlier. The number of bytes in it only matters for what is sent next.
        let head = Checkpoint { offset: 0, hash: head };
        let detail = "its last record is written again, because writing it was interrupted".to_owned();
        let how = Continuation { noted, head, detail, compared: (reach, ahead) };
        if delivery.note.is_none() {
            return Ok(());
        }
        let reopened = self.identify.backoff.with(|| self.identify.store.reopen(id, how.clone())).await?;
        let Some(delivery) = reopened else { return Ok(()) };
        match self.noted_chunk(&delivery) {
            Ok(Some(raw)) => self.apply_tail(raw).await,
            Ok(None) => Ok(()),
            Err(error) => self.fail_tail(&delivery, &error).await,
        }
    }

    async fn apply_tail(&self, raw: RawChunk) -> Result<(), StoreError> {
        let transform = RowBuilder::new(Arc::clone(&self.identify.plan), Arc::default());
        let file = raw.source.file.clone();
        let chunk = Arc::new(vec![transform.chunk(raw).await]);
        let store = &self.identify.store;
        let sent = self.identify.backoff.with(|| store.send(Arc::clone(&chunk))).await?;
        let applied = self.identify.backoff.with(|| store.apply(Arc::clone(&chunk), &sent)).await?;
        if let Some(why) = applied.into_iter().find_map(|applied| applied.failed) {
            warn!(file = file.text(), "failed: {}", one_line(&why));
            metrics::delivery(DeliveryState::Failed);
            return Ok(());
        }
        metrics::delivery(DeliveryState::Loaded);
        info!(
            file = file.text(),
            "wrote its last record again, because an earlier process was interrupted while writing it"
        );
        Ok(())
    }

    /// Fails a delivery whose noted tail cannot become rows under the current configuration.
    async fn fail_tail(&self, delivery: &Delivery, error: &HeaderError) -> Result<(), StoreError> {
        let detail =
            format!("writing its last record was interrupted, and it cannot be written again: {error}");
        warn!(file = delivery.file.text(), "failed: {detail}");
        let state = Some((DeliveryState::Failed, detail));
        let amendment = Amendment { state, ..Amendment::default() };
        self.identify.backoff.with(|| self.identify.store.amend(delivery.id, amendment.clone())).await
    }

    fn noted_chunk(&self, delivery: &Delivery) -> Result<Option<RawChunk>, HeaderError> {
        let Some(TailNote { span, hash, header, bytes, .. }) = delivery.note.clone() else { return Ok(None) };
        let (mapping, file_date) = (header.map(&self.identify.plan)?, path::date(delivery.file.path()));
        let named = (header, mapping);
        let source = DeliveryContext {
            records_before: delivery.receipt.records,
            quarantined_before: delivery.receipt.quarantined,
            skipped_before: delivery.receipt.skipped,
            ..DeliveryContext::new(delivery.id, delivery.file.clone(), named, file_date, SystemTime::now())
        };
        let len = bytes.strip_suffix(b"\r").map_or(bytes.len(), <[u8]>::len);
        let (record, line, offset) = (span.from.record, span.from.line + 1, span.from.offset);
        Ok(Some(RawChunk {
            source: Arc::new(source),
            stamps: Arc::new(delivery.stamps.clone()),
            span,
            bytes,
            frames: vec![Frame { record, line, offset, start: 0, len }],
            refused: Vec::new(),
            lenient: LenienceCounts::default(),
            hash,
            is_tail: true,
            end: Some(End::Loaded),
        }))
    }
}
