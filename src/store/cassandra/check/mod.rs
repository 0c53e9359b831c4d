//! Checks whether a cluster can be used, and what an acknowledgement and a stamp are worth there.

mod durability_warnings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::deserialize::value::DeserializeValue;

use super::lease::clock;
use super::limits::SizeLimit;
use crate::domain::text::timestamp;
use crate::domain::{Plan, Table};
use crate::store::StoreError;
use crate::store::cassandra::check::durability_warnings::{Cluster, Keyspace};
use crate::store::cassandra::format_check::{check_format, missing_told, stored_format, whole};
use crate::store::cassandra::settings::Settings;
use crate::store::cassandra::{recreated_tables, request, schema, stamps};

/// The result of a check.
pub struct Checked {
    /// The version of the server, and the number of nodes that it knows.
    pub server: String,
    /// Whether tables and ledger are as declared or can be created.
    pub tables: Result<(), StoreError>,
    /// How far the reserved stamps are ahead of the clock. `None` if they are no further ahead than a correct clock
    /// allows.
    pub stamps_ahead: Option<Duration>,
    /// Warnings about what makes an acknowledgement or a stamp weak.
    pub warnings: Vec<String>,
}

/// Checks the nodes, the keyspaces, the ledger and the tables.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn checked(
    session: &Arc<Session>,
    settings: &Arc<Settings>,
    plan: &Plan,
    create: bool,
) -> Result<Checked, StoreError> {
    let cluster = cluster(session, settings);
    let (version, clocks) = of_node(session, settings).await?;
    let mut warnings: Vec<String> = clocks.into_iter().collect();
    warnings.extend(durability_warnings::of_consistency(settings.write));
    for keyspace in keyspaces(session, settings, create).await? {
        warnings.extend(keyspace.warnings(&cluster));
    }
    let tables = as_declared(session, settings, plan, create).await;
    warnings.extend(of_ledger(session, settings).await?);
    warnings.extend(of_guardrails(session, settings).await);
    let limit = SizeLimit::smallest(session, settings).await;
    warnings.extend(limit.and_then(|limit| limit.warning(settings.limits.max_record_bytes)));
    warnings.extend(of_stamps(session, settings).await?);
    for table in &plan.tables {
        warnings.extend(of_table(session, settings, table).await?);
    }
    let nodes = cluster.nodes;
    let server = format!("version {version}, {nodes} node{}", if nodes == 1 { "" } else { "s" });
    let stamps_ahead = stamps::ahead(session, settings).await?;
    Ok(Checked { server, tables, stamps_ahead, warnings })
}

fn cluster(session: &Session, settings: &Settings) -> Cluster {
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info();
    Cluster {
        nodes: nodes.len(),
        datacenters: nodes.iter().filter_map(|node| node.datacenter.clone()).collect(),
        local: settings.local_datacenter.clone(),
        ledger: settings.ledger(),
    }
}

/// Returns the version of the node, and a warning if its clock differs from ours.
async fn of_node(session: &Session, settings: &Settings) -> Result<(String, Option<String>), StoreError> {
    let cql = "SELECT release_version, toUnixTimestamp(now()) FROM system.local";
    let before = clock();
    let rows = request::rows::<(String, i64)>(session, settings, cql, ()).await?;
    let after = clock();
    let told = |(version, node): (String, i64)| {
        (version, durability_warnings::of_clocks(before, node * 1000, after))
    };
    Ok(rows.into_iter().next().map(told).unwrap_or_default())
}

/// Returns the keyspaces of the tables and of the ledger. A keyspace that does not exist is returned as configured if
/// it can be created.
async fn keyspaces(
    session: &Session,
    settings: &Settings,
    create: bool,
) -> Result<Vec<Keyspace>, StoreError> {
    type Replication = BTreeMap<String, String>;
    let cql = "SELECT replication, durable_writes FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let mut all = Vec::new();
    for name in schema::keyspaces(settings) {
        let found = request::rows::<(Replication, bool)>(session, settings, cql, (&name,)).await?.pop();
        let is_there = found.is_some();
        let configured = || (settings.replication.iter().cloned().collect(), true);
        let Some((replication, durable)) = found.or_else(|| create.then(configured)) else { continue };
        let has_ledger = name == schema::keyspace(&settings.ledger_keyspace);
        all.push(Keyspace { name, replication, durable, is_there, has_ledger });
    }
    Ok(all)
}

/// Returns the error with which opening the store for writing would fail.
async fn as_declared(
    session: &Arc<Session>,
    settings: &Arc<Settings>,
    plan: &Plan,
    create: bool,
) -> Result<(), StoreError> {
    let state = schema::look(session, settings, plan, true).await?;
    if let Some(missing) = state.missing(plan).filter(|_| !create) {
        return Err(missing_told(settings, &missing));
    }
    whole(session, settings, plan, &state).await?;
    // A ledger that lacks tables is completed first when the store is opened.
    if !state.missing_ledger.is_empty() {
        return Ok(());
    }
    match stored_format(session, settings).await? {
        Some(older) if create && older < schema::FORMAT => return Ok(()),
        _ => check_format(session, settings, false).await?,
    }
    recreated_tables::none_hides(session, settings, plan, &schema::identities(session, settings, plan).await?)
        .await
}

async fn of_ledger(session: &Session, settings: &Settings) -> Result<Option<String>, StoreError> {
    let is_older = stored_format(session, settings).await?.is_some_and(|format| format < schema::FORMAT);
    Ok(is_older.then(|| {
        "the ledger is that of an earlier version: the next `run` or `schema --apply` migrates it, which needs CREATE \
         on its keyspace, and ALTER on the needledrop_ tables"
            .to_owned()
    }))
}

/// Warns about other ledgers that write to the same tables.
async fn of_stamps(session: &Session, settings: &Settings) -> Result<Vec<String>, StoreError> {
    let others = stamps::others(session, settings).await?.into_iter();
    let told = |(ledger, end): (String, i64)| {
        let (tables, until) = (schema::keyspace(&settings.keyspace), timestamp(end / 1000));
        format!(
            "the ledger in keyspace {ledger} writes to the tables of keyspace {tables} too, with stamps up to {until}: \
             their order is one, but each of the two knows only its own files"
        )
    };
    Ok(others.map(told).collect())
}

/// Warns about the limits that the server sets for stamps. ScyllaDB has none, and a role may not be allowed to read
/// them.
async fn of_guardrails(session: &Session, settings: &Settings) -> Vec<String> {
    let cql = "SELECT name, value FROM system_views.settings";
    let found = request::rows::<(String, Option<String>)>(session, settings, cql, ()).await;
    let told =
        |(name, value): (String, Option<String>)| durability_warnings::of_guardrail(&name, value.as_deref());
    found.unwrap_or_default().into_iter().filter_map(told).collect()
}

async fn of_table(session: &Session, settings: &Settings, table: &Table) -> Result<Vec<String>, StoreError> {
    let mut warnings: Vec<String> = counters(session, settings, table).await.into_iter().collect();
    let name = schema::folded(&table.name, table.exact);
    let ttl = option(session, settings, &name, "default_time_to_live").await?;
    let cdc = option(session, settings, &name, "cdc").await?;
    warnings.extend(durability_warnings::of_options(&table.name, ttl, cdc));
    Ok(warnings)
}

/// Reads one option of a table. Each option has its own query, because ScyllaDB has no `cdc` in this system table.
async fn option<T>(
    session: &Session,
    settings: &Settings,
    table: &str,
    name: &str,
) -> Result<Option<T>, StoreError>
where
    T: for<'f, 'm> DeserializeValue<'f, 'm>,
{
    let cql = format!("SELECT {name} FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?");
    let names = (schema::keyspace(&settings.keyspace), table);
    match request::rows::<(Option<T>,)>(session, settings, cql, names).await {
        Ok(found) => Ok(found.into_iter().next().and_then(|(value,)| value)),
        Err(error) if error.transient_reason().is_some() => Err(error),
        Err(_) => Ok(None),
    }
}

async fn counters(session: &Session, settings: &Settings, table: &Table) -> Option<String> {
    let cql =
        "SELECT column_name, type FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?";
    let names = (schema::keyspace(&settings.keyspace), schema::folded(&table.name, table.exact));
    let columns = request::rows::<(String, String)>(session, settings, cql, names).await.ok()?;
    let (column, _) = columns.into_iter().find(|(_, kind)| kind == "counter")?;
    Some(format!(
        "table {} counts in column {column}: such a table takes no rows, only increments",
        table.name
    ))
}

#[cfg(test)]
mod tests {
    use super::super::connect;
    use super::super::tests::{node, settings_at};
    use super::*;

    /// The system table of tables contains itself.
    #[tokio::test]
    async fn an_option_that_a_server_does_not_have_is_none_and_hides_no_other() {
        let Some(node) = node() else { return };
        let settings = settings_at(node, "system_schema");
        let session = connect::connect(&settings).await.unwrap();
        let asked = async |name| option::<i32>(&session, &settings, "tables", name).await.unwrap();
        assert_eq!(asked("no_such_option").await, None);
        assert_eq!(asked("default_time_to_live").await, Some(0));
    }
}
