//! Classifies the errors of requests, and converts them to errors of the store.

use scylla::client::pager::{NextPageError, NextRowError};
use scylla::errors::{DbError, ExecutionError, PagerExecutionError, PrepareError, RequestAttemptError};

use crate::store::StoreError;

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

/// Converts an error of the driver to an error of this store.
pub fn store_error(store: String, error: &ExecutionError) -> StoreError {
    let what = words(error);
    match classify(error) {
        ErrorClass::Transient(reason) => {
            StoreError::Busy { store, reason, what, hint: "if this lasts, see the logs of the cluster" }
        }
        ErrorClass::Forbidden => StoreError::System {
            store,
            what,
            next: "grant this role the permissions that docs/guarantees.md lists, or log in as another role"
                .to_owned(),
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

/// Whether the server rejects the form of a request, such as a paging state that no server made.
pub fn is_of_protocol(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::ProtocolError, _)))
}

pub fn exists_already(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::AlreadyExists { .. }, _))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_error_is_transient_only_if_the_permission_could_not_be_looked_up() {
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

    /// An acknowledgement by too few replicas does not count.
    #[test]
    fn a_partial_acknowledgement_is_retried() {
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
