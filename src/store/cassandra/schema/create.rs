//! Creates what is missing in the schema.

use std::sync::Arc;

use scylla::policies::load_balancing::{
    LoadBalancingPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy,
};

use crate::domain::Schema;
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::cluster::error::exists_already;
use crate::store::cassandra::schema::ddl::{create_keyspace, create_of_ledger, create_stamps, create_table};
use crate::store::cassandra::schema::declared::{FORMAT, LEASE, LEDGER};
use crate::store::cassandra::schema::names::ledger_place;
use crate::store::cassandra::schema::state::SchemaState;

/// Creates the keyspaces and the table of the lease. The holder of the lease creates everything else.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn make_lease(cluster: &Cluster, state: &SchemaState) -> Result<(), StoreError> {
    for name in &state.missing_keyspaces {
        run(cluster, &create_keyspace(&cluster.settings, name)).await?;
    }
    let is_missing = state.missing_ledger.contains(&LEASE);
    make_ledger(cluster, is_missing.then_some(&LEASE)).await
}

/// Creates tables of the ledger, one statement after another. All nodes agree on each table before the next is created.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn make_ledger(
    cluster: &Cluster,
    missing: impl IntoIterator<Item = &usize>,
) -> Result<(), StoreError> {
    for table in missing.into_iter().filter_map(|at| LEDGER.get(*at)) {
        run(cluster, &create_of_ledger(&cluster.settings, *table)).await?;
    }
    Ok(())
}

/// Creates the table of the stamps. A process with another ledger may do so at the same moment.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn make_stamps(cluster: &Cluster) -> Result<(), StoreError> {
    run(cluster, &create_stamps(&cluster.settings)).await
}

/// Records that the ledger has the current format, unless it has one already.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn mark(cluster: &Cluster) -> Result<(), StoreError> {
    let place = ledger_place(&cluster.settings, "needledrop_meta");
    let cql = format!("INSERT INTO {place} (key, value) VALUES ('format', '{FORMAT}') IF NOT EXISTS");
    run(cluster, &cql).await
}

/// Creates the declared tables that are missing.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn make_tables(cluster: &Cluster, declared: &Schema, missing: &[usize]) -> Result<(), StoreError> {
    for table in missing.iter().filter_map(|index| declared.tables.get(*index)) {
        run(cluster, &create_table(&cluster.settings, declared, table)).await?;
    }
    Ok(())
}

/// Returns the policy that sends all DDL to one node: the connected node with the lowest id. Two processes that create
/// a table at the same moment on different nodes would create it twice, with an id from each node.
fn maker(cluster: &Cluster) -> Option<Arc<dyn LoadBalancingPolicy>> {
    let state = cluster.session().get_cluster_state();
    let connected = state.get_nodes_info().iter().filter(|node| node.is_connected());
    let node = connected.min_by_key(|node| node.host_id)?;
    Some(SingleTargetLoadBalancingPolicy::new(NodeIdentifier::Node(Arc::clone(node)), None))
}

/// Runs a DDL statement. What exists already is left as it is.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn run(cluster: &Cluster, cql: &str) -> Result<(), StoreError> {
    let mut statement = cluster.statement(cql);
    statement.set_load_balancing_policy(maker(cluster));
    match cluster.session().query_unpaged(statement, ()).await {
        Ok(_) => Ok(()),
        Err(error) if exists_already(&error) => Ok(()),
        Err(error) => Err(cluster.store_error(&error)),
    }
}
