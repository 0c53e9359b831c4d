//! Runs the whole pipeline on a source in memory whose operations sometimes fail. In the end, the store has what the
//! source has.

mod feeds;
mod random_feeds;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use tokio_util::sync::CancellationToken;

use super::Pipeline;
use super::feed_input::FeedInput;
use super::messages::{Ended, LoadMode, Scope};
use super::pending_replacements::PendingReplacements;
use crate::config::{Config, Layers};
use crate::domain::path::Place;
use crate::domain::{Delivery, DeliveryState, Feed, Feeds, FileKey, Plan, Schema};
use crate::source::suite::memory::Memory;
use crate::source::{Found, Source};
use crate::store::listing::newest;
use crate::store::scratch_folder::ScratchFolder;
use crate::store::sqlite::expected_rows::KeyEquality;
use crate::store::sqlite::{Settings, SqliteStore};
use crate::store::{Access, Store};

/// An inbox in memory, and a store in a temporary folder.
struct Bench {
    inbox: Memory,
    config: Config,
    plan: Arc<Plan>,
    store: Arc<SqliteStore>,
    _dir: Arc<tempfile::TempDir>,
}

impl Bench {
    fn new(inbox: Memory) -> Self {
        let yaml = "source:\n  poll: 20ms\n  settle: 2h\n  tail_after: 3h\n  columns: { n: int, s: text }\n\
                    tables:\n  t: { partition_key: [n], columns: [s] }\n";
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, yaml).unwrap();
        let loaded = Layers { file: Some(file), ..Layers::default() }.load().unwrap();
        let plan = Arc::new(loaded.plan().unwrap());
        let settings = Settings::at(dir.path().join("store.db"));
        let access = Access::Write { create: true, standby: false };
        let store = SqliteStore::open(&settings, Arc::new(Schema::of([&*plan])), access).unwrap();
        Self { inbox, config: loaded.feeds[0].clone(), plan, store: Arc::new(store), _dir: Arc::new(dir) }
    }

    /// Returns another feed over the same store, with an inbox of its own.
    fn beside(&self, name: &str) -> Self {
        let feed = Feed::named(name).unwrap();
        let plan = Arc::new(Plan { feed: feed.clone(), ..Plan::clone(&self.plan) });
        let mut config = self.config.clone();
        config.source.feed = feed.clone();
        let (store, dir) = (Arc::clone(&self.store), Arc::clone(&self._dir));
        Self { inbox: Memory::growing().of(feed), config, plan, store, _dir: dir }
    }

    fn input(&self) -> FeedInput<Memory> {
        let (plan, source) = (Arc::clone(&self.plan), self.inbox.clone());
        FeedInput { plan, source, settings: self.config.source.clone() }
    }

    fn pipeline(&self) -> Pipeline<SqliteStore, Memory> {
        Pipeline {
            store: Arc::clone(&self.store),
            feeds: Feeds::one(self.plan.feed.clone(), self.input()),
            config: self.config.clone(),
            stats: Arc::default(),
            observer: Arc::new(()),
            heartbeat: Arc::default(),
            mode: LoadMode::New,
            patience: Some(Duration::from_secs(60)),
            intake: CancellationToken::new(),
            replacements: Arc::new(PendingReplacements::new(ScratchFolder {
                folder: Some(self._dir.path().to_owned()),
                schema: Arc::new(Schema::of([&*self.plan])),
                keys: KeyEquality::Stored,
            })),
        }
    }

    async fn run(&self, scope: Scope, stop: CancellationToken) -> Ended {
        self.pipeline().run(scope, stop).await.unwrap()
    }

    /// Loads what the source has now.
    async fn load(&self) {
        let mut found = Vec::new();
        if self.inbox.each(&mut |file| found.push(file)).await.is_ok() {
            found.sort_by_cached_key(|file| Place::of(&file.file, self.plan.file_dates));
            assert_eq!(self.run(Scope::Once(found), CancellationToken::new()).await, Ended::Done);
        }
    }

    async fn newest(&self, path: &str) -> Option<Delivery> {
        newest(&*self.store, &FileKey::new(&self.plan.feed, path)).await.unwrap()
    }

    /// Returns the rows of the table by their key.
    fn rows(&self) -> BTreeMap<i64, String> {
        let store = rusqlite::Connection::open(self._dir.path().join("store.db")).unwrap();
        let mut rows = store.prepare("SELECT n, coalesce(s, '') FROM t").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    async fn is_loaded(&self, path: &str, bytes: &[u8]) -> bool {
        self.newest(path).await.is_some_and(|delivery| {
            delivery.state == DeliveryState::Loaded
                && delivery.receipt.closes()
                && delivery.hash == blake3::hash(bytes).to_hex().as_str()
        })
    }
}

/// Something that happens to the source or to the pipeline.
#[derive(Clone, Debug)]
enum Happens {
    Put(usize, usize),
    Append(usize, usize),
    Remove(usize),
    /// The next operations of the source fail.
    Fail(u32),
    Load,
}

const PATHS: [&str; 3] = ["a.csv", "b.csv", "sub/c.csv"];

fn happens() -> impl Strategy<Value = Happens> {
    let (path, records) = (0..PATHS.len(), 1..4_usize);
    prop_oneof![
        3 => (path.clone(), records.clone()).prop_map(|(path, records)| Happens::Put(path, records)),
        3 => (path.clone(), records).prop_map(|(path, records)| Happens::Append(path, records)),
        1 => path.prop_map(Happens::Remove),
        2 => (1..12_u32).prop_map(Happens::Fail),
        3 => Just(Happens::Load),
    ]
}

/// Plays a story and loads the rest. All records have different numbers, so that no two files have the same bytes.
async fn play(bench: &Bench, story: &[Happens]) {
    let (mut files, mut numbers) = (BTreeMap::<&str, String>::new(), 0..);
    let mut records = |count: usize| -> String {
        numbers.by_ref().take(count).map(|number: u32| format!("{number},s\n")).collect()
    };
    for happens in story {
        match happens {
            Happens::Put(path, count) => {
                let text = format!("n,s\n{}", records(*count));
                bench.inbox.put(PATHS[*path], text.as_bytes());
                files.insert(PATHS[*path], text);
            }
            Happens::Append(path, count) => {
                if let Some(file) = files.get_mut(PATHS[*path]).filter(|_| bench.inbox.can_grow()) {
                    let text = records(*count);
                    bench.inbox.append(PATHS[*path], text.as_bytes());
                    file.push_str(&text);
                }
            }
            Happens::Remove(path) => {
                files.remove(PATHS[*path]);
                bench.inbox.remove(PATHS[*path]);
            }
            Happens::Fail(times) => bench.inbox.fail(*times),
            Happens::Load => bench.load().await,
        }
    }
    bench.inbox.fail(0);
    bench.load().await;
    for (path, text) in files {
        assert!(bench.is_loaded(path, text.as_bytes()).await, "{path} is not loaded: {text:?}");
    }
}

#[test]
fn any_story_of_a_source_ends_with_its_files_loaded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = Cases { cases: 16, failure_persistence: None, ..Cases::default() };
    for inbox in [Memory::growing, Memory::fixed] {
        let ran = TestRunner::new(cases.clone()).run(&prop::collection::vec(happens(), 1..14), |story| {
            runtime.block_on(async {
                let bench = Bench::new(inbox());
                play(&bench, &story).await;
                bench.store.close().await;
            });
            Ok(())
        });
        ran.unwrap();
    }
}

/// Such a file has no writer to wait for, so neither `source.settle` nor its open tail delays it.
#[tokio::test]
async fn a_file_that_cannot_grow_is_complete_when_it_is_listed() {
    let bench = Bench::new(Memory::fixed());
    let stop = CancellationToken::new();
    let loaded = async {
        bench.inbox.put("a.csv", b"n,s\n1,a");
        while !bench.is_loaded("a.csv", b"n,s\n1,a").await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
    };
    let both = async { futures::join!(bench.run(Scope::Watch, stop.clone()), loaded) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
    assert_eq!(ended, Ended::Stopped);
    bench.store.close().await;
}

/// Each feed loads its own files and takes care of its own deliveries, whatever the others have.
#[tokio::test]
async fn feeds_over_one_store_leave_each_other_alone() {
    let (whole, begun) = (b"n,s\n1,a\n2,b\n".as_slice(), b"n,s\n3,c\n4,\"d".as_slice());
    let first = Bench::new(Memory::growing());
    let second = first.beside("clicks");
    first.inbox.put("a.csv", whole);
    first.inbox.put("b.csv", begun);
    first.load().await;
    let before = first.newest("b.csv").await.unwrap();
    assert_eq!(before.state, DeliveryState::Incomplete);
    // Its file is gone, so the next run of the first feed would close it.
    first.inbox.remove("b.csv");
    for path in ["a.csv", "c.csv"] {
        second.inbox.put(path, whole);
    }
    second.load().await;
    assert!(first.is_loaded("a.csv", whole).await && second.is_loaded("a.csv", whole).await);
    assert_eq!(second.newest("a.csv").await.unwrap().generation, 1);
    let copy = second.newest("c.csv").await.unwrap();
    let same = second.newest("a.csv").await.unwrap();
    assert_eq!((copy.state, copy.same_as), (DeliveryState::Duplicate, Some(same.id)), "in one feed");
    // A source of several feeds can tell that the file of the other feed is gone.
    let wide = Bench { inbox: first.inbox.clone(), ..first.beside("clicks") };
    assert!(!wide.inbox.may_exist(&before.file).await);
    assert_eq!(wide.run(Scope::Once(Vec::new()), CancellationToken::new()).await, Ended::Done);
    assert_eq!(format!("{:?}", first.newest("b.csv").await.unwrap()), format!("{before:?}"));
    first.load().await;
    assert_eq!(first.newest("b.csv").await.unwrap().state, DeliveryState::Replaced);
    assert!(second.is_loaded("a.csv", whole).await);
    first.store.close().await;
}

/// The delivery under the other name has a later place in the order (law 2), and a resumed delivery keeps its own place.
#[tokio::test]
async fn a_file_that_gets_its_first_name_back_resumes_at_its_own_place_in_the_order() {
    let bench = Bench::new(Memory::growing());
    let begun = b"n,s\n1,old\n1,\"ne".as_slice();
    for (from, to) in [("b.csv", "a.csv"), ("a.csv", "b.csv")] {
        bench.inbox.remove(from);
        bench.inbox.put(to, begun);
        bench.load().await;
        assert_eq!(bench.newest(to).await.unwrap().receipt.loaded, 1);
    }
    bench.inbox.remove("b.csv");
    let whole = [begun, b"w\"\n2,new\n"].concat();
    bench.inbox.put("a.csv", &whole);
    bench.load().await;
    assert!(bench.is_loaded("a.csv", &whole).await);
    assert_eq!(bench.newest("a.csv").await.unwrap().generation, 1);
    let rows = [(1, "old"), (2, "new")].map(|(n, s)| (n, s.to_owned()));
    assert_eq!(bench.rows(), BTreeMap::from(rows), "record 1 of b.csv is later than record 2 of a.csv");
    bench.store.close().await;
}
