//! Deliveries and their states.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::feed::FileKey;
use super::header::Header;
use super::plan::{Fingerprint, Table};
use super::receipt::Receipt;
use super::record::{Position, Span};
use super::replacement::Replacement;
use super::stamp::Stamps;

/// Identifies a delivery within one ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    Waiting,
    Loading,
    Loaded,
    /// More is expected, such as the rest of the last record or of the header.
    Incomplete,
    /// The bytes disappeared, or a newer generation of the file took their place, before the end was loaded.
    Replaced,
    /// Another delivery has the same bytes under another name. Nothing was written.
    Duplicate,
    Failed,
    /// What it loaded was taken out of the tables (`needledrop undo`).
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

    /// Whether a delivery in this state still has bytes to read, or expects more bytes.
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Loading | Self::Incomplete)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The size and times of a file at one moment. Comparing them with the noted ones is a cheap check, trusted only once
/// the file has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileStat {
    /// The size of the file as stored, compressed or not, in bytes.
    pub size: u64,
    /// The time of the last modification, in nanoseconds since 1970.
    pub mtime: i64,
    /// The time of the last change of the file or its metadata, in nanoseconds since 1970.
    pub ctime: i64,
}

impl FileStat {
    /// Whether the file still has the same bytes, as far as size and mtime show.
    pub fn has_bytes_of(&self, noted: &Self) -> bool {
        (self.size, self.mtime) == (noted.size, noted.mtime)
    }

    /// Returns when the file changed. Uses ctime, which the system sets from its own clock; a program can set mtime to
    /// anything.
    pub fn changed_at(&self) -> SystemTime {
        time(self.ctime)
    }

    /// Returns when the file last changed, by the later of its times.
    pub fn quiet_since(&self) -> SystemTime {
        time(self.ctime.max(self.mtime))
    }

    /// Returns the version to note for bytes that may yet change without a change of their times. It never equals the
    /// version of a file, so the file is compared again once it is quiet.
    #[must_use]
    pub fn untrusted(self) -> Self {
        Self { ctime: 0, ..self }
    }

    pub fn is_untrusted(&self) -> bool {
        self.ctime == 0
    }
}

/// Converts nanoseconds since 1970. Earlier times count as 1970.
fn time(nanoseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds.try_into().unwrap_or(0))
}

/// A number of decoded bytes from the beginning of a file, and their BLAKE3 hash in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub offset: u64,
    pub hash: String,
}

/// The furthest point in a file whose rows may already be in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    pub bytes: Checkpoint,
    /// The fingerprint of the rules that made the rows. See [`Plan::rules`](super::Plan).
    pub rules: Fingerprint,
}

/// An open tail as it was before its rows were sent. It contains everything needed to send the rows again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailNote {
    pub span: Span,
    /// The hash of the decoded bytes up to the end of the span.
    pub hash: String,
    pub header: Header,
    /// The fingerprint of the rules that made its rows.
    pub rules: Fingerprint,
    /// The bytes of the tail: the record, and what follows it, such as a carriage return.
    pub bytes: Vec<u8>,
}

/// One generation of a file's content, as the ledger knows it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: DeliveryId,
    pub file: FileKey,
    /// The number of this generation of the file, from 1.
    pub generation: u32,
    pub state: DeliveryState,
    /// What to do next, or what was observed.
    pub detail: String,
    /// For a duplicate: the delivery with the same bytes.
    pub same_as: Option<DeliveryId>,
    /// How it replaces an earlier generation with rows, if there is one.
    pub replacement: Option<Replacement>,
    /// For an undone delivery: the generation of its file that took its place (`source.on_replace: mirror`). `None` if a user
    /// undid it.
    pub mirrored_by: Option<u32>,
    /// The position up to which the delivery is durable in every table.
    pub reach: Position,
    /// BLAKE3 of the decoded bytes up to `reach`, in hexadecimal.
    pub hash: String,
    /// BLAKE3 of the first 64 KiB of decoded bytes, or of all of them if there are fewer.
    pub head: String,
    /// The position where the open tail begins, if a tail was loaded without a line end. The tail ends at `reach`.
    pub tail: Option<Position>,
    /// How often growth showed that a loaded tail of this file was not a complete record.
    pub strikes: u32,
    /// The furthest point whose rows may be in the tables. Used if the store sends rows before it advances its ledger.
    pub ahead: Option<Ahead>,
    /// The open tail whose rows may be in the tables although `reach` does not include it.
    pub note: Option<TailNote>,
    pub noted: FileStat,
    pub stamps: Stamps,
    /// The fingerprint of the configuration that loads it.
    pub fingerprint: Fingerprint,
    pub receipt: Receipt,
    /// When the delivery was taken up, in milliseconds since 1970.
    pub taken_up: i64,
    /// When the delivery last changed, in milliseconds since 1970.
    pub changed: i64,
}

/// Says why nothing was loaded from a file. `bytes` is the number of its decoded bytes.
pub fn without_records(bytes: u64) -> &'static str {
    if bytes == 0 { "the file is empty (0 bytes)" } else { "the file has no records" }
}

impl Delivery {
    /// Says that there was nothing to load, if this is so.
    pub fn remark(&self) -> Option<&'static str> {
        let has_none = self.state == DeliveryState::Loaded && self.receipt.records == 0;
        has_none.then(|| without_records(self.reach.offset))
    }

    /// Whether the last record was loaded without a line end.
    pub fn ends_without_newline(&self) -> bool {
        self.tail.is_some_and(|tail| tail.record < self.reach.record)
    }

    /// Returns the offset after the last record. What follows it was passed over when the file was complete, such as a
    /// footer.
    pub fn end_of_records(&self) -> u64 {
        let tail = self.tail.filter(|tail| tail.record == self.reach.record);
        tail.unwrap_or(self.reach).offset
    }

    /// Whether what the delivery loaded is part of the tables. An undo takes it out.
    pub fn counts(&self) -> bool {
        self.state != DeliveryState::Undone
    }

    /// Whether it has loaded records that count, and that needledrop has written.
    pub fn has_rows(&self) -> bool {
        self.counts() && self.receipt.loaded > self.receipt.assumed
    }

    /// Whether the delivery has loaded records that were not sent to this table as it is declared now.
    pub fn is_behind(&self, table: &Table) -> bool {
        let has_records = self.receipt.loaded > 0 && self.counts();
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
    /// Returns a delivery that was just taken up, with default values.
    pub fn empty() -> Self {
        Self {
            id: DeliveryId(2),
            file: "a.csv".into(),
            generation: 1,
            state: DeliveryState::Loading,
            detail: String::new(),
            same_as: None,
            replacement: None,
            mirrored_by: None,
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
