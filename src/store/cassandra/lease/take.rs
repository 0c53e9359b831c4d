//! Takes the lease, and waits for it.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

use tracing::info;

use crate::metrics;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::owner::LeaseOwner;
use crate::store::cassandra::lease::row::{LeaseTable, Row};
use crate::store::cassandra::lease::{Held, Lease, micros};
use crate::store::{StoreError, failpoint};

/// What to do if another process holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Fail if the holder is alive.
    No,
    /// Wait until the holder is gone. While the holder is alive, [`Lease::take`] returns `Standby` and is called again.
    Standby,
}

/// The row as last read, and the time since which it has not changed.
struct Seen {
    row: Row,
    since: Instant,
}

impl Seen {
    fn next(before: Option<Self>, row: Row) -> Self {
        let same = before.filter(|before| before.row == row);
        same.unwrap_or_else(|| Self { row, since: Instant::now() })
    }

    fn is_vacant(&self, me: &LeaseOwner, lease: Duration) -> bool {
        let Some(holder) = &self.row.holder else { return true };
        // The holder may be this process, if the response to an earlier attempt was lost.
        self.since.elapsed() > lease || *holder == me.to_text() || me.knows_gone(holder)
    }

    /// Returns how long the holder has not renewed the lease. Zero if there is no holder.
    fn silence(&self) -> Duration {
        self.row.holder.as_ref().map_or(Duration::ZERO, |_| self.since.elapsed())
    }
}

impl Lease {
    /// Takes the lease. `fits` is an error if the tables differ from the declaration. The lease is then not taken, and
    /// this error is returned once the lease is free.
    ///
    /// # Errors
    /// Returns `InUse`, `Standby` or `Shape` with the name of the holder if another process holds the lease. Also
    /// returns the error in `fits`, or an error if the cluster does not answer or rejects a request.
    pub async fn take(
        cluster: &Cluster,
        tables: String,
        wait: Wait,
        mut fits: Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let table = LeaseTable::new(cluster).await?;
        let (me, began) = (LeaseOwner::new(), Instant::now());
        let mut before: Option<Seen> = None;
        loop {
            let row = table.read().await?;
            let is_new = before.as_ref().is_some_and(|before| before.row != row);
            let seen = Seen::next(before, row);
            let is_vacant = seen.is_vacant(&me, cluster.settings.lease);
            if is_vacant {
                std::mem::replace(&mut fits, Ok(()))?;
            }
            if is_vacant && let Some((epoch, held)) = claim(cluster, &table, &seen.row, &me, &tables).await? {
                metrics::lease_taken(seen.silence());
                log_taken(cluster.name(), &seen);
                failpoint::step("lease taken");
                let lease = Self {
                    until: AtomicU64::new(micros(held.until.duration_since(began))),
                    held: tokio::sync::Mutex::new(held),
                    sequence: AtomicU64::new(0),
                    stamps: AtomicI64::new(seen.row.stamps),
                    cluster: cluster.clone(),
                    table,
                    me,
                    epoch,
                    was_left: seen.row.holder.is_some(),
                    tables,
                    began,
                };
                return Ok(lease);
            }
            if is_new && seen.row.holder.as_ref().is_some_and(|holder| *holder != me.to_text()) {
                // The row has changed, so its holder is alive.
                if wait == Wait::No || began.elapsed() > cluster.settings.lease {
                    let differs = fits.is_err() || seen.row.tables != tables;
                    return Err(in_use(cluster.name(), &seen.row, wait, differs));
                }
            }
            before = Some(seen);
            tokio::time::sleep((cluster.settings.lease / 20).min(Duration::from_millis(250))).await;
        }
    }
}

fn log_taken(store: String, seen: &Seen) {
    let silence = seen.silence().as_secs_f64();
    match seen.row.holder {
        Some(_) => {
            let holder = seen.row.holder_name();
            info!("{store}: took over the right to write from {holder}, which was silent for {silence:.1} s");
        }
        None => info!("{store}: took the right to write"),
    }
}

/// Returns the error with the name of the holder. Different tables are a configuration error only for a process that
/// does not wait. A daemon reads its configuration again when it changes, and one of the two daemons may have done so
/// before the other.
fn in_use(store: String, row: &Row, wait: Wait, differs: bool) -> StoreError {
    let holder = row.holder_name();
    match wait {
        Wait::Standby => StoreError::Standby { store, holder, differs },
        Wait::No if differs => StoreError::Shape {
            store,
            what: format!("{holder} loads into it, and its configuration declares other tables"),
            next: "give both processes the same configuration, or stop the other one first".to_owned(),
        },
        Wait::No => StoreError::InUse { store, holder },
    }
}

async fn claim(
    cluster: &Cluster,
    table: &LeaseTable,
    before: &Row,
    me: &LeaseOwner,
    tables: &str,
) -> Result<Option<(i64, Held)>, StoreError> {
    let sent = Instant::now();
    let (epoch, stamps) = (before.epoch + 1, before.stamps);
    let row = Row { holder: Some(me.to_text()), epoch, beat: 0, stamps, tables: tables.to_owned() };
    if !table.set(before, &row).await? {
        return Ok(None);
    }
    metrics::lease_held(true);
    let held = Held { beat: 0, until: sent + cluster.settings.lease, lost: false };
    Ok(Some((epoch, held)))
}
