//! Brings the tables of a ledger of an earlier format to the current format.

use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::create::run;
use crate::store::cassandra::schema::declared::FORMAT;
use crate::store::cassandra::schema::names::{keyspace, ledger_place};
use crate::store::cassandra::schema::state::columns;
use crate::store::{StoreError, failpoint};

/// Columns that a ledger of an earlier format does not have: table, name, type.
const ADDED: [(&str, &str, &str); 16] = [
    ("needledrop_deliveries", "replayed", "bigint"),
    ("needledrop_deliveries", "discarded", "bigint"),
    ("needledrop_deliveries", "assumed", "bigint"),
    ("needledrop_deliveries", "tail", "frozen<tuple<bigint, bigint, bigint>>"),
    ("needledrop_deliveries", "strikes", "int"),
    ("needledrop_deliveries", "ahead", "frozen<tuple<bigint, text, text>>"),
    (
        "needledrop_deliveries",
        "note",
        "frozen<tuple<bigint, bigint, bigint, bigint, bigint, bigint, text, frozen<list<text>>, text, blob>>",
    ),
    ("needledrop_deliveries", "part_count", "bigint"),
    ("needledrop_deliveries", "lenient", "text"),
    ("needledrop_deliveries", "replacement", "text"),
    ("needledrop_deliveries", "mirrored_by", "int"),
    ("needledrop_deliveries", "older", "frozen<map<text, bigint>>"),
    ("needledrop_deliveries", "written", "bigint"),
    ("needledrop_deliveries", "trusted", "frozen<list<bigint>>"),
    ("needledrop_quarantine", "state", "text"),
    ("needledrop_quarantine", "header", "frozen<list<text>> static"),
];

/// Returns the statements that add the columns that a ledger of an earlier format does not have.
async fn additions(cluster: &Cluster) -> Result<Vec<String>, StoreError> {
    let there = columns(cluster, &keyspace(&cluster.settings.ledger_keyspace)).await?;
    // A table that does not exist is created with all columns.
    let is_older = |table: &str, name: &str| there.get(table).is_some_and(|of| !of.contains_key(name));
    let missing = ADDED.iter().filter(|(table, name, _)| is_older(table, name));
    let added = |(table, name, kind): &(&str, &str, &str)| {
        format!("ALTER TABLE {} ADD {name} {kind}", ledger_place(&cluster.settings, table))
    };
    Ok(missing.map(added).collect())
}

/// Adds the columns that a ledger of an earlier format does not have.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn add_columns(cluster: &Cluster) -> Result<(), StoreError> {
    for ddl in additions(cluster).await? {
        run(cluster, &ddl).await?;
        failpoint::step("format added");
    }
    Ok(())
}

/// Whether the ledger was created before format 4. Its deliveries may then have provisional last records.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn has_provisional(cluster: &Cluster) -> Result<bool, StoreError> {
    let there = columns(cluster, &keyspace(&cluster.settings.ledger_keyspace)).await?;
    Ok(there.get("needledrop_deliveries").is_some_and(|of| of.contains_key("provisional")))
}

/// Records that the ledger has the current format, if its format is still `from`. A later version of needledrop may
/// have migrated it further in the meantime.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn mark_brought_up(cluster: &Cluster, from: i64) -> Result<(), StoreError> {
    let place = ledger_place(&cluster.settings, "needledrop_meta");
    let cql = format!("UPDATE {place} SET value = '{FORMAT}' WHERE key = 'format' IF value = '{from}'");
    run(cluster, &cql).await
}
