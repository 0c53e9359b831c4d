//! Applies `limits.max_quarantined` to each delivery.

use std::collections::HashMap;

use crate::config::Quota;
use crate::domain::{DeliveryId, End, RowChunk};

/// Counts the quarantined records of each delivery under way.
pub struct QuarantineLimit {
    quota: Quota,
    /// For each delivery under way: the number of records, how many of them are quarantined, and whether the limit is
    /// exceeded.
    seen: HashMap<DeliveryId, (u64, u64, bool)>,
}

impl QuarantineLimit {
    pub fn new(quota: Quota) -> Self {
        Self { quota, seen: HashMap::new() }
    }

    pub fn has_failed(&self, id: DeliveryId) -> bool {
        self.seen.get(&id).is_some_and(|(_, _, failed)| *failed)
    }

    pub fn check(&mut self, chunk: &mut RowChunk) {
        if self.quota == Quota::Off {
            return;
        }
        let before = (chunk.source.records_before, chunk.source.quarantined_before, false);
        let (records, quarantined, failed) = self.seen.entry(chunk.source.id).or_insert(before);
        *records += chunk.records();
        *quarantined += chunk.quarantined.len() as u64;
        if self.quota.exceeded(*quarantined, *records, chunk.end.is_some()) {
            let detail = format!(
                "{quarantined} of {records} records were quarantined, more than limits.max_quarantined ({}); \
                 the other records read so far are in the tables; see `needledrop quarantine list`, \
                 then correct the file or raise the limit",
                self.quota
            );
            chunk.end = Some(End::Failed { detail });
            *failed = true;
            chunk.source.halt.set();
        } else if chunk.end.is_some() {
            self.seen.remove(&chunk.source.id);
        }
    }
}
