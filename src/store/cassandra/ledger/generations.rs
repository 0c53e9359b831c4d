//! Reads the earlier generations of a path, newest first and a few at a time, because a path may have thousands.

use futures::future::try_join_all;

use super::LedgerTables;
use crate::domain::ledger::NewDelivery;
use crate::domain::{Delivery, DeliveryId, DeliveryState, FileKey};
use crate::store::StoreError;
use crate::store::cassandra::ledger::delivery_row::Entered;

/// The number of generations that are read at once.
const SOME: i32 = 8;

/// The earlier generations that matter to a new generation.
#[derive(Default)]
pub struct Earlier {
    /// The newest generation; 0 if there is none.
    pub newest: u32,
    /// The newest generation, if it has ended.
    pub ended: Option<Entered>,
    /// The earlier generations that end when the new generation begins.
    pub unsettled: Vec<Entered>,
}

impl Earlier {
    /// Adds the next older generation. Returns true if no older generation has to be read.
    fn add(&mut self, entered: Entered, entry: &NewDelivery) -> bool {
        let delivery = &entered.delivery;
        let (is_last, is_newest) = (has_settled_others(delivery), self.newest == 0);
        self.newest = self.newest.max(delivery.generation);
        if delivery.is_unsettled(entry) {
            self.unsettled.push(entered);
        } else if is_newest {
            self.ended = Some(entered);
        }
        is_last
    }
}

impl LedgerTables {
    /// Reads the earlier generations that matter to a new generation. Loading a generation settles all generations
    /// before it. Reading therefore stops at the newest generation that was loaded and has itself ended.
    pub(super) async fn earlier(&self, entry: &NewDelivery) -> Result<Earlier, StoreError> {
        let mut earlier = Earlier::default();
        let mut below = i32::MAX;
        loop {
            let page = self.generations(&entry.file, below).await?;
            for entered in self.all_of(&page).await? {
                if earlier.add(entered, entry) {
                    return Ok(earlier);
                }
            }
            match page.last() {
                Some((last, _)) => below = *last,
                None => return Ok(earlier),
            }
        }
    }

    /// Reads up to [`SOME`] generations of a file older than `below`. Returns their numbers and ids.
    async fn generations(&self, file: &FileKey, below: i32) -> Result<Vec<(i32, i64)>, StoreError> {
        self.cluster.fetch(&self.by_generation, (file.text(), below, SOME)).await
    }

    /// Reads the deliveries of these generations. A delivery may be missing, because the server has not finished the
    /// batch that creates it.
    async fn all_of(&self, page: &[(i32, i64)]) -> Result<Vec<Entered>, StoreError> {
        let found = try_join_all(page.iter().map(|(_, id)| self.by_id(DeliveryId(*id)))).await?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// Whether this generation has settled all earlier generations. Only deliveries that were taken up to be loaded do so.
/// A delivery that is assumed to be loaded by another program also has stamps, but it does not settle a failed
/// generation.
fn has_settled_others(delivery: &Delivery) -> bool {
    let was_loaded = delivery.stamps.begin().is_some() && delivery.receipt.assumed == 0;
    was_loaded && !delivery.state.is_unfinished() && delivery.state != DeliveryState::Waiting
}
