//! The types of the quarantine: entries as they are listed and shown, and what can become of them.

use std::fmt;
use std::sync::Arc;

use crate::domain::ledger::Page;
use crate::domain::paging::Paging;
use crate::domain::{Quarantined, RowChunk};

/// The maximum number of entries in a page. The entries of a page are settled together. A page also ends once its raw
/// bytes reach [`PAGE_BYTES`](crate::domain::paging::PAGE_BYTES).
pub const PAGE: usize = 64;

/// What became of a quarantined record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for a replay or a discard.
    Open,
    /// A replay loaded or skipped it.
    Replayed,
    /// It is not to be loaded. The entry is kept so that the receipt closes.
    Discarded,
}

impl Fate {
    pub const ALL: [Self; 3] = [Self::Open, Self::Replayed, Self::Discarded];

    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.name() == name)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A quarantined record of a delivery.
#[derive(Clone, Debug)]
pub struct QuarantineEntry {
    pub fate: Fate,
    pub record: Quarantined,
}

/// Selects entries of a delivery. An entry must meet every condition that is set.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    pub reason: Option<String>,
    pub column: Option<String>,
    pub fate: Option<Fate>,
    pub line: Option<u64>,
    /// Whether to return the raw bytes.
    pub raw: bool,
}

/// Collects one page: up to [`PAGE`] entries, or fewer once their raw bytes reach [`PAGE_BYTES`](crate::domain::paging::PAGE_BYTES).
#[derive(Debug)]
pub struct EntryPaging(Paging<QuarantineEntry>);

impl Default for EntryPaging {
    fn default() -> Self {
        Self(Paging::new(PAGE))
    }
}

impl EntryPaging {
    /// Adds an entry. Returns false when the page is full.
    pub fn push(&mut self, entry: QuarantineEntry) -> bool {
        let bytes = entry.record.raw.len() as u64;
        self.0.push(entry, bytes)
    }

    /// Returns the page. If it is full, more entries may follow.
    pub fn end(self) -> Page<QuarantineEntry, u64> {
        let last = self.0.last().filter(|_| self.0.is_full());
        let next = last.map(|entry| entry.record.record + 1);
        self.0.end(next)
    }
}

/// Open records of one delivery that were tried again, at most a [`PAGE`] of them.
#[derive(Debug)]
pub struct Replay {
    /// The records that are rows now. The chunk's quarantine has the records that still are not, with their new reason.
    pub chunk: Arc<RowChunk>,
    /// The numbers of the records that are skipped now.
    pub skipped: Vec<u64>,
}

impl Replay {
    /// Returns the numbers of the records that are rows now, in the order of the rows.
    pub fn loaded(&self) -> impl Iterator<Item = u64> + '_ {
        let chunk = &self.chunk;
        (0..chunk.rows.len()).filter_map(|row| chunk.stamps.number(chunk.rows.stamp(row)))
    }
}
