//! The row of the lease, which is read and written by compare-and-set.

use std::time::Duration;

use scylla::statement::SerialConsistency;
use scylla::statement::prepared::PreparedStatement;

use crate::metrics;
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::cluster::error::{ErrorClass, classify};
use crate::store::cassandra::lease::cas::{self, Answer};
use crate::store::cassandra::schema::names;

/// The row of the lease in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub holder: Option<String>,
    pub epoch: i64,
    pub beat: i64,
    /// The end of the last range of stamps that this ledger handed out. An earlier version reserved stamps here.
    pub stamps: i64,
    pub tables: String,
}

impl Row {
    /// Returns the part of the holder's name that is shown to users.
    pub fn holder_name(&self) -> String {
        let holder = self.holder.clone().unwrap_or_default();
        holder.split(" #").next().unwrap_or_default().to_owned()
    }
}

/// The columns of the row, as they are stored.
type Stored = (Option<String>, Option<i64>, Option<i64>, Option<i64>, Option<String>);

/// The table of the lease.
pub struct LeaseTable {
    cluster: Cluster,
    place: String,
    serial: SerialConsistency,
    set: PreparedStatement,
}

impl LeaseTable {
    /// Prepares the compare-and-set.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects a request.
    pub async fn new(cluster: &Cluster) -> Result<Self, StoreError> {
        let place = names::ledger_place(&cluster.settings, "needledrop_lease");
        let serial = cas::serial(cluster, &cluster.settings.ledger_keyspace).await?;
        let cql = format!(
            "UPDATE {place} SET holder = ?, epoch = ?, beat = ?, stamps = ?, tables = ? WHERE name = 'writer' \
             IF epoch = ? AND beat = ?"
        );
        let mut set = cluster.prepare_conditional(serial, cql).await?;
        set.set_request_timeout(Some(longest(cluster)));
        Ok(Self { cluster: cluster.clone(), place, serial, set })
    }

    /// Replaces the row `before` by `row`. Returns whether it did.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn set(&self, before: &Row, row: &Row) -> Result<bool, StoreError> {
        let values = (&row.holder, row.epoch, row.beat, row.stamps, &row.tables, before.epoch, before.beat);
        let send = || self.cluster.session().execute_unpaged(&self.set, values);
        // If only the response to the first attempt was lost, the second attempt reports that it was not applied. The
        // caller then reads the row to find out.
        let result = match send().await {
            Err(error) if let ErrorClass::Transient(reason) = classify(&error) => {
                metrics::retry("ledger", reason);
                send().await
            }
            answered => answered,
        };
        let result = result.map_err(|error| self.cluster.store_error(&error))?;
        Ok(cas::answer(&self.cluster, result, "beat")? == Answer::Applied)
    }

    /// Reads the row as the last compare-and-set left it, even if that one is not finished. Creates the row if it does
    /// not exist.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects a request.
    pub async fn read(&self) -> Result<Row, StoreError> {
        let columns = "holder, epoch, beat, stamps, tables";
        let cql = format!("SELECT {columns} FROM {} WHERE name = 'writer'", self.place);
        let mut statement = self.cluster.statement(cql);
        statement.set_consistency(cas::reading(self.serial));
        statement.set_request_timeout(Some(longest(&self.cluster)));
        match self.cluster.query::<Stored>(statement, ()).await?.pop() {
            Some((holder, Some(epoch), Some(beat), Some(stamps), tables)) => {
                Ok(Row { holder, epoch, beat, stamps, tables: tables.unwrap_or_default() })
            }
            _ => self.first().await,
        }
    }

    /// Creates the row, in its state before any process held the lease.
    async fn first(&self) -> Result<Row, StoreError> {
        let columns = "(name, epoch, beat, stamps, tables)";
        let cql =
            format!("INSERT INTO {} {columns} VALUES ('writer', 0, 0, 0, '') IF NOT EXISTS", self.place);
        let mut statement = self.cluster.statement(cql);
        statement.set_serial_consistency(Some(self.serial));
        let made = self.cluster.session().query_unpaged(statement, ()).await;
        made.map(|_| Row::default()).map_err(|error| self.cluster.store_error(&error))
    }
}

/// Returns the timeout of a request. It leaves time for a second attempt before the lease expires.
fn longest(cluster: &Cluster) -> Duration {
    (cluster.settings.lease / 3).min(cluster.settings.request_timeout)
}
