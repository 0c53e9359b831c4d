//! The right to write: one row, taken and renewed by compare-and-set, with an epoch.
//!
//! A holder trusts its own clock only, for how long it may go on without a renewal; who waits trusts
//! its own clock only, for how long the row has not changed. So clocks need not agree.

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
use crate::store::StoreError;
use crate::store::cassandra::cas;
use crate::store::cassandra::cas::Answer;
use crate::store::cassandra::lease_owner::LeaseOwner;
use crate::store::cassandra::request;
use crate::store::cassandra::request::ErrorClass;
use crate::store::cassandra::settings::Settings;
use crate::store::failpoint;
use crate::store::observer::{Right, StoreObserver};

/// Ledger rows of one epoch have stamps from `epoch << EPOCH` on: those of a later epoch always win.
pub const EPOCH: u32 = 38;

/// How long giving it back may take: the cluster may be away when we end, and others wait for that.
const LAST: Duration = Duration::from_secs(2);

/// The epoch in which a row of the ledger was written.
pub fn epoch_of(stamp: i64) -> i64 {
    stamp >> EPOCH
}

/// The first write time of the epoch of another.
pub fn first_of(stamp: i64) -> i64 {
    epoch_of(stamp) << EPOCH
}

/// The lease as it lies in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    holder: Option<String>,
    epoch: i64,
    beat: i64,
    /// Where the last range of stamps ended that this ledger handed out. An earlier version reserved stamps here.
    stamps: i64,
    tables: String,
}

/// The row as it was read last, and since when it is so.
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
        // Ours, when the answer to taking it was lost on its way.
        self.since.elapsed() > lease || *holder == me.told() || me.knows_gone(holder)
    }

    /// How long its holder gave no sign of life.
    fn silence(&self) -> Duration {
        self.row.holder.as_ref().map_or(Duration::ZERO, |_| self.since.elapsed())
    }
}

/// What we hold.
#[derive(Debug)]
struct Held {
    beat: i64,
    until: Instant,
    lost: bool,
}

/// The right to write to one ledger, as long as it is renewed.
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
    /// As in the row; written with each renewal.
    stamps: AtomicI64,
    held: tokio::sync::Mutex<Held>,
    /// Until when it is held, in microseconds since `began`: looked at before every request.
    until: AtomicU64,
    began: Instant,
}

/// How somebody who wants the lease waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Somebody else who is alive means that we are not wanted now.
    No,
    /// Until the other is gone.
    Standby,
}

impl Lease {
    /// Takes the lease, or returns its holder. If `fits` is false, the tables differ from the declaration, and the lease
    /// is not taken.
    ///
    /// # Errors
    /// `InUse` or `Standby` with the holder; a holder with other tables; that of `fits`; what the cluster says.
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
                // It is renewed: its holder is alive.
                if wait == Wait::No || began.elapsed() > settings.lease {
                    let differs = fits.is_err() || seen.row.tables != tables;
                    return Err(in_use(&settings, &seen.row, wait, differs));
                }
            }
            before = Some(seen);
            tokio::time::sleep((settings.lease / 20).min(Duration::from_millis(250))).await;
        }
    }

    /// Writes one statement of the ledger under a stamp of its own, as long as we may.
    ///
    /// # Errors
    /// `Lost` when another has it; what the cluster says.
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

    /// A stamp for a row of the ledger: later than all before it, and than those of all earlier epochs.
    pub fn ledger_stamp(&self) -> i64 {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        (self.epoch << EPOCH) + i64::try_from(sequence).unwrap_or_default()
    }

    /// Whether this process, under this lease, wrote the ledger row with this stamp.
    pub fn wrote(&self, stamp: i64) -> bool {
        epoch_of(stamp) == self.epoch
    }

    /// Whether the holder before was killed, or cut off: it did not give the lease back.
    pub fn was_left(&self) -> bool {
        self.was_left
    }

    /// Whether it is held by our own clock: without it nothing more is sent.
    pub fn holds(&self) -> bool {
        micros(self.began.elapsed()) < self.until.load(Ordering::Relaxed)
    }

    /// Makes sure that we may write, renewing the lease when it is due.
    ///
    /// # Errors
    /// `Lost` when another has it.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        if held.lost {
            return Err(self.lost());
        }
        // Due when less than two thirds are left.
        if held.until.saturating_duration_since(Instant::now()) < self.settings.lease * 2 / 3 {
            self.renew(&mut held, true).await?;
        }
        Ok(())
    }

    /// When it is to be renewed next.
    pub fn pause(&self) -> Duration {
        self.settings.lease / 5
    }

    /// Says whether it is confirmed. A renewal is due when two thirds are left: with less than one third it has been
    /// unanswered for long.
    pub fn tell(&self, observer: &dyn StoreObserver) {
        let left = self.until.load(Ordering::Relaxed).saturating_sub(micros(self.began.elapsed()));
        metrics::lease_held(left > 0);
        observer.right(match left {
            0 => Right::Expired,
            left if left < micros(self.settings.lease / 3) => Right::Overdue,
            _ => Right::Confirmed,
        });
    }

    /// Renews it as it falls due; ends only when another has it.
    pub async fn tend(&self) -> StoreError {
        loop {
            tokio::time::sleep(self.pause()).await;
            // Of anything else, whoever writes next hears.
            if let Err(error @ StoreError::Lost(_)) = self.check().await {
                return error;
            }
        }
    }

    /// Does what takes long, and renews the lease meanwhile.
    ///
    /// # Errors
    /// Those of the work; `Lost` when another has the lease.
    pub async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            done = work => done,
            lost = self.tend() => Err(lost),
        }
    }

    /// Where the last range of stamps ended that this ledger is known to have handed out.
    pub fn stamps(&self) -> i64 {
        self.stamps.load(Ordering::Relaxed)
    }

    /// Notes where a range of stamps ends. The row has it with the next renewal.
    pub fn note_stamps(&self, end: Stamp) {
        self.stamps.fetch_max(end.0, Ordering::Relaxed);
    }

    /// Gives the lease back, so that another need not wait.
    pub async fn release(&self) {
        // Whoever comes next waits for the lease to run out when this fails.
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
            // An answer that was lost on its way may have been to a renewal of ours; what one that came too late
            // confirmed may be another's by now.
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

/// Other tables are wrong only for a process that would not wait. A daemon reads its configuration again when it
/// changes, and it may be that one of the two has done so, and the other has not yet.
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

/// The part of the holder's name that is for people.
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
    // Where only the answer was lost, the second says that it was not applied; what is there then tells.
    let result = match send().await {
        Err(error) if let ErrorClass::Passing(reason) = request::meaning(&error) => {
            metrics::retry("ledger", reason);
            send().await
        }
        answered => answered,
    };
    let result = result.map_err(|error| request::told(settings, &error))?;
    Ok(cas::answer(settings, result, "beat")? == Answer::Applied)
}

type Stored = (Option<String>, Option<i64>, Option<i64>, Option<i64>, Option<String>);

/// Reads what the last compare-and-set has left, also one that is not finished.
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

/// The row as it is before anybody had it.
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

/// How long an answer is waited for: a second try is to fit before the lease runs out.
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

/// The clock, in microseconds since 1970.
pub fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2)
}
