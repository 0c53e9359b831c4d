//! The lease, which is the right to write. It is one row with an epoch, taken and renewed by compare-and-set.
//!
//! The holder uses only its own clock to measure how long it may continue without a renewal. A waiting process uses
//! only its own clock to measure how long the row has not changed. The clocks therefore need not agree.

pub mod cas;
pub mod epoch;
mod last_stamp;
mod owner;
mod row;
pub mod stamps;
pub mod take;
pub mod trust;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use crate::domain::Stamp;
use crate::metrics;
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::epoch::{EPOCH, epoch_of};
use crate::store::cassandra::lease::owner::LeaseOwner;
use crate::store::cassandra::lease::row::{LeaseTable, Row};
use crate::store::observer::{Right, StoreObserver};

/// How long releasing the lease may take. The cluster may be unreachable when the process ends, and others wait for the
/// process to end.
const LAST: Duration = Duration::from_secs(2);

/// The state of the lease that this process has taken.
#[derive(Debug)]
struct Held {
    beat: i64,
    until: Instant,
    lost: bool,
}

/// The right to write to one ledger. It lasts as long as it is renewed.
pub struct Lease {
    cluster: Cluster,
    table: LeaseTable,
    me: LeaseOwner,
    epoch: i64,
    was_left: bool,
    sequence: AtomicU64,
    tables: String,
    /// The end of the last range of stamps that was handed out. Each renewal writes it to the row.
    stamps: AtomicI64,
    held: tokio::sync::Mutex<Held>,
    /// When the lease expires, in microseconds since `began`. Checked before every request.
    until: AtomicU64,
    began: Instant,
}

impl Lease {
    /// Writes one statement of the ledger under a new stamp, as long as the lease is held.
    ///
    /// # Errors
    /// Returns `Lost` if another process has the lease, or an error if the cluster does not answer or rejects the
    /// request.
    pub async fn write(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<(), StoreError> {
        if !self.holds() {
            self.check().await?;
        }
        let mut statement = statement.clone();
        statement.set_timestamp(Some(self.ledger_stamp()));
        let may = || self.holds();
        self.cluster.execute_while(may, &statement, values).await.map(|_| ())
    }

    /// Returns a new stamp for a row of the ledger. It is later than all earlier stamps of this epoch and of earlier
    /// epochs.
    pub fn ledger_stamp(&self) -> i64 {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        (self.epoch << EPOCH) + i64::try_from(sequence).unwrap_or_default()
    }

    /// Whether the ledger row with this stamp was written under this lease.
    pub fn wrote(&self, stamp: i64) -> bool {
        epoch_of(stamp) == self.epoch
    }

    /// Whether the previous holder was killed or cut off, and so did not release the lease.
    pub fn was_left(&self) -> bool {
        self.was_left
    }

    /// Whether the lease is still held according to our own clock. Nothing is sent without the lease.
    pub fn holds(&self) -> bool {
        micros(self.began.elapsed()) < self.until.load(Ordering::Relaxed)
    }

    /// Makes sure that the lease is held. Renews it if a renewal is due.
    ///
    /// # Errors
    /// Returns `Lost` if another process has the lease, or an error if the cluster does not answer or rejects the
    /// request.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        if held.lost {
            return Err(self.lost());
        }
        // A renewal is due if less than two thirds of the lease are left.
        if held.until.saturating_duration_since(Instant::now()) < self.cluster.settings.lease * 2 / 3 {
            self.renew(&mut held, true).await?;
        }
        Ok(())
    }

    /// Returns how long to wait before the next check whether a renewal is due.
    pub fn pause(&self) -> Duration {
        self.cluster.settings.lease / 5
    }

    /// Reports whether the lease is confirmed. A renewal is due when two thirds of the lease are left. With less than
    /// one third left, renewals have not been answered for a long time.
    pub fn tell(&self, observer: &dyn StoreObserver) {
        let left = self.until.load(Ordering::Relaxed).saturating_sub(micros(self.began.elapsed()));
        metrics::lease_held(left > 0);
        observer.right(match left {
            0 => Right::Expired,
            left if left < micros(self.cluster.settings.lease / 3) => Right::Overdue,
            _ => Right::Confirmed,
        });
    }

    /// Renews the lease whenever a renewal is due. Returns only if another process has the lease.
    pub async fn tend(&self) -> StoreError {
        loop {
            tokio::time::sleep(self.pause()).await;
            // Any other error is reported to the next caller that writes.
            if let Err(error @ StoreError::Lost(_)) = self.check().await {
                return error;
            }
        }
    }

    /// Runs `work`, which may take long, and renews the lease in the meantime.
    ///
    /// # Errors
    /// Returns the error of `work`, or `Lost` if another process has the lease.
    pub async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            done = work => done,
            lost = self.tend() => Err(lost),
        }
    }

    /// Returns the end of the last range of stamps that this ledger is known to have handed out.
    pub fn stamps(&self) -> i64 {
        self.stamps.load(Ordering::Relaxed)
    }

    /// Notes the end of a range of stamps. The next renewal writes it to the row.
    pub fn note_stamps(&self, end: Stamp) {
        self.stamps.fetch_max(end.0, Ordering::Relaxed);
    }

    /// Releases the lease, so that another process need not wait until it expires.
    pub async fn release(&self) {
        // If this fails, the next process waits until the lease expires.
        let _ = tokio::time::timeout(LAST, self.give_back()).await;
        self.until.store(0, Ordering::Relaxed);
        metrics::lease_held(false);
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        if std::mem::replace(&mut held.lost, true) {
            return Ok(());
        }
        self.renew(&mut held, false).await
    }

    async fn renew(&self, held: &mut Held, keep: bool) -> Result<(), StoreError> {
        let mut sent = Instant::now();
        let holder = keep.then(|| self.me.to_text());
        let (epoch, beat, stamps) = (self.epoch, held.beat + 1, self.stamps());
        let mut row = Row { holder, epoch, beat, stamps, tables: self.tables.clone() };
        let mut before = Row { beat: held.beat, ..row.clone() };
        while !self.table.set(&before, &row).await? || sent.elapsed() >= self.cluster.settings.lease {
            // The response to an earlier renewal of ours may have been lost. Or the response came too late, and another
            // process may have taken the lease since.
            let now = self.table.read().await?;
            let ours = now.epoch == self.epoch && now.beat > before.beat;
            if ours {
                (before.beat, row.beat) = (now.beat, now.beat + 1);
                row.stamps = row.stamps.max(now.stamps);
                sent = Instant::now();
            } else {
                held.lost = true;
                self.until.store(0, Ordering::Relaxed);
                metrics::lease_held(false);
                return Err(self.lost());
            }
        }
        held.beat = row.beat;
        held.until = sent + self.cluster.settings.lease;
        self.until.store(micros(held.until.duration_since(self.began)), Ordering::Relaxed);
        metrics::lease_held(keep);
        Ok(())
    }

    fn lost(&self) -> StoreError {
        StoreError::Lost(self.cluster.name())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
