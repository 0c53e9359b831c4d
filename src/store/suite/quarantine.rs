//! Tests of quarantined records, which every store must pass.

use std::sync::Arc;

use super::Fixture;
use super::cases::backfill;
use super::chunks::*;
use crate::domain::ledger::Amendment;
use crate::domain::quarantine::{EntryFilter, Fate, PAGE, QuarantineEntry, Replay};
use crate::domain::{Delivery, DeliveryState, End, Reason, RowChunk};
use crate::store::listing::Entries;
use crate::store::{Ledger, QuarantineStore, Store};

async fn list(store: &impl Store) -> Vec<QuarantineEntry> {
    let all = quarantined(store, EntryFilter { raw: true, ..EntryFilter::default() }).await;
    all.into_iter().map(|(_, entry)| entry).collect()
}

async fn fates(store: &impl Store) -> Vec<(u64, Fate)> {
    list(store).await.iter().map(|entry| (entry.record.record, entry.fate)).collect()
}

/// Returns a replay of some records of a delivery. `now` contains the number of each record and what it becomes.
fn tried(delivery: &Delivery, now: &[(u64, Record)]) -> Arc<Replay> {
    let len = now.iter().map(|(number, _)| *number).max().map_or(0, |last| last + 1);
    let at = |number: u64| now.iter().find(|(other, _)| *other == number);
    // Records that are not replayed have a number, but are left out of the chunk.
    let records: Vec<Record> = (0..len).map(|n| at(n).map_or(Record::Left, |(_, now)| now.clone())).collect();
    let chunk = chunk(delivery, &records, 0, records.len(), None);
    let skipped = now.iter().filter(|(_, now)| matches!(now, Record::Skipped)).map(|(number, _)| *number);
    Arc::new(Replay { skipped: skipped.collect(), chunk: Arc::new(RowChunk { skipped: 0, ..chunk }) })
}

fn account(delivery: &Delivery) -> [u64; 6] {
    let receipt = &delivery.receipt;
    assert!(receipt.closes(), "{receipt:?}");
    let quarantine = [receipt.quarantined, receipt.replayed, receipt.discarded];
    let [quarantined, replayed, discarded] = quarantine;
    [receipt.records, receipt.loaded, receipt.skipped, quarantined, replayed, discarded]
}

pub async fn entries_come_in_pages<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = vec![Record::Refused; PAGE * 2 + 1];
    let delivery = load(&store, "a", &records).await;
    load(&store, "b", &records[..1]).await;
    let (mut from, mut pages) = (Some(0), Vec::new());
    while let Some(record) = from {
        let page = store.quarantined(delivery.id, EntryFilter::default(), record).await.unwrap();
        assert_eq!(page.found[0].record.record, record);
        pages.push(page.found.len());
        from = page.next;
    }
    assert_eq!(pages, [PAGE, PAGE, 1]);
    assert_eq!(store.header(delivery.id).await.unwrap(), Some(header()));
    let clean = load(&store, "c", &[row(1, 1, "x", 1)]).await;
    assert_eq!(store.header(clean.id).await.unwrap(), None, "it is kept where it may be needed");
}

/// Settling entries during a listing does not move page boundaries: every entry is listed once.
pub async fn entries_settled_during_a_listing_are_listed_once<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let delivery = load(&store, "a", &vec![Record::Refused; PAGE * 2 + 5]).await;
    for fate in [None, Some(Fate::Open)] {
        let reason = Some("fields".to_owned());
        let filter = EntryFilter { fate, reason, ..EntryFilter::default() };
        let expected: Vec<u64> = quarantined(&store, filter.clone()).await.iter().map(number).collect();
        let (mut entries, mut seen) = (Entries::new(&store, delivery.id, filter), Vec::new());
        while let Some(page) = entries.page().await.unwrap() {
            let open = page.iter().filter(|entry| entry.fate == Fate::Open);
            let some: Vec<u64> = open.step_by(2).map(|entry| entry.record.record).collect();
            store.discard(delivery.id, some).await.unwrap();
            seen.extend(page.iter().map(|entry| entry.record.record));
        }
        assert_eq!(seen, expected);
    }
}

fn number((_, entry): &(Delivery, QuarantineEntry)) -> u64 {
    entry.record.record
}

/// Law 2: tables and counts are those of a store into which the record was loaded together with the others.
pub async fn a_replayed_record_ends_as_if_it_had_been_loaded_with_the_others<F: Fixture>() {
    let good = row(1, 1, "replayed", 7);
    let with = |second: Record| vec![row(1, 1, "older", 1), second, Record::Row(1, 1, Some("newer"), None)];
    let later = [row(1, 1, "last", 9), row(1, 3, "own", 3)];

    let expected = F::new().await;
    let store = expected.open(shared()).await;
    let whole = load(&store, "a", &with(good.clone())).await;
    let other = load(&store, "b", &later).await;
    let (rows, whole) = (tables(&store).await, (whole.receipt.tables, newest(&store, "b").await.receipt));
    drop((store, other));

    let place = F::new().await;
    let store = place.open(shared()).await;
    let delivery = load(&store, "a", &with(Record::Refused)).await;
    load(&store, "b", &later).await;
    assert_eq!(account(&delivery), [3, 2, 0, 1, 0, 0]);
    let applied = store.replay(tried(&delivery, &[(1, good)])).await.unwrap();
    assert!(applied.refused.is_empty() && applied.tables.iter().all(|delta| delta.rows == 1));
    assert_eq!(tables(&store).await, rows);
    let done = newest(&store, "a").await;
    assert_eq!(account(&done), [3, 3, 0, 0, 1, 0]);
    assert_eq!((&done.receipt.tables, &newest(&store, "b").await.receipt), (&whole.0, &whole.1));
    assert_eq!((done.state, done.reach, done.hash), (delivery.state, delivery.reach, delivery.hash));
    assert_eq!(fates(&store).await, [(1, Fate::Replayed)]);
    // Another process reads the same state.
    let before = everything(&store).await;
    drop(store);
    assert_eq!(everything(&place.open(shared()).await).await, before);
}

pub async fn what_still_fails_stays_open_with_its_new_reason<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let delivery = load(&store, "a", &vec![Record::Refused; 3]).await;
    let before = list(&store).await;
    let mut retried = tried(&delivery, &[(0, Record::Refused), (1, Record::Skipped), (2, row(1, 1, "x", 1))]);
    let retried_chunk = &mut Arc::get_mut(&mut retried).unwrap().chunk;
    let entry = &mut Arc::get_mut(retried_chunk).unwrap().quarantined[0];
    (entry.reason, entry.column, entry.detail) = (Reason::Range, Some("q".into()), "too far".into());
    store.replay(retried).await.unwrap();
    assert_eq!(account(&newest(&store, "a").await), [3, 1, 1, 1, 2, 0]);
    let after = list(&store).await;
    let [open, skipped, loaded] = after.as_slice() else { panic!("{after:?}") };
    assert_eq!([open.fate, skipped.fate, loaded.fate], [Fate::Open, Fate::Replayed, Fate::Replayed]);
    let new = &open.record;
    assert_eq!(
        (new.reason, new.column.as_deref(), new.detail.as_str()),
        (Reason::Range, Some("q"), "too far")
    );
    let place = |entry: &QuarantineEntry| {
        let record = &entry.record;
        (record.record, record.line, record.offset, record.len, record.raw.clone())
    };
    assert_eq!(after.iter().map(place).collect::<Vec<_>>(), before.iter().map(place).collect::<Vec<_>>());
    let open = EntryFilter { fate: Some(Fate::Open), ..EntryFilter::default() };
    assert_eq!(quarantined(&store, open).await.len(), 1);
}

/// A delivery of which no record could be loaded is loaded once a replay has loaded some. It is then found by its bytes.
pub async fn a_refused_delivery_is_loaded_by_its_replay<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let delivery = take_up(&store, "a", 100).await;
    let end = Some(End::Refused { detail: "none of its 2 records could be loaded".into() });
    apply(&store, chunk(&delivery, &[Record::Refused, Record::Refused], 0, 2, end)).await.unwrap();
    let failed = newest(&store, "a").await;
    assert_eq!((failed.state, failed.is_read_to_end()), (DeliveryState::Failed, true));
    assert!(!store.has_content("head of a".into(), Some(mark(2).offset)).await.unwrap());
    store.replay(tried(&failed, &[(0, Record::Refused)])).await.unwrap();
    assert_eq!(newest(&store, "a").await.state, DeliveryState::Failed);
    store.replay(tried(&failed, &[(1, row(1, 1, "x", 1))])).await.unwrap();
    let loaded = newest(&store, "a").await;
    assert_eq!((loaded.state, account(&loaded)), (DeliveryState::Loaded, [2, 1, 0, 1, 1, 0]));
    assert!(loaded.noted.is_untrusted(), "its file is compared again");
    assert!(store.has_content("head of a".into(), Some(mark(2).offset)).await.unwrap());
}

/// A failed delivery may turn out to be a copy of a loaded one.
pub async fn a_failed_delivery_becomes_a_duplicate<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let original = load(&store, "b", &[row(1, 1, "x", 1)]).await;
    let delivery = take_up(&store, "a", 100).await;
    let end = Some(End::Refused { detail: "none of its 2 records could be loaded".into() });
    apply(&store, chunk(&delivery, &[Record::Refused, Record::Refused], 0, 2, end)).await.unwrap();
    store.discard(delivery.id, vec![0, 1]).await.unwrap();
    let state = Some((DeliveryState::Duplicate, "the same bytes as b".to_owned()));
    let amendment = Amendment { state, same_as: Some(original.id), ..Amendment::default() };
    store.amend(delivery.id, amendment).await.unwrap();
    let copy = newest(&store, "a").await;
    assert_eq!((copy.state, copy.same_as), (DeliveryState::Duplicate, Some(original.id)));
    assert_eq!(account(&copy), [2, 0, 0, 2, 0, 2]);
}

pub async fn discarded_records_are_kept_for_the_account<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [row(1, 1, "x", 1), Record::Refused, Record::Refused];
    let delivery = load(&store, "a", &records).await;
    let rows = tables(&store).await;
    store.discard(delivery.id, vec![2]).await.unwrap();
    let done = newest(&store, "a").await;
    assert_eq!(account(&done), [3, 1, 0, 2, 0, 1]);
    assert_eq!(done.receipt.open(), 1);
    assert_eq!(fates(&store).await, [(1, Fate::Open), (2, Fate::Discarded)]);
    assert_eq!(tables(&store).await, rows);
}

pub async fn what_is_settled_is_not_settled_again<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let delivery = load(&store, "a", &[Record::Refused, Record::Refused, row(1, 1, "x", 1)]).await;
    store.replay(tried(&delivery, &[(0, row(1, 2, "y", 2))])).await.unwrap();
    let before = everything(&store).await;
    for again in [row(1, 2, "y", 2), Record::Skipped, Record::Refused] {
        // The other record of the replay is open, but it is not settled either.
        let both = tried(&delivery, &[(0, again.clone()), (1, Record::Skipped)]);
        assert!(store.replay(both).await.is_err(), "{again:?}");
        assert_eq!(everything(&store).await, before, "{again:?}");
    }
    assert!(store.discard(delivery.id, vec![1, 0]).await.is_err());
    assert!(store.discard(delivery.id, vec![7]).await.is_err(), "there is none");
    assert_eq!(everything(&store).await, before);
}

/// A backfill writes replayed records into the table. It does not write records that are still open.
pub async fn a_backfilled_table_has_the_replayed_records<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [row(1, 1, "x", 1), Record::Refused, Record::Refused, row(1, 1, "y", 2)];
    let delivery = load(&store, "a", &records).await;
    store.replay(tried(&delivery, &[(1, row(1, 1, "replayed", 5))])).await.unwrap();
    let delivery = newest(&store, "a").await;
    let before = everything(&store).await;
    let played = [row(1, 1, "x", 1), row(1, 1, "replayed", 5), Record::Refused, row(1, 1, "y", 2)];
    for wiped in [false, true] {
        for (at, table) in plan().tables.iter().enumerate() {
            if wiped {
                place.wipe(&table.name).await;
            }
            backfill(&store, at, &delivery, &played, played.len()).await;
        }
        assert_eq!(everything(&store).await, before, "wiped: {wiped}");
    }
}
