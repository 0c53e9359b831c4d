//! Compare-and-set: which replicas have to agree, and how to read the response.

use std::collections::BTreeMap;

use scylla::response::query_result::QueryResult;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::{CqlValue, Row};

use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::names;

/// The response to a conditional update.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Applied,
    /// The update was not applied. Holds the current value of the column in the condition, or `None` if there is no
    /// row.
    Found(Option<i64>),
}

/// Reads the response to an update with a condition on `column`.
///
/// # Errors
/// Returns an error if the response has an unexpected shape.
pub fn answer(cluster: &Cluster, result: QueryResult, column: &str) -> Result<Answer, StoreError> {
    let rows = result.into_rows_result().map_err(|error| cluster.broken(error))?;
    let at = rows.column_specs().get_by_name(column).map(|(at, _)| at);
    let row = rows.single_row::<Row>().map_err(|error| cluster.broken(error))?;
    if row.columns.first() == Some(&Some(CqlValue::Boolean(true))) {
        return Ok(Answer::Applied);
    }
    // Cassandra leaves out the column if there is no row.
    let found = at.and_then(|at| row.columns.get(at)).and_then(Option::as_ref);
    Ok(Answer::Found(found.and_then(CqlValue::as_bigint)))
}

/// Returns the serial consistency for a keyspace. It is `LOCAL_SERIAL` if the ledger is kept at `LOCAL_QUORUM` and all
/// replicas are in one data centre, and `SERIAL` otherwise. A quorum of one data centre does not see an agreement in
/// another.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn serial(cluster: &Cluster, keyspace: &str) -> Result<SerialConsistency, StoreError> {
    let cql = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let keyspace = names::keyspace(keyspace);
    let found = cluster.query::<(BTreeMap<String, String>,)>(cql, (keyspace,)).await?;
    let several = cluster.datacenters().len() > 1;
    let spans = found.iter().any(|(replication,)| spans(replication, several));
    Ok(match cluster.settings.ledger() {
        Consistency::LocalQuorum if !spans => SerialConsistency::LocalSerial,
        _ => SerialConsistency::Serial,
    })
}

/// Whether there are replicas in several data centres. `SimpleStrategy` places replicas regardless of data centres.
fn spans(replication: &BTreeMap<String, String>, several_datacenters: bool) -> bool {
    if !replication.get("class").is_some_and(|class| class.ends_with("NetworkTopologyStrategy")) {
        return several_datacenters;
    }
    let factors = replication.iter().filter(|(key, _)| *key != "class");
    factors.filter(|(_, factor)| *factor != "0").count() > 1
}

/// Returns the consistency of a read that sees the last agreement, even if that agreement was not confirmed.
pub fn reading(serial: SerialConsistency) -> Consistency {
    match serial {
        SerialConsistency::LocalSerial => Consistency::LocalSerial,
        SerialConsistency::Serial => Consistency::Serial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_in_several_data_centres_must_all_agree() {
        let of = |class: &str, factors: &[(&str, &str)]| {
            let class = [("class", class)];
            let all =
                class.iter().chain(factors).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            all.collect::<BTreeMap<_, _>>()
        };
        let network = "org.apache.cassandra.locator.NetworkTopologyStrategy";
        assert!(!spans(&of(network, &[("dc1", "3")]), true));
        assert!(!spans(&of(network, &[("dc1", "3"), ("dc2", "0")]), true));
        assert!(spans(&of(network, &[("dc1", "3"), ("dc2", "1")]), true));
        let simple = of("org.apache.cassandra.locator.SimpleStrategy", &[("replication_factor", "3")]);
        assert!(!spans(&simple, false) && spans(&simple, true));
    }
}
