//! Checks whether a cluster can be used, and what an acknowledgement and a stamp are worth there.

mod durability_warnings;

use std::collections::BTreeMap;
use std::time::Duration;

use scylla::deserialize::value::DeserializeValue;

use crate::domain::text::timestamp;
use crate::domain::{Schema, Table};
use crate::store::StoreError;
use crate::store::cassandra::check::durability_warnings::{Keyspace, Topology};
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::cluster::limits::SizeLimit;
use crate::store::cassandra::lease::stamps;
use crate::store::cassandra::ledger::recreated_tables;
use crate::store::cassandra::schema::format::{check_complete, check_format, missing_error, stored_format};
use crate::store::cassandra::schema::{declared, identity, names, state};
use crate::store::clock::clock;

/// The result of a check.
pub struct Checked {
    /// The version of the server, and the number of nodes that it knows.
    pub server: String,
    /// Whether tables and ledger are as declared or can be created.
    pub tables: Result<(), StoreError>,
    /// How far the reserved stamps are ahead of the clock. `None` if they are no further ahead than a correct clock
    /// allows.
    pub stamps_ahead: Option<Duration>,
    /// Warnings about what weakens the guarantee of an acknowledgement or a stamp.
    pub warnings: Vec<String>,
}

/// Checks the nodes, the keyspaces, the ledger and the tables.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn checked(cluster: &Cluster, declared: &Schema, create: bool) -> Result<Checked, StoreError> {
    let topology = topology(cluster);
    let (version, clocks) = of_node(cluster).await?;
    let mut warnings: Vec<String> = clocks.into_iter().collect();
    warnings.extend(durability_warnings::of_consistency(cluster.settings.write));
    for keyspace in keyspaces(cluster, create).await? {
        warnings.extend(keyspace.warnings(&topology));
    }
    let tables = as_declared(cluster, declared, create).await;
    warnings.extend(of_ledger(cluster).await?);
    warnings.extend(of_guardrails(cluster).await);
    let limit = SizeLimit::smallest(cluster).await;
    warnings.extend(limit.and_then(|limit| limit.warning(cluster.settings.limits.max_record_bytes)));
    warnings.extend(of_stamps(cluster).await?);
    for table in &declared.tables {
        warnings.extend(of_table(cluster, table).await?);
    }
    let nodes = topology.nodes;
    let server = format!("version {version}, {nodes} node{}", if nodes == 1 { "" } else { "s" });
    let stamps_ahead = stamps::ahead(cluster).await?;
    Ok(Checked { server, tables, stamps_ahead, warnings })
}

fn topology(cluster: &Cluster) -> Topology {
    Topology {
        nodes: cluster.session().get_cluster_state().get_nodes_info().len(),
        datacenters: cluster.datacenters(),
        local: cluster.settings.local_datacenter.clone(),
        ledger: cluster.settings.ledger(),
    }
}

/// Returns the version of the node, and a warning if its clock differs from ours.
async fn of_node(cluster: &Cluster) -> Result<(String, Option<String>), StoreError> {
    let cql = "SELECT release_version, toUnixTimestamp(now()) FROM system.local";
    let before = clock().0;
    let rows = cluster.query::<(String, i64)>(cql, ()).await?;
    let after = clock().0;
    let describe = |(version, node): (String, i64)| {
        (version, durability_warnings::of_clocks(before, node * 1000, after))
    };
    Ok(rows.into_iter().next().map(describe).unwrap_or_default())
}

/// Returns the keyspaces of the tables and of the ledger. A keyspace that does not exist is returned as configured if
/// it can be created.
async fn keyspaces(cluster: &Cluster, create: bool) -> Result<Vec<Keyspace>, StoreError> {
    type Replication = BTreeMap<String, String>;
    let cql = "SELECT replication, durable_writes FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let mut all = Vec::new();
    for name in names::keyspaces(&cluster.settings) {
        let found = cluster.query::<(Replication, bool)>(cql, (&name,)).await?.pop();
        let is_there = found.is_some();
        let configured = || (cluster.settings.replication.iter().cloned().collect(), true);
        let Some((replication, durable)) = found.or_else(|| create.then(configured)) else { continue };
        let has_ledger = name == names::keyspace(&cluster.settings.ledger_keyspace);
        all.push(Keyspace { name, replication, durable, is_there, has_ledger });
    }
    Ok(all)
}

/// Returns the error with which opening the store for writing would fail.
async fn as_declared(cluster: &Cluster, declared: &Schema, create: bool) -> Result<(), StoreError> {
    let state = state::look(cluster, declared, true).await?;
    if let Some(missing) = state.missing(declared).filter(|_| !create) {
        return Err(missing_error(cluster, &missing));
    }
    check_complete(cluster, declared, &state).await?;
    // A ledger that lacks tables is completed first when the store is opened.
    if !state.missing_ledger.is_empty() {
        return Ok(());
    }
    match stored_format(cluster).await? {
        Some(older) if create && older < declared::FORMAT => return Ok(()),
        _ => check_format(cluster, false).await?,
    }
    recreated_tables::none_hides(cluster, declared, &identity::identities(cluster, declared).await?).await
}

async fn of_ledger(cluster: &Cluster) -> Result<Option<String>, StoreError> {
    let is_older = stored_format(cluster).await?.is_some_and(|format| format < declared::FORMAT);
    Ok(is_older.then(|| {
        "the ledger has the format of an earlier version: the next `run` or `schema --apply` migrates it, which needs CREATE \
         on its keyspace, and ALTER on the needledrop_ tables"
            .to_owned()
    }))
}

/// Warns about other ledgers that write to the same tables.
async fn of_stamps(cluster: &Cluster) -> Result<Vec<String>, StoreError> {
    let others = stamps::others(cluster).await?.into_iter();
    let describe = |(ledger, end): (String, i64)| {
        let (tables, until) = (names::keyspace(&cluster.settings.keyspace), timestamp(end / 1000));
        format!(
            "the ledger in keyspace {ledger} writes to the tables of keyspace {tables} too, with stamps up to {until}: \
             both share one order, but each ledger knows only its own files"
        )
    };
    Ok(others.map(describe).collect())
}

/// Warns about the limits that the server sets for stamps. ScyllaDB has none, and a role may not be allowed to read
/// them.
async fn of_guardrails(cluster: &Cluster) -> Vec<String> {
    let cql = "SELECT name, value FROM system_views.settings";
    let found = cluster.query::<(String, Option<String>)>(cql, ()).await;
    let describe =
        |(name, value): (String, Option<String>)| durability_warnings::of_guardrail(&name, value.as_deref());
    found.unwrap_or_default().into_iter().filter_map(describe).collect()
}

async fn of_table(cluster: &Cluster, table: &Table) -> Result<Vec<String>, StoreError> {
    let mut warnings: Vec<String> = counters(cluster, table).await.into_iter().collect();
    let name = names::folded(&table.name, table.exact);
    let ttl = option(cluster, &name, "default_time_to_live").await?;
    let cdc = option(cluster, &name, "cdc").await?;
    warnings.extend(durability_warnings::of_options(&table.name, ttl, cdc));
    Ok(warnings)
}

/// Reads one option of a table. Each option has its own query, because ScyllaDB has no `cdc` in this system table.
async fn option<T>(cluster: &Cluster, table: &str, name: &str) -> Result<Option<T>, StoreError>
where
    T: for<'f, 'm> DeserializeValue<'f, 'm>,
{
    let cql = format!("SELECT {name} FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?");
    let names = (names::keyspace(&cluster.settings.keyspace), table);
    match cluster.query::<(Option<T>,)>(cql, names).await {
        Ok(found) => Ok(found.into_iter().next().and_then(|(value,)| value)),
        Err(error) if error.transient_reason().is_some() => Err(error),
        Err(_) => Ok(None),
    }
}

async fn counters(cluster: &Cluster, table: &Table) -> Option<String> {
    let cql =
        "SELECT column_name, type FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?";
    let names = (names::keyspace(&cluster.settings.keyspace), names::folded(&table.name, table.exact));
    let columns = cluster.query::<(String, String)>(cql, names).await.ok()?;
    let (column, _) = columns.into_iter().find(|(_, kind)| kind == "counter")?;
    Some(format!(
        "column {column} of table {} is a counter: such a table accepts no rows, only increments",
        table.name
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{node, settings_at};
    use super::*;

    /// `system_schema.tables` has a row about itself, so the test needs no other table.
    #[tokio::test]
    async fn a_missing_option_is_none_and_hides_no_other_option() {
        let Some(node) = node() else { return };
        let settings = settings_at(node, "system_schema");
        let cluster = Cluster::connect(Arc::new(settings)).await.unwrap();
        let asked = async |name| option::<i32>(&cluster, "tables", name).await.unwrap();
        assert_eq!(asked("no_such_option").await, None);
        assert_eq!(asked("default_time_to_live").await, Some(0));
    }
}
