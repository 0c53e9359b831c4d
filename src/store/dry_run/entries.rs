//! The deliveries that a dry run has entered or changed, found by file and by head.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use crate::domain::ledger::{DeliveryFilter, KnownFile, NewDelivery};
use crate::domain::{
    Delivery, DeliveryId, DeliveryState, Feeds, FileKey, Fingerprint, Replacement, Stamp, StampRange,
};
use crate::store::clock::{clock, now_ms};

/// The first id of a new delivery. No store hands out ids this high, so new deliveries are last in the order.
const FIRST: i64 = 1 << 62;

/// Whether the dry run has entered this delivery.
pub fn is_new(id: DeliveryId) -> bool {
    id.0 >= FIRST
}

/// A delivery that a dry run has entered or changed.
#[derive(Clone)]
pub struct Entry {
    pub delivery: Delivery,
    /// The configuration of the attempt. `None` if the store has entered the delivery.
    attempt: Option<Fingerprint>,
    /// The number of open records in the store's own entry.
    stored_open: u64,
}

impl Entry {
    pub fn of_stored(delivery: Delivery) -> Self {
        Self { stored_open: delivery.receipt.open(), delivery, attempt: None }
    }
}

fn index<K: Clone + Eq + Hash>(index: &mut HashMap<K, BTreeSet<DeliveryId>>, key: &K, id: DeliveryId) {
    match index.get_mut(key) {
        Some(ids) => drop(ids.insert(id)),
        None => drop(index.insert(key.clone(), BTreeSet::from([id]))),
    }
}

/// All deliveries that a dry run has entered or changed.
#[derive(Default)]
pub struct Entries {
    all: BTreeMap<DeliveryId, Entry>,
    by_file: HashMap<FileKey, BTreeSet<DeliveryId>>,
    /// By every head that the delivery has had.
    by_head: HashMap<String, BTreeSet<DeliveryId>>,
    /// The end of the last range of stamps.
    given: Stamp,
}

impl Entries {
    pub fn get(&self, id: DeliveryId) -> Option<&Entry> {
        self.all.get(&id)
    }

    pub fn put(&mut self, entry: Entry) {
        let Delivery { id, file, head, .. } = &entry.delivery;
        index(&mut self.by_file, file, *id);
        index(&mut self.by_head, head, *id);
        self.all.insert(*id, entry);
    }

    /// Enters a new delivery.
    pub fn begin(&mut self, new: &NewDelivery, generation: u32) -> Delivery {
        let last = self.all.last_key_value().map_or(0, |(id, _)| id.0);
        let id = DeliveryId(FIRST.max(last + 1));
        let mut delivery = Delivery::begin(new, (id, generation), now_ms());
        if let Some(records) = new.verdict.stamped() {
            delivery.stamps.push(self.hand_out(0, records));
        }
        let attempt = Some(new.plan.attempt.clone());
        self.put(Entry { delivery: delivery.clone(), attempt, stored_open: 0 });
        delivery
    }

    /// Returns a range of stamps. They are never written, so they may be ahead of the clock.
    pub fn hand_out(&mut self, first: u64, records: u64) -> StampRange {
        let range = StampRange::next(self.given, clock(), (first, records));
        self.given = range.end();
        range
    }

    /// Returns the deliveries that a filter selects, in the order of their ids.
    pub fn selected<'e>(&'e self, filter: &'e DeliveryFilter) -> impl Iterator<Item = &'e Delivery> {
        let ids: Box<dyn Iterator<Item = &DeliveryId>> = match filter {
            DeliveryFilter::All | DeliveryFilter::Quarantined => Box::new(self.all.keys()),
            DeliveryFilter::Path(file) | DeliveryFilter::Newest(file) => {
                Box::new(self.by_file.get(file).into_iter().flatten())
            }
            DeliveryFilter::Unfinished(head) | DeliveryFilter::Loaded(head) => {
                Box::new(self.by_head.get(head).into_iter().flatten())
            }
            DeliveryFilter::Same(content) => Box::new(self.by_head.get(&content.head).into_iter().flatten()),
        };
        let found = ids.filter_map(|id| self.all.get(id)).map(|entry| &entry.delivery);
        found.filter(|delivery| filter.selects(delivery))
    }

    pub fn has_content(&self, head: &str, len: Option<u64>) -> bool {
        let mut ids = self.by_head.get(head).into_iter().flatten();
        ids.any(|id| {
            self.all.get(id).is_some_and(|Entry { delivery, .. }| {
                let is_loaded = delivery.state == DeliveryState::Loaded && delivery.head == head;
                is_loaded && len.is_none_or(|len| len == delivery.reach.offset)
            })
        })
    }

    /// Updates what a store knows about its files.
    pub fn known(&self, mut known: Vec<KnownFile>, attempts: &Feeds<Fingerprint>) -> Vec<KnownFile> {
        let mut places: HashMap<FileKey, usize> = HashMap::new();
        for (at, one) in known.iter().enumerate().filter(|(_, one)| self.by_file.contains_key(&one.file)) {
            places.insert(one.file.clone(), at);
        }
        for Entry { delivery, attempt: own, stored_open } in self.all.values() {
            let attempt = attempts.of(&delivery.file).ok();
            let at = places.get(&delivery.file).and_then(|at| known.get_mut(*at));
            let (open, same_attempt) =
                at.as_ref().map_or((0, false), |known| (known.open, known.same_attempt));
            let now = KnownFile {
                id: delivery.id,
                file: delivery.file.clone(),
                state: delivery.state,
                noted: delivery.noted,
                same_attempt: own.as_ref().map_or(same_attempt, |own| Some(own) == attempt),
                open: open.saturating_sub(*stored_open) + delivery.receipt.open(),
                has_note: delivery.note.is_some(),
                replaces: delivery.replacement.as_ref().is_some_and(Replacement::is_due),
            };
            match at {
                Some(known) if known.id > delivery.id => known.open = now.open,
                Some(known) => *known = now,
                None => {
                    places.insert(delivery.file.clone(), known.len());
                    known.push(now);
                }
            }
        }
        known
    }
}
