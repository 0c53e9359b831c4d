//! Stamps of rows that were sent and never counted, for tables with `newest_by`.
//!
//! A process may end after it has sent rows and before the ledger has them, and the file may be replaced before the next process
//! reads it. A later record overwrites such a row by its stamp. With `newest_by`, it would have to be newer by the column too, so
//! such rows are not compared.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::domain::{Delivery, DeliveryState, Stamp};
use crate::store::cassandra::ledger::lock::lock;

/// Ranges of stamps, from the first up to but not including the last, by their first stamp.
#[derive(Default)]
pub struct Uncounted(Mutex<BTreeMap<Stamp, Stamp>>);

impl Uncounted {
    /// Adds the stamps of a delivery beyond its last counted record, if rows with them may have been sent.
    pub fn add(&self, delivery: &Delivery) {
        if delivery.state == DeliveryState::Loaded && delivery.stamps.ranges().len() < 2 {
            return;
        }
        lock(&self.0).extend(delivery.stamps.beyond(delivery.reach.record));
    }

    pub fn has(&self, stamp: Stamp) -> bool {
        let ranges = lock(&self.0);
        ranges.range(..=stamp).next_back().is_some_and(|(_, end)| stamp < *end)
    }
}
