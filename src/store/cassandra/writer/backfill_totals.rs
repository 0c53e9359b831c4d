//! Totals of the backfills in progress, so that no row is counted twice.

use std::collections::HashMap;

use crate::domain::{DeliveryId, TableCount};
use crate::store::cassandra::writer::keys::Keys;

/// The totals of the deliveries that are being backfilled, by delivery and table.
pub type Playing = tokio::sync::Mutex<HashMap<(DeliveryId, usize), Played>>;

/// The totals of one delivery in one table, from its first record to the end of the last chunk in the ledger.
#[derive(Clone)]
pub struct Played {
    pub keys: Keys,
    pub count: TableCount,
}
