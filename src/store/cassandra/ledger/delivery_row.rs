//! Converts a delivery to a row of the ledger and back.

use std::collections::BTreeMap;

use scylla::value::CqlTimestamp;
use scylla::{DeserializeRow, SerializeRow};

use crate::domain::ledger::KnownFile;
use crate::domain::{
    Ahead, Checkpoint, Delivery, DeliveryId, DeliveryState, FileKey, FileStat, Fingerprint, Header, Parts,
    Position, Receipt, Span, Stamp, StampRange, Stamps, TableCount, TailNote, ToleratedCounts,
};
use crate::store::cassandra::lease::trust::Trust;
use crate::store::saved_replacement;

/// The count of a table: rows, collisions, rejected rows, whether collisions are an estimate, fingerprint.
type Count = (i64, i64, i64, bool, String);

/// A position: byte, record and line.
type Place = (i64, i64, i64);

/// An open tail: its beginning and its end, the hash up to its end, header, rules, bytes.
type Note = (i64, i64, i64, i64, i64, i64, String, Vec<String>, String, Vec<u8>);

/// A row of `needledrop_deliveries`.
#[derive(Debug, Clone, SerializeRow, DeserializeRow)]
pub struct Stored {
    id: i64,
    path: String,
    generation: i32,
    state: String,
    detail: String,
    same_as: Option<i64>,
    bytes: i64,
    records: i64,
    line: i64,
    hash: String,
    head: String,
    noted_size: i64,
    noted_mtime: i64,
    noted_ctime: i64,
    fingerprint: String,
    attempt: String,
    loaded: i64,
    skipped: i64,
    quarantined: i64,
    taken_up: CqlTimestamp,
    changed: CqlTimestamp,
    stamps: Option<Vec<(i64, i64, i64)>>,
    parts: Option<Vec<i64>>,
    tables: Option<BTreeMap<String, Count>>,
    older: Option<BTreeMap<String, i64>>,
    replayed: Option<i64>,
    discarded: Option<i64>,
    assumed: Option<i64>,
    tail: Option<Place>,
    strikes: Option<i32>,
    ahead: Option<(i64, String, String)>,
    note: Option<Note>,
    part_count: Option<i64>,
    lenient: Option<String>,
    replacement: Option<String>,
    mirrored_by: Option<i32>,
    written: Option<i64>,
    trusted: Option<Vec<i64>>,
}

/// The columns of [`Stored`], in the order of its fields.
pub const COLUMNS: [&str; 38] = [
    "id",
    "path",
    "generation",
    "state",
    "detail",
    "same_as",
    "bytes",
    "records",
    "line",
    "hash",
    "head",
    "noted_size",
    "noted_mtime",
    "noted_ctime",
    "fingerprint",
    "attempt",
    "loaded",
    "skipped",
    "quarantined",
    "taken_up",
    "changed",
    "stamps",
    "parts",
    "tables",
    "older",
    "replayed",
    "discarded",
    "assumed",
    "tail",
    "strikes",
    "ahead",
    "note",
    "part_count",
    "lenient",
    "replacement",
    "mirrored_by",
    "written",
    "trusted",
];

/// A delivery with the values that only the ledger uses.
#[derive(Clone, Debug)]
pub struct Entered {
    pub delivery: Delivery,
    pub attempt: Fingerprint,
    pub trust: Trust,
}

/// Converts an offset or a count. Both are far below 2^63.
pub fn big(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn place(mark: Position) -> Place {
    (big(mark.offset), big(mark.record), big(mark.line))
}

fn mark((offset, record, line): Place) -> Position {
    Position { offset: count(offset), record: count(record), line: count(line) }
}

fn stored_note(note: &TailNote) -> Note {
    let TailNote { span, hash, header, rules, bytes } = note;
    let ((a, b, c), (d, e, f)) = (place(span.from), place(span.to));
    (a, b, c, d, e, f, hash.clone(), header.0.clone(), rules.0.clone(), bytes.clone())
}

fn tail_note((a, b, c, d, e, f, hash, header, rules, bytes): Note) -> TailNote {
    let span = Span { from: mark((a, b, c)), to: mark((d, e, f)) };
    TailNote { span, hash, header: Header(header), rules: Fingerprint(rules), bytes }
}

impl From<&Entered> for Stored {
    fn from(entered: &Entered) -> Self {
        let Entered { delivery, attempt, trust } = entered;
        let Delivery { reach, noted, receipt, .. } = delivery;
        let ranges = delivery.stamps.ranges().iter();
        let tables = receipt.tables.iter().map(|table| {
            let TableCount { rows, collisions, refused, estimated, fingerprint, .. } = table;
            let count = (big(*rows), big(*collisions), big(*refused), *estimated, fingerprint.0.clone());
            (table.table.clone(), count)
        });
        let older = receipt.tables.iter().filter(|table| table.older > 0);
        let older: BTreeMap<_, _> = older.map(|table| (table.table.clone(), big(table.older))).collect();
        Self {
            id: delivery.id.0,
            path: delivery.file.text().to_owned(),
            generation: i32::try_from(delivery.generation).unwrap_or(i32::MAX),
            state: delivery.state.name().to_owned(),
            detail: delivery.detail.clone(),
            same_as: delivery.same_as.map(|id| id.0),
            bytes: big(reach.offset),
            records: big(receipt.records),
            line: big(reach.line),
            hash: delivery.hash.clone(),
            head: delivery.head.clone(),
            noted_size: big(noted.size),
            noted_mtime: noted.mtime,
            noted_ctime: noted.ctime,
            fingerprint: delivery.fingerprint.0.clone(),
            attempt: attempt.0.clone(),
            loaded: big(receipt.loaded),
            skipped: big(receipt.skipped),
            quarantined: big(receipt.quarantined),
            taken_up: CqlTimestamp(delivery.taken_up),
            changed: CqlTimestamp(delivery.changed),
            stamps: Some(ranges.map(|range| (big(range.first), range.base.0, big(range.records))).collect()),
            parts: Some(receipt.parts.ends().iter().copied().map(big).collect()),
            tables: Some(tables.collect()),
            older: Some(older).filter(|older| !older.is_empty()),
            replayed: Some(big(receipt.replayed)),
            discarded: Some(big(receipt.discarded)),
            assumed: Some(big(receipt.assumed)),
            tail: delivery.tail.map(place),
            strikes: Some(i32::try_from(delivery.strikes).unwrap_or(i32::MAX)),
            ahead: delivery
                .ahead
                .as_ref()
                .map(|Ahead { bytes, rules }| (big(bytes.offset), bytes.hash.clone(), rules.0.clone())),
            note: delivery.note.as_ref().map(stored_note),
            part_count: Some(big(receipt.parts.count())),
            lenient: receipt.tolerated.stored(),
            replacement: saved_replacement::text(delivery.replacement.as_ref()),
            mirrored_by: delivery.mirrored_by.and_then(|generation| i32::try_from(generation).ok()),
            written: Some(trust.written()),
            trusted: trust.earlier().map(<[i64]>::to_vec),
        }
    }
}

impl Stored {
    pub fn take_path(&mut self) -> String {
        std::mem::take(&mut self.path)
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    pub fn id(&self) -> i64 {
        self.id
    }

    /// Returns the head of a delivery if its last bytes are not known yet.
    pub fn unfinished(&self) -> Option<&str> {
        let state = DeliveryState::from_name(&self.state)?;
        state.is_unfinished().then_some(self.head.as_str())
    }

    /// Returns the fingerprint of the configuration under which the delivery was taken up.
    pub fn attempt(&self) -> &str {
        &self.attempt
    }

    /// Returns what is known of the file. `same_attempt` is false; the caller sets it.
    pub fn known(self) -> KnownFile {
        KnownFile {
            id: DeliveryId(self.id),
            file: FileKey::from_text(self.path),
            state: DeliveryState::from_name(&self.state).unwrap_or(DeliveryState::Failed),
            noted: FileStat {
                size: count(self.noted_size),
                mtime: self.noted_mtime,
                ctime: self.noted_ctime,
            },
            same_attempt: false,
            open: count(self.quarantined).saturating_sub(count(self.discarded.unwrap_or(0))),
            has_note: self.note.is_some(),
            replaces: saved_replacement::is_due(self.replacement),
        }
    }

    pub fn entered(self) -> Entered {
        let older = self.older.unwrap_or_default();
        let tables = self.tables.unwrap_or_default().into_iter().map(|(table, of)| TableCount {
            older: older.get(&table).copied().map_or(0, count),
            table,
            rows: count(of.0),
            collisions: count(of.1),
            refused: count(of.2),
            estimated: of.3,
            fingerprint: Fingerprint(of.4),
        });
        let ranges = self.stamps.unwrap_or_default().into_iter().map(|(first, base, records)| StampRange {
            first: count(first),
            base: Stamp(base),
            records: count(records),
        });
        let receipt = Receipt {
            records: count(self.records),
            loaded: count(self.loaded),
            skipped: count(self.skipped),
            quarantined: count(self.quarantined),
            replayed: count(self.replayed.unwrap_or(0)),
            discarded: count(self.discarded.unwrap_or(0)),
            assumed: count(self.assumed.unwrap_or(0)),
            tolerated: ToleratedCounts::parse(self.lenient.as_deref().unwrap_or_default()),
            tables: tables.collect(),
            parts: Parts::new(
                self.parts.unwrap_or_default().into_iter().map(count).collect(),
                count(self.part_count.unwrap_or(0)),
            ),
        };
        let delivery = Delivery {
            id: DeliveryId(self.id),
            file: FileKey::from_text(self.path),
            generation: u32::try_from(self.generation).unwrap_or(0),
            state: DeliveryState::from_name(&self.state).unwrap_or(DeliveryState::Failed),
            detail: self.detail,
            same_as: self.same_as.map(DeliveryId),
            replacement: saved_replacement::parse(self.replacement),
            mirrored_by: self.mirrored_by.and_then(|generation| u32::try_from(generation).ok()),
            // The record number of a duplicate is 0, because its records are counted in the delivery that loaded them.
            reach: mark((self.bytes, self.records, self.line)),
            hash: self.hash,
            head: self.head,
            tail: self.tail.map(mark),
            strikes: self.strikes.and_then(|strikes| u32::try_from(strikes).ok()).unwrap_or(0),
            ahead: self.ahead.map(|(offset, hash, rules)| Ahead {
                bytes: Checkpoint { offset: count(offset), hash },
                rules: Fingerprint(rules),
            }),
            note: self.note.map(tail_note),
            noted: FileStat {
                size: count(self.noted_size),
                mtime: self.noted_mtime,
                ctime: self.noted_ctime,
            },
            stamps: Stamps::new(ranges.collect()),
            fingerprint: Fingerprint(self.fingerprint),
            receipt,
            taken_up: self.taken_up.0,
            changed: self.changed.0,
        };
        let trust = Trust::new(self.trusted, self.written);
        Entered { delivery, attempt: Fingerprint(self.attempt), trust }
    }
}
