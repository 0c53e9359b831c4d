//! Reloads the configuration while the daemon runs. SIGHUP or a changed file requests a reload. The new configuration
//! is checked as a whole. It takes effect between two deliveries, or is rejected as a whole.

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

/// How often the file is checked. It is not watched, because editors replace the file, and a mounted file may be a link
/// that gets a new target.
const LOOK: Duration = Duration::from_millis(250);

/// How long the file must be unchanged. A half-written file may be valid YAML.
const QUIET: Duration = Duration::from_secs(1);

/// Receives requests to reload the configuration. Requests that arrive together cause one reload.
pub struct Requests {
    hangups: Signals,
    file: PathBuf,
    look: Interval,
    /// The size and times of the file when it was last read.
    read: Option<FileStat>,
    /// The current size and times of the file, and since when they have been the same.
    seen: (Option<FileStat>, Instant),
    /// Whether the last request has no answer yet.
    is_open: bool,
}

impl Requests {
    /// Starts to listen for requests.
    ///
    /// # Errors
    /// Returns an error if the signal handler cannot be installed.
    pub fn begin(app: &App) -> Result<Self, AppError> {
        let hangups = Signals::new([SIGHUP]).map_err(|error| AppError::Start(error.to_string()))?;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A change since the process first read the file also counts as a change.
        let read = app.file_stat;
        Ok(Self {
            hangups,
            file: app.layers.path(),
            look,
            read,
            seen: (read, Instant::now()),
            is_open: false,
        })
    }

    /// Waits for the next request. A request that was not answered, because its caller was cancelled, is returned
    /// again.
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

    /// Whether the file changed and is stable again. A missing file is probably being replaced and does not count as
    /// changed.
    fn has_changed(&mut self) -> bool {
        let now = look(&self.file);
        if now != self.seen.0 {
            self.seen = (now, Instant::now());
        }
        now.is_some() && now != self.read && self.seen.1.elapsed() >= QUIET
    }

    /// Reads the configuration at every request, until it differs from that of `app` and is valid. Returns the new one.
    /// The reload does not end here: the caller ends it after applying the new configuration.
    pub async fn configuration(&mut self, app: &App, health: &Health) -> App {
        loop {
            self.next().await;
            health.reload_begins();
            let answer = app.read_again().await;
            self.is_open = false;
            match answer {
                Ok(Some(next)) => return next,
                Ok(None) => {
                    info!("configuration: unchanged");
                    metrics::reload("unchanged");
                    health.reload_is_over();
                }
                Err(error) => rejected(&error, health),
            }
        }
    }
}

fn look(file: &std::path::Path) -> Option<FileStat> {
    std::fs::metadata(file).ok().map(|meta| note(&meta))
}

/// Logs a rejected configuration once, with the reason. The previous configuration stays in force.
pub fn rejected(error: &AppError, health: &Health) {
    metrics::reload("refused");
    health.reload_is_over();
    warn!("configuration reload rejected; keeping the previous configuration: {error}");
}

impl App {
    /// Reads the configuration again. Settings that cannot change while the daemon runs keep their values. Returns
    /// `None` if nothing changed.
    ///
    /// # Errors
    /// Returns an error if the configuration is invalid, if no inbox can be read, or if the tables do not fit.
    async fn read_again(&self) -> Result<Option<Self>, AppError> {
        let layers = self.layers.clone();
        let loaded = tokio::task::spawn_blocking(move || Self::load(&layers)).await;
        let mut next = loaded.map_err(|error| AppError::Start(error.to_string()))??;
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
        // A missing inbox holds up no other feed, as at the start.
        next.check_inboxes().await?.iter().for_each(|missing| warn!("{missing}"));
        next.fits().await?;
        info!("configuration: changed: {}", changed.join(", "));
        if !waits.is_empty() {
            warn!(
                "configuration: changes to {} need a restart; keeping the previous values",
                waits.join(", ")
            );
        }
        Ok(Some(next))
    }

    /// Checks that the tables have the declared shape or can be created.
    async fn fits(&self) -> Result<(), StoreError> {
        let create = self.config.store.create_schema;
        let compared = self.backend()?.compare(&self.schema, create).await;
        match compared {
            // The tables are compared again when the store answers. The configuration may still be rejected then.
            Err(error) if error.transient_reason().is_some() => Ok(()),
            compared => compared,
        }
    }
}
