//! Checks that a delivery is judged by its records alone, wherever chunks begin and end and readers are interrupted.

use std::sync::Arc;
use std::time::SystemTime;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::domain::{
    DeliveryContext, DeliveryId, End, FirstRecords, Frame, Header, Mapping, Plan, Position, Quarantined,
    Quota, Reason, RowChunk, Rows, Span, Stamp, Stamps, ToleratedCounts,
};
use crate::pipeline::transform::quarantine_limit::QuarantineLimit;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Good,
    Skipped,
    Bad,
}

/// A file: what becomes of each of its records, and the number of bytes that each of them has.
#[derive(Clone, Debug)]
struct File {
    records: Vec<Outcome>,
    len: u64,
}

impl File {
    fn count(&self, outcome: Outcome, to: u64) -> u64 {
        self.records.iter().take(index(to)).filter(|found| **found == outcome).count() as u64
    }

    fn position(&self, record: u64) -> Position {
        Position { offset: record * self.len, record, line: record }
    }

    /// Returns the chunk of these records, for a reader that began where the ledger was.
    fn chunk(&self, ledger: &Ledger, from: u64, to: u64, end: Option<End>) -> RowChunk {
        let (mut rows, mut frames, mut quarantined, mut skipped) =
            (Rows::new(0, 0), Vec::new(), Vec::new(), 0);
        for record in from..to {
            let Position { offset, line, .. } = self.position(record);
            let frame = Frame { record, line, offset, start: 0, len: 0 };
            match self.records[index(record)] {
                Outcome::Good => rows.add(Stamp(0), |_, _| Ok::<_, ()>(())).unwrap(),
                Outcome::Skipped => skipped += 1,
                Outcome::Bad => quarantined.push(entry(record, offset)),
            }
            // Some records are refused before they are framed.
            if self.records[index(record)] != Outcome::Bad || record % 3 != 0 {
                frames.push(frame);
            }
        }
        RowChunk {
            source: ledger.source(self),
            stamps: Arc::new(Stamps::default()),
            span: Span { from: self.position(from), to: self.position(to) },
            rows,
            quarantined,
            skipped,
            tolerated: ToleratedCounts::default(),
            hash: String::new(),
            bytes: Vec::new(),
            frames,
            is_tail: false,
            end,
        }
    }
}

fn index(record: u64) -> usize {
    usize::try_from(record).unwrap()
}

fn entry(record: u64, offset: u64) -> Quarantined {
    let (reason, detail) = (Reason::Value, "\"x\" must be a number".to_owned());
    Quarantined { record, line: record, offset, len: 1, column: None, reason, detail, raw: Vec::new() }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Ledger {
    records: u64,
    rows: u64,
    /// Whether the delivery is loaded to the end of its file.
    is_loaded: bool,
    failed: Option<String>,
}

impl Ledger {
    fn source(&self, file: &File) -> Arc<DeliveryContext> {
        let mapping = Mapping { fields: 1, field_of: Vec::new(), ignored: Vec::new() };
        let (plan, named) = (Arc::new(Plan::empty()), (Header(Vec::new()), mapping));
        Arc::new(DeliveryContext {
            records_before: self.records,
            quarantined_before: file.count(Outcome::Bad, self.records),
            skipped_before: file.count(Outcome::Skipped, self.records),
            ..DeliveryContext::new(plan, DeliveryId(1), "a.csv".into(), named, None, SystemTime::UNIX_EPOCH)
        })
    }

    fn apply(&mut self, chunk: &RowChunk) {
        assert_eq!(chunk.span.from.record, self.records, "a chunk continues the ledger");
        self.records = chunk.span.to.record;
        self.rows += chunk.rows.len() as u64;
        self.is_loaded = chunk.end == Some(End::Loaded);
        if let Some(End::Refused { detail } | End::Failed { detail }) = &chunk.end {
            self.failed = Some(detail.clone());
        }
    }
}

/// How a reader is interrupted: after how many chunks, how many of the chunks that passed are durable by then, and
/// whether the reader notices it.
#[derive(Clone, Debug)]
struct Interruption {
    after: Index,
    durable: Index,
    is_noticed: bool,
}

#[derive(Clone, Debug)]
struct Rules {
    quota: Quota,
    first: FirstRecords,
}

/// Reads the file from where the ledger is up to this record, where it ends for now. Chunks end at these records.
fn read(
    file: &File,
    rules: &Rules,
    ledger: &mut Ledger,
    to: u64,
    cuts: &[u64],
    interrupted: Option<&Interruption>,
) {
    let mut limit = QuarantineLimit::new(rules.quota, rules.first);
    let begin = ledger.clone();
    let mut ends: Vec<u64> = cuts.iter().copied().filter(|cut| (begin.records..to).contains(cut)).collect();
    ends.push(to);
    let stop = interrupted.map(|how| how.after.index(ends.len()));
    let (mut from, mut passed, mut dropped) = (begin.records, Vec::new(), 0);
    for (at, end) in ends.iter().enumerate() {
        let is_broken = stop == Some(at) && interrupted.is_some_and(|how| how.is_noticed);
        let how = match (is_broken, *end == to && at + 1 == ends.len()) {
            (true, _) => Some(End::BrokenOff { detail: String::new() }),
            (false, is_last) => is_last.then_some(End::Loaded),
        };
        let judged = limit.take(file.chunk(&begin, from, *end, how));
        from = *end;
        dropped += judged.dropped.iter().map(RowChunk::records).sum::<u64>();
        passed.extend(judged.passed);
        let has_ended = passed.last().is_some_and(|chunk: &RowChunk| chunk.end.is_some());
        if stop == Some(at) || has_ended {
            break;
        }
    }
    let held: u64 = limit.into_held().map(|chunk| chunk.records()).sum();
    let sum = passed.iter().map(RowChunk::records).sum::<u64>() + dropped + held;
    assert_eq!(sum, from - begin.records, "each record passes, is dropped or is held");
    let durable = match interrupted {
        Some(how) if !how.is_noticed => how.durable.index(passed.len() + 1),
        _ => passed.len(),
    };
    passed.iter().take(durable).for_each(|chunk| ledger.apply(chunk));
}

/// Reads the file as it grows, with interruptions.
fn history(
    file: &File,
    rules: &Rules,
    ends: &[u64],
    cuts: &[Index],
    interruptions: &[Interruption],
) -> Ledger {
    let (mut ledger, mut cuts, mut interruptions) = (Ledger::default(), cuts.chunks(8), interruptions.iter());
    for to in ends {
        loop {
            let chosen = cuts.next().unwrap_or_default();
            let mut chosen: Vec<u64> =
                chosen.iter().map(|cut| cut.index(file.records.len() + 1) as u64).collect();
            chosen.sort_unstable();
            let interrupted = interruptions.next();
            read(file, rules, &mut ledger, *to, &chosen, interrupted);
            if ledger.failed.is_some() {
                return ledger;
            }
            if std::mem::take(&mut ledger.is_loaded) {
                break;
            }
        }
    }
    ledger
}

/// What is expected of a delivery.
#[derive(Debug, PartialEq)]
enum Expected {
    Loaded,
    /// It fails with this number of records in the ledger, or with more rows than then only if it is `None`.
    Failed(Option<u64>),
}

/// Judges a file as the documentation says.
fn expected(file: &File, Rules { quota, first }: &Rules, ends: &[u64]) -> Expected {
    let exceeded = |of: u64| quota.exceeded(file.count(Outcome::Bad, of), of);
    let mut begin = 0;
    for end in ends {
        let is_first = begin < first.records && begin * file.len < first.bytes && *quota != Quota::Off;
        let first_end = first.records.min(first.bytes.div_ceil(file.len));
        let first_end = (is_first && first_end < *end).then_some(first_end);
        if first_end.is_some_and(exceeded) {
            return Expected::Failed(Some(begin));
        }
        let is_open = is_first && first_end.is_none();
        let mut steps = (first_end.unwrap_or(begin).max(1)..*end).filter(|of| of % 1000 == 0);
        if !is_open && steps.any(exceeded) {
            return Expected::Failed(None);
        }
        let (bad, skipped) = (file.count(Outcome::Bad, *end), file.count(Outcome::Skipped, *end));
        if bad > 0 && bad + skipped == *end {
            return Expected::Failed(Some(*end));
        }
        if exceeded(*end) {
            return Expected::Failed(is_open.then_some(begin));
        }
        begin = *end;
    }
    Expected::Loaded
}

fn files() -> impl Strategy<Value = File> {
    let outcome = prop_oneof![3 => Just(Outcome::Good), 3 => Just(Outcome::Bad), 1 => Just(Outcome::Skipped)];
    let runs = prop::collection::vec((outcome, 1usize..500), 1..10);
    (runs, 1u64..20).prop_map(|(runs, len)| {
        let records = runs.into_iter().flat_map(|(outcome, count)| vec![outcome; count]).collect();
        File { records, len }
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let quota = prop_oneof![
        1 => Just(Quota::Off),
        2 => (0u64..1000).prop_map(Quota::Count),
        5 => (0u8..100).prop_map(Quota::percent),
    ];
    let first = (1u64..1500, 1u64..15_000);
    let first = first.prop_map(|(records, bytes)| FirstRecords { records, bytes });
    (quota, first).prop_map(|(quota, first)| Rules { quota, first })
}

fn interruptions() -> impl Strategy<Value = Vec<Interruption>> {
    let one = (any::<Index>(), any::<Index>(), any::<bool>());
    let one = one.prop_map(|(after, durable, is_noticed)| Interruption { after, durable, is_noticed });
    prop::collection::vec(one, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn a_delivery_is_judged_by_its_records_wherever_it_is_cut_or_interrupted(
        file in files(),
        rules in rules(),
        ends in prop::collection::vec(any::<Index>(), 0..3),
        cuts in prop::collection::vec(any::<Index>(), 0..64),
        interruptions in interruptions(),
    ) {
        let all = file.records.len() as u64;
        let mut ends: Vec<u64> = ends.iter().map(|end| end.index(file.records.len() + 1) as u64).collect();
        ends.push(all);
        ends.sort_unstable();
        let found = history(&file, &rules, &ends, &cuts, &interruptions);
        match expected(&file, &rules, &ends) {
            Expected::Loaded => {
                prop_assert_eq!(&found.failed, &None);
                prop_assert_eq!((found.records, found.rows), (all, file.count(Outcome::Good, all)));
            }
            Expected::Failed(records) => {
                prop_assert!(found.failed.is_some(), "{:?}", found);
                prop_assert_eq!(found.records, records.unwrap_or(found.records));
                prop_assert_eq!(found.rows, file.count(Outcome::Good, found.records));
            }
        }
    }
}

fn judged(file: &File, quota: Quota) -> Ledger {
    let (rules, all) = (Rules { quota, first: FirstRecords::default() }, file.records.len() as u64);
    history(file, &rules, &[all], &[], &[])
}

fn file(runs: &[(Outcome, usize)]) -> File {
    let records = runs.iter().flat_map(|(outcome, count)| vec![*outcome; *count]).collect();
    File { records, len: 10 }
}

#[test]
fn a_file_that_turns_bad_within_its_first_records_leaves_no_row() {
    let turns = file(&[(Outcome::Good, 4999), (Outcome::Bad, 5001), (Outcome::Good, 90_000)]);
    let found = judged(&turns, Quota::percent(50));
    assert_eq!((found.records, found.rows), (0, 0));
    let why = found.failed.unwrap();
    assert!(
        why.starts_with("5001 of 10000 records were refused, more than limits.max_quarantined (50 %)"),
        "{why}"
    );
    assert!(
        why.contains("5001 (value), the first on line 4999: \"x\" must be a number\n  next: correct"),
        "{why}"
    );
    let half = file(&[(Outcome::Good, 5000), (Outcome::Bad, 5000), (Outcome::Good, 1)]);
    assert_eq!(judged(&half, Quota::percent(50)).failed, None);
}

#[test]
fn a_file_of_which_nothing_can_be_loaded_keeps_its_records_in_quarantine() {
    for quota in [Quota::Off, Quota::percent(50), Quota::Count(3)] {
        let found = judged(&file(&[(Outcome::Bad, 200), (Outcome::Skipped, 1)]), quota);
        assert_eq!(found.records, 201, "{quota}");
        let why = found.failed.unwrap();
        assert!(
            why.starts_with("none of its 201 records could be loaded (1 were skipped): 200 (value)"),
            "{why}"
        );
    }
    assert_eq!(judged(&file(&[(Outcome::Skipped, 5)]), Quota::Off).failed, None, "nothing was refused");
}

#[test]
fn chunks_wait_only_while_the_limit_may_be_exceeded() {
    let (file, ledger) = (file(&[(Outcome::Good, 10_000)]), Ledger::default());
    let mut limit = QuarantineLimit::new(Quota::percent(50), FirstRecords::default());
    assert!(limit.take(file.chunk(&ledger, 0, 4999, None)).passed.is_empty());
    assert_eq!(limit.take(file.chunk(&ledger, 4999, 5000, None)).passed.len(), 2);
    assert_eq!(limit.take(file.chunk(&ledger, 5000, 5001, None)).passed.len(), 1);
    let mut limit = QuarantineLimit::new(Quota::Off, FirstRecords::default());
    assert_eq!(limit.take(file.chunk(&ledger, 0, 1, None)).passed.len(), 1);
}

#[test]
fn long_records_wait_only_until_they_take_the_memory_for_the_first_records() {
    let (file, ledger) = (File { len: 1 << 20, ..file(&[(Outcome::Good, 10)]) }, Ledger::default());
    let mut limit = QuarantineLimit::new(Quota::percent(50), FirstRecords::default());
    assert!(limit.take(file.chunk(&ledger, 0, 2, None)).passed.is_empty());
    assert_eq!(limit.take(file.chunk(&ledger, 2, 3, None)).passed.len(), 2);
}
