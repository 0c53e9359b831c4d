//! A configuration that changes while the daemon runs: asked for by SIGHUP or by a changed file, checked as a
//! whole, and taken on between two deliveries, or refused as a whole.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use signal_hook::consts::SIGHUP;
use signal_hook_tokio::Signals;
use tokio::time::{Interval, MissedTickBehavior};
use tracing::{info, warn};

use crate::config::changed;
use crate::daemon::app::{App, AppError};
use crate::daemon::health::Health;
use crate::domain::FileStat;
use crate::metrics;
use crate::source::folder::file::note;
use crate::store::StoreError;

/// How often the file is looked at. It is not watched: editors replace it, and mounted ones are links that turn.
const LOOK: Duration = Duration::from_millis(250);

/// How long the file must have been the same: what is half written may be whole YAML.
const QUIET: Duration = Duration::from_secs(1);

/// Hears that the configuration is to be read again. However often it is asked for, it is read once.
pub struct Requests {
    hangups: Signals,
    file: PathBuf,
    look: Interval,
    /// The file as it was when it was last read.
    read: Option<FileStat>,
    /// As it is now, and since when.
    seen: (Option<FileStat>, Instant),
    /// What was asked has no answer yet.
    is_open: bool,
}

impl Requests {
    /// Begins to listen.
    ///
    /// # Errors
    /// When signals cannot be had.
    pub fn begin(app: &App) -> Result<Self, AppError> {
        let hangups = Signals::new([SIGHUP]).map_err(|error| AppError::Start(error.to_string()))?;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What was changed since the process read it is seen as a change.
        let read = app.noted;
        Ok(Self {
            hangups,
            file: app.layers.path(),
            look,
            read,
            seen: (read, Instant::now()),
            is_open: false,
        })
    }

    /// The next request: one whose answer nobody waited for is still one.
    async fn next(&mut self) {
        while !self.is_open {
            tokio::select! {
                Some(_) = self.hangups.next() => break,
                _ = self.look.tick() => if self.has_changed() { break },
            }
        }
        self.read = look(&self.file);
        self.is_open = true;
    }

    /// A file that is not there is on its way.
    fn has_changed(&mut self) -> bool {
        let now = look(&self.file);
        if now != self.seen.0 {
            self.seen = (now, Instant::now());
        }
        now.is_some() && now != self.read && self.seen.1.elapsed() >= QUIET
    }

    /// Reads the configuration whenever that is asked for, until it is another one that `app` can become.
    /// That one is not over then: whoever asked for it takes it on.
    pub async fn configuration(&mut self, app: &App, health: &Health) -> App {
        loop {
            self.next().await;
            health.reload_begins();
            let answer = app.read_again().await;
            self.is_open = false;
            match answer {
                Ok(Some(next)) => return next,
                Ok(None) => {
                    info!("configuration: nothing has changed in it");
                    metrics::reload("unchanged");
                    health.reload_is_over();
                }
                Err(error) => refused(&error, health),
            }
        }
    }
}

fn look(file: &std::path::Path) -> Option<FileStat> {
    std::fs::metadata(file).ok().map(|meta| note(&meta))
}

/// Told once, with the reason; the one before goes on.
pub fn refused(error: &AppError, health: &Health) {
    metrics::reload("refused");
    health.reload_is_over();
    warn!("the configuration was read again and is refused; the one before goes on: {error}");
}

impl App {
    /// The configuration as it is now, with what cannot change as it was; nothing when it is the same.
    ///
    /// # Errors
    /// What is wrong with it.
    async fn read_again(&self) -> Result<Option<Self>, AppError> {
        let mut next = Self::load(&self.layers)?;
        if next.origin != self.origin && self.layers.file.is_none() && !self.layers.path().exists() {
            let gone = std::io::ErrorKind::NotFound.into();
            return Err(
                crate::config::ConfigError::Unreadable { file: self.layers.path(), error: gone }.into()
            );
        }
        let changed = changed(&self.tree, &next.tree);
        if changed.is_empty() {
            return Ok(None);
        }
        let waits = next.config.keep_from(&self.config);
        next.check_inbox()?;
        next.fits().await?;
        info!("configuration: changed: {}", changed.join(", "));
        if !waits.is_empty() {
            warn!("configuration: {} change with a restart only; as before until then", waits.join(", "));
        }
        Ok(Some(next))
    }

    /// Whether the tables are as declared, or can be made.
    async fn fits(&self) -> Result<(), StoreError> {
        let create = self.config.store.create_schema;
        let compared = self.backend()?.compare(&self.plan, create).await;
        match compared {
            // Asked again when the store answers, and refused then if it must be.
            Err(error) if error.passing().is_some() => Ok(()),
            compared => compared,
        }
    }
}
