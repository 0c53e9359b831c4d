//! Waiting for a store that is busy or away, with backoff and jitter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::StoreError;
use crate::health::Health;
use crate::heartbeat::Pulse;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(5);

/// How long a store is waited for.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Without it there is no end.
    pub limit: Option<Duration>,
    /// Ends the wait at once.
    pub halt: CancellationToken,
    /// Told of every wait and of its end.
    pub health: Arc<Health>,
    /// Of the stage that waits, which lives meanwhile.
    pub pulse: Pulse,
}

impl Patience {
    /// Tries until it works, it cannot work, or patience ends.
    ///
    /// # Errors
    /// The last error: one that waiting does not mend, or the one that was waited for too long.
    pub async fn with<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.pulse.during(self.tried(attempt)).await
    }

    async fn tried<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let began = Instant::now();
        let mut backoff = FIRST;
        loop {
            let error = match attempt().await {
                Ok(done) => {
                    self.again_up(began, backoff);
                    return Ok(done);
                }
                Err(error) => error,
            };
            let Some(reason) = error.passing() else { return Err(error) };
            match error {
                StoreError::Standby { differs, .. } => self.health.stands_by(differs),
                _ => self.health.store_waits(reason),
            }
            if backoff == FIRST || backoff == LONGEST {
                warn!("waiting: {}", error.to_string().lines().next().unwrap_or_default());
            }
            let pause = pause(&error, backoff);
            // Waiting for the clock is no fault of the store.
            let counts = !matches!(error, StoreError::Ahead(_));
            if (counts && self.is_over(began)) || self.halted_within(pause).await {
                return Err(error);
            }
            backoff = (backoff * 2).min(LONGEST);
        }
    }

    fn again_up(&self, began: Instant, backoff: Duration) {
        if backoff > FIRST {
            self.health.store_answers();
            info!("the store answers again after {:.1} s", began.elapsed().as_secs_f64());
        }
    }

    fn is_over(&self, began: Instant) -> bool {
        self.limit.is_some_and(|limit| began.elapsed() >= limit)
    }

    async fn halted_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.halt.cancelled()).await.is_ok()
    }
}

/// Half of the backoff is fixed, half is chance, so that several waiters do not come back together.
fn pause(error: &StoreError, backoff: Duration) -> Duration {
    match error {
        StoreError::Ahead(wait) => (*wait).min(LONGEST),
        // Who waits in line looks again at once.
        StoreError::Standby { .. } => FIRST,
        _ => backoff.mul_f64(0.5 + 0.5 * fastrand::f64()),
    }
}
