//! Detects tables that were dropped and created again since the ledger filled them, and columns that were dropped and
//! added again.
//!
//! `needledrop_meta` holds the id of every declared table. A table that was created again has a new id, and contains
//! nothing that was written before.

use std::collections::BTreeMap;
use std::sync::Arc;

use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use tracing::warn;

use crate::domain::text::timestamp;
use crate::domain::{Delivery, Fingerprint, Plan, Stamp, Table};
use crate::store::cassandra::delivery_row::Entered;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::{LedgerTables, table_count};
use crate::store::cassandra::schema::Identity;
use crate::store::cassandra::settings::Settings;
use crate::store::cassandra::{request, schema};
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
    session: &Arc<Session>,
    settings: &Arc<Settings>,
    plan: &Plan,
    lease: &Lease,
    missing: &[usize],
) -> Result<Vec<Identity>, StoreError> {
    let mut known = Known::read(session, settings).await?;
    for table in missing.iter().filter_map(|at| plan.tables.get(*at)) {
        known.note(lease, table, NONE).await?;
    }
    schema::make_tables(session, settings, plan, missing).await?;
    failpoint::step("tables made");
    let found = schema::identities(session, settings, plan).await?;
    none_hides(session, settings, plan, &found).await?;
    let pairs = || plan.tables.iter().zip(&found);
    let others: Vec<&str> = pairs()
        .filter(|(table, now)| known.is_another(table, now))
        .map(|(table, _)| table.name.as_str())
        .collect();
    begin(session, settings, lease, &others).await?;
    failpoint::step("tables begun anew");
    for (table, now) in pairs() {
        known.note(lease, table, &now.told()).await?;
    }
    Ok(found)
}

/// Rejects a column that was dropped and added again if there are deliveries with earlier stamps. The cluster hides
/// what is written to the column under an earlier time, and deliveries keep the stamps that they were given.
///
/// # Errors
/// Returns an error if there is such a column, or if the cluster does not answer or rejects a request.
pub async fn none_hides(
    session: &Arc<Session>,
    settings: &Arc<Settings>,
    plan: &Plan,
    found: &[Identity],
) -> Result<(), StoreError> {
    let hiding = plan.tables.iter().zip(found);
    let hiding =
        hiding.flat_map(|(table, now)| now.dropped.iter().map(move |(column, at)| (table, column, *at)));
    for (table, column, at) in hiding {
        let (mut hidden, is_hidden) = (0, |begin: Option<Stamp>| begin.is_some_and(|begin| begin.0 <= at));
        let mut count = |delivery: Delivery| hidden += usize::from(is_hidden(delivery.stamps.begin()));
        ledger(session, settings).await?.each(&mut count).await?;
        if hidden > 0 {
            return Err(hides(settings, table, column, at, hidden));
        }
    }
    Ok(())
}

fn hides(settings: &Settings, table: &Table, column: &str, at: i64, hidden: usize) -> StoreError {
    let (name, when) = (&table.name, timestamp(at / 1000));
    StoreError::Shape {
        store: settings.name(),
        what: format!(
            "column {column} of table {name} was dropped at {when} and added again: the cluster hides what is \
             written to it under an earlier time, and {hidden} deliveries have such stamps"
        ),
        next: format!(
            "DROP TABLE {name} and start: it is created again, and `needledrop load --table {name}` fills it from the \
             kept files"
        ),
    }
}

async fn ledger(session: &Arc<Session>, settings: &Arc<Settings>) -> Result<LedgerTables, StoreError> {
    LedgerTables::new(Arc::clone(session), Arc::clone(settings), false).await
}

/// Resets the counts of these tables in all receipts. The new tables lack what was written to the earlier tables of
/// these names, so the deliveries need a backfill.
async fn begin(
    session: &Arc<Session>,
    settings: &Arc<Settings>,
    lease: &Lease,
    names: &[&str],
) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    let (ledger, mut filled) = (ledger(session, settings).await?, Vec::new());
    ledger
        .each(&mut |delivery| {
            if delivery.receipt.tables.iter().any(|count| names.contains(&count.table.as_str())) {
                filled.push(delivery.id);
            }
        })
        .await?;
    for id in &filled {
        ledger.change::<_, StoreError>(lease, *id, |entered| empty(entered, names)).await?;
    }
    let behind = filled.len();
    if behind > 0 {
        let names = names.join(", ");
        warn!(
            "recreated: {names}; behind by {behind} of the deliveries until `needledrop load --table` fills it"
        );
    }
    Ok(())
}

fn empty(entered: &mut Entered, names: &[&str]) -> Result<(), StoreError> {
    for count in &mut entered.delivery.receipt.tables {
        if names.contains(&count.table.as_str()) {
            *count = table_count(&count.table, &Fingerprint(String::new()));
        }
    }
    Ok(())
}

/// The table ids that are recorded in the ledger.
struct Known {
    insert: PreparedStatement,
    ids: BTreeMap<String, String>,
}

impl Known {
    async fn read(session: &Session, settings: &Settings) -> Result<Self, StoreError> {
        let place = schema::ledger_place(settings, "needledrop_meta");
        let insert = session.prepare(format!("INSERT INTO {place} (key, value) VALUES (?, ?)")).await;
        let mut insert = insert.map_err(|error| request::told(settings, &error.into()))?;
        insert.set_consistency(settings.ledger());
        let all = request::of_ledger(settings, format!("SELECT key, value FROM {place}"));
        let all = request::rows::<(String, Option<String>)>(session, settings, all, ()).await?;
        let ids = all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Ok(Self { insert, ids })
    }

    fn key(table: &Table) -> String {
        format!("table {}", schema::folded(&table.name, table.exact))
    }

    /// Whether the table is not the one that the ledger filled. A table whose id was never recorded is accepted as it
    /// is.
    fn is_another(&self, table: &Table, now: &Identity) -> bool {
        self.ids.get(&Self::key(table)).is_some_and(|known| *known != now.told())
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
