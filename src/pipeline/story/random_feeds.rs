//! Random stories over one or two feeds that share a table. Names and bytes are few, so files of one feed and of both
//! feeds are often equal.

use std::collections::BTreeSet;
use std::iter::zip;

use super::*;
use crate::domain::ledger::DeliveryFilter;
use crate::domain::{DeliveryId, Stamp};
use crate::store::listing::Deliveries;

const PATHS: [&str; 4] = ["2024-01-01.csv", "2024-01-02.csv", "sub/2024-01-01.csv", "x.csv"];

const HEADER: &str = "n,s\n";
const RECORDS: [&str; 5] = ["1,a\n2,b\n", "1,c\n", "2,d\nx,e\n3,f\n", "3,g\n1,\n2,i\n", "1,j\n"];

/// Something that happens to a feed, or a pass over all feeds. A path and records are indexes.
#[derive(Clone, Debug)]
enum Event {
    Put(usize, usize),
    Append(usize, usize),
    Remove(usize),
    Fail(u32),
    Load,
}

fn event() -> impl Strategy<Value = Event> {
    let (path, records) = (0..PATHS.len(), 0..RECORDS.len());
    prop_oneof![
        6 => (path.clone(), records.clone()).prop_map(|(path, records)| Event::Put(path, records)),
        2 => (path.clone(), records).prop_map(|(path, records)| Event::Append(path, records)),
        1 => path.prop_map(Event::Remove),
        1 => (1..12_u32).prop_map(Event::Fail),
        3 => Just(Event::Load),
    ]
}

/// The feeds of a story, and what a model knows about them.
struct Story {
    benches: Vec<Bench>,
    files: Vec<BTreeMap<&'static str, String>>,
    /// What each delivery had when it was last loaded.
    contents: BTreeMap<DeliveryId, String>,
    /// Whether operations of the next load fail. A file that is tried again is later than the files after it.
    fails: bool,
}

impl Story {
    fn new(feeds: usize, inbox: fn() -> Memory) -> Self {
        let first = Bench::new(inbox());
        let clicks = Feed::named("clicks").unwrap();
        let second = Bench { inbox: inbox().of(clicks), ..first.beside("clicks") };
        let benches: Vec<Bench> = [first, second].into_iter().take(feeds).collect();
        Self { files: vec![BTreeMap::new(); feeds], benches, contents: BTreeMap::new(), fails: false }
    }

    async fn plays(&mut self, feed: usize, event: &Event) {
        let feed = feed % self.benches.len();
        let (inbox, files) = (&self.benches[feed].inbox, &mut self.files[feed]);
        match event {
            Event::Put(path, records) => {
                let text = format!("{HEADER}{}", RECORDS[*records]);
                inbox.put(PATHS[*path], text.as_bytes());
                files.insert(PATHS[*path], text);
            }
            Event::Append(path, records) => {
                if let Some(file) = files.get_mut(PATHS[*path]).filter(|_| inbox.can_grow()) {
                    inbox.append(PATHS[*path], RECORDS[*records].as_bytes());
                    file.push_str(RECORDS[*records]);
                }
            }
            Event::Remove(path) => {
                files.remove(PATHS[*path]);
                inbox.remove(PATHS[*path]);
            }
            Event::Fail(times) => {
                inbox.fail(*times);
                self.fails = true;
            }
            Event::Load => self.load().await,
        }
    }

    /// Loads all feeds in one pass. Asserts that new deliveries are in the order of date, feed and name.
    async fn load(&mut self) {
        let before: BTreeSet<DeliveryId> = self.deliveries().await.iter().map(|one| one.id).collect();
        let mut found = Vec::new();
        for bench in &self.benches {
            // A listing that fails may have found some files.
            let _ = bench.inbox.each(&mut |file| found.push(file)).await;
        }
        let benches: Vec<&Bench> = self.benches.iter().collect();
        let ended = feeds::run(&benches, Scope::Once(found), CancellationToken::new()).await;
        assert_eq!(ended, Ended::Done);
        let mut new: Vec<Delivery> = self.deliveries().await;
        new.retain(|one| !before.contains(&one.id) && one.stamps.begin().is_some());
        new.sort_by_key(|one| one.stamps.begin());
        let places = new.iter().map(|one| place(&one.file));
        assert!(
            self.fails || places.is_sorted(),
            "{:?}",
            new.iter().map(|one| &one.file).collect::<Vec<_>>()
        );
        self.benches.iter().for_each(|bench| bench.inbox.fail(0));
        self.fails = false;
        self.remember().await;
    }

    /// Notes the contents of the newest delivery of each file, unless the file was not read.
    async fn remember(&mut self) {
        for (bench, files) in zip(&self.benches, &self.files) {
            for (path, text) in files {
                let Some(newest) = bench.newest(path).await else { continue };
                let loaded = text.as_bytes().get(..usize::try_from(newest.reach.offset).unwrap());
                if loaded.is_some_and(|loaded| blake3::hash(loaded).to_hex().as_str() == newest.hash) {
                    self.contents.insert(newest.id, text.clone());
                }
            }
        }
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        Deliveries::new(&*self.benches[0].store, DeliveryFilter::All).all().await.unwrap()
    }

    /// Asserts that each file is loaded, or is a copy of another file of its feed.
    async fn assert_loaded(&self) {
        for (bench, files) in zip(&self.benches, &self.files) {
            for (path, text) in files {
                let newest = bench.newest(path).await.unwrap();
                let is_copy = newest.same_as.is_some_and(|same| self.contents[&same].starts_with(text));
                let is_done = match newest.state {
                    DeliveryState::Duplicate => is_copy,
                    _ => bench.is_loaded(path, text.as_bytes()).await,
                };
                assert!(is_done, "{path} of `{}`: {text:?} {newest:?}", bench.plan.feed);
            }
        }
    }

    /// Asserts that copies are in one feed, and that the table has all records in the order of their stamps.
    async fn assert_table(&self) {
        let all = self.deliveries().await;
        let mut records: Vec<(Stamp, &str)> = Vec::new();
        for delivery in &all {
            let same = all.iter().find(|other| Some(other.id) == delivery.same_as);
            assert!(same.is_none_or(|same| same.file.feed() == delivery.file.feed()), "{delivery:?}");
            let contents = self.contents.get(&delivery.id).map_or("", String::as_str);
            let lines = contents.lines().skip(1).take(usize::try_from(delivery.receipt.records).unwrap());
            let lines: Vec<&str> = lines.collect();
            assert_eq!(lines.len() as u64, delivery.receipt.records, "{delivery:?}");
            records.extend(zip(0.., lines).map(|(n, line)| (delivery.stamps.of(n).unwrap(), line)));
        }
        records.sort_unstable();
        let mut table: BTreeMap<i64, String> = BTreeMap::new();
        for (_, record) in records {
            let (key, value) = record.split_once(',').unwrap();
            // An empty column leaves what an earlier record put there. A record whose key is no number is refused.
            let Ok(key) = key.parse() else { continue };
            let row = table.entry(key).or_default();
            if !value.is_empty() {
                value.clone_into(row);
            }
        }
        assert_eq!(self.benches[0].rows(), table);
    }
}

/// Returns date, feed and path. A file without a date comes last.
fn place(file: &FileKey) -> (&str, &str, &str) {
    let name = file.path().rsplit('/').next().unwrap();
    (name.strip_suffix(".csv").filter(|name| *name != "x").unwrap_or("9"), file.feed(), file.path())
}

#[test]
fn any_story_of_feeds_ends_in_the_order_of_date_feed_and_name() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = Cases { cases: 24, failure_persistence: None, ..Cases::default() };
    let events = prop::collection::vec((0..2_usize, event()), 1..24);
    for inbox in [Memory::growing, Memory::fixed] {
        let ran = TestRunner::new(cases.clone()).run(&(1..=2_usize, &events), |(feeds, events)| {
            runtime.block_on(async {
                let mut story = Story::new(feeds, inbox);
                for (feed, event) in &events {
                    story.plays(*feed, event).await;
                }
                // What failed in the last load is loaded now.
                story.load().await;
                story.load().await;
                story.assert_loaded().await;
                story.assert_table().await;
                story.benches[0].store.close().await;
            });
            Ok(())
        });
        ran.unwrap();
    }
}
