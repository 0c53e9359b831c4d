//! Finds files by what they wait for, and counts them. [`Files`](super::Files) keeps the indexes in step with the
//! states.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

use crate::domain::path::Place;
use crate::domain::{Feed, Feeds, FileDates, FileKey};
use crate::pipeline::discover::files::file::{Activity, File, Outcome};

/// The granularity of [`Indexes::oldest`].
const AGE: Duration = Duration::from_millis(100);

/// The indexes. They are trees because a tree frees its memory as files are taken up.
#[derive(Debug, PartialEq, Eq)]
pub struct Indexes {
    /// Files that can be taken up, in listing order.
    pub ready: BTreeSet<Place>,
    /// Files that wait for another file, and that file.
    pub behind: BTreeSet<(Place, FileKey)>,
    /// Settling, held and open files, by the time at which they become ready.
    pub due: BTreeSet<(Instant, FileKey)>,
    /// Loaded files, by the time at which their rest is over.
    pub resting: BTreeSet<(Instant, FileKey)>,
    /// Files that can leave the inbox.
    pub leavable: BTreeSet<FileKey>,
    /// Files that failed, are incomplete, or cannot be read.
    pub troubled: BTreeSet<FileKey>,
    /// The counts of each feed that has files.
    feeds: BTreeMap<Feed, Counts>,
    pub began: Instant,
    /// Which dates in names decide the listing order, by feed.
    dates: Feeds<FileDates>,
}

/// The files of one feed in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    totals: Totals,
    /// The number of waiting files by the time since when they wait, in units of [`AGE`] after `began`.
    ages: BTreeMap<u128, usize>,
}

/// Numbers of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files to which something is happening.
    pub active: usize,
    pub loading: usize,
    pub failed: usize,
    pub incomplete: usize,
    pub unreadable: usize,
    /// Files that wait or are being loaded.
    pub backlog: usize,
    pub backlog_bytes: u64,
}

impl Indexes {
    pub fn new(began: Instant, dates: Feeds<FileDates>) -> Self {
        Self {
            ready: BTreeSet::new(),
            behind: BTreeSet::new(),
            due: BTreeSet::new(),
            resting: BTreeSet::new(),
            leavable: BTreeSet::new(),
            troubled: BTreeSet::new(),
            feeds: BTreeMap::new(),
            began,
            dates,
        }
    }

    /// Adds a file, or removes a file that has not changed since it was added.
    pub fn put(&mut self, key: &FileKey, file: &File, add: bool) {
        match &file.activity {
            Activity::Ready(_) => {
                let place = self.place(key);
                put(&mut self.ready, place, add);
            }
            Activity::Behind(behind) => {
                let place = self.place(key);
                put(&mut self.behind, (place, behind.0.clone()), add);
            }
            Activity::Settling(paused) | Activity::Held(paused) | Activity::Open(paused) => {
                put(&mut self.due, (paused.due, key.clone()), add);
            }
            Activity::Leavable(_) => put(&mut self.leavable, key.clone(), add),
            Activity::Idle | Activity::Identifying(..) | Activity::Loading(..) | Activity::Leaving(_) => {}
        }
        let facts = file.facts();
        if let Some(due) = facts.rest {
            put(&mut self.resting, (due, key.clone()), add);
        }
        if facts.is_trouble() {
            put(&mut self.troubled, key.clone(), add);
        }
        let age = file.activity.waits_since();
        let age = age.map(|since| since.saturating_duration_since(self.began).as_nanos() / AGE.as_nanos());
        if !self.feeds.contains_key(key.feed()) {
            self.feeds.insert(Feed::named(key.feed()).unwrap_or_default(), Counts::default());
        }
        if let Some(counts) = self.feeds.get_mut(key.feed()) {
            counts.totals.count(file, add);
            age.into_iter().for_each(|age| counts.count_age(age, add));
            if *counts == Counts::default() {
                self.feeds.remove(key.feed());
            }
        }
    }

    /// Returns the place of a file in listing order.
    fn place(&self, file: &FileKey) -> Place {
        Place::of(file, self.dates.of(file).copied().unwrap_or_default())
    }

    /// Whether something is happening to a file.
    pub fn are_active(&self) -> bool {
        self.feeds.values().any(|counts| counts.totals.active > 0)
    }

    pub fn totals(&self, feed: &Feed) -> Totals {
        self.feeds.get(feed).map(|counts| counts.totals).unwrap_or_default()
    }

    /// Returns how long the oldest waiting file of a feed has waited.
    pub fn oldest(&self, feed: &Feed, now: Instant) -> Duration {
        let oldest = self.feeds.get(feed).and_then(|counts| counts.ages.first_key_value());
        let oldest = oldest.and_then(|(age, _)| u32::try_from(*age).ok());
        oldest.map_or(Duration::ZERO, |age| now.saturating_duration_since(self.began + AGE * age))
    }

    /// Returns the next file in listing order. A file that waits for another one is not overtaken, because it would
    /// then get later stamps than the files that overtook it. The file it waits for goes first.
    pub fn next(&self) -> Option<&Place> {
        let first = self.ready.first()?;
        match self.behind.first() {
            Some((barrier, _)) if first > barrier => {
                self.behind.iter().filter_map(|(_, other)| self.ready.get(&self.place(other))).min()
            }
            _ => Some(first),
        }
    }

    /// Returns the files that wait for this file.
    pub fn behind(&self, key: &FileKey) -> Vec<FileKey> {
        let waiting = self.behind.iter().filter(|(_, other)| other == key);
        waiting.map(|(waiting, _)| waiting.file.clone()).collect()
    }
}

impl Counts {
    fn count_age(&mut self, age: u128, add: bool) {
        let files = self.ages.entry(age).or_default();
        *files = step(*files, 1, add);
        if *files == 0 {
            self.ages.remove(&age);
        }
    }
}

impl Totals {
    fn count(&mut self, file: &File, add: bool) {
        let facts = file.facts();
        let is_active = !matches!(file.activity, Activity::Idle);
        let backlog = file.activity.backlog();
        for (total, is) in [
            (&mut self.active, is_active),
            (&mut self.loading, matches!(file.activity, Activity::Loading(..))),
            (&mut self.failed, facts.outcome == Some(Outcome::Failed)),
            (&mut self.incomplete, matches!(facts.outcome, Some(Outcome::Incomplete(_)))),
            (&mut self.unreadable, facts.unreadable.is_some()),
            (&mut self.backlog, backlog.is_some()),
        ] {
            *total = step(*total, usize::from(is), add);
        }
        self.backlog_bytes = step(self.backlog_bytes, backlog.unwrap_or_default(), add);
    }
}

fn put<T: Ord>(index: &mut BTreeSet<T>, entry: T, add: bool) {
    if add {
        index.insert(entry);
    } else {
        index.remove(&entry);
    }
}

fn step<T: Add<Output = T> + Sub<Output = T>>(total: T, by: T, add: bool) -> T {
    if add { total + by } else { total - by }
}
