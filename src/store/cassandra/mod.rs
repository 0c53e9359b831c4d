//! Cassandra and ScyllaDB: rows first, then the ledger, each under its own stamp.

mod account;
mod ahead;
mod anew;
mod apply;
mod cas;
mod cell;
mod check;
mod collisions;
pub mod connect;
mod hash;
mod holder;
mod keys;
mod lease;
mod ledger;
mod limits;
mod migrations;
mod quarantine;
mod query;
mod replay;
mod request;
mod retry;
mod rows;
mod saved;
pub mod schema;
mod stamps;
mod stored;
mod tails;
#[cfg(test)]
mod tests;
mod tls;
mod trust;
mod unchanged;
mod work;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scylla::client::session::Session;
use tokio::sync::Semaphore;
use tracing::warn;

use super::refusal::Refusals;
use super::{Access, Store, StoreError};
use crate::domain::{Delivery, DeliveryId, Fingerprint, Header, Plan, RowChunk, StampRange, Value};
use crate::fault;
use crate::health::Health;
use crate::ledger::{Amendment, Applied, Continuation, Cursor, Entry, Filter, Known, Page};
use crate::metrics;
use ahead::Ahead;
pub use check::Checked;
use collisions::Collisions;
use connect::Settings;
use lease::{Lease, Wait};
use ledger::Ledger;
use limits::Limit;
use quarantine::Quarantine;
use rows::{Pace, Writer};
use stamps::Authority;
use unchanged::Unchanged;

/// How long a schema that changes is waited for when the store is opened.
const AGREED: Duration = Duration::from_secs(30);

/// A store in a cluster.
pub struct CassandraStore {
    inner: Arc<Inner>,
}

/// What all parts of it share.
pub(crate) struct Inner {
    session: Arc<Session>,
    settings: Arc<Settings>,
    plan: Arc<Plan>,
    ledger: Ledger,
    reading: Quarantine,
    /// Without it nothing is written.
    writing: Option<Writing>,
    playing: replay::Playing,
}

/// What only a writer needs.
pub(crate) struct Writing {
    lease: Lease,
    stamps: Authority,
    tables: Unchanged,
    writers: Vec<Writer>,
    /// Refusals of each delivery and table.
    refusals: Mutex<Refusals>,
    pace: Pace,
    /// No larger request is sent, where that is known.
    limit: Option<Limit>,
    /// Requests that may be under way.
    permits: Semaphore,
    ahead: Ahead,
    quarantine: Quarantine,
    collisions: Collisions,
}

impl Writing {
    /// Hands out the next range of stamps.
    async fn hand_out(&self, first: u64, records: u64) -> Result<StampRange, StoreError> {
        self.stamps.hand_out(&self.lease, first, records).await
    }
}

impl CassandraStore {
    /// Opens the store.
    ///
    /// # Errors
    /// A cluster that cannot be reached or refuses us, tables of another shape, another writer.
    pub async fn open(settings: Settings, plan: Arc<Plan>, access: Access) -> Result<Self, StoreError> {
        let (settings, began) = (Arc::new(settings), Instant::now());
        loop {
            match Self::opened(Arc::clone(&settings), Arc::clone(&plan), access).await {
                // Another process makes tables: they stand in the schema, and not every node knows them yet.
                Err(StoreError::Changed { .. }) if began.elapsed() < AGREED => {
                    tokio::time::sleep(Duration::from_millis(200 + fastrand::u64(0..300))).await;
                }
                opened => return opened.map_err(|error| stood_by(error, access)),
            }
        }
    }

    async fn opened(settings: Arc<Settings>, plan: Arc<Plan>, access: Access) -> Result<Self, StoreError> {
        let session = Arc::new(connect::connect(&settings).await?);
        let (state, fits) = looked(&session, &settings, &plan, access).await?;
        whole(&session, &settings, &plan, &state).await?;
        let writing = match access {
            Access::Write { create, standby } => {
                if let Some(missing) = state.missing(&plan).filter(|_| !create) {
                    return Err(missing_told(&settings, &missing));
                }
                let wait = if standby { Wait::Standby } else { Wait::No };
                Some(Self::for_writing(&session, &settings, &plan, (state, fits), wait, create).await?)
            }
            _ if state.lacks_ledger() => return Err(StoreError::Missing(settings.name())),
            Access::Read | Access::Dry => None,
        };
        check_format(&session, &settings, writing.is_some()).await?;
        let ledger = Ledger::new(Arc::clone(&session), Arc::clone(&settings), access == Access::Dry).await?;
        let reading = Quarantine::new(Arc::clone(&session), Arc::clone(&settings)).await?;
        let inner =
            Inner { session, settings, plan, ledger, reading, writing, playing: replay::Playing::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn for_writing(
        session: &Arc<Session>,
        settings: &Arc<Settings>,
        plan: &Arc<Plan>,
        (state, mut fits): (schema::State, Result<(), StoreError>),
        wait: Wait,
        create: bool,
    ) -> Result<Writing, StoreError> {
        if state.lacks_lease() {
            fits?;
            Self::make_lease(session, settings, plan, &state).await?;
            fits = Ok(());
        }
        let (s, t, p) = (|| Arc::clone(session), || Arc::clone(settings), || Arc::clone(plan));
        let lease =
            Lease::take(s(), t(), format!("{} {}", schema::FORMAT, plan.fingerprint.0), wait, fits).await?;
        let (found, stamps) = lease.during(Self::make(session, settings, plan, &lease, create)).await?;
        let limit = Limit::smallest(session, settings).await;
        if let Some(told) = limit.as_ref().and_then(|limit| limit.warning(settings.max_record_bytes)) {
            warn!("{told}");
        }
        let mut writers = Vec::new();
        for table in &plan.tables {
            writers.push(Writer::new(session, settings, plan, table).await?);
        }
        Ok(Writing {
            lease,
            stamps,
            tables: Unchanged::new(found),
            writers,
            refusals: Mutex::default(),
            pace: Pace::new(settings.rows_per_second),
            limit,
            permits: Semaphore::new(settings.in_flight),
            ahead: Ahead::default(),
            quarantine: Quarantine::new(s(), t()).await?,
            collisions: Collisions::new(s(), t(), p()).await?,
        })
    }

    /// Makes what is missing of ledger and tables, and tells of the tables.
    async fn make(
        session: &Arc<Session>,
        settings: &Arc<Settings>,
        plan: &Plan,
        lease: &Lease,
        create: bool,
    ) -> Result<(Vec<schema::Identity>, Authority), StoreError> {
        // Looked at again: another may have made them before we had the lease.
        let state = schema::look(session, settings, plan, true).await?;
        if !state.missing_ledger.is_empty() {
            schema::make_ledger(session, settings, &state.missing_ledger).await?;
            fault::step("ledger made");
            schema::mark(session, settings).await?;
        }
        if state.missing_stamps {
            schema::make_stamps(session, settings).await?;
        }
        let stamps = Authority::open(Arc::clone(session), Arc::clone(settings), lease).await?;
        let format = stored_format(session, settings).await?;
        if let Some(format) = format.filter(|format| create && *format < schema::FORMAT) {
            migrations::bring_up(session, settings, lease, &stamps, format).await?;
        }
        check_format(session, settings, false).await?;
        let found = anew::tables(session, settings, plan, lease, &state.missing_tables).await?;
        Ok((found, stamps))
    }

    /// Two that come at the same time must not both make the same table: who sees that another has begun
    /// waits for it. With the lease only one of them makes the rest.
    async fn make_lease(
        session: &Session,
        settings: &Settings,
        plan: &Plan,
        state: &schema::State,
    ) -> Result<(), StoreError> {
        if state.missing_keyspaces.is_empty() {
            let pause = Duration::from_millis(200 + fastrand::u64(0..800));
            tokio::time::sleep(pause).await;
        }
        let state = schema::look(session, settings, plan, true).await?;
        schema::make_lease(session, settings, &state).await
    }

    /// Looks at the cluster as opening for writing would, and makes nothing.
    ///
    /// # Errors
    /// That it cannot be reached, with the cause.
    pub async fn check(settings: &Settings, plan: &Plan, create: bool) -> Result<Checked, StoreError> {
        let (session, settings) = (Arc::new(connect::connect(settings).await?), Arc::new(settings.clone()));
        check::checked(&session, &settings, plan, create).await
    }
}

/// Looks at the schema, and compares it with the declaration. A standby whose tables do not fit is not refused here:
/// the process that writes may have another declaration by now, and this one not yet.
async fn looked(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
    access: Access,
) -> Result<(schema::State, Result<(), StoreError>), StoreError> {
    match schema::look(session, settings, plan, access != Access::Read).await {
        Err(error @ StoreError::Shape { .. }) if matches!(access, Access::Write { standby: true, .. }) => {
            Ok((schema::look(session, settings, plan, false).await?, Err(error)))
        }
        looked => Ok((looked?, Ok(()))),
    }
}

/// Who loses the right to write before anything was written waits for it again.
fn stood_by(error: StoreError, access: Access) -> StoreError {
    match (error, access) {
        (StoreError::Lost(store), Access::Write { standby: true, .. }) => {
            StoreError::Standby { store, holder: "another process".to_owned(), differs: false }
        }
        (other, _) => other,
    }
}

fn missing_told(settings: &Settings, missing: &str) -> StoreError {
    StoreError::Shape {
        store: settings.name(),
        what: format!("{missing} does not exist, and store.create_schema is false"),
        next: "make it (`needledrop schema --apply`), or set store.create_schema to true".to_owned(),
    }
}

/// Refuses a ledger of which a table is gone: made anew it would know of nothing.
async fn whole(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
    state: &schema::State,
) -> Result<(), StoreError> {
    if state.missing_ledger.is_empty() {
        return Ok(());
    }
    let lacks = |at: usize| state.missing_ledger.contains(&at);
    let format = match (lacks(schema::DELIVERIES), lacks(schema::META)) {
        // It is marked when all of it is there.
        (_, false) => stored_format(session, settings).await?.filter(|format| *format <= schema::FORMAT),
        (false, true) => (!is_empty(session, settings).await?).then_some(schema::FORMAT),
        (true, true) => None,
    };
    let Some(format) = format else { return Ok(()) };
    // Another may have made it since we looked.
    let state = schema::look(session, settings, plan, false).await?;
    let gone = state.gone(format);
    gone.map_or(Ok(()), |name| Err(damaged(settings, &format!("table {name} is gone"))))
}

fn damaged(settings: &Settings, what: &str) -> StoreError {
    StoreError::Shape {
        store: settings.name(),
        what: format!("its ledger is damaged: {what}"),
        next: "restore the needledrop_ tables from a backup, or drop them and load the kept files anew"
            .to_owned(),
    }
}

async fn stored_format(session: &Session, settings: &Settings) -> Result<Option<i64>, StoreError> {
    let place = schema::ledger_place(settings, "needledrop_meta");
    let cql = format!("SELECT value FROM {place} WHERE key = 'format'");
    let asked = request::of_ledger(settings, cql);
    let stored = match request::rows::<(Option<String>,)>(session, settings, asked, ()).await {
        // It is being made: it stands in the schema, and cannot be asked yet.
        Err(StoreError::Changed { .. }) => return Ok(None),
        stored => stored?,
    };
    Ok(stored.first().and_then(|(value,)| value.as_ref()).and_then(|value| value.parse().ok()))
}

async fn check_format(session: &Session, settings: &Settings, mark: bool) -> Result<(), StoreError> {
    let shape =
        |what: String, next: &str| StoreError::Shape { store: settings.name(), what, next: next.to_owned() };
    match stored_format(session, settings).await? {
        Some(schema::FORMAT) => Ok(()),
        Some(older) if older < schema::FORMAT => Err(shape(
            format!("its ledger has format {older}, this version uses {}", schema::FORMAT),
            "migrate it with `needledrop schema --apply`, as a role that may CREATE tables in the keyspace of the \
             ledger, and ALTER and MODIFY the needledrop_ tables",
        )),
        Some(other) => Err(shape(
            format!("its ledger has format {other}, this version knows {}", schema::FORMAT),
            "use the version of needledrop that made it, or a newer one",
        )),
        // Made by hand, or its making was cut short.
        None if is_empty(session, settings).await? => {
            if mark {
                schema::mark(session, settings).await
            } else {
                Ok(())
            }
        }
        None => Err(damaged(settings, "needledrop_meta has no format")),
    }
}

/// Whether nothing was ever entered.
async fn is_empty(session: &Session, settings: &Settings) -> Result<bool, StoreError> {
    let place = schema::ledger_place(settings, "needledrop_deliveries");
    let cql = format!("SELECT id FROM {place} LIMIT 1");
    let asked = request::of_ledger(settings, cql);
    match request::rows::<(i64,)>(session, settings, asked, ()).await {
        // As with the format: it is being made.
        Err(StoreError::Changed { .. }) => Ok(true),
        rows => Ok(rows?.is_empty()),
    }
}

impl Inner {
    fn tell_driver(&self) {
        let state = self.session.get_cluster_state();
        let nodes = state.get_nodes_info();
        let connected = nodes.iter().filter(|node| node.is_connected()).count();
        metrics::nodes(connected, nodes.len() - connected);
        let driver = self.session.get_metrics();
        metrics::driver(
            driver.get_total_connections(),
            driver.get_connection_timeouts(),
            driver.get_request_timeouts(),
        );
    }

    fn broken(&self, what: String) -> StoreError {
        StoreError::Broken { store: self.settings.name(), what }
    }

    fn writer(&self) -> Result<&Writing, StoreError> {
        self.writing.as_ref().ok_or_else(|| self.broken("opened for reading only".to_owned()))
    }
}

impl Store for CassandraStore {
    type Sent = ahead::Sent;

    async fn known(&self, attempt: Fingerprint) -> Result<Vec<Known>, StoreError> {
        self.inner.ledger.known(&attempt).await
    }

    async fn deliveries(&self, filter: Filter, cursor: Cursor) -> Result<Page<Delivery, Cursor>, StoreError> {
        self.inner.ledger.page(&filter, cursor).await
    }

    async fn each(&self, take: &mut (dyn FnMut(Delivery) + Send)) -> Result<(), StoreError> {
        self.inner.ledger.each(take).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        self.inner.ledger.read(id).await
    }

    async fn has_content(&self, head: String, len: Option<u64>) -> Result<bool, StoreError> {
        self.inner.ledger.has_content(&head, len).await
    }

    async fn take_up(&self, entry: Entry) -> Result<Delivery, StoreError> {
        match &self.inner.writing {
            Some(writing) => self.inner.ledger.take_up(writing, &self.inner.plan, &entry).await,
            None => self.inner.ledger.take_up_in_memory(&self.inner.plan, &entry).await,
        }
    }

    async fn reopen(&self, id: DeliveryId, how: Continuation) -> Result<Option<Delivery>, StoreError> {
        self.inner.ledger.reopen(self.inner.writing.as_ref(), &self.inner.plan, id, how).await
    }

    async fn extend(&self, id: DeliveryId, first: u64, records: u64) -> Result<StampRange, StoreError> {
        self.inner.ledger.extend(self.inner.writing.as_ref(), id, first, records).await
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        let lease = self.inner.writing.as_ref().map(|writing| &writing.lease);
        self.inner.ledger.amend(lease, id, amendment).await
    }

    async fn send(&self, chunks: Arc<Vec<RowChunk>>) -> Result<ahead::Sent, StoreError> {
        ahead::send(&self.inner, &chunks).await
    }

    async fn apply(
        &self,
        chunks: Arc<Vec<RowChunk>>,
        sent: &ahead::Sent,
    ) -> Result<Vec<Applied>, StoreError> {
        apply::chunks(&self.inner, &chunks, sent).await
    }

    async fn replay(&self, table: usize, chunk: Arc<RowChunk>, first: bool) -> Result<Applied, StoreError> {
        replay::chunk(&self.inner, table, &chunk, first).await
    }

    async fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
    ) -> Result<Vec<Vec<Value<'static>>>, StoreError> {
        query::rows(&self.inner, table, &key).await
    }

    async fn count(&self, table: usize) -> Result<u64, StoreError> {
        query::count(&self.inner, table).await
    }

    async fn quarantined(
        &self,
        id: DeliveryId,
        filter: crate::quarantine::Filter,
        from: u64,
    ) -> Result<Page<crate::quarantine::Entry, u64>, StoreError> {
        let entered = self.inner.ledger.find(id).await?;
        self.inner.reading.page(&entered, &filter, from).await
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        self.inner.reading.header(id).await
    }

    async fn retry(&self, retried: Arc<crate::quarantine::Retried>) -> Result<Applied, StoreError> {
        retry::retried(&self.inner, &retried).await
    }

    async fn discard(&self, id: DeliveryId, records: Vec<u64>) -> Result<(), StoreError> {
        retry::discarded(&self.inner, id, &records).await
    }

    /// Renews the lease; ends only when another has it.
    async fn tend(&self, health: &Health) -> StoreError {
        let Some(writing) = &self.inner.writing else { return std::future::pending().await };
        let tell = async {
            loop {
                self.inner.tell_driver();
                writing.lease.tell(health);
                tokio::time::sleep(writing.lease.pause() / 4).await;
            }
        };
        tokio::select! {
            lost = writing.lease.tend() => lost,
            never = tell => never,
        }
    }

    async fn close(&self) {
        if let Ok(writing) = self.inner.writer() {
            writing.lease.release().await;
        }
    }
}
