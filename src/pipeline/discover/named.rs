//! Files that a user named (`needledrop load FILE`): it is said why they are not loaded.

use tracing::warn;

use crate::domain::text::one_line;
use crate::domain::{DeliveryState, FileKey};
use crate::pipeline::discover::Discover;
use crate::source::Source;
use crate::store::listing::newest;
use crate::store::{Store, StoreError};

/// What to do about a failed file, which is tried again only when something changes.
const NEXT: &str = "change the file or the configuration, or load it with --again";

impl<S: Store, I: Source> Discover<S, I> {
    /// Reports that a file, if a user named it, stays failed, incomplete or undone because nothing has changed.
    pub(super) async fn report_unchanged(&self, file: &FileKey) -> Result<(), StoreError> {
        if !self.named {
            return Ok(());
        }
        let Some(delivery) = self.backoff.with(|| newest(&*self.store, file)).await? else { return Ok(()) };
        let (file, why) = (file.text(), one_line(&delivery.detail));
        match delivery.state {
            DeliveryState::Failed => {
                warn!(file, "failed before, and nothing has changed since: {why}; {NEXT}")
            }
            DeliveryState::Undone => warn!(file, "was undone, and is not loaded again unless with --again"),
            state => warn!(file, "is still {state}: {why}"),
        }
        self.stats.delivery(delivery.state);
        Ok(())
    }
}
