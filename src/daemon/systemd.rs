//! Notifies the service manager (systemd, `sd_notify`). It reports when the daemon is ready, what it does now, when it
//! reloads or stops and, as long as every stage shows signs of life, that it is alive.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::daemon::health::{Health, Reloads};

/// How often to check whether there is something to report.
const LOOK: Duration = Duration::from_millis(250);

/// The minimum number of signs of life that the watchdog gets within its time limit.
const FEEDS: u32 = 4;

/// Whether a service manager wants notifications.
pub fn is_present() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Sends notifications until `over` is cancelled. The last one reports that the daemon stops.
///
/// # Errors
/// Never returns an error: a notification that cannot be delivered is ignored.
pub async fn run(health: Arc<Health>, over: CancellationToken) -> io::Result<()> {
    let watchdog = sd_notify::watchdog_enabled();
    let look = watchdog.map_or(LOOK, |limit| LOOK.min(limit / FEEDS));
    let mut service = Service { health, watchdog, fed: Instant::now(), sent: Sent::default() };
    while tokio::time::timeout(look, over.cancelled()).await.is_err() {
        service.look();
    }
    service.stopping();
    Ok(())
}

struct Service {
    health: Arc<Health>,
    /// The time limit of the watchdog, if there is one.
    watchdog: Option<Duration>,
    fed: Instant,
    sent: Sent,
}

/// What was sent so far.
#[derive(Default)]
struct Sent {
    is_ready: bool,
    reloads: Reloads,
    is_stopping: bool,
    status: String,
    /// Whether it was reported that a stage does not answer.
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
        if !self.sent.is_ready && self.health.has_begun() {
            self.sent.is_ready = true;
            notify(&[NotifyState::Ready]);
        }
    }

    /// Reports reloads. A reload that began and ended since the last check is also reported, because the
    /// requester waits for both notifications.
    fn reloads(&mut self) {
        let now = self.health.reloads();
        if !self.sent.is_ready || now == self.sent.reloads {
            return;
        }
        if now.begun > self.sent.reloads.begun {
            match NotifyState::monotonic_usec_now() {
                Ok(since) => notify(&[NotifyState::Reloading, since]),
                Err(error) => debug!("no monotonic clock: {error}"),
            }
        }
        if now.over == now.begun {
            notify(&[NotifyState::Ready]);
        }
        self.sent.reloads = now;
    }

    fn stopping(&mut self) {
        if !std::mem::replace(&mut self.sent.is_stopping, true) {
            notify(&[NotifyState::Stopping]);
        }
    }

    /// Reports a sign of life to the watchdog if all stages have answered, and then asks the stages again. Otherwise waits
    /// for the missing answers.
    fn feed(&mut self) {
        let Some(limit) = self.watchdog else { return };
        let silent = self.health.heartbeat.silent();
        if silent.is_empty() {
            notify(&[NotifyState::Watchdog]);
            self.health.heartbeat.ask();
            self.fed = Instant::now();
            if std::mem::take(&mut self.sent.is_stuck) {
                // The status says that a stage is stuck, so the current status is sent again.
                self.sent.status.clear();
            }
        } else if !self.sent.is_stuck && self.fed.elapsed() > limit / 2 {
            self.sent.is_stuck = true;
            stuck(silent);
        }
    }

    fn status(&mut self) {
        let doing = self.health.doing();
        if doing != self.sent.status {
            notify(&[NotifyState::Status(&doing)]);
            self.sent.status = doing;
        }
    }
}

/// Reports the stages that do not answer. The service manager then ends the process, which cannot report anything more.
fn stuck(silent: BTreeSet<&str>) {
    let names = Vec::from_iter(silent).join(", ");
    error!(
        "stuck: no answer from {names}; the watchdog restarts the service, which resumes where the ledger stands; this is a defect, please report it"
    );
    notify(&[NotifyState::Status(&format!("stuck: no answer from {names}"))]);
}

fn notify(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        debug!("cannot notify the service manager: {error}");
    }
}
