//! Whether the tables are those that the statements were prepared for. The server prepares a statement anew
//! for a table that was dropped and made again, and the driver does not tell.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::StoreError;
use crate::store::cassandra::schema;
use crate::store::cassandra::schema::Identity;
use scylla::client::session::Session;

use crate::domain::Plan;
use crate::store::cassandra::settings::Settings;

/// The look behind the rows of one chunk counts for the next, which follows it closely.
const FRESH: Duration = Duration::from_millis(100);

/// The tables as they were when writing began.
pub struct Unchanged {
    session: Arc<Session>,
    settings: Arc<Settings>,
    plan: Arc<Plan>,
    /// In the order of the plan.
    before: Vec<Identity>,
    /// When they were seen last.
    seen: Mutex<Option<Instant>>,
}

impl Unchanged {
    pub fn new(
        session: Arc<Session>,
        settings: Arc<Settings>,
        plan: Arc<Plan>,
        before: Vec<Identity>,
    ) -> Self {
        Self { session, settings, plan, before, seen: Mutex::new(None) }
    }

    /// Looks at them, if that was not done just now.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn check_unless_fresh(&self) -> Result<(), StoreError> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Some(seen) if seen.elapsed() < FRESH => Ok(()),
            _ => self.check().await,
        }
    }

    /// Looks at them.
    ///
    /// # Errors
    /// A table is not what it was; what the cluster says.
    pub async fn check(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let now = schema::identities(&self.session, &self.settings, &self.plan).await?;
        let changed = self.before.iter().zip(&now).map(|(before, now)| now.since(before));
        let mut changed = self.plan.tables.iter().zip(changed);
        let Some((table, changed)) = changed.find_map(|(table, what)| Some((&table.name, what?))) else {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
            return Ok(());
        };
        Err(StoreError::Changed { store: self.settings.name(), what: format!("table {table} {changed}") })
    }
}
