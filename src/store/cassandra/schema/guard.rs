//! Checks that the tables are still those for which the statements were prepared. If a table is dropped and created
//! again, the server prepares the statement again, and the driver does not report it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::Schema;
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::identity;
use crate::store::cassandra::schema::identity::Identity;

/// How long a check stays valid. The check after the rows of one chunk also serves the next chunk, which follows
/// closely.
const FRESH: Duration = Duration::from_millis(100);

/// The tables as they were when writing began.
pub struct Unchanged {
    cluster: Cluster,
    declared: Arc<Schema>,
    /// The identities of the tables, in the order of the schema.
    before: Vec<Identity>,
    /// When the tables were last found unchanged.
    seen: Mutex<Option<Instant>>,
}

impl Unchanged {
    pub fn new(cluster: &Cluster, declared: Arc<Schema>, before: Vec<Identity>) -> Self {
        Self { cluster: cluster.clone(), declared, before, seen: Mutex::new(None) }
    }

    /// Checks that no table has changed, unless this was checked just now.
    ///
    /// # Errors
    /// Returns the errors of [`Self::check`].
    pub async fn check_unless_fresh(&self) -> Result<(), StoreError> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Some(seen) if seen.elapsed() < FRESH => Ok(()),
            _ => self.check().await,
        }
    }

    /// Checks that no table has changed.
    ///
    /// # Errors
    /// Returns an error if a table has changed, or if the cluster does not answer or rejects a request.
    pub async fn check(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let now = identity::identities(&self.cluster, &self.declared).await?;
        let changed = self.before.iter().zip(&now).map(|(before, now)| now.since(before));
        let mut changed = self.declared.tables.iter().zip(changed);
        let Some((table, changed)) = changed.find_map(|(table, what)| Some((&table.name, what?))) else {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
            return Ok(());
        };
        Err(StoreError::Changed { store: self.cluster.name(), what: format!("table {table} {changed}") })
    }
}
