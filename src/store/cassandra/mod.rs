//! The store in a Cassandra or ScyllaDB cluster. Rows are written first, under the stamps of their records. The ledger
//! follows, under the stamps of the lease.

mod apply;
mod cas;
mod cell;
mod check;
mod collisions;
pub mod connect;
mod hash;
mod keys;
mod lease;
mod ledger;
mod limits;
mod migrations;
mod quarantine;
mod query;
mod request;
mod rows;
mod saved;
pub mod schema;
mod stamps;
mod tails;
#[cfg(test)]
mod tests;
mod tls;
mod trust;
mod recreated_tables;
mod schema_guard;
mod send;
mod batching;
mod key_counts;
mod delivery_row;
mod lease_owner;
mod backfill;
mod replay;
pub mod settings;
mod shared;
mod format_check;
mod progress;
mod send_window;
mod backfill_totals;
pub mod config;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use check::Checked;
use collisions::Collisions;
use lease::{Lease, Wait};
use ledger::LedgerTables;
use limits::SizeLimit;
use quarantine::Quarantine;
use rows::{Pace, Writer};
use scylla::client::session::Session;
use stamps::Authority;
use tokio::sync::Semaphore;
use tracing::warn;

use super::{Access, ChunkWriter, Ledger, QuarantineStore, RowReader, Store, StoreError};
use crate::domain::ledger::{
    Amendment, Applied, Continuation, Cursor, DeliveryFilter, KnownPath, NewDelivery, Page,
};
use crate::domain::quarantine::{EntryFilter, QuarantineEntry, Replay};
use crate::domain::{Delivery, DeliveryId, Fingerprint, Header, Plan, RowChunk, StampRange, Value};
use crate::store::cassandra::format_check::{check_format, missing_told, stored_format, whole};
use crate::store::cassandra::schema_guard::Unchanged;
use crate::store::cassandra::send_window::Ahead;
use crate::store::cassandra::settings::Settings;
use crate::store::cassandra::shared::{Inner, Writing};
use crate::store::failpoint;
use crate::store::observer::StoreObserver;

/// How long opening the store waits for the nodes to agree on a schema that is being changed.
const AGREED: Duration = Duration::from_secs(30);

/// A store in a Cassandra or ScyllaDB cluster.
pub struct CassandraStore {
    inner: Arc<Inner>,
}

impl CassandraStore {
    /// Opens the store.
    ///
    /// # Errors
    /// Returns an error if the cluster cannot be reached or denies access, if a table has another shape than declared,
    /// or if another process holds the lease.
    pub async fn open(settings: Settings, plan: Arc<Plan>, access: Access) -> Result<Self, StoreError> {
        let (settings, began) = (Arc::new(settings), Instant::now());
        loop {
            match Self::opened(Arc::clone(&settings), Arc::clone(&plan), access).await {
                // Another process is creating tables. They are in the schema, but not every node knows them yet.
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
        let ledger =
            LedgerTables::new(Arc::clone(&session), Arc::clone(&settings), access == Access::Dry).await?;
        let reading = Quarantine::new(Arc::clone(&session), Arc::clone(&settings)).await?;
        let inner = Inner {
            session,
            settings,
            plan,
            ledger,
            reading,
            writing,
            playing: backfill_totals::Playing::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn for_writing(
        session: &Arc<Session>,
        settings: &Arc<Settings>,
        plan: &Arc<Plan>,
        (state, mut fits): (schema::SchemaState, Result<(), StoreError>),
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
        let limit = SizeLimit::smallest(session, settings).await;
        if let Some(told) = limit.as_ref().and_then(|limit| limit.warning(settings.limits.max_record_bytes)) {
            warn!("{told}");
        }
        let mut writers = Vec::new();
        for table in &plan.tables {
            writers.push(Writer::new(session, settings, plan, table).await?);
        }
        Ok(Writing {
            lease,
            stamps,
            tables: Unchanged::new(s(), t(), p(), found),
            writers,
            refusals: Mutex::default(),
            pace: Pace::new(settings.limits.rows_per_second),
            limit,
            permits: Semaphore::new(settings.limits.in_flight),
            ahead: Ahead::default(),
            quarantine: Quarantine::new(s(), t()).await?,
            collisions: Collisions::new(s(), t(), p()).await?,
        })
    }

    /// Creates the missing tables, and migrates the ledger. Returns the identities of the declared tables and the
    /// source of their stamps.
    async fn make(
        session: &Arc<Session>,
        settings: &Arc<Settings>,
        plan: &Plan,
        lease: &Lease,
        create: bool,
    ) -> Result<(Vec<schema::Identity>, Authority), StoreError> {
        // Look again: another process may have created tables before we had the lease.
        let state = schema::look(session, settings, plan, true).await?;
        if !state.missing_ledger.is_empty() {
            schema::make_ledger(session, settings, &state.missing_ledger).await?;
            failpoint::step("ledger made");
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
        let found = recreated_tables::tables(session, settings, plan, lease, &state.missing_tables).await?;
        Ok((found, stamps))
    }

    /// Creates the keyspaces and the table of the lease. Two processes that start at the same time must not both create
    /// a table. A process that sees the keyspaces therefore waits for a moment, in case another process has begun. The
    /// holder of the lease creates everything else.
    async fn make_lease(
        session: &Session,
        settings: &Settings,
        plan: &Plan,
        state: &schema::SchemaState,
    ) -> Result<(), StoreError> {
        if state.missing_keyspaces.is_empty() {
            let pause = Duration::from_millis(200 + fastrand::u64(0..800));
            tokio::time::sleep(pause).await;
        }
        let state = schema::look(session, settings, plan, true).await?;
        schema::make_lease(session, settings, &state).await
    }

    /// Checks the cluster as opening the store for writing would, but creates nothing.
    ///
    /// # Errors
    /// Returns an error with the cause if the cluster cannot be reached or rejects a request.
    pub async fn check(settings: &Settings, plan: &Plan, create: bool) -> Result<Checked, StoreError> {
        let (session, settings) = (Arc::new(connect::connect(settings).await?), Arc::new(settings.clone()));
        check::checked(&session, &settings, plan, create).await
    }
}

/// Reads the schema, and compares it with the declaration. A mismatch is not an error yet for a standby, and is
/// returned as the second value: the process that writes may have read a newer declaration than the standby.
async fn looked(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
    access: Access,
) -> Result<(schema::SchemaState, Result<(), StoreError>), StoreError> {
    match schema::look(session, settings, plan, access != Access::Read).await {
        Err(error @ StoreError::Shape { .. }) if matches!(access, Access::Write { standby: true, .. }) => {
            Ok((schema::look(session, settings, plan, false).await?, Err(error)))
        }
        looked => Ok((looked?, Ok(()))),
    }
}

/// Converts an error of opening the store. If a standby loses the lease before anything was written, it waits for the
/// lease again.
fn stood_by(error: StoreError, access: Access) -> StoreError {
    match (error, access) {
        (StoreError::Lost(store), Access::Write { standby: true, .. }) => {
            StoreError::Standby { store, holder: "another process".to_owned(), differs: false }
        }
        (other, _) => other,
    }
}

impl Ledger for CassandraStore {
    async fn known(&self, attempt: Fingerprint) -> Result<Vec<KnownPath>, StoreError> {
        self.inner.ledger.known(&attempt).await
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        cursor: Cursor,
    ) -> Result<Page<Delivery, Cursor>, StoreError> {
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

    async fn take_up(&self, entry: NewDelivery) -> Result<Delivery, StoreError> {
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
}

impl ChunkWriter for CassandraStore {
    type Sent = send_window::Sent;

    async fn send(&self, chunks: Arc<Vec<RowChunk>>) -> Result<send_window::Sent, StoreError> {
        send::send(&self.inner, &chunks).await
    }

    async fn apply(
        &self,
        chunks: Arc<Vec<RowChunk>>,
        sent: &send_window::Sent,
    ) -> Result<Vec<Applied>, StoreError> {
        apply::chunks(&self.inner, &chunks, sent).await
    }

    async fn backfill(&self, table: usize, chunk: Arc<RowChunk>, first: bool) -> Result<Applied, StoreError> {
        backfill::chunk(&self.inner, table, &chunk, first).await
    }
}

impl QuarantineStore for CassandraStore {
    async fn quarantined(
        &self,
        id: DeliveryId,
        filter: EntryFilter,
        from: u64,
    ) -> Result<Page<QuarantineEntry, u64>, StoreError> {
        let entered = self.inner.ledger.find(id).await?;
        self.inner.reading.page(&entered, &filter, from).await
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        self.inner.reading.header(id).await
    }

    async fn replay(&self, retried: Arc<Replay>) -> Result<Applied, StoreError> {
        replay::retried(&self.inner, &retried).await
    }

    async fn discard(&self, id: DeliveryId, records: Vec<u64>) -> Result<(), StoreError> {
        replay::discarded(&self.inner, id, &records).await
    }
}

impl RowReader for CassandraStore {
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
}

impl Store for CassandraStore {
    /// Renews the lease. Returns only if another process has the lease.
    async fn tend(&self, observer: &dyn StoreObserver) -> StoreError {
        let Some(writing) = &self.inner.writing else { return std::future::pending().await };
        let tell = async {
            loop {
                self.inner.tell_driver();
                writing.lease.tell(observer);
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
