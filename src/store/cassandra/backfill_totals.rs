//! What a backfill under way has written, so that nothing is counted twice.

use crate::domain::DeliveryId;
use crate::store::cassandra::keys::Keys;
use std::collections::HashMap;

/// What the deliveries that are being played have come to, by table.
pub type Playing = tokio::sync::Mutex<HashMap<(DeliveryId, usize), Played>>;

/// From the first record of a delivery to the end of a chunk that the ledger has.
#[derive(Clone)]
pub struct Played {
    pub keys: Keys,
    pub rows: u64,
    pub refused: u64,
    pub collisions: u64,
}
