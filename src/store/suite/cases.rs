//! The cases that every store must pass.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::Fixture;
use super::chunks::*;
use crate::domain::ledger::{Amendment, DeliveryFilter, Verdict};
use crate::domain::{
    Delivery, DeliveryState, End, FileStat, Position, RowChunk, Stamp, StampRange, ToleratedCounts,
};
use crate::store::{ChunkWriter, Ledger, Store};

pub async fn take_up_gives_generations_and_stamps_in_order<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let mut end = Stamp(0);
    let mut ids = BTreeSet::new();
    for (path, generation, records) in
        [("a", 1, 3), ("b", 1, 1000), ("a", 2, 1), ("a", 3, 70_000), ("c", 1, 1)]
    {
        let delivery = take_up(&store, path, records).await;
        assert_eq!((delivery.file.path(), delivery.generation), (path, generation));
        assert_eq!((delivery.state, delivery.reach), (DeliveryState::Loading, Position::default()));
        assert!(ids.insert(delivery.id), "an id is given once");
        let [StampRange { first: 0, base, records: given }] = delivery.stamps.ranges() else {
            panic!("one range from the first record on: {:?}", delivery.stamps)
        };
        assert!(*base >= end && base.0 % 2 == 0 && *given >= records, "{delivery:?} after {end:?}");
        end = delivery.stamps.ranges()[0].end();
        assert_eq!(newest(&store, path).await.stamps, delivery.stamps);
    }
    let order: Vec<_> = deliveries(&store, DeliveryFilter::All).await.iter().map(|one| one.id).collect();
    assert_eq!(order, ids.into_iter().collect::<Vec<_>>(), "in the order they were taken up");
    // Another process hands out stamps after these.
    drop(store);
    let store = place.open(shared()).await;
    assert!(take_up(&store, "d", 1).await.stamps.begin().unwrap() >= end);
}

pub async fn an_unfinished_generation_is_replaced_by_the_next<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let first = take_up(&store, "a", 10).await;
    apply(&store, chunk(&first, &[row(1, 1, "x", 1), row(1, 2, "y", 2)], 0, 1, None)).await.unwrap();
    let cut = take_up(&store, "b", 10).await;
    let end = Some(End::Incomplete { detail: "waits".into(), held: false });
    apply(&store, chunk(&cut, &[row(2, 1, "x", 1)], 0, 1, end)).await.unwrap();
    let done = load(&store, "c", &[row(3, 1, "x", 1)]).await;
    for path in ["a", "b", "c"] {
        take_up(&store, path, 10).await;
    }
    for (path, id, state) in [
        ("a", first.id, DeliveryState::Replaced),
        ("b", cut.id, DeliveryState::Replaced),
        ("c", done.id, DeliveryState::Loaded),
    ] {
        let generations = deliveries(&store, DeliveryFilter::Path(path.into())).await;
        assert_eq!(generations.iter().map(|one| one.generation).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((generations[0].id, generations[0].state), (id, state));
        assert_eq!(generations[0].reach, mark(1), "its reach is unchanged");
        assert!(generations[0].receipt.closes());
    }
    assert_eq!(deliveries(&store, DeliveryFilter::Newest("a".into())).await.len(), 1);
    assert_eq!(rows_of(&store, 0, vec![value(1)]).await.len(), 1, "written rows stay");
}

/// A new generation settles all earlier generations of its path, however many there are.
pub async fn a_loaded_generation_settles_all_before_it<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let failed = take_up(&store, "a", 10).await;
    let end = Some(End::Failed { detail: "why".into() });
    apply(&store, chunk(&failed, &[row(1, 1, "x", 1), Record::Refused], 0, 2, end)).await.unwrap();
    for _ in 0..20 {
        store.take_up(entry("a", Verdict::Failed { detail: "no header".into() })).await.unwrap();
    }
    let incomplete = entry("a", Verdict::Incomplete { detail: "half a header".into() });
    assert_eq!(store.take_up(incomplete).await.unwrap().discarded, 1);
    let new = take_up(&store, "a", 10).await;
    assert_eq!(new.generation, 23);
    let generations = deliveries(&store, DeliveryFilter::Path("a".into())).await;
    let state = |at: usize| (generations[at].state, generations[at].receipt.open());
    assert_eq!(
        (state(0), state(20), state(21)),
        ((DeliveryState::Replaced, 0), (DeliveryState::Failed, 0), (DeliveryState::Replaced, 0))
    );
    // The next generation replaces the unfinished generation before it. All others are already settled.
    let next = take_up(&store, "a", 10).await;
    let generations = deliveries(&store, DeliveryFilter::Path("a".into())).await;
    assert_eq!((next.generation, generations[22].state), (24, DeliveryState::Replaced));
}

pub async fn apply_advances_reach_and_counts<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [
        row(1, 1, "x", 1),
        Record::Skipped,
        row(1, 1, "y", 2),
        Record::Refused,
        row(1, 2, "z", 3),
        Record::Skipped,
    ];
    let delivery = take_up(&store, "a", 10).await;
    let applied = apply(&store, chunk(&delivery, &records, 0, 3, None)).await.unwrap();
    let deltas: Vec<_> = applied[0].tables.iter().map(|delta| (delta.rows, delta.collisions)).collect();
    assert_eq!(deltas, [(2, 1); 3]);
    let half = newest(&store, "a").await;
    assert_eq!((half.state, half.reach, half.hash.clone()), (DeliveryState::Loading, mark(3), hash(3)));
    // Two chunks are applied together. The second continues where the first ends.
    let both = vec![chunk(&half, &records, 3, 4, None), chunk(&half, &records, 4, 6, loaded())];
    assert_eq!(apply_all(&store, both).await.unwrap().len(), 2);
    let done = newest(&store, "a").await;
    assert_eq!((done.state, done.reach, done.hash.clone()), (DeliveryState::Loaded, mark(6), hash(6)));
    let receipt = &done.receipt;
    assert_eq!((receipt.records, receipt.loaded, receipt.skipped, receipt.quarantined), (6, 3, 2, 1));
    assert!(receipt.closes());
    assert_eq!(receipt.parts.ends(), [mark(6).offset]);
    assert_eq!(["kept", "cleared", "narrow"].map(|table| count(&done, table)), [(3, 1), (3, 1), (3, 2)]);
}

/// The counts advance in the same write as the records.
pub async fn tolerated_counts_add_up_and_are_kept<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [row(1, 1, "x", 1), row(1, 2, "y", 2), Record::Skipped, row(1, 3, "z", 3)];
    let of = |delivery: &Delivery, range: Range<usize>, end, counts| RowChunk {
        tolerated: ToleratedCounts::parse(counts),
        ..chunk(delivery, &records, range.start, range.end, end)
    };
    let strict = load(&store, "b", &records).await;
    assert!(strict.receipt.tolerated.is_empty());
    let delivery = take_up(&store, "a", 10).await;
    let first = || of(&delivery, 0..1, None, "comments=2 trimmed=1");
    apply(&store, first()).await.unwrap();
    apply(&store, first()).await.unwrap_err();
    let half = newest(&store, "a").await;
    assert_eq!(half.receipt.tolerated.to_string(), "comments=2 trimmed=1");
    let rest = vec![of(&half, 1..2, None, ""), of(&half, 2..4, loaded(), "trimmed=4 blank_rows=1 padded=1")];
    apply_all(&store, rest).await.unwrap();
    let done = newest(&store, "a").await;
    assert_eq!(done.receipt.tolerated.to_string(), "comments=2 trimmed=5 blank_rows=1 padded=1");
    backfill(&store, 2, &done, &records, records.len()).await;
    drop(store);
    let store = place.open(shared()).await;
    assert_eq!(newest(&store, "a").await.receipt.tolerated, done.receipt.tolerated);
    assert!(newest(&store, "b").await.receipt.tolerated.is_empty());
}

pub async fn a_chunk_that_does_not_continue_is_refused_and_changes_nothing<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [row(1, 1, "x", 1), row(1, 2, "y", 2), Record::Refused, row(1, 4, "z", 4)];
    let delivery = take_up(&store, "a", 10).await;
    apply(&store, chunk(&delivery, &records, 0, 2, None)).await.unwrap();
    let before = everything(&store).await;
    for (from, to, what) in
        [(3, 4, "a gap"), (1, 3, "an overlap"), (0, 2, "a repeat"), (0, 4, "from the beginning")]
    {
        let refused = apply(&store, chunk(&delivery, &records, from, to, loaded())).await;
        assert!(refused.is_err(), "{what}");
        assert_eq!(everything(&store).await, before, "{what}");
    }
    // A pair is refused if its second chunk does not continue the first. The first chunk may have been applied.
    let pair = vec![chunk(&delivery, &records, 2, 3, None), chunk(&delivery, &records, 2, 4, loaded())];
    assert!(apply_all(&store, pair).await.is_err());
    let after = newest(&store, "a").await;
    assert!(after.receipt.closes() && after.reach.record <= 3, "{after:?}");
}

/// After a wait for the cluster, the same chunks are applied again. A chunk that is already in the ledger is not
/// counted twice.
pub async fn a_chunk_that_is_applied_twice_counts_once<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [row(1, 1, "x", 1), Record::Refused, row(1, 1, "y", 2), Record::Skipped];
    let (a, b) = (take_up(&store, "a", 10).await, take_up(&store, "b", 10).await);
    let both = Arc::new(vec![chunk(&a, &records, 0, 4, loaded()), chunk(&b, &records, 0, 2, None)]);
    let sent = store.send(Arc::clone(&both)).await.unwrap();
    let first = store.apply(Arc::clone(&both), &sent).await.unwrap();
    let before = everything(&store).await;
    let again = store.apply(both, &sent).await.unwrap();
    assert_eq!(format!("{again:?}"), format!("{first:?}"));
    assert_eq!(everything(&store).await, before);
    assert_eq!((newest(&store, "a").await.receipt.loaded, newest(&store, "b").await.receipt.loaded), (2, 1));
}

/// The rows of a chunk may be sent before earlier chunks of the same or of other deliveries are applied.
pub async fn chunks_are_sent_before_earlier_chunks_are_applied<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [row(1, 1, "x", 1), row(1, 2, "y", 2), Record::Refused, row(1, 1, "z", 4)];
    let (a, b) = (take_up(&store, "a", 10).await, take_up(&store, "b", 10).await);
    let windows = [
        vec![chunk(&a, &records, 0, 2, None)],
        vec![chunk(&a, &records, 2, 3, None), chunk(&b, &records, 0, 4, loaded())],
        vec![chunk(&a, &records, 3, 4, loaded())],
    ];
    let mut sent = Vec::new();
    for window in windows.map(Arc::new) {
        sent.push((Arc::clone(&window), store.send(window).await.unwrap()));
    }
    assert_eq!(newest(&store, "a").await.reach, mark(0), "a chunk that was only sent does not count");
    for (window, sent) in sent {
        store.apply(window, &sent).await.unwrap();
    }
    for path in ["a", "b"] {
        let done = newest(&store, path).await;
        assert!(done.receipt.closes() && done.state == DeliveryState::Loaded, "{done:?}");
        assert_eq!((done.reach, done.receipt.loaded, done.receipt.quarantined), (mark(4), 3, 1));
    }
    // A process that was killed after `send` has applied nothing. The next process sends and applies the chunks again.
    let (c, window) =
        (take_up(&store, "c", 10).await, |c: &Delivery| vec![chunk(c, &records, 0, 4, loaded())]);
    let before = everything(&store).await;
    drop(store.send(Arc::new(window(&c))).await.unwrap());
    drop(store);
    let store = place.open(shared()).await;
    assert_eq!(newest(&store, "c").await.reach, mark(0));
    apply_all(&store, window(&c)).await.unwrap();
    assert_eq!(newest(&store, "c").await.receipt.loaded, 3);
    assert_ne!(everything(&store).await, before);
}

pub async fn an_interrupted_or_replaced_delivery_keeps_its_position<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [row(1, 1, "x", 1), row(1, 2, "y", 2), row(1, 3, "z", 3)];
    let detail = || "why".to_owned();
    for (path, end, state) in [
        ("a", End::BrokenOff { detail: detail() }, DeliveryState::Loading),
        ("b", End::Replaced { detail: detail() }, DeliveryState::Replaced),
    ] {
        let delivery = take_up(&store, path, 10).await;
        apply(&store, chunk(&delivery, &records, 0, 2, None)).await.unwrap();
        let before = newest(&store, path).await;
        // The bytes read after the last chunk are dropped, so the final chunk is empty.
        let nothing = RowChunk { hash: String::new(), ..chunk(&delivery, &records, 2, 2, Some(end)) };
        apply(&store, nothing).await.unwrap();
        let after = newest(&store, path).await;
        assert_eq!((after.state, after.detail.as_str()), (state, "why"));
        assert_eq!((after.reach, &after.hash, &after.receipt), (before.reach, &before.hash, &before.receipt));
        assert!(after.receipt.closes());
        // The delivery resumes where it stopped.
        let again = reopened(&store, &after, FileStat::default()).await;
        assert_eq!(
            (again.reach, &again.hash, again.state),
            (before.reach, &before.hash, DeliveryState::Loading)
        );
        apply(&store, chunk(&again, &records, 2, 3, loaded())).await.unwrap();
        let whole = newest(&store, path).await;
        assert_eq!(
            (whole.state, whole.receipt.records, whole.receipt.closes()),
            (DeliveryState::Loaded, 3, true)
        );
    }
}

pub async fn a_tail_is_a_record_like_any_other<F: Fixture>() {
    for last in [row(9, 9, "tail", 9), Record::Skipped, Record::Refused] {
        let place = F::new().await;
        let store = place.open(shared()).await;
        let records = [row(1, 1, "x", 1), last, row(1, 2, "z", 3)];
        let delivery = take_up(&store, "a", 5).await;
        // The tail and the record before it are in one window, as for small files.
        let window = vec![chunk(&delivery, &records, 0, 1, None), tail(&delivery, &records[..2])];
        apply_all(&store, window).await.unwrap();
        let whole = newest(&store, "a").await;
        assert_eq!((whole.state, whole.reach, &whole.hash), (DeliveryState::Loaded, mark(2), &hash(2)));
        assert_eq!((whole.tail, whole.ends_without_newline()), (Some(mark(1)), true));
        assert!(whole.receipt.closes() && whole.note.is_none() && whole.ahead.is_none(), "{whole:?}");
        assert_eq!(whole.receipt.parts.ends(), [mark(2).offset]);

        // The file grew by a line end and another record.
        let before = tables(&store).await;
        let again = reopened(&store, &whole, FileStat { size: 500, mtime: 7, ctime: 8 }).await;
        assert_eq!((again.tail, again.stamps.of(1)), (whole.tail, whole.stamps.of(1)));
        assert_eq!(tables(&store).await, before, "no row is removed");
        apply(&store, chunk(&again, &records, 2, 3, loaded())).await.unwrap();
        let done = newest(&store, "a").await;
        assert_eq!((done.tail, done.reach, done.receipt.records), (None, mark(3), 3));
        assert_eq!(done.receipt.parts.ends(), [mark(2).offset, mark(3).offset]);
        assert!(done.receipt.closes());
    }
}

pub async fn a_delivery_that_changed_since_it_was_compared_is_not_resumed<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = [row(1, 1, "x", 1), row(1, 2, "y", 2)];
    let delivery = take_up(&store, "a", 5).await;
    let stale = grew(&delivery, FileStat::default());
    apply(&store, chunk(&delivery, &records, 0, 1, None)).await.unwrap();
    let before = everything(&store).await;
    assert!(store.reopen(delivery.id, stale).await.unwrap().is_none());
    assert_eq!(everything(&store).await, before);
    let again = reopened(&store, &newest(&store, "a").await, FileStat::default()).await;
    assert_eq!((again.reach, again.state), (mark(1), DeliveryState::Loading));
}

pub async fn extend_and_amend<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let first = take_up(&store, "a", 4).await;
    let second = take_up(&store, "b", 4).await;
    let reach = first.stamps.reach();
    let range = store.extend(first.id, reach, 50).await.unwrap();
    assert_eq!(range.first, reach);
    assert!(range.records >= 50 && range.base.0 % 2 == 0);
    assert!(range.base >= second.stamps.ranges()[0].end(), "after every stamp that was handed out");
    let extended = newest(&store, "a").await;
    assert_eq!(extended.stamps.of(reach), Some(range.base));
    assert_eq!(extended.stamps.of(0), first.stamps.of(0));
    assert!(take_up(&store, "c", 1).await.stamps.begin().unwrap() >= range.end());

    let noted = FileStat { size: 9, mtime: 9, ctime: 9 };
    store.amend(first.id, Amendment { noted: Some(noted), ..Amendment::default() }).await.unwrap();
    assert_eq!(
        (newest(&store, "a").await.noted, newest(&store, "a").await.state),
        (noted, DeliveryState::Loading)
    );
    let state = Some((DeliveryState::Replaced, "gone".to_owned()));
    store.amend(first.id, Amendment { state, ..Amendment::default() }).await.unwrap();
    let amended = newest(&store, "a").await;
    assert_eq!(
        (amended.state, amended.detail.as_str(), amended.noted),
        (DeliveryState::Replaced, "gone", noted)
    );
    assert_eq!(newest(&store, "b").await.state, DeliveryState::Loading, "other deliveries are unchanged");
}

pub async fn a_backfill_changes_nothing_and_restores_what_was_deleted<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let older = [row(1, 1, "x", 1), row(1, 1, "y", 2), row(1, 2, "z", 3)];
    let newer = [Record::Row(1, 1, Some("n"), None), row(1, 3, "m", 4)];
    let older = (load(&store, "a", &older).await, older.to_vec());
    let newer = (load(&store, "b", &newer).await, newer.to_vec());
    let before = everything(&store).await;
    for _ in 0..2 {
        backfill_all(&store, &[&newer, &older]).await;
        assert_eq!(everything(&store).await, before, "rows that are still there");
    }
    for table in plan().tables {
        place.wipe(&table.name).await;
    }
    assert!(tables(&store).await.iter().all(Vec::is_empty));
    backfill_all(&store, &[&older, &newer]).await;
    assert_eq!(everything(&store).await, before, "rows that were deleted");
}

pub async fn backfill_all(store: &impl Store, deliveries: &[&(Delivery, Vec<Record>)]) {
    for table in 0..plan().tables.len() {
        for (delivery, records) in deliveries {
            backfill(store, table, delivery, records, records.len()).await;
        }
    }
}

/// Backfills the first `to` records of a delivery in two chunks. If `to` covers all records, the second chunk ends the
/// delivery.
pub async fn backfill(store: &impl Store, table: usize, delivery: &Delivery, records: &[Record], to: usize) {
    let half = records.len() / 2;
    let parts = [(0, half.min(to), None), (half, to, loaded())];
    for (from, to, end) in parts {
        if from < to || (end.is_some() && to == records.len()) {
            let end = end.filter(|_| to == records.len());
            let chunk = Arc::new(chunk(delivery, records, from, to, end));
            store.backfill(table, chunk, from == 0).await.unwrap();
        }
    }
}

/// Returns the verdict for a file of three records, one of them skipped, that another program loaded.
fn assumed() -> Verdict {
    let tolerated = ToleratedCounts::parse("blank_rows=1");
    Verdict::Assumed {
        reach: mark(3),
        hash: hash(3),
        tail: None,
        skipped: 1,
        tolerated,
        detail: "assumed".to_owned(),
    }
}

pub async fn files_that_another_program_loaded_are_entered_as_loaded<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let other = load(&store, "other", &[row(1, 1, "x", 1)]).await;
    let before = tables(&store).await;
    drop(store);
    place.wipe("narrow").await;
    let store = place.open(shared()).await;
    let entered = store.take_up(entry("a", assumed())).await.unwrap().delivery;
    assert_eq!((entered.state, entered.reach, &entered.hash), (DeliveryState::Loaded, mark(3), &hash(3)));
    assert!(entered.stamps.begin() >= other.stamps.ranges().last().map(StampRange::end));
    assert_eq!(entered.stamps.reach(), 3, "each record has its own stamp");
    let (known, receipt) = (newest(&store, "a").await, &entered.receipt);
    assert_eq!((&known.receipt, known.stamps.clone()), (receipt, entered.stamps.clone()));
    assert_eq!((receipt.records, receipt.loaded, receipt.skipped, receipt.assumed), (3, 2, 1, 2));
    assert_eq!(receipt.tolerated, ToleratedCounts::parse("blank_rows=1"));
    assert!(receipt.closes() && receipt.parts.ends() == [mark(3).offset]);
    let plan = plan();
    let behind: Vec<_> = plan.tables.iter().filter(|table| entered.is_behind(table)).collect();
    assert_eq!(behind.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["narrow"]);
    assert_eq!(tables(&store).await[..2], before[..2], "no row is written");

    // The file grows, and only its new records are loaded.
    let records = [row(2, 1, "x", 1), row(2, 2, "y", 2), Record::Skipped, row(2, 3, "z", 3)];
    let grown = reopened(&store, &entered, FileStat::default()).await;
    assert_eq!((grown.state, grown.reach), (DeliveryState::Loading, mark(3)));
    store.extend(entered.id, 3, 5).await.unwrap();
    let grown = newest(&store, "a").await;
    apply(&store, chunk(&grown, &records, 3, 4, loaded())).await.unwrap();
    let whole = newest(&store, "a").await;
    assert_eq!((whole.receipt.loaded, whole.receipt.assumed, count(&whole, "kept")), (3, 2, (1, 0)));
    assert!(whole.receipt.closes());
    assert_eq!(rows_of(&store, 0, vec![value(2)]).await.len(), 1, "only the new records");
}

/// The table `narrow` is behind when the new records of a file are loaded into it, and is filled afterwards.
pub async fn a_collision_before_a_backfill_is_counted_once<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    load(&store, "other", &[row(1, 1, "x", 1)]).await;
    drop(store);
    place.wipe("narrow").await;
    let store = place.open(shared()).await;
    let entered = store.take_up(entry("a", assumed())).await.unwrap().delivery;
    reopened(&store, &entered, FileStat::default()).await;
    store.extend(entered.id, 3, 5).await.unwrap();
    let grown = newest(&store, "a").await;
    let records = [
        row(2, 1, "x", 1),
        row(3, 1, "x", 1),
        Record::Skipped,
        row(9, 1, "x", 1),
        row(9, 2, "y", 2),
        row(9, 3, "z", 3),
    ];
    apply(&store, chunk(&grown, &records, 3, 6, loaded())).await.unwrap();
    assert_eq!(count(&newest(&store, "a").await, "narrow"), (3, 2));
    backfill(&store, 2, &newest(&store, "a").await, &records, records.len()).await;
    let whole = newest(&store, "a").await;
    assert_eq!((count(&whole, "narrow"), whole.receipt.closes()), ((5, 2), true));
}

pub async fn no_file_is_assumed_loaded_if_all_tables_are_empty<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let refused = store.take_up(entry("a", assumed())).await.unwrap_err();
    assert!(refused.is_configuration() && refused.to_string().contains("tables are empty"), "{refused}");
    assert!(deliveries(&store, DeliveryFilter::All).await.is_empty());
}
