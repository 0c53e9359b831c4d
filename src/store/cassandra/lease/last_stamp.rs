//! Finds the last stamp that a ledger has handed out.

use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::names;

/// A range of stamps: first record, base, number of records.
type Range = (i64, i64, i64);

/// Returns the end of the last range of all deliveries. Reads the whole ledger, a page at a time.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn last_stamp(cluster: &Cluster) -> Result<i64, StoreError> {
    let cql =
        format!("SELECT id, stamps FROM {}", names::ledger_place(&cluster.settings, "needledrop_deliveries"));
    let all = cluster.prepare(cql).await?;
    let mut last = 0;
    let take = |(id, ranges): (i64, Option<Vec<Range>>)| {
        let ends = ranges.into_iter().flatten().map(|(_, base, records)| base + 2 * records);
        // A delivery without ranges, such as a duplicate, has taken the stamp that is its id.
        last = ends.fold(last.max(id + 2), i64::max);
        true
    };
    cluster.each(all, (), take).await?;
    Ok(last)
}
