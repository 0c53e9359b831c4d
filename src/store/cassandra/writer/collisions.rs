//! The keys of deliveries in progress, for counting collisions. They are kept in memory, and also in the store, so that
//! counting continues after a resume.

use std::collections::HashMap;
use std::sync::Arc;

use scylla::statement::prepared::PreparedStatement;

use crate::domain::{DeliveryId, Schema};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::delivery_row::{Entered, big, count};
use crate::store::cassandra::ledger::{Beside, Written};
use crate::store::cassandra::schema::names;
use crate::store::cassandra::writer::keys;
use crate::store::cassandra::writer::keys::{Keys, Short};

/// How long the store keeps keys after they were written, in seconds (7 days). If a file grows later than that, only
/// collisions among its new records are counted.
const KEPT: u64 = 7 * 24 * 3600;

/// The byte that the records of these keys reach, the hashes, and their write time.
type Stored = (i64, Option<Vec<u8>>, Option<i64>);

/// The keys of one delivery, for each table of the schema.
pub type Tables = Vec<Keys>;

pub struct Collisions {
    cluster: Cluster,
    declared: Arc<Schema>,
    insert: PreparedStatement,
    select: PreparedStatement,
    under_way: tokio::sync::Mutex<HashMap<DeliveryId, Tables>>,
}

impl Collisions {
    /// Prepares the statements.
    ///
    /// # Errors
    /// Returns an error if a statement cannot be prepared.
    pub async fn new(cluster: &Cluster, declared: Arc<Schema>) -> Result<Self, StoreError> {
        let place = names::ledger_place(&cluster.settings, "needledrop_keys");
        let prepare = |cql: String| cluster.prepare(cql);
        let insert = format!(
            "INSERT INTO {place} (delivery, table_name, bytes, hashes) VALUES (?, ?, ?, ?) USING TTL {KEPT}"
        );
        let select = format!(
            "SELECT bytes, hashes, WRITETIME(hashes) FROM {place} WHERE delivery = ? AND table_name = ?"
        );
        Ok(Self {
            insert: prepare(insert).await?,
            select: prepare(select).await?,
            cluster: cluster.clone(),
            declared,
            under_way: tokio::sync::Mutex::default(),
        })
    }

    /// Takes the keys of the durable records of a delivery. The caller returns them with [`Self::keep`].
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn of(&self, Entered { delivery, trust, .. }: &Entered) -> Result<Tables, StoreError> {
        if let Some(tables) = self.under_way.lock().await.remove(&delivery.id) {
            return Ok(tables);
        }
        let mut tables =
            vec![Keys::new(self.cluster.settings.limits.collision_keys); self.declared.tables.len()];
        if delivery.reach.record == 0 {
            return Ok(tables);
        }
        for (keys, table) in tables.iter_mut().zip(&self.declared.tables) {
            let values = (delivery.id.0, &table.name);
            let stored: Vec<Stored> = self.cluster.fetch(&self.select, values).await?;
            for (bytes, hashes, written) in stored {
                // Keys beyond the committed position belong to a step that never reached the ledger.
                if count(bytes) <= delivery.reach.offset && written.is_some_and(|time| trust.covers(time)) {
                    keys.add(keys::unpacked(&hashes.unwrap_or_default()));
                }
            }
        }
        Ok(tables)
    }

    /// Keeps the keys of a delivery for its next chunk.
    pub async fn keep(&self, id: DeliveryId, tables: Tables) {
        self.under_way.lock().await.insert(id, tables);
    }

    /// Keeps the keys of a delivery for its next chunk, and drops the keys of all other deliveries.
    pub async fn keep_alone(&self, id: DeliveryId, tables: Tables) {
        *self.under_way.lock().await = HashMap::from([(id, tables)]);
    }

    /// Returns the statement that saves one table's new keys from replayed records, for the batch that updates the
    /// ledger. The keys are stored at a negative position made from the number of the first record. There they replace
    /// no other keys, and count wherever the delivery stands.
    pub fn beside(&self, id: DeliveryId, table: &str, first: u64, hashes: &[Short]) -> Option<Beside> {
        let values = (id.0, table.to_owned(), -1 - big(first), keys::packed(hashes));
        (!hashes.is_empty()).then(|| (self.insert.clone(), Written::Keys(values)))
    }

    /// Saves new keys of one table, for a process that resumes the delivery at this byte or later.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects the request.
    pub async fn save(
        &self,
        lease: &Lease,
        id: DeliveryId,
        table: &str,
        bytes: u64,
        hashes: &[Short],
    ) -> Result<(), StoreError> {
        if hashes.is_empty() {
            return Ok(());
        }
        lease.write(&self.insert, (id.0, table, big(bytes), keys::packed(hashes))).await
    }
}
