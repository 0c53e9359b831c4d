//! Cases of reading rows in pages.

use super::Fixture;
use super::chunks::*;
use crate::domain::paging::PAGE_BYTES;
use crate::domain::table_row::{PAGE, row_bytes};
use crate::domain::{RowCursor, Table, TableRow, Value};
use crate::store::listing::TableRows;
use crate::store::{RowReader, Store, StoreError};

/// Loads rows of one partition, with these values of `q`.
async fn load_partition(store: &impl Store, p: i64, qs: impl Iterator<Item = i64>) {
    let records: Vec<Record> = qs.map(|q| row(p, q, "x", q)).collect();
    load(store, &format!("{p} {}", records.len()), &records).await;
}

fn qs(rows: &[TableRow]) -> Vec<Value<'static>> {
    rows.iter().map(|row| row[1].clone()).collect()
}

fn values(qs: impl Iterator<Item = i64>) -> Vec<Value<'static>> {
    qs.map(value).collect()
}

/// Returns the pages of a listing. Each cursor goes through its text form, as a client of an API would keep it.
async fn pages(store: &impl Store, table: usize, key: &[Value<'static>]) -> Vec<Vec<TableRow>> {
    let (mut pages, mut from) = (Vec::new(), None);
    loop {
        let page = store.rows(table, key.to_vec(), from).await.unwrap();
        pages.push(page.found);
        match page.next {
            Some(next) => from = Some(next.to_string().parse().unwrap()),
            None => return pages,
        }
    }
}

pub async fn rows_come_in_pages<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let (page, many) = (i64::try_from(PAGE).unwrap(), i64::try_from(PAGE * 2 + 1).unwrap());
    load_partition(&store, 1, 0..many).await;
    load_partition(&store, 2, 0..page).await;
    let sizes = |pages: &[Vec<TableRow>]| pages.iter().map(Vec::len).collect::<Vec<_>>();

    let ascending = pages(&store, 0, &[value(1)]).await;
    assert_eq!(sizes(&ascending), [PAGE, PAGE, 1]);
    assert_eq!(qs(&ascending.concat()), values(0..many));
    let descending = pages(&store, 1, &[value(1)]).await;
    assert_eq!(qs(&descending.concat()), values((0..many).rev()));

    let border = pages(&store, 0, &[value(2)]).await;
    assert_eq!(qs(&border.concat()), values(0..page));
    let end = (sizes(&border[1..]), rows_of(&store, 0, vec![value(2)]).await.len());
    assert!(matches!(end, (rest, PAGE) if rest.iter().all(|size| *size == 0)), "{:?}", sizes(&border));

    assert_eq!(sizes(&pages(&store, 0, &[value(3)]).await), [0], "no row");
    assert_eq!(sizes(&pages(&store, 1, &[value(1), value(7)]).await), [1], "one row");
    for table in [0, 1] {
        let all = pages(&store, table, &[]).await;
        assert!(sizes(&all).iter().all(|size| *size <= PAGE), "{:?}", sizes(&all));
        let mut all = all.concat();
        all.sort_by(|a, b| in_key_order(&plan().tables[table], a, b));
        assert_eq!(all, tables(&store).await[table], "each row once");
        assert_eq!(all.len(), PAGE * 3 + 1);
    }
    // The key p has two rows in this table.
    assert_eq!(sizes(&pages(&store, 2, &[]).await).iter().sum::<usize>(), 2);
}

pub async fn a_cursor_continues_after_rows_were_added<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let page = i64::try_from(PAGE).unwrap();
    // Every second number, so that rows fit in between.
    load_partition(&store, 1, (0..page + 10).map(|n| n * 2)).await;
    let first = store.rows(0, vec![value(1)], None).await.unwrap();
    assert_eq!(qs(&first.found), values((0..page).map(|n| n * 2)));
    load_partition(&store, 1, [1, page * 2 + 1, page * 4].into_iter()).await;
    drop(store);
    let store = place.open(shared()).await;
    let rest = store.rows(0, vec![value(1)], first.next).await.unwrap();
    let expected = [page * 2, page * 2 + 1].into_iter().chain((page + 1..page + 10).map(|n| n * 2));
    assert_eq!(qs(&rest.found), values(expected.chain([page * 4])));
}

/// A page of long rows has few of them. A store may exceed the limit by the rows of one request.
pub async fn a_page_is_bounded_in_bytes<F: Fixture>() {
    const ROWS: usize = 150;
    let place = F::new().await;
    let store = place.open(shared()).await;
    let text: &'static str = "x".repeat(20_000).leak();
    let records: Vec<Record> = (0..ROWS).map(|q| row(1, i64::try_from(q).unwrap(), text, 1)).collect();
    load(&store, "a", &records).await;
    let (mut listing, mut found) = (TableRows::new(&store, 0, vec![value(1)]), 0);
    while let Some(page) = listing.page().await.unwrap() {
        found += page.len();
        let bytes: u64 = page.iter().map(|row| row_bytes(row)).sum();
        assert!(bytes < PAGE_BYTES + PAGE_BYTES / 2, "{bytes} bytes in {} rows", page.len());
    }
    assert_eq!(found, ROWS);
}

pub async fn a_cursor_of_another_listing_is_refused<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    load_partition(&store, 1, 0..i64::try_from(PAGE).unwrap() + 1).await;
    let next = store.rows(0, vec![value(1)], None).await.unwrap().next;
    let refused = |page: Result<_, StoreError>| matches!(page, Err(StoreError::Cursor(_)));
    let redeclared = Table { fingerprint: plan().tables[1].fingerprint.clone(), ..plan().tables[0].clone() };
    assert_ne!(redeclared.fingerprint, plan().tables[0].fingerprint);
    assert!(refused(store.rows(1, vec![value(1)], next).await), "a cursor of another table");
    let broken = RowCursor::new(&plan().tables[0], b"no position".to_vec());
    assert!(refused(store.rows(0, vec![value(1)], Some(broken)).await), "a broken cursor");
}
