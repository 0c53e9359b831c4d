//! Deliveries, their states and their receipts.

use std::fmt;

use super::header::Header;
use super::parts::Parts;
use super::plan::{Fingerprint, Table};
use super::record::{Position, Span};
use super::stamp::Stamps;

/// Identifies a delivery within one ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    Waiting,
    Loading,
    Loaded,
    /// More is expected: the last record is not whole.
    Incomplete,
    /// Its bytes went away before the end.
    Replaced,
    /// The bytes of another delivery under another name: nothing was written.
    Duplicate,
    Failed,
    Undone,
}

impl DeliveryState {
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Loading,
        Self::Loaded,
        Self::Incomplete,
        Self::Replaced,
        Self::Duplicate,
        Self::Failed,
        Self::Undone,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Incomplete => "incomplete",
            Self::Replaced => "replaced",
            Self::Duplicate => "duplicate",
            Self::Failed => "failed",
            Self::Undone => "undone",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file looked like when it was last identified: a cheap check, trusted only when settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileStat {
    /// Bytes of the file as it lies there, compressed or not.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Nanoseconds since 1970.
    pub ctime: i64,
}

impl FileStat {
    /// Whether the file has the bytes it had then, as far as size and mtime tell.
    pub fn has_bytes_of(&self, noted: &Self) -> bool {
        (self.size, self.mtime) == (noted.size, noted.mtime)
    }
}

/// A number of decoded bytes from the beginning of a file, and their BLAKE3 hash, hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub offset: u64,
    pub hash: String,
}

/// The furthest bytes of which rows may be in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    pub bytes: Checkpoint,
    /// Of the rules that made the rows: see [`Plan::rules`](super::Plan).
    pub rules: Fingerprint,
}

/// An open tail as it was before its rows were sent: all that sending them again takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailNote {
    pub span: Span,
    /// Of the decoded bytes up to the end of the span.
    pub hash: String,
    pub header: Header,
    /// Of the rules that made its rows.
    pub rules: Fingerprint,
    /// The record and, where it has one, the carriage return behind it.
    pub bytes: Vec<u8>,
}

/// One generation of a file's content, as the ledger knows it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: DeliveryId,
    /// Relative to the inbox, with `/` between folders; absolute when the file lies elsewhere.
    pub path: String,
    /// From 1, per path.
    pub generation: u32,
    pub state: DeliveryState,
    /// What to do next, or what was seen.
    pub detail: String,
    /// The other delivery, of a duplicate.
    pub same_as: Option<DeliveryId>,
    /// How far it is durable in every table.
    pub reach: Position,
    /// BLAKE3 of the decoded bytes up to `reach`, hexadecimal.
    pub hash: String,
    /// BLAKE3 of the first 64 KiB of decoded bytes, or of all there were.
    pub head: String,
    /// Where the open tail begins that ends at `reach`: it was loaded without a line end.
    pub tail: Option<Position>,
    /// How often growth showed that a tail of this path was not a whole record.
    pub strikes: u32,
    /// The furthest bytes whose rows may be in the tables, where the store sends rows ahead of its ledger.
    pub ahead: Option<Ahead>,
    /// The open tail whose rows may be in the tables although the delivery does not reach over it.
    pub note: Option<TailNote>,
    pub noted: FileStat,
    pub stamps: Stamps,
    /// The configuration that loads it.
    pub fingerprint: Fingerprint,
    pub receipt: Receipt,
    /// Milliseconds since 1970.
    pub taken_up: i64,
    /// Milliseconds since 1970, of the last change.
    pub changed: i64,
}

/// The account of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub records: u64,
    pub loaded: u64,
    pub skipped: u64,
    /// Those in quarantine that are in no table: open or discarded.
    pub quarantined: u64,
    /// Of those loaded and skipped: they were in quarantine before.
    pub replayed: u64,
    /// Of those quarantined: they are not to be loaded.
    pub discarded: u64,
    /// Of those loaded: another program wrote them, and no row was sent (`load --assume-loaded`).
    pub assumed: u64,
    /// In the order of the tables' names.
    pub tables: Vec<TableCount>,
    /// Where each part ended, in decoded bytes: more than one when the file grew.
    pub parts: Parts,
}

/// What one table received from one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCount {
    pub table: String,
    /// Rows acknowledged.
    pub rows: u64,
    /// Loaded records that could not be rows here when the table was played anew.
    pub refused: u64,
    /// Rows that fell on a primary key which an earlier record had made already.
    pub collisions: u64,
    /// There were too many keys to remember them all: `collisions` is an estimate.
    pub estimated: bool,
    /// Of the declaration under which they were written.
    pub fingerprint: Fingerprint,
}

/// How many standard deviations from none an estimate of collisions must be to tell of any.
const DEVIATIONS: u128 = 3;

/// Collisions as they are told. An estimate comes from a sample of at least half of `sample` keys, so that its standard
/// deviation is at most `rows / sqrt(sample / 2)`: below three of them it is noise, and tells of none.
pub fn told_collisions(rows: u64, collisions: u64, estimated: bool, sample: u64) -> u64 {
    let square = |number: u64| u128::from(number).saturating_mul(number.into());
    let keys = u128::from(sample / 2).max(1);
    let noise = square(rows).saturating_mul(DEVIATIONS * DEVIATIONS);
    let is_noise = estimated && square(collisions).saturating_mul(keys) < noise;
    if is_noise { 0 } else { collisions }
}

impl TableCount {
    /// Its collisions as they are told.
    pub fn told_collisions(&self, sample: u64) -> u64 {
        told_collisions(self.rows, self.collisions, self.estimated, sample)
    }
}

impl Receipt {
    /// Quarantined records that wait for a replay, or to be discarded.
    pub fn open(&self) -> u64 {
        self.quarantined.saturating_sub(self.discarded)
    }

    /// records = loaded + skipped + quarantined, and every table that is not behind was sent a row for
    /// each loaded record, or for each that is not assumed to be there.
    pub fn closes(&self) -> bool {
        let up_to_date = self.tables.iter().filter(|table| !table.fingerprint.0.is_empty());
        self.records == self.loaded + self.skipped + self.quarantined
            && up_to_date.into_iter().all(|table| {
                let sent = table.rows + table.refused;
                sent == self.loaded || sent + self.assumed == self.loaded
            })
    }

    /// Records that this table has from another program: it was not sent them, and not played anew.
    pub fn assumed_in(&self, table: &TableCount) -> u64 {
        let has_them = !table.fingerprint.0.is_empty() && table.rows + table.refused < self.loaded;
        if has_them { self.assumed } else { 0 }
    }
}

impl Delivery {
    /// Whether its last record was loaded without a line end.
    pub fn ends_without_newline(&self) -> bool {
        self.tail.is_some_and(|tail| tail.record < self.reach.record)
    }

    /// Whether it has loaded records that this table, as it is declared now, was not sent.
    pub fn is_behind(&self, table: &Table) -> bool {
        let has_records = self.receipt.loaded > 0;
        let sent = self
            .receipt
            .tables
            .iter()
            .any(|count| count.table == table.name && count.fingerprint == table.fingerprint);
        has_records && !sent
    }
}

#[cfg(test)]
impl Delivery {
    /// A delivery that was just taken up, of no particular file.
    pub fn empty() -> Self {
        Self {
            id: DeliveryId(2),
            path: "a.csv".to_owned(),
            generation: 1,
            state: DeliveryState::Loading,
            detail: String::new(),
            same_as: None,
            reach: Position::default(),
            hash: String::new(),
            head: String::new(),
            tail: None,
            strikes: 0,
            ahead: None,
            note: None,
            noted: FileStat::default(),
            stamps: Stamps::default(),
            fingerprint: Fingerprint::of(""),
            receipt: Receipt::default(),
            taken_up: 0,
            changed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_within_its_own_error_tells_of_no_collisions() {
        let sample = 131_072;
        assert_eq!(told_collisions(300_000, 502, true, sample), 0);
        assert_eq!(told_collisions(300_000, 30_000, true, sample), 30_000);
        assert_eq!(told_collisions(300_000, 502, false, sample), 502, "an exact count is told as it is");
        assert_eq!(told_collisions(u64::MAX, u64::MAX, true, sample), u64::MAX);
        assert_eq!(told_collisions(0, 0, true, 0), 0);
    }
}
