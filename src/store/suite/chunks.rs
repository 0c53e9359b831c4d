//! Builds a plan, deliveries and chunks for the suite, and reads the content of a store.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::domain::ledger::{Applied, Continuation, DeliveryFilter, NewDelivery, Verdict};
use crate::domain::parse::parse;
use crate::domain::value::Cell;
use crate::domain::{
    Checkpoint, Column, Delivery, DeliveryContext, Empty, End, Feeds, FileStat, Fingerprint, Header, Mapping,
    Order, Plan, Position, Quarantined, Reason, RowChunk, Rows, Span, Table, TableRow, ToleratedCounts, Type,
    Value, quarantine,
};
use crate::store::listing::{Deliveries, Entries, TableRows};
use crate::store::{Store, StoreError, listing};

/// Returns the header of the records in [`chunk`].
pub fn header() -> Header {
    Header(["p", "q", "a", "b"].map(String::from).to_vec())
}

/// Returns a plan of three tables. `kept` and `cleared` have the key (p, q), in opposite order and with different rules
/// for empty columns. `narrow` has the key p.
pub fn plan() -> Plan {
    let columns = [("p", Type::Int), ("q", Type::Int), ("a", Type::Text), ("b", Type::Int)];
    let table = |name: &str, clustering_key, empty| Table {
        partition_key: vec![0],
        clustering_key,
        columns: vec![2, 3],
        empty,
        ..Table::empty(name)
    };
    let fingerprint = Fingerprint::of("suite");
    Plan {
        columns: columns.map(|(name, kind)| Column::of_field(name, kind)).into(),
        tables: vec![
            table("kept", vec![(1, Order::Ascending)], Empty::Keep),
            table("cleared", vec![(1, Order::Descending)], Empty::Clear),
            table("narrow", Vec::new(), Empty::Keep),
        ],
        attempt: fingerprint.clone(),
        rules: fingerprint.clone(),
        fingerprint,
        ..Plan::empty()
    }
}

pub fn shared() -> Arc<Plan> {
    Arc::new(plan())
}

/// Returns the attempt of the only feed of these plans.
pub fn attempts() -> Arc<Feeds<Fingerprint>> {
    let Plan { feed, attempt, .. } = plan();
    Arc::new(Feeds::one(feed, attempt))
}

pub async fn reopened(store: &impl Store, delivery: &Delivery, noted: FileStat) -> Delivery {
    store.reopen(delivery.id, grew(delivery, noted)).await.unwrap().unwrap()
}

pub fn grew(delivery: &Delivery, noted: FileStat) -> Continuation {
    let head = Checkpoint { offset: 3, hash: "head".to_owned() };
    Continuation {
        noted,
        head,
        detail: "grew".to_owned(),
        rules: plan().rules,
        compared: (delivery.reach, delivery.ahead.clone()),
    }
}

/// A record, and what becomes of it.
#[derive(Clone, Debug)]
pub enum Record {
    Row(i64, i64, Option<&'static str>, Option<i64>),
    Skipped,
    Refused,
    /// The record is not in the chunk.
    Left,
}

pub const BYTES: u64 = 10;

pub fn mark(record: usize) -> Position {
    let record = record as u64;
    // The header is before the first record.
    let offset = if record == 0 { 0 } else { 5 + record * BYTES };
    Position { offset, record, line: if record == 0 { 0 } else { record + 1 } }
}

pub fn hash(record: usize) -> String {
    format!("hash up to {record}")
}

pub fn entry(path: &str, verdict: Verdict) -> NewDelivery {
    let noted = FileStat { size: 100, mtime: 1, ctime: 2 };
    NewDelivery {
        replacement: None,
        plan: shared(),
        file: path.into(),
        head: Checkpoint { offset: 3, hash: format!("head of {path}") },
        noted,
        strikes: 0,
        verdict,
    }
}

pub async fn take_up(store: &impl Store, path: &str, records: u64) -> Delivery {
    store.take_up(entry(path, Verdict::Load { records })).await.unwrap().delivery
}

pub fn refused(record: usize) -> Quarantined {
    let reasons = [(Reason::Value, Some("b")), (Reason::Fields, None), (Reason::EmptyKey, Some("p"))];
    let (reason, column) = reasons[record % reasons.len()];
    Quarantined {
        record: record as u64,
        line: record as u64 + 2,
        offset: mark(record).offset,
        len: 3,
        column: column.map(str::to_owned),
        reason,
        detail: format!("record {record}"),
        raw: vec![0, 0xff, b'"'],
    }
}

pub fn cells(rows: &mut Rows, values: &[(Type, Option<String>)]) -> Vec<Cell> {
    let of = |rows: &mut Rows, (kind, text): &(Type, Option<String>)| match text {
        None => Cell::Empty,
        Some(text) => parse(*kind, text.as_bytes(), rows.arena()).unwrap(),
    };
    values.iter().map(|value| of(rows, value)).collect()
}

/// Returns a chunk with the records `from..to` of a delivery.
pub fn chunk(delivery: &Delivery, records: &[Record], from: usize, to: usize, end: Option<End>) -> RowChunk {
    let mut rows = Rows::new(4, to - from);
    let (mut skipped, mut quarantined) = (0, Vec::new());
    for (number, record) in records.iter().enumerate().take(to).skip(from) {
        match record {
            Record::Row(p, q, a, b) => {
                let int = |n: &i64| (Type::Int, Some(n.to_string()));
                let values = [
                    int(p),
                    int(q),
                    (Type::Text, a.map(str::to_owned)),
                    (Type::Int, b.map(|b| b.to_string())),
                ];
                let mut cells = cells(&mut rows, &values);
                rows.push(delivery.stamps.of(number as u64).unwrap(), &mut cells);
            }
            Record::Skipped => skipped += 1,
            Record::Refused => quarantined.push(refused(number)),
            Record::Left => {}
        }
    }
    let field_of = vec![Some(0), Some(1), Some(2), Some(3)];
    let named = (header(), Mapping { fields: 4, field_of, ignored: Vec::new() });
    let arrived = std::time::SystemTime::UNIX_EPOCH;
    let source = DeliveryContext::new(shared(), delivery.id, delivery.file.clone(), named, None, arrived);
    let span = Span { from: mark(from), to: mark(to) };
    RowChunk {
        source: Arc::new(source),
        stamps: Arc::new(delivery.stamps.clone()),
        span,
        rows,
        quarantined,
        skipped,
        tolerated: ToleratedCounts::default(),
        hash: hash(to),
        bytes: Vec::new(),
        frames: Vec::new(),
        is_tail: false,
        end,
    }
}

pub fn loaded() -> Option<End> {
    Some(End::Loaded)
}

/// Returns a chunk with the last record, which has no line end.
pub fn tail(delivery: &Delivery, records: &[Record]) -> RowChunk {
    RowChunk { is_tail: true, ..chunk(delivery, records, records.len() - 1, records.len(), loaded()) }
}

pub async fn apply(store: &impl Store, chunk: RowChunk) -> Result<Vec<Applied>, StoreError> {
    apply_all(store, vec![chunk]).await
}

pub async fn apply_all(store: &impl Store, chunks: Vec<RowChunk>) -> Result<Vec<Applied>, StoreError> {
    let chunks = Arc::new(chunks);
    let sent = store.send(Arc::clone(&chunks)).await?;
    store.apply(chunks, &sent).await
}

pub async fn load(store: &impl Store, path: &str, records: &[Record]) -> Delivery {
    let delivery = take_up(store, path, records.len().max(100) as u64).await;
    apply(store, chunk(&delivery, records, 0, records.len(), loaded())).await.unwrap();
    newest(store, path).await
}

/// Loads a file by a plan with other tables.
pub async fn load_by(store: &impl Store, plan: &Arc<Plan>, path: &str, records: &[Record]) -> Delivery {
    let verdict = Verdict::Load { records: records.len().max(100) as u64 };
    let new = NewDelivery { plan: Arc::clone(plan), ..entry(path, verdict) };
    let delivery = store.take_up(new).await.unwrap().delivery;
    let chunk = by(plan, chunk(&delivery, records, 0, records.len(), loaded()));
    apply(store, chunk).await.unwrap();
    newest(store, path).await
}

/// Returns the chunk with another plan, as if that plan had produced it.
pub fn by(plan: &Arc<Plan>, mut chunk: RowChunk) -> RowChunk {
    Arc::get_mut(&mut chunk.source).unwrap().plan = Arc::clone(plan);
    chunk
}

pub async fn newest(store: &impl Store, path: &str) -> Delivery {
    listing::newest(store, &path.into()).await.unwrap().unwrap()
}

/// Returns the deliveries that match, from all pages.
pub async fn deliveries(store: &impl Store, filter: DeliveryFilter) -> Vec<Delivery> {
    Deliveries::new(store, filter).all().await.unwrap()
}

/// Returns the quarantined records that match, with their deliveries, from all pages.
pub async fn quarantined(
    store: &impl Store,
    filter: quarantine::EntryFilter,
) -> Vec<(Delivery, quarantine::QuarantineEntry)> {
    let mut all = Vec::new();
    for delivery in deliveries(store, DeliveryFilter::Quarantined).await {
        let mut entries = Entries::new(store, delivery.id, filter.clone());
        while let Some(page) = entries.page().await.unwrap() {
            all.extend(page.into_iter().map(|entry| (delivery.clone(), entry)));
        }
    }
    all
}

/// Returns the rows with this key, from all pages.
pub async fn rows_of(store: &impl Store, table: usize, key: Vec<Value<'static>>) -> Vec<TableRow> {
    let (mut listing, mut all) = (TableRows::new(store, table, key), Vec::new());
    while let Some(page) = listing.page().await.unwrap() {
        all.extend(page);
    }
    all
}

/// Compares rows by their keys. Cassandra lists partitions in another order.
pub fn in_key_order(table: &Table, a: &[Value<'static>], b: &[Value<'static>]) -> Ordering {
    let partition = table.partition_key.len();
    for at in 0..table.key_len() {
        let (Some(x), Some(y)) = (a.get(at), b.get(at)) else { break };
        let order = x.compare(y);
        let descends = at.checked_sub(partition).and_then(|at| table.clustering_key.get(at));
        let order = match descends {
            Some((_, Order::Descending)) => order.reverse(),
            _ => order,
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

pub async fn tables(store: &impl Store) -> Vec<Vec<Vec<Value<'static>>>> {
    let mut tables = Vec::new();
    for table in 0..plan().tables.len() {
        let mut rows = rows_of(store, table, Vec::new()).await;
        assert_eq!(store.count(table).await.unwrap(), rows.len() as u64);
        rows.sort_by(|a, b| in_key_order(&plan().tables[table], a, b));
        tables.push(rows);
    }
    tables
}

/// Returns tables, deliveries and quarantine as text, without the times of changes.
pub async fn everything(store: &impl Store) -> String {
    let deliveries = deliveries(store, DeliveryFilter::All).await;
    let deliveries = deliveries.into_iter().map(|delivery| Delivery { changed: 0, ..delivery });
    let deliveries: Vec<_> = deliveries.collect();
    let quarantined = quarantined(store, quarantine::EntryFilter::default()).await;
    let quarantined: Vec<_> = quarantined.iter().map(|(delivery, entry)| (delivery.id, entry)).collect();
    format!("{:#?}\n{deliveries:#?}\n{quarantined:#?}", tables(store).await)
}

pub fn row(p: i64, q: i64, a: &'static str, b: i64) -> Record {
    Record::Row(p, q, Some(a), Some(b))
}

pub fn value(n: i64) -> Value<'static> {
    Value::Whole(n)
}

pub fn count(delivery: &Delivery, table: &str) -> (u64, u64) {
    let counts = delivery.receipt.tables.iter().find(|count| count.table == table);
    counts.map_or((0, 0), |count| (count.rows, count.collisions))
}
