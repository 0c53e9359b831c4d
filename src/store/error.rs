//! Why a store did not do what it was asked to do.

use crate::domain::TooFarAhead;

/// An error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{store}: {what}\n  next: {hint}; while needledrop loads files, it tries again by itself")]
    Busy { store: String, reason: &'static str, what: String, hint: &'static str },
    #[error(
        "stamps would run more than 10 minutes ahead of the clock; waiting {} s\n  next: correct the clock; if it is \
         correct, see store.stamps_ahead in docs/runbook.md", .0.wait.as_secs().max(1)
    )]
    Ahead(TooFarAhead),
    #[error("{store}: {what}\n  next: {next}")]
    Gone { store: String, what: &'static str, next: &'static str },
    #[error("{0}: there is no store yet\n  next: `needledrop run` or `needledrop load` creates it")]
    Missing(String),
    #[error(
        "{store} is in use by {holder}\n  next: stop that process first; it resumes when it is started again"
    )]
    InUse { store: String, holder: String },
    #[error("{0}")]
    Settings(String),
    #[error(
        "{store} is in use by {holder}{}\n  next: {}",
        if *.differs { ", whose configuration declares other tables" } else { "" },
        if *.differs {
            "give both processes the same configuration; this one stands by, and reads its own again when it changes"
        } else {
            "nothing to do; this process stands by and takes over when that one ends"
        }
    )]
    Standby {
        store: String,
        holder: String,
        /// Whether the holder loads with tables other than those declared here.
        differs: bool,
    },
    #[error(
        "{0}: another process has taken over the right to write\n  \
         next: start needledrop again; it resumes where that process stopped"
    )]
    Lost(String),
    #[error(
        "{0} is not a needledrop store, and is not changed\n  next: set store.sqlite.path to another file"
    )]
    Foreign(String),
    #[error(
        "{store}: the schema changed while needledrop was running: {what}\n  \
         next: restore the tables as they are declared, then start needledrop again"
    )]
    Changed { store: String, what: String },
    #[error("{store}: {what}\n  next: {next}")]
    Shape { store: String, what: String, next: String },
    #[error("{0}: this cursor does not belong to this listing\n  next: start the listing from the beginning")]
    Cursor(String),
    #[error("no table {0} is declared\n  next: declare it in tables, or ask for another table")]
    Undeclared(String),
    #[error(
        "the store is not open: this process is starting, standing by or reloading\n  next: try again in a moment"
    )]
    Closed,
    #[error("{store}: {what}\n  next: this is a defect; please report it with the log lines around it")]
    Broken { store: String, what: String },
    #[error("{store}: {what}\n  next: {next}")]
    System { store: String, what: String, next: String },
}

impl StoreError {
    /// Returns the label under which a wait is counted, or `None` if waiting does not help.
    pub fn transient_reason(&self) -> Option<&'static str> {
        match self {
            Self::Busy { reason, .. } => Some(reason),
            Self::Ahead(ahead) if ahead.clock_is_behind => Some("clock"),
            Self::Ahead(_) => Some("stamps"),
            Self::Standby { .. } => Some("standby"),
            Self::Closed => Some("closed"),
            _ => None,
        }
    }

    /// Whether the cause is a configuration that does not match the store, and not a failure of the system.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Foreign(_) | Self::Changed { .. } | Self::Shape { .. } | Self::Settings(_))
    }
}
