//! The lease, which is the right to write. It is one row with an epoch, taken and renewed by compare-and-set.
//!
//! The holder uses only its own clock to measure how long it may continue without a renewal. A waiting process uses
//! only its own clock to measure how long the row has not changed. The clocks therefore need not agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::statement::SerialConsistency;
use scylla::statement::prepared::PreparedStatement;
use tracing::info;

use super::schema;
use crate::domain::Stamp;
use crate::metrics;
use crate::store::cassandra::cas::Answer;
use crate::store::cassandra::lease_owner::LeaseOwner;
use crate::store::cassandra::request::ErrorClass;
use crate::store::cassandra::settings::Settings;
use crate::store::cassandra::{cas, request};
use crate::store::observer::{Right, StoreObserver};
use crate::store::{StoreError, failpoint};

/// The number of bits below the epoch in the stamp of a ledger row. The stamps of an epoch begin at `epoch << EPOCH`,
/// so a row of a later epoch always wins.
pub const EPOCH: u32 = 38;

/// How long releasing the lease may take. The cluster may be unreachable when the process ends, and others wait for the
/// process to end.
const LAST: Duration = Duration::from_secs(2);

/// Returns the epoch in which a ledger row with this stamp was written.
pub fn epoch_of(stamp: i64) -> i64 {
    stamp >> EPOCH
}

/// Returns the first stamp of the epoch in which `stamp` lies.
pub fn first_of(stamp: i64) -> i64 {
    epoch_of(stamp) << EPOCH
}

/// The row of the lease in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    holder: Option<String>,
    epoch: i64,
    beat: i64,
    /// The end of the last range of stamps that this ledger handed out. An earlier version reserved stamps here.
    stamps: i64,
    tables: String,
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
        self.since.elapsed() > lease || *holder == me.told() || me.knows_gone(holder)
    }

    /// Returns how long the holder has not renewed the lease. Zero if there is no holder.
    fn silence(&self) -> Duration {
        self.row.holder.as_ref().map_or(Duration::ZERO, |_| self.since.elapsed())
    }
}

/// The state of the lease that this process has taken.
#[derive(Debug)]
struct Held {
    beat: i64,
    until: Instant,
    lost: bool,
}

/// The right to write to one ledger. It lasts as long as it is renewed.
pub struct Lease {
    session: Arc<Session>,
    settings: Arc<Settings>,
    set: PreparedStatement,
    serial: SerialConsistency,
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

/// What to do if another process holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Fail if the holder is alive.
    No,
    /// Wait until the holder is gone. While the holder is alive, [`Lease::take`] returns `Standby` and is called again.
    Standby,
}

impl Lease {
    /// Takes the lease. `fits` is an error if the tables differ from the declaration. The lease is then not taken, and
    /// this error is returned once the lease is free.
    ///
    /// # Errors
    /// Returns `InUse`, `Standby` or `Shape` with the name of the holder if another process holds the lease. Also
    /// returns the error in `fits`, or an error if the cluster does not answer or rejects a request.
    pub async fn take(
        session: Arc<Session>,
        settings: Arc<Settings>,
        tables: String,
        wait: Wait,
        mut fits: Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let place = schema::ledger_place(&settings, "needledrop_lease");
        let cql = format!(
            "UPDATE {place} SET holder = ?, epoch = ?, beat = ?, stamps = ?, tables = ? WHERE name = 'writer' \
             IF epoch = ? AND beat = ?"
        );
        let mut set = prepare(&session, &settings, &cql).await?;
        set.set_consistency(settings.ledger());
        let serial = cas::serial(&session, &settings, &settings.ledger_keyspace).await?;
        set.set_serial_consistency(Some(serial));
        set.set_request_timeout(Some(longest(&settings)));
        let (me, began) = (LeaseOwner::new(), Instant::now());
        let mut before: Option<Seen> = None;
        loop {
            let row = read(&session, &settings, serial).await?;
            let is_new = before.as_ref().is_some_and(|before| before.row != row);
            let seen = Seen::next(before, row);
            let is_vacant = seen.is_vacant(&me, settings.lease);
            if is_vacant {
                std::mem::replace(&mut fits, Ok(()))?;
            }
            if is_vacant
                && let Some((epoch, held)) = claim(&session, &settings, &set, &seen.row, &me, &tables).await?
            {
                metrics::lease_taken(seen.silence());
                tell_taken(&settings, &seen);
                failpoint::step("lease taken");
                let lease = Self {
                    until: AtomicU64::new(micros(held.until.duration_since(began))),
                    held: tokio::sync::Mutex::new(held),
                    sequence: AtomicU64::new(0),
                    stamps: AtomicI64::new(seen.row.stamps),
                    session,
                    settings,
                    set,
                    serial,
                    me,
                    epoch,
                    was_left: seen.row.holder.is_some(),
                    tables,
                    began,
                };
                return Ok(lease);
            }
            if is_new && seen.row.holder.as_ref().is_some_and(|holder| *holder != me.told()) {
                // The row has changed, so its holder is alive.
                if wait == Wait::No || began.elapsed() > settings.lease {
                    let differs = fits.is_err() || seen.row.tables != tables;
                    return Err(in_use(&settings, &seen.row, wait, differs));
                }
            }
            before = Some(seen);
            tokio::time::sleep((settings.lease / 20).min(Duration::from_millis(250))).await;
        }
    }

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
        request::execute_while(may, &self.session, &self.settings, &statement, values).await.map(|_| ())
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
        if held.until.saturating_duration_since(Instant::now()) < self.settings.lease * 2 / 3 {
            self.renew(&mut held, true).await?;
        }
        Ok(())
    }

    /// Returns how long to wait before the next check whether a renewal is due.
    pub fn pause(&self) -> Duration {
        self.settings.lease / 5
    }

    /// Reports whether the lease is confirmed. A renewal is due when two thirds of the lease are left. With less than
    /// one third left, renewals have not been answered for a long time.
    pub fn tell(&self, observer: &dyn StoreObserver) {
        let left = self.until.load(Ordering::Relaxed).saturating_sub(micros(self.began.elapsed()));
        metrics::lease_held(left > 0);
        observer.right(match left {
            0 => Right::Expired,
            left if left < micros(self.settings.lease / 3) => Right::Overdue,
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
        let holder = keep.then(|| self.me.told());
        let (epoch, beat, stamps) = (self.epoch, held.beat + 1, self.stamps());
        let mut row = Row { holder, epoch, beat, stamps, tables: self.tables.clone() };
        let mut before = Row { beat: held.beat, ..row.clone() };
        while !set(&self.session, &self.settings, &self.set, &before, &row).await?
            || sent.elapsed() >= self.settings.lease
        {
            // The response to an earlier renewal of ours may have been lost. Or the response came too late, and another
            // process may have taken the lease since.
            let now = read(&self.session, &self.settings, self.serial).await?;
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
        held.until = sent + self.settings.lease;
        self.until.store(micros(held.until.duration_since(self.began)), Ordering::Relaxed);
        metrics::lease_held(keep);
        Ok(())
    }

    fn lost(&self) -> StoreError {
        StoreError::Lost(self.settings.name())
    }
}

fn tell_taken(settings: &Settings, seen: &Seen) {
    let (store, silence) = (settings.name(), seen.silence().as_secs_f64());
    match seen.row.holder {
        Some(_) => {
            let holder = holder_name(&seen.row);
            info!("{store}: took over the right to write from {holder}, silent for {silence:.1} s");
        }
        None => info!("{store}: took the right to write"),
    }
}

/// Returns the error with the name of the holder. Different tables are a configuration error only for a process that
/// does not wait. A daemon reads its configuration again when it changes, and one of the two daemons may have done so
/// before the other.
fn in_use(settings: &Settings, row: &Row, wait: Wait, differs: bool) -> StoreError {
    let (store, holder) = (settings.name(), holder_name(row));
    match wait {
        Wait::Standby => StoreError::Standby { store, holder, differs },
        Wait::No if differs => StoreError::Shape {
            store,
            what: format!("{holder} loads into it with other tables than are declared here"),
            next: "give both the same configuration, or stop the other first".to_owned(),
        },
        Wait::No => StoreError::InUse { store, holder },
    }
}

/// Returns the part of the holder's name that is shown to users.
fn holder_name(row: &Row) -> String {
    let holder = row.holder.clone().unwrap_or_default();
    holder.split(" #").next().unwrap_or_default().to_owned()
}

async fn claim(
    session: &Session,
    settings: &Settings,
    statement: &PreparedStatement,
    before: &Row,
    me: &LeaseOwner,
    tables: &str,
) -> Result<Option<(i64, Held)>, StoreError> {
    let sent = Instant::now();
    let (epoch, stamps) = (before.epoch + 1, before.stamps);
    let row = Row { holder: Some(me.told()), epoch, beat: 0, stamps, tables: tables.to_owned() };
    if !set(session, settings, statement, before, &row).await? {
        return Ok(None);
    }
    metrics::lease_held(true);
    let held = Held { beat: 0, until: sent + settings.lease, lost: false };
    Ok(Some((epoch, held)))
}

async fn set(
    session: &Session,
    settings: &Settings,
    statement: &PreparedStatement,
    before: &Row,
    row: &Row,
) -> Result<bool, StoreError> {
    let values = (&row.holder, row.epoch, row.beat, row.stamps, &row.tables, before.epoch, before.beat);
    let send = || session.execute_unpaged(statement, values);
    // If only the response to the first attempt was lost, the second attempt reports that it was not applied. The
    // caller then reads the row to find out.
    let result = match send().await {
        Err(error) if let ErrorClass::Transient(reason) = request::classify(&error) => {
            metrics::retry("ledger", reason);
            send().await
        }
        answered => answered,
    };
    let result = result.map_err(|error| request::told(settings, &error))?;
    Ok(cas::answer(settings, result, "beat")? == Answer::Applied)
}

type Stored = (Option<String>, Option<i64>, Option<i64>, Option<i64>, Option<String>);

/// Reads the row as the last compare-and-set left it, even if that one is not finished. Creates the row if it does not
/// exist.
async fn read(session: &Session, settings: &Settings, serial: SerialConsistency) -> Result<Row, StoreError> {
    let place = schema::ledger_place(settings, "needledrop_lease");
    let cql = format!("SELECT holder, epoch, beat, stamps, tables FROM {place} WHERE name = 'writer'");
    let mut statement = scylla::statement::Statement::new(cql);
    statement.set_consistency(cas::reading(serial));
    statement.set_request_timeout(Some(longest(settings)));
    let result = request::patiently("ledger", || session.query_unpaged(statement.clone(), ())).await;
    let result = result.map_err(|error| request::told(settings, &error))?;
    let stored = request::parsed::<Stored>(settings, result)?.pop();
    match stored {
        Some((holder, Some(epoch), Some(beat), Some(stamps), tables)) => {
            Ok(Row { holder, epoch, beat, stamps, tables: tables.unwrap_or_default() })
        }
        _ => {
            first(session, settings, serial).await?;
            Ok(Row::default())
        }
    }
}

/// Creates the row, in its state before any process held the lease.
async fn first(session: &Session, settings: &Settings, serial: SerialConsistency) -> Result<(), StoreError> {
    let place = schema::ledger_place(settings, "needledrop_lease");
    let cql = format!(
        "INSERT INTO {place} (name, epoch, beat, stamps, tables) VALUES ('writer', 0, 0, 0, '') IF NOT EXISTS"
    );
    let mut statement = scylla::statement::Statement::new(cql);
    statement.set_serial_consistency(Some(serial));
    statement.set_consistency(settings.ledger());
    let made = session.query_unpaged(statement, ()).await;
    made.map(|_| ()).map_err(|error| request::told(settings, &error))
}

/// Returns the timeout of a request. It leaves time for a second attempt before the lease expires.
fn longest(settings: &Settings) -> Duration {
    (settings.lease / 3).min(settings.request_timeout)
}

async fn prepare(session: &Session, settings: &Settings, cql: &str) -> Result<PreparedStatement, StoreError> {
    let prepared = session.prepare(cql).await;
    prepared.map_err(|error| request::told(settings, &error.into()))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the current time, in microseconds since 1970.
pub fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2)
}
