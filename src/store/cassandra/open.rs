//! Opens the store: connects, takes the lease, and creates or migrates what is missing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tracing::warn;

use crate::domain::Schema;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::cluster::limits::SizeLimit;
use crate::store::cassandra::cluster::settings::Settings;
use crate::store::cassandra::corrections::check;
use crate::store::cassandra::corrections::noted::Noted;
use crate::store::cassandra::corrections::statements::Prepared;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::lease::stamps::Authority;
use crate::store::cassandra::lease::take::Wait;
use crate::store::cassandra::ledger::{LedgerTables, migrations, recreated_tables};
use crate::store::cassandra::quarantine::Quarantine;
use crate::store::cassandra::reader::Reader;
use crate::store::cassandra::schema::create;
use crate::store::cassandra::schema::declared::FORMAT;
use crate::store::cassandra::schema::format::{check_complete, check_format, missing_error, stored_format};
use crate::store::cassandra::schema::guard::Unchanged;
use crate::store::cassandra::schema::identity::Identity;
use crate::store::cassandra::schema::state::{SchemaState, look};
use crate::store::cassandra::shared::{Inner, Writing};
use crate::store::cassandra::writer::backfill_totals::Playing;
use crate::store::cassandra::writer::collisions::Collisions;
use crate::store::cassandra::writer::pace::Pace;
use crate::store::cassandra::writer::rows::Writer;
use crate::store::cassandra::writer::send_window::Ahead;
use crate::store::{Access, StoreError, failpoint};

/// How long opening the store waits for the nodes to agree on a schema that is being changed.
const AGREED: Duration = Duration::from_secs(30);

/// Opens the store. Opens it again while another process is creating tables.
///
/// # Errors
/// Returns an error if the cluster cannot be reached or denies access, if a table has another shape than declared, or
/// if another process holds the lease.
pub async fn store(
    settings: Arc<Settings>,
    declared: Arc<Schema>,
    access: Access,
) -> Result<Inner, StoreError> {
    let began = Instant::now();
    loop {
        match opened(Arc::clone(&settings), Arc::clone(&declared), access).await {
            // Another process is creating tables. They are in the schema, but not every node knows them yet.
            Err(StoreError::Changed { .. }) if began.elapsed() < AGREED => {
                tokio::time::sleep(Duration::from_millis(200 + fastrand::u64(0..300))).await;
            }
            opened => return opened.map_err(|error| stood_by(error, access)),
        }
    }
}

async fn opened(settings: Arc<Settings>, declared: Arc<Schema>, access: Access) -> Result<Inner, StoreError> {
    let cluster = Cluster::connect(settings).await?;
    let (state, fits) = looked(&cluster, &declared, access).await?;
    check_complete(&cluster, &declared, &state).await?;
    let writing = match access {
        Access::Write { create, standby } => {
            if let Some(missing) = state.missing(&declared).filter(|_| !create) {
                return Err(missing_error(&cluster, &missing));
            }
            let wait = if standby { Wait::Standby } else { Wait::No };
            // Boxed, like the steps below: their futures together are larger than the stack of a thread.
            Some(Box::pin(for_writing(&cluster, &declared, (state, fits), wait, create)).await?)
        }
        _ if state.lacks_ledger() => return Err(StoreError::Missing(cluster.name())),
        Access::Read | Access::Dry => None,
    };
    check_format(&cluster, writing.is_some()).await?;
    let ledger = LedgerTables::new(&cluster).await?;
    if writing.as_ref().is_some_and(Writing::needs_order) {
        Box::pin(check::newest_by(&cluster, &declared)).await?;
        Box::pin(ledger.each(&mut |delivery| ledger.uncounted.add(&delivery))).await?;
    }
    let reading = Quarantine::new(&cluster).await?;
    let reader = Reader::new(&cluster, Arc::clone(&declared));
    Ok(Inner {
        cluster,
        declared,
        ledger,
        reading,
        reader,
        writing,
        playing: Playing::default(),
        correcting: Prepared::default(),
    })
}

async fn for_writing(
    cluster: &Cluster,
    declared: &Arc<Schema>,
    (state, mut fits): (SchemaState, Result<(), StoreError>),
    wait: Wait,
    create: bool,
) -> Result<Writing, StoreError> {
    if state.lacks_lease() {
        fits?;
        make_lease(cluster, declared, &state).await?;
        fits = Ok(());
    }
    let lease = Lease::take(cluster, format!("{FORMAT} {}", declared.fingerprint.0), wait, fits).await?;
    let (found, stamps) = lease.during(make(cluster, declared, &lease, create)).await?;
    let corrections = Noted::open(cluster, declared, &found).await?;
    let limits = &cluster.settings.limits;
    let limit = SizeLimit::smallest(cluster).await;
    if let Some(warning) = limit.as_ref().and_then(|limit| limit.warning(limits.max_record_bytes)) {
        warn!("{warning}");
    }
    let mut writers = Vec::new();
    for table in &declared.tables {
        writers.push(Writer::new(cluster, declared, table).await?);
    }
    Ok(Writing {
        lease,
        stamps,
        tables: Unchanged::new(cluster, Arc::clone(declared), found),
        writers,
        refusals: Mutex::default(),
        pace: Pace::new(limits.rows_per_second),
        limit,
        permits: Semaphore::new(limits.in_flight),
        ahead: Ahead::default(),
        quarantine: Quarantine::new(cluster).await?,
        collisions: Collisions::new(cluster, Arc::clone(declared)).await?,
        corrections,
        last: Mutex::default(),
    })
}

/// Creates the missing tables, and migrates the ledger. Returns the identities of the declared tables and the source of
/// their stamps.
async fn make(
    cluster: &Cluster,
    declared: &Schema,
    lease: &Lease,
    create: bool,
) -> Result<(Vec<Identity>, Authority), StoreError> {
    // Look again: another process may have created tables before we had the lease.
    let state = look(cluster, declared, true).await?;
    if !state.missing_ledger.is_empty() {
        create::make_ledger(cluster, &state.missing_ledger).await?;
        failpoint::step("ledger made");
        create::mark(cluster).await?;
    }
    if state.missing_stamps {
        create::make_stamps(cluster).await?;
    }
    let stamps = Authority::open(cluster, lease).await?;
    let format = stored_format(cluster).await?;
    if let Some(format) = format.filter(|format| create && *format < FORMAT) {
        migrations::bring_up(cluster, lease, &stamps, format).await?;
    }
    check_format(cluster, false).await?;
    let found = recreated_tables::tables(cluster, declared, lease, &state.missing_tables).await?;
    Ok((found, stamps))
}

/// Creates the keyspaces and the table of the lease. Two processes that start at the same time must not both create a
/// table. A process that sees the keyspaces therefore waits for a moment, in case another process has begun. The holder
/// of the lease creates everything else.
async fn make_lease(cluster: &Cluster, declared: &Schema, state: &SchemaState) -> Result<(), StoreError> {
    if state.missing_keyspaces.is_empty() {
        let pause = Duration::from_millis(200 + fastrand::u64(0..800));
        tokio::time::sleep(pause).await;
    }
    let state = look(cluster, declared, true).await?;
    create::make_lease(cluster, &state).await
}

/// Reads the schema, and compares it with the declaration. A mismatch is not an error yet for a standby, and is
/// returned as the second value: the process that writes may have read a newer declaration than the standby.
async fn looked(
    cluster: &Cluster,
    declared: &Schema,
    access: Access,
) -> Result<(SchemaState, Result<(), StoreError>), StoreError> {
    match look(cluster, declared, access != Access::Read).await {
        Err(error @ StoreError::Shape { .. }) if matches!(access, Access::Write { standby: true, .. }) => {
            Ok((look(cluster, declared, false).await?, Err(error)))
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
