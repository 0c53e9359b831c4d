//! Hands out stamps. All stamps of the tables in a keyspace come from one row there, whichever ledgers write to these
//! tables (law 2).
//!
//! A block of stamps is reserved by compare-and-set when stamps are needed. It is never given back. A block whose
//! reservation was not confirmed is never used.

use std::collections::BTreeMap;
use std::time::Duration;

use scylla::statement::SerialConsistency;
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::Mutex;

use crate::domain::stamp::far_ahead;
use crate::domain::{Stamp, StampRange};
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::cluster::retry::patiently;
use crate::store::cassandra::cluster::settings::Settings;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::lease::cas::{self, Answer};
use crate::store::cassandra::lease::last_stamp::last_stamp;
use crate::store::cassandra::schema::names;
use crate::store::clock::clock;
use crate::store::{StoreError, failpoint};

/// How far ahead of the clock a block reaches, in microseconds, so that most files need no compare-and-set.
const AHEAD: i64 = 5_000_000;

/// The stamps that this process has reserved and not yet handed out.
#[derive(Clone, Copy, Debug)]
struct Block {
    begin: i64,
    end: i64,
    /// The value of `next` when the row was last read. It is below `end` only if the row was restored from a backup.
    next: i64,
}

/// Hands out ranges of stamps.
pub struct Authority {
    cluster: Cluster,
    serial: SerialConsistency,
    reserve: PreparedStatement,
    block: Mutex<Block>,
}

/// The row: the first stamp that is not reserved, and the end of the last block of each ledger.
#[derive(Debug, Default)]
struct Row {
    next: i64,
    ledgers: BTreeMap<String, i64>,
}

impl Authority {
    /// Prepares the reservation.
    ///
    /// A row that was lost or restored from a backup may be below stamps that the ledger has handed out. Such a row is
    /// raised first.
    ///
    /// # Errors
    /// Returns an error if the table does not exist, or if the cluster does not answer or rejects a request.
    pub async fn open(cluster: &Cluster, lease: &Lease) -> Result<Self, StoreError> {
        let serial = cas::serial(cluster, &cluster.settings.keyspace).await?;
        let place = names::stamps_place(&cluster.settings);
        let cql = format!("UPDATE {place} SET next = ?, ledgers[?] = ? WHERE name = 'stamps' IF next = ?");
        let reserve = cluster.prepare_conditional(serial, cql).await?;
        let row = read(cluster, serial).await?;
        let block = Mutex::new(Block { begin: row.next, end: row.next, next: row.next });
        let authority = Self { cluster: cluster.clone(), serial, reserve, block };
        let noted = lease.stamps();
        if row.ledgers.get(&authority.ledger()).is_none_or(|end| *end < noted) {
            let last = last_stamp(&authority.cluster).await?;
            authority.raise(noted.max(last)).await?;
        }
        Ok(authority)
    }

    /// The name of our ledger in the row.
    fn ledger(&self) -> String {
        names::keyspace(&self.cluster.settings.ledger_keyspace)
    }

    /// Hands out the next range of stamps, and notes its end for the row of the lease.
    ///
    /// # Errors
    /// Returns `Ahead` with the time to wait if the range would be too far ahead of the clock, or an error if the
    /// cluster does not answer or rejects a request.
    pub async fn hand_out(&self, lease: &Lease, first: u64, records: u64) -> Result<StampRange, StoreError> {
        let range = self.range(first, records).await?;
        lease.note_stamps(range.end());
        Ok(range)
    }

    async fn range(&self, first: u64, records: u64) -> Result<StampRange, StoreError> {
        let mut block = self.block.lock().await;
        // Read the clock once. Otherwise a range that is longer than a block would move with the clock while it is
        // reserved.
        let now = clock();
        loop {
            let consent = self.cluster.settings.stamps_ahead;
            let range = StampRange::after(Stamp(block.begin), now, (first, records), consent)
                .map_err(StoreError::Ahead)?;
            let end = range.end().0;
            if end <= block.end {
                block.begin = end;
                return Ok(range);
            }
            self.reserve(&mut block, end.max(clock().0 + AHEAD)).await?;
            failpoint::step("stamps reserved");
        }
    }

    /// Raises the row, so that no ledger can reserve stamps below `to`, and enters our ledger in the row.
    async fn raise(&self, to: i64) -> Result<(), StoreError> {
        let mut block = self.block.lock().await;
        loop {
            let end = to.max(block.end);
            if self.reserve(&mut block, end).await? {
                block.begin = end;
                return Ok(());
            }
        }
    }

    /// Extends the block to `end`. Returns whether it did. If another ledger has reserved stamps in the meantime, the
    /// block becomes empty and begins after those stamps.
    ///
    /// `next` only grows, so the update is applied at most once, however often it is sent.
    async fn reserve(&self, block: &mut Block, end: i64) -> Result<bool, StoreError> {
        let ledger = self.ledger();
        let send = || self.cluster.session().execute_unpaged(&self.reserve, (end, &ledger, end, block.next));
        let result = patiently("ledger", send).await;
        let result = result.map_err(|error| self.cluster.store_error(&error))?;
        match cas::answer(&self.cluster, result, "next")? {
            Answer::Applied => {
                (block.end, block.next) = (end, end);
                return Ok(true);
            }
            Answer::Found(Some(next)) => {
                let free = next.max(block.end);
                *block = Block { begin: free, end: free, next };
            }
            Answer::Found(None) => make(&self.cluster, self.serial, block.end).await?,
        }
        Ok(false)
    }
}

/// Returns the other ledgers that have reserved stamps in this keyspace, and the ends of their last blocks.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn others(cluster: &Cluster) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut ledgers = seen(cluster).await?.ledgers;
    ledgers.remove(&names::keyspace(&cluster.settings.ledger_keyspace));
    Ok(ledgers)
}

/// Returns how far the stamps reserved in this keyspace are ahead of the clock. Returns `None` if they are no further
/// ahead than a correct clock allows.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn ahead(cluster: &Cluster) -> Result<Option<Duration>, StoreError> {
    Ok(far_ahead(Stamp(seen(cluster).await?.next), clock()))
}

async fn seen(cluster: &Cluster) -> Result<Row, StoreError> {
    let asked = cluster.statement(select(&cluster.settings));
    match stored(cluster.query(asked, ()).await) {
        // The table does not exist yet.
        Err(StoreError::Changed { .. }) => Ok(Row::default()),
        row => Ok(row?.unwrap_or_default()),
    }
}

type Stored = (Option<i64>, Option<BTreeMap<String, i64>>);

fn select(settings: &Settings) -> String {
    format!("SELECT next, ledgers FROM {} WHERE name = 'stamps'", names::stamps_place(settings))
}

fn stored(rows: Result<Vec<Stored>, StoreError>) -> Result<Option<Row>, StoreError> {
    let row = rows?.pop();
    Ok(row.and_then(|(next, ledgers)| Some(Row { next: next?, ledgers: ledgers.unwrap_or_default() })))
}

/// Reads the row as the last compare-and-set left it. Creates the row if it does not exist.
async fn read(cluster: &Cluster, serial: SerialConsistency) -> Result<Row, StoreError> {
    let mut statement = cluster.statement(select(&cluster.settings));
    statement.set_consistency(cas::reading(serial));
    if let Some(row) = stored(cluster.query(statement, ()).await)? {
        return Ok(row);
    }
    make(cluster, serial, 0).await?;
    Ok(Row::default())
}

/// Creates the row, unless it exists.
async fn make(cluster: &Cluster, serial: SerialConsistency, next: i64) -> Result<(), StoreError> {
    let place = names::stamps_place(&cluster.settings);
    let cql = format!("INSERT INTO {place} (name, next) VALUES ('stamps', {next}) IF NOT EXISTS");
    let mut statement = cluster.statement(cql);
    statement.set_serial_consistency(Some(serial));
    let made = patiently("ledger", || cluster.session().query_unpaged(statement.clone(), ())).await;
    made.map(|_| ()).map_err(|error| cluster.store_error(&error))
}
