//! How a delivery begins, goes on, and gets its stamps.

use super::count::{count_of, table_count};
use super::written::Written;
use super::{Ledger, lock};
use crate::domain::{
    Delivery, DeliveryId, Fingerprint, Plan, Receipt, Stamp, StampRange, Stamps, State, TableCount,
};
use crate::fault;
use crate::ledger::{Beginning, Continuation, Entry, Verdict};
use crate::store::cassandra::apply::without_provisional;
use crate::store::cassandra::lease::{Lease, clock};
use crate::store::cassandra::stored::Entered;
use crate::store::cassandra::{Writing, schema};
use crate::store::{NOTHING_ASSUMED, StoreError};

impl Ledger {
    /// Enters a delivery; those before it that were not finished are replaced.
    ///
    /// # Errors
    /// `Ahead` when there are no stamps yet; what the cluster says.
    pub async fn take_up(&self, lease: &Lease, plan: &Plan, entry: &Entry) -> Result<Delivery, StoreError> {
        let empty = match entry.verdict {
            Verdict::Assumed { .. } => self.without_rows(plan).await?,
            _ => Vec::new(),
        };
        let mut under_way = self.under_way.lock().await;
        let mut earlier = self.many(&self.by_path, &entry.path, usize::MAX).await?;
        let unconfirmed = lock(&self.unconfirmed).remove(&entry.path);
        let same = unconfirmed
            .filter(|before| before.delivery.head == entry.head && before.delivery.noted == entry.noted);
        let entered = match same {
            Some(before) => before,
            None => {
                let generation = earlier.iter().map(|delivery| delivery.generation).max().unwrap_or(0) + 1;
                let mut new = self.new_delivery(lease, plan, entry, generation).await?;
                // A table without a row has none of another program either: it is behind.
                for table in &empty {
                    count_of(&mut new.delivery.receipt, table).fingerprint = Fingerprint(String::new());
                }
                new
            }
        };
        earlier.retain(|delivery| delivery.id != entered.delivery.id);
        let generation = entered.delivery.generation;
        let mut replaced = Vec::new();
        for delivery in earlier {
            if matches!(delivery.state, State::Loading | State::Incomplete | State::Waiting) {
                let mut old = match under_way.get(&delivery.id) {
                    Some(old) => old.clone(),
                    None => self.load(delivery.id).await?,
                };
                replace(&mut old.delivery, generation);
                replaced.push(old);
            }
        }
        lease.check().await?;
        fault::step("take_up before the batch");
        lock(&self.unconfirmed).insert(entry.path.clone(), entered.clone());
        self.enter(lease, &entered, &replaced).await?;
        lock(&self.unconfirmed).remove(&entry.path);
        fault::step("take_up after the batch");
        for old in &replaced {
            under_way.remove(&old.delivery.id);
        }
        if entered.delivery.state == State::Loading {
            under_way.insert(entered.delivery.id, entered.clone());
        }
        Ok(entered.delivery)
    }

    /// Names of the tables that have no row.
    async fn without_rows(&self, plan: &Plan) -> Result<Vec<String>, StoreError> {
        let empty = schema::empty_tables(&self.session, &self.settings, plan).await?;
        if empty.len() < plan.tables.len() {
            return Ok(empty);
        }
        let (what, next) = NOTHING_ASSUMED;
        let (what, next) = (what.to_owned(), next.to_owned());
        Err(StoreError::Shape { store: self.settings.name(), what, next })
    }

    /// Every delivery takes a place in the order, also one that has nothing to write: it is its id.
    async fn new_delivery(
        &self,
        lease: &Lease,
        plan: &Plan,
        entry: &Entry,
        generation: u32,
    ) -> Result<Entered, StoreError> {
        let range = lease.hand_out(0, entry.verdict.stamped().unwrap_or(1)).await?;
        let mut entered = entered(plan, entry, DeliveryId(range.base.0), generation);
        if entry.verdict.stamped().is_some() {
            entered.delivery.stamps = Stamps::new(vec![range]);
        }
        Ok(entered)
    }

    /// A delivery and the ways to it.
    async fn enter(&self, lease: &Lease, new: &Entered, replaced: &[Entered]) -> Result<(), StoreError> {
        let delivery = &new.delivery;
        let generation = i32::try_from(delivery.generation).unwrap_or(i32::MAX);
        let mut all = vec![
            self.as_it_is(new),
            (self.path.clone(), Written::Path(delivery.path.clone(), generation, delivery.id.0)),
            (self.head.clone(), Written::Head(delivery.head.clone(), delivery.id.0)),
        ];
        all.extend(replaced.iter().map(|old| self.as_it_is(old)));
        self.together(lease, all).await
    }

    /// Goes on with a delivery; its provisional last record is taken back first. What it wrote stays hidden,
    /// so the record, and what follows it, needs newer stamps. So does what follows where the file was written anew.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn reopen(
        &self,
        writing: Option<&Writing>,
        id: DeliveryId,
        Continuation { noted, head, detail }: Continuation,
    ) -> Result<Delivery, StoreError> {
        let before = self.find(id).await?;
        let reopen = |entered: &mut Entered| {
            let delivery = &mut entered.delivery;
            (delivery.state, delivery.detail) = (State::Loading, detail);
            (delivery.noted, delivery.head) = (noted, head.clone());
            Ok(())
        };
        let Some(writing) = writing else {
            let change = |entered: &mut Entered| {
                without_provisional(entered);
                reopen(entered)
            };
            return Ok(self.change_in_memory(id, change).await?.delivery);
        };
        if head != before.delivery.head {
            self.note_head(&writing.lease, head.clone(), id).await?;
        }
        // Killed behind the rows of such a record, a process has left word of it, and the ledger knows of none: what the
        // file is by now tells whether it is the same again.
        let is_left = noted != before.delivery.noted && writing.provisional.is_of(id);
        let reach = before.delivery.reach.record;
        let mark = before.delivery.provisional.as_ref().map(|(mark, _)| mark.record);
        let Some(mark) = mark.or(is_left.then_some(reach)) else {
            let mut range = None;
            if matches!(before.delivery.state, State::Loading | State::Replaced) {
                // Saved for a step that the ledger never took: this time they may not be refused.
                writing.lease.check().await?;
                writing.quarantine.remove_from(&writing.lease, id, reach).await?;
                if noted.is_rewritten(&before.delivery.noted) {
                    range = Some(beyond(writing, &before.delivery, reach).await?);
                }
            }
            let change = |entered: &mut Entered| {
                range.into_iter().for_each(|range| entered.delivery.stamps.push(range));
                reopen(entered)
            };
            return Ok(self.change(&writing.lease, id, change).await?.0.delivery);
        };
        writing.lease.check().await?;
        // Whatever became of it: an older stamp could lie under what another delivery took back there.
        let range = beyond(writing, &before.delivery, mark).await?;
        writing.quarantine.remove_from(&writing.lease, id, mark).await?;
        writing.provisional.take_back(&writing.lease, &before.delivery).await?;
        fault::step("reopen before the ledger");
        let change = |entered: &mut Entered| {
            without_provisional(entered);
            entered.delivery.stamps.push(range);
            reopen(entered)
        };
        let reopened = self.change(&writing.lease, id, change).await?.0.delivery;
        fault::step("reopen after the ledger");
        writing.provisional.forget(&writing.lease, id).await?;
        Ok(reopened)
    }

    /// A further range of stamps.
    ///
    /// # Errors
    /// `Ahead` when there are none yet; what the cluster says.
    pub async fn extend(
        &self,
        writing: Option<&Writing>,
        id: DeliveryId,
        first: u64,
        records: u64,
    ) -> Result<StampRange, StoreError> {
        let Some(writing) = writing else { return in_memory_range(first, records) };
        let range = writing.lease.hand_out(first, records).await?;
        let change = |entered: &mut Entered| {
            entered.delivery.stamps.push(range);
            Ok(())
        };
        self.change(&writing.lease, id, change).await?;
        Ok(range)
    }

    /// The same for a dry run.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn take_up_in_memory(&self, plan: &Plan, entry: &Entry) -> Result<Delivery, StoreError> {
        let earlier = self.many(&self.by_path, &entry.path, usize::MAX).await?;
        let generation = earlier.iter().map(|delivery| delivery.generation).max().unwrap_or(0) + 1;
        let mut under_way = self.under_way.lock().await;
        let last = under_way.values().map(|entered| entered.delivery.id.0 + 2).max().unwrap_or(0);
        let range = in_memory_range(0, entry.verdict.stamped().unwrap_or(1))?;
        let mut entered = entered(plan, entry, DeliveryId(range.base.0.max(last)), generation);
        if entry.verdict.stamped().is_some() {
            entered.delivery.stamps = Stamps::new(vec![range]);
        }
        under_way.insert(entered.delivery.id, entered.clone());
        Ok(entered.delivery)
    }
}

/// New stamps for what follows. Rows may have been sent that the ledger never took; where the file was written
/// anew, they are of other bytes, and under the same stamp the two would mix, cell by cell.
async fn beyond(writing: &Writing, delivery: &Delivery, first: u64) -> Result<StampRange, StoreError> {
    let left = delivery.stamps.reach().saturating_sub(first).max(1);
    writing.lease.hand_out(first, left).await
}

/// Stamps that are never written.
fn in_memory_range(first: u64, records: u64) -> Result<StampRange, StoreError> {
    let range = StampRange::after(Stamp(0), Stamp(clock()), first, records);
    range.map_err(|wait| StoreError::Ahead(std::time::Duration::from_micros(wait)))
}

fn replace(delivery: &mut Delivery, generation: u32) {
    delivery.state = State::Replaced;
    delivery.detail = format!(
        "its bytes went away after byte {}; generation {generation} took its place",
        delivery.reach.offset
    );
    delivery.changed = clock() / 1000;
}

/// What a delivery begins with.
fn account(begun: &Beginning, tables: Vec<TableCount>) -> Receipt {
    let Beginning { reach, assumed, skipped, .. } = *begun;
    let parts = if begun.state == State::Loaded { vec![reach.offset] } else { Vec::new() };
    let (records, loaded) = (reach.record, assumed);
    Receipt { records, loaded, skipped, assumed, tables, parts, ..Receipt::default() }
}

fn entered(plan: &Plan, entry: &Entry, id: DeliveryId, generation: u32) -> Entered {
    let begun = entry.verdict.beginning();
    let loads = entry.verdict.loads();
    let tables =
        plan.tables.iter().filter(|_| loads).map(|table| table_count(&table.name, &table.fingerprint));
    let mut tables: Vec<TableCount> = tables.collect();
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    let now = clock() / 1000;
    let receipt = account(&begun, tables);
    let Beginning { state, detail, same_as, reach, hash, .. } = begun;
    let delivery = Delivery {
        id,
        path: entry.path.clone(),
        generation,
        state,
        detail,
        same_as,
        reach,
        hash,
        head: entry.head.clone(),
        provisional: None,
        noted: entry.noted,
        stamps: Stamps::default(),
        fingerprint: entry.fingerprint.clone(),
        receipt,
        taken_up: now,
        changed: now,
    };
    Entered { delivery, attempt: entry.attempt.clone(), outcome: String::new() }
}
