//! Deliveries, their states and their receipts.

use std::fmt;

use super::plan::{Fingerprint, Table};
use super::record::Mark;
use super::stamp::Stamps;

/// Identifies a delivery within one ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
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

impl State {
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

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file looked like when it was last identified: a cheap check, trusted only when settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Noted {
    /// Bytes of the file as it lies there, compressed or not.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Nanoseconds since 1970.
    pub ctime: i64,
}

impl Noted {
    /// Whether a file that looks like this was written anew since it was noted, and did not just grow.
    pub fn is_rewritten(&self, noted: &Self) -> bool {
        self.mtime != noted.mtime && self.size <= noted.size
    }
}

/// One generation of a file's content, as the ledger knows it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: DeliveryId,
    /// Relative to the inbox, with `/` between folders; absolute when the file lies elsewhere.
    pub path: String,
    /// From 1, per path.
    pub generation: u32,
    pub state: State,
    /// What to do next, or what was seen.
    pub detail: String,
    /// The other delivery, of a duplicate.
    pub same_as: Option<DeliveryId>,
    /// How far it is durable in every table.
    pub reach: Mark,
    /// BLAKE3 of the decoded bytes up to `reach`, hexadecimal.
    pub hash: String,
    /// BLAKE3 of the first 64 KiB of decoded bytes, or of all there were.
    pub head: String,
    /// Start of a last record that was loaded without a line end, and the hash up to there.
    pub provisional: Option<(Mark, String)>,
    pub noted: Noted,
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
    pub parts: Vec<u64>,
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
