//! Notices whether deliveries changed between two listings of the ledger.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::domain::{Delivery, ledger};
use crate::store::backoff::Backoff;
use crate::store::listing::Deliveries;
use crate::store::{Store, StoreError};

/// What the listed deliveries have loaded, as one number.
#[derive(Default)]
pub struct LedgerState(DefaultHasher);

impl LedgerState {
    /// Lists all deliveries.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn now(store: &impl Store, backoff: &Backoff) -> Result<Self, StoreError> {
        let mut state = Self::default();
        let mut all = Deliveries::patiently(store, backoff, ledger::DeliveryFilter::All);
        while let Some(delivery) = all.next().await? {
            state.add(&delivery);
        }
        Ok(state)
    }

    /// Adds the next delivery of a listing.
    pub fn add(&mut self, delivery: &Delivery) {
        let Delivery { id, state, reach, receipt, .. } = delivery;
        (id.0, state.name(), reach.offset, reach.record).hash(&mut self.0);
        (receipt.loaded, receipt.quarantined, receipt.replayed).hash(&mut self.0);
        for count in &receipt.tables {
            (&count.table, count.rows, count.fingerprint.0.as_str()).hash(&mut self.0);
        }
    }

    pub fn is(&self, other: &Self) -> bool {
        self.0.finish() == other.0.finish()
    }
}
