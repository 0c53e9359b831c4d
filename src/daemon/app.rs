//! A checked configuration, and what is built from it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{After, Config, ConfigError, Layers, Loaded};
use crate::daemon::health::Health;
use crate::domain::{FileStat, Plan};
use crate::jobs::locate::KeptFiles;
use crate::metrics::heartbeat::Pulse;
use crate::pipeline::Pipeline;
use crate::pipeline::messages::{Ended, LoadMode, Scope};
use crate::pipeline::run_stats::RunStats;
use crate::source::backend::AnySource;
use crate::source::folder::file::note;
use crate::store::backend::{AnyStore, Backend};
use crate::store::backoff::Backoff;
use crate::store::{Access, Store, StoreError};

/// A valid configuration, with the plan and the inbox that follow from it.
#[derive(Clone)]
pub struct App {
    pub config: Config,
    /// The file that the configuration was read from, or a word for the built-in one.
    pub origin: String,
    /// The layers that it was made from. They are needed to read it again.
    pub layers: Layers,
    /// All settings as a tree. A reload compares two trees to find what changed.
    pub tree: serde_json::Value,
    /// The size and times of the file when it was read.
    pub file_stat: Option<FileStat>,
    pub plan: Arc<Plan>,
    pub inbox: AnySource,
}

/// How files are loaded once.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    pub mode: LoadMode,
    /// Whether nothing is written, not even a store.
    pub dry_run: bool,
}

/// Why the daemon or a load cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{folder}: {error}\n  next: create the folder, or correct source.folder")]
    Inbox { folder: PathBuf, error: std::io::Error },
    #[error(
        "{listen}: {error}\n  next: stop the program that uses this port, or set http.listen to another address"
    )]
    Listen { listen: String, error: std::io::Error },
    #[error("{0}\n  next: this is a defect; please report it")]
    Start(String),
}

impl App {
    /// Loads and checks the configuration.
    ///
    /// # Errors
    /// Returns an error for the first problem found in the configuration.
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        let file_stat = std::fs::metadata(layers.path()).ok().map(|meta| note(&meta));
        let loaded = layers.load()?;
        let plan = Arc::new(loaded.plan()?);
        let Loaded { config, origin, tree, .. } = loaded;
        let inbox = AnySource::new(&config.source.folder());
        Ok(Self { config, origin, layers: layers.clone(), tree, file_stat, plan, inbox })
    }

    /// Returns the backend of the declared store.
    ///
    /// # Errors
    /// Returns an error if the password cannot be read.
    pub fn backend(&self) -> Result<Backend, StoreError> {
        Backend::new(&self.config.store, self.config.write_limits())
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Returns an error if the store is missing, in use, or not a store of needledrop, or if its tables have another
    /// shape.
    pub async fn open(&self, access: Access) -> Result<AnyStore, StoreError> {
        self.backend()?.open(Arc::clone(&self.plan), access).await
    }

    /// Returns a finder for the files of deliveries, in the inbox and in the archive.
    pub fn find(&self) -> KeptFiles<AnySource> {
        KeptFiles {
            inbox: self.inbox.with_archive_unread(),
            plan: Arc::clone(&self.plan),
            max_record_bytes: self.config.limits.max_record_bytes.0,
        }
    }

    /// Returns the access for writing. It creates what is missing if the configuration allows it.
    pub fn writing(&self, standby: bool) -> Access {
        Access::Write { create: self.config.store.create_schema, standby }
    }

    /// Returns the maximum number of keys that an estimate of collisions is based on.
    pub fn collision_sample(&self) -> u64 {
        self.config.limits.collision_keys as u64
    }

    /// Checks that the inbox exists and can be read.
    ///
    /// # Errors
    /// Returns an error with the folder and the system's message if the folder cannot be read.
    pub fn check_inbox(&self) -> Result<(), AppError> {
        let folder = self.config.source.folder.clone();
        std::fs::read_dir(&folder).map(|_| ()).map_err(|error| AppError::Inbox { folder, error })
    }

    /// Opens the store for writing, and tries again while it is busy.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::open`].
    pub async fn open_with_backoff(
        &self,
        standby: bool,
        limit: Option<Duration>,
        stop: &CancellationToken,
        health: &Arc<Health>,
    ) -> Result<AnyStore, StoreError> {
        let backoff = Backoff {
            limit,
            halt: stop.clone(),
            observer: Arc::<Health>::clone(health),
            pulse: Pulse::default(),
        };
        backoff.with(|| self.open(self.writing(standby))).await
    }

    /// Loads these files once.
    ///
    /// # Errors
    /// Returns an error if the store cannot be opened within `store.patience`, or if it fails during the load.
    pub async fn once(
        &self,
        scope: Scope,
        options: LoadOptions,
        stats: Arc<RunStats>,
        stop: CancellationToken,
    ) -> Result<Ended, AppError> {
        let (patience, health) = (Some(*self.config.store.patience), Arc::new(Health::default()));
        let opened = match options.dry_run {
            true => self.open(Access::Dry).await,
            false => self.open_with_backoff(false, patience, &stop, &health).await,
        };
        let store = match opened {
            Err(error) if stop.is_cancelled() && error.transient_reason().is_some() => {
                return Ok(Ended::Stopped);
            }
            opened => Arc::new(opened?),
        };
        let mut pipeline = self.pipeline(Arc::clone(&store), stats, health, patience, options.mode);
        // Files of a dry run, and files whose rows another program wrote, stay where they are.
        if options.dry_run || options.mode == LoadMode::Assumed {
            pipeline.config.source.after = After::Keep;
        }
        let ended = pipeline.run(scope, stop).await;
        store.close().await;
        Ok(ended?)
    }

    pub(super) fn pipeline(
        &self,
        store: Arc<AnyStore>,
        stats: Arc<RunStats>,
        health: Arc<Health>,
        patience: Option<Duration>,
        mode: LoadMode,
    ) -> Pipeline<AnyStore, AnySource> {
        let (plan, config, inbox) = (Arc::clone(&self.plan), self.config.clone(), self.inbox.clone());
        let intake = CancellationToken::new();
        let heartbeat = Arc::clone(&health.heartbeat);
        Pipeline { store, plan, config, inbox, stats, observer: health, heartbeat, mode, patience, intake }
    }

    /// Binds the port that the daemon answers on.
    ///
    /// # Errors
    /// Returns an error if the address does not belong to this machine, or if the port is in use.
    pub async fn listen(&self) -> Result<TcpListener, AppError> {
        let listen = self.config.http.listen;
        let listener = TcpListener::bind(listen).await;
        listener.map_err(|error| AppError::Listen { listen: listen.to_string(), error })
    }
}
