//! The contents of the store.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::common::World;
use super::model::{Line, Model, Record};

pub struct Seen {
    store: Connection,
}

impl Seen {
    pub fn of(world: &World) -> Self {
        Self { store: world.open_store() }
    }

    fn select<T>(&self, sql: &str, row: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let mut statement = self.store.prepare(sql).unwrap();
        statement.query_map([], |found| row(found)).unwrap().map(Result::unwrap).collect()
    }

    /// Returns the deliveries in the order in which they were taken up.
    pub fn deliveries(&self) -> Vec<Line> {
        let sql = "SELECT path, generation, state, bytes, records, loaded, quarantined \
                   FROM _needledrop_deliveries ORDER BY id";
        self.select(sql, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
        })
    }

    /// Returns the hashes by which files are first recognized, in the same order.
    pub fn heads(&self) -> Vec<String> {
        self.select("SELECT head FROM _needledrop_deliveries ORDER BY id", |row| row.get(0))
    }

    /// Returns whether the times of each delivery's file are noted, in the same order.
    pub fn noted(&self) -> Vec<bool> {
        self.select("SELECT noted_ctime <> 0 FROM _needledrop_deliveries ORDER BY id", |row| row.get(0))
    }

    /// Returns whether records of each delivery were discarded from quarantine, in the same order.
    pub fn discarded(&self) -> Vec<bool> {
        self.select("SELECT discarded > 0 FROM _needledrop_deliveries ORDER BY id", |row| row.get(0))
    }

    /// Returns the stamp ranges in order: (delivery, first record, base, records).
    fn ranges(&self) -> Vec<(u64, u64, i64, u64)> {
        let sql = "SELECT delivery, first, base, records FROM _needledrop_stamps ORDER BY base";
        self.select(sql, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
    }

    pub fn obeys_the_laws(&self, model: &Model) {
        let ranges = self.ranges();
        for pair in ranges.windows(2) {
            assert!(pair[0].2 + 2 * pair[0].3.cast_signed() <= pair[1].2, "ranges overlap: {pair:?}");
        }
        let mut stamped: Vec<(i64, Record)> = Vec::new();
        for (id, delivery) in (1..).zip(&model.deliveries) {
            for (number, record) in (0..).zip(delivery.records()) {
                let range = ranges.iter().rfind(|range| range.0 == id && range.1 <= number);
                let (_, first, base, records) =
                    range.unwrap_or_else(|| panic!("{number} of {delivery:?} has no stamp"));
                assert!(number - first < *records, "{number} of {delivery:?} has no stamp: {ranges:?}");
                stamped.push((base + 2 * (number - first).cast_signed(), record));
            }
        }
        stamped.sort_by_key(|(stamp, _)| *stamp);
        self.tables_are_all_records_in_order(&stamped);
        self.counts_close(&stamped);
    }

    /// Asserts law 2.
    fn tables_are_all_records_in_order(&self, stamped: &[(i64, Record)]) {
        let mut expected: BTreeMap<String, [String; 2]> = BTreeMap::new();
        for [k, v, w] in stamped.iter().filter_map(|(_, record)| record.as_ref()) {
            let row = expected.entry(k.clone()).or_default();
            for (cell, value) in row.iter_mut().zip([v, w]).filter(|(_, value)| !value.is_empty()) {
                cell.clone_from(value);
            }
        }
        let text =
            |row: &rusqlite::Row<'_>, at| row.get::<_, Option<String>>(at).map(Option::unwrap_or_default);
        let found = self.select("SELECT k, v, w FROM t ORDER BY k", |row| {
            Ok((text(row, 0)?, [text(row, 1)?, text(row, 2)?]))
        });
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "the table");
    }

    /// Asserts law 6.
    fn counts_close(&self, stamped: &[(i64, Record)]) {
        let loaded = stamped.iter().filter(|(_, record)| record.is_some()).count() as u64;
        let sums = "SELECT coalesce(sum(rows), 0), coalesce(sum(collisions), 0) FROM _needledrop_counts";
        let (rows, collisions) =
            self.select(sums, |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?)))[0];
        let keys: u64 = self.select("SELECT count(*) FROM t", |row| row.get(0))[0];
        assert_eq!((rows, collisions), (loaded, loaded - keys), "rows and collisions");
        let refused: u64 = self.select("SELECT count(*) FROM _needledrop_quarantine", |row| row.get(0))[0];
        assert_eq!(refused, stamped.len() as u64 - loaded, "quarantine");
    }
}
