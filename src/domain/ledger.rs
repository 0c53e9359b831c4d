//! The ledger's vocabulary: what is entered, what is asked.

use std::sync::Arc;

use crate::domain::{
    Ahead, Checkpoint, Delivery, DeliveryId, DeliveryState, FileStat, Fingerprint, Position, Quarantined,
    told_collisions,
};

/// How many decoded bytes the head of a delivery has: files that differ in it are not alike.
pub const HEAD: usize = 64 * 1024;

/// What a file turned out to be when it was identified.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub path: String,
    /// The first [`HEAD`] decoded bytes, or all there are.
    pub head: Checkpoint,
    pub noted: FileStat,
    /// How often growth showed that a tail of this path was not a whole record.
    pub strikes: u32,
    pub fingerprint: Fingerprint,
    /// Of the configuration with its limits: with another one, what failed is tried again.
    pub attempt: Fingerprint,
    pub verdict: Verdict,
}

/// What is to happen with a new delivery.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Load it; it has at most about this many records.
    Load { records: u64 },
    /// Nothing: these bytes are those of another delivery.
    Duplicate { of: DeliveryId, same_as: String, reach: Position, hash: String },
    /// Nothing yet: not even its header is whole.
    Incomplete { detail: String },
    /// Nothing: it cannot be read.
    Failed { detail: String },
    /// Nothing: another program wrote its rows. It is loaded to its last byte all the same.
    Assumed { reach: Position, hash: String, tail: Option<Position>, skipped: u64, detail: String },
}

/// What a delivery begins with, whatever store it is entered into.
#[derive(Clone, Debug)]
pub struct InitialState {
    pub state: DeliveryState,
    pub detail: String,
    pub same_as: Option<DeliveryId>,
    /// Where it stands. The records of a duplicate are counted where they are loaded.
    pub reach: Position,
    /// BLAKE3 of the bytes before that, hexadecimal.
    pub hash: String,
    pub tail: Option<Position>,
    /// Records before that whose rows another program wrote, and those that are no events.
    pub assumed: u64,
    pub skipped: u64,
}

impl Verdict {
    pub fn beginning(&self) -> InitialState {
        let nothing = |state, detail: &str| InitialState {
            state,
            detail: detail.to_owned(),
            same_as: None,
            reach: Position::default(),
            hash: blake3::hash(b"").to_hex().to_string(),
            tail: None,
            assumed: 0,
            skipped: 0,
        };
        match self {
            Self::Load { .. } => nothing(DeliveryState::Loading, ""),
            Self::Incomplete { detail } => nothing(DeliveryState::Incomplete, detail),
            Self::Failed { detail } => nothing(DeliveryState::Failed, detail),
            Self::Duplicate { of, same_as, reach, hash } => InitialState {
                same_as: Some(*of),
                reach: Position { record: 0, ..*reach },
                hash: hash.clone(),
                ..nothing(
                    DeliveryState::Duplicate,
                    &format!("the same bytes as {same_as}: nothing was written"),
                )
            },
            Self::Assumed { reach, hash, tail, skipped, detail } => InitialState {
                reach: *reach,
                hash: hash.clone(),
                tail: *tail,
                assumed: reach.record - skipped,
                skipped: *skipped,
                ..nothing(DeliveryState::Loaded, detail)
            },
        }
    }

    /// How many records it needs stamps for.
    pub fn stamped(&self) -> Option<u64> {
        match self {
            Self::Load { records } => Some(*records),
            Self::Assumed { reach, .. } => Some(reach.record),
            Self::Duplicate { .. } | Self::Incomplete { .. } | Self::Failed { .. } => None,
        }
    }

    /// Whether rows come or came of it, so that tables are counted.
    pub fn loads(&self) -> bool {
        !matches!(self, Self::Duplicate { .. } | Self::Failed { .. })
    }
}

/// Inputs for resuming a delivery.
#[derive(Clone, Debug)]
pub struct Continuation {
    pub noted: FileStat,
    /// The first [`HEAD`] bytes, of which there may be more now.
    pub head: Checkpoint,
    /// What was seen of it.
    pub detail: String,
    /// How far the delivery reached, and how far it was sent, when its file was compared with it.
    pub compared: (Position, Option<Ahead>),
}

/// Which deliveries are asked for.
#[derive(Clone, Debug)]
pub enum DeliveryFilter {
    All,
    /// Deliveries with records in quarantine, open or settled.
    Quarantined,
    /// All generations of this path.
    Path(String),
    /// The newest generation of this path.
    Newest(String),
    /// Deliveries with this head that are loading or incomplete. Their last bytes are not known yet.
    Unfinished(String),
    /// Loaded deliveries with these bytes.
    Same(Content),
}

/// Identifies the bytes of a delivery: the hash of the head, the number of bytes, and the hash of all bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    pub head: String,
    pub len: u64,
    pub hash: String,
}

impl Content {
    /// The content of a delivery, if it is loaded.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let Delivery { head, reach, hash, state, .. } = delivery;
        (*state == DeliveryState::Loaded).then(|| Self {
            head: head.clone(),
            len: reach.offset,
            hash: hash.clone(),
        })
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

/// What discovery must know of a path to see that nothing changed.
#[derive(Clone, Debug)]
pub struct KnownPath {
    pub id: DeliveryId,
    pub path: String,
    pub state: DeliveryState,
    pub noted: FileStat,
    /// Whether this attempt was made under the configuration passed to [`Store::known`](crate::store::Store::known).
    pub same_attempt: bool,
    /// Open records in quarantine, of all generations.
    pub open: u64,
    /// An open tail is noted whose rows may be in the tables.
    pub has_note: bool,
}

/// A change of a delivery that moves no rows.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    pub state: Option<(DeliveryState, String)>,
    pub noted: Option<FileStat>,
    /// Hash of the first [`HEAD`] bytes, of which there are more now.
    pub head: Option<String>,
}

impl Amendment {
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.noted.is_none() && self.head.is_none()
    }
}

/// What one chunk did to one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableDelta {
    pub rows: u64,
    pub collisions: u64,
    /// Collisions that an estimate had counted before, and that are none.
    pub corrected: u64,
    /// `collisions` is an estimate.
    pub estimated: bool,
    /// Time spent writing these rows.
    pub took: std::time::Duration,
}

impl TableDelta {
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.collisions += other.collisions;
        self.corrected += other.corrected;
        self.estimated |= other.estimated;
        self.took += other.took;
    }

    /// Its collisions as a receipt tells them; [`told_collisions`] says what `sample` is.
    pub fn told_collisions(&self, sample: u64) -> u64 {
        let found = self.collisions.saturating_sub(self.corrected);
        told_collisions(self.rows, found, self.estimated, sample)
    }
}

/// What one chunk did, by index of the table in the plan.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    pub tables: Vec<TableDelta>,
    /// Records that the store refused, each alone, while others were accepted: they are in quarantine now.
    pub refused: Vec<Quarantined>,
    /// Why the chunk was not applied at all and its delivery has failed: the store takes none of its rows.
    pub failed: Option<String>,
}
