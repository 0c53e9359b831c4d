//! Receipts: what the records of a delivery became. Every store counts with this arithmetic, so that every count closes.

use std::time::Duration;

use super::parts::Parts;
use super::plan::{Fingerprint, Table};
use super::record::Position;
use super::tolerated_counts::ToleratedCounts;

/// The account of a delivery: what its records became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub records: u64,
    pub loaded: u64,
    pub skipped: u64,
    /// Quarantined records that are in no table: open or discarded.
    pub quarantined: u64,
    /// Loaded and skipped records that were in quarantine before.
    pub replayed: u64,
    /// Quarantined records that are not to be loaded.
    pub discarded: u64,
    /// Loaded records that another program wrote. No row was sent for them (`load --assume-loaded`).
    pub assumed: u64,
    /// How often the lenient settings of the format acted on records that are not in quarantine, and on comments.
    pub tolerated: ToleratedCounts,
    /// The counts per table, in the order of the tables' names.
    pub tables: Vec<TableCount>,
    /// Where each part ended, in decoded bytes. There is more than one part if the file grew.
    pub parts: Parts,
}

/// What one table received from one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCount {
    pub table: String,
    /// The number of acknowledged rows.
    pub rows: u64,
    /// Loaded records that could not become rows of this table in a backfill.
    pub refused: u64,
    /// Rows with a primary key that an earlier record had already written.
    pub collisions: u64,
    /// Whether `collisions` is an estimate, because there were too many keys to remember them all.
    pub estimated: bool,
    /// Collisions that were not written, because their key has a newer record by `newest_by`.
    pub older: u64,
    /// The fingerprint of the declaration under which the rows were written. Empty if the table is behind.
    pub fingerprint: Fingerprint,
}

/// The effect of one chunk on one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableDelta {
    pub rows: u64,
    pub collisions: u64,
    /// Collisions that an earlier estimate had counted and that proved to be none.
    pub corrected: u64,
    /// Whether `collisions` is an estimate.
    pub estimated: bool,
    /// Rows that were not written, because their key has a newer record by `newest_by`.
    pub older: u64,
    /// Time spent writing these rows.
    pub took: Duration,
}

impl TableDelta {
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.collisions += other.collisions;
        self.corrected += other.corrected;
        self.estimated |= other.estimated;
        self.older += other.older;
        self.took += other.took;
    }

    /// Returns the collisions to report. See [`reported_collisions`] for the meaning of `sample`.
    pub fn reported_collisions(&self, sample: u64) -> u64 {
        let found = self.collisions.saturating_sub(self.corrected);
        reported_collisions(self.rows, found, self.estimated, sample)
    }
}

/// An estimate of collisions below this many standard deviations is reported as 0.
const DEVIATIONS: u128 = 3;

/// Returns the collisions to report. An estimate comes from a sample of at least half of `sample` keys, so that its
/// standard deviation is at most `rows / sqrt(sample / 2)`. An estimate below three standard deviations is noise and is
/// reported as 0.
pub fn reported_collisions(rows: u64, collisions: u64, estimated: bool, sample: u64) -> u64 {
    let square = |number: u64| u128::from(number).saturating_mul(number.into());
    let keys = u128::from(sample / 2).max(1);
    let noise = square(rows).saturating_mul(DEVIATIONS * DEVIATIONS);
    let is_noise = estimated && square(collisions).saturating_mul(keys) < noise;
    if is_noise { 0 } else { collisions }
}

impl TableCount {
    /// Returns the count of a table that lacks all records of a delivery.
    pub fn behind(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            rows: 0,
            refused: 0,
            collisions: 0,
            estimated: false,
            older: 0,
            fingerprint: Fingerprint(String::new()),
        }
    }

    /// Whether the table lacks loaded records, until a backfill has reached the end of the delivery.
    pub fn is_behind(&self) -> bool {
        self.fingerprint.0.is_empty()
    }

    pub fn add(&mut self, delta: &TableDelta) {
        self.rows += delta.rows;
        self.collisions = (self.collisions + delta.collisions).saturating_sub(delta.corrected);
        self.estimated |= delta.estimated;
        self.older += delta.older;
    }

    /// Restarts the count before the first chunk of a backfill. Collisions and older records stay: a store that recognises
    /// rows that were sent before does not count them again.
    pub fn restart(&mut self) {
        let Self { collisions, estimated, older, .. } = *self;
        *self = Self { collisions, estimated, older, ..Self::behind(&self.table) };
    }

    /// Counts a chunk of a backfill. `refused` records are loaded in other tables, but cannot be rows of this table.
    pub fn backfill(&mut self, delta: &TableDelta, refused: u64) {
        self.add(delta);
        self.refused += refused;
    }

    /// Returns the collisions to report. See [`reported_collisions`].
    pub fn reported_collisions(&self, sample: u64) -> u64 {
        reported_collisions(self.rows, self.collisions, self.estimated, sample)
    }
}

impl Receipt {
    /// Returns the number of quarantined records that wait for a replay or a discard.
    pub fn open(&self) -> u64 {
        self.quarantined.saturating_sub(self.discarded)
    }

    /// Whether every count closes. Records must equal loaded + skipped + quarantined. Every table that is not behind
    /// must have a row, or a refused record, for each loaded record; it may lack the assumed records.
    pub fn closes(&self) -> bool {
        let mut up_to_date = self.tables.iter().filter(|table| !table.is_behind());
        self.records == self.loaded + self.skipped + self.quarantined
            && up_to_date.all(|table| {
                let sent = table.rows + table.refused;
                sent == self.loaded || sent + self.assumed == self.loaded
            })
    }

    /// Returns the number of assumed records that another program wrote to this table. It is 0 if the table was sent
    /// these records itself, as in a backfill.
    pub fn assumed_in(&self, table: &TableCount) -> u64 {
        let has_them = !table.is_behind() && table.rows + table.refused < self.loaded;
        if has_them { self.assumed } else { 0 }
    }

    /// Returns the count of a table. Adds the count if there is none: the table is newer than the delivery, so it is
    /// behind.
    pub fn count_of(&mut self, table: &str) -> &mut TableCount {
        let at = match self.tables.binary_search_by(|count| count.table.as_str().cmp(table)) {
            Ok(at) => at,
            Err(at) => {
                self.tables.insert(at, TableCount::behind(table));
                at
            }
        };
        &mut self.tables[at]
    }

    /// Whether a table lacks loaded records of the delivery, or is newer than the delivery.
    pub fn is_behind(&self, table: &str) -> bool {
        self.tables.iter().find(|count| count.table == table).is_none_or(TableCount::is_behind)
    }

    /// Counts the records before `reach`, which another program wrote or skipped.
    pub fn assume(&mut self, reach: Position, skipped: u64, tolerated: &ToleratedCounts) {
        let loaded = reach.record - skipped;
        (self.records, self.loaded, self.assumed, self.skipped) = (reach.record, loaded, loaded, skipped);
        self.tolerated.add(tolerated);
        self.parts.push(reach.offset);
    }

    /// Marks tables as up to date with a delivery that has no loaded record. They lack no record of it.
    pub fn bring_up(&mut self, tables: &[Table]) {
        for table in tables {
            self.count_of(&table.name).fingerprint = table.fingerprint.clone();
        }
    }

    /// Counts the rows of a chunk, by index of the table.
    pub fn add_rows(&mut self, tables: &[Table], deltas: impl Iterator<Item = TableDelta>) {
        for (table, delta) in tables.iter().zip(deltas) {
            self.count_of(&table.name).add(&delta);
        }
    }

    /// Counts quarantined records that a replay loaded or skipped, and their rows by index of the table. A table that is
    /// behind still needs a backfill, because it lacks the other records.
    pub fn replay(
        &mut self,
        (loaded, skipped, tolerated): (u64, u64, &ToleratedCounts),
        tables: &[Table],
        deltas: impl Iterator<Item = TableDelta>,
    ) {
        if self.loaded == 0 {
            self.bring_up(tables);
        }
        self.loaded += loaded;
        self.skipped += skipped;
        self.replayed += loaded + skipped;
        self.tolerated.add(tolerated);
        self.quarantined = self.quarantined.saturating_sub(loaded + skipped);
        self.add_rows(tables, deltas);
    }

    /// Counts open records that are not to be loaded.
    pub fn discard(&mut self, records: u64) {
        self.discarded += records;
    }

    /// Empties the counts of tables that contain no row of any delivery, for example because they were dropped and
    /// recreated. The delivery then needs a backfill. Tables that the receipt does not count are left out.
    pub fn empty(&mut self, tables: &[impl AsRef<str>]) {
        let is_empty = |count: &&mut TableCount| tables.iter().any(|table| table.as_ref() == count.table);
        for count in self.tables.iter_mut().filter(is_empty) {
            *count = TableCount::behind(&count.table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_within_its_own_error_is_reported_as_zero() {
        let sample = 131_072;
        assert_eq!(reported_collisions(300_000, 502, true, sample), 0);
        assert_eq!(reported_collisions(300_000, 30_000, true, sample), 30_000);
        assert_eq!(
            reported_collisions(300_000, 502, false, sample),
            502,
            "an exact count is reported unchanged"
        );
        assert_eq!(reported_collisions(u64::MAX, u64::MAX, true, sample), u64::MAX);
        assert_eq!(reported_collisions(0, 0, true, 0), 0);
    }

    #[test]
    fn a_backfill_restarts_rows_and_keeps_collisions() {
        let mut count = TableCount::behind("t");
        count.add(&TableDelta {
            rows: 5,
            collisions: 3,
            corrected: 1,
            estimated: true,
            ..TableDelta::default()
        });
        count.fingerprint = Fingerprint::of("t");
        assert_eq!((count.rows, count.collisions, count.estimated), (5, 2, true));
        count.restart();
        assert_eq!((count.rows, count.collisions, count.is_behind()), (0, 2, true));
        count.backfill(&TableDelta { rows: 4, ..TableDelta::default() }, 1);
        assert_eq!((count.rows, count.refused, count.collisions), (4, 1, 2));
    }

    #[test]
    fn emptied_tables_are_behind_and_others_stay() {
        let mut receipt = Receipt::default();
        for table in ["a", "b"] {
            let count = receipt.count_of(table);
            count.add(&TableDelta { rows: 2, collisions: 1, ..TableDelta::default() });
            count.fingerprint = Fingerprint::of(table);
        }
        receipt.empty(&["a", "unknown"]);
        assert_eq!(receipt.tables.len(), 2);
        assert_eq!(receipt.count_of("a"), &TableCount::behind("a"));
        assert_eq!((receipt.count_of("b").rows, receipt.is_behind("b")), (2, false));
    }
}
