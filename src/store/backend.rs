//! Selects the declared store, and contains what differs between the stores. No other file names more than one store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::correction::late_row::Fate;
use crate::domain::correction::{KeyedRow, RowRepair};
use crate::domain::ledger::{
    Amendment, Applied, Continuation, Cursor, DeliveryFilter, KnownFile, NewDelivery, Page, TakenUp,
};
use crate::domain::units::{self, Duration as Span};
use crate::domain::{
    Delivery, DeliveryId, Feeds, Fingerprint, Header, RowChunk, RowCursor, Schema, Stamp, StampRange, Stamps,
    StampsAhead, TableRow, Value, quarantine,
};
use crate::store::cassandra::{self, CassandraStore};
use crate::store::dry_run::DryRun;
use crate::store::limits::Limits;
use crate::store::observer::StoreObserver;
use crate::store::repairs::{Lateness, Repairs};
use crate::store::sqlite::expected_rows::KeyEquality;
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{
    Access, ChunkWriter, Ledger, QuarantineStore, RowReader, RowRewriter, SavedResults, Store, StoreError,
};

/// The `store` section of the configuration: which store is used, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    pub kind: Kind,
    #[serde(deserialize_with = "units::flag")]
    pub create_schema: bool,
    pub patience: Span,
    pub stamps_ahead: StampsAhead,
    pub sqlite: sqlite::config::Config,
    pub cassandra: cassandra::cluster::config::Config,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Sqlite,
    Cassandra,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            kind: Kind::Sqlite,
            create_schema: true,
            patience: Span::from_secs(300),
            stamps_ahead: StampsAhead::Wait,
            sqlite: sqlite::config::Config::default(),
            cassandra: cassandra::cluster::config::Config::default(),
        }
    }
}

/// How many windows the pipeline hands to the store. A window is a group of chunks with about `write.window` records.
#[derive(Clone, Copy, Debug)]
pub struct Pipelining {
    /// The number of windows that are written together.
    pub together: usize,
    /// The number of writes that are under way at the same time.
    pub at_once: usize,
}

impl StoreConfig {
    /// Returns the location of the store, for messages to the user.
    pub fn name(&self) -> String {
        match self.kind {
            Kind::Sqlite => self.sqlite.path.display().to_string(),
            Kind::Cassandra => self.cassandra.name(),
        }
    }

    /// Returns the path of the store's file, or `None` if the store is not embedded.
    pub fn embedded(&self) -> Option<PathBuf> {
        (self.kind == Kind::Sqlite).then(|| self.sqlite.path.clone())
    }

    /// Returns how the keys of the store are compared.
    pub fn keys(&self) -> KeyEquality {
        match self.kind {
            Kind::Sqlite => KeyEquality::Stored,
            Kind::Cassandra => KeyEquality::ByValue,
        }
    }

    /// Whether a static column has one value for all rows of a partition. SQLite keeps one for each row.
    pub fn has_static_columns(&self) -> bool {
        self.kind == Kind::Cassandra
    }

    /// Returns how many windows the store takes. A transaction is more efficient with two windows. A cluster is faster
    /// if the next window is sent before all answers to the previous window have arrived.
    pub fn pipelining(&self) -> Pipelining {
        match self.kind {
            Kind::Sqlite => Pipelining { together: 2, at_once: 1 },
            Kind::Cassandra => Pipelining { together: 1, at_once: 2 },
        }
    }
}

/// The declared store, with the settings needed to open it.
#[derive(Clone)]
pub enum Backend {
    Sqlite(sqlite::Settings),
    Cassandra(Box<cassandra::cluster::settings::Settings>),
}

/// The findings of the `check` command about a store.
pub struct Report {
    /// A description of the store, or the reason why it cannot be used.
    pub store: Result<String, StoreError>,
    /// `Ok` if tables and ledger match the declaration or can be created; `None` if they were not compared.
    pub tables: Option<Result<(), StoreError>>,
    /// How far reserved stamps are ahead of the clock. Set only if a correct clock cannot have allowed these stamps.
    pub stamps_ahead: Option<Duration>,
    pub warnings: Vec<String>,
}

impl Backend {
    /// Returns the store that the configuration declares.
    ///
    /// # Errors
    /// Returns an error if the password cannot be read, or if two passwords are configured.
    pub fn new(config: &StoreConfig, limits: Limits) -> Result<Self, StoreError> {
        let stamps_ahead = config.stamps_ahead;
        Ok(match config.kind {
            Kind::Sqlite => Self::Sqlite(sqlite::Settings { path: config.sqlite.path.clone(), stamps_ahead }),
            Kind::Cassandra => {
                let settings =
                    cassandra::cluster::settings::Settings::new(&config.cassandra, limits, stamps_ahead);
                Self::Cassandra(Box::new(settings.map_err(|error| StoreError::Settings(error.to_string()))?))
            }
        })
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Returns an error if the store cannot be reached, is missing or in use, is not a needledrop store, or has tables
    /// of another shape.
    pub async fn open(&self, declared: Arc<Schema>, access: Access) -> Result<AnyStore, StoreError> {
        let is_dry = access == Access::Dry;
        Ok(match self {
            Self::Sqlite(settings) => match SqliteStore::open(settings, declared, access) {
                opened if is_dry => AnyStore::DrySqlite(DryRun::over(opened)?),
                opened => AnyStore::Sqlite(Arc::new(opened?)),
            },
            Self::Cassandra(settings) => {
                match CassandraStore::open((**settings).clone(), declared, access).await {
                    opened if is_dry => AnyStore::DryCassandra(DryRun::over(opened)?),
                    opened => AnyStore::Cassandra(Arc::new(opened?)),
                }
            }
        })
    }

    /// Checks that tables and ledger match the declaration or can be created. The store may be open in this process.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read, or if opening it for writing would refuse its tables.
    pub async fn compare(&self, declared: &Schema, create: bool) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(settings) => SqliteStore::compare_open(&settings.path, declared, create),
            Self::Cassandra(settings) => CassandraStore::check(settings, declared, create).await?.tables,
        }
    }

    /// Checks the store as opening it for writing would, but creates nothing.
    pub async fn check(&self, declared: &Arc<Schema>, create: bool) -> Report {
        match self {
            Self::Sqlite(settings) => self.check_file(&settings.path, declared, create).await,
            Self::Cassandra(settings) => match CassandraStore::check(settings, declared, create).await {
                Err(error) => {
                    Report { store: Err(error), tables: None, stamps_ahead: None, warnings: Vec::new() }
                }
                Ok(checked) => Report {
                    store: Ok(format!("{}, {}", checked.server, settings.login_description)),
                    tables: Some(checked.tables),
                    stamps_ahead: checked.stamps_ahead,
                    warnings: checked.warnings,
                },
            },
        }
    }

    async fn check_file(&self, path: &Path, declared: &Arc<Schema>, create: bool) -> Report {
        let store = match self.open(Arc::clone(declared), Access::Read).await {
            Ok(_) => {
                Ok("a needledrop store in SQLite; an acknowledged row is on disk (WAL, synchronous=FULL)"
                    .to_owned())
            }
            Err(StoreError::Missing(_)) if create => {
                Ok("does not exist yet; the first load creates it".to_owned())
            }
            Err(StoreError::Missing(_)) => Ok("does not exist yet".to_owned()),
            Err(error) => Err(error),
        };
        // An error that prevents reading the store is already in `store`.
        let remarks = SqliteStore::remarks(path, declared).unwrap_or_default();
        let tables = Some(SqliteStore::compare(path, declared, create));
        Report { store, tables, stamps_ahead: remarks.stamps_ahead, warnings: remarks.may_reject }
    }

    /// Returns the statements that create tables and ledger, in a form that the store's shell accepts.
    pub fn ddl(&self, declared: &Schema) -> Vec<String> {
        match self {
            Self::Sqlite(_) => sqlite::schema::ddl(declared),
            Self::Cassandra(settings) => {
                let statements = cassandra::schema::ddl::ddl(settings, declared);
                statements.into_iter().map(|statement| format!("{statement};\n")).collect()
            }
        }
    }
}

/// An open store of either kind, or a dry run over it.
pub enum AnyStore {
    Sqlite(Arc<SqliteStore>),
    Cassandra(Arc<CassandraStore>),
    DrySqlite(DryRun<SqliteStore>),
    DryCassandra(DryRun<CassandraStore>),
}

impl AnyStore {
    /// Returns the store if what deliveries wrote can be taken back from it.
    ///
    /// # Errors
    /// Returns an error for a dry run.
    pub fn correctable(&self) -> Result<Correctable, StoreError> {
        match self {
            Self::Sqlite(store) => Ok(Correctable::ByStamps(Arc::clone(store))),
            Self::Cassandra(store) => Ok(Correctable::ByKeys(Arc::clone(store))),
            Self::DrySqlite(_) | Self::DryCassandra(_) => Err(corrects_nothing()),
        }
    }

    /// Returns the deliveries whose undo was begun and not completed.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn interrupted_undos(&self) -> Result<Vec<Delivery>, StoreError> {
        let Self::Cassandra(store) = self else { return Ok(Vec::new()) };
        let open = store.corrections().await?.into_iter().filter(|correction| !correction.is_settled);
        let (ids, mut found) = (open.filter_map(|open| open.delivery).collect::<BTreeSet<_>>(), Vec::new());
        for id in ids {
            found.extend(store.delivery(id).await?.filter(|delivery| !delivery.counts()));
        }
        Ok(found)
    }
}

/// A store whose rows can be corrected.
pub enum Correctable {
    /// Its rows have the stamps of their records.
    ByStamps(Arc<SqliteStore>),
    /// Its rows have only write times.
    ByKeys(Arc<CassandraStore>),
}

/// Calls a method of the open store, whichever kind it is.
macro_rules! either {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::Sqlite(store) => store.$method($($argument),*).await,
            Self::Cassandra(store) => store.$method($($argument),*).await,
            Self::DrySqlite(store) => store.$method($($argument),*).await,
            Self::DryCassandra(store) => store.$method($($argument),*).await,
        }
    };
}

impl Ledger for AnyStore {
    async fn known(&self, attempts: Arc<Feeds<Fingerprint>>) -> Result<Vec<KnownFile>, StoreError> {
        either!(self.known(attempts))
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        cursor: Cursor,
    ) -> Result<Page<Delivery, Cursor>, StoreError> {
        either!(self.deliveries(filter, cursor))
    }

    async fn each(&self, take: &mut (dyn FnMut(Delivery) + Send)) -> Result<(), StoreError> {
        either!(self.each(take))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        either!(self.delivery(id))
    }

    async fn has_content(&self, head: String, len: Option<u64>) -> Result<bool, StoreError> {
        either!(self.has_content(head, len))
    }

    async fn take_up(&self, entry: NewDelivery) -> Result<TakenUp, StoreError> {
        either!(self.take_up(entry))
    }

    async fn reopen(&self, id: DeliveryId, how: Continuation) -> Result<Option<Delivery>, StoreError> {
        either!(self.reopen(id, how))
    }

    async fn extend(&self, id: DeliveryId, first: u64, records: u64) -> Result<StampRange, StoreError> {
        either!(self.extend(id, first, records))
    }

    async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        either!(self.amend(id, amendment))
    }
}

impl ChunkWriter for AnyStore {
    /// `None` for a store that writes nothing before [`ChunkWriter::apply`].
    type Sent = Option<<CassandraStore as ChunkWriter>::Sent>;

    async fn send(&self, chunks: Arc<Vec<RowChunk>>) -> Result<Self::Sent, StoreError> {
        match self {
            Self::Cassandra(store) => store.send(chunks).await.map(Some),
            Self::Sqlite(_) | Self::DrySqlite(_) | Self::DryCassandra(_) => Ok(None),
        }
    }

    async fn apply(&self, chunks: Arc<Vec<RowChunk>>, sent: &Self::Sent) -> Result<Vec<Applied>, StoreError> {
        match (self, sent) {
            (Self::Cassandra(store), Some(sent)) => store.apply(chunks, sent).await,
            (Self::Cassandra(store), None) => {
                let sent = store.send(Arc::clone(&chunks)).await?;
                store.apply(chunks, &sent).await
            }
            (Self::Sqlite(store), _) => store.apply(chunks, &()).await,
            (Self::DrySqlite(store), _) => store.apply(chunks, &()).await,
            (Self::DryCassandra(store), _) => store.apply(chunks, &()).await,
        }
    }

    async fn backfill(&self, table: usize, chunk: Arc<RowChunk>, first: bool) -> Result<Applied, StoreError> {
        either!(self.backfill(table, chunk, first))
    }
}

impl QuarantineStore for AnyStore {
    async fn quarantined(
        &self,
        id: DeliveryId,
        filter: quarantine::EntryFilter,
        from: u64,
    ) -> Result<Page<quarantine::QuarantineEntry, u64>, StoreError> {
        either!(self.quarantined(id, filter, from))
    }

    async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        either!(self.header(id))
    }

    async fn replay(&self, retried: Arc<quarantine::Replay>) -> Result<Applied, StoreError> {
        either!(self.replay(retried))
    }

    async fn discard(&self, id: DeliveryId, records: Vec<u64>) -> Result<(), StoreError> {
        either!(self.discard(id, records))
    }
}

impl RowReader for AnyStore {
    async fn rows(
        &self,
        table: usize,
        key: Vec<Value<'static>>,
        from: Option<RowCursor>,
    ) -> Result<Page<TableRow, RowCursor>, StoreError> {
        either!(self.rows(table, key, from))
    }

    async fn rows_with_stamps(
        &self,
        table: usize,
        stamps: Stamps,
        from: Option<RowCursor>,
    ) -> Result<Page<KeyedRow, RowCursor>, StoreError> {
        either!(self.rows_with_stamps(table, stamps, from))
    }

    async fn count(&self, table: usize) -> Result<u64, StoreError> {
        either!(self.count(table))
    }
}

impl SavedResults for AnyStore {
    async fn save_result(&self, job: &'static str, result: String) -> Result<(), StoreError> {
        either!(self.save_result(job, result))
    }

    async fn saved_result(&self, job: &'static str) -> Result<Option<String>, StoreError> {
        either!(self.saved_result(job))
    }
}

impl Store for AnyStore {
    async fn tend(&self, observer: &dyn StoreObserver) -> StoreError {
        either!(self.tend(observer))
    }

    async fn close(&self) {
        either!(self.close());
    }
}

type CassandraRepair = <CassandraStore as Repairs>::Repair;

/// A repair in a store of either kind.
pub enum AnyRepair {
    Sqlite,
    Cassandra(CassandraRepair),
}

impl Repairs for AnyStore {
    type Repair = AnyRepair;

    async fn check_repairable(&self, tables: &[usize]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.check_repairable(tables).await,
            Self::Cassandra(store) => store.check_repairable(tables).await,
            Self::DrySqlite(_) | Self::DryCassandra(_) => Err(corrects_nothing()),
        }
    }

    async fn begin_repair(&self, tables: Vec<usize>) -> Result<AnyRepair, StoreError> {
        match self {
            Self::Sqlite(store) => store.begin_repair(tables).await.map(|()| AnyRepair::Sqlite),
            Self::Cassandra(store) => store.begin_repair(tables).await.map(AnyRepair::Cassandra),
            Self::DrySqlite(_) | Self::DryCassandra(_) => Err(corrects_nothing()),
        }
    }

    async fn repair(
        &self,
        repair: &AnyRepair,
        table: usize,
        rows: Vec<RowRepair>,
    ) -> Result<u64, StoreError> {
        match (self, repair) {
            (Self::Sqlite(store), AnyRepair::Sqlite) => store.repair(&(), table, rows).await,
            (Self::Cassandra(store), AnyRepair::Cassandra(repair)) => store.repair(repair, table, rows).await,
            _ => Err(corrects_nothing()),
        }
    }

    fn lateness(&self, table: usize, stamp: Stamp, newest: Stamp) -> Lateness {
        match self {
            Self::Sqlite(store) => store.lateness(table, stamp, newest),
            Self::Cassandra(store) => store.lateness(table, stamp, newest),
            Self::DrySqlite(_) | Self::DryCassandra(_) => Lateness::None,
        }
    }

    async fn fates(&self, table: usize, rows: Vec<KeyedRow>) -> Result<Vec<Fate>, StoreError> {
        match self {
            Self::Sqlite(store) => store.fates(table, rows).await,
            Self::Cassandra(store) => store.fates(table, rows).await,
            Self::DrySqlite(_) | Self::DryCassandra(_) => Err(corrects_nothing()),
        }
    }

    async fn uncover(&self, repair: &AnyRepair, table: usize, rows: Vec<KeyedRow>) -> Result<(), StoreError> {
        match (self, repair) {
            (Self::Sqlite(store), AnyRepair::Sqlite) => store.uncover(&(), table, rows).await,
            (Self::Cassandra(store), AnyRepair::Cassandra(repair)) => {
                store.uncover(repair, table, rows).await
            }
            _ => Err(corrects_nothing()),
        }
    }
}

fn corrects_nothing() -> StoreError {
    StoreError::Settings("a dry run corrects nothing".to_owned())
}
