//! Saves, lists and settles quarantined records in the cluster.

pub mod replay;
mod saved;

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use futures::{StreamExt, TryStreamExt};
use scylla::deserialize::row::DeserializeRow;
use scylla::statement::prepared::PreparedStatement;

use crate::domain::ledger::Page;
use crate::domain::quarantine::{EntryFilter, EntryPaging, Fate, QuarantineEntry};
use crate::domain::{Delivery, DeliveryId, Header, Quarantined, RowChunk};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::delivery_row::{Entered, big};
use crate::store::cassandra::ledger::{Beside, Written};
use crate::store::cassandra::quarantine::saved::WithoutRaw;
use crate::store::cassandra::schema::names;

const COLUMNS: &str = "delivery, record, line, bytes, length, column_name, reason, detail";

/// The number of records that the server sends at a time. It is small, because the records that it sends beyond the end
/// of our page are wasted.
const TOGETHER: i32 = 128;

/// The number of records that the server sends at a time if they include their raw bytes.
const RAW_TOGETHER: i32 = 16;

/// The most raw bytes that are kept of a record. By default, a node accepts no request over 16 MiB.
const MOST_KEPT: usize = 15 << 20;

/// An entry with at most this many raw bytes is not shortened further. If a node rejects it, its length is not the
/// reason.
const LEAST_KEPT: usize = 4096;

pub struct Quarantine {
    cluster: Cluster,
    insert: PreparedStatement,
    delete: PreparedStatement,
    settle: PreparedStatement,
    explain: PreparedStatement,
    save_header: PreparedStatement,
    header: PreparedStatement,
    of_delivery: PreparedStatement,
    raw_of_delivery: PreparedStatement,
}

impl Quarantine {
    /// Prepares the statements.
    ///
    /// # Errors
    /// Returns an error if a statement cannot be prepared.
    pub async fn new(cluster: &Cluster) -> Result<Self, StoreError> {
        let place = names::ledger_place(&cluster.settings, "needledrop_quarantine");
        let prepare = |cql: String| cluster.prepare(cql);
        let marks = "?, ?, ?, ?, ?, ?, ?, ?, ?";
        let one = "WHERE delivery = ? AND record = ?";
        // The condition on `record` leaves out a delivery that has a header but no record left.
        let from = format!("FROM {place} WHERE delivery = ? AND record >= ?");
        let selected = saved::COLUMNS;
        let mut raw_of_delivery = prepare(format!("SELECT {selected}, raw {from}")).await?;
        raw_of_delivery.set_page_size(RAW_TOGETHER);
        let mut of_delivery = prepare(format!("SELECT {selected} {from}")).await?;
        of_delivery.set_page_size(TOGETHER);
        Ok(Self {
            insert: prepare(format!("INSERT INTO {place} ({COLUMNS}, raw) VALUES ({marks})")).await?,
            delete: prepare(format!("DELETE {from}")).await?,
            settle: prepare(format!("UPDATE {place} SET state = ? {one}")).await?,
            explain: prepare(format!("UPDATE {place} SET column_name = ?, reason = ?, detail = ? {one}"))
                .await?,
            save_header: prepare(format!("INSERT INTO {place} (delivery, header) VALUES (?, ?)")).await?,
            header: prepare(format!("SELECT header FROM {place} WHERE delivery = ? LIMIT 1")).await?,
            of_delivery,
            raw_of_delivery,
            cluster: cluster.clone(),
        })
    }

    /// Saves records, several at the same time.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects a request.
    pub async fn save(
        &self,
        lease: &Lease,
        records: Vec<(DeliveryId, &Quarantined)>,
    ) -> Result<(), StoreError> {
        let writes: Vec<_> =
            records.into_iter().map(|(id, record)| self.save_one(lease, id, record)).collect();
        futures::stream::iter(writes)
            .buffer_unordered(self.cluster.settings.limits.in_flight)
            .try_collect()
            .await
    }

    /// Saves one record. For a long record, keeps only as many of the first bytes as the server accepts.
    async fn save_one(&self, lease: &Lease, id: DeliveryId, record: &Quarantined) -> Result<(), StoreError> {
        let mut kept = record.raw.len().min(MOST_KEPT);
        loop {
            match self.save_with(lease, id, record, record.raw.get(..kept).unwrap_or_default()).await {
                Err(StoreError::Broken { .. }) if kept > LEAST_KEPT => kept /= 2,
                saved => return saved,
            }
        }
    }

    async fn save_with(
        &self,
        lease: &Lease,
        id: DeliveryId,
        record: &Quarantined,
        raw: &[u8],
    ) -> Result<(), StoreError> {
        let values = (
            id.0,
            big(record.record),
            big(record.line),
            big(record.offset),
            big(record.len),
            record.column.as_deref(),
            record.reason.name(),
            record.detail.as_str(),
            raw,
        );
        lease.write(&self.insert, values).await
    }

    /// Removes the entries of a delivery from this record on.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects the request.
    pub async fn remove_from(&self, lease: &Lease, id: DeliveryId, record: u64) -> Result<(), StoreError> {
        lease.write(&self.delete, (id.0, big(record))).await
    }

    /// Saves the headers of the deliveries of these records, because their files may disappear later.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects a request.
    pub async fn save_headers(
        &self,
        lease: &Lease,
        chunks: &[&RowChunk],
        records: &[(DeliveryId, &Quarantined)],
    ) -> Result<(), StoreError> {
        let ids: BTreeSet<DeliveryId> = records.iter().map(|(id, _)| *id).collect();
        for id in ids {
            let Some(chunk) = chunks.iter().find(|chunk| chunk.source.id == id) else { continue };
            lease.write(&self.save_header, (id.0, &chunk.source.header.0)).await?;
        }
        Ok(())
    }

    /// Returns the header of a delivery that has quarantined records, if the header was saved.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn header(&self, id: DeliveryId) -> Result<Option<Header>, StoreError> {
        let rows: Vec<(Option<Vec<String>>,)> = self.cluster.fetch(&self.header, (id.0,)).await?;
        Ok(rows.into_iter().find_map(|(names,)| names).map(Header))
    }

    /// Returns the statement that settles a record, for the batch that updates the ledger.
    pub fn settling(&self, id: DeliveryId, record: u64, fate: Fate) -> Beside {
        (self.settle.clone(), Written::Fate(fate.name(), id.0, big(record)))
    }

    /// Updates the reasons of records that still cannot become rows.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects a request.
    pub async fn explain(
        &self,
        lease: &Lease,
        id: DeliveryId,
        records: impl Iterator<Item = &Quarantined>,
    ) -> Result<(), StoreError> {
        for Quarantined { record, column, reason, detail, .. } in records {
            let values = (column, reason.name(), detail, id.0, big(*record));
            lease.write(&self.explain, values).await?;
        }
        Ok(())
    }

    /// Returns how many of these records are open.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn open_among(&self, entered: &Entered, records: &BTreeSet<u64>) -> Result<usize, StoreError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(0) };
        let mut open = 0;
        let take = |QuarantineEntry { record, fate }: QuarantineEntry| {
            open += usize::from(records.contains(&record.record) && fate == Fate::Open);
            record.record < *last
        };
        self.each(entered, *first, false, take).await?;
        Ok(open)
    }

    /// Returns the numbers of the quarantined records in this range of a delivery that were never loaded.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn never_loaded(
        &self,
        entered: &Entered,
        records: Range<u64>,
    ) -> Result<HashSet<u64>, StoreError> {
        let mut numbers = HashSet::new();
        let take = |QuarantineEntry { record, fate }: QuarantineEntry| {
            let is_in_range = record.record < records.end;
            if is_in_range && fate != Fate::Replayed {
                numbers.insert(record.record);
            }
            is_in_range
        };
        self.each(entered, records.start, false, take).await?;
        Ok(numbers)
    }

    /// Hands the entries of a delivery to `take`, from record `from` on, until `take` returns false. Leaves out
    /// entries that were saved by a writer without the lease.
    async fn each(
        &self,
        Entered { delivery, trust, .. }: &Entered,
        from: u64,
        raw: bool,
        mut take: impl FnMut(QuarantineEntry) -> bool,
    ) -> Result<(), StoreError> {
        let mut take = |stored| saved::entry(trust, stored).is_none_or(&mut take);
        if raw {
            return self.rows(&self.raw_of_delivery, delivery.id, from, take).await;
        }
        let take = |(a, b, c, d, e, f, g, h, i, j): WithoutRaw| take((a, b, c, d, e, f, g, h, i, j, None));
        self.rows(&self.of_delivery, delivery.id, from, take).await
    }

    async fn rows<R>(
        &self,
        statement: &PreparedStatement,
        id: DeliveryId,
        from: u64,
        take: impl FnMut(R) -> bool,
    ) -> Result<(), StoreError>
    where
        R: 'static + for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let values = (id.0, big(from));
        self.cluster.each(statement.clone(), values, take).await
    }

    /// Returns a page of the entries of a delivery, starting at record `from`.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn page(
        &self,
        entered: &Entered,
        filter: &EntryFilter,
        from: u64,
    ) -> Result<Page<QuarantineEntry, u64>, StoreError> {
        let (delivery, mut page) = (&entered.delivery, EntryPaging::default());
        let take = |entry: QuarantineEntry| {
            let entry = QuarantineEntry { fate: fate(delivery, entry.fate), ..entry };
            // Records beyond the committed position belong to a chunk past which the ledger did not advance.
            if entry.record.record >= delivery.reach.record {
                return false;
            }
            !matches(&entry, filter) || page.push(entry)
        };
        self.each(entered, from, filter.raw, take).await?;
        Ok(page.end())
    }
}

fn matches(entry: &QuarantineEntry, filter: &EntryFilter) -> bool {
    let record = &entry.record;
    filter.reason.as_ref().is_none_or(|reason| reason == record.reason.name())
        && filter.column.as_ref().is_none_or(|column| Some(column) == record.column.as_ref())
        && filter.fate.is_none_or(|fate| fate == entry.fate)
        && filter.line.is_none_or(|line| line == record.line)
}

fn fate(delivery: &Delivery, of_entry: Fate) -> Fate {
    match of_entry {
        // All open records were discarded in the receipt at once. Their entries were not changed.
        Fate::Open if delivery.receipt.open() == 0 => Fate::Discarded,
        fate => fate,
    }
}
