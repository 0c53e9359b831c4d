//! The quarantine's vocabulary: entries as they are listed and shown.

use crate::domain::{DeliveryId, Quarantined};

/// A quarantined record with its delivery.
#[derive(Clone, Debug)]
pub struct Entry {
    pub delivery: DeliveryId,
    pub path: String,
    pub generation: u32,
    pub record: Quarantined,
}

/// Which entries are asked for; all that are set must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub delivery: Option<DeliveryId>,
    pub path: Option<String>,
    pub reason: Option<String>,
    pub column: Option<String>,
    /// Whether the raw bytes are wanted.
    pub raw: bool,
}
