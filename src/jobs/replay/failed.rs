//! What a replay may do with the records of a failed delivery. Its file may be read again, or a copy of its file may be
//! loaded. Replaying the records too would load them twice.

use tracing::warn;

use crate::domain::ledger::{Amendment, Content, DeliveryFilter};
use crate::domain::quarantine::{EntryFilter, Fate};
use crate::domain::{Delivery, DeliveryState, path};
use crate::jobs::locate::KeptFiles;
use crate::jobs::replay::Replayer;
use crate::jobs::replay::settled::Settled;
use crate::jobs::replay::untried::{ReplayError, UntriedError};
use crate::pipeline::prefix_check::{KeptFileError, VerifiedFile};
use crate::source::Source;
use crate::store::StoreError;
use crate::store::listing::{Deliveries, Entries, newest};
use crate::store::repairs::Repairs;

impl<S: Repairs, I: Source> Replayer<S, I> {
    /// Returns the loaded delivery with the bytes of this one, if this one failed because none of its records could be
    /// loaded.
    pub(super) async fn loaded_copy(&self, delivery: &Delivery) -> Result<Option<Delivery>, StoreError> {
        let is_refused = delivery.state == DeliveryState::Failed && delivery.is_refused_as_a_whole();
        match self.feeds.of(&delivery.file) {
            Ok(find) if is_refused => {
                let filter = DeliveryFilter::Same(Content::read(delivery));
                Ok(self.copies(find, delivery, filter).await?.into_iter().find(Delivery::counts))
            }
            _ => Ok(None),
        }
    }

    /// Makes a failed delivery a duplicate: discards its open records, whatever records are selected, and then changes
    /// its state. Returns whether the run was stopped before the end.
    ///
    /// The state comes last. A failed delivery with open records is compared again; a duplicate is not.
    pub(super) async fn make_duplicate(
        &self,
        delivery: &Delivery,
        of: &Delivery,
        settled: &mut Settled,
    ) -> Result<bool, StoreError> {
        let filter = EntryFilter { fate: Some(Fate::Open), ..EntryFilter::default() };
        let entries = Entries::patiently(&*self.store, &self.backoff, delivery.id, filter);
        if self.discard_all(entries, delivery, settled).await? {
            return Ok(true);
        }
        let detail = format!("the same bytes as {}, which is loaded: its records were discarded", of.file);
        warn!(file = delivery.file.text(), "duplicate: {detail}");
        let state = Some((DeliveryState::Duplicate, detail));
        let amendment = Amendment { state, same_as: Some(of.id), ..Amendment::default() };
        self.backoff.with(|| self.store.amend(delivery.id, amendment.clone())).await?;
        Ok(false)
    }

    /// Checks that the records of a failed delivery are not loaded in another way.
    pub(super) async fn check_failed(
        &self,
        find: &KeptFiles<I>,
        delivery: &Delivery,
    ) -> Result<(), ReplayError> {
        if delivery.state != DeliveryState::Failed {
            return Ok(());
        }
        let is_cut_short = !delivery.is_refused_as_a_whole();
        if find.inbox.may_exist(&delivery.file).await {
            let newest = self.backoff.with(|| newest(&*self.store, &delivery.file)).await?;
            if is_cut_short {
                return Err(UntriedError::ReadAgain.into());
            }
            if newest.is_some_and(|newest| newest.id != delivery.id && newest.counts()) {
                return Err(UntriedError::LaterFailed.into());
            }
        }
        match is_cut_short {
            true => self.check_copies(find, delivery).await,
            false => Ok(()),
        }
    }

    /// Checks that no loaded file begins with the bytes that were read of this delivery.
    async fn check_copies(&self, find: &KeptFiles<I>, delivery: &Delivery) -> Result<(), ReplayError> {
        let filter = DeliveryFilter::Loaded(delivery.head.clone());
        for other in self.copies(find, delivery, filter).await? {
            if other.reach.offset < delivery.reach.offset {
                continue;
            }
            let (inbox, encoding) = (&find.inbox, find.plan.encoding);
            // If the other file cannot be read, it may have the same bytes.
            match VerifiedFile::verify(inbox, &other.file, delivery, encoding).await {
                Err(KeptFileError::OtherBytes) => {}
                _ => return Err(UntriedError::CopyLoaded(other.file).into()),
            }
        }
        Ok(())
    }

    /// Returns the deliveries that this filter selects and that may come from a copy of the file.
    async fn copies(
        &self,
        find: &KeptFiles<I>,
        delivery: &Delivery,
        filter: DeliveryFilter,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut others = Deliveries::patiently(&*self.store, &self.backoff, filter).all().await?;
        others.retain(|other| {
            other.reach.record > 0 && path::may_be_copies(&find.plan, &other.file, &delivery.file)
        });
        Ok(others)
    }
}
