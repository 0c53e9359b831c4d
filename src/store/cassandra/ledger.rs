//! Deliveries in the cluster. One row holds all that changes of a delivery, and is always written whole:
//! it never mixes two states, and the stamps of the lease decide between two writers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scylla::client::session::Session;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::apply::without_provisional;
use super::connect::Settings;
use super::lease::{Lease, clock};
use super::stored::{COLUMNS, Entered, Stored};
use super::{Writing, request, schema};
use crate::domain::{
    Delivery, DeliveryId, Fingerprint, Mark, Plan, Receipt, Stamp, StampRange, Stamps, State, TableCount,
};
use crate::fault;
use crate::ledger::{Amendment, Continuation, Entry, Filter, Known, Verdict};
use crate::store::{NOTHING_ASSUMED, StoreError};

/// Deliveries that are read at once.
const TOGETHER: usize = 64;

/// What the ledger is asked and told.
pub struct Ledger {
    session: Arc<Session>,
    settings: Arc<Settings>,
    insert: PreparedStatement,
    path: PreparedStatement,
    head: PreparedStatement,
    by_id: PreparedStatement,
    by_path: PreparedStatement,
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
        use futures::TryStreamExt as _;
        let broken = |what: String| StoreError::Broken { store: self.settings.name(), what };
        let passing = |what: String| StoreError::Busy {
            store: self.settings.name(),
            reason: "read",
            what,
            hint: "see the logs of the cluster if it lasts",
        };
        let pager = self.session.execute_iter(self.all.clone(), ()).await;
        let pager = pager.map_err(|error| passing(error.to_string()))?;
        let mut rows = pager.rows_stream::<Stored>().map_err(|error| broken(error.to_string()))?;
        while let Some(stored) = rows.try_next().await.map_err(|error| passing(error.to_string()))? {
            take(stored);
        }
        Ok(())
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
    pub async fn change<T>(
        &self,
        lease: &Lease,
        id: DeliveryId,
        change: impl FnOnce(&mut Entered) -> Result<T, StoreError>,
    ) -> Result<(Entered, T), StoreError> {
        let mut under_way = self.under_way.lock().await;
        let kept = under_way.contains_key(&id);
        let mut entered = match under_way.get(&id) {
            Some(entered) => entered.clone(),
            None => self.load(id).await?,
        };
        let told = change(&mut entered)?;
        entered.delivery.changed = clock() / 1000;
        self.write(lease, &entered).await?;
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
        let entered = match unsettled {
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
        self.together(lease, std::iter::once(self.as_it_is(&entered)).chain(beside).collect()).await?;
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

    async fn write(&self, lease: &Lease, entered: &Entered) -> Result<(), StoreError> {
        lease.check().await?;
        let mut insert = self.insert.clone();
        insert.set_timestamp(Some(lease.ledger_stamp()));
        request::execute(&self.session, &self.settings, &insert, Stored::from(entered)).await?;
        Ok(())
    }

    /// Enters a delivery; those before it that were not finished are replaced.
    ///
    /// # Errors
    /// `Ahead` when there are no stamps yet; what the cluster says.
    pub async fn take_up(&self, lease: &Lease, plan: &Plan, entry: &Entry) -> Result<Delivery, StoreError> {
        let empty = match entry.verdict {
            Verdict::Assumed { .. } => self.without_rows(plan).await?,
            _ => Vec::new(),
        };
        let mut under_way = self.under_way.lock().await;
        let mut earlier = self.many(&self.by_path, &entry.path, usize::MAX).await?;
        let unconfirmed = lock(&self.unconfirmed).remove(&entry.path);
        let same = unconfirmed
            .filter(|before| before.delivery.head == entry.head && before.delivery.noted == entry.noted);
        let entered = match same {
            Some(before) => before,
            None => {
                let generation = earlier.iter().map(|delivery| delivery.generation).max().unwrap_or(0) + 1;
                let mut new = self.new_delivery(lease, plan, entry, generation).await?;
                // A table without a row has none of another program either: it is behind.
                for table in &empty {
                    count_of(&mut new.delivery.receipt, table).fingerprint = Fingerprint(String::new());
                }
                new
            }
        };
        earlier.retain(|delivery| delivery.id != entered.delivery.id);
        let generation = entered.delivery.generation;
        let mut replaced = Vec::new();
        for delivery in earlier {
            if matches!(delivery.state, State::Loading | State::Incomplete | State::Waiting) {
                let mut old = match under_way.get(&delivery.id) {
                    Some(old) => old.clone(),
                    None => self.load(delivery.id).await?,
                };
                replace(&mut old.delivery, generation);
                replaced.push(old);
            }
        }
        lease.check().await?;
        fault::step("take_up before the batch");
        lock(&self.unconfirmed).insert(entry.path.clone(), entered.clone());
        self.enter(lease, &entered, &replaced).await?;
        lock(&self.unconfirmed).remove(&entry.path);
        fault::step("take_up after the batch");
        for old in &replaced {
            under_way.remove(&old.delivery.id);
        }
        if entered.delivery.state == State::Loading {
            under_way.insert(entered.delivery.id, entered.clone());
        }
        Ok(entered.delivery)
    }

    /// Names of the tables that have no row.
    async fn without_rows(&self, plan: &Plan) -> Result<Vec<String>, StoreError> {
        let empty = schema::empty_tables(&self.session, &self.settings, plan).await?;
        if empty.len() < plan.tables.len() {
            return Ok(empty);
        }
        let (what, next) = NOTHING_ASSUMED;
        let (what, next) = (what.to_owned(), next.to_owned());
        Err(StoreError::Shape { store: self.settings.name(), what, next })
    }

    /// Every delivery takes a place in the order, also one that has nothing to write: it is its id.
    async fn new_delivery(
        &self,
        lease: &Lease,
        plan: &Plan,
        entry: &Entry,
        generation: u32,
    ) -> Result<Entered, StoreError> {
        let range = lease.hand_out(0, stamped(&entry.verdict).unwrap_or(1)).await?;
        let mut entered = entered(plan, entry, DeliveryId(range.base.0), generation);
        if stamped(&entry.verdict).is_some() {
            entered.delivery.stamps = Stamps::new(vec![range]);
        }
        Ok(entered)
    }

    /// A delivery and the ways to it.
    async fn enter(&self, lease: &Lease, new: &Entered, replaced: &[Entered]) -> Result<(), StoreError> {
        let delivery = &new.delivery;
        let generation = i32::try_from(delivery.generation).unwrap_or(i32::MAX);
        let mut all = vec![
            self.as_it_is(new),
            (self.path.clone(), Written::Path(delivery.path.clone(), generation, delivery.id.0)),
            (self.head.clone(), Written::Head(delivery.head.clone(), delivery.id.0)),
        ];
        all.extend(replaced.iter().map(|old| self.as_it_is(old)));
        self.together(lease, all).await
    }

    fn as_it_is(&self, entered: &Entered) -> Beside {
        (self.insert.clone(), Written::Delivery(Box::new(Stored::from(entered))))
    }

    /// All or none: a logged batch, which the server finishes.
    async fn together(&self, lease: &Lease, all: Vec<Beside>) -> Result<(), StoreError> {
        let mut batch = Batch::new(BatchType::Logged);
        batch.set_consistency(self.settings.ledger());
        batch.set_is_idempotent(true);
        batch.set_timestamp(Some(lease.ledger_stamp()));
        let mut values = Vec::with_capacity(all.len());
        for (statement, written) in all {
            batch.append_statement(statement);
            values.push(written);
        }
        let done = request::patiently("ledger", || self.session.batch(&batch, &values)).await;
        done.map(|_| ()).map_err(|error| request::told(&self.settings, &error))
    }

    /// Goes on with a delivery; its provisional last record is taken back first. What it wrote stays hidden,
    /// so the record, and what follows it, needs newer stamps.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn reopen(
        &self,
        writing: Option<&Writing>,
        id: DeliveryId,
        Continuation { noted, head, detail }: Continuation,
    ) -> Result<Delivery, StoreError> {
        let before = self.find(id).await?;
        let reopen = |entered: &mut Entered| {
            let delivery = &mut entered.delivery;
            (delivery.state, delivery.detail) = (State::Loading, detail);
            (delivery.noted, delivery.head) = (noted, head.clone());
            Ok(())
        };
        let Some(writing) = writing else {
            let change = |entered: &mut Entered| {
                without_provisional(entered);
                reopen(entered)
            };
            return Ok(self.change_in_memory(id, change).await?.delivery);
        };
        if head != before.delivery.head {
            self.note_head(&writing.lease, head.clone(), id).await?;
        }
        let Some((mark, _)) = &before.delivery.provisional else {
            if matches!(before.delivery.state, State::Loading | State::Replaced) {
                // Saved for a step that the ledger never took: this time they may not be refused.
                writing.lease.check().await?;
                let reach = before.delivery.reach.record;
                writing.quarantine.remove_from(&writing.lease, id, reach).await?;
            }
            return Ok(self.change(&writing.lease, id, reopen).await?.0.delivery);
        };
        writing.lease.check().await?;
        // Whatever became of it: an older stamp could lie under what another delivery took back there.
        let left = before.delivery.stamps.reach().saturating_sub(mark.record).max(1);
        let range = writing.lease.hand_out(mark.record, left).await?;
        writing.quarantine.remove_from(&writing.lease, id, mark.record).await?;
        writing.provisional.take_back(&writing.lease, &before.delivery).await?;
        fault::step("reopen before the ledger");
        let change = |entered: &mut Entered| {
            without_provisional(entered);
            entered.delivery.stamps.push(range);
            reopen(entered)
        };
        let reopened = self.change(&writing.lease, id, change).await?.0.delivery;
        fault::step("reopen after the ledger");
        writing.provisional.forget(&writing.lease, id).await?;
        Ok(reopened)
    }

    /// A further range of stamps.
    ///
    /// # Errors
    /// `Ahead` when there are none yet; what the cluster says.
    pub async fn extend(
        &self,
        writing: Option<&Writing>,
        id: DeliveryId,
        first: u64,
        records: u64,
    ) -> Result<StampRange, StoreError> {
        let Some(writing) = writing else { return in_memory_range(first, records) };
        let range = writing.lease.hand_out(first, records).await?;
        let change = |entered: &mut Entered| {
            entered.delivery.stamps.push(range);
            Ok(())
        };
        self.change(&writing.lease, id, change).await?;
        Ok(range)
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

    /// The same for a dry run.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn take_up_in_memory(&self, plan: &Plan, entry: &Entry) -> Result<Delivery, StoreError> {
        let earlier = self.many(&self.by_path, &entry.path, usize::MAX).await?;
        let generation = earlier.iter().map(|delivery| delivery.generation).max().unwrap_or(0) + 1;
        let mut under_way = self.under_way.lock().await;
        let last = under_way.values().map(|entered| entered.delivery.id.0 + 2).max().unwrap_or(0);
        let range = in_memory_range(0, stamped(&entry.verdict).unwrap_or(1))?;
        let mut entered = entered(plan, entry, DeliveryId(range.base.0.max(last)), generation);
        if stamped(&entry.verdict).is_some() {
            entered.delivery.stamps = Stamps::new(vec![range]);
        }
        under_way.insert(entered.delivery.id, entered.clone());
        Ok(entered.delivery)
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
            delivery.noted = amendment.noted.unwrap_or(delivery.noted);
            delivery.head = amendment.head.unwrap_or_else(|| delivery.head.clone());
            Ok(())
        };
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
        lease.check().await?;
        let mut statement = self.head.clone();
        statement.set_timestamp(Some(lease.ledger_stamp()));
        request::execute(&self.session, &self.settings, &statement, (head, id.0)).await.map(|_| ())
    }
}

/// What was entered stays true when a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stamps that are never written.
fn in_memory_range(first: u64, records: u64) -> Result<StampRange, StoreError> {
    let range = StampRange::after(Stamp(0), Stamp(clock()), first, records);
    range.map_err(|wait| StoreError::Ahead(std::time::Duration::from_micros(wait)))
}

fn replace(delivery: &mut Delivery, generation: u32) {
    delivery.state = State::Replaced;
    delivery.detail = format!(
        "its bytes went away after byte {}; generation {generation} took its place",
        delivery.reach.offset
    );
    delivery.changed = clock() / 1000;
}

/// How many records it needs stamps for.
fn stamped(verdict: &Verdict) -> Option<u64> {
    match verdict {
        Verdict::Load { records } => Some(*records),
        Verdict::Assumed { reach, .. } => Some(reach.record),
        Verdict::Duplicate { .. } | Verdict::Incomplete { .. } | Verdict::Failed { .. } => None,
    }
}

/// What a delivery begins with.
fn account(verdict: &Verdict, tables: Vec<TableCount>) -> Receipt {
    let Verdict::Assumed { reach, skipped, .. } = verdict else {
        return Receipt { tables, ..Receipt::default() };
    };
    let (records, skipped, loaded) = (reach.record, *skipped, reach.record - skipped);
    let parts = vec![reach.offset];
    Receipt { records, loaded, skipped, assumed: loaded, tables, parts, ..Receipt::default() }
}

fn entered(plan: &Plan, entry: &Entry, id: DeliveryId, generation: u32) -> Entered {
    let nothing = (Mark::default(), blake3::hash(b"").to_hex().to_string());
    let (state, detail, same_as, (reach, hash)) = match &entry.verdict {
        Verdict::Load { .. } => (State::Loading, String::new(), None, nothing),
        Verdict::Incomplete { detail } => (State::Incomplete, detail.clone(), None, nothing),
        Verdict::Failed { detail } => (State::Failed, detail.clone(), None, nothing),
        Verdict::Duplicate { of, same_as, reach, hash } => (
            State::Duplicate,
            format!("the same bytes as {same_as}: nothing was written"),
            Some(*of),
            (Mark { record: 0, ..*reach }, hash.clone()),
        ),
        Verdict::Assumed { reach, hash, detail, .. } => {
            (State::Loaded, detail.clone(), None, (*reach, hash.clone()))
        }
    };
    let loads = !matches!(entry.verdict, Verdict::Duplicate { .. } | Verdict::Failed { .. });
    let tables =
        plan.tables.iter().filter(|_| loads).map(|table| table_count(&table.name, &table.fingerprint));
    let mut tables: Vec<TableCount> = tables.collect();
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    let now = clock() / 1000;
    let delivery = Delivery {
        id,
        path: entry.path.clone(),
        generation,
        state,
        detail,
        same_as,
        reach,
        hash,
        head: entry.head.clone(),
        provisional: None,
        noted: entry.noted,
        stamps: Stamps::default(),
        fingerprint: entry.fingerprint.clone(),
        receipt: account(&entry.verdict, tables),
        taken_up: now,
        changed: now,
    };
    Entered { delivery, attempt: entry.attempt.clone(), outcome: String::new() }
}

pub fn table_count(table: &str, fingerprint: &Fingerprint) -> TableCount {
    TableCount {
        table: table.to_owned(),
        rows: 0,
        refused: 0,
        collisions: 0,
        estimated: false,
        fingerprint: fingerprint.clone(),
    }
}

/// The count of a table in a receipt, entered where it is new.
pub fn count_of<'r>(receipt: &'r mut Receipt, table: &str) -> &'r mut TableCount {
    let at = match receipt.tables.binary_search_by(|count| count.table.as_str().cmp(table)) {
        Ok(at) => at,
        Err(at) => {
            receipt.tables.insert(at, table_count(table, &Fingerprint(String::new())));
            at
        }
    };
    &mut receipt.tables[at]
}

/// A statement of a batch with its values.
pub type Beside = (PreparedStatement, Written);

/// What a batch of the ledger writes.
pub enum Written {
    Delivery(Box<Stored>),
    Path(String, i32, i64),
    Head(String, i64),
    /// State, delivery and record of an entry in quarantine.
    Fate(&'static str, i64, i64),
    /// Delivery, table, place and hashes.
    Keys((i64, String, i64, Vec<u8>)),
}

impl scylla::serialize::row::SerializeRow for Written {
    fn serialize(
        &self,
        context: &scylla::serialize::row::RowSerializationContext<'_>,
        writer: &mut scylla::serialize::writers::RowWriter<'_>,
    ) -> Result<(), scylla::serialize::SerializationError> {
        match self {
            Self::Delivery(stored) => stored.serialize(context, writer),
            Self::Path(path, generation, id) => (path, generation, id).serialize(context, writer),
            Self::Head(head, id) => (head, id).serialize(context, writer),
            Self::Fate(fate, id, record) => (fate, id, record).serialize(context, writer),
            Self::Keys(keys) => keys.serialize(context, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}
