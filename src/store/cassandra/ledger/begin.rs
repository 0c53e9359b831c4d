//! Begins and continues deliveries, and gives them their stamps.

use scylla::value::Row;

use super::LedgerTables;
use super::written::Written;
use crate::domain::ledger::{Content, Continuation, NewDelivery, TakenUp, Verdict};
use crate::domain::{Ahead, Delivery, DeliveryId, DeliveryState, Plan, StampRange, Stamps};
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::lease::trust::Trust;
use crate::store::cassandra::ledger::delivery_row::Entered;
use crate::store::cassandra::ledger::lock::lock;
use crate::store::cassandra::schema::names;
use crate::store::cassandra::shared::Writing;
use crate::store::clock::now_ms;
use crate::store::{NOTHING_ASSUMED, StoreError, failpoint};

/// The number of records in the range that a delivery takes when it is continued after a correction.
const FURTHER: u64 = 10_000;

impl LedgerTables {
    /// Enters a delivery. Earlier generations of its file that are not finished become `replaced`. The open records of
    /// failed generations are discarded, unless the new generation fails too.
    ///
    /// # Errors
    /// Returns `Ahead` if no stamps can be handed out yet, and `Shape` if files are assumed to be loaded but all tables
    /// are empty. Also returns an error if the lease is lost, or if the cluster does not answer or rejects a request.
    pub async fn take_up(&self, writing: &Writing, entry: &NewDelivery) -> Result<TakenUp, StoreError> {
        let empty = match entry.verdict {
            Verdict::Assumed { .. } => self.without_rows(&entry.plan).await?,
            _ => Vec::new(),
        };
        let lease = &writing.lease;
        let mut under_way = self.under_way.lock().await;
        let earlier = self.earlier(entry).await?;
        let unconfirmed = lock(&self.unconfirmed).remove(&entry.file);
        let same = unconfirmed
            .filter(|before| before.delivery.head == entry.head.hash && before.delivery.noted == entry.noted);
        let mut entered = match same {
            Some(before) => before,
            None => {
                let mut new = self.new_delivery(writing, entry, earlier.newest + 1).await?;
                // Another program cannot have loaded a table that is empty, so the table needs a backfill.
                new.delivery.receipt.empty(&empty);
                new
            }
        };
        let (id, generation) = (entered.delivery.id, entered.delivery.generation);
        let mut replaced = earlier.unsettled;
        replaced.retain(|old| old.delivery.id != id);
        let mut discarded = 0;
        for old in &mut replaced {
            if let Some(newer) = under_way.get(&old.delivery.id) {
                *old = newer.clone();
            }
            discarded += old.delivery.supersede(entry, generation);
            old.delivery.changed = now_ms();
        }
        // A writer that lost the lease may have been about to resume the newest generation. Writing that generation
        // again makes the late write lose.
        let ended = earlier.ended.filter(|old| old.delivery.id != id);
        replaced.extend(ended.filter(|old| !lease.wrote(old.trust.written())));
        lease.check().await?;
        failpoint::step("take_up before the batch");
        // Each is written on its own, because a row can be too large for a batch. They are written first: if the
        // process ends here, the newest generation is `replaced`, and its file is compared with it again.
        for old in &mut replaced {
            self.write(lease, old).await?;
            self.unfinished.track(&old.delivery);
            under_way.remove(&old.delivery.id);
        }
        lock(&self.unconfirmed).insert(entry.file.clone(), entered.clone());
        self.contents.enter(lease, Content::of(&entered.delivery).as_ref(), entered.delivery.id).await?;
        self.enter(lease, &mut entered).await?;
        self.unfinished.track(&entered.delivery);
        lock(&self.unconfirmed).remove(&entry.file);
        failpoint::step("take_up after the batch");
        if entered.delivery.state == DeliveryState::Loading {
            under_way.insert(entered.delivery.id, entered.clone());
        }
        Ok(TakenUp { delivery: entered.delivery, discarded })
    }

    /// Returns the names of the tables that have no row. Fails if no table has a row.
    async fn without_rows(&self, plan: &Plan) -> Result<Vec<String>, StoreError> {
        let empty = empty_tables(&self.cluster, plan).await?;
        if empty.len() < plan.tables.len() {
            return Ok(empty);
        }
        let (what, next) = NOTHING_ASSUMED;
        Err(self.cluster.shape(what.to_owned(), next))
    }

    /// Creates a delivery. Its id is its place in the order, and every delivery takes one, even if it writes nothing.
    async fn new_delivery(
        &self,
        writing: &Writing,
        entry: &NewDelivery,
        generation: u32,
    ) -> Result<Entered, StoreError> {
        let range = writing.hand_out(0, entry.verdict.stamped().unwrap_or(1)).await?;
        let mut entered = entered(entry, DeliveryId(range.base.0), generation);
        if entry.verdict.stamped().is_some() {
            entered.delivery.stamps = Stamps::new(vec![range]);
        }
        Ok(entered)
    }

    /// Writes a delivery together with the entries that find it by path and by head.
    async fn enter(&self, lease: &Lease, new: &mut Entered) -> Result<(), StoreError> {
        let delivery = &new.delivery;
        let generation = i32::try_from(delivery.generation).unwrap_or(i32::MAX);
        let ways = vec![
            (self.path.clone(), Written::Path(delivery.file.text().to_owned(), generation, delivery.id.0)),
            (self.head.clone(), Written::Head(delivery.head.clone(), delivery.id.0)),
        ];
        self.together(lease, &mut [new], ways).await
    }

    /// Continues a delivery. Returns `None` if the delivery has changed since its file was compared with it. If the
    /// rows of a noted tail were made by other rules, the tail gets a new stamp, because its old row may be in the
    /// tables. If a table was corrected meanwhile, all further records get new stamps, because deletes of the correction may
    /// hide what is written with earlier ones. So do the further records of a table with `newest_by`, which must be written in
    /// the order of their stamps.
    ///
    /// # Errors
    /// Returns `Ahead` if no stamps can be handed out yet, or an error if the lease is lost, or if the cluster does not
    /// answer or rejects a request.
    pub async fn reopen(
        &self,
        writing: &Writing,
        id: DeliveryId,
        how: Continuation,
    ) -> Result<Option<Delivery>, StoreError> {
        let entered = self.find(id).await?;
        if self.rewind(writing, &entered).await? {
            return Ok(None);
        }
        let before = entered.delivery;
        if how.head.hash != before.head {
            self.note_head(&writing.lease, how.head.hash.clone(), id).await?;
        }
        if matches!(before.state, DeliveryState::Loading | DeliveryState::Replaced) {
            // These entries were saved for a step that never reached the ledger. This time the records may be accepted.
            writing.lease.check().await?;
            writing.quarantine.remove_from(&writing.lease, id, before.reach.record).await?;
        }
        let range = match further_records(writing, &before, &how) {
            Some((first, records)) => {
                self.uncounted.add(&before);
                Some(writing.hand_out(first, records).await?)
            }
            None => None,
        };
        let change = |entered: &mut Entered| {
            if (entered.delivery.reach, &entered.delivery.ahead) != (how.compared.0, &how.compared.1) {
                return Err(Unchanged::Other);
            }
            range.into_iter().for_each(|range| entered.delivery.stamps.push(range));
            resumed(&mut entered.delivery, how);
            Ok(())
        };
        match self.change(&writing.lease, id, change).await {
            Ok((entered, ())) => Ok(Some(entered.delivery)),
            Err(Unchanged::Other) => Ok(None),
            Err(Unchanged::Store(error)) => Err(error),
        }
    }

    /// Gives a delivery a further range of stamps.
    ///
    /// # Errors
    /// Returns `Ahead` if no stamps can be handed out yet, or an error if the lease is lost, or if the cluster does not
    /// answer or rejects a request.
    pub async fn extend(
        &self,
        writing: &Writing,
        id: DeliveryId,
        first: u64,
        records: u64,
    ) -> Result<StampRange, StoreError> {
        let range = writing.hand_out(first, records).await?;
        let change = |entered: &mut Entered| {
            entered.delivery.stamps.push(range);
            Ok(())
        };
        self.change::<_, StoreError>(&writing.lease, id, change).await?;
        Ok(range)
    }
}

/// Returns the names of the declared tables that have no row.
async fn empty_tables(cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, StoreError> {
    let mut empty = Vec::new();
    for table in &plan.tables {
        let key = table.partition_key.first().and_then(|index| plan.columns.get(*index)).map(names::column);
        let cql = format!(
            "SELECT {} FROM {} LIMIT 1",
            key.unwrap_or_default(),
            names::place(&cluster.settings, table)
        );
        if cluster.query::<Row>(cql, ()).await?.is_empty() {
            empty.push(table.name.clone());
        }
    }
    Ok(empty)
}

/// Returns the first record of a delivery that needs another stamp, and for how many records.
fn further_records(writing: &Writing, before: &Delivery, how: &Continuation) -> Option<(u64, u64)> {
    let tables = before.receipt.tables.iter().map(|count| count.table.as_str());
    let begin = before.stamps.ranges().last().map(|range| range.base);
    let needs_order = writing.needs_order() && !writing.is_last(before);
    if needs_order || begin.is_some_and(|begin| writing.corrections.is_late(begin, tables)) {
        // A longer rest takes further ranges.
        return Some((before.reach.record, FURTHER));
    }
    let note = before.note.as_ref().filter(|note| note.rules != how.rules)?;
    Some((note.span.from.record, 1))
}

/// Why a delivery was not changed.
enum Unchanged {
    /// The delivery has changed since its file was compared with it.
    Other,
    Store(StoreError),
}

impl From<StoreError> for Unchanged {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn resumed(delivery: &mut Delivery, how: Continuation) {
    delivery.resume(&how);
    if let Some(note) = &mut delivery.note {
        note.rules.clone_from(&how.rules);
    }
    // Keep the note of the furthest bytes that were sent, because the file is compared with it. If the head reaches
    // further, note the head instead, which saves a write later.
    let sent = delivery.ahead.take().filter(|ahead| ahead.bytes.offset > delivery.reach.offset);
    let reach = sent.as_ref().map_or(delivery.reach.offset, |ahead| ahead.bytes.offset);
    let by_head = (how.head.offset > reach).then_some(Ahead { bytes: how.head, rules: how.rules });
    delivery.ahead = by_head.or(sent);
}

/// Creates the entry of a new delivery. Rows may be sent before the ledger has advanced, at first within the head.
fn entered(entry: &NewDelivery, id: DeliveryId, generation: u32) -> Entered {
    let mut delivery = Delivery::begin(entry, (id, generation), now_ms());
    if delivery.state == DeliveryState::Loading {
        delivery.ahead = Some(Ahead { bytes: entry.head.clone(), rules: entry.plan.rules.clone() });
    }
    Entered { delivery, attempt: entry.plan.attempt.clone(), trust: Trust::first() }
}
