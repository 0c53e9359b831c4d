//! The types of the ledger: what is entered, and what can be queried.

use std::sync::Arc;

use crate::domain::{
    Ahead, Checkpoint, Delivery, DeliveryId, DeliveryState, FileKey, FileStat, Fingerprint, Plan, Position,
    Quarantined, Replacement, TableDelta, ToleratedCounts,
};

/// The number of decoded bytes in the head of a delivery. Files with different heads have different content.
pub const HEAD: usize = 64 * 1024;

/// A new delivery to enter into the ledger, after its file was identified.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// The plan that it is loaded by.
    pub plan: Arc<Plan>,
    pub file: FileKey,
    /// The first [`HEAD`] decoded bytes, or all of them if there are fewer.
    pub head: Checkpoint,
    pub noted: FileStat,
    /// How often growth showed that a loaded tail of this file was not a complete record.
    pub strikes: u32,
    /// How it replaces an earlier generation with rows, if there is one. Only for a delivery that is loaded.
    pub replacement: Option<Replacement>,
    pub verdict: Verdict,
}

/// A delivery that was entered into the ledger.
#[derive(Clone, Debug)]
pub struct TakenUp {
    pub delivery: Delivery,
    /// The number of open records of failed generations of its file that were discarded.
    pub discarded: u64,
}

/// What to do with a new delivery.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Load it. It has at most about this many records.
    Load { records: u64 },
    /// Write nothing: another delivery has the same bytes.
    Duplicate {
        of: DeliveryId,
        same_as: FileKey,
        reach: Position,
        hash: String,
        /// Whether the other delivery was undone.
        is_undone: bool,
    },
    /// Write nothing yet: the header is not complete.
    Incomplete { detail: String },
    /// Write nothing: the file cannot be read.
    Failed { detail: String },
    /// Write nothing: another program wrote its rows. The delivery still counts as loaded to its last byte.
    Assumed {
        reach: Position,
        hash: String,
        tail: Option<Position>,
        skipped: u64,
        tolerated: ToleratedCounts,
        detail: String,
    },
}

impl Verdict {
    /// Returns the number of records that need stamps, or `None` if the delivery needs none.
    pub fn stamped(&self) -> Option<u64> {
        match self {
            Self::Load { records } => Some(*records),
            Self::Assumed { reach, .. } => Some(reach.record),
            Self::Duplicate { .. } | Self::Incomplete { .. } | Self::Failed { .. } => None,
        }
    }

    /// Whether the delivery has rows or may get some, so that its receipt counts rows per table.
    pub fn loads(&self) -> bool {
        !matches!(self, Self::Duplicate { .. } | Self::Failed { .. })
    }
}

/// Inputs for resuming a delivery.
#[derive(Clone, Debug)]
pub struct Continuation {
    pub noted: FileStat,
    /// The first [`HEAD`] decoded bytes. A file that grew may have more of them now.
    pub head: Checkpoint,
    /// What was observed about the file.
    pub detail: String,
    /// The fingerprint of the rules that make the rows from now on. See [`Plan::rules`].
    pub rules: Fingerprint,
    /// The delivery's `reach` and `ahead` when its file was compared with it.
    pub compared: (Position, Option<Ahead>),
}

/// Selects deliveries.
#[derive(Clone, Debug)]
pub enum DeliveryFilter {
    All,
    /// Deliveries with records in quarantine, open or settled.
    Quarantined,
    /// All generations of this file.
    Path(FileKey),
    /// The newest generation of this file.
    Newest(FileKey),
    /// Deliveries with this head that are loading or incomplete. Their last bytes are not known yet.
    Unfinished(String),
    /// Loaded and undone deliveries with these bytes.
    Same(Content),
    /// Loaded deliveries with this head.
    Loaded(String),
}

/// Identifies the bytes of a delivery: the hash of the head, the number of bytes, and the hash of all bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    pub head: String,
    pub len: u64,
    pub hash: String,
}

impl Content {
    /// Returns the content of a delivery, if it is or was loaded completely. If a newer generation took its place, its bytes
    /// may be loaded again.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let is_known = matches!(delivery.state, DeliveryState::Loaded | DeliveryState::Undone);
        (is_known && delivery.mirrored_by.is_none()).then(|| Self::read(delivery))
    }

    /// Returns the content that was read of a delivery, whatever became of its records.
    pub fn read(delivery: &Delivery) -> Self {
        let Delivery { head, reach, hash, .. } = delivery;
        Self { head: head.clone(), len: reach.offset, hash: hash.clone() }
    }
}

impl DeliveryFilter {
    /// Whether the filter selects this delivery. `Newest` selects all generations of its file.
    pub fn selects(&self, delivery: &Delivery) -> bool {
        match self {
            Self::All => true,
            Self::Quarantined => delivery.receipt.quarantined + delivery.receipt.replayed > 0,
            Self::Path(file) | Self::Newest(file) => delivery.file == *file,
            Self::Unfinished(head) => delivery.head == *head && delivery.state.is_unfinished(),
            Self::Loaded(head) => delivery.head == *head && delivery.state == DeliveryState::Loaded,
            Self::Same(content) => Content::of(delivery).as_ref() == Some(content),
        }
    }
}

/// The maximum number of deliveries in a page of a listing.
pub const PAGE: usize = 256;

/// The place in a listing where the next page begins. The default is the beginning of the listing.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// The last delivery of the previous page.
    pub after: Option<DeliveryId>,
    /// The ids of all deliveries of the listing. Only a store that cannot list in order sets them.
    pub ids: Option<Arc<[DeliveryId]>>,
}

/// A page of a listing, and where the next page begins (`None` at the end).
#[derive(Clone, Debug)]
pub struct Page<T, C> {
    pub found: Vec<T>,
    pub next: Option<C>,
}

/// What discovery must know about a file to see that nothing changed.
#[derive(Clone, Debug)]
pub struct KnownFile {
    pub id: DeliveryId,
    pub file: FileKey,
    pub state: DeliveryState,
    pub noted: FileStat,
    /// Whether this attempt was made under the configuration passed to [`Ledger::known`](crate::store::Ledger::known).
    pub same_attempt: bool,
    /// The number of open records in quarantine, of all generations.
    pub open: u64,
    /// Whether an open tail is noted whose rows may be in the tables.
    pub has_note: bool,
    /// Whether it replaces an earlier generation, and was not compared with it yet, or its rows were not taken back.
    pub replaces: bool,
}

/// A change of a delivery's entry that writes no rows.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    pub state: Option<(DeliveryState, String)>,
    pub noted: Option<FileStat>,
    /// The hash of the first [`HEAD`] bytes, if the file has more of them now.
    pub head: Option<String>,
    /// The delivery with the same bytes, if this one turned out to be a duplicate.
    pub same_as: Option<DeliveryId>,
    /// What became of an earlier generation.
    pub replacement: Option<Replacement>,
}

impl Amendment {
    pub fn is_empty(&self) -> bool {
        let Self { state, noted, head, same_as, replacement } = self;
        let is_same = state.is_none() && noted.is_none() && head.is_none();
        is_same && same_as.is_none() && replacement.is_none()
    }
}

/// The effect of one chunk on all tables.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// By index of the table in the plan of the chunk.
    pub tables: Vec<TableDelta>,
    /// Records that the store rejected when each was sent alone, while it accepted others. They are in quarantine now.
    pub refused: Vec<Quarantined>,
    /// Why the store accepted none of the chunk's rows. The chunk was not applied, and its delivery has failed.
    pub failed: Option<String>,
}
