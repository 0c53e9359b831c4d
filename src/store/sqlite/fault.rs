//! Errors inside a transaction, and their conversion to [`StoreError`].

use rusqlite::ErrorCode;

use crate::domain::{OutOfOrder, TooFarAhead};
use crate::store::StoreError;
use crate::store::rejection::Rejection;
use crate::store::sqlite::place::Change;

/// An error inside a transaction.
#[derive(Debug)]
pub enum Fault {
    Sqlite(rusqlite::Error),
    Ahead(TooFarAhead),
    Gone(Change),
    /// A cursor does not belong to the listing.
    Cursor,
    Shape {
        what: String,
        next: &'static str,
    },
    Broken(String),
    /// A trigger rolled the whole transaction back because of this row.
    RolledBack(Rejection),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<OutOfOrder> for Fault {
    fn from(error: OutOfOrder) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Fault {
    /// Whether single rows may be the cause of the error.
    pub fn may_be_of_rows(&self) -> bool {
        match self {
            Self::Sqlite(error) => is_rejection(error),
            Self::Shape { .. } => true,
            _ => false,
        }
    }

    pub fn in_store(self, store: &str) -> StoreError {
        let store = store.to_owned();
        match self {
            Self::Sqlite(error) => store_error(store, &error),
            Self::Ahead(ahead) => StoreError::Ahead(ahead),
            Self::Gone(change) => {
                let (what, next) = change.describe();
                StoreError::Gone { store, what, next }
            }
            Self::Shape { what, next } => StoreError::Shape { store, what, next: next.to_owned() },
            Self::Cursor => StoreError::Cursor(store),
            Self::Broken(what) => StoreError::Broken { store, what },
            Self::RolledBack(refusal) => StoreError::Broken { store, what: refusal.words },
        }
    }
}

pub fn store_error(store: String, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode as Code;
    let what = error.to_string();
    let busy = |reason, hint| StoreError::Busy { store: store.clone(), reason, what: what.clone(), hint };
    match error.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            busy("locked", "end the process that holds the lock")
        }
        Some(Code::DiskFull) => busy("full", "free space on the disk"),
        Some(Code::SystemIoFailure) => busy("io", "check the disk"),
        Some(Code::ReadOnly | Code::PermissionDenied | Code::CannotOpen) => {
            let next = "make the file and its folder writable for this user".to_owned();
            StoreError::System { store, what, next }
        }
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
            let next = "restore it from a backup, or move it away and load the kept files again".to_owned();
            StoreError::System { store, what, next }
        }
        // These tables were created together with the store, so the ledger is damaged.
        _ if what.contains("no such table: _needledrop") => {
            let next = "restore it from a backup, or move it away and load the kept files again".to_owned();
            StoreError::Shape { store, what: format!("its ledger is damaged: {what}"), next }
        }
        _ if what.contains("no such table") || what.contains("no such column") => {
            StoreError::Shape { store, what, next: CHANGED.to_owned() }
        }
        _ => StoreError::Broken { store, what },
    }
}

pub type SqlResult<T> = Result<T, rusqlite::Error>;

/// Whether the error may mean that SQLite rejected the row, and not that SQLite itself failed.
pub fn is_rejection(error: &rusqlite::Error) -> bool {
    match error {
        // `Unknown` is the code of an error in an expression, for example in a trigger.
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig | ErrorCode::Unknown
        ),
        rusqlite::Error::QueryReturnedNoRows | rusqlite::Error::StatementChangedRows(_) => true,
        _ => false,
    }
}

/// The next step for the user if another program changed a table while needledrop was running.
pub const CHANGED: &str = "start needledrop again: it creates a missing table, which `needledrop load --table` fills \
                           from the kept files; if a table has another shape, it says what to do";
