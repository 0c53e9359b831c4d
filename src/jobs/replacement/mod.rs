//! Compares newer generations of files with the earlier ones, and undoes the earlier ones
//! (`source.on_replace: mirror`).

mod compare;
mod mirror;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::ledger::{Amendment, DeliveryFilter};
use crate::domain::replacement::{Comparison, Mirror};
use crate::domain::{Delivery, DeliveryId, DeliveryState, Feeds, Replacement, Schema};
use crate::jobs::locate::KeptFiles;
use crate::pipeline::pending_replacements::PendingReplacements;
use crate::source::Source;
use crate::store::backend::AnyStore;
use crate::store::backoff::Backoff;
use crate::store::listing::Deliveries;
use crate::store::scratch_folder::ScratchFolder;
use crate::store::{Ledger, StoreError};

/// Settles deliveries that replace earlier generations.
pub struct Settler<I> {
    pub store: Arc<AnyStore>,
    pub schema: Arc<Schema>,
    pub feeds: Feeds<KeptFiles<I>>,
    /// Whether a feed is a mirror.
    pub mirrors: Feeds<bool>,
    pub scratch: ScratchFolder,
    pub replacements: Arc<PendingReplacements>,
    pub backoff: Backoff,
    pub stop: CancellationToken,
}

/// Whether settling may remove rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Only compare. Files may be loaded meanwhile.
    Compare,
    /// Also remove rows. Nothing may be loaded meanwhile.
    Mirror,
}

/// A delivery that replaces earlier generations of its file.
pub struct DueReplacement {
    pub delivery: Delivery,
    pub replacement: Replacement,
    /// The earlier generations, the oldest first.
    generations: Vec<Delivery>,
}

impl DueReplacement {
    fn compared_with(&self) -> Option<&Delivery> {
        self.generations.iter().find(|one| one.generation == self.replacement.earlier)
    }
}

/// How settling ended.
pub enum Settled {
    Stopped,
    /// What is known now of the deliveries that were due.
    Done(Vec<DueReplacement>),
}

impl<I: Source> Settler<I> {
    /// Settles loaded deliveries. What cannot be done now stays due, with a warning, and is tried again at the next start.
    ///
    /// # Errors
    /// Returns an error if the store does not answer, or if the right to write was lost.
    pub async fn settle(&self, ids: Vec<DeliveryId>, extent: Extent) -> Result<Settled, StoreError> {
        let mut due = Vec::new();
        for id in ids {
            let Some(mut replacing) = self.load_due(id).await? else {
                self.replacements.finish(id, None).await?;
                continue;
            };
            if replacing.replacement.comparison == Comparison::Due {
                match self.compare(&replacing).await {
                    Ok(Some(compared)) => replacing.replacement.comparison = compared,
                    Ok(None) => return Ok(Settled::Stopped),
                    Err(error) => self.warn_unless_fatal(&replacing, error)?,
                }
                self.save(&replacing).await?;
            }
            due.push(replacing);
        }
        // Boxed, because its future is large.
        if extent == Extent::Mirror && !Box::pin(self.mirror(&mut due)).await? {
            return Ok(Settled::Stopped);
        }
        for replacing in &due {
            let earlier = replacing.compared_with().map(|earlier| earlier.id);
            if let Err(error) = self.replacements.finish(replacing.delivery.id, earlier).await {
                warn!("{error}");
            }
            let (file, how) = (replacing.delivery.file.text(), &replacing.replacement);
            info!(file, "replaces generation {}: {how}", how.earlier);
        }
        Ok(Settled::Done(due))
    }

    /// Loads a delivery that is not settled. Turns its mirror off, and saves that, if its feed is no mirror any more. A duplicate is
    /// settled too: its rows are those of another delivery.
    async fn load_due(&self, id: DeliveryId) -> Result<Option<DueReplacement>, StoreError> {
        let found = self.backoff.with(|| self.store.delivery(id)).await?;
        let is_loaded =
            |one: &Delivery| matches!(one.state, DeliveryState::Loaded | DeliveryState::Duplicate);
        let Some(delivery) = found.filter(is_loaded) else { return Ok(None) };
        let Some(mut how) = delivery.replacement.clone() else { return Ok(None) };
        let is_mirror = self.mirrors.of(&delivery.file).is_ok_and(|mirrors| *mirrors);
        if how.mirror == Mirror::Due && !is_mirror {
            how.mirror = Mirror::Off;
        }
        let is_changed = delivery.replacement.as_ref() != Some(&how);
        if !how.is_due() && !is_changed {
            return Ok(None);
        }
        let filter = DeliveryFilter::Path(delivery.file.clone());
        let mut generations = Deliveries::patiently(&*self.store, &self.backoff, filter).all().await?;
        generations.retain(|one| one.generation < delivery.generation);
        let replacing = DueReplacement { delivery, replacement: how, generations };
        if is_changed {
            self.save(&replacing).await?;
        }
        Ok(Some(replacing))
    }

    async fn save(
        &self,
        DueReplacement { delivery, replacement, .. }: &DueReplacement,
    ) -> Result<(), StoreError> {
        let amendment = Amendment { replacement: Some(replacement.clone()), ..Amendment::default() };
        self.backoff.with(|| self.store.amend(delivery.id, amendment.clone())).await
    }

    /// Logs an error that concerns only this delivery, which stays due. Returns every other error.
    fn warn_unless_fatal(&self, replacing: &DueReplacement, error: StoreError) -> Result<(), StoreError> {
        let is_over = matches!(error, StoreError::Lost(_) | StoreError::Gone { .. } | StoreError::Closed);
        if is_over || error.transient_reason().is_some() {
            return Err(error);
        }
        let file = replacing.delivery.file.text();
        warn!(file, "is not settled with its earlier content yet; the next start tries again: {error}");
        Ok(())
    }
}
