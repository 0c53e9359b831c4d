//! Waits for a store that is busy or unavailable, with backoff and jitter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::heartbeat::Pulse;
use crate::store::StoreError;
use crate::store::observer::StoreObserver;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(5);

/// The reason reported when the files of the store were removed or replaced.
pub const GONE: &str = "gone";

/// The limit, the cancellation and the observer of a wait for a store.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// The longest wait; `None` for no limit.
    pub limit: Option<Duration>,
    /// Ends a wait at once when it is cancelled.
    pub halt: CancellationToken,
    /// Is notified of every wait, and of its end if the attempt then succeeds.
    pub observer: Arc<dyn StoreObserver>,
    /// The heartbeat of the waiting stage. It answers the watchdog during the wait.
    pub pulse: Pulse,
}

impl Backoff {
    /// Calls `attempt` until it succeeds, fails with an error that is not transient, or the wait ends.
    ///
    /// # Errors
    /// Returns the last error if it is not transient, if the limit has passed, or if `halt` was cancelled.
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
            let Some(reason) = error.transient_reason() else {
                unready(&error, &*self.observer);
                return Err(error);
            };
            match error {
                StoreError::Standby { differs, .. } => self.observer.stands_by(differs),
                _ => self.observer.store_waits(reason),
            }
            if backoff == FIRST || backoff == LONGEST {
                warn!("waiting: {}", error.to_string().lines().next().unwrap_or_default());
            }
            // No limit applies while the clock has to catch up with the stamps that were given. That takes minutes at most,
            // and nothing is wrong.
            let left = if reason == "stamps" { None } else { self.left(began) };
            let pause = pause(&error, backoff).min(left.unwrap_or(Duration::MAX));
            if left.is_some_and(|left| left.is_zero()) || self.halted_within(pause).await {
                return Err(error);
            }
            backoff = (backoff * 2).min(LONGEST);
        }
    }

    fn again_up(&self, began: Instant, backoff: Duration) {
        if backoff > FIRST {
            self.observer.store_answers();
            info!("the wait for the store ended after {:.1} s", began.elapsed().as_secs_f64());
        }
    }

    /// Returns how much longer to wait for the store, or `None` for no limit.
    fn left(&self, began: Instant) -> Option<Duration> {
        Some(self.limit?.saturating_sub(began.elapsed()))
    }

    async fn halted_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.halt.cancelled()).await.is_ok()
    }
}

/// Reports the daemon as not ready when the files of its store were removed or replaced. Work under way still finishes.
pub fn unready(error: &StoreError, observer: &dyn StoreObserver) {
    if matches!(error, StoreError::Gone { .. }) {
        observer.store_waits(GONE);
    }
}

/// Returns the pause before the next attempt. Half of the backoff is fixed and half is random, so that several waiting
/// tasks do not retry at the same time.
fn pause(error: &StoreError, backoff: Duration) -> Duration {
    match error {
        StoreError::Ahead(ahead) => ahead.wait.min(LONGEST),
        // A standby process checks again after the shortest pause.
        StoreError::Standby { .. } => FIRST,
        _ => backoff.mul_f64(0.5 + 0.5 * fastrand::f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TooFarAhead;

    fn backoff(limit: Duration) -> Backoff {
        Backoff {
            limit: Some(limit),
            halt: CancellationToken::new(),
            observer: Arc::new(()),
            pulse: Pulse::default(),
        }
    }

    fn ahead(clock_is_behind: bool) -> StoreError {
        StoreError::Ahead(TooFarAhead { wait: Duration::from_millis(1), clock_is_behind })
    }

    #[tokio::test]
    async fn every_wait_except_for_new_stamps_ends_after_the_limit() {
        let busy = || StoreError::Busy { store: String::new(), reason: "io", what: String::new(), hint: "" };
        for error in [&busy as &dyn Fn() -> StoreError, &|| ahead(true)] {
            let backoff = backoff(Duration::from_millis(50));
            let ended = backoff.with(|| std::future::ready(Err::<(), _>(error()))).await;
            assert_eq!(ended.unwrap_err().to_string(), error().to_string());
        }
        let mut tried = 0;
        let third = || {
            tried += 1;
            std::future::ready(if tried < 3 { Err(ahead(false)) } else { Ok(()) })
        };
        assert!(backoff(Duration::ZERO).with(third).await.is_ok());
    }
}
