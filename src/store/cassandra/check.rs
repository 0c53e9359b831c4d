//! What an acknowledgement and a stamp are worth in this cluster.

use scylla::client::session::Session;
use scylla::statement::Consistency;

use super::connect::Settings;
use super::lease::clock;
use super::{missing_told, request, schema};
use crate::domain::{Plan, Table};
use crate::store::StoreError;

/// A clock this far from the node's is told, in microseconds (1 s).
const CLOCKS: i64 = 1_000_000;

/// What was found.
pub struct Checked {
    /// The version of the server and how many nodes it knows.
    pub server: String,
    /// Whether the tables are as declared, or can be made.
    pub tables: Result<(), StoreError>,
    /// What makes an acknowledgement or a stamp weak.
    pub warnings: Vec<String>,
}

/// Looks at everything.
///
/// # Errors
/// What the cluster says.
pub async fn checked(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
    create: bool,
) -> Result<Checked, StoreError> {
    let nodes = session.get_cluster_state().get_nodes_info().len();
    let cql = "SELECT release_version, cast(toTimestamp(now()) as bigint) FROM system.local";
    let clocked = request::rows::<(String, i64)>(session, settings, cql, ()).await;
    let (version, node_ms) = match clocked {
        Ok(rows) => rows.into_iter().next().unwrap_or_default(),
        // Scylla has no such cast.
        Err(_) => {
            let cql = "SELECT release_version FROM system.local";
            let rows = request::rows::<(String,)>(session, settings, cql, ()).await?;
            (rows.into_iter().next().unwrap_or_default().0, 0)
        }
    };
    let mut warnings = Vec::new();
    let apart = clock() - node_ms * 1000;
    if node_ms > 0 && apart.abs() > CLOCKS {
        let seconds = apart / 1_000_000;
        warnings.push(format!(
            "this clock is {seconds} s off the node's: deletes by others may hide or miss our rows; run NTP on both"
        ));
    }
    warnings.extend(of_consistency(settings));
    warnings.extend(of_replication(session, settings, nodes).await?);
    let state = schema::look(session, settings, plan, true).await;
    let tables = match state {
        Err(error) => Err(error),
        Ok(state) => match state.missing(plan).filter(|_| !create) {
            Some(missing) => Err(missing_told(settings, &missing)),
            None => Ok(()),
        },
    };
    if !schema::additions(session, settings).await?.is_empty() {
        warnings.push(
            "the ledger is that of an earlier version: the next `run` or `schema --apply` adds columns to it, which \
             takes ALTER on the needledrop_ tables"
                .to_owned(),
        );
    }
    warnings.extend(of_guardrails(session, settings).await);
    for table in &plan.tables {
        warnings.extend(of_table(session, settings, table).await?);
    }
    let server = format!("version {version}, {nodes} node{}", if nodes == 1 { "" } else { "s" });
    Ok(Checked { server, tables, warnings })
}

fn of_consistency(settings: &Settings) -> Option<String> {
    let weak = matches!(settings.write, Consistency::One | Consistency::LocalOne);
    weak.then(|| {
        "consistency ONE: a row counts as written when one replica has it, and is lost with that replica"
            .to_owned()
    })
}

async fn of_replication(
    session: &Session,
    settings: &Settings,
    nodes: usize,
) -> Result<Vec<String>, StoreError> {
    type Replication = std::collections::BTreeMap<String, String>;
    let cql = "SELECT replication, durable_writes FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let keyspace = schema::keyspace(&settings.keyspace);
    let found = request::rows::<(Replication, bool)>(session, settings, cql, (&keyspace,)).await?;
    let Some((replication, durable)) = found.into_iter().next() else { return Ok(Vec::new()) };
    let class = replication.get("class").cloned().unwrap_or_default();
    let factors: Vec<u32> = replication
        .iter()
        .filter(|(key, _)| *key != "class")
        .filter_map(|(_, factor)| factor.parse().ok())
        .collect();
    let mut warnings = Vec::new();
    if factors.iter().all(|factor| *factor < 2) {
        warnings.push(format!(
            "keyspace {keyspace} has replication 1: an acknowledged row is on one node, in its commit log within \
             commitlog_sync_period (10 s by default), and is lost with the disk of that node"
        ));
    }
    if class.ends_with("SimpleStrategy") && nodes > 1 {
        warnings.push(format!(
            "keyspace {keyspace} has SimpleStrategy on {nodes} nodes: replicas do not heed racks and data centres; \
             use NetworkTopologyStrategy"
        ));
    }
    if !durable {
        warnings
            .push(format!("keyspace {keyspace} has durable_writes = false: rows are lost when nodes stop"));
    }
    Ok(warnings)
}

/// Limits that the server sets to stamps. Scylla has none, and a role may not be allowed to ask.
async fn of_guardrails(session: &Session, settings: &Settings) -> Vec<String> {
    let cql = "SELECT name, value FROM system_views.settings";
    let found = request::rows::<(String, Option<String>)>(session, settings, cql, ()).await;
    let why = |name: &str| {
        if name.starts_with("minimum_timestamp_") {
            return Some(
                "a delivery that is resumed or played again is written under the stamps it was given",
            );
        }
        name.starts_with("maximum_timestamp_").then_some("stamps may be 10 minutes ahead of the clock")
    };
    let told = |(name, value): (String, Option<String>)| {
        let value = value.filter(|value| !value.is_empty() && value != "null")?;
        let why = why(&name)?;
        let does = if name.ends_with("fail_threshold") { "refuses" } else { "warns of" };
        Some(format!("guardrail {name} is {value}, and {does} what is beyond: {why}"))
    };
    found.unwrap_or_default().into_iter().filter_map(told).collect()
}

async fn of_table(session: &Session, settings: &Settings, table: &Table) -> Result<Vec<String>, StoreError> {
    let cql = "SELECT default_time_to_live, cdc FROM system_schema.tables \
               WHERE keyspace_name = ? AND table_name = ?";
    let names = (schema::keyspace(&settings.keyspace), schema::folded(&table.name, table.exact));
    let found = request::rows::<(Option<i32>, Option<bool>)>(session, settings, cql, names).await;
    let Ok(found) = found else { return Ok(Vec::new()) };
    let (ttl, cdc) = found.into_iter().next().unwrap_or_default();
    let mut warnings: Vec<String> = counters(session, settings, table).await.into_iter().collect();
    if ttl.is_some_and(|ttl| ttl > 0) {
        warnings.push(format!(
            "table {} has a default time to live: it begins again when a record is written again",
            table.name
        ));
    }
    if cdc == Some(true) {
        warnings.push(format!("table {} has CDC: a record that is written again is told again", table.name));
    }
    Ok(warnings)
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
