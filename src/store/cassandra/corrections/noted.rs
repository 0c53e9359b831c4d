//! The corrections in the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use scylla::statement::prepared::PreparedStatement;

use crate::domain::correction::{Correction, CorrectionStamps};
use crate::domain::{DeliveryId, Schema, Stamp};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::lock::lock;
use crate::store::cassandra::schema::identity::Identity;
use crate::store::cassandra::schema::names;

/// The partition of all corrections.
const NAME: &str = "corrections";

/// The columns of a correction, as they are stored.
type Stored = (i64, Option<i64>, BTreeMap<String, String>, String);

/// Writes corrections, and knows how far each table was corrected. What is written below a correction may be hidden.
pub struct Noted {
    insert: PreparedStatement,
    /// The stamp of the last correction of each table, by name.
    last: Mutex<BTreeMap<String, Stamp>>,
    /// The stamps of restored values.
    restored: Mutex<BTreeSet<Stamp>>,
}

impl Noted {
    /// Reads the corrections of the declared tables, whose identities are given in the order of the schema.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects a request.
    pub async fn open(
        cluster: &Cluster,
        declared: &Schema,
        identities: &[Identity],
    ) -> Result<Self, StoreError> {
        let place = names::ledger_place(&cluster.settings, "needledrop_corrections");
        let columns = "name, stamp, delivery, tables, state";
        let insert = format!("INSERT INTO {place} ({columns}) VALUES (?, ?, ?, ?, ?)");
        let noted = Self {
            insert: cluster.prepare(insert).await?,
            last: Mutex::default(),
            restored: Mutex::default(),
        };
        let ids = declared.tables.iter().zip(identities);
        let ids: BTreeMap<&str, String> =
            ids.map(|(table, identity)| (table.name.as_str(), identity.to_text())).collect();
        for correction in all(cluster).await? {
            // A table that was created again has none of the deletes of the earlier one.
            noted.enter(&correction, |name, id| ids.get(name).is_some_and(|now| now == id));
        }
        Ok(noted)
    }

    /// Writes a correction.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects the request.
    pub async fn write(&self, lease: &Lease, correction: &Correction) -> Result<(), StoreError> {
        let Correction { stamps, delivery, tables, is_settled } = correction;
        let state = if *is_settled { "settled" } else { "open" };
        self.enter(correction, |_, _| true);
        lease.write(&self.insert, (NAME, stamps.delete().0, delivery.map(|id| id.0), tables, state)).await
    }

    fn enter(&self, correction: &Correction, is_same: impl Fn(&str, &str) -> bool) {
        lock(&self.restored).insert(correction.stamps.restored());
        let mut last = lock(&self.last);
        for (name, _) in correction.tables.iter().filter(|(name, id)| is_same(name, id)) {
            let stamp = last.entry(name.clone()).or_default();
            *stamp = correction.stamps.kept().max(*stamp);
        }
    }

    /// Returns the write times of all restored values.
    pub fn restored(&self) -> BTreeSet<Stamp> {
        lock(&self.restored).clone()
    }

    /// Returns the stamp of the last correction of a table.
    pub fn last(&self, table: &str) -> Option<Stamp> {
        lock(&self.last).get(table).copied()
    }

    /// Whether one of these tables was corrected after this stamp.
    pub fn is_late<'t>(&self, stamp: Stamp, mut tables: impl Iterator<Item = &'t str>) -> bool {
        let last = lock(&self.last);
        tables.any(|name| last.get(name).is_some_and(|corrected| stamp <= *corrected))
    }
}

/// Returns all corrections, in the order of their stamps.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn all(cluster: &Cluster) -> Result<Vec<Correction>, StoreError> {
    let place = names::ledger_place(&cluster.settings, "needledrop_corrections");
    let cql = format!("SELECT stamp, delivery, tables, state FROM {place} WHERE name = ?");
    let found = cluster.query::<Stored>(cluster.statement(cql), (NAME,)).await?;
    let correction = |(stamp, delivery, tables, state): Stored| Correction {
        stamps: CorrectionStamps::new(Stamp(stamp)),
        delivery: delivery.map(DeliveryId),
        tables,
        is_settled: state == "settled",
    };
    Ok(found.into_iter().map(correction).collect())
}
