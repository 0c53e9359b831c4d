//! Deliveries in the cluster. One row holds all that changes of a delivery, and is always written whole:
//! it never mixes two states, and the stamps of the lease decide between two writers.

mod begin;
mod count;
mod last;
mod rewind;
mod written;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scylla::client::session::Session;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::connect::Settings;
use super::lease::{Lease, clock};
use super::stored::{COLUMNS, Entered, Stored};
use super::{request, schema};
use crate::domain::{Delivery, DeliveryId, State};
use crate::ledger::{Amendment, Filter, Known};
use crate::store::StoreError;
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
    by_place: PreparedStatement,
    by_head: PreparedStatement,
    all: PreparedStatement,
    /// Deliveries under way, as they are in the store. Who changes one holds this: rows are written whole.
    under_way: tokio::sync::Mutex<HashMap<DeliveryId, Entered>>,
    /// Deliveries whose entry was not confirmed, by path: tried again, they are entered as they were.
    unconfirmed: Mutex<HashMap<String, Entered>>,
    /// Deliveries whose records from quarantine were not confirmed: tried again, nothing is counted twice.
    unsettled: Mutex<HashMap<DeliveryId, Entered>>,
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
            by_path: prepare(format!("SELECT id FROM {paths} WHERE path = ? ORDER BY generation DESC"))
                .await?,
            by_place: prepare(format!("SELECT id FROM {paths} WHERE path = ? AND generation = ?")).await?,
            by_head: prepare(format!("SELECT id FROM {heads} WHERE head = ?")).await?,
            all: prepare(format!("SELECT {columns} FROM {deliveries}")).await?,
            session,
            settings,
            under_way: tokio::sync::Mutex::default(),
            unconfirmed: Mutex::default(),
            unsettled: Mutex::default(),
            in_memory,
        })
    }

    /// The newest generation of every path.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn known(&self) -> Result<Vec<Known>, StoreError> {
        let mut newest: HashMap<String, (i32, i64, Known)> = HashMap::new();
        self.each(|stored| {
            let (path, place) = (stored.path().to_owned(), (stored.generation(), stored.id()));
            let mut known = stored.known();
            match newest.get_mut(&path) {
                Some((generation, id, other)) if (*generation, *id) > place => other.open += known.open,
                other => {
                    known.open += other.map_or(0, |(.., other)| other.open);
                    newest.insert(path, (place.0, place.1, known));
                }
            }
        })
        .await?;
        Ok(newest.into_values().map(|(.., known)| known).collect())
    }

    /// Deliveries in the order they were taken up.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn deliveries(&self, filter: &Filter) -> Result<Vec<Delivery>, StoreError> {
        let mut found = match filter {
            Filter::All => self.everything().await?,
            Filter::Path(path) => self.many(&self.by_path, path, usize::MAX).await?,
            Filter::Newest(path) => self.many(&self.by_path, path, 1).await?,
            Filter::Head(head) => {
                let mut alike = self.many(&self.by_head, head, usize::MAX).await?;
                alike = self.valid(alike).await?;
                alike.retain(|delivery| {
                    // The head is noted anew when a short file grows: an old note does not count.
                    delivery.head == *head
                        && matches!(
                            delivery.state,
                            State::Waiting | State::Loading | State::Loaded | State::Incomplete
                        )
                });
                alike
            }
        };
        // A dry run finds what it would have entered.
        if self.in_memory {
            let under_way = self.under_way.lock().await;
            let own = under_way.values().map(|entered| &entered.delivery).filter(|delivery| match filter {
                Filter::All => true,
                Filter::Path(path) | Filter::Newest(path) => delivery.path == *path,
                Filter::Head(head) => delivery.head == *head && delivery.state != State::Failed,
            });
            found.extend(own.cloned());
        }
        found.sort_by_key(|delivery| delivery.id);
        if matches!(filter, Filter::Newest(_)) && found.len() > 1 {
            found.drain(..found.len() - 1);
        }
        Ok(found)
    }

    async fn everything(&self) -> Result<Vec<Delivery>, StoreError> {
        // Two of one path and generation: the server finished the first one late, and it is not used.
        let mut found: BTreeMap<(String, u32), Delivery> = BTreeMap::new();
        self.each(|stored| {
            let delivery = stored.entered().delivery;
            let key = (delivery.path.clone(), delivery.generation);
            if found.get(&key).is_none_or(|other| other.id < delivery.id) {
                found.insert(key, delivery);
            }
        })
        .await?;
        Ok(found.into_values().collect())
    }

    /// Every row of the ledger, a page at a time.
    async fn each(&self, mut take: impl FnMut(Stored)) -> Result<(), StoreError> {
        let all = |stored: Stored| {
            take(stored);
            true
        };
        request::each(&self.session, &self.settings, self.all.clone(), (), all).await
    }

    async fn many(
        &self,
        statement: &PreparedStatement,
        key: &String,
        most: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        use futures::{StreamExt as _, TryStreamExt as _};
        let result = request::execute(&self.session, &self.settings, statement, (key,)).await?;
        let ids: Vec<(i64,)> = request::parsed(&self.settings, result)?;
        let ids = ids.into_iter().take(most).map(|(id,)| DeliveryId(id));
        let reads: Vec<_> = ids.map(|id| self.by_id(id)).collect();
        let found: Vec<Option<Entered>> =
            futures::stream::iter(reads).buffered(TOGETHER).try_collect().await?;
        // An entry that is not there: the server has not finished the batch that makes it.
        Ok(found.into_iter().flatten().map(|entered| entered.delivery).collect())
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
        let told = change(&mut entered)?;
        entered.delivery.changed = clock() / 1000;
        self.write(lease, &mut entered).await?;
        if entered.delivery.state == State::Loading {
            under_way.insert(id, entered.clone());
        } else if kept {
            under_way.remove(&id);
        }
        Ok((entered, told))
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

    /// Changes state, note or head.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn amend(&self, lease: &Lease, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        let head = amendment.head.clone();
        let change = |entered: &mut Entered| {
            let delivery = &mut entered.delivery;
            if let Some((state, detail)) = amendment.state {
                (delivery.state, delivery.detail) = (state, detail);
            }
            if delivery.state != State::Loading {
                delivery.note = None;
            }
            delivery.noted = amendment.noted.unwrap_or(delivery.noted);
            delivery.head = amendment.head.unwrap_or_else(|| delivery.head.clone());
            Ok(())
        };
        if let Some(head) = head {
            self.note_head(lease, head, id).await?;
        }
        self.change::<_, StoreError>(lease, id, change).await.map(|_| ())
    }

    /// A way to the delivery by its head.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn note_head(&self, lease: &Lease, head: String, id: DeliveryId) -> Result<(), StoreError> {
        lease.write(&self.head, (head, id.0)).await
    }
}

/// What was entered stays true when a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
