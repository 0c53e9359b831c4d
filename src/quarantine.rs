//! The quarantine's vocabulary: entries as they are listed and shown, and what can become of them.

use std::fmt;

use crate::domain::{DeliveryId, Quarantined, RowChunk};

/// Entries that are settled together at most, and the bytes behind which no more are taken along.
pub const PAGE: usize = 64;
pub const PAGE_BYTES: u64 = 1024 * 1024;

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for a replay, or to be discarded.
    Open,
    /// It was loaded or skipped after all.
    Replayed,
    /// It is not to be loaded, and kept for the account.
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

/// A quarantined record with its delivery.
#[derive(Clone, Debug)]
pub struct Entry {
    pub delivery: DeliveryId,
    pub path: String,
    pub generation: u32,
    pub fate: Fate,
    pub record: Quarantined,
}

/// Which entries are asked for; all that are set must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub delivery: Option<DeliveryId>,
    pub path: Option<String>,
    pub reason: Option<String>,
    pub column: Option<String>,
    pub fate: Option<Fate>,
    /// One page: those from this record of the delivery on, no more than [`PAGE`], nor many more bytes than
    /// [`PAGE_BYTES`].
    pub page_from: Option<u64>,
    /// Whether the raw bytes are wanted.
    pub raw: bool,
}

/// Open records of one delivery, tried once more, a [`PAGE`] at most.
#[derive(Debug)]
pub struct Retried {
    /// Those that are rows now, and in its quarantine those that still are none, with their new reason.
    pub chunk: RowChunk,
    /// Numbers of those that are to be skipped now.
    pub skipped: Vec<u64>,
}

impl Retried {
    /// Numbers of those that are rows now, in the order of the rows.
    pub fn loaded(&self) -> impl Iterator<Item = u64> + '_ {
        let chunk = &self.chunk;
        (0..chunk.rows.len()).filter_map(|row| chunk.stamps.number(chunk.rows.stamp(row)))
    }
}
