//! Runs the cases of the store suite that need no rows, and the rules of a dry run over a ledger with deliveries.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test, as the test itself does")]

use std::sync::Arc;

use super::DryRun;
use crate::domain::ledger::{Content, DeliveryFilter};
use crate::domain::{Delivery, DeliveryState, End, FileStat, Schema};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::tests::Sqlite;
use crate::store::suite::{
    Fixture, Record, apply, attempts, chunk, deliveries, everything, load, loaded, newest, reopened, row,
    shared, store_suite, take_up,
};
use crate::store::{Access, Ledger, QuarantineStore, StoreError};

/// A place for a SQLite store that only dry runs use.
struct Dry(Sqlite);

impl Fixture for Dry {
    type Store = DryRun<SqliteStore>;
    const COUNTS_ACROSS_DELIVERIES: bool = false;
    const SLOWER: u32 = 1;

    async fn new() -> Self {
        Self(Sqlite::new().await)
    }

    async fn open_with(&self, schema: Arc<Schema>) -> DryRun<SqliteStore> {
        DryRun::new(Some(self.0.open_with(schema).await))
    }

    async fn wipe(&self, table: &str) {
        self.0.wipe(table).await;
    }
}

store_suite!(@ Dry:
    a_loaded_generation_settles_all_before_it,
    a_chunk_that_does_not_continue_is_refused_and_changes_nothing,
    a_tail_is_a_record_like_any_other,
    a_delivery_that_changed_since_it_was_compared_is_not_resumed,
    an_interrupted_or_replaced_delivery_keeps_its_position,
    extend_and_amend,
    deliveries_come_in_pages,
    known_tells_the_newest_generation,
    each_feed_has_its_own_deliveries_of_a_path,
);

/// Returns the next dry run over a store.
async fn dry_run(place: &Sqlite) -> DryRun<SqliteStore> {
    DryRun::over(place.opened(Arc::new(Schema::of([&*shared()])), Access::Dry)).unwrap()
}

const RECORDS: [Record; 3] = [Record::Row(1, 1, Some("x"), Some(1)), Record::Refused, Record::Skipped];

fn states(all: &[Delivery]) -> Vec<(&str, u32, DeliveryState)> {
    all.iter().map(|one| (one.file.path(), one.generation, one.state)).collect()
}

#[tokio::test]
async fn a_dry_run_continues_the_ledger_of_the_store_and_writes_nothing() {
    let place = Sqlite::new().await;
    let store = place.open(shared()).await;
    let known = load(&store, "a", &RECORDS).await;
    let half = take_up(&store, "b", 10).await;
    apply(&store, chunk(&half, &RECORDS, 0, 1, None)).await.unwrap();
    let before = everything(&store).await;
    drop(store);

    let dry = dry_run(&place).await;
    let new = take_up(&dry, "c", 10).await;
    assert!(new.id > half.id && new.generation == 1);
    let applied = apply(&dry, chunk(&new, &RECORDS, 0, 3, loaded())).await.unwrap();
    assert!(applied[0].tables.iter().all(|delta| delta.rows == 1) && applied[0].tables.len() == 3);
    let grown = reopened(&dry, &newest(&dry, "b").await, FileStat::default()).await;
    apply(&dry, chunk(&grown, &RECORDS, 1, 3, loaded())).await.unwrap();
    let next = take_up(&dry, "a", 10).await;
    let all = deliveries(&dry, DeliveryFilter::All).await;
    assert_eq!(
        states(&all),
        [
            ("a", 1, DeliveryState::Loaded),
            ("b", 1, DeliveryState::Loaded),
            ("c", 1, DeliveryState::Loaded),
            ("a", 2, DeliveryState::Loading),
        ]
    );
    assert!(all.iter().all(|delivery| delivery.receipt.closes()));
    assert_eq!((newest(&dry, "a").await.id, newest(&dry, "b").await.receipt.loaded), (next.id, 1));
    for (at, head) in ["head of a", "head", "head of c"].into_iter().enumerate() {
        let content = Content::of(&all[at]).unwrap();
        assert_eq!(content.head, head, "reopening has changed one of them");
        assert!(dry.has_content(head.to_owned(), Some(content.len)).await.unwrap(), "{head}");
        assert!(!dry.has_content(head.to_owned(), Some(content.len + 1)).await.unwrap(), "{head}");
        let same = deliveries(&dry, DeliveryFilter::Same(content)).await;
        assert_eq!(same.iter().map(|one| one.id).collect::<Vec<_>>(), [all[at].id], "{head}");
    }
    // The quarantine of the store can be read. Records that this run quarantines are only counted.
    let entries = |id| dry.quarantined(id, Default::default(), 0);
    assert_eq!(entries(known.id).await.unwrap().found.len(), 1);
    assert!(entries(new.id).await.unwrap().found.is_empty());
    assert!(dry.discard(known.id, vec![1]).await.is_err());
    drop(dry);
    assert_eq!(everything(&place.open(shared()).await).await, before);
}

#[tokio::test]
async fn known_paths_are_those_of_the_store_and_of_the_run() {
    let place = Sqlite::new().await;
    let store = place.open(shared()).await;
    let failed = take_up(&store, "a", 10).await;
    let end = Some(End::Failed { detail: "why".to_owned() });
    apply(&store, chunk(&failed, &RECORDS, 0, 3, end)).await.unwrap();
    load(&store, "b", &RECORDS).await;
    drop(store);
    let dry = dry_run(&place).await;
    let known = async |path: &str| {
        let all = dry.known(attempts()).await.unwrap();
        let mut own = all.into_iter().filter(|one| one.file.path() == path);
        let one = own.next().unwrap();
        assert!(own.next().is_none(), "{path} is listed once");
        (one.state, one.open, one.same_attempt)
    };
    assert_eq!(known("a").await, (DeliveryState::Failed, 1, true));
    let again = take_up(&dry, "a", 10).await;
    assert_eq!(known("a").await, (DeliveryState::Loading, 0, true), "the open record is read again");
    apply(&dry, chunk(&again, &RECORDS, 0, 3, loaded())).await.unwrap();
    let new = take_up(&dry, "new", 10).await;
    apply(&dry, chunk(&new, &[row(2, 2, "y", 2)], 0, 1, loaded())).await.unwrap();
    assert_eq!(known("a").await, (DeliveryState::Loaded, 1, true));
    assert_eq!(known("b").await, (DeliveryState::Loaded, 1, true));
    assert_eq!(known("new").await, (DeliveryState::Loaded, 0, true));
}

#[tokio::test]
async fn without_a_store_the_ledger_is_empty() {
    let dry = dry_run(&Sqlite::new().await).await;
    assert!(dry.known(attempts()).await.unwrap().is_empty());
    let delivery = load(&dry, "a", &RECORDS).await;
    assert_eq!((delivery.state, delivery.receipt.records), (DeliveryState::Loaded, 3));
    let other = StoreError::Foreign("other".to_owned());
    assert!(DryRun::<SqliteStore>::over(Err(other)).is_err(), "only a missing store is empty");
}
