#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test, as the test itself does")]

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::domain::ledger::{Amendment, Continuation, NewDelivery, Verdict};
use crate::domain::{
    Ahead, Checkpoint, Delivery, DeliveryContext, DeliveryId, DeliveryState, End, FileStat, Fingerprint,
    Header, Mapping, Plan, Position, Quarantined, Reason, Receipt, RowChunk, Rows, Span, Stamp, Table,
    TableDelta, Tolerated, ToleratedCounts,
};

/// Returns a plan with three tables. Deliveries of these tests begin before the last of them is declared.
fn plan() -> Plan {
    let fingerprint = Fingerprint::of("plan");
    Plan {
        tables: ["b", "a", "newer"].map(Table::empty).into(),
        attempt: fingerprint.clone(),
        rules: fingerprint.clone(),
        fingerprint,
        ..Plan::empty()
    }
}

fn at(record: u64) -> Position {
    Position { offset: record * 10, record, line: record }
}

fn entry(verdict: Verdict) -> NewDelivery {
    NewDelivery {
        replacement: None,
        plan: Arc::new(plan()),
        file: "a.csv".into(),
        head: Checkpoint { offset: 3, hash: "head".to_owned() },
        noted: FileStat::default(),
        strikes: 0,
        verdict,
    }
}

fn begun(verdict: Verdict) -> Delivery {
    let mut plan = plan();
    plan.tables.truncate(2);
    let entry = NewDelivery { plan: Arc::new(plan), ..entry(verdict) };
    Delivery::begin(&entry, (DeliveryId(7), 2), 1000)
}

fn quarantined(record: u64) -> Quarantined {
    let (line, offset, len) = (record, record * 10, 10);
    let (column, reason, detail, raw) = (None, Reason::Fields, String::new(), Vec::new());
    Quarantined { record, line, offset, len, column, reason, detail, raw }
}

/// Returns the chunk with which a delivery continues.
fn chunk(delivery: &Delivery, [loaded, skipped, refused]: [u64; 3], end: Option<End>) -> RowChunk {
    let named = (Header(Vec::new()), Mapping { fields: 0, field_of: Vec::new(), ignored: Vec::new() });
    let mut rows = Rows::new(0, 0);
    (0..loaded).for_each(|_| rows.push(Stamp(2), &mut Vec::new()));
    let from = delivery.reach.record;
    let to = from + loaded + skipped + refused;
    let source = DeliveryContext::new(Arc::new(plan()), delivery.id, "a.csv".into(), named, None, UNIX_EPOCH);
    RowChunk {
        source: Arc::new(source),
        stamps: Arc::default(),
        span: Span { from: delivery.reach, to: at(to) },
        rows,
        quarantined: (from..from + refused).map(quarantined).collect(),
        skipped,
        tolerated: ToleratedCounts::default(),
        hash: format!("hash up to {to}"),
        bytes: Vec::new(),
        frames: Vec::new(),
        is_tail: false,
        end,
    }
}

fn rows(rows: u64) -> impl Iterator<Item = TableDelta> {
    std::iter::repeat(TableDelta { rows, ..TableDelta::default() })
}

/// Applies a chunk as a store does that rejects `rejected` of its rows.
fn apply(delivery: &mut Delivery, chunk: &RowChunk, rejected: u64) {
    delivery.advance(chunk, rejected).unwrap();
    delivery.receipt.add_rows(&plan().tables, rows(chunk.rows.len() as u64 - rejected));
}

fn counts(receipt: &Receipt) -> [u64; 6] {
    assert!(receipt.closes(), "{receipt:?}");
    let Receipt { records, loaded, skipped, quarantined, replayed, discarded, .. } = *receipt;
    [records, loaded, skipped, quarantined, replayed, discarded]
}

fn comments(times: u64) -> ToleratedCounts {
    let mut counts = ToleratedCounts::default();
    counts.count(Tolerated::Comments, times);
    counts
}

#[test]
fn tolerated_counts_advance_with_the_chunks_and_with_replays() {
    let mut delivery = begun(LOAD);
    let first = RowChunk { tolerated: comments(2), ..chunk(&delivery, [1, 0, 1], None) };
    apply(&mut delivery, &first, 0);
    assert!(delivery.advance(&first, 0).is_err());
    assert_eq!(
        delivery.receipt.tolerated,
        comments(2),
        "a chunk that does not continue the delivery counts nothing"
    );
    let next = RowChunk { tolerated: comments(1), ..chunk(&delivery, [1, 0, 0], Some(End::Loaded)) };
    apply(&mut delivery, &next, 0);
    delivery.receipt.replay((1, 0, &comments(4)), &plan().tables, rows(1));
    assert_eq!(delivery.receipt.tolerated, comments(7));
}

const LOAD: Verdict = Verdict::Load { records: 10 };

#[test]
fn a_delivery_begins_as_its_verdict_says() {
    let delivery = begun(LOAD);
    assert_eq!(
        (delivery.id, delivery.generation, delivery.state),
        (DeliveryId(7), 2, DeliveryState::Loading)
    );
    assert_eq!((delivery.taken_up, delivery.changed, delivery.head.as_str()), (1000, 1000, "head"));
    let tables: Vec<_> =
        delivery.receipt.tables.iter().map(|count| (count.table.as_str(), count.rows)).collect();
    assert_eq!(tables, [("a", 0), ("b", 0)], "in the order of the names");
    assert!(!delivery.receipt.is_behind("a") && delivery.receipt.is_behind("newer"));

    let (of, same_as, hash) = (DeliveryId(1), "b.csv".into(), "all".to_owned());
    let duplicate =
        begun(Verdict::Duplicate { of, same_as, reach: at(4), hash: hash.clone(), is_undone: false });
    assert_eq!((duplicate.state, duplicate.same_as), (DeliveryState::Duplicate, Some(of)));
    assert_eq!((duplicate.reach.offset, duplicate.hash.as_str()), (40, "all"));
    assert_eq!((counts(&duplicate.receipt), duplicate.receipt.tables.len()), ([0; 6], 0));

    let (detail, tail, tolerated) = ("entered".to_owned(), Some(at(3)), comments(2));
    let assumed = begun(Verdict::Assumed { reach: at(4), hash, tail, skipped: 1, tolerated, detail });
    assert_eq!(assumed.receipt.tolerated, comments(2));
    assert_eq!((assumed.state, assumed.reach, assumed.tail), (DeliveryState::Loaded, at(4), tail));
    assert_eq!((counts(&assumed.receipt), assumed.receipt.assumed), ([4, 3, 1, 0, 0, 0], 3));
    assert_eq!(assumed.receipt.parts.ends(), [40]);

    for (verdict, state) in [
        (Verdict::Incomplete { detail: "why".to_owned() }, DeliveryState::Incomplete),
        (Verdict::Failed { detail: "why".to_owned() }, DeliveryState::Failed),
    ] {
        let delivery = begun(verdict);
        assert_eq!((delivery.state, delivery.detail.as_str(), delivery.reach), (state, "why", at(0)));
    }
}

#[test]
fn a_chunk_moves_a_delivery_on_and_its_end_decides_the_state() {
    let why = || "why".to_owned();
    for (end, state, parts) in [
        (None, DeliveryState::Loading, 0),
        (Some(End::Loaded), DeliveryState::Loaded, 1),
        (Some(End::Incomplete { detail: why(), held: false }), DeliveryState::Incomplete, 0),
        (Some(End::Replaced { detail: why() }), DeliveryState::Replaced, 0),
        (Some(End::BrokenOff { detail: why() }), DeliveryState::Loading, 0),
        (Some(End::Failed { detail: why() }), DeliveryState::Failed, 0),
    ] {
        let mut delivery = begun(LOAD);
        delivery.ahead = Some(Ahead { bytes: Checkpoint::default(), rules: Fingerprint::of("plan") });
        let next = chunk(&delivery, [3, 2, 1], end.clone());
        apply(&mut delivery, &next, 1);
        assert_eq!((delivery.state, delivery.reach, delivery.hash.as_str()), (state, at(6), "hash up to 6"));
        assert_eq!(counts(&delivery.receipt), [6, 2, 2, 2, 0, 0]);
        assert_eq!(delivery.receipt.parts.count(), parts, "{end:?}");
        assert_eq!(delivery.detail, end.as_ref().and_then(End::detail).unwrap_or_default());
        assert_eq!(delivery.ahead.is_some(), state == DeliveryState::Loading);
        // A chunk that does not continue the delivery changes nothing.
        let before = format!("{delivery:?}");
        assert!(delivery.advance(&next, 0).is_err());
        assert_eq!(format!("{delivery:?}"), before);
    }
}

#[test]
fn a_refused_delivery_that_fails_after_growth_is_no_longer_refused_as_a_whole() {
    let mut delivery = begun(LOAD);
    let refused = chunk(&delivery, [0, 0, 2], Some(End::Refused { detail: "why".to_owned() }));
    apply(&mut delivery, &refused, 0);
    assert!(delivery.is_refused_as_a_whole());
    let exceeded = chunk(&delivery, [0; 3], Some(End::Failed { detail: "why".to_owned() }));
    apply(&mut delivery, &exceeded, 0);
    assert!(!delivery.is_refused_as_a_whole() && delivery.receipt.parts.count() == 0);
}

#[test]
fn a_tail_is_noted_until_the_file_grows() {
    let mut delivery = begun(LOAD);
    let tail = RowChunk { is_tail: true, ..chunk(&delivery, [1, 0, 0], Some(End::Loaded)) };
    apply(&mut delivery, &tail, 0);
    assert_eq!(delivery.tail, Some(at(0)));
    // A chunk without records changes neither hash nor tail.
    let nothing = RowChunk { hash: String::new(), ..chunk(&delivery, [0; 3], Some(End::Loaded)) };
    apply(&mut delivery, &nothing, 0);
    assert_eq!((delivery.tail, delivery.hash.as_str()), (Some(at(0)), "hash up to 1"));
    let next = chunk(&delivery, [1, 0, 0], None);
    apply(&mut delivery, &next, 0);
    assert_eq!(delivery.tail, None);
}

#[test]
fn a_newer_generation_replaces_or_reads_again() {
    let failed_with = |refused| {
        let mut delivery = begun(LOAD);
        let end = Some(End::Failed { detail: "why".to_owned() });
        let next = chunk(&delivery, [1, 0, refused], end);
        apply(&mut delivery, &next, 0);
        delivery
    };
    let (load, none) = (entry(LOAD), entry(Verdict::Failed { detail: String::new() }));
    let mut failed = failed_with(2);
    assert!(failed.is_unsettled(&load) && !failed.is_unsettled(&none) && !failed_with(0).is_unsettled(&load));
    assert_eq!(failed.supersede(&load, 3), 2);
    assert_eq!((failed.state, counts(&failed.receipt)), (DeliveryState::Failed, [3, 1, 0, 2, 0, 2]));
    let told = "why\ngeneration 3 reads the file again: the open records of this one were discarded";
    assert_eq!((failed.detail.as_str(), failed.is_unsettled(&load)), (told, false));

    // The records are discarded whatever takes their place, unless it fails too.
    let (of, same_as, hash) = (DeliveryId(1), "b.csv".into(), String::new());
    let (detail, tolerated) = (String::new(), comments(0));
    for (verdict, how) in [
        (
            Verdict::Duplicate { of, same_as, reach: at(4), hash: hash.clone(), is_undone: false },
            "has the bytes of a loaded file",
        ),
        (Verdict::Incomplete { detail: detail.clone() }, "reads the file again"),
        (
            Verdict::Assumed { reach: at(4), hash, tail: None, skipped: 0, tolerated, detail },
            "was entered as loaded",
        ),
    ] {
        let mut failed = failed_with(2);
        assert_eq!(failed.supersede(&entry(verdict), 4), 2);
        let told = format!("why\ngeneration 4 {how}: the open records of this one were discarded");
        assert_eq!((failed.state, failed.receipt.open(), failed.detail), (DeliveryState::Replaced, 0, told));
    }

    let mut unloaded = begun(LOAD);
    let next = chunk(&unloaded, [0, 0, 2], None);
    apply(&mut unloaded, &next, 0);
    assert_eq!(unloaded.supersede(&load, 3), 2, "it has loaded nothing");
    assert_eq!((unloaded.state, unloaded.receipt.open()), (DeliveryState::Replaced, 0));

    let mut unfinished = begun(LOAD);
    let bytes = Checkpoint { offset: 50, hash: String::new() };
    unfinished.ahead = Some(Ahead { bytes, rules: Fingerprint::of("plan") });
    assert!(unfinished.is_unsettled(&none));
    assert_eq!(unfinished.supersede(&none, 3), 0);
    let told = "only 0 bytes of it were loaded before its file changed; generation 3 took its place; rows up to \
                byte 50 may be in the tables";
    assert_eq!((unfinished.state, unfinished.detail.as_str()), (DeliveryState::Replaced, told));
}

#[test]
fn resuming_and_amending_count_nothing() {
    let mut delivery = begun(LOAD);
    let next = chunk(&delivery, [2, 1, 1], Some(End::Loaded));
    apply(&mut delivery, &next, 0);
    let receipt = delivery.receipt.clone();
    let (noted, head) =
        (FileStat { size: 9, mtime: 8, ctime: 7 }, Checkpoint { offset: 9, hash: "more".to_owned() });
    let compared = (delivery.reach, None);
    let (detail, rules) = ("grew".to_owned(), plan().rules);
    delivery.resume(&Continuation { noted, head, detail, rules, compared });
    assert_eq!((delivery.state, delivery.detail.as_str()), (DeliveryState::Loading, "grew"));
    assert_eq!((delivery.noted, delivery.head.as_str(), delivery.reach), (noted, "more", at(4)));
    delivery.amend(Amendment { noted: Some(FileStat::default()), ..Amendment::default() });
    assert_eq!((delivery.noted, delivery.state), (FileStat::default(), DeliveryState::Loading));
    let state = Some((DeliveryState::Replaced, "gone".to_owned()));
    delivery.amend(Amendment { state, head: Some("less".to_owned()), ..Amendment::default() });
    assert_eq!((delivery.state, delivery.head.as_str()), (DeliveryState::Replaced, "less"));
    delivery.fail("no row");
    assert_eq!((delivery.state, delivery.detail.as_str()), (DeliveryState::Failed, "no row"));
    assert_eq!(delivery.receipt, receipt);
}

/// A step in the life of a delivery. The numbers are shares of what there is.
#[derive(Clone, Debug)]
enum Step {
    Chunk { records: [u64; 3], rejected: Index, ends: bool },
    Replay { loaded: Index, skipped: Index },
    Discard(Index),
    ReadAgain,
    Recreate(usize),
    Backfill { table: usize, refused: Index, interrupted: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        4 => ([0u64..4, 0..3, 0..3], index(), any::<bool>())
            .prop_map(|(records, rejected, ends)| Step::Chunk { records, rejected, ends }),
        2 => (index(), index()).prop_map(|(loaded, skipped)| Step::Replay { loaded, skipped }),
        1 => index().prop_map(Step::Discard),
        1 => Just(Step::ReadAgain),
        1 => (0usize..3).prop_map(Step::Recreate),
        2 => (0usize..3, index(), any::<bool>())
            .prop_map(|(table, refused, interrupted)| Step::Backfill { table, refused, interrupted }),
    ]
}

/// Returns a share of a number, between 0 and the number.
fn share(index: &Index, of: u64) -> u64 {
    index.index(usize::try_from(of).unwrap() + 1) as u64
}

fn run(delivery: &mut Delivery, step: &Step) {
    let names = ["a", "b", "newer"];
    match step {
        Step::Chunk { records, rejected, ends } => {
            let next = chunk(delivery, *records, ends.then_some(End::Loaded));
            apply(delivery, &next, share(rejected, records[0]));
        }
        Step::Replay { loaded, skipped } => {
            let loaded = share(loaded, delivery.receipt.open());
            let skipped = share(skipped, delivery.receipt.open() - loaded);
            delivery.receipt.replay((loaded, skipped, &comments(0)), &plan().tables, rows(loaded));
        }
        Step::Discard(records) => delivery.receipt.discard(share(records, delivery.receipt.open())),
        Step::ReadAgain => {
            delivery.fail("why");
            delivery.supersede(&entry(LOAD), 3);
        }
        Step::Recreate(table) => delivery.receipt.empty(&names[*table..=*table]),
        Step::Backfill { table, refused, interrupted } => {
            let loaded = delivery.receipt.loaded;
            let count = delivery.receipt.count_of(names[*table]);
            for is_whole in [!interrupted, true] {
                count.restart();
                let refused = share(refused, if is_whole { loaded } else { loaded / 2 });
                let rows = loaded - refused;
                count.backfill(&TableDelta { rows, ..TableDelta::default() }, refused);
                if is_whole {
                    count.fingerprint = Fingerprint::of(names[*table]);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_count_closes_after_any_steps(assumed in any::<bool>(), steps in prop::collection::vec(step(), 0..30)) {
        let (reach, hash, detail) = (at(5), String::new(), String::new());
        let mut delivery = begun(match assumed {
            true => Verdict::Assumed { reach, hash, tail: None, skipped: 2, tolerated: comments(0), detail },
            false => LOAD,
        });
        for step in &steps {
            let before = delivery.receipt.clone();
            run(&mut delivery, step);
            let receipt = &delivery.receipt;
            prop_assert!(receipt.closes(), "{step:?}: {before:?} becomes {receipt:?}");
            prop_assert!(receipt.discarded <= receipt.quarantined && receipt.records == delivery.reach.record);
            prop_assert!(receipt.tables.is_sorted_by(|one, next| one.table < next.table));
        }
    }
}
