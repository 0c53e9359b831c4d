//! Retries requests after transient errors (law 5).

use std::time::Duration;

use scylla::errors::ExecutionError;

use crate::metrics;
use crate::store::cassandra::cluster::error::{ErrorClass, classify};

/// The number of attempts of one request. After the last attempt, the caller's whole operation fails and is retried
/// later.
const TRIES: u32 = 6;
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// Runs a request, and retries it after transient errors, up to `TRIES` attempts.
///
/// # Errors
/// Returns the error of the last attempt.
pub async fn patiently<T, F>(table: &str, attempt: impl FnMut() -> F) -> Result<T, ExecutionError>
where
    F: Future<Output = Result<T, ExecutionError>>,
{
    patiently_while(|| true, table, attempt).await
}

/// Runs a request like [`patiently`], but retries it only while `may` returns true. The caller has checked the
/// condition before the first attempt.
///
/// # Errors
/// Returns the error of the last attempt.
pub async fn patiently_while<T, F>(
    may: impl Fn() -> bool,
    table: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ExecutionError>
where
    F: Future<Output = Result<T, ExecutionError>>,
{
    let mut pause = FIRST;
    let mut tried = 0;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let ErrorClass::Transient(reason) = classify(&error) else { return Err(error) };
        metrics::retry(table, reason);
        tried += 1;
        if tried >= TRIES {
            return Err(error);
        }
        tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
        pause = (pause * 2).min(LONGEST);
        if !may() {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use scylla::errors::{DbError, RequestAttemptError};

    use super::*;

    #[tokio::test]
    async fn transient_errors_are_retried_after_increasing_pauses() {
        let mut tries = Vec::new();
        let attempt = || {
            tries.push(std::time::Instant::now());
            std::future::ready(Err::<(), _>(ExecutionError::RequestTimeout(FIRST)))
        };
        assert!(patiently("t", attempt).await.is_err());
        assert_eq!(tries.len(), TRIES as usize);
        for (pair, longest) in tries.windows(2).zip([20, 40, 80, 160, 320]) {
            // Jitter takes away at most half of the pause.
            assert!(pair[1] - pair[0] >= Duration::from_millis(longest / 2), "{tries:?}");
        }
    }

    #[tokio::test]
    async fn rejected_or_no_longer_allowed_requests_are_not_retried() {
        let mut tries = 0;
        let mut attempt = |error: DbError| {
            tries += 1;
            let attempt = RequestAttemptError::DbError(error, String::new());
            std::future::ready(Err::<(), _>(ExecutionError::LastAttemptError(attempt)))
        };
        assert!(patiently("t", || attempt(DbError::SyntaxError)).await.is_err());
        assert!(patiently_while(|| false, "t", || attempt(DbError::Overloaded)).await.is_err());
        assert_eq!(tries, 2);
    }
}
