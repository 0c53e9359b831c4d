//! Deliveries in the cluster. One row holds all that changes of a delivery, and is always written whole:
//! it never mixes two states, and the stamps of the lease decide between two writers.

mod begin;
mod contents;
mod count;
mod generations;
mod last;
mod listing;
mod rewind;
mod written;
mod lock;
mod lookup;

use crate::store::cassandra::ledger::lock::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use scylla::client::session::Session;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::lease::{Lease, clock};
use super::{request, schema};
use crate::domain::ledger::{Amendment, Content};
use crate::domain::{Delivery, DeliveryId, DeliveryState};
use crate::store::StoreError;
use crate::store::cassandra::delivery_row::{COLUMNS, Entered, Stored};
use crate::store::cassandra::settings::Settings;
use contents::{Contents, Unfinished};
pub use count::{count_of, table_count};
pub use last::last_stamp;
pub use written::{Beside, Written};

/// Deliveries that are read at once.
pub const TOGETHER: usize = 64;

/// What the ledger is asked and told.
pub struct Ledger {
    session: Arc<Session>,
    settings: Arc<Settings>,
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
    /// Deliveries under way, as they are in the store. Who changes one holds this: rows are written whole.
    under_way: tokio::sync::Mutex<HashMap<DeliveryId, Entered>>,
    /// Deliveries whose entry was not confirmed, by path: tried again, they are entered as they were.
    unconfirmed: Mutex<HashMap<String, Entered>>,
    /// Deliveries whose records from quarantine were not confirmed: tried again, nothing is counted twice.
    unsettled: Mutex<HashMap<DeliveryId, Entered>>,
    /// The heads of unfinished deliveries. No table has them.
    unfinished: Unfinished,
    /// A dry run: what is entered stays there.
    in_memory: bool,
}

impl Ledger {
    /// Prepares what will be asked.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn new(
        session: Arc<Session>,
        settings: Arc<Settings>,
        in_memory: bool,
    ) -> Result<Self, StoreError> {
        let place = |table: &str| schema::ledger_place(&settings, table);
        let (deliveries, paths, heads) =
            (place("needledrop_deliveries"), place("needledrop_paths"), place("needledrop_heads"));
        let columns = COLUMNS.join(", ");
        let marks = COLUMNS.map(|_| "?").join(", ");
        let prepare = async |cql: String| -> Result<PreparedStatement, StoreError> {
            let prepared = session.prepare(cql).await;
            let mut prepared = prepared.map_err(|error| request::told(&settings, &error.into()))?;
            prepared.set_consistency(settings.ledger());
            prepared.set_is_idempotent(true);
            Ok(prepared)
        };
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
            contents: Contents::new(&session, &settings).await?,
            session,
            settings,
            under_way: tokio::sync::Mutex::default(),
            unconfirmed: Mutex::default(),
            unsettled: Mutex::default(),
            unfinished: Unfinished::default(),
            in_memory,
        })
    }

    /// Without those that the way by path does not lead to: a writer that lost the lease entered them late, and
    /// nothing was ever written for them.
    async fn valid(&self, deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, StoreError> {
        let mut valid = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let generation = i32::try_from(delivery.generation).unwrap_or(i32::MAX);
            let values = (&delivery.path, generation);
            let result = request::execute(&self.session, &self.settings, &self.by_place, values).await?;
            let found: Option<(i64,)> = request::parsed(&self.settings, result)?.pop();
            if found == Some((delivery.id.0,)) {
                valid.push(delivery);
            }
        }
        Ok(valid)
    }

    async fn by_id(&self, id: DeliveryId) -> Result<Option<Entered>, StoreError> {
        let result = request::execute(&self.session, &self.settings, &self.by_id, (id.0,)).await?;
        Ok(request::parsed::<Stored>(&self.settings, result)?.pop().map(Stored::entered))
    }

    /// One delivery as it stands.
    ///
    /// # Errors
    /// There is none with this id; what the cluster says.
    pub async fn find(&self, id: DeliveryId) -> Result<Entered, StoreError> {
        if let Some(entered) = self.under_way.lock().await.get(&id) {
            return Ok(entered.clone());
        }
        self.load(id).await
    }

    async fn load(&self, id: DeliveryId) -> Result<Entered, StoreError> {
        self.by_id(id).await?.ok_or_else(|| StoreError::Broken {
            store: self.settings.name(),
            what: format!("there is no delivery {}", id.0),
        })
    }

    /// Changes a delivery and writes it; what `change` says is returned with it.
    ///
    /// # Errors
    /// That of `change`, with nothing written; what the cluster says.
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
        let told = change(&mut entered)?;
        entered.delivery.changed = clock() / 1000;
        let is = Content::of(&entered.delivery);
        if is != was {
            self.contents.enter(lease, is.as_ref(), id).await?;
        }
        self.write(lease, &mut entered).await?;
        if is != was {
            self.contents.remove(lease, was.as_ref(), id).await?;
        }
        self.unfinished.track(&entered.delivery);
        if entered.delivery.state == DeliveryState::Loading {
            under_way.insert(id, entered.clone());
        } else if kept {
            under_way.remove(&id);
        }
        Ok((entered, told))
    }

    /// If this delivery is the newest generation, hides newer generations that a writer without the lease may enter
    /// late.
    async fn fence(&self, lease: &Lease, delivery: &Delivery) -> Result<(), StoreError> {
        let ids = self.ids_of_path(&self.newest_of_path, &delivery.path).await?;
        if ids.first() != Some(&delivery.id) {
            return Ok(());
        }
        let generation = i32::try_from(delivery.generation).unwrap_or(i32::MAX);
        lease.write(&self.later, (&delivery.path, generation)).await
    }

    /// Changes the account of a delivery together with what is written beside it, all or none.
    ///
    /// # Errors
    /// What the cluster says. Tried again, the account is what it would have become, counted once.
    pub async fn settle(
        &self,
        lease: &Lease,
        id: DeliveryId,
        change: impl FnOnce(&mut Entered),
        beside: Vec<Beside>,
    ) -> Result<(), StoreError> {
        let mut under_way = self.under_way.lock().await;
        let unsettled = lock(&self.unsettled).remove(&id);
        let mut entered = match unsettled {
            Some(entered) => entered,
            None => {
                let mut entered = match under_way.get(&id) {
                    Some(entered) => entered.clone(),
                    None => self.load(id).await?,
                };
                change(&mut entered);
                entered.delivery.changed = clock() / 1000;
                entered
            }
        };
        lock(&self.unsettled).insert(id, entered.clone());
        lease.check().await?;
        self.together(lease, &mut [&mut entered], beside).await?;
        lock(&self.unsettled).remove(&id);
        if let Some(known) = under_way.get_mut(&id) {
            *known = entered;
        }
        Ok(())
    }

    /// Whether an account was written and that was not confirmed: what it settles may be settled by now.
    pub fn is_unsettled(&self, id: DeliveryId) -> bool {
        lock(&self.unsettled).contains_key(&id)
    }

    async fn write(&self, lease: &Lease, entered: &mut Entered) -> Result<(), StoreError> {
        lease.check().await?;
        let stamp = lease.ledger_stamp();
        let mut insert = self.insert.clone();
        insert.set_timestamp(Some(stamp));
        entered.trust.rewritten(stamp);
        let (may, stored) = (|| lease.holds(), Stored::from(&*entered));
        request::execute_while(may, &self.session, &self.settings, &insert, stored).await?;
        Ok(())
    }

    /// Deliveries and what is written beside them, all or none: a logged batch, which the server finishes.
    async fn together(
        &self,
        lease: &Lease,
        deliveries: &mut [&mut Entered],
        beside: Vec<Beside>,
    ) -> Result<(), StoreError> {
        let stamp = lease.ledger_stamp();
        let mut batch = Batch::new(BatchType::Logged);
        batch.set_consistency(self.settings.ledger());
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
        let send = || self.session.batch(&batch, &values);
        let done = request::patiently_while(|| lease.holds(), "ledger", send).await;
        done.map(|_| ()).map_err(|error| request::told(&self.settings, &error))
    }

    /// The same for a dry run, which writes nothing.
    ///
    /// # Errors
    /// That of `change`; what the cluster says.
    pub async fn change_in_memory(
        &self,
        id: DeliveryId,
        change: impl FnOnce(&mut Entered) -> Result<(), StoreError>,
    ) -> Result<Entered, StoreError> {
        let mut entered = self.find(id).await?;
        change(&mut entered)?;
        self.under_way.lock().await.insert(id, entered.clone());
        Ok(entered)
    }

    /// Changes state, note or head; without a lease only in memory.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn amend(
        &self,
        lease: Option<&Lease>,
        id: DeliveryId,
        amendment: Amendment,
    ) -> Result<(), StoreError> {
        let head = amendment.head.clone();
        let change = |entered: &mut Entered| {
            let delivery = &mut entered.delivery;
            if let Some((state, detail)) = amendment.state {
                (delivery.state, delivery.detail) = (state, detail);
            }
            if delivery.state != DeliveryState::Loading {
                delivery.note = None;
            }
            delivery.noted = amendment.noted.unwrap_or(delivery.noted);
            delivery.head = amendment.head.unwrap_or_else(|| delivery.head.clone());
            Ok::<_, StoreError>(())
        };
        let Some(lease) = lease else { return self.change_in_memory(id, change).await.map(|_| ()) };
        if let Some(head) = head {
            self.note_head(lease, head, id).await?;
        }
        self.change(lease, id, change).await.map(|_| ())
    }

    /// A way to the delivery by its head.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn note_head(&self, lease: &Lease, head: String, id: DeliveryId) -> Result<(), StoreError> {
        lease.write(&self.head, (head, id.0)).await
    }
}
