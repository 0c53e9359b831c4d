//! Whether the rows of a table can be corrected.

use scylla::deserialize::value::DeserializeValue;

use crate::domain::{Schema, Table};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::stamps;
use crate::store::cassandra::schema::names;
use crate::store::cassandra::shared::Inner;

/// Refuses tables whose rows cannot be corrected.
///
/// # Errors
/// Returns an error that says why, or if the cluster does not answer or rejects a request.
pub async fn tables(inner: &Inner, tables: &[usize]) -> Result<(), StoreError> {
    let cluster = &inner.cluster;
    if let Some((ledger, _)) = stamps::others(cluster).await?.into_iter().next() {
        return Err(cluster.shape(
            format!(
                "the ledger in keyspace {ledger} loads into this keyspace too, and its deliveries are not known here"
            ),
            "delete the rows with cqlsh, or load corrected values for the same keys",
        ));
    }
    for table in tables.iter().filter_map(|at| inner.declared.tables.get(*at)) {
        if !table.statics.is_empty() {
            return Err(cluster.shape(
                format!("table {} has static columns, which cannot be corrected yet", table.name),
                "delete the rows with cqlsh, or load corrected values for the same keys",
            ));
        }
        if option::<i32>(cluster, table, "gc_grace_seconds").await? == Some(0) {
            return Err(cluster.shape(
                format!("table {} has gc_grace_seconds = 0, so a replica that is away could bring deleted rows back", table.name),
                "set gc_grace_seconds to more than the time in which every node is repaired",
            ));
        }
    }
    Ok(())
}

/// Refuses tables with `newest_by` if another ledger loads into the keyspace, or if their rows can expire.
///
/// # Errors
/// Returns an error that says why, or if the cluster does not answer or rejects a request.
pub async fn newest_by(cluster: &Cluster, declared: &Schema) -> Result<(), StoreError> {
    let Some(first) = declared.tables.iter().find(|table| table.newest_by.is_some()) else { return Ok(()) };
    if let Some((ledger, _)) = stamps::others(cluster).await?.into_iter().next() {
        return Err(cluster.shape(
            format!(
                "table {} has newest_by, and the ledger in keyspace {ledger} loads into this keyspace too: each would overwrite \
                 rows that the other has just written",
                first.name
            ),
            "load all files with one ledger, or remove newest_by",
        ));
    }
    for table in declared.tables.iter().filter(|table| table.newest_by.is_some()) {
        if option::<i32>(cluster, table, "default_time_to_live").await?.is_some_and(|ttl| ttl > 0) {
            return Err(cluster.shape(
                format!("table {} has newest_by and default_time_to_live: an older record could replace the newest once it has expired", table.name),
                "set default_time_to_live of the table to 0, or remove newest_by",
            ));
        }
    }
    Ok(())
}

/// Returns the seconds after which new cells of a table expire, if they do.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn lifetime(inner: &Inner, table: usize) -> Result<Option<i64>, StoreError> {
    let Some(table) = inner.declared.tables.get(table) else { return Ok(None) };
    let ttl = option::<i32>(&inner.cluster, table, "default_time_to_live").await?;
    Ok(ttl.filter(|ttl| *ttl > 0).map(i64::from))
}

async fn option<T>(cluster: &Cluster, table: &Table, name: &str) -> Result<Option<T>, StoreError>
where
    T: for<'f, 'm> DeserializeValue<'f, 'm>,
{
    let cql = format!("SELECT {name} FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?");
    let names = (names::keyspace(&cluster.settings.keyspace), names::folded(&table.name, table.exact));
    let found = cluster.query::<(Option<T>,)>(cql, names).await?;
    Ok(found.into_iter().next().and_then(|(value,)| value))
}
