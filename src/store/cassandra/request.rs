//! Sends requests, classifies their errors, and retries transient errors (law 5).

use std::time::Duration;

use futures::TryStreamExt as _;
use scylla::client::pager::{NextPageError, NextRowError};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, ExecutionError, PagerExecutionError, PrepareError, RequestAttemptError};
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Statement;
use scylla::statement::prepared::PreparedStatement;

use crate::metrics;
use crate::store::StoreError;
use crate::store::cassandra::settings::Settings;

/// The number of attempts of one request. After the last attempt, the caller's whole operation fails and is retried
/// later.
const TRIES: u32 = 6;
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// What an error means for the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The error is transient. Holds the label under which the retry is counted.
    Transient(&'static str),
    /// The server will never accept the request.
    Refused,
    /// A table no longer exists, or has changed.
    Changed,
    /// The role lacks a permission, or the login is rejected.
    Forbidden,
}

pub fn classify(error: &ExecutionError) -> ErrorClass {
    match error {
        ExecutionError::LastAttemptError(attempt) => of_attempt(attempt),
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt }) => {
            of_attempt(first_attempt)
        }
        ExecutionError::PrepareError(PrepareError::PreparedStatementIdsMismatch) => ErrorClass::Changed,
        ExecutionError::RequestTimeout(_) => ErrorClass::Transient("timeout"),
        ExecutionError::BadQuery(_) => ErrorClass::Refused,
        _ => ErrorClass::Transient("connection"),
    }
}

fn of_attempt(error: &RequestAttemptError) -> ErrorClass {
    match error {
        RequestAttemptError::DbError(error, words) => of_server(error, words),
        RequestAttemptError::RepreparedIdChanged { .. } | RequestAttemptError::RepreparedIdMissingInBatch => {
            ErrorClass::Changed
        }
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            ErrorClass::Refused
        }
        _ => ErrorClass::Transient("connection"),
    }
}

fn of_server(error: &DbError, words: &str) -> ErrorClass {
    match error {
        DbError::WriteTimeout { .. } | DbError::ReadTimeout { .. } => ErrorClass::Transient("timeout"),
        DbError::Unavailable { .. } => ErrorClass::Transient("unavailable"),
        DbError::Overloaded | DbError::IsBootstrapping | DbError::RateLimitReached { .. } => {
            ErrorClass::Transient("overload")
        }
        DbError::WriteFailure { .. } | DbError::ReadFailure { .. } => ErrorClass::Transient("failure"),
        // Cassandra reports a row over the size limit as a server error, not as an invalid request.
        DbError::ServerError if words.contains("too large") => ErrorClass::Refused,
        // The replicas that know our permissions do not answer.
        DbError::Unauthorized | DbError::AuthenticationError if is_unable(words) => {
            ErrorClass::Transient("unavailable")
        }
        DbError::Unauthorized | DbError::AuthenticationError => ErrorClass::Forbidden,
        DbError::Invalid if is_about_schema(words) => ErrorClass::Changed,
        DbError::Invalid | DbError::SyntaxError | DbError::ConfigError | DbError::FunctionFailure { .. } => {
            ErrorClass::Refused
        }
        _ => ErrorClass::Transient("server"),
    }
}

/// Whether the server could not determine our identity or our permissions.
pub fn is_unable(words: &str) -> bool {
    words.starts_with("Unable to perform auth")
}

/// Whether this is how Cassandra or ScyllaDB reports that a table, a column or a keyspace does not exist, or has
/// another type than the statement expects.
fn is_about_schema(words: &str) -> bool {
    let lower = words.to_ascii_lowercase();
    [
        "unconfigured table",
        "undefined column",
        "unknown identifier",
        "does not exist",
        "cannot be assigned",
        "cannot assign",
        "type error",
    ]
    .iter()
    .any(|sign| lower.contains(sign))
}

/// Converts an error of the driver to an error of the store.
pub fn told(settings: &Settings, error: &ExecutionError) -> StoreError {
    let (store, what) = (settings.name(), words(error));
    match classify(error) {
        ErrorClass::Transient(reason) => {
            StoreError::Busy { store, reason, what, hint: "see the logs of the cluster if it lasts" }
        }
        ErrorClass::Forbidden => StoreError::System {
            store,
            what,
            next: "grant this role what docs/guarantees.md lists, or log in as another".to_owned(),
        },
        ErrorClass::Changed => StoreError::Changed { store, what },
        ErrorClass::Refused => StoreError::Broken { store, what },
    }
}

/// Why a paged result cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error(transparent)]
    Request(#[from] ExecutionError),
    #[error("{0}")]
    Pager(PagerExecutionError),
    #[error("{0}")]
    Row(NextRowError),
}

impl From<PagerExecutionError> for PageError {
    fn from(error: PagerExecutionError) -> Self {
        match error {
            PagerExecutionError::PrepareError(error) => Self::Request(error.into()),
            PagerExecutionError::SerializationError(error) => Self::Request(error.into()),
            PagerExecutionError::NextPageError(error) => NextRowError::from(error).into(),
            other => Self::Pager(other),
        }
    }
}

impl From<NextRowError> for PageError {
    fn from(error: NextRowError) -> Self {
        match error {
            NextRowError::NextPageError(NextPageError::RequestFailure(error)) => {
                Self::Request(error.into_execution_error())
            }
            other => Self::Row(other),
        }
    }
}

/// Returns the message of the server, without the text that the driver adds.
pub fn words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(kind, words)) => match kind {
            DbError::Invalid | DbError::SyntaxError | DbError::ServerError | DbError::Unauthorized => {
                words.clone()
            }
            other => format!("{other}; {words}"),
        },
        other => other.to_string(),
    }
}

pub fn exists_already(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::AlreadyExists { .. }, _))
    )
}

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

/// Executes one statement of the ledger, with retries.
///
/// # Errors
/// Returns an error if the cluster does not answer after several attempts, or rejects the request.
pub async fn execute(
    session: &Session,
    settings: &Settings,
    statement: &PreparedStatement,
    values: impl SerializeRow + Sync,
) -> Result<QueryResult, StoreError> {
    execute_while(|| true, session, settings, statement, values).await
}

/// Executes one statement of the ledger that only the holder of the lease may write. Retries only while `may` returns
/// true.
///
/// # Errors
/// Returns an error if the cluster does not answer after several attempts, or rejects the request.
pub async fn execute_while(
    may: impl Fn() -> bool,
    session: &Session,
    settings: &Settings,
    statement: &PreparedStatement,
    values: impl SerializeRow + Sync,
) -> Result<QueryResult, StoreError> {
    let values = &values;
    let done = patiently_while(may, "ledger", || session.execute_unpaged(statement, values)).await;
    done.map_err(|error| told(settings, &error))
}

/// Hands every row of a long result to `take`, a page at a time, until `take` returns false.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request, or if a row has an unexpected shape.
pub async fn each<R>(
    session: &Session,
    settings: &Settings,
    statement: PreparedStatement,
    values: impl SerializeRow,
    mut take: impl FnMut(R) -> bool,
) -> Result<(), StoreError>
where
    R: 'static + for<'f, 'm> DeserializeRow<'f, 'm>,
{
    let broken = |what: String| StoreError::Broken { store: settings.name(), what };
    let either = |error: PageError| match error {
        PageError::Request(error) => told(settings, &error),
        other => broken(other.to_string()),
    };
    let pager = session.execute_iter(statement, values).await;
    let pager = pager.map_err(|error| either(error.into()))?;
    let mut rows = pager.rows_stream::<R>().map_err(|error| broken(error.to_string()))?;
    while let Some(row) = rows.try_next().await.map_err(|error| either(error.into()))? {
        if !take(row) {
            break;
        }
    }
    Ok(())
}

/// Prepares a statement about the ledger. Sending it twice has the same effect as sending it once.
///
/// # Errors
/// Returns an error if the cluster does not accept the statement or does not answer.
pub async fn prepare(
    session: &Session,
    settings: &Settings,
    cql: String,
) -> Result<PreparedStatement, StoreError> {
    let prepared = session.prepare(cql).await;
    let mut prepared = prepared.map_err(|error| told(settings, &error.into()))?;
    prepared.set_consistency(settings.ledger());
    prepared.set_is_idempotent(true);
    Ok(prepared)
}

/// Returns a statement with the consistency of the ledger, which is never weaker than that of the tables.
pub fn of_ledger(settings: &Settings, cql: impl Into<String>) -> Statement {
    let mut statement = Statement::new(cql);
    statement.set_consistency(settings.ledger());
    statement
}

/// Returns all rows of a short result.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request, or if a row has an unexpected shape.
pub async fn rows<R>(
    session: &Session,
    settings: &Settings,
    statement: impl Into<Statement>,
    values: impl SerializeRow + Sync,
) -> Result<Vec<R>, StoreError>
where
    R: for<'f, 'm> DeserializeRow<'f, 'm>,
{
    let (statement, values) = (statement.into(), &values);
    let result = patiently("ledger", || session.query_unpaged(statement.clone(), values)).await;
    parsed(settings, result.map_err(|error| told(settings, &error))?)
}

/// Returns the rows of a result.
///
/// # Errors
/// Returns an error if a row has an unexpected shape.
pub fn parsed<R>(settings: &Settings, result: QueryResult) -> Result<Vec<R>, StoreError>
where
    R: for<'f, 'm> DeserializeRow<'f, 'm>,
{
    let broken = |what: String| StoreError::Broken { store: settings.name(), what };
    let result = result.into_rows_result().map_err(|error| broken(error.to_string()))?;
    let rows = result.rows::<R>().map_err(|error| broken(error.to_string()))?;
    rows.collect::<Result<_, _>>().map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_cannot_be_looked_up_now_is_waited_for_and_one_that_is_not_there_is_not() {
        let of = |error: DbError, words: &str| of_server(&error, words);
        let unable =
            "Unable to perform authorization of permissions: Cannot achieve consistency level LOCAL_ONE";
        assert_eq!(of(DbError::Unauthorized, unable), ErrorClass::Transient("unavailable"));
        let unable = "Unable to perform authentication: Operation timed out";
        assert_eq!(of(DbError::AuthenticationError, unable), ErrorClass::Transient("unavailable"));
        let never = "User loader has no MODIFY permission on <table ks.session_item> or any of its parents";
        assert_eq!(of(DbError::Unauthorized, never), ErrorClass::Forbidden);
        assert_eq!(
            of(DbError::AuthenticationError, "Provided username x is incorrect"),
            ErrorClass::Forbidden
        );
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_behind_longer_and_longer_pauses() {
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
    async fn what_is_refused_or_may_not_be_sent_is_not_tried_again() {
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

    /// An acknowledgement by too few replicas does not count.
    #[test]
    fn a_partial_acknowledgement_is_tried_again() {
        use scylla::errors::WriteType;
        let consistency = scylla::statement::Consistency::Quorum;
        let timeout =
            DbError::WriteTimeout { consistency, received: 1, required: 2, write_type: WriteType::Simple };
        assert_eq!(of_server(&timeout, ""), ErrorClass::Transient("timeout"));
        let (received, required, numfailures) = (1, 2, 1);
        let write_type = WriteType::UnloggedBatch;
        let failure = DbError::WriteFailure { consistency, received, required, numfailures, write_type };
        assert_eq!(of_server(&failure, ""), ErrorClass::Transient("failure"));
        assert_eq!(of_server(&DbError::Overloaded, ""), ErrorClass::Transient("overload"));
        let unavailable = DbError::Unavailable { consistency, required: 2, alive: 1 };
        assert_eq!(of_server(&unavailable, ""), ErrorClass::Transient("unavailable"));
    }
}
