//! Compare-and-set: which replicas agree on it, and what the answer says.

use std::collections::BTreeMap;

use scylla::client::session::Session;
use scylla::response::query_result::QueryResult;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::{CqlValue, Row};

use super::{request, schema};
use crate::store::StoreError;
use crate::store::cassandra::settings::Settings;

/// The answer to a conditional update.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Applied,
    /// Not applied; the value of the column that the condition is about, where there is a row.
    Found(Option<i64>),
}

/// Reads the answer to an update with a condition on this column.
///
/// # Errors
/// An answer of another shape.
pub fn answer(settings: &Settings, result: QueryResult, column: &str) -> Result<Answer, StoreError> {
    let broken = |what: String| StoreError::Broken { store: settings.name(), what };
    let rows = result.into_rows_result().map_err(|error| broken(error.to_string()))?;
    let at = rows.column_specs().get_by_name(column).map(|(at, _)| at);
    let row = rows.single_row::<Row>().map_err(|error| broken(error.to_string()))?;
    if row.columns.first() == Some(&Some(CqlValue::Boolean(true))) {
        return Ok(Answer::Applied);
    }
    // Cassandra leaves out the column where there is no row.
    let found = at.and_then(|at| row.columns.get(at)).and_then(Option::as_ref);
    Ok(Answer::Found(found.and_then(CqlValue::as_bigint)))
}

/// The replicas that must agree on a row of this keyspace: those of one data centre, unless the keyspace has
/// replicas in several. A quorum of one data centre knows nothing of an agreement in another.
///
/// # Errors
/// The cluster does not answer.
pub async fn serial(
    session: &Session,
    settings: &Settings,
    keyspace: &str,
) -> Result<SerialConsistency, StoreError> {
    let cql = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let keyspace = schema::keyspace(keyspace);
    let found = request::rows::<(BTreeMap<String, String>,)>(session, settings, cql, (keyspace,)).await?;
    let state = session.get_cluster_state();
    let datacenters = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref());
    let several = datacenters.collect::<std::collections::BTreeSet<_>>().len() > 1;
    let spans = found.iter().any(|(replication,)| spans(replication, several));
    Ok(match settings.ledger() {
        Consistency::LocalQuorum if !spans => SerialConsistency::LocalSerial,
        _ => SerialConsistency::Serial,
    })
}

/// Whether there are replicas in several data centres. SimpleStrategy places them without regard to these.
fn spans(replication: &BTreeMap<String, String>, several_datacenters: bool) -> bool {
    if !replication.get("class").is_some_and(|class| class.ends_with("NetworkTopologyStrategy")) {
        return several_datacenters;
    }
    let factors = replication.iter().filter(|(key, _)| *key != "class");
    factors.filter(|(_, factor)| *factor != "0").count() > 1
}

/// The consistency of a read that sees what was agreed on last, also where that was not confirmed.
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
