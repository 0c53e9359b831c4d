//! The ledger of deliveries in the cluster. One row holds everything about a delivery that can change, and is always
//! written as a whole. A row therefore never mixes two states. If two processes write a row, the stamps of their leases
//! decide.

mod begin;
mod contents;
mod generations;
mod listing;
mod rewind;
mod written;
pub mod lock;
mod lookup;
pub mod delivery_row;
pub mod migrations;
pub mod recreated_tables;
pub mod uncounted;

use std::collections::HashMap;
use std::sync::Mutex;

use contents::{Contents, Unfinished};
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
pub use written::{Beside, Written};

use crate::domain::ledger::{Amendment, Content};
use crate::domain::{Delivery, DeliveryId, DeliveryState, FileKey};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::delivery_row::{COLUMNS, Entered, Stored};
use crate::store::cassandra::ledger::lock::lock;
use crate::store::cassandra::ledger::uncounted::Uncounted;
use crate::store::cassandra::schema::names;
use crate::store::clock::now_ms;

/// The number of deliveries that are read or written at the same time.
pub const TOGETHER: usize = 64;

/// The ledger: its statements, and the deliveries in progress.
pub struct LedgerTables {
    cluster: Cluster,
    insert: PreparedStatement,
    path: PreparedStatement,
    head: PreparedStatement,
    by_id: PreparedStatement,
    by_path: PreparedStatement,
    newest_of_path: PreparedStatement,
    by_generation: PreparedStatement,
    by_place: PreparedStatement,
    later: PreparedStatement,
    all: PreparedStatement,
    ids: PreparedStatement,
    counted: PreparedStatement,
    contents: Contents,
    /// Deliveries in progress, as they are in the store. The lock is held while a delivery is changed, because rows are
    /// written as a whole.
    under_way: tokio::sync::Mutex<HashMap<DeliveryId, Entered>>,
    /// Deliveries whose entry was not confirmed, by file. A retry enters them unchanged.
    unconfirmed: Mutex<HashMap<FileKey, Entered>>,
    /// Deliveries whose replayed or discarded records were not confirmed. A retry does not count them twice.
    unsettled: Mutex<HashMap<DeliveryId, Entered>>,
    /// The heads of unfinished deliveries. They are in no table.
    unfinished: Unfinished,
    pub uncounted: Uncounted,
}

impl LedgerTables {
    /// Prepares the statements.
    ///
    /// # Errors
    /// Returns an error if a statement cannot be prepared.
    pub async fn new(cluster: &Cluster) -> Result<Self, StoreError> {
        let place = |table: &str| names::ledger_place(&cluster.settings, table);
        let (deliveries, paths, heads) =
            (place("needledrop_deliveries"), place("needledrop_paths"), place("needledrop_heads"));
        let columns = COLUMNS.join(", ");
        let marks = COLUMNS.map(|_| "?").join(", ");
        let prepare = |cql: String| cluster.prepare(cql);
        Ok(Self {
            insert: prepare(format!("INSERT INTO {deliveries} ({columns}) VALUES ({marks})")).await?,
            path: prepare(format!("INSERT INTO {paths} (path, generation, id) VALUES (?, ?, ?)")).await?,
            head: prepare(format!("INSERT INTO {heads} (head, id) VALUES (?, ?)")).await?,
            by_id: prepare(format!("SELECT {columns} FROM {deliveries} WHERE id = ?")).await?,
            by_path: prepare(format!("SELECT id FROM {paths} WHERE path = ?")).await?,
            newest_of_path: prepare(format!(
                "SELECT id FROM {paths} WHERE path = ? ORDER BY generation DESC LIMIT 1"
            ))
            .await?,
            by_generation: prepare(format!(
                "SELECT generation, id FROM {paths} WHERE path = ? AND generation < ? \
                 ORDER BY generation DESC LIMIT ?"
            ))
            .await?,
            by_place: prepare(format!("SELECT id FROM {paths} WHERE path = ? AND generation = ?")).await?,
            later: prepare(format!("DELETE FROM {paths} WHERE path = ? AND generation > ?")).await?,
            all: prepare(format!("SELECT {columns} FROM {deliveries}")).await?,
            ids: prepare(format!("SELECT id FROM {paths}")).await?,
            counted: prepare(format!("SELECT id, quarantined, replayed FROM {deliveries}")).await?,
            contents: Contents::new(cluster).await?,
            cluster: cluster.clone(),
            under_way: tokio::sync::Mutex::default(),
            unconfirmed: Mutex::default(),
            unsettled: Mutex::default(),
            unfinished: Unfinished::default(),
            uncounted: Uncounted::default(),
        })
    }

    /// Removes the deliveries that are not in the table of paths. A writer that lost the lease entered them late, and
    /// nothing was ever written for them.
    async fn valid(&self, deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, StoreError> {
        let mut valid = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let generation = i32::try_from(delivery.generation).unwrap_or(i32::MAX);
            let values = (delivery.file.text(), generation);
            let found: Vec<(i64,)> = self.cluster.fetch(&self.by_place, values).await?;
            if found == [(delivery.id.0,)] {
                valid.push(delivery);
            }
        }
        Ok(valid)
    }

    async fn by_id(&self, id: DeliveryId) -> Result<Option<Entered>, StoreError> {
        let found: Vec<Stored> = self.cluster.fetch(&self.by_id, (id.0,)).await?;
        Ok(found.into_iter().next_back().map(Stored::entered))
    }

    /// Returns the current state of a delivery.
    ///
    /// # Errors
    /// Returns an error if there is no delivery with this id, or if the cluster does not answer or rejects the request.
    pub async fn find(&self, id: DeliveryId) -> Result<Entered, StoreError> {
        if let Some(entered) = self.under_way.lock().await.get(&id) {
            return Ok(entered.clone());
        }
        self.load(id).await
    }

    async fn load(&self, id: DeliveryId) -> Result<Entered, StoreError> {
        let found = self.by_id(id).await?;
        found.ok_or_else(|| self.cluster.broken(format!("there is no delivery {}", id.0)))
    }

    /// Changes a delivery and writes it. Returns the delivery and the result of `change`.
    ///
    /// # Errors
    /// Returns the error of `change`, in which case nothing is written. Also returns an error if the lease is lost, or
    /// if the cluster does not answer or rejects a request.
    pub async fn change<T, E: From<StoreError>>(
        &self,
        lease: &Lease,
        id: DeliveryId,
        change: impl FnOnce(&mut Entered) -> Result<T, E>,
    ) -> Result<(Entered, T), E> {
        let mut under_way = self.under_way.lock().await;
        let kept = under_way.contains_key(&id);
        let mut entered = match under_way.get(&id) {
            Some(entered) => entered.clone(),
            None => self.load(id).await?,
        };
        if !lease.wrote(entered.trust.written()) {
            self.fence(lease, &entered.delivery).await?;
        }
        let was = Content::of(&entered.delivery);
        let result = change(&mut entered)?;
        entered.delivery.changed = now_ms();
        let is = Content::of(&entered.delivery);
        if is != was {
            self.contents.enter(lease, is.as_ref(), id).await?;
        }
        self.write(lease, &mut entered).await?;
        if is != was {
            self.contents.remove(lease, was.as_ref(), id).await?;
        }
        self.unfinished.track(&entered.delivery);
        if matches!(entered.delivery.state, DeliveryState::Failed | DeliveryState::Replaced) {
            self.uncounted.add(&entered.delivery);
        }
        if entered.delivery.state == DeliveryState::Loading {
            under_way.insert(id, entered.clone());
        } else if kept {
            under_way.remove(&id);
        }
        Ok((entered, result))
    }

    /// If this delivery is the newest generation, hides newer generations that a writer without the lease may enter
    /// late.
    async fn fence(&self, lease: &Lease, delivery: &Delivery) -> Result<(), StoreError> {
        let ids = self.ids_of_file(&self.newest_of_path, &delivery.file).await?;
        if ids.first() != Some(&delivery.id) {
            return Ok(());
        }
        let generation = i32::try_from(delivery.generation).unwrap_or(i32::MAX);
        lease.write(&self.later, (delivery.file.text(), generation)).await
    }

    /// Changes the receipt of a delivery, and writes it together with the statements in `beside`, all or none.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects a request. A retry writes
    /// the same receipt, so nothing is counted twice.
    pub async fn settle(
        &self,
        lease: &Lease,
        id: DeliveryId,
        change: impl FnOnce(&mut Entered),
        beside: Vec<Beside>,
    ) -> Result<(), StoreError> {
        let mut under_way = self.under_way.lock().await;
        let unsettled = lock(&self.unsettled).remove(&id);
        let (mut entered, was) = match unsettled {
            Some(entered) => (entered, None),
            None => {
                let mut entered = match under_way.get(&id) {
                    Some(entered) => entered.clone(),
                    None => self.load(id).await?,
                };
                let was = Content::of(&entered.delivery);
                change(&mut entered);
                entered.delivery.changed = now_ms();
                (entered, was)
            }
        };
        lock(&self.unsettled).insert(id, entered.clone());
        lease.check().await?;
        // A failed delivery may be loaded now.
        let is = Content::of(&entered.delivery);
        if is != was {
            self.contents.enter(lease, is.as_ref(), id).await?;
        }
        self.together(lease, &mut [&mut entered], beside).await?;
        lock(&self.unsettled).remove(&id);
        if let Some(known) = under_way.get_mut(&id) {
            *known = entered;
        }
        Ok(())
    }

    /// Whether a receipt was written but not confirmed. The records that it settles may be settled already.
    pub fn is_unsettled(&self, id: DeliveryId) -> bool {
        lock(&self.unsettled).contains_key(&id)
    }

    async fn write(&self, lease: &Lease, entered: &mut Entered) -> Result<(), StoreError> {
        lease.check().await?;
        let stamp = lease.ledger_stamp();
        let mut insert = self.insert.clone();
        insert.set_timestamp(Some(stamp));
        entered.trust.rewritten(stamp);
        let stored = Stored::from(&*entered);
        self.cluster.execute_while(|| lease.holds(), &insert, stored).await.map(|_| ())
    }

    /// Writes deliveries and other statements, all or none. They are in a logged batch, which the server completes.
    async fn together(
        &self,
        lease: &Lease,
        deliveries: &mut [&mut Entered],
        beside: Vec<Beside>,
    ) -> Result<(), StoreError> {
        let stamp = lease.ledger_stamp();
        let mut batch = Batch::new(BatchType::Logged);
        batch.set_consistency(self.cluster.settings.ledger());
        batch.set_is_idempotent(true);
        batch.set_timestamp(Some(stamp));
        let mut values = Vec::with_capacity(deliveries.len() + beside.len());
        for entered in deliveries {
            entered.trust.rewritten(stamp);
            batch.append_statement(self.insert.clone());
            values.push(Written::Delivery(Box::new(Stored::from(&**entered))));
        }
        for (statement, written) in beside {
            batch.append_statement(statement);
            values.push(written);
        }
        self.cluster.batch_while(|| lease.holds(), &batch, &values).await
    }

    /// Changes the state, the file metadata or the head of a delivery.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects a request.
    pub async fn amend(&self, lease: &Lease, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        let head = amendment.head.clone();
        let change = |entered: &mut Entered| {
            entered.delivery.amend(amendment);
            Ok::<_, StoreError>(())
        };
        if let Some(head) = head {
            self.note_head(lease, head, id).await?;
        }
        self.change(lease, id, change).await.map(|_| ())
    }

    /// Writes the entry that finds a delivery by its head.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects the request.
    pub async fn note_head(&self, lease: &Lease, head: String, id: DeliveryId) -> Result<(), StoreError> {
        lease.write(&self.head, (head, id.0)).await
    }
}
