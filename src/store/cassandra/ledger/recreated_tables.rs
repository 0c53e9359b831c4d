//! Detects tables that were dropped and created again since the ledger filled them, and columns that were dropped and
//! added again.
//!
//! `needledrop_meta` holds the id of every declared table. A table that was created again has a new id, and contains
//! nothing that was written before.

use std::collections::BTreeMap;

use scylla::statement::prepared::PreparedStatement;
use tracing::warn;

use crate::domain::text::timestamp;
use crate::domain::{Delivery, Schema, Stamp, Table};
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::LedgerTables;
use crate::store::cassandra::ledger::delivery_row::Entered;
use crate::store::cassandra::schema::identity::Identity;
use crate::store::cassandra::schema::{create, identity, names};
use crate::store::{StoreError, failpoint};

/// The id that is recorded for a table before it is created.
const NONE: &str = "none";

/// Creates the missing tables, and returns the identities of all declared tables. Deliveries written to a dropped table
/// of the same name need a backfill. This is safe to interrupt: table ids are recorded last.
///
/// # Errors
/// Returns an error if a column hides what is written to it, if the lease is lost, or if the cluster does not answer or
/// rejects a request.
pub async fn tables(
    cluster: &Cluster,
    declared: &Schema,
    lease: &Lease,
    missing: &[usize],
) -> Result<Vec<Identity>, StoreError> {
    let mut known = Known::read(cluster).await?;
    for table in missing.iter().filter_map(|at| declared.tables.get(*at)) {
        known.note(lease, table, NONE).await?;
    }
    create::make_tables(cluster, declared, missing).await?;
    failpoint::step("tables made");
    let found = identity::identities(cluster, declared).await?;
    none_hides(cluster, declared, &found).await?;
    let pairs = || declared.tables.iter().zip(&found);
    let others: Vec<&str> = pairs()
        .filter(|(table, now)| known.is_another(table, now))
        .map(|(table, _)| table.name.as_str())
        .collect();
    begin(cluster, lease, &others).await?;
    failpoint::step("tables begun anew");
    for (table, now) in pairs() {
        known.note(lease, table, &now.to_text()).await?;
    }
    Ok(found)
}

/// Rejects a column that was dropped and added again if there are deliveries with earlier stamps. The cluster hides
/// what is written to the column under an earlier time, and deliveries keep the stamps that they were given.
///
/// # Errors
/// Returns an error if there is such a column, or if the cluster does not answer or rejects a request.
pub async fn none_hides(cluster: &Cluster, declared: &Schema, found: &[Identity]) -> Result<(), StoreError> {
    let hiding = declared.tables.iter().zip(found);
    let hiding =
        hiding.flat_map(|(table, now)| now.dropped.iter().map(move |(column, at)| (table, column, *at)));
    for (table, column, at) in hiding {
        let (mut hidden, is_hidden) = (0, |begin: Option<Stamp>| begin.is_some_and(|begin| begin.0 <= at));
        let mut count = |delivery: Delivery| hidden += usize::from(is_hidden(delivery.stamps.begin()));
        ledger(cluster).await?.each(&mut count).await?;
        if hidden > 0 {
            return Err(hides(cluster, table, column, at, hidden));
        }
    }
    Ok(())
}

fn hides(cluster: &Cluster, table: &Table, column: &str, at: i64, hidden: usize) -> StoreError {
    let (name, when) = (&table.name, timestamp(at / 1000));
    cluster.shape(
        format!(
            "column {column} of table {name} was dropped at {when} and added again: the cluster hides what is \
             written to it with an earlier timestamp, and {hidden} deliveries have such stamps"
        ),
        format!(
            "DROP TABLE {name} and start needledrop: it creates the table again, and `needledrop load --table {name}` \
             fills it from the kept files"
        ),
    )
}

async fn ledger(cluster: &Cluster) -> Result<LedgerTables, StoreError> {
    LedgerTables::new(cluster).await
}

/// Resets the counts of these tables in all receipts. The new tables lack what was written to the earlier tables of
/// these names, so the deliveries need a backfill.
async fn begin(cluster: &Cluster, lease: &Lease, names: &[&str]) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    let (ledger, mut filled) = (ledger(cluster).await?, Vec::new());
    ledger
        .each(&mut |delivery| {
            if delivery.receipt.tables.iter().any(|count| names.contains(&count.table.as_str())) {
                filled.push(delivery.id);
            }
        })
        .await?;
    for id in &filled {
        let change = |entered: &mut Entered| {
            entered.delivery.receipt.empty(names);
            Ok(())
        };
        ledger.change::<_, StoreError>(lease, *id, change).await?;
    }
    let behind = filled.len();
    if behind > 0 {
        let names = names.join(", ");
        warn!(
            "recreated: {names}; the rows of {behind} deliveries are missing until `needledrop load --table` loads them"
        );
    }
    Ok(())
}

/// The table ids that are recorded in the ledger.
struct Known {
    insert: PreparedStatement,
    ids: BTreeMap<String, String>,
}

impl Known {
    async fn read(cluster: &Cluster) -> Result<Self, StoreError> {
        let place = names::ledger_place(&cluster.settings, "needledrop_meta");
        let insert = cluster.prepare(format!("INSERT INTO {place} (key, value) VALUES (?, ?)")).await?;
        let all = cluster.statement(format!("SELECT key, value FROM {place}"));
        let all = cluster.query::<(String, Option<String>)>(all, ()).await?;
        let ids = all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Ok(Self { insert, ids })
    }

    fn key(table: &Table) -> String {
        format!("table {}", names::folded(&table.name, table.exact))
    }

    /// Whether the table is not the one that the ledger filled. A table whose id was never recorded is accepted as it
    /// is.
    fn is_another(&self, table: &Table, now: &Identity) -> bool {
        self.ids.get(&Self::key(table)).is_some_and(|known| *known != now.to_text())
    }

    async fn note(&mut self, lease: &Lease, table: &Table, id: &str) -> Result<(), StoreError> {
        let key = Self::key(table);
        // Skipping the write is safe even if a writer that lost the lease writes its own note late. That writer noted a
        // missing table. The process that took over either noted it too, or found the table that the note names.
        if self.ids.get(&key).is_some_and(|known| known == id) {
            return Ok(());
        }
        lease.write(&self.insert, (&key, id)).await?;
        self.ids.insert(key, id.to_owned());
        Ok(())
    }
}
