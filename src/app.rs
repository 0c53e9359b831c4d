//! Build, run, drain: the only place, beside the pipeline, that starts things.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_tokio::Signals;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{self, After, Config, ConfigError, Kind, Layers, Loaded};
use crate::domain::{Noted, Plan, StampsAhead};
use crate::health::Health;
use crate::heartbeat::Pulse;
use crate::metrics::{self, Scrape};
use crate::pipeline::after::archive::Archive;
use crate::pipeline::discover::Scope;
use crate::pipeline::discover::inbox::Inbox;
use crate::pipeline::find::Find;
use crate::pipeline::read::source::note;
use crate::pipeline::tally::Tally;
use crate::pipeline::{Ended, Pipeline, Taking};
use crate::reload::{Requests, refused};
use crate::service;
use crate::store::StoreError;
use crate::store::any::AnyStore;
use crate::store::cassandra::CassandraStore;
use crate::store::cassandra::connect::{self, Settings};
use crate::store::patience::{GONE, Patience};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{Access, Store};
use crate::web::{self, Web};

/// Exit code of a process that was told twice to stop.
const STOPPED: i32 = 4;

/// How often the metrics are tended.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long open connections have for their last answer when the daemon ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A copied file is complete once nothing has written to it for this long.
const COPIED: Duration = Duration::from_secs(2);

/// How long a store that another process took between two configurations is left alone.
const TAKEN: Duration = Duration::from_secs(1);

/// A configuration that is whole, and what follows from it.
#[derive(Clone)]
pub struct App {
    pub config: Config,
    /// Where it came from.
    pub origin: String,
    /// What it was made from, for reading it again.
    pub layers: Layers,
    /// Its settings as they were made.
    pub tree: serde_json::Value,
    /// The file when it was read.
    pub noted: Option<Noted>,
    pub plan: Arc<Plan>,
    pub inbox: Inbox,
}

/// How files are loaded once.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub taking: Taking,
    /// Nothing is written, not even a store.
    pub dry: bool,
}

/// How the daemon goes on.
enum Turn {
    Ended(Ended),
    /// Another process writes now.
    StandBy,
    /// The files of the store were removed or replaced. Continue with the new configuration, if there is one.
    StoreGone(Option<Box<App>>),
    /// Under this configuration.
    Next(Box<App>),
    /// The store cannot be opened with this one.
    Refused(StoreError),
}

/// The situation in which the store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// The process is starting. If another process holds the store, this process ends.
    First,
    /// Between two configurations. Another process may have taken the store in the meantime; wait for it.
    Again,
    /// The file was removed or replaced. Wait for a file at the path, and do not create one.
    WhenBack,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{folder}: {error}\n  next: make the folder, or set source.folder to the one that is meant")]
    Inbox { folder: PathBuf, error: std::io::Error },
    #[error("{listen}: {error}\n  next: end what uses that port, or set http.listen to another")]
    Listen { listen: String, error: std::io::Error },
    #[error("{0}\n  next: this is a defect; please report it")]
    Start(String),
}

impl App {
    /// Loads and checks the configuration.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        let noted = std::fs::metadata(layers.path()).ok().map(|meta| note(&meta));
        let loaded = layers.load()?;
        let plan = Arc::new(loaded.plan()?);
        let Loaded { config, origin, tree, .. } = loaded;
        let inbox = Inbox::new(&config.source);
        Ok(Self { config, origin, layers: layers.clone(), tree, noted, plan, inbox })
    }

    /// Opens the store.
    ///
    /// # Errors
    /// A store that is missing, in use, not ours, or of another shape.
    pub async fn open(&self, access: Access) -> Result<AnyStore, StoreError> {
        let plan = Arc::clone(&self.plan);
        Ok(match self.config.store.kind {
            Kind::Sqlite => AnyStore::Sqlite(SqliteStore::open(&self.sqlite(), plan, access)?),
            Kind::Cassandra => match CassandraStore::open(self.cassandra()?, Arc::clone(&plan), access).await
            {
                Err(StoreError::Missing(_)) if access == Access::Dry => {
                    AnyStore::Sqlite(SqliteStore::nothing(plan)?)
                }
                opened => AnyStore::Cassandra(opened?),
            },
        })
    }

    /// The settings of the SQLite store.
    fn sqlite(&self) -> sqlite::Settings {
        let store = &self.config.store;
        sqlite::Settings { path: store.sqlite.path.clone(), stamps_ahead: consent(store.stamps_ahead) }
    }

    /// What the Cassandra store is to know.
    ///
    /// # Errors
    /// A password that cannot be read.
    pub fn cassandra(&self) -> Result<Settings, StoreError> {
        settings(&self.config).map_err(|error| StoreError::Settings(error.to_string()))
    }

    /// Finds the files of deliveries.
    pub fn find(&self) -> Find {
        Find {
            inbox: self.inbox.clone(),
            archive: Arc::new(Archive::new(&self.config.source)),
            plan: Arc::clone(&self.plan),
            max_record_bytes: self.config.limits.max_record_bytes.0,
        }
    }

    /// For writing, with what is missing made where that is allowed.
    pub fn writing(&self, standby: bool) -> Access {
        Access::Write { create: self.config.store.create_schema, standby }
    }

    /// Keys that an estimate of collisions is made from, at most.
    pub fn collision_sample(&self) -> u64 {
        self.config.limits.collision_keys as u64
    }

    /// Where the store is, for people.
    pub fn store_name(&self) -> String {
        match self.config.store.kind {
            Kind::Sqlite => self.config.store.sqlite.path.display().to_string(),
            Kind::Cassandra => {
                let cassandra = &self.config.store.cassandra;
                format!("cassandra {} at {}", cassandra.keyspace, cassandra.hosts.join(", "))
            }
        }
    }

    /// Whether the inbox is there and can be read.
    ///
    /// # Errors
    /// With the folder and what the system says.
    pub fn check_inbox(&self) -> Result<(), AppError> {
        let folder = self.config.source.folder.clone();
        std::fs::read_dir(&folder).map(|_| ()).map_err(|error| AppError::Inbox { folder, error })
    }

    /// The daemon: until it is told to stop.
    ///
    /// # Errors
    /// What keeps it from starting, or a store that is lost for good.
    pub async fn daemon(&self, stop: CancellationToken) -> Result<Ended, AppError> {
        // Before anything else: without it the signal ends the process.
        let mut requests = Requests::begin(self)?;
        self.check_inbox()?;
        // The port comes before the store, so that nothing is made when the port is in use.
        let listener = self.listen().await?;
        let metrics = metrics::install(&self.plan).map_err(|error| AppError::Start(error.to_string()))?;
        self.announce(&listener);
        let health = Arc::new(Health::default());
        let mut around = JoinSet::new();
        let over = CancellationToken::new();
        let web = Web { metrics: metrics.clone(), health: Arc::clone(&health) };
        let answering = answer(listener, web, over.clone());
        let answering = answering.map_err(|error| AppError::Start(error.to_string()))?;
        around.spawn(upkeep(metrics, self.embedded(), over.clone()));
        around.spawn(tell_of_stop(stop.clone(), Arc::clone(&health), over.clone()));
        if service::is_heard() {
            around.spawn(service::tell(Arc::clone(&health), over.clone()));
        }
        let ended = self.watch(health, stop, &mut requests).await;
        over.cancel();
        while around.join_next().await.is_some() {}
        // Its panic was told when it happened.
        let _ = tokio::task::spawn_blocking(|| answering.join()).await;
        ended
    }

    /// The file of the embedded store, where there is one.
    fn embedded(&self) -> Option<PathBuf> {
        let is_embedded = self.config.store.kind == Kind::Sqlite;
        is_embedded.then(|| self.config.store.sqlite.path.clone())
    }

    /// Loads what comes, under one configuration after another.
    async fn watch(
        &self,
        health: Arc<Health>,
        stop: CancellationToken,
        requests: &mut Requests,
    ) -> Result<Ended, AppError> {
        let (mut app, mut before, mut opening) = (self.clone(), None, Opening::First);
        loop {
            let turn = tokio::select! {
                opened = app.open_version(opening, &stop, &health) => match opened {
                    Ok(Some(store)) => {
                        opening = Opening::Again;
                        app.load_version(store, &mut before, &health, &stop, requests).await?
                    }
                    Ok(None) => return Ok(Ended::Stopped),
                    Err(error) => Turn::Refused(error),
                },
                next = requests.configuration(&app, &health) => {
                    // Nothing is loaded by the one before that would have to end first.
                    health.reload_is_over();
                    Turn::Next(Box::new(next))
                }
            };
            if matches!(turn, Turn::StoreGone(_)) {
                opening = Opening::WhenBack;
            }
            match (turn, before.take()) {
                (Turn::Ended(ended), _) => return Ok(ended),
                (Turn::StandBy | Turn::StoreGone(None), _) => {}
                // One that never was in force is nothing to go back to.
                (Turn::Next(next) | Turn::StoreGone(Some(next)), in_force) => {
                    let last = std::mem::replace(&mut app, *next);
                    before = in_force.or(Some(last));
                }
                (Turn::Refused(error), Some(old)) => {
                    refused(&error.into(), &health);
                    app = old;
                }
                (Turn::Refused(error), None) => return Err(error.into()),
            }
        }
    }

    /// Opens the store, waiting if necessary; `None` when the process is to stop.
    async fn open_version(
        &self,
        opening: Opening,
        stop: &CancellationToken,
        health: &Arc<Health>,
    ) -> Result<Option<AnyStore>, StoreError> {
        if opening == Opening::WhenBack && !self.is_back(stop, health).await {
            return Ok(None);
        }
        loop {
            let opened = tokio::select! {
                opened = self.open_patiently(true, None, stop, health) => opened,
                () = stop.cancelled() => return Ok(None),
            };
            match opened {
                Err(error) if stop.is_cancelled() && error.passing().is_some() => return Ok(None),
                Err(error @ StoreError::InUse { .. }) if opening != Opening::First => {
                    warn!("waiting: {error}");
                    health.store_waits("locked");
                    let _ = tokio::time::timeout(TAKEN, stop.cancelled()).await;
                }
                opened => return opened.map(Some),
            }
        }
    }

    /// Waits until there is a store at the path again. False when the process is to stop.
    async fn is_back(&self, stop: &CancellationToken, health: &Health) -> bool {
        loop {
            health.store_waits(GONE);
            if tokio::time::timeout(TAKEN, stop.cancelled()).await.is_ok() {
                return false;
            }
            if self.embedded().is_none_or(|file| is_whole(&file)) {
                return true;
            }
        }
    }

    /// Loads what comes until it ends, or until there is another configuration and what is under way has ended.
    /// Who loses the right to write to another process stands by until that one is gone.
    async fn load_version(
        &self,
        store: AnyStore,
        before: &mut Option<Self>,
        health: &Arc<Health>,
        stop: &CancellationToken,
        requests: &mut Requests,
    ) -> Result<Turn, AppError> {
        if before.take().is_some() {
            info!("configuration: {} is in force", self.origin);
            metrics::tables(&self.plan);
            metrics::reload("applied");
        }
        health.store_opened();
        health.reloading(false);
        health.reload_is_over();
        let store = Arc::new(store);
        let pipeline = self.pipeline(
            Arc::clone(&store),
            Arc::new(Tally::default()),
            Arc::clone(health),
            None,
            Taking::New,
        );
        let intake = pipeline.intake.clone();
        let mut run = std::pin::pin!(pipeline.run(Scope::Watch, stop.clone()));
        let mut next = None;
        let ended = tokio::select! {
            ended = &mut run => ended,
            found = requests.configuration(self, health) => {
                health.reloading(true);
                next = Some(Box::new(found));
                intake.cancel();
                run.await
            }
        };
        health.store_closed();
        // The right to write is not given back for the next configuration: no other process comes between.
        let (ended, next) = match (ended, next) {
            (Ok(Ended::Done), Some(next)) => return Ok(Turn::Next(next)),
            other => other,
        };
        store.close().await;
        match (ended, next) {
            (Err(error @ StoreError::Lost(_)), next) if !stop.is_cancelled() => {
                warn!("{error}");
                Ok(next.map_or(Turn::StandBy, Turn::Next))
            }
            (Err(error @ StoreError::Gone { .. }), next) if !stop.is_cancelled() => {
                warn!("{error}");
                Ok(Turn::StoreGone(next))
            }
            (ended, _) => Ok(Turn::Ended(ended?)),
        }
    }

    /// Opens the store for writing; one that is busy is waited for.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_patiently(
        &self,
        standby: bool,
        limit: Option<Duration>,
        stop: &CancellationToken,
        health: &Arc<Health>,
    ) -> Result<AnyStore, StoreError> {
        let patience =
            Patience { limit, halt: stop.clone(), health: Arc::clone(health), pulse: Pulse::default() };
        patience.with(|| self.open(self.writing(standby))).await
    }

    /// These files, once.
    ///
    /// # Errors
    /// A store that is not to be had within `store.patience`.
    pub async fn once(
        &self,
        scope: Scope,
        how: How,
        tally: Arc<Tally>,
        stop: CancellationToken,
    ) -> Result<Ended, AppError> {
        let (patience, health) = (Some(*self.config.store.patience), Arc::new(Health::default()));
        let opened = match how.dry {
            true => self.open(Access::Dry).await,
            false => self.open_patiently(false, patience, &stop, &health).await,
        };
        let store = match opened {
            Err(error) if stop.is_cancelled() && error.passing().is_some() => return Ok(Ended::Stopped),
            opened => Arc::new(opened?),
        };
        let mut pipeline = self.pipeline(Arc::clone(&store), tally, health, patience, how.taking);
        // What another program loaded stays where it put it.
        if how.dry || how.taking == Taking::Assumed {
            pipeline.config.source.after = After::Keep;
        }
        let ended = pipeline.run(scope, stop).await;
        store.close().await;
        Ok(ended?)
    }

    fn pipeline(
        &self,
        store: Arc<AnyStore>,
        tally: Arc<Tally>,
        health: Arc<Health>,
        patience: Option<Duration>,
        taking: Taking,
    ) -> Pipeline<AnyStore> {
        let (plan, config, inbox) = (Arc::clone(&self.plan), self.config.clone(), self.inbox.clone());
        let intake = CancellationToken::new();
        Pipeline { store, plan, config, inbox, tally, health, taking, patience, intake }
    }

    /// The port that the daemon answers on.
    ///
    /// # Errors
    /// An address that is not this machine's, or a port that is in use.
    pub async fn listen(&self) -> Result<TcpListener, AppError> {
        let listen = self.config.http.listen;
        let listener = TcpListener::bind(listen).await;
        listener.map_err(|error| AppError::Listen { listen: listen.to_string(), error })
    }

    fn announce(&self, listener: &TcpListener) {
        let address = listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
        info!("configuration: {}", self.origin);
        info!("store: {}", self.store_name());
        info!("metrics: http://{address}/metrics");
        info!("inbox: {} (drop CSV files here)", self.inbox.folder.display());
        match self.config.source.after {
            After::Keep => {}
            After::Move => info!("loaded files are moved to {}", self.config.source.archive().display()),
            After::Delete => info!("loaded files are deleted"),
        }
    }
}

/// The configuration of the Cassandra store in the store's own words.
fn settings(config: &Config) -> Result<Settings, ConfigError> {
    use crate::config::{Compression, Consistency};
    let cassandra = &config.store.cassandra;
    let consistency = |of: Consistency| match of {
        Consistency::One => connect::Consistency::One,
        Consistency::Two => connect::Consistency::Two,
        Consistency::Three => connect::Consistency::Three,
        Consistency::Quorum => connect::Consistency::Quorum,
        Consistency::All => connect::Consistency::All,
        Consistency::LocalQuorum => connect::Consistency::LocalQuorum,
        Consistency::EachQuorum => connect::Consistency::EachQuorum,
        Consistency::LocalOne => connect::Consistency::LocalOne,
    };
    let with_port = |host: &String| match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.ends_with(':') => host.clone(),
        _ => format!("{host}:{}", cassandra.port),
    };
    let password = cassandra.password()?.unwrap_or_default();
    Ok(Settings {
        hosts: cassandra.hosts.iter().map(with_port).collect(),
        keyspace: cassandra.keyspace.clone(),
        ledger_keyspace: cassandra.ledger_keyspace.clone().unwrap_or_else(|| cassandra.keyspace.clone()),
        replication: cassandra.replication.iter().map(|(key, word)| (key.clone(), word.0.clone())).collect(),
        write: consistency(cassandra.consistency.write),
        read: consistency(cassandra.consistency.read),
        local_datacenter: cassandra.local_datacenter.clone(),
        login: cassandra.username.clone().map(|user| (user, password)),
        tls: cassandra.tls.as_ref().map(|tls| connect::Tls {
            ca: tls.ca.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            check_host: tls.check_host,
        }),
        compression: match cassandra.compression {
            Compression::None => None,
            Compression::Lz4 => Some(connect::Compression::Lz4),
            Compression::Snappy => Some(connect::Compression::Snappy),
        },
        connect_timeout: *cassandra.connect_timeout,
        request_timeout: *cassandra.request_timeout,
        lease: *cassandra.lease,
        in_flight: config.write.in_flight,
        batch_rows: config.write.batch_rows,
        batch_bytes: config.write.batch_bytes.0,
        rows_per_second: config.write.rows_per_second,
        max_record_bytes: config.limits.max_record_bytes.0,
        collision_keys: config.limits.collision_keys,
        stamps_ahead: consent(config.store.stamps_ahead),
    })
}

fn consent(configured: config::StampsAhead) -> StampsAhead {
    match configured {
        config::StampsAhead::Wait => StampsAhead::Wait,
        config::StampsAhead::Accept => StampsAhead::Accept,
    }
}

/// Answers on HTTP in a thread of its own: probes and scrapes do not wait for the pipeline, however busy it is.
fn answer(
    listener: TcpListener,
    web: Web,
    over: CancellationToken,
) -> std::io::Result<std::thread::JoinHandle<std::io::Result<()>>> {
    let listener = listener.into_std()?;
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            // A client that holds its connection open must not hold up the end.
            let last = async {
                over.cancelled().await;
                tokio::time::sleep(LAST_ANSWERS).await;
            };
            tokio::select! {
                () = web::serve(listener, web, over.clone()) => {}
                () = last => {}
            }
            Ok(())
        })
    })
}

/// What the metrics need now and then.
async fn upkeep(metrics: Scrape, embedded: Option<PathBuf>, over: CancellationToken) -> std::io::Result<()> {
    loop {
        if let Some(store) = &embedded {
            metrics::store_bytes(size_with_log(store));
        }
        metrics.upkeep();
        if tokio::time::timeout(UPKEEP, over.cancelled()).await.is_ok() {
            return Ok(());
        }
    }
}

/// Whether the file exists and nothing is still writing to it.
fn is_whole(file: &std::path::Path) -> bool {
    let quiet = |meta: &std::fs::Metadata| meta.modified().ok()?.elapsed().ok();
    std::fs::metadata(file)
        .is_ok_and(|meta| meta.len() > 0 && quiet(&meta).is_none_or(|quiet| quiet >= COPIED))
}

fn size_with_log(store: &std::path::Path) -> u64 {
    let mut log = store.as_os_str().to_owned();
    log.push("-wal");
    // What is not there has no size.
    [store.as_os_str(), &log].iter().filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum()
}

async fn tell_of_stop(
    stop: CancellationToken,
    health: Arc<Health>,
    over: CancellationToken,
) -> std::io::Result<()> {
    tokio::select! {
        () = stop.cancelled() => health.stopping(),
        () = over.cancelled() => {}
    }
    Ok(())
}

/// Runs `work` under the signals: the first SIGTERM or SIGINT stops intake, a second ends at once. SIGUSR1 and
/// SIGUSR2, which would end the process, are ignored.
///
/// # Errors
/// When signals cannot be had.
pub async fn with_signals<T>(stop: CancellationToken, work: impl Future<Output = T>) -> Result<T, AppError> {
    let heard = [SIGTERM, SIGINT, SIGUSR1, SIGUSR2];
    let mut signals = Signals::new(heard).map_err(|error| AppError::Start(error.to_string()))?;
    let handle = signals.handle();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                handle.close();
                return Ok(done);
            }
            Some(signal) = signals.next() => {
                if matches!(signal, SIGUSR1 | SIGUSR2) {
                    info!("SIGUSR1 and SIGUSR2 mean nothing here and are ignored");
                    continue;
                }
                if stop.is_cancelled() {
                    warn!("told twice: ending at once; what was not written is read again next time");
                    std::process::exit(STOPPED);
                }
                info!("stopping: what was read is being written");
                stop.cancel();
            }
        }
    }
}
