//! Several feeds in one pipeline.

use super::*;
use crate::domain::FileDates;

/// Runs a pipeline over the feeds of these benches, which share a store.
pub(super) async fn run(benches: &[&Bench], scope: Scope, stop: CancellationToken) -> Ended {
    let feeds = benches.iter().map(|bench| (bench.plan.feed.clone(), bench.input())).collect();
    let pipeline = Pipeline { feeds, ..benches[0].pipeline() };
    pipeline.run(scope, stop).await.unwrap()
}

/// Returns all files of these benches, in any order.
async fn all(benches: &[&Bench]) -> Vec<Found> {
    let mut found = Vec::new();
    for bench in benches {
        bench.inbox.each(&mut |file| found.push(file)).await.unwrap();
    }
    found
}

/// Waits until a file is loaded, while the pipeline runs. Then stops it.
async fn load_while_running(benches: &[&Bench], of: &Bench, path: &str, bytes: &[u8]) {
    let stop = CancellationToken::new();
    let loaded = async {
        while !of.is_loaded(path, bytes).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
    };
    let both = async { futures::join!(run(benches, Scope::Watch, stop.clone()), loaded) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
    assert!(matches!(ended, Ended::Stopped | Ended::GraceOver), "{ended:?}");
}

/// Gives a feed a table that no other feed has.
fn apart(bench: Bench) -> Bench {
    let mut plan = Plan::clone(&bench.plan);
    plan.tables.iter_mut().for_each(|table| table.name = format!("{}_{}", table.name, plan.feed));
    let mut config = bench.config.clone();
    config.shutdown.grace = crate::config::Duration::from_secs(1);
    Bench { plan: Arc::new(plan), config, ..bench }
}

/// In one pass, stamps are handed out by date, then feed, then name, however few files are read at once.
#[tokio::test]
async fn feeds_that_share_a_table_take_up_their_files_in_one_order() {
    let mut first = Bench::new(Memory::fixed());
    first.config.source.files_at_once = 1;
    let second =
        Bench { inbox: Memory::fixed().of(Feed::named("clicks").unwrap()), ..first.beside("clicks") };
    let benches = [&first, &second];
    for (bench, names) in benches.iter().zip([
        ["2024-01-01-b.csv", "2024-01-03.csv", "x.csv", "2024-01-01-a.csv"],
        ["2024-01-02.csv", "2024-01-01.csv", "a.csv", "2024-01-04.csv"],
    ]) {
        for name in names {
            let feed = &bench.plan.feed;
            bench.inbox.put(name, format!("n,s\n1,{feed} {name}\n").as_bytes());
        }
    }
    let mut expected = all(&benches).await;
    let ended = run(&benches, Scope::Once(expected.clone()), CancellationToken::new()).await;
    assert_eq!(ended, Ended::Done);
    expected.sort_by_cached_key(|found| Place::of(&found.file, FileDates::default()));
    let mut stamps = Vec::new();
    for found in &expected {
        let delivery = newest(&*first.store, &found.file).await.unwrap().unwrap();
        assert_eq!(delivery.state, DeliveryState::Loaded, "{}", found.file);
        stamps.push(delivery.stamps.begin());
    }
    assert!(stamps.is_sorted(), "{expected:?} {stamps:?}");
    first.store.close().await;
}

/// The inbox of one feed cannot be listed. The other feed shares its table.
#[tokio::test]
async fn a_missing_inbox_holds_up_no_other_feed() {
    let first = Bench::new(Memory::growing());
    let second =
        Bench { inbox: Memory::fixed().of(Feed::named("clicks").unwrap()), ..first.beside("clicks") };
    first.inbox.fail(u32::MAX);
    second.inbox.put("a.csv", b"n,s\n1,a\n");
    load_while_running(&[&first, &second], &second, "a.csv", b"n,s\n1,a\n").await;
    first.store.close().await;
}

/// The files of one feed never answer, and all its places are taken.
#[tokio::test]
async fn a_feed_that_hangs_holds_up_no_other_feed() {
    let first = Bench::new(Memory::fixed());
    let second =
        Bench { inbox: Memory::fixed().of(Feed::named("clicks").unwrap()), ..first.beside("clicks") };
    // Its files come first in the order of all files.
    let hung = apart(first);
    for file in 0..10 {
        hung.inbox.put(&format!("{file}.csv"), b"n,s\n1,a\n");
    }
    hung.inbox.hang();
    second.inbox.put("a.csv", b"n,s\n1,a\n");
    load_while_running(&[&hung, &second], &second, "a.csv", b"n,s\n1,a\n").await;
    second.store.close().await;
}
