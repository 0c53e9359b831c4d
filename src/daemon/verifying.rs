//! Verifies a sample of every table, again and again, while the daemon is idle (`verify`).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::daemon::app::App;
use crate::daemon::idle::Idle;
use crate::daemon::verifier::VerifyOptions;
use crate::daemon::verify_report::{measure, report};
use crate::domain::Share;
use crate::jobs::verification::Verification;
use crate::metrics;
use crate::store::StoreError;
use crate::store::backend::AnyStore;

/// How long the daemon must have been idle before a verification begins. Also how long it must stay idle afterwards, because
/// files under way are noticed within this time.
const QUIET: Duration = Duration::from_secs(1);

/// The longest wait for an idle daemon after verifications that were interrupted.
const LONGEST_QUIET: Duration = Duration::from_secs(300);

/// How long to wait after a verification that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(600);

/// Verifications of an open store, on a thread of their own: the threads of the pipeline do not wait for them.
pub struct Verifying {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Verifying {
    /// Starts to verify, if the configuration declares a share. `intake` is cancelled when no more files are taken up.
    pub fn begin(app: &App, store: &Arc<AnyStore>, idle: Idle, intake: &CancellationToken) -> Option<Self> {
        let share = app.config.verify.sample?;
        let stop = intake.child_token();
        let mut turns = Turns { app: app.clone(), store: Arc::clone(store), idle, stop: stop.clone() };
        let (runtime, ended) = (Handle::current(), stop.clone());
        let thread = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = turns.repeat(share) => {}
                    () = ended.cancelled() => {}
                }
            });
        });
        Some(Self { stop, thread })
    }

    /// Ends a verification at once. Afterwards, it holds no reference to the store.
    pub async fn end(self) {
        self.stop.cancel();
        // A panic of the thread was reported when it happened.
        let _ = self.thread.await;
    }
}

/// How a verification ended.
enum Outcome {
    Completed,
    /// A delivery changed meanwhile, or the daemon stops.
    Interrupted,
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One verification after another.
struct Turns {
    app: App,
    store: Arc<AnyStore>,
    idle: Idle,
    stop: CancellationToken,
}

impl Turns {
    /// Verifies whenever it is due and the daemon is idle. Never returns.
    async fn repeat(&mut self, share: Share) {
        let (mut quiet, mut pause) = (QUIET, self.until_due().await);
        loop {
            tokio::time::sleep(pause).await;
            self.idle.since(quiet).await;
            let ended = self.verify(share).await;
            metrics::verification(match &ended {
                Ok(outcome) => outcome.name(),
                Err(_) => "failed",
            });
            (quiet, pause) = match ended {
                Ok(Outcome::Completed) => (QUIET, self.every()),
                Ok(Outcome::Interrupted) => ((quiet * 2).min(LONGEST_QUIET), Duration::ZERO),
                Err(error) => {
                    warn!("verify: {error}");
                    (quiet, self.every().min(AFTER_FAILURE))
                }
            };
        }
    }

    fn every(&self) -> Duration {
        *self.app.config.verify.every
    }

    /// Returns how long to wait for the next verification, and reports what the last one found, also if it was that of
    /// another process.
    async fn until_due(&self) -> Duration {
        let last = self.app.patience(&self.stop).with(|| Verification::last(&*self.store)).await;
        let last = match last {
            Ok(Some(last)) => last,
            Ok(None) => return Duration::ZERO,
            Err(error) => {
                warn!("verify: {error}");
                return Duration::ZERO;
            }
        };
        measure(&last, &self.app.schema);
        let past = u64::try_from(now().saturating_sub(last.at)).unwrap_or_default();
        self.every().saturating_sub(Duration::from_millis(past))
    }

    /// Verifies once. Reports nothing if files arrived meanwhile, because rows that they change would seem to be wrong.
    async fn verify(&mut self, share: Share) -> Result<Outcome, StoreError> {
        let began = Instant::now();
        let keys = &self.app.config.verify;
        let options = VerifyOptions {
            tables: (0..self.app.schema.tables.len()).collect(),
            share: Some(share),
            rows_per_second: keys.rows_per_second,
            repairs: false,
            scratch: keys.scratch.clone(),
        };
        let verifier = self.app.verifier(Arc::clone(&self.store), options, &self.stop)?;
        let verified = tokio::select! {
            verified = verifier.run() => verified?,
            () = self.idle.ends() => return Ok(Outcome::Interrupted),
        };
        if verified.stopped || verified.has_loaded || !self.idle.is_kept(QUIET).await {
            debug!(
                "verify: no result, because the daemon was busy meanwhile; it starts again when the daemon is idle"
            );
            return Ok(Outcome::Interrupted);
        }
        let result = Verification::of(&verified, share, now(), began.elapsed().as_secs_f64());
        self.app.patience(&self.stop).with(|| result.save(&*self.store)).await?;
        measure(&result, &self.app.schema);
        report(&result, &verified);
        Ok(Outcome::Completed)
    }
}

/// Returns the time in milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
