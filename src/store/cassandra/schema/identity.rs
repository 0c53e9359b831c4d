//! Distinguishes a table from another table of the same name and shape.

use std::collections::BTreeMap;

use scylla::value::CqlTimestamp;

use crate::domain::{Schema, Table};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::names::{folded, keyspace};

/// Distinguishes a table from another table of the same name and shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    id: Option<uuid::Uuid>,
    /// The declared columns that were ever dropped, and when, in microseconds.
    pub dropped: BTreeMap<String, i64>,
}

impl Identity {
    /// Returns the id as it is recorded in the ledger.
    pub fn to_text(&self) -> String {
        self.id.map(|id| id.to_string()).unwrap_or_default()
    }

    /// Describes what happened to the table since `before`. Returns `None` if it is unchanged.
    pub fn since(&self, before: &Self) -> Option<String> {
        if self.id != before.id {
            return Some("was dropped or recreated".to_owned());
        }
        let (column, _) = self.dropped.iter().find(|(name, at)| before.dropped.get(*name) != Some(at))?;
        Some(format!("lost its column {column}"))
    }
}

/// Converts the time at which a column was dropped to microseconds. Cassandra stores milliseconds, as the type of the
/// column says. ScyllaDB stores microseconds, which would be thousands of years in the future if they were
/// milliseconds.
fn micros(at: CqlTimestamp) -> i64 {
    const YEAR_5138: i64 = 100_000_000_000_000;
    if at.0 < YEAR_5138 { at.0 * 1000 } else { at.0 }
}

/// Reads the identities of the declared tables, in the order of the schema.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn identities(cluster: &Cluster, declared: &Schema) -> Result<Vec<Identity>, StoreError> {
    let ids = "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = ?";
    let dropped = "SELECT table_name, column_name, dropped_time FROM system_schema.dropped_columns \
                   WHERE keyspace_name = ?";
    let keyspace = keyspace(&cluster.settings.keyspace);
    let (ids, dropped) = futures::try_join!(
        cluster.query::<(String, uuid::Uuid)>(ids, (&keyspace,)),
        cluster.query::<(String, String, CqlTimestamp)>(dropped, (&keyspace,)),
    )?;
    let ids: BTreeMap<String, uuid::Uuid> = ids.into_iter().collect();
    let identity = |table: &Table| {
        let name = folded(&table.name, table.exact);
        let of = |index: usize| declared.columns.get(index).map(|column| folded(&column.name, column.exact));
        let declared: Vec<String> = table.all().filter_map(of).collect();
        let own = dropped.iter().filter(|(of, column, _)| *of == name && declared.contains(column));
        let dropped = own.map(|(_, column, at)| (column.clone(), micros(*at))).collect();
        Identity { id: ids.get(&name).copied(), dropped }
    };
    Ok(declared.tables.iter().map(identity).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drop_time_is_read_from_both_servers() {
        let at = 1_795_700_000_000_000;
        assert_eq!(micros(CqlTimestamp(at / 1000)), at, "Cassandra");
        assert_eq!(micros(CqlTimestamp(at)), at, "Scylla");
    }
}
