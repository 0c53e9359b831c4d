//! Cases of reading: rows, listings of deliveries, quarantined records.

use super::Fixture;
use super::chunks::*;
use crate::domain::ledger::{Amendment, Content, Continuation, Cursor, DeliveryFilter, PAGE, Verdict};
use crate::domain::{Checkpoint, Delivery, DeliveryId, DeliveryState, Value, quarantine};
use crate::store::{Ledger, RowReader, SavedResults, Store};

pub async fn rows_come_by_key_in_order<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records: Vec<Record> =
        [(2, 5), (1, 3), (1, -7), (2, 1), (1, 10), (1, 0)].iter().map(|(p, q)| row(*p, *q, "x", 1)).collect();
    load(&store, "a", &records).await;
    let keys = async |table, key: Vec<Value<'static>>| -> Vec<(Value<'static>, Value<'static>)> {
        let rows = rows_of(&store, table, key).await;
        rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
    };
    let of = |p: i64, qs: &[i64]| qs.iter().map(|q| (value(p), value(*q))).collect::<Vec<_>>();
    assert_eq!(keys(0, vec![value(1)]).await, of(1, &[-7, 0, 3, 10]));
    assert_eq!(keys(1, vec![value(1)]).await, of(1, &[10, 3, 0, -7]), "descending");
    assert_eq!(keys(0, vec![value(2), value(5)]).await, of(2, &[5]));
    assert_eq!(keys(0, vec![value(3)]).await, of(3, &[]));
    assert_eq!(keys(0, vec![value(1), value(5)]).await, of(1, &[]));
    assert_eq!(rows_of(&store, 0, vec![value(1), value(3)]).await[0].len(), 4, "all columns, key first");
    assert_eq!(
        [store.count(0).await.unwrap(), store.count(1).await.unwrap(), store.count(2).await.unwrap()],
        [6, 6, 2]
    );
}

pub async fn quarantined_is_filtered<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records = vec![Record::Refused; 5];
    let second = load(&store, "b", &records).await;
    load(&store, "a", &records[..2]).await;
    let list = async |filter| -> Vec<(String, u64)> {
        let entries = quarantined(&store, filter).await;
        entries
            .into_iter()
            .map(|(delivery, entry)| (delivery.file.to_string(), entry.record.record))
            .collect()
    };
    let of = |entries: &[(&str, u64)]| -> Vec<(String, u64)> {
        entries.iter().map(|(path, record)| ((*path).to_owned(), *record)).collect()
    };
    let all = || quarantine::EntryFilter { raw: true, ..quarantine::EntryFilter::default() };
    let every = of(&[("b", 0), ("b", 1), ("b", 2), ("b", 3), ("b", 4), ("a", 0), ("a", 1)]);
    assert_eq!(list(all()).await, every, "in the order of delivery and record");
    let fields = quarantine::EntryFilter { reason: Some("fields".into()), ..all() };
    assert_eq!(list(fields.clone()).await, of(&[("b", 1), ("b", 4), ("a", 1)]));
    let column = |name: &str| quarantine::EntryFilter { column: Some(name.into()), ..all() };
    assert_eq!(list(column("p")).await, of(&[("b", 2)]));
    let line = quarantine::EntryFilter { line: Some(refused(1).line), ..all() };
    assert_eq!(list(line).await, of(&[("b", 1), ("a", 1)]));
    assert_eq!(list(column("none")).await, of(&[]));
    let (delivery, entry) = quarantined(&store, column("p")).await.remove(0);
    assert_eq!((entry.record, delivery.id), (refused(2), second.id));
}

/// If there is more than one page of deliveries, each delivery is listed exactly once and in order, with every filter.
pub async fn deliveries_come_in_pages<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let mut entered = Vec::new();
    for number in 0..PAGE + 3 {
        let path = if number % 2 == 0 { "a" } else { "b" };
        entered.push(
            store.take_up(entry(path, Verdict::Failed { detail: "why".into() })).await.unwrap().delivery,
        );
    }
    let refused = load(&store, "c", &[Record::Refused]).await;
    let ids = |all: &[Delivery]| all.iter().map(|delivery| delivery.id).collect::<Vec<_>>();
    let of = |path: &str| {
        let all = entered.iter().filter(|delivery| delivery.file.path() == path);
        all.map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    let mut all = ids(&entered);
    all.push(refused.id);
    assert_eq!(ids(&deliveries(&store, DeliveryFilter::All).await), all);
    assert_eq!(ids(&deliveries(&store, DeliveryFilter::Path("a".into())).await), of("a"));
    assert_eq!(
        ids(&deliveries(&store, DeliveryFilter::Newest("b".into())).await),
        of("b")[of("b").len() - 1..]
    );
    assert_eq!(ids(&deliveries(&store, DeliveryFilter::Quarantined).await), [refused.id]);
    let mut each = Vec::new();
    store.each(&mut |delivery| each.push(delivery.id)).await.unwrap();
    each.sort_unstable();
    assert_eq!(each, all);
    // A cursor may consist of only an id, as a client of an API would keep it.
    let behind = Cursor { after: Some(all[PAGE]), ids: None };
    let page = store.deliveries(DeliveryFilter::All, behind).await.unwrap();
    assert_eq!((ids(&page.found), page.next.is_some()), (all[PAGE + 1..].to_vec(), false));
    let whole = store.delivery(refused.id).await.unwrap().unwrap();
    assert_eq!(format!("{whole:?}"), format!("{refused:?}"), "a receipt from a page is a receipt");
    assert!(store.delivery(DeliveryId(1)).await.unwrap().is_none_or(|one| one.id == all[0]));
}

/// Stores have an index for each of these lookups, so a new file is not compared with every delivery that begins like
/// it.
pub async fn deliveries_are_found_by_their_content<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let head = || "head of a".to_owned();
    let unfinished = async || {
        let found = deliveries(&store, DeliveryFilter::Unfinished(head())).await;
        found.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    let same = async |content: &Content| {
        let found = deliveries(&store, DeliveryFilter::Same(content.clone())).await;
        found.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    assert!(unfinished().await.is_empty());
    assert!(!store.has_content(head(), None).await.unwrap());
    let begun = take_up(&store, "a", 100).await;
    let other = take_up(&store, "b", 100).await;
    assert_eq!(unfinished().await, [begun.id]);
    assert!(!store.has_content(head(), Some(100)).await.unwrap());
    apply(&store, chunk(&begun, &[row(1, 1, "x", 1)], 0, 1, loaded())).await.unwrap();
    assert!(unfinished().await.is_empty());
    let content = Content::of(&newest(&store, "a").await).unwrap();
    assert_eq!(same(&content).await, [begun.id]);
    let loaded_from = deliveries(&store, DeliveryFilter::Loaded(head())).await;
    assert_eq!(loaded_from.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [begun.id]);
    assert!(store.has_content(head(), None).await.unwrap());
    assert!(store.has_content(head(), Some(content.len)).await.unwrap());
    assert!(!store.has_content(head(), Some(content.len + 1)).await.unwrap());
    assert!(same(&Content { hash: "another".into(), ..content.clone() }).await.is_empty());
    let head_again = Checkpoint { offset: 3, hash: head() };
    let how = Continuation { head: head_again, ..grew(&newest(&store, "a").await, other.noted) };
    let begun = store.reopen(begun.id, how).await.unwrap().unwrap();
    assert_eq!((same(&content).await, unfinished().await), (Vec::new(), vec![begun.id]));
    let state = Some((DeliveryState::Incomplete, String::new()));
    store.amend(begun.id, Amendment { state, ..Amendment::default() }).await.unwrap();
    assert_eq!(unfinished().await, [begun.id]);
    take_up(&store, "a", 100).await;
    assert_eq!(unfinished().await.len(), 1, "a replaced delivery is not unfinished");
    drop(store);
    let store = place.open(shared()).await;
    let found = deliveries(&store, DeliveryFilter::Unfinished(head())).await;
    assert_eq!(found.len(), 1, "a new process knows the unfinished deliveries");
}

pub async fn known_tells_the_newest_generation<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    assert!(store.known(attempts()).await.unwrap().is_empty());
    let original = load(&store, "a", &[row(1, 1, "x", 1)]).await;
    let same = Verdict::Duplicate {
        of: original.id,
        same_as: "a".into(),
        reach: original.reach,
        hash: original.hash.clone(),
        is_undone: false,
    };
    let copy = store.take_up(entry("b", same)).await.unwrap().delivery;
    assert_eq!(
        (copy.state, copy.same_as, copy.receipt.records),
        (DeliveryState::Duplicate, Some(original.id), 0)
    );
    assert!(copy.stamps.ranges().is_empty() && copy.receipt.closes());
    let failed = store.take_up(entry("c", Verdict::Failed { detail: "why".into() })).await.unwrap().delivery;
    assert_eq!((failed.state, failed.detail.as_str()), (DeliveryState::Failed, "why"));
    take_up(&store, "a", 1).await;
    let mut known = store.known(attempts()).await.unwrap();
    known.sort_by(|a, b| a.file.cmp(&b.file));
    let seen: Vec<_> = known.iter().map(|one| (one.file.path(), one.state, one.noted.size)).collect();
    assert_eq!(
        seen,
        [
            ("a", DeliveryState::Loading, 100),
            ("b", DeliveryState::Duplicate, 100),
            ("c", DeliveryState::Failed, 100)
        ]
    );
}

pub async fn the_last_result_of_a_job_is_kept<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    assert_eq!(store.saved_result("verify").await.unwrap(), None);
    for result in ["first", "{\"second\": \"\u{e4}\"}"] {
        store.save_result("verify", result.to_owned()).await.unwrap();
        assert_eq!(store.saved_result("verify").await.unwrap().as_deref(), Some(result));
    }
    store.close().await;
    drop(store);
    let store = place.open(shared()).await;
    assert_eq!(store.saved_result("verify").await.unwrap().as_deref(), Some("{\"second\": \"\u{e4}\"}"));
    assert_eq!(store.saved_result("other").await.unwrap(), None);
}
