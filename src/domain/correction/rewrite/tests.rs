use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::correction::cell_origins::CellOriginsBuilder;
use crate::domain::correction::{Correction, CorrectionStamps};
use crate::domain::{Delivery, DeliveryId, DeliveryState, StampRange, Stamps};

const COLUMNS: usize = 2;

/// One row of a Cassandra table: each cell with its stamp, and the newest delete.
#[derive(Clone, Debug, Default)]
struct Model {
    /// `None` for a cell that was deleted.
    cells: [Option<(i64, Option<i64>)>; COLUMNS],
    marker: Option<i64>,
    deleted: i64,
}

impl Model {
    fn set(&mut self, at: usize, stamp: i64, value: Option<i64>) {
        if stamp > self.deleted && self.cells[at].is_none_or(|(old, _)| old < stamp) {
            self.cells[at] = Some((stamp, value));
        }
    }

    fn insert(&mut self, stamp: i64, values: &[Option<i64>; COLUMNS], clears: bool) {
        if stamp > self.deleted {
            self.marker = self.marker.max(Some(stamp));
        }
        for (at, value) in values.iter().enumerate().filter(|(_, value)| value.is_some() || clears) {
            self.set(at, stamp, *value);
        }
    }

    fn delete(&mut self, stamp: i64) {
        self.deleted = self.deleted.max(stamp);
        self.marker = self.marker.filter(|at| *at > stamp);
        for cell in &mut self.cells {
            *cell = cell.filter(|(at, _)| *at > stamp);
        }
    }

    fn stored(&self) -> Option<StoredRow> {
        let cell = |cell: &Option<(i64, Option<i64>)>| {
            cell.and_then(|(stamp, value)| {
                Some(StoredCell { value: Value::Whole(value?), stamp: Stamp(stamp), ttl: None })
            })
        };
        let cells: StoredRow = self.cells.iter().map(cell).collect();
        (self.marker.is_some() || cells.iter().any(Option::is_some)).then_some(cells)
    }

    fn apply(&mut self, change: &Change, stamps: CorrectionStamps) {
        let (cells, stamp) = match change {
            Change::Delete(kept) => {
                self.delete(stamps.delete().0);
                (kept, stamps.kept())
            }
            Change::Set(cells) => (cells, stamps.restored()),
            Change::Insert(_, cells) => {
                self.marker = self.marker.max(Some(stamps.restored().0));
                (cells, stamps.restored())
            }
        };
        for (at, value, _) in cells {
            let value = match value {
                Value::Whole(value) => Some(*value),
                _ => None,
            };
            self.set(*at, stamp.0, value);
        }
    }
}

/// A record of a delivery, for one key.
type Record = [Option<i64>; COLUMNS];

/// Returns the row that these records give.
fn fold(records: &BTreeMap<i64, Record>, clears: bool) -> Option<ExpectedRow> {
    let (first, newest) = (Stamp(*records.keys().next()?), Stamp(*records.keys().next_back()?));
    let mut row =
        ExpectedRow { values: vec![Value::Empty; COLUMNS], stamps: vec![None; COLUMNS], newest, first };
    for (stamp, values) in records {
        for (at, value) in values.iter().enumerate().filter(|(_, value)| value.is_some() || clears) {
            row.values[at] = value.map_or(Value::Empty, Value::Whole);
            row.stamps[at] = Some(Stamp(*stamp));
        }
    }
    Some(row)
}

#[derive(Clone, Debug)]
enum Event {
    /// A delivery with these records is loaded. With `true`, they go to quarantine.
    Load(Vec<Record>, bool),
    /// The records of a delivery in quarantine are replayed.
    Replay(usize),
    Undo(usize),
    /// Another program sets a cell.
    Set(usize, i64),
}

/// One key of a table, and what becomes of it.
#[derive(Default)]
struct Story {
    clears: bool,
    clock: i64,
    table: Model,
    deliveries: Vec<(Delivery, BTreeMap<i64, Record>)>,
    /// Those whose records are in quarantine.
    late: Vec<(Delivery, BTreeMap<i64, Record>)>,
    corrections: Vec<Correction>,
    others: [Option<(i64, i64)>; COLUMNS],
}

impl Story {
    fn play(&mut self, event: &Event) {
        self.clock += 100;
        match event {
            Event::Load(records, is_late) => self.load(records, *is_late),
            Event::Replay(at) => {
                if let Some(at) = at.checked_rem(self.late.len()) {
                    let late = self.late.remove(at);
                    self.replay(late);
                }
            }
            Event::Undo(at) => {
                let counting: Vec<usize> =
                    (0..self.deliveries.len()).filter(|at| self.deliveries[*at].0.counts()).collect();
                if let Some(at) = at.checked_rem(counting.len()).map(|at| counting[at]) {
                    self.deliveries[at].0.state = DeliveryState::Undone;
                    self.correct(at);
                }
            }
            Event::Set(at, value) => {
                self.table.set(*at, self.clock + 1, Some(*value));
                self.others[*at] = Some((self.clock + 1, *value));
            }
        }
    }

    fn load(&mut self, records: &[Record], is_late: bool) {
        let base = self.clock;
        let stamps = Stamps::new(vec![StampRange { first: 0, base: Stamp(base), records: 10 }]);
        let state = DeliveryState::Loaded;
        let delivery = Delivery { id: DeliveryId(base), state, stamps, ..Delivery::empty() };
        let records: BTreeMap<i64, Record> =
            (0..).zip(records).map(|(n, record)| (base + 2 * n, *record)).collect();
        match is_late {
            true => self.late.push((delivery, records)),
            false => self.write((delivery, records)),
        }
    }

    /// Writes records under their own stamps.
    fn write(&mut self, (delivery, records): (Delivery, BTreeMap<i64, Record>)) {
        records.iter().for_each(|(stamp, record)| self.table.insert(*stamp, record, self.clears));
        // Values of other programs under those of records are lost.
        for (at, other) in self.others.iter_mut().enumerate() {
            let sets = |record: &Record| self.clears || record[at].is_some();
            let newest = records.iter().rfind(|(_, record)| sets(record)).map(|(stamp, _)| *stamp);
            *other = other.filter(|(stamp, _)| newest.is_none_or(|newest| newest < *stamp));
        }
        self.deliveries.push((delivery, records));
    }

    fn replay(&mut self, (delivery, records): (Delivery, BTreeMap<i64, Record>)) {
        let begin = delivery.stamps.begin();
        if self.corrections.iter().any(|one| Some(one.stamps.kept()) > begin) {
            let restored = self.corrections.iter().map(|one| one.stamps.restored()).collect();
            let own = fold(&records, self.clears).unwrap();
            self.deliveries.push((delivery.clone(), records.clone()));
            let all = self.expected();
            self.deliveries.pop();
            self.clock += 100;
            let stamps = CorrectionStamps::new(Stamp(self.clock));
            let lifetime = Lifetime { ttl: None, now: Stamp(self.clock) };
            let stored = self.table.stored();
            let won = own.won_from(all.as_ref());
            let change = won.and_then(|won| lifetime.uncover(&won, stored.as_ref(), &restored));
            self.corrections.push(Correction {
                stamps,
                delivery: None,
                tables: BTreeMap::new(),
                is_settled: true,
            });
            if let Some(change) = change {
                self.table.apply(&change, stamps);
            }
        }
        self.write((delivery, records));
    }

    /// Corrects the row for a delivery, twice: the second time changes nothing that can be seen.
    fn correct(&mut self, at: usize) {
        for _ in 0..2 {
            let mut origins = CellOriginsBuilder::new(&self.corrections, None);
            self.deliveries.iter().for_each(|(delivery, _)| origins.add(delivery));
            let origins = origins.build();
            let (delivery, records) = &self.deliveries[at];
            let lifetime = Lifetime { ttl: None, now: Stamp(self.clock) };
            let rules = Rules { newest_at: None, origins: &origins, is_incomplete: false, lifetime };
            let (expected, own) = (self.expected(), fold(records, self.clears).unwrap());
            let stored = self.table.stored();
            let row =
                stored.as_ref().map(|stored| Corrected { own: &own, expected: expected.as_ref(), stored });
            let change = row.and_then(|row| rules.change(&row));
            self.clock += 100;
            let stamps = CorrectionStamps::new(Stamp(self.clock));
            let (delivery, tables) = (Some(delivery.id), BTreeMap::new());
            self.corrections.push(Correction { stamps, delivery, tables, is_settled: true });
            if let Some(change) = change {
                if let Change::Delete(kept) = &change {
                    // They have later write times now.
                    kept.iter().for_each(|(at, ..)| {
                        self.others[*at] = self.others[*at].map(|(_, value)| (stamps.kept().0, value));
                    });
                }
                self.table.apply(&change, stamps);
            }
        }
    }

    fn expected(&self) -> Option<ExpectedRow> {
        let counting = self.deliveries.iter().filter(|(delivery, _)| delivery.counts());
        fold(&counting.flat_map(|(_, records)| records.clone()).collect(), self.clears)
    }

    /// Checks that the table has what the deliveries give, with the values of other programs over older records.
    fn check(&self) {
        let expected = self.expected();
        let values = self.table.stored();
        for at in 0..COLUMNS {
            let given = expected.as_ref().and_then(|row| Some((row.stamps[at]?.0, row.values[at].clone())));
            let other = self.others[at].map(|(stamp, value)| (stamp, Value::Whole(value)));
            let newest = [given, other].into_iter().flatten().max_by_key(|(stamp, _)| *stamp);
            let newest = newest.map(|(_, value)| value).filter(|value| *value != Value::Empty);
            let stored = values.as_ref().and_then(|cells| cells[at].as_ref().map(|cell| cell.value.clone()));
            assert_eq!(stored, newest, "column {at} of {:?}", self.table);
        }
        let exists = expected.is_some() || values.iter().flatten().any(Option::is_some);
        assert_eq!(values.is_some(), exists, "{:?}", self.table);
    }
}

fn event() -> impl Strategy<Value = Event> {
    let record = prop::array::uniform2(prop::option::of(0i64..4));
    prop_oneof![
        4 => (prop::collection::vec(record, 1..3), prop::bool::weighted(0.3))
            .prop_map(|(records, is_late)| Event::Load(records, is_late)),
        2 => any::<usize>().prop_map(Event::Replay),
        3 => any::<usize>().prop_map(Event::Undo),
        2 => (0..COLUMNS, 10i64..14).prop_map(|(at, value)| Event::Set(at, value)),
    ]
}

proptest! {
    #[test]
    fn after_corrections_a_row_has_the_counting_records_and_the_values_of_other_programs(
        events in prop::collection::vec(event(), 1..12),
        clears in any::<bool>(),
    ) {
        let mut story = Story { clears, clock: 1000, ..Story::default() };
        for event in &events {
            story.play(event);
            story.check();
        }
    }
}
