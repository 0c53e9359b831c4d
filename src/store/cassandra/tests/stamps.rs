//! Tests the stamps of one keyspace that two ledgers use.

use super::*;
use crate::domain::StampRange;
use crate::store::cassandra::schema::names::stamps_place;
use crate::store::clock::clock;

/// Two stores with the same tables and separate ledgers.
struct Pair {
    place: Cassandra,
    ledgers: [Settings; 2],
}

impl Pair {
    fn new(name: &str) -> Self {
        let place = Cassandra(format!("suite_{}_{name}", std::process::id()));
        let ledger = |of: &str| {
            let ledger_keyspace = format!("{}_{of}", place.0);
            Settings { ledger_keyspace, ..settings(&place.0) }
        };
        let ledgers = [ledger("a"), ledger("b")];
        Self { place, ledgers }
    }

    async fn open(&self, at: usize) -> CassandraStore {
        let access = Access::Write { create: true, standby: false };
        CassandraStore::open(self.ledgers[at].clone(), Arc::new(Schema::of([&suite::plan()])), access)
            .await
            .unwrap()
    }

    async fn cql(&self, cql: &str) {
        self.place.session().await.query_unpaged(cql, ()).await.unwrap();
    }

    async fn drop(self) {
        for keyspace in [&self.place.0, &self.ledgers[0].ledger_keyspace, &self.ledgers[1].ledger_keyspace] {
            self.cql(&format!("DROP KEYSPACE IF EXISTS {keyspace}")).await;
        }
        // The keyspace no longer exists, so no other test may use it.
        std::mem::forget(self.place);
    }
}

async fn hand_out(store: &CassandraStore, records: u64) -> StampRange {
    store.inner.writer().unwrap().hand_out(0, records).await.unwrap()
}

#[track_caller]
fn assert_disjoint(mut ranges: Vec<StampRange>) {
    ranges.sort_by_key(|range| range.base);
    for pair in ranges.windows(2) {
        assert!(pair[0].end() <= pair[1].base, "{pair:?}");
    }
}

#[tokio::test]
async fn two_ledgers_never_hand_out_the_same_stamp() {
    if !Cassandra::available() {
        return;
    }
    let pair = Pair::new("disjoint");
    let stores = [pair.open(0).await, pair.open(1).await];
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut ranges, mut handed_out) = (Vec::new(), 0);
    for _ in 0..60 {
        // A range may be longer than a block.
        let records = [0, 1].map(|_| {
            let most = [10, 3_000, 4_000_000][rng.usize(..3)];
            rng.u64(1..=most)
        });
        let turns = [&[0, 1][..], &[0], &[1]][rng.usize(..3)];
        let before = clock().0;
        let taken = turns.iter().map(|at| hand_out(&stores[*at], records[*at]));
        let taken = futures::future::join_all(taken).await;
        assert!(taken.iter().all(|range| range.base.0 >= before), "behind the clock");
        handed_out += taken.iter().map(|range| 2 * range.records).sum::<u64>();
        ranges.extend(taken);
    }
    let last = ranges.iter().map(StampRange::end).max().unwrap();
    // If the rest of a block is too small for a range, the rest is lost. It is smaller than the range.
    let most = clock().0 + 10_000_000 + 2 * i64::try_from(handed_out).unwrap();
    assert!(last.0 <= most, "{last:?} is further ahead than what was handed out");
    assert_disjoint(ranges);
    drop(stores);
    pair.drop().await;
}

#[tokio::test]
async fn a_lost_or_restored_row_is_raised_above_all_stamps_of_the_ledger() {
    if !Cassandra::available() {
        return;
    }
    let pair = Pair::new("restored");
    let [ledger, _] = &pair.ledgers;
    let row = stamps_place(ledger);
    let lease = names::ledger_place(ledger, "needledrop_lease");
    let set_lease =
        |stamps: i64| format!("UPDATE {lease} SET stamps = {stamps} WHERE name = 'writer' IF EXISTS");
    pair.open(0).await.inner.writer().unwrap().lease.release().await;

    // An earlier version reserved stamps in the lease row.
    let mut last = clock().0 + 60_000_000;
    pair.cql(&set_lease(last)).await;
    for damage in [
        // The row is restored from a backup.
        format!("UPDATE {row} SET next = 7, ledgers[?] = 7 WHERE name = 'stamps' IF EXISTS"),
        format!("DROP TABLE {row}"),
        format!("TRUNCATE {row}"),
        set_lease(last),
    ] {
        let store = pair.open(0).await;
        let range = hand_out(&store, 1000).await;
        assert!(range.base.0 >= last, "{} is below {last} before {damage}", range.base.0);
        let delivery = suite::take_up(&store, "file.csv", 1000).await;
        assert!(delivery.stamps.begin().unwrap() >= range.end());
        last = delivery.stamps.ranges()[0].end().0;
        store.inner.writer().unwrap().lease.release().await;
        pair.cql(&damage.replace("ledgers[?]", &format!("ledgers['{}']", ledger.ledger_keyspace))).await;
        if damage.starts_with("TRUNCATE") {
            // Only the deliveries still have the last stamp.
            pair.cql(&set_lease(0)).await;
        }
    }
    pair.drop().await;
}

/// A block reaches five seconds ahead of the clock. A file of over 2.5 million records needs a longer range.
#[tokio::test]
async fn a_range_longer_than_a_block_is_reserved_at_once() {
    if !Cassandra::available() {
        return;
    }
    let pair = Pair::new("long");
    let store = pair.open(0).await;
    let range = tokio::time::timeout(Duration::from_secs(20), hand_out(&store, 20_000_000)).await.unwrap();
    assert_eq!(range.records, 20_000_000);
    drop(store);
    pair.drop().await;
}

/// A block is reserved when stamps are needed, and not with each renewal of the lease.
#[tokio::test]
async fn two_idle_ledgers_do_not_run_ahead_of_the_clock() {
    if !Cassandra::available() {
        return;
    }
    let mut pair = Pair::new("idle");
    pair.ledgers.iter_mut().for_each(|settings| settings.lease = Duration::from_secs(1));
    let stores = [pair.open(0).await, pair.open(1).await];
    for store in &stores {
        hand_out(store, 1).await;
    }
    let idle = stores.iter().map(|store| crate::store::Store::tend(store, &()));
    // `tend` returns only if the lease is lost.
    let _ = tokio::time::timeout(Duration::from_secs(4), futures::future::join_all(idle)).await;
    let range = hand_out(&stores[1], 1).await;
    assert!(range.base.0 <= clock().0 + 5_000_000, "{} at {}", range.base.0, clock().0);
    drop(stores);
    pair.drop().await;
}
