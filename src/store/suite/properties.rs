//! Property tests that every store must pass.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::Fixture;
use super::cases::{backfill, backfill_all};
use super::chunks::*;
use super::model::Model;
use crate::domain::ledger::{Applied, DeliveryFilter};
use crate::domain::{Delivery, Plan, RowChunk, Value, quarantine};
use crate::store::Store;

fn record() -> impl Strategy<Value = Record> {
    let text = prop::option::of(prop::sample::select(vec!["x", "y", "z"]));
    let row =
        (0i64..2, 0i64..3, text, prop::option::of(0i64..3)).prop_map(|(p, q, a, b)| Record::Row(p, q, a, b));
    prop_oneof![12 => row, 1 => Just(Record::Skipped), 1 => Just(Record::Refused)]
}

fn records(most: usize) -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(record(), 1..=most)
}

/// Runs the cases of a property test. Each case has a store of its own.
fn property<S: Strategy>(cases: u32, strategy: S, case: impl AsyncFn(S::Value) -> Result<(), TestCaseError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    let outcome = TestRunner::new(config).run(&strategy, |value| runtime.block_on(case(value)));
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Cuts each delivery into chunks and mixes the chunks. The chunks of one delivery stay in order.
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

/// Writes chunks in windows of `together` chunks. Each window is sent before the previous window is applied.
async fn windows(store: &impl Store, chunks: &mut Vec<RowChunk>, together: usize) -> Vec<Applied> {
    let (mut done, mut before) = (Vec::new(), None);
    while !chunks.is_empty() {
        let window = Arc::new(chunks.drain(..chunks.len().min(together)).collect::<Vec<_>>());
        let sent = store.send(Arc::clone(&window)).await.unwrap();
        if let Some((window, sent)) = before.replace((window, sent)) {
            done.extend(store.apply(window, &sent).await.unwrap());
        }
    }
    if let Some((window, sent)) = before {
        done.extend(store.apply(window, &sent).await.unwrap());
    }
    done
}

pub fn any_interleaving_gives_the_same_result_as_stamp_order<F: Fixture>() {
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
        for applied in windows(&store, &mut chunks, if together { 3 } else { 1 }).await {
            applied.tables.iter().zip(&mut caused).for_each(|(delta, sum)| *sum += delta.collisions);
        }
        model.check::<F>(&store).await?;
        if F::COUNTS_ACROSS_DELIVERIES {
            for (table, caused) in caused.iter().enumerate() {
                let all = deliveries.iter().map(|(delivery, _)| model.collisions(delivery.id, table, true));
                prop_assert_eq!(*caused, all.sum::<u64>(), "what apply reported for table {}", table);
            }
        }
        deliveries.reverse();
        backfill_all(&store, &deliveries.iter().collect::<Vec<_>>()).await;
        model.check::<F>(&store).await
    });
}

pub fn tables_added_later_end_as_if_they_had_always_existed<F: Fixture>() {
    let strategy = (prop::collection::vec(records(5), 2..=3), records(5), any::<Index>(), any::<bool>());
    property(48 / F::SLOWER, strategy, async |(before, after, broken_off, backwards)| {
        let place = F::new().await;
        let narrow = Arc::new(Plan { tables: plan().tables.into_iter().take(1).collect(), ..plan() });
        let store = place.open(Arc::clone(&narrow)).await;
        let (mut deliveries, mut model) = (Vec::new(), Model::default());
        for (n, records) in before.into_iter().enumerate() {
            let delivery = load_by(&store, &narrow, &format!("f{n}"), &records).await;
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
                    newest(&store, delivery.file.path()).await.is_behind(declared),
                    delivery.receipt.loaded > 0
                );
                // The first backfill is interrupted. The second starts again from the first record.
                backfill(&store, table, delivery, records, broken_off.index(records.len())).await;
                backfill(&store, table, delivery, records, records.len()).await;
                prop_assert!(!newest(&store, delivery.file.path()).await.is_behind(declared));
            }
        }
        model.check::<F>(&store).await
    });
}

/// A test case that runs on two stores.
#[derive(Clone, Debug)]
struct Play {
    /// The records of each delivery, and whether the last record has no line end.
    deliveries: Vec<(Vec<Record>, bool)>,
    cuts: Vec<bool>,
    picks: Vec<Index>,
    together: usize,
}

/// The same chunks in the same order lead to the same state in both stores. Collisions are not compared, because only
/// one of the stores counts collisions with other deliveries.
pub fn two_stores_end_alike<A: Fixture, B: Fixture>() {
    let strategy = (
        prop::collection::vec((records(6), any::<bool>()), 2..=4),
        prop::collection::vec(any::<bool>(), 1..20),
        prop::collection::vec(any::<Index>(), 30),
        1usize..4,
    );
    let strategy =
        strategy.prop_map(|(deliveries, cuts, picks, together)| Play { deliveries, cuts, picks, together });
    property(192 / A::SLOWER.max(B::SLOWER), strategy, async |play| {
        let one = play.on::<A>().await;
        let other = play.on::<B>().await;
        prop_assert_eq!(one, other);
        Ok(())
    });
}

impl Play {
    /// Returns the state of a store after it has loaded the deliveries.
    async fn on<F: Fixture>(&self) -> Seen {
        let place = F::new().await;
        let store = place.open(shared()).await;
        let mut deliveries = Vec::new();
        for (n, (records, _)) in self.deliveries.iter().enumerate() {
            deliveries.push((take_up(&store, &format!("f{n}"), 100).await, records.clone()));
        }
        let mut picks = self.picks.iter().cycle();
        let mut chunks = mixed(&deliveries, &self.cuts, |many| picks.next().unwrap().index(many));
        for chunk in chunks.iter_mut().filter(|chunk| chunk.end.is_some() && chunk.records() == 1) {
            let at = deliveries.iter().position(|(delivery, _)| delivery.id == chunk.source.id).unwrap();
            chunk.is_tail = self.deliveries[at].1;
        }
        windows(&store, &mut chunks, self.together).await;
        Seen::of(&store).await
    }
}

/// The part of the state of a store that must be the same in every store.
#[derive(Debug, PartialEq)]
struct Seen {
    tables: Vec<Vec<Vec<Value<'static>>>>,
    accounts: Vec<String>,
    quarantine: Vec<String>,
}

impl Seen {
    async fn of(store: &impl Store) -> Self {
        let account = |delivery: &Delivery| {
            let Delivery { file, generation, state, reach, hash, tail, receipt, .. } = delivery;
            let rows: Vec<_> = receipt.tables.iter().map(|count| (&count.table, count.rows)).collect();
            let counts = [receipt.records, receipt.loaded, receipt.skipped, receipt.quarantined];
            format!(
                "{file} {generation} {state:?} {reach:?} {hash} {tail:?} {counts:?} {rows:?} {}",
                receipt.closes()
            )
        };
        let found = deliveries(store, DeliveryFilter::All).await;
        let entries = quarantined(store, quarantine::EntryFilter { raw: true, ..Default::default() }).await;
        let entry = |(delivery, entry): &(Delivery, quarantine::QuarantineEntry)| {
            format!("{} {:?}", delivery.file, entry.record)
        };
        Self {
            tables: tables(store).await,
            accounts: found.iter().map(account).collect(),
            quarantine: entries.iter().map(entry).collect(),
        }
    }
}
