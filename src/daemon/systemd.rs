//! Word to the service manager (systemd, `sd_notify`): when it is ready, what it does now, that it reloads or stops,
//! and, as long as every stage shows signs of life, that it lives.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::daemon::health::{Health, Reloads};

/// How often there is a look at what is to be told.
const LOOK: Duration = Duration::from_millis(250);

/// How often at least the watchdog is fed in its time.
const FEEDS: u32 = 4;

/// Whether somebody wants to be told.
pub fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Tells until it is `over`, which is the last that is told.
///
/// # Errors
/// None: who is not heard goes on all the same.
pub async fn tell(health: Arc<Health>, over: CancellationToken) -> io::Result<()> {
    let watchdog = sd_notify::watchdog_enabled();
    let look = watchdog.map_or(LOOK, |limit| LOOK.min(limit / FEEDS));
    let mut service = Service { health, watchdog, fed: Instant::now(), told: Told::default() };
    while tokio::time::timeout(look, over.cancelled()).await.is_err() {
        service.look();
    }
    service.stopping();
    Ok(())
}

struct Service {
    health: Arc<Health>,
    /// Its time, where there is one.
    watchdog: Option<Duration>,
    fed: Instant,
    told: Told,
}

/// What was told so far.
#[derive(Default)]
struct Told {
    is_ready: bool,
    reloads: Reloads,
    is_stopping: bool,
    status: String,
    /// That a stage does not answer.
    is_stuck: bool,
}

impl Service {
    fn look(&mut self) {
        self.ready();
        self.reloads();
        if self.health.is_stopping() {
            self.stopping();
        }
        self.feed();
        self.status();
    }

    fn ready(&mut self) {
        if !self.told.is_ready && self.health.has_begun() {
            self.told.is_ready = true;
            say(&[NotifyState::Ready]);
        }
    }

    /// Also what was over before anybody could look: whoever asked for it waits for both words.
    fn reloads(&mut self) {
        let now = self.health.reloads();
        if !self.told.is_ready || now == self.told.reloads {
            return;
        }
        if now.begun > self.told.reloads.begun {
            match NotifyState::monotonic_usec_now() {
                Ok(since) => say(&[NotifyState::Reloading, since]),
                Err(error) => debug!("no monotonic clock: {error}"),
            }
        }
        if now.over == now.begun {
            say(&[NotifyState::Ready]);
        }
        self.told.reloads = now;
    }

    fn stopping(&mut self) {
        if !std::mem::replace(&mut self.told.is_stopping, true) {
            say(&[NotifyState::Stopping]);
        }
    }

    /// Feeds the watchdog when all have answered, and asks anew. Else the question stands.
    fn feed(&mut self) {
        let Some(limit) = self.watchdog else { return };
        let silent = self.health.heartbeat.silent();
        if silent.is_empty() {
            say(&[NotifyState::Watchdog]);
            self.health.heartbeat.ask();
            self.fed = Instant::now();
            if std::mem::take(&mut self.told.is_stuck) {
                // What it does is told anew.
                self.told.status.clear();
            }
        } else if !self.told.is_stuck && self.fed.elapsed() > limit / 2 {
            self.told.is_stuck = true;
            stuck(silent);
        }
    }

    fn status(&mut self) {
        let doing = self.health.doing();
        if doing != self.told.status {
            say(&[NotifyState::Status(&doing)]);
            self.told.status = doing;
        }
    }
}

/// Said before the service manager ends the process, which then has no last word.
fn stuck(silent: BTreeSet<&str>) {
    let names = Vec::from_iter(silent).join(", ");
    error!(
        "stuck: no answer from {names}; the watchdog restarts the service, which goes on where the ledger stands; this is a defect, please report it"
    );
    say(&[NotifyState::Status(&format!("stuck: no answer from {names}"))]);
}

fn say(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        debug!("the service manager does not hear: {error}");
    }
}
