//! Finds the deliveries with which a new file is compared: loaded deliveries by all their bytes, unfinished deliveries
//! by their head.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use scylla::statement::prepared::PreparedStatement;

use crate::domain::ledger::Content;
use crate::domain::{Delivery, DeliveryId};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::delivery_row::big;
use crate::store::cassandra::ledger::lock::lock;
use crate::store::cassandra::schema::names;

/// The table of loaded deliveries by their bytes. An entry may be stale after its delivery has continued, so it counts
/// only if the delivery's own row agrees. No entry is missing: an entry is inserted before that row is written, and a
/// stale entry is removed afterwards.
pub struct Contents {
    pub insert: PreparedStatement,
    pub delete: PreparedStatement,
    pub of_head: PreparedStatement,
    pub all_of_head: PreparedStatement,
    pub of_len: PreparedStatement,
    pub same: PreparedStatement,
}

impl Contents {
    pub async fn new(cluster: &Cluster) -> Result<Self, StoreError> {
        let place = names::ledger_place(&cluster.settings, "needledrop_contents");
        let heads = names::ledger_place(&cluster.settings, "needledrop_heads");
        let prepare = |cql: String| cluster.prepare(cql);
        let one = "head = ? AND bytes = ? AND hash = ?";
        Ok(Self {
            insert: prepare(format!("INSERT INTO {place} (head, bytes, hash, id) VALUES (?, ?, ?, ?)"))
                .await?,
            delete: prepare(format!("DELETE FROM {place} WHERE {one} AND id = ?")).await?,
            of_head: prepare(format!("SELECT id FROM {heads} WHERE head = ? LIMIT 1")).await?,
            all_of_head: prepare(format!("SELECT id FROM {heads} WHERE head = ?")).await?,
            of_len: prepare(format!("SELECT id FROM {place} WHERE head = ? AND bytes = ? LIMIT 1")).await?,
            same: prepare(format!("SELECT id FROM {place} WHERE {one}")).await?,
        })
    }

    /// Inserts the entry for a delivery that is about to be `loaded`.
    pub async fn enter(
        &self,
        lease: &Lease,
        content: Option<&Content>,
        id: DeliveryId,
    ) -> Result<(), StoreError> {
        let Some(Content { head, len, hash }) = content else { return Ok(()) };
        lease.write(&self.insert, (head, big(*len), hash, id.0)).await
    }

    /// Removes the entry for the previous contents of a delivery.
    pub async fn remove(
        &self,
        lease: &Lease,
        content: Option<&Content>,
        id: DeliveryId,
    ) -> Result<(), StoreError> {
        let Some(Content { head, len, hash }) = content else { return Ok(()) };
        lease.write(&self.delete, (head, big(*len), hash, id.0)).await
    }
}

/// Deliveries that are loading or incomplete, by their heads. They need no table, because only one process writes to a
/// ledger, and it reads the whole ledger when it starts.
#[derive(Default)]
pub struct Unfinished(Mutex<Option<Heads>>);

#[derive(Default)]
struct Heads {
    ids: BTreeSet<(Arc<str>, DeliveryId)>,
    heads: HashMap<DeliveryId, Arc<str>>,
}

impl Unfinished {
    pub fn is_filled(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Fills the index with all unfinished deliveries of the ledger.
    pub fn fill(&self, all: impl Iterator<Item = (DeliveryId, String)>) {
        let mut heads = Heads::default();
        all.for_each(|(id, head)| heads.insert(id, &head));
        *lock(&self.0) = Some(heads);
    }

    /// Updates the index after a delivery has changed.
    pub fn track(&self, delivery: &Delivery) {
        if let Some(heads) = lock(&self.0).as_mut() {
            heads.remove(delivery.id);
            if delivery.state.is_unfinished() {
                heads.insert(delivery.id, &delivery.head);
            }
        }
    }

    pub fn of(&self, head: &str) -> Vec<DeliveryId> {
        let from = (Arc::from(head), DeliveryId(i64::MIN));
        let heads = lock(&self.0);
        let all = heads.iter().flat_map(|heads| heads.ids.range(from.clone()..));
        all.take_while(|(other, _)| **other == *head).map(|(_, id)| *id).collect()
    }
}

impl Heads {
    fn insert(&mut self, id: DeliveryId, head: &str) {
        let head: Arc<str> = head.into();
        self.ids.insert((Arc::clone(&head), id));
        self.heads.insert(id, head);
    }

    fn remove(&mut self, id: DeliveryId) {
        if let Some(head) = self.heads.remove(&id) {
            self.ids.remove(&(head, id));
        }
    }
}
