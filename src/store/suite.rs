//! What every store must do, whatever it is made of. A store passes by
//! `store_suite!(its fixture)` in a module of tests of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::{Store, StoreError};
use crate::domain::parse::parse;
use crate::domain::value::Cell;
use crate::domain::{
    Column, Delivery, DeliveryId, Empty, End, Fingerprint, Mapping, Mark, Noted, Order, Origin, Outcome,
    Plan, Quarantined, Reason, RowChunk, Rows, Source, Span, Stamp, StampRange, State, Table, Type, Value,
};
use crate::ledger::{Amendment, Applied, Entry, Filter, Verdict};
use crate::quarantine;

/// A place for one store.
pub trait Fixture: Sized {
    type Store: Store;

    /// Collisions with records of other deliveries are counted too, and exactly.
    const COUNTS_ACROSS_DELIVERIES: bool;

    /// What was provisional can be taken back in whatever order deliveries are written. Otherwise only
    /// when no older record comes behind.
    const TAKES_BACK_IN_ANY_ORDER: bool;

    /// How many times fewer cases of a property are tried.
    const SLOWER: u32;

    /// Whether there is such a store here; says so when there is none.
    fn available() -> bool {
        true
    }

    fn new() -> impl Future<Output = Self>;

    /// Opens the store in this place, which is not open now.
    fn open(&self, plan: Arc<Plan>) -> impl Future<Output = Self::Store>;

    /// Deletes all rows of a table behind the back of the store.
    fn wipe(&self, table: &str) -> impl Future<Output = ()>;
}

macro_rules! store_suite {
    ($fixture:ty) => {
        $crate::store::suite::store_suite!(@ $fixture:
            take_up_gives_generations_and_stamps_in_order,
            an_unfinished_generation_is_replaced_by_the_next,
            apply_moves_reach_and_counts,
            apply_refuses_what_does_not_continue_and_changes_nothing,
            a_provisional_record_is_taken_back,
            extend_and_amend,
            a_replay_changes_nothing_and_restores_what_was_deleted,
            rows_come_by_key_in_order,
            quarantined_is_filtered,
            known_tells_the_newest_generation,
            every_type_is_read_as_it_was_written,
        );

        #[test]
        fn any_interleaving_ends_as_the_order_of_the_stamps() {
            if !<$fixture as $crate::store::suite::Fixture>::available() {
                return;
            }
            $crate::store::suite::any_interleaving_ends_as_the_order_of_the_stamps::<$fixture>();
        }

        #[test]
        fn tables_added_later_end_as_if_they_had_been_there() {
            if !<$fixture as $crate::store::suite::Fixture>::available() {
                return;
            }
            $crate::store::suite::tables_added_later_end_as_if_they_had_been_there::<$fixture>();
        }

        #[test]
        fn what_was_provisional_leaves_no_trace() {
            if !<$fixture as $crate::store::suite::Fixture>::available() {
                return;
            }
            $crate::store::suite::what_was_provisional_leaves_no_trace::<$fixture>();
        }
    };
    (@ $fixture:ty: $($case:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            if <$fixture as $crate::store::suite::Fixture>::available() {
                $crate::store::suite::$case::<$fixture>().await;
            }
        })+
    };
}
pub(crate) use store_suite;

// The declaration.

/// One key and two columns, by three rules.
fn plan() -> Plan {
    let column = |name: &str, kind| Column {
        name: name.into(),
        exact: false,
        kind,
        origin: Origin::Field(name.into()),
    };
    let columns =
        vec![column("p", Type::Int), column("q", Type::Int), column("a", Type::Text), column("b", Type::Int)];
    let table = |name: &str, clustering_key, empty| Table {
        name: name.into(),
        exact: false,
        answers: String::new(),
        partition_key: vec![0],
        clustering_key,
        columns: vec![2, 3],
        statics: Vec::new(),
        empty,
        options: Vec::new(),
        fingerprint: Fingerprint::of(name),
    };
    Plan {
        columns,
        skip_when_empty: Vec::new(),
        tables: vec![
            table("kept", vec![(1, Order::Ascending)], Empty::Keep),
            table("cleared", vec![(1, Order::Descending)], Empty::Clear),
            table("narrow", Vec::new(), Empty::Keep),
        ],
        fingerprint: Fingerprint::of("suite"),
        attempt: Fingerprint::of("suite"),
    }
}

fn shared() -> Arc<Plan> {
    Arc::new(plan())
}

// Deliveries and chunks.

/// What a record is and becomes.
#[derive(Clone, Debug)]
enum Record {
    Row(i64, i64, Option<&'static str>, Option<i64>),
    Skipped,
    Refused,
}

const BYTES: u64 = 10;

fn mark(record: usize) -> Mark {
    let record = record as u64;
    // The header is before the first record.
    let offset = if record == 0 { 0 } else { 5 + record * BYTES };
    Mark { offset, record, line: if record == 0 { 0 } else { record + 1 } }
}

fn hash(record: usize) -> String {
    format!("hash up to {record}")
}

fn entry(path: &str, verdict: Verdict) -> Entry {
    let noted = Noted { size: 100, mtime: 1, ctime: 2 };
    Entry {
        path: path.into(),
        head: format!("head of {path}"),
        noted,
        fingerprint: Fingerprint::of("suite"),
        attempt: Fingerprint::of("suite"),
        verdict,
    }
}

async fn take_up(store: &impl Store, path: &str, records: u64) -> Delivery {
    store.take_up(entry(path, Verdict::Load { records })).await.unwrap()
}

fn refused(record: usize) -> Quarantined {
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

fn cells(rows: &mut Rows, values: &[(Type, Option<String>)]) -> Vec<Cell> {
    let of = |rows: &mut Rows, (kind, text): &(Type, Option<String>)| match text {
        None => Cell::Empty,
        Some(text) => parse(*kind, text.as_bytes(), rows.arena()).unwrap(),
    };
    values.iter().map(|value| of(rows, value)).collect()
}

/// The records `[from, to)` of a delivery.
fn chunk(delivery: &Delivery, records: &[Record], from: usize, to: usize, end: Option<End>) -> RowChunk {
    let mut rows = Rows::new(4, to - from);
    let (mut skipped, mut quarantined, mut last) = (0, Vec::new(), None);
    for (number, record) in records.iter().enumerate().take(to).skip(from) {
        last = Some(match record {
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
                Outcome::Loaded
            }
            Record::Skipped => {
                skipped += 1;
                Outcome::Skipped
            }
            Record::Refused => {
                quarantined.push(refused(number));
                Outcome::Quarantined
            }
        });
    }
    let source = Source {
        id: delivery.id,
        path: delivery.path.clone(),
        mapping: Mapping { fields: 4, field_of: vec![Some(0), Some(1), Some(2), Some(3)] },
        file_date: None,
        arrived: std::time::SystemTime::UNIX_EPOCH,
        records_before: 0,
        quarantined_before: 0,
        halt: tokio_util::sync::CancellationToken::new(),
    };
    let span = Span { from: mark(from), to: mark(to) };
    RowChunk {
        source: Arc::new(source),
        stamps: Arc::new(delivery.stamps.clone()),
        span,
        rows,
        quarantined,
        skipped,
        hash: hash(to),
        bytes: Vec::new(),
        frames: Vec::new(),
        last,
        end,
    }
}

fn loaded() -> Option<End> {
    Some(End::Loaded { provisional: None })
}

/// The last of `records` has no line end.
fn provisional(records: usize) -> Option<End> {
    Some(End::Loaded { provisional: Some((mark(records - 1), hash(records - 1))) })
}

async fn apply(store: &impl Store, chunk: RowChunk) -> Result<Vec<Applied>, StoreError> {
    store.apply(Arc::new(vec![chunk])).await
}

async fn load(store: &impl Store, path: &str, records: &[Record]) -> Delivery {
    let delivery = take_up(store, path, 100).await;
    apply(store, chunk(&delivery, records, 0, records.len(), loaded())).await.unwrap();
    newest(store, path).await
}

async fn newest(store: &impl Store, path: &str) -> Delivery {
    store.deliveries(Filter::Path(path.into())).await.unwrap().pop().unwrap()
}

async fn tables(store: &impl Store) -> Vec<Vec<Vec<Value<'static>>>> {
    let mut tables = Vec::new();
    for table in 0..plan().tables.len() {
        let rows = store.rows(table, Vec::new()).await.unwrap();
        assert_eq!(store.count(table).await.unwrap(), rows.len() as u64);
        tables.push(rows);
    }
    tables
}

/// Tables, accounts and quarantine, without times.
async fn everything(store: &impl Store) -> String {
    let deliveries = store.deliveries(Filter::All).await.unwrap();
    let deliveries = deliveries.into_iter().map(|delivery| Delivery { changed: 0, ..delivery });
    let deliveries: Vec<_> = deliveries.collect();
    let quarantined = store.quarantined(quarantine::Filter::default()).await.unwrap();
    format!("{:#?}\n{deliveries:#?}\n{quarantined:#?}", tables(store).await)
}

fn row(p: i64, q: i64, a: &'static str, b: i64) -> Record {
    Record::Row(p, q, Some(a), Some(b))
}

fn value(n: i64) -> Value<'static> {
    Value::Whole(n)
}

fn count(delivery: &Delivery, table: &str) -> (u64, u64) {
    let counts = delivery.receipt.tables.iter().find(|count| count.table == table);
    counts.map_or((0, 0), |count| (count.rows, count.collisions))
}

// The cases.

pub async fn take_up_gives_generations_and_stamps_in_order<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let mut end = Stamp(0);
    let mut ids = BTreeSet::new();
    for (path, generation, records) in
        [("a", 1, 3), ("b", 1, 1000), ("a", 2, 1), ("a", 3, 70_000), ("c", 1, 1)]
    {
        let delivery = take_up(&store, path, records).await;
        assert_eq!((delivery.path.as_str(), delivery.generation), (path, generation));
        assert_eq!((delivery.state, delivery.reach), (State::Loading, Mark::default()));
        assert!(ids.insert(delivery.id), "an id is given once");
        let [StampRange { first: 0, base, records: given }] = delivery.stamps.ranges() else {
            panic!("one range from the first record on: {:?}", delivery.stamps)
        };
        assert!(*base >= end && base.0 % 2 == 0 && *given >= records, "{delivery:?} after {end:?}");
        end = delivery.stamps.ranges()[0].end();
        assert_eq!(newest(&store, path).await.stamps, delivery.stamps);
    }
    let order: Vec<_> = store.deliveries(Filter::All).await.unwrap().iter().map(|one| one.id).collect();
    assert_eq!(order, ids.into_iter().collect::<Vec<_>>(), "in the order they were taken up");
    // Another process goes on behind them.
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
    let end = Some(End::Incomplete { detail: "waits".into() });
    apply(&store, chunk(&cut, &[row(2, 1, "x", 1)], 0, 1, end)).await.unwrap();
    let done = load(&store, "c", &[row(3, 1, "x", 1)]).await;
    for path in ["a", "b", "c"] {
        take_up(&store, path, 10).await;
    }
    for (path, id, state) in
        [("a", first.id, State::Replaced), ("b", cut.id, State::Replaced), ("c", done.id, State::Loaded)]
    {
        let generations = store.deliveries(Filter::Path(path.into())).await.unwrap();
        assert_eq!(generations.iter().map(|one| one.generation).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((generations[0].id, generations[0].state), (id, state));
        assert_eq!(generations[0].reach, mark(1), "it reaches as far as it did");
        assert!(generations[0].receipt.closes());
    }
    assert_eq!(store.deliveries(Filter::Newest("a".to_owned())).await.unwrap().len(), 1);
    assert_eq!(store.rows(0, vec![value(1)]).await.unwrap().len(), 1, "what was written stays");
}

pub async fn apply_moves_reach_and_counts<F: Fixture>() {
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
    assert_eq!((half.state, half.reach, half.hash.clone()), (State::Loading, mark(3), hash(3)));
    // Two chunks at once, the second continues the first.
    let both = vec![chunk(&half, &records, 3, 4, None), chunk(&half, &records, 4, 6, loaded())];
    assert_eq!(store.apply(Arc::new(both)).await.unwrap().len(), 2);
    let done = newest(&store, "a").await;
    assert_eq!((done.state, done.reach, done.hash.clone()), (State::Loaded, mark(6), hash(6)));
    let receipt = &done.receipt;
    assert_eq!((receipt.records, receipt.loaded, receipt.skipped, receipt.quarantined), (6, 3, 2, 1));
    assert!(receipt.closes());
    assert_eq!(receipt.parts, [mark(6).offset]);
    assert_eq!(["kept", "cleared", "narrow"].map(|table| count(&done, table)), [(3, 1), (3, 1), (3, 2)]);
}

pub async fn apply_refuses_what_does_not_continue_and_changes_nothing<F: Fixture>() {
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
    // Neither does the good half of a pair.
    let pair = vec![chunk(&delivery, &records, 2, 3, None), chunk(&delivery, &records, 2, 4, loaded())];
    assert!(store.apply(Arc::new(pair)).await.is_err());
    let after = newest(&store, "a").await;
    assert!(after.receipt.closes() && after.reach.record <= 3, "{after:?}");
}

pub async fn a_provisional_record_is_taken_back<F: Fixture>() {
    let grown = Noted { size: 500, mtime: 7, ctime: 8 };
    for tail in [row(9, 9, "tail", 9), Record::Skipped, Record::Refused] {
        let place = F::new().await;
        let store = place.open(shared()).await;
        let first = row(1, 1, "x", 1);
        let delivery = take_up(&store, "a", 5).await;
        apply(&store, chunk(&delivery, std::slice::from_ref(&first), 0, 1, None)).await.unwrap();
        let (before, rows) = (newest(&store, "a").await, tables(&store).await);
        apply(&store, chunk(&delivery, &[first.clone(), tail], 0, 2, provisional(2)).tail()).await.unwrap();
        let whole = newest(&store, "a").await;
        assert_eq!((whole.state, whole.provisional.clone()), (State::Loaded, Some((mark(1), hash(1)))));
        assert!(whole.receipt.closes());

        let back = store.reopen(whole.id, grown, "head".to_owned()).await.unwrap();
        assert_eq!((back.id, back.state, back.noted), (whole.id, State::Loading, grown));
        assert_eq!((back.reach, back.hash.clone(), back.provisional.clone()), (mark(1), hash(1), None));
        assert_eq!((&back.receipt.tables, back.receipt.records), (&before.receipt.tables, 1));
        assert_eq!((back.receipt.loaded, back.receipt.skipped, back.receipt.quarantined), (1, 0, 0));
        assert_eq!(tables(&store).await, rows);
        assert!(store.quarantined(quarantine::Filter::default()).await.unwrap().is_empty());
        // A store that cannot take a write back without a trace needs a newer stamp.
        assert!(back.stamps.of(1) >= whole.stamps.of(1));
        assert_eq!(back.stamps.of(0), whole.stamps.of(0));

        // Reopened twice, as after a crash, it stands where it stood.
        let again = store.reopen(whole.id, grown, "head".to_owned()).await.unwrap();
        assert_eq!((again.reach, &again.receipt), (back.reach, &back.receipt));
        let records = [first, row(9, 9, "tail and more", 10), row(9, 8, "new", 1)];
        apply(&store, chunk(&again, &records, 1, 3, loaded())).await.unwrap();
        let done = newest(&store, "a").await;
        assert!(done.receipt.closes() && done.receipt.records == 3);
        assert_eq!(done.receipt.parts, [mark(2).offset, mark(3).offset]);
        assert_eq!(count(&done, "kept"), (3, 0));
        let more = store.rows(0, vec![value(9), value(9)]).await.unwrap();
        assert_eq!(more[0][2], Value::Text("tail and more".into()));
    }
}

impl RowChunk {
    /// Of a chunk that was made from the beginning, only its last record.
    fn tail(self) -> Self {
        let at = usize::try_from(self.span.to.record).unwrap();
        let mut rows = Rows::new(4, 1);
        if self.last == Some(Outcome::Loaded) {
            let row = self.rows.len() - 1;
            *rows.arena() = self.rows.arena_bytes().to_vec();
            let mut cells = (0..4).map(|column| self.rows.cell(row, column)).collect();
            rows.push(self.rows.stamp(row), &mut cells);
        }
        Self { span: Span { from: mark(at - 1), ..self.span }, rows, ..self }
    }
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
    assert!(range.base >= second.stamps.ranges()[0].end(), "behind all that was given out");
    let extended = newest(&store, "a").await;
    assert_eq!(extended.stamps.of(reach), Some(range.base));
    assert_eq!(extended.stamps.of(0), first.stamps.of(0));
    assert!(take_up(&store, "c", 1).await.stamps.begin().unwrap() >= range.end());

    let noted = Noted { size: 9, mtime: 9, ctime: 9 };
    store.amend(first.id, Amendment { noted: Some(noted), ..Amendment::default() }).await.unwrap();
    assert_eq!((newest(&store, "a").await.noted, newest(&store, "a").await.state), (noted, State::Loading));
    let state = Some((State::Replaced, "gone".to_owned()));
    store.amend(first.id, Amendment { state, ..Amendment::default() }).await.unwrap();
    let amended = newest(&store, "a").await;
    assert_eq!((amended.state, amended.detail.as_str(), amended.noted), (State::Replaced, "gone", noted));
    assert_eq!(newest(&store, "b").await.state, State::Loading, "the others are left alone");
}

pub async fn a_replay_changes_nothing_and_restores_what_was_deleted<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let older = [row(1, 1, "x", 1), row(1, 1, "y", 2), row(1, 2, "z", 3)];
    let newer = [Record::Row(1, 1, Some("n"), None), row(1, 3, "m", 4)];
    let older = (load(&store, "a", &older).await, older.to_vec());
    let newer = (load(&store, "b", &newer).await, newer.to_vec());
    let before = everything(&store).await;
    for _ in 0..2 {
        replay_all(&store, &[&newer, &older]).await;
        assert_eq!(everything(&store).await, before, "a replay");
    }
    for table in plan().tables {
        place.wipe(&table.name).await;
    }
    assert!(tables(&store).await.iter().all(Vec::is_empty));
    replay_all(&store, &[&older, &newer]).await;
    assert_eq!(everything(&store).await, before, "what was deleted");
}

async fn replay_all(store: &impl Store, deliveries: &[&(Delivery, Vec<Record>)]) {
    for table in 0..plan().tables.len() {
        for (delivery, records) in deliveries {
            replay(store, table, delivery, records, records.len()).await;
        }
    }
}

/// The first `to` records; with all of them the table has the delivery whole.
async fn replay(store: &impl Store, table: usize, delivery: &Delivery, records: &[Record], to: usize) {
    let half = records.len() / 2;
    let parts = [(0, half.min(to), None), (half, to, loaded())];
    for (from, to, end) in parts {
        if from < to || (end.is_some() && to == records.len()) {
            let end = end.filter(|_| to == records.len());
            let chunk = Arc::new(chunk(delivery, records, from, to, end));
            store.replay(table, chunk, from == 0).await.unwrap();
        }
    }
}

pub async fn rows_come_by_key_in_order<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let records: Vec<Record> =
        [(2, 5), (1, 3), (1, -7), (2, 1), (1, 10), (1, 0)].iter().map(|(p, q)| row(*p, *q, "x", 1)).collect();
    load(&store, "a", &records).await;
    let keys = async |table, key: Vec<Value<'static>>| -> Vec<(Value<'static>, Value<'static>)> {
        let rows = store.rows(table, key).await.unwrap();
        rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
    };
    let of = |p: i64, qs: &[i64]| qs.iter().map(|q| (value(p), value(*q))).collect::<Vec<_>>();
    assert_eq!(keys(0, vec![value(1)]).await, of(1, &[-7, 0, 3, 10]));
    assert_eq!(keys(1, vec![value(1)]).await, of(1, &[10, 3, 0, -7]), "descending");
    assert_eq!(keys(0, vec![value(2), value(5)]).await, of(2, &[5]));
    assert_eq!(keys(0, vec![value(3)]).await, of(3, &[]));
    assert_eq!(keys(0, vec![value(1), value(5)]).await, of(1, &[]));
    assert_eq!(store.rows(0, vec![value(1), value(3)]).await.unwrap()[0].len(), 4, "all columns, key first");
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
        let entries = store.quarantined(filter).await.unwrap();
        entries.into_iter().map(|entry| (entry.path, entry.record.record)).collect()
    };
    let of = |entries: &[(&str, u64)]| -> Vec<(String, u64)> {
        entries.iter().map(|(path, record)| ((*path).to_owned(), *record)).collect()
    };
    let all = || quarantine::Filter { raw: true, ..quarantine::Filter::default() };
    let every = of(&[("b", 0), ("b", 1), ("b", 2), ("b", 3), ("b", 4), ("a", 0), ("a", 1)]);
    assert_eq!(list(all()).await, every, "in the order of delivery and record");
    assert_eq!(list(quarantine::Filter { path: Some("a".into()), ..all() }).await, every[5..]);
    let fields = quarantine::Filter { reason: Some("fields".into()), ..all() };
    assert_eq!(list(fields.clone()).await, of(&[("b", 1), ("b", 4), ("a", 1)]));
    let column = |name: &str| quarantine::Filter { column: Some(name.into()), ..all() };
    assert_eq!(list(column("p")).await, of(&[("b", 2)]));
    assert_eq!(list(quarantine::Filter { path: Some("a".into()), ..fields }).await, of(&[("a", 1)]));
    assert_eq!(list(column("none")).await, of(&[]));
    let entry = store.quarantined(column("p")).await.unwrap().remove(0);
    assert_eq!((entry.record, entry.delivery, entry.generation), (refused(2), second.id, 1));
}

pub async fn known_tells_the_newest_generation<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    assert!(store.known().await.unwrap().is_empty());
    let original = load(&store, "a", &[row(1, 1, "x", 1)]).await;
    let same = Verdict::Duplicate {
        of: original.id,
        same_as: "a".into(),
        reach: original.reach,
        hash: original.hash.clone(),
    };
    let copy = store.take_up(entry("b", same)).await.unwrap();
    assert_eq!((copy.state, copy.same_as, copy.receipt.records), (State::Duplicate, Some(original.id), 0));
    assert!(copy.stamps.ranges().is_empty() && copy.receipt.closes());
    let failed = store.take_up(entry("c", Verdict::Failed { detail: "why".into() })).await.unwrap();
    assert_eq!((failed.state, failed.detail.as_str()), (State::Failed, "why"));
    take_up(&store, "a", 1).await;
    let mut known = store.known().await.unwrap();
    known.sort_by(|a, b| a.path.cmp(&b.path));
    let told: Vec<_> = known.iter().map(|one| (one.path.as_str(), one.state, one.noted.size)).collect();
    assert_eq!(told, [("a", State::Loading, 100), ("b", State::Duplicate, 100), ("c", State::Failed, 100)]);
    let head = store.deliveries(Filter::Head("head of a".into())).await.unwrap();
    assert_eq!(head.iter().map(|one| one.generation).collect::<Vec<_>>(), [1, 2]);
    assert!(store.deliveries(Filter::Head("head of c".into())).await.unwrap().is_empty());
}

/// Values of each type, at its ends and in between.
fn samples(kind: Type) -> Vec<&'static str> {
    match kind {
        Type::Text => vec!["x", "ünï \"codé\",\n\u{1F3B5}", " spaces "],
        Type::Int => vec!["0", "-2147483648", "2147483647"],
        Type::Bigint => vec!["-9223372036854775808", "9223372036854775807", "9007199254740993"],
        Type::Smallint => vec!["-32768", "32767"],
        Type::Tinyint => vec!["-128", "127"],
        Type::Float => vec!["495.3073", "-0.1", "3.4028235e38", "1e-45"],
        Type::Double => vec!["0.1", "1.7976931348623157e308", "5e-324", "-1541580000000.5"],
        Type::Decimal => vec!["12.50", "-0.000000000000000000000000001", "123456789012345678901234567890"],
        Type::Boolean => vec!["true", "false"],
        Type::Timestamp => vec!["2018-11-01T21:01:46.796Z", "1969-12-31T23:59:59.999Z"],
        Type::Date => vec!["2018-11-01", "1969-12-31", "0001-01-01"],
        Type::Time => vec!["00:00:00", "23:59:59.999999999"],
        Type::Uuid => vec!["123e4567-e89b-42d3-a456-426614174000"],
        Type::Timeuuid => vec!["50554d6e-29bb-11e5-b345-feff819cdc9f"],
        Type::Blob => vec!["0x00ff22", "0x00"],
        Type::Inet => vec!["192.0.2.1", "2001:db8::1"],
    }
}

pub async fn every_type_is_read_as_it_was_written<F: Fixture>() {
    let kinds = Type::ALL.map(|(_, kind)| kind);
    let column =
        |name: String, kind| Column { name: name.clone(), exact: false, kind, origin: Origin::Field(name) };
    let mut columns = vec![column("id".into(), Type::Int)];
    columns.extend(kinds.map(|kind| column(format!("of_{kind}"), kind)));
    let table = |name: &str, partition_key: Vec<usize>, columns| Table {
        name: name.into(),
        exact: false,
        answers: String::new(),
        partition_key,
        clustering_key: vec![(0, Order::Ascending)],
        columns,
        statics: Vec::new(),
        empty: Empty::Keep,
        options: Vec::new(),
        fingerprint: Fingerprint::of(name),
    };
    // Once as columns, and each type once as a key.
    let mut tables = vec![table("wide", vec![1], (2..columns.len()).collect())];
    tables[0].partition_key = vec![0];
    tables[0].clustering_key = Vec::new();
    tables[0].columns = (1..columns.len()).collect();
    tables.extend((1..columns.len()).map(|at| table(&format!("by_{at}"), vec![at], Vec::new())));
    let width = columns.len();
    let plan = Plan {
        columns,
        skip_when_empty: Vec::new(),
        tables,
        fingerprint: Fingerprint::of("types"),
        attempt: Fingerprint::of("types"),
    };

    let place = F::new().await;
    let store = place.open(Arc::new(plan.clone())).await;
    let delivery = take_up(&store, "types", 100).await;
    let most = kinds.iter().map(|kind| samples(*kind).len()).max().unwrap();
    let mut rows = Rows::new(width, most);
    for n in 0..most {
        let mut values = vec![(Type::Int, Some(n.to_string()))];
        values.extend(kinds.map(|kind| (kind, Some(samples(kind)[n % samples(kind).len()].to_owned()))));
        let mut cells = cells(&mut rows, &values);
        rows.push(delivery.stamps.of(n as u64).unwrap(), &mut cells);
    }
    let written: Vec<Vec<Value<'static>>> = (0..most)
        .map(|row| (0..width).map(|column| rows.value(row, column).into_owned()).collect())
        .collect();
    let empty = chunk(&delivery, &vec![Record::Skipped; most], 0, most, loaded());
    apply(&store, RowChunk { rows, skipped: 0, ..empty }).await.unwrap();
    for record in &written {
        assert_eq!(store.rows(0, vec![record[0].clone()]).await.unwrap(), std::slice::from_ref(record));
        for at in 1..width {
            let found = store.rows(at, vec![record[at].clone(), record[0].clone()]).await.unwrap();
            assert_eq!(found, [[record[at].clone(), record[0].clone()]], "{} as key", plan.columns[at].name);
        }
    }
}

// The model: all records in the order of their stamps.

type Sent = (Stamp, DeliveryId, Option<&'static str>, Option<i64>);

/// By table and key: stamp, delivery and values of every record.
#[derive(Default)]
struct Model {
    keys: BTreeMap<(usize, Vec<i64>), Vec<Sent>>,
}

impl Model {
    fn add(&mut self, delivery: &Delivery, records: &[Record]) {
        for (number, record) in records.iter().enumerate() {
            let Record::Row(p, q, a, b) = record else { continue };
            let stamp = delivery.stamps.of(number as u64).unwrap();
            for (table, key) in [(0, vec![*p, *q]), (1, vec![*p, -*q]), (2, vec![*p])] {
                self.keys.entry((table, key)).or_default().push((stamp, delivery.id, *a, *b));
            }
        }
        for records in self.keys.values_mut() {
            records.sort_by_key(|(stamp, ..)| *stamp);
        }
    }

    fn tables(&self) -> Vec<Vec<Vec<Value<'static>>>> {
        let mut tables = vec![Vec::new(); 3];
        for ((table, key), records) in &self.keys {
            let (mut a, mut b) = (Value::Empty, Value::Empty);
            for (_, _, new_a, new_b) in records {
                let clears = *table == 1;
                if new_a.is_some() || clears {
                    a = new_a.map_or(Value::Empty, |text| Value::Text(text.into()));
                }
                if new_b.is_some() || clears {
                    b = new_b.map_or(Value::Empty, Value::Whole);
                }
            }
            // In the model a descending column is negated, so that its keys are in order too.
            let sign = |(at, n): (usize, &i64)| value(if *table == 1 && at == 1 { -n } else { *n });
            let row = key.iter().enumerate().map(sign).chain([a, b]).collect();
            tables[*table].push(row);
        }
        tables
    }

    /// Every record but the first of its key is a collision of its own delivery.
    fn collisions(&self, id: DeliveryId, table: usize, across: bool) -> u64 {
        let of_table = self.keys.iter().filter(|((of, _), _)| *of == table);
        let of_key = of_table.map(|(_, records)| {
            let first = if across { 1 } else { usize::from(records.iter().any(|(_, of, ..)| *of == id)) };
            let own = records.iter().enumerate().filter(|(_, (_, of, ..))| *of == id);
            if across { own.filter(|(at, _)| *at >= first).count() } else { own.count() - first }
        });
        of_key.sum::<usize>() as u64
    }

    async fn check<F: Fixture>(&self, store: &F::Store) -> Result<(), TestCaseError> {
        prop_assert_eq!(tables(store).await, self.tables());
        for delivery in store.deliveries(Filter::All).await.unwrap() {
            prop_assert!(delivery.receipt.closes(), "{:?}", delivery);
            for (index, table) in plan().tables.iter().enumerate() {
                let expected = self.collisions(delivery.id, index, F::COUNTS_ACROSS_DELIVERIES);
                let counted = count(&delivery, &table.name).1;
                prop_assert_eq!(counted, expected, "collisions of {} in {}", &delivery.path, &table.name);
            }
        }
        Ok(())
    }
}

fn record() -> impl Strategy<Value = Record> {
    let text = prop::option::of(prop::sample::select(vec!["x", "y", "z"]));
    let row =
        (0i64..2, 0i64..3, text, prop::option::of(0i64..3)).prop_map(|(p, q, a, b)| Record::Row(p, q, a, b));
    prop_oneof![12 => row, 1 => Just(Record::Skipped), 1 => Just(Record::Refused)]
}

fn records(most: usize) -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(record(), 1..=most)
}

/// Cases of a property, each with a store of its own.
fn property<S: Strategy>(cases: u32, strategy: S, case: impl AsyncFn(S::Value) -> Result<(), TestCaseError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    let outcome = TestRunner::new(config).run(&strategy, |value| runtime.block_on(case(value)));
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Cuts each delivery into chunks and mixes them, keeping the order within each.
fn mixed(
    deliveries: &[(Delivery, Vec<Record>)],
    cuts: &[bool],
    mut picks: impl FnMut(usize) -> usize,
) -> Vec<RowChunk> {
    let mut cut = cuts.iter().cycle();
    let mut queues: Vec<Vec<RowChunk>> = Vec::new();
    for (delivery, records) in deliveries {
        let (mut chunks, mut from) = (Vec::new(), 0);
        for to in 1..=records.len() {
            let last = to == records.len();
            if last || *cut.next().unwrap() {
                chunks.push(chunk(delivery, records, from, to, if last { loaded() } else { None }));
                from = to;
            }
        }
        chunks.reverse();
        queues.push(chunks);
    }
    let mut mixed = Vec::new();
    while !queues.is_empty() {
        let at = picks(queues.len());
        mixed.extend(queues[at].pop());
        queues.retain(|queue| !queue.is_empty());
    }
    mixed
}

pub fn any_interleaving_ends_as_the_order_of_the_stamps<F: Fixture>() {
    let strategy = (
        prop::collection::vec(records(7), 2..=4),
        prop::collection::vec(any::<bool>(), 1..20),
        prop::collection::vec(any::<Index>(), 30),
        any::<bool>(),
    );
    property(96 / F::SLOWER, strategy, async |(all, cuts, picks, together)| {
        let place = F::new().await;
        let store = place.open(shared()).await;
        let (mut deliveries, mut model) = (Vec::new(), Model::default());
        for (n, records) in all.into_iter().enumerate() {
            let delivery = take_up(&store, &format!("f{n}"), 100).await;
            model.add(&delivery, &records);
            deliveries.push((delivery, records));
        }
        let mut picks = picks.into_iter().cycle();
        let mut chunks = mixed(&deliveries, &cuts, |many| picks.next().unwrap().index(many));
        let mut caused = [0; 3];
        while !chunks.is_empty() {
            let batch = chunks.drain(..if together { chunks.len().min(3) } else { 1 }).collect();
            for applied in store.apply(Arc::new(batch)).await.unwrap() {
                applied.tables.iter().zip(&mut caused).for_each(|(delta, sum)| *sum += delta.collisions);
            }
        }
        model.check::<F>(&store).await?;
        if F::COUNTS_ACROSS_DELIVERIES {
            for (table, caused) in caused.iter().enumerate() {
                let all = deliveries.iter().map(|(delivery, _)| model.collisions(delivery.id, table, true));
                prop_assert_eq!(*caused, all.sum::<u64>(), "what apply told of table {}", table);
            }
        }
        deliveries.reverse();
        replay_all(&store, &deliveries.iter().collect::<Vec<_>>()).await;
        model.check::<F>(&store).await
    });
}

pub fn tables_added_later_end_as_if_they_had_been_there<F: Fixture>() {
    let strategy = (prop::collection::vec(records(5), 2..=3), records(5), any::<Index>(), any::<bool>());
    property(48 / F::SLOWER, strategy, async |(before, after, broken_off, backwards)| {
        let place = F::new().await;
        let narrow = Plan { tables: plan().tables.into_iter().take(1).collect(), ..plan() };
        let store = place.open(Arc::new(narrow)).await;
        let (mut deliveries, mut model) = (Vec::new(), Model::default());
        for (n, records) in before.into_iter().enumerate() {
            let delivery = load(&store, &format!("f{n}"), &records).await;
            model.add(&delivery, &records);
            deliveries.push((delivery, records));
        }
        drop(store);
        let store = place.open(shared()).await;
        let last = load(&store, "last", &after).await;
        model.add(&last, &after);
        if backwards {
            deliveries.reverse();
        }
        for table in 1..plan().tables.len() {
            for (delivery, records) in &deliveries {
                let declared = &plan().tables[table];
                prop_assert_eq!(
                    newest(&store, &delivery.path).await.is_behind(declared),
                    delivery.receipt.loaded > 0
                );
                // Broken off once, and begun anew.
                replay(&store, table, delivery, records, broken_off.index(records.len())).await;
                replay(&store, table, delivery, records, records.len()).await;
                prop_assert!(!newest(&store, &delivery.path).await.is_behind(declared));
            }
        }
        model.check::<F>(&store).await
    });
}

pub fn what_was_provisional_leaves_no_trace<F: Fixture>() {
    let strategy = (prop::collection::vec((records(4), record()), 2..=3), any::<[Index; 12]>());
    property(96 / F::SLOWER, strategy, async |(all, order)| {
        let place = F::new().await;
        let store = place.open(shared()).await;
        let mut deliveries = Vec::new();
        for (n, (records, grown)) in all.into_iter().enumerate() {
            deliveries.push((take_up(&store, &format!("f{n}"), 100).await, records, grown, 0));
        }
        // Each is loaded with its last record open, then that record grows into another one.
        let mut order = order.into_iter().cycle();
        let mut model = Model::default();
        while !deliveries.is_empty() {
            let mut at = order.next().unwrap().index(deliveries.len());
            if !F::TAKES_BACK_IN_ANY_ORDER {
                at = deliveries.iter().position(|(.., step)| *step == 0).unwrap_or(at);
            }
            let (delivery, records, grown, step) = &mut deliveries[at];
            *step += 1;
            if *step == 1 {
                apply(&store, chunk(delivery, records, 0, records.len(), provisional(records.len())))
                    .await
                    .unwrap();
                continue;
            }
            let delivery = store.reopen(delivery.id, Noted::default(), "head".to_owned()).await.unwrap();
            if let Some(last) = records.last_mut() {
                *last = grown.clone();
            }
            apply(&store, chunk(&delivery, records, records.len() - 1, records.len(), loaded()))
                .await
                .unwrap();
            model.add(&delivery, records);
            deliveries.remove(at);
        }
        model.check::<F>(&store).await
    });
}
