//! Reads the existing schema, and compares it with the declaration.

use std::collections::BTreeMap;

use crate::domain::{Schema, Table};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::ddl::word;
use crate::store::cassandra::schema::declared::{
    CONTENTS, CORRECTIONS, DELIVERIES, LEASE, LEDGER, META, STAMPS, WITH_CONTENTS, WITH_CORRECTIONS,
};
use crate::store::cassandra::schema::names::{folded, keyspace, keyspaces};

/// Columns by table: name → description.
type Found = BTreeMap<String, BTreeMap<String, String>>;

/// What is missing in the cluster.
pub struct SchemaState {
    /// Names of keyspaces.
    pub missing_keyspaces: Vec<String>,
    /// Indexes of tables in the schema.
    pub missing_tables: Vec<usize>,
    pub missing_stamps: bool,
    /// Indexes of tables in [`LEDGER`].
    pub missing_ledger: Vec<usize>,
}

impl SchemaState {
    /// Whether the table of the lease does not exist.
    pub fn lacks_lease(&self) -> bool {
        !self.missing_keyspaces.is_empty() || self.missing_ledger.contains(&LEASE)
    }

    /// Whether there is no ledger. A ledger of an earlier format also lacks tables, but only tables that were added
    /// later.
    pub fn lacks_ledger(&self) -> bool {
        [DELIVERIES, META].iter().any(|at| self.missing_ledger.contains(at))
    }

    /// Returns a missing table that a ledger of this format must have.
    pub fn missing_ledger_table(&self, format: i64) -> Option<&'static str> {
        let is_needed = |at: &&usize| match **at {
            CONTENTS => format >= WITH_CONTENTS,
            CORRECTIONS => format >= WITH_CORRECTIONS,
            _ => true,
        };
        self.missing_ledger.iter().find(is_needed).and_then(|at| LEDGER.get(*at)).map(|(name, _)| *name)
    }

    /// Describes the first thing that is missing.
    pub fn missing(&self, declared: &Schema) -> Option<String> {
        let keyspace = self.missing_keyspaces.first().map(|name| format!("keyspace {name}"));
        let table = self.missing_tables.first().and_then(|index| declared.tables.get(*index));
        let ledger = self.missing_ledger.first().and_then(|index| LEDGER.get(*index));
        let stamps = self.missing_stamps.then(|| format!("table {}", STAMPS.0));
        keyspace
            .or_else(|| table.map(|table| format!("table {}", table.name)))
            .or(stamps)
            .or_else(|| ledger.map(|(name, _)| format!("table {name}")))
    }
}

/// Reads the schema. With `compares`, compares the existing tables with the declaration.
///
/// # Errors
/// Returns an error if a table has another shape than declared, or if the cluster does not answer or rejects a request.
pub async fn look(cluster: &Cluster, declared: &Schema, compares: bool) -> Result<SchemaState, StoreError> {
    let there = existing_keyspaces(cluster).await?;
    let missing_keyspaces =
        keyspaces(&cluster.settings).into_iter().filter(|name| !there.contains(name)).collect::<Vec<_>>();
    let tables = columns(cluster, &keyspace(&cluster.settings.keyspace)).await?;
    let ledger = columns(cluster, &keyspace(&cluster.settings.ledger_keyspace)).await?;
    let mut missing_tables = Vec::new();
    for (index, table) in declared.tables.iter().enumerate() {
        match tables.get(&folded(&table.name, table.exact)) {
            None => missing_tables.push(index),
            Some(found) if compares => compare(cluster, declared, table, found)?,
            Some(_) => {}
        }
    }
    let missing_ledger =
        (0..LEDGER.len()).filter(|at| LEDGER.get(*at).is_some_and(|(name, _)| !ledger.contains_key(*name)));
    Ok(SchemaState {
        missing_keyspaces,
        missing_tables,
        missing_stamps: !tables.contains_key(STAMPS.0),
        missing_ledger: missing_ledger.collect(),
    })
}

fn compare(
    cluster: &Cluster,
    declared: &Schema,
    table: &Table,
    found: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let expected = expected(declared, table);
    if expected == *found {
        return Ok(());
    }
    let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| -> Vec<String> {
        let differs = a.iter().filter(|(name, kind)| b.get(*name) != Some(kind));
        differs.map(|(name, kind)| format!("{name} {kind}")).collect()
    };
    let listed = |list: Vec<String>| if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
    let (lacks, extra) = (listed(only(&expected, found)), listed(only(found, &expected)));
    Err(cluster.shape(
        format!("table {} has another shape:\n  expected {lacks}\n  found {extra}", table.name),
        if found.values().any(|kind| is_unfrozen(kind)) {
            "recreate the table with frozen collections, or declare it under another name; docs/types.md says why"
        } else {
            "declare the table as it is, declare it under another name, or move it away"
        },
    ))
}

/// Whether this is the type of a collection that is not frozen. Such a table cannot be declared as it is.
fn is_unfrozen(kind: &str) -> bool {
    ["list<", "set<", "map<"].iter().any(|collection| kind.starts_with(collection))
}

fn expected(declared: &Schema, table: &Table) -> BTreeMap<String, String> {
    let mut shape = BTreeMap::new();
    for index in table.all() {
        let Some(one) = declared.columns.get(index) else { continue };
        let partition = table.partition_key.iter().position(|of| *of == index);
        let clustering = table.clustering_key.iter().position(|(of, _)| *of == index);
        let order = clustering.and_then(|at| table.clustering_key.get(at)).map(|(_, order)| word(*order));
        let place = match (partition, clustering) {
            (Some(at), _) => described("partition_key", at, "NONE"),
            (_, Some(at)) => described("clustering", at, order.unwrap_or("ASC")),
            _ if table.statics.contains(&index) => described("static", 0, "NONE"),
            _ => described("regular", 0, "NONE"),
        };
        shape.insert(folded(&one.name, one.exact), format!("{}{place}", one.kind));
    }
    shape
}

fn described(kind: &str, position: usize, order: &str) -> String {
    match kind {
        "partition_key" => format!(" partition key {}", position + 1),
        "clustering" => format!(" clustering key {} {}", position + 1, order.to_ascii_lowercase()),
        "static" => " static".to_owned(),
        _ => String::new(),
    }
}

async fn existing_keyspaces(cluster: &Cluster) -> Result<Vec<String>, StoreError> {
    let cql = "SELECT keyspace_name FROM system_schema.keyspaces";
    let rows = cluster.query::<(String,)>(cql, ()).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

pub async fn columns(cluster: &Cluster, keyspace: &str) -> Result<Found, StoreError> {
    let cql = "SELECT table_name, column_name, type, kind, position, clustering_order \
               FROM system_schema.columns WHERE keyspace_name = ?";
    type Row = (String, String, String, String, i32, String);
    let mut found = Found::new();
    for (table, column, kind, place, position, order) in cluster.query::<Row>(cql, (keyspace,)).await? {
        let position = usize::try_from(position).unwrap_or_default();
        let place = described(&place, position, &order);
        found.entry(table).or_default().insert(column, format!("{kind}{place}"));
    }
    Ok(found)
}
