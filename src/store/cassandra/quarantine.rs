//! Quarantined records in the cluster.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;

use super::connect::Settings;
use super::lease::Lease;
use super::stored::{big, count};
use super::{request, schema};
use crate::domain::{Delivery, DeliveryId, Quarantined, Reason};
use crate::quarantine::{Entry, Filter};
use crate::store::StoreError;

const COLUMNS: &str = "delivery, record, line, bytes, length, column_name, reason, detail, raw";

type Stored = (i64, i64, i64, i64, i64, Option<String>, String, String, Option<Vec<u8>>);

pub struct Quarantine {
    session: Arc<Session>,
    settings: Arc<Settings>,
    insert: PreparedStatement,
    delete: PreparedStatement,
    of_delivery: PreparedStatement,
}

impl Quarantine {
    /// Prepares what will be asked.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn new(session: Arc<Session>, settings: Arc<Settings>) -> Result<Self, StoreError> {
        let place = schema::ledger_place(&settings, "needledrop_quarantine");
        let prepare = async |cql: String| -> Result<PreparedStatement, StoreError> {
            let prepared = session.prepare(cql).await;
            let mut prepared = prepared.map_err(|error| request::told(&settings, &error.into()))?;
            prepared.set_consistency(settings.ledger());
            prepared.set_is_idempotent(true);
            Ok(prepared)
        };
        let marks = "?, ?, ?, ?, ?, ?, ?, ?, ?";
        Ok(Self {
            insert: prepare(format!("INSERT INTO {place} ({COLUMNS}) VALUES ({marks})")).await?,
            delete: prepare(format!("DELETE FROM {place} WHERE delivery = ? AND record = ?")).await?,
            of_delivery: prepare(format!("SELECT {COLUMNS} FROM {place} WHERE delivery = ?")).await?,
            session,
            settings,
        })
    }

    /// Saves records, so many at a time.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn save(
        &self,
        lease: &Lease,
        records: Vec<(DeliveryId, &Quarantined)>,
    ) -> Result<(), StoreError> {
        let writes: Vec<_> =
            records.into_iter().map(|(id, record)| self.save_one(lease, id, record)).collect();
        futures::stream::iter(writes).buffer_unordered(self.settings.in_flight).try_collect().await
    }

    async fn save_one(&self, lease: &Lease, id: DeliveryId, record: &Quarantined) -> Result<(), StoreError> {
        let mut insert = self.insert.clone();
        insert.set_timestamp(Some(lease.ledger_stamp()));
        let values = (
            id.0,
            big(record.record),
            big(record.line),
            big(record.offset),
            big(record.len),
            record.column.as_deref(),
            record.reason.name(),
            record.detail.as_str(),
            record.raw.as_slice(),
        );
        request::execute(&self.session, &self.settings, &insert, values).await.map(|_| ())
    }

    /// Removes one record.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn remove(&self, lease: &Lease, id: DeliveryId, record: u64) -> Result<(), StoreError> {
        let mut delete = self.delete.clone();
        delete.set_timestamp(Some(lease.ledger_stamp()));
        request::execute(&self.session, &self.settings, &delete, (id.0, big(record))).await.map(|_| ())
    }

    /// Numbers of the records of a delivery.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn numbers(&self, id: DeliveryId) -> Result<std::collections::HashSet<u64>, StoreError> {
        Ok(self.of(id).await?.into_iter().map(|stored| count(stored.1)).collect())
    }

    async fn of(&self, id: DeliveryId) -> Result<Vec<Stored>, StoreError> {
        let pager = self.session.execute_iter(self.of_delivery.clone(), (id.0,)).await;
        let away = |what: String| StoreError::Busy {
            store: self.settings.name(),
            reason: "read",
            what,
            hint: "see the logs of the cluster if it lasts",
        };
        let pager = pager.map_err(|error| away(error.to_string()))?;
        let broken = |what: String| StoreError::Broken { store: self.settings.name(), what };
        let rows = pager.rows_stream::<Stored>().map_err(|error| broken(error.to_string()))?;
        rows.try_collect().await.map_err(|error| away(error.to_string()))
    }

    /// Entries of these deliveries, in order.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn list(&self, deliveries: Vec<Delivery>, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        let wanted = deliveries.into_iter().filter(|delivery| {
            filter.delivery.is_none_or(|id| id == delivery.id)
                && filter.path.as_ref().is_none_or(|path| *path == delivery.path)
                && delivery.receipt.quarantined > 0
        });
        let by_id: HashMap<DeliveryId, Delivery> = wanted.map(|delivery| (delivery.id, delivery)).collect();
        let mut ids: Vec<DeliveryId> = by_id.keys().copied().collect();
        ids.sort();
        let mut entries = Vec::new();
        for id in ids {
            let Some(delivery) = by_id.get(&id) else { continue };
            let of = self.of(id).await?;
            entries.extend(of.into_iter().map(|stored| entry(delivery, stored, filter.raw)));
        }
        entries.retain(|entry| {
            let record = &entry.record;
            filter.reason.as_ref().is_none_or(|reason| reason == record.reason.name())
                && filter.column.as_ref().is_none_or(|column| Some(column) == record.column.as_ref())
        });
        Ok(entries)
    }
}

fn entry(delivery: &Delivery, stored: Stored, raw: bool) -> Entry {
    let (_, record, line, offset, len, column, reason, detail, bytes) = stored;
    Entry {
        delivery: delivery.id,
        path: delivery.path.clone(),
        generation: delivery.generation,
        record: Quarantined {
            record: count(record),
            line: count(line),
            offset: count(offset),
            len: count(len),
            column,
            reason: Reason::from_name(&reason).unwrap_or(Reason::Refused),
            detail,
            raw: bytes.filter(|_| raw).unwrap_or_default(),
        },
    }
}
