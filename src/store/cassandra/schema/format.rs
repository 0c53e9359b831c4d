//! Checks that the ledger is complete and has a format that this version knows.

use crate::domain::Schema;
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::create;
use crate::store::cassandra::schema::declared::{DELIVERIES, FORMAT, META};
use crate::store::cassandra::schema::names::ledger_place;
use crate::store::cassandra::schema::state::{SchemaState, look};

/// Rejects a ledger from which a table has disappeared. If the table were created again, nobody would notice that its
/// content is lost.
pub async fn check_complete(
    cluster: &Cluster,
    declared: &Schema,
    state: &SchemaState,
) -> Result<(), StoreError> {
    if state.missing_ledger.is_empty() {
        return Ok(());
    }
    let lacks = |at: usize| state.missing_ledger.contains(&at);
    let format = match (lacks(DELIVERIES), lacks(META)) {
        // The format is recorded after all tables have been created.
        (_, false) => stored_format(cluster).await?.filter(|format| *format <= FORMAT),
        (false, true) => (!is_empty(cluster).await?).then_some(FORMAT),
        (true, true) => None,
    };
    let Some(format) = format else { return Ok(()) };
    // Another process may have created the tables in the meantime.
    let state = look(cluster, declared, false).await?;
    let missing = state.missing_ledger_table(format);
    missing.map_or(Ok(()), |name| Err(damaged(cluster, &format!("table {name} is missing"))))
}

fn damaged(cluster: &Cluster, what: &str) -> StoreError {
    cluster.shape(
        format!("its ledger is damaged: {what}"),
        "restore the needledrop_ tables from a backup, or drop them and load the kept files again",
    )
}

pub async fn stored_format(cluster: &Cluster) -> Result<Option<i64>, StoreError> {
    let place = ledger_place(&cluster.settings, "needledrop_meta");
    let cql = format!("SELECT value FROM {place} WHERE key = 'format'");
    let asked = cluster.statement(cql);
    let stored = match cluster.query::<(Option<String>,)>(asked, ()).await {
        // The table is being created. It is in the schema, but cannot be read yet.
        Err(StoreError::Changed { .. }) => return Ok(None),
        stored => stored?,
    };
    Ok(stored.first().and_then(|(value,)| value.as_ref()).and_then(|value| value.parse().ok()))
}

pub async fn check_format(cluster: &Cluster, mark: bool) -> Result<(), StoreError> {
    match stored_format(cluster).await? {
        Some(FORMAT) => Ok(()),
        Some(older) if older < FORMAT => Err(cluster.shape(
            format!("its ledger has format {older}, this version uses {}", FORMAT),
            "migrate it with `needledrop schema --apply`, as a role that may CREATE tables in the keyspace of the \
             ledger, and ALTER and MODIFY the needledrop_ tables",
        )),
        Some(other) => Err(cluster.shape(
            format!("its ledger has format {other}, this version knows {}", FORMAT),
            "use the version of needledrop that created it, or a newer one",
        )),
        // The tables were created by hand, or their creation was interrupted.
        None if is_empty(cluster).await? => {
            if mark {
                create::mark(cluster).await
            } else {
                Ok(())
            }
        }
        None => Err(damaged(cluster, "needledrop_meta has no format")),
    }
}

/// Whether no delivery was ever entered.
async fn is_empty(cluster: &Cluster) -> Result<bool, StoreError> {
    let place = ledger_place(&cluster.settings, "needledrop_deliveries");
    let cql = format!("SELECT id FROM {place} LIMIT 1");
    let asked = cluster.statement(cql);
    match cluster.query::<(i64,)>(asked, ()).await {
        // The table is being created, and cannot be read yet.
        Err(StoreError::Changed { .. }) => Ok(true),
        rows => Ok(rows?.is_empty()),
    }
}

pub fn missing_error(cluster: &Cluster, missing: &str) -> StoreError {
    cluster.shape(
        format!("{missing} does not exist, and store.create_schema is false"),
        "create it (`needledrop schema --apply`), or set store.create_schema to true",
    )
}
