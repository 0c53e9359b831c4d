//! Whether the tables are those that the statements were prepared for. The server prepares a statement anew
//! for a table that was dropped and made again, and the driver does not tell.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Inner;
use super::schema::{self, Identity};
use crate::store::StoreError;

/// The look behind the rows of one chunk counts for the next, which follows it closely.
const FRESH: Duration = Duration::from_millis(100);

/// The tables as they were when writing began.
pub struct Unchanged {
    /// In the order of the plan.
    before: Vec<Identity>,
    /// When they were seen last.
    seen: Mutex<Option<Instant>>,
}

impl Unchanged {
    pub fn new(before: Vec<Identity>) -> Self {
        Self { before, seen: Mutex::new(None) }
    }

    /// Looks at them, if that was not done just now.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn check_unless_fresh(&self, inner: &Inner) -> Result<(), StoreError> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Some(seen) if seen.elapsed() < FRESH => Ok(()),
            _ => self.check(inner).await,
        }
    }

    /// Looks at them.
    ///
    /// # Errors
    /// A table is not what it was; what the cluster says.
    pub async fn check(&self, inner: &Inner) -> Result<(), StoreError> {
        let asked = Instant::now();
        let now = schema::identities(&inner.session, &inner.settings, &inner.plan).await?;
        let changed = self.before.iter().zip(&now).map(|(before, now)| now.since(before));
        let mut changed = inner.plan.tables.iter().zip(changed);
        let Some((table, changed)) = changed.find_map(|(table, what)| Some((&table.name, what?))) else {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
            return Ok(());
        };
        Err(StoreError::Changed { store: inner.settings.name(), what: format!("table {table} {changed}") })
    }
}
