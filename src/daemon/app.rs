//! A checked configuration, and what is built from it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::{Config, ConfigError, Layers, Loaded};
use crate::daemon::health::Health;
use crate::domain::{Feeds, FileStat, Plan, Schema, undo};
use crate::jobs::locate::KeptFiles;
use crate::metrics::heartbeat::Pulse;
use crate::pipeline::Pipeline;
use crate::pipeline::feed_input::FeedInput;
use crate::pipeline::messages::LoadMode;
use crate::pipeline::pending_replacements::PendingReplacements;
use crate::pipeline::run_stats::RunStats;
use crate::source::Listing;
use crate::source::backend::AnySource;
use crate::source::folder;
use crate::source::folder::file::{note, off_thread};
use crate::store::backend::{AnyStore, Backend};
use crate::store::backoff::Backoff;
use crate::store::scratch_folder::ScratchFolder;
use crate::store::{Access, StoreError};

/// How long the check of an inbox waits for an answer.
const INBOX_CHECK: Duration = Duration::from_secs(5);

/// A valid configuration, with the plans and the inboxes that follow from it.
#[derive(Clone)]
pub struct App {
    /// The settings that all feeds share. Its sections `source` and `tables` are those of the first feed.
    pub config: Config,
    /// The file that the configuration was read from, or a word for the built-in one.
    pub origin: String,
    /// The layers that it was made from. They are needed to read it again.
    pub layers: Layers,
    /// All settings as a tree. A reload compares two trees to find what changed.
    pub tree: serde_json::Value,
    /// The size and times of the file when it was read.
    pub file_stat: Option<FileStat>,
    pub feeds: Feeds<FeedInput<AnySource>>,
    /// The tables of all feeds.
    pub schema: Arc<Schema>,
}

/// Why the daemon or a load cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{folder}: {error}\n  next: create the folder, or correct {setting}")]
    Inbox { folder: PathBuf, error: std::io::Error, setting: String },
    #[error("{folder}: does not answer\n  next: check the server of this network share")]
    Silent { folder: PathBuf },
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
        let plans = loaded.plans()?;
        let schema = Arc::new(Schema::of(&plans));
        let Loaded { feeds: configs, origin, tree, .. } = loaded;
        let inboxes: Vec<_> = configs.iter().map(|config| config.source.inbox()).collect();
        let input = |(config, plan): (&Config, Plan)| {
            let others = inboxes.iter().filter(|other| other.feed != config.source.feed).cloned().collect();
            let source = AnySource::new(&folder::Settings { others, ..config.source.folder() });
            let input = FeedInput { plan: Arc::new(plan), source, settings: config.source.clone() };
            (config.source.feed.clone(), input)
        };
        let feeds = configs.iter().zip(plans).map(input).collect();
        let first = configs.into_iter().next();
        let config = first.ok_or_else(|| ConfigError::Invalid {
            file: origin.clone(),
            at: String::new(),
            problem: "no feed is declared".to_owned(),
        })?;
        Ok(Self { config, origin, layers: layers.clone(), tree, file_stat, feeds, schema })
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
        self.backend()?.open(Arc::clone(&self.schema), access).await
    }

    /// Returns the plan of each feed.
    pub fn plans(&self) -> Feeds<Arc<Plan>> {
        self.feeds.map(|feed| Arc::clone(&feed.plan))
    }

    /// Returns a finder of each feed for the files of its deliveries, in the inbox and in the archive.
    pub fn find(&self) -> Feeds<KeptFiles<AnySource>> {
        self.feeds.map(|feed| KeptFiles {
            inbox: feed.source.with_archive_unread(),
            plan: Arc::clone(&feed.plan),
            max_record_bytes: self.config.limits.max_record_bytes.0,
            window_bytes: self.config.write.window_bytes.0,
        })
    }

    /// Returns where scratch files are created: in this folder, or in that for temporary files.
    pub fn scratch(&self, folder: Option<PathBuf>) -> ScratchFolder {
        ScratchFolder { folder, schema: Arc::clone(&self.schema), keys: self.config.store.keys() }
    }

    /// Returns the access for writing. It creates what is missing if the configuration allows it.
    pub fn writing(&self, standby: bool) -> Access {
        Access::Write { create: self.config.store.create_schema, standby }
    }

    /// Returns the maximum number of keys that an estimate of collisions is based on.
    pub fn collision_sample(&self) -> u64 {
        self.config.limits.collision_keys as u64
    }

    /// Checks that the inbox of a feed exists and can be read. Does not wait long for it.
    ///
    /// # Errors
    /// Returns an error with the folder and the system's message if the folder cannot be read, or if it does not answer.
    pub async fn check_inbox(feed: &FeedInput<AnySource>) -> Result<(), AppError> {
        let folder = feed.settings.folder.clone();
        let read = {
            let folder = folder.clone();
            off_thread(move || std::fs::read_dir(folder).map(|_| ()))
        };
        let Ok(read) = tokio::time::timeout(INBOX_CHECK, read).await else {
            return Err(AppError::Silent { folder });
        };
        let setting = feed.plan.feed.setting("source.folder");
        read.map_err(|error| AppError::Inbox { folder, error, setting })
    }

    /// Returns the files of an inbox, in listing order.
    ///
    /// # Errors
    /// Returns an error if the inbox cannot be read, or does not answer.
    pub async fn list_inbox(feed: &FeedInput<AnySource>) -> Result<Listing, AppError> {
        Self::check_inbox(feed).await?;
        let (source, folder) = (feed.source.clone(), feed.settings.folder.clone());
        let setting = feed.plan.feed.setting("source.folder");
        off_thread(move || source.list()).await.map_err(|error| AppError::Inbox { folder, error, setting })
    }

    /// Checks the inboxes of all feeds at the same time. Returns the errors of those that cannot be read.
    ///
    /// # Errors
    /// Returns an error if no inbox can be read, and all of them have answered. An inbox that does not answer may be read
    /// later.
    pub async fn check_inboxes(&self) -> Result<Vec<AppError>, AppError> {
        let checked = join_all(self.feeds.values().map(Self::check_inbox)).await;
        let mut missing: Vec<AppError> = checked.into_iter().filter_map(Result::err).collect();
        let is_silent = |error: &AppError| matches!(error, AppError::Silent { .. });
        if missing.len() < self.feeds.values().count() || missing.iter().any(is_silent) {
            return Ok(missing);
        }
        // At least one feed is declared.
        missing.pop().map_or(Ok(Vec::new()), Err)
    }

    /// Returns how a command waits for the store: up to `store.patience`, and until `stop`.
    pub fn patience(&self, stop: &CancellationToken) -> Backoff {
        let limit = Some(*self.config.store.patience);
        Backoff { limit, halt: stop.clone(), observer: Arc::new(()), pulse: Pulse::default() }
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
        let store = backoff.with(|| self.open(self.writing(standby))).await?;
        for undone in backoff.with(|| store.interrupted_undos()).await? {
            warn!(file = undone.file.text(), "{}", undo::interrupted(&undone));
        }
        Ok(store)
    }

    pub(super) fn pipeline(
        &self,
        (store, replacements): (Arc<AnyStore>, &Arc<PendingReplacements>),
        stats: Arc<RunStats>,
        (health, patience): (Arc<Health>, Option<Duration>),
        mode: LoadMode,
    ) -> Pipeline<AnyStore, AnySource> {
        let heartbeat = Arc::clone(&health.heartbeat);
        Pipeline {
            store,
            feeds: self.feeds.clone(),
            config: self.config.clone(),
            stats,
            observer: health,
            heartbeat,
            mode,
            patience,
            intake: CancellationToken::new(),
            replacements: Arc::clone(replacements),
        }
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
