//! Lists deliveries page by page. The cluster does not keep them in order. A listing therefore reads the ids of all its
//! deliveries first (eight bytes each), and then the deliveries one page at a time.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _};
use scylla::statement::prepared::PreparedStatement;

use super::{LedgerTables, TOGETHER};
use crate::domain::ledger::{Cursor, DeliveryFilter, KnownFile, PAGE, Page};
use crate::domain::{Delivery, DeliveryId, Feeds, FileKey, Fingerprint};
use crate::store::StoreError;
use crate::store::cassandra::ledger::delivery_row::Stored;

/// The id of a delivery, and its numbers of quarantined and replayed records.
type Counted = (i64, i64, Option<i64>);

impl LedgerTables {
    /// Returns the newest generation of every file.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn known(&self, attempts: &Feeds<Fingerprint>) -> Result<Vec<KnownFile>, StoreError> {
        let (valid, mut newest) = (self.valid_ids().await?, HashMap::<String, Newest>::new());
        self.rows(|mut stored| {
            if valid.binary_search(&DeliveryId(stored.id())).is_err() {
                return;
            }
            let path = stored.take_path();
            let mut found = Newest::of(stored);
            match newest.get_mut(&path) {
                Some(other) if other.generation > found.generation => other.known.open += found.known.open,
                other => {
                    found.known.open += other.map_or(0, |other| other.known.open);
                    newest.insert(path, found);
                }
            }
        })
        .await?;
        self.unfinished.fill(newest.values_mut().filter_map(|one| Some((one.known.id, one.head.take()?))));
        let known = newest.into_iter().map(|(path, Newest { attempt, known, .. })| {
            let file = FileKey::from_text(path);
            let same_attempt = attempts.of(&file).is_ok_and(|own| own.0 == attempt);
            KnownFile { file, same_attempt, ..known }
        });
        Ok(known.collect())
    }

    /// Returns a page of deliveries in the order they were taken up.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn page(
        &self,
        filter: &DeliveryFilter,
        cursor: Cursor,
    ) -> Result<Page<Delivery, Cursor>, StoreError> {
        let ids = match cursor.ids {
            Some(ids) => ids,
            None => self.ids(filter).await?.into(),
        };
        let begin = cursor.after.map_or(0, |after| ids.partition_point(|id| *id <= after));
        let end = ids.len().min(begin + PAGE);
        let wanted = ids.get(begin..end).unwrap_or_default();
        let reads: Vec<_> = wanted.iter().map(|id| self.read(*id)).collect();
        let found: Vec<Option<Delivery>> =
            futures::stream::iter(reads).buffered(TOGETHER).try_collect().await?;
        // A delivery may be missing: the server may not have finished the batch that creates it.
        let mut found: Vec<Delivery> =
            found.into_iter().flatten().filter(|delivery| filter.selects(delivery)).collect();
        if matches!(
            filter,
            DeliveryFilter::Unfinished(_) | DeliveryFilter::Loaded(_) | DeliveryFilter::Same(_)
        ) {
            found = self.valid(found).await?;
        }
        let next =
            (end < ids.len()).then(|| Cursor { after: wanted.last().copied(), ids: Some(ids.clone()) });
        Ok(Page { found, next })
    }

    /// Hands every delivery to `take`, in the order in which the cluster returns them.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn each(&self, take: &mut (dyn FnMut(Delivery) + Send)) -> Result<(), StoreError> {
        let valid = self.valid_ids().await?;
        self.rows(|stored| {
            if valid.binary_search(&DeliveryId(stored.id())).is_ok() {
                take(stored.entered().delivery);
            }
        })
        .await
    }

    /// Returns the delivery with this id, if there is one.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request.
    pub async fn read(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        Ok(self.by_id(id).await?.map(|entered| entered.delivery))
    }

    /// Returns the ids of the deliveries that may match the filter, in order. The caller has to check each delivery.
    async fn ids(&self, filter: &DeliveryFilter) -> Result<Vec<DeliveryId>, StoreError> {
        let mut ids = match filter {
            DeliveryFilter::All => self.valid_ids().await?,
            DeliveryFilter::Quarantined => self.with_entries().await?,
            DeliveryFilter::Path(file) => self.ids_of_file(&self.by_path, file).await?,
            DeliveryFilter::Newest(file) => self.ids_of_file(&self.newest_of_path, file).await?,
            DeliveryFilter::Unfinished(head) => self.unfinished(head).await?,
            DeliveryFilter::Loaded(head) => self.ids_of_head(head).await?,
            DeliveryFilter::Same(content) => self.ids_of(content).await?,
        };
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    pub(super) async fn ids_of_file(
        &self,
        statement: &PreparedStatement,
        file: &FileKey,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let ids: Vec<(i64,)> = self.cluster.fetch(statement, (file.text(),)).await?;
        Ok(ids.into_iter().map(|(id,)| DeliveryId(id)).collect())
    }

    /// Returns the ids of all deliveries in the table of paths, in order. A delivery that is not in this table may come
    /// from a late write of a writer that lost the lease.
    async fn valid_ids(&self) -> Result<Vec<DeliveryId>, StoreError> {
        let mut ids = Vec::new();
        let take = |(id,): (i64,)| {
            ids.push(DeliveryId(id));
            true
        };
        self.cluster.each(self.ids.clone(), (), take).await?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// Returns the ids of the deliveries that have or had quarantined records.
    async fn with_entries(&self) -> Result<Vec<DeliveryId>, StoreError> {
        let (valid, mut ids) = (self.valid_ids().await?, Vec::new());
        let take = |(id, quarantined, replayed): Counted| {
            if quarantined + replayed.unwrap_or(0) > 0 && valid.binary_search(&DeliveryId(id)).is_ok() {
                ids.push(DeliveryId(id));
            }
            true
        };
        self.cluster.each(self.counted.clone(), (), take).await?;
        Ok(ids)
    }

    /// Hands every row of the ledger to `take`, and reads a page at a time.
    async fn rows(&self, mut take: impl FnMut(Stored)) -> Result<(), StoreError> {
        let all = |stored: Stored| {
            take(stored);
            true
        };
        self.cluster.each(self.all.clone(), (), all).await
    }
}

/// The newest generation of a file among the rows that were read so far.
struct Newest {
    generation: i32,
    /// Its head, if its last bytes are not known yet.
    head: Option<String>,
    /// The fingerprint of the configuration under which it was taken up.
    attempt: String,
    known: KnownFile,
}

impl Newest {
    fn of(stored: Stored) -> Self {
        let (generation, attempt) = (stored.generation(), stored.attempt().to_owned());
        let head = stored.unfinished().map(str::to_owned);
        Self { generation, head, attempt, known: stored.known() }
    }
}
