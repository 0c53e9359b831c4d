//! Finds the last stamp that a ledger has handed out.

use scylla::client::session::Session;

use crate::store::StoreError;
use crate::store::cassandra::settings::Settings;
use crate::store::cassandra::{request, schema};

/// A range of stamps: first record, base, number of records.
type Range = (i64, i64, i64);

/// Returns the end of the last range of all deliveries. Reads the whole ledger, a page at a time.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn last_stamp(session: &Session, settings: &Settings) -> Result<i64, StoreError> {
    let cql = format!("SELECT id, stamps FROM {}", schema::ledger_place(settings, "needledrop_deliveries"));
    let prepared = session.prepare(cql).await;
    let mut all = prepared.map_err(|error| request::told(settings, &error.into()))?;
    all.set_consistency(settings.ledger());
    let mut last = 0;
    let take = |(id, ranges): (i64, Option<Vec<Range>>)| {
        let ends = ranges.into_iter().flatten().map(|(_, base, records)| base + 2 * records);
        // A delivery without ranges, such as a duplicate, has taken the stamp that is its id.
        last = ends.fold(last.max(id + 2), i64::max);
        true
    };
    request::each(session, settings, all, (), take).await?;
    Ok(last)
}
