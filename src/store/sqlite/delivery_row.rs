//! Converts a row of the ledger to a delivery.

use std::sync::Arc;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Row, ToSql};

use crate::domain::{
    Delivery, DeliveryId, DeliveryState, FileKey, FileStat, Fingerprint, Parts, Position, Receipt, Stamps,
    ToleratedCounts,
};
use crate::store::saved_replacement;
use crate::store::sqlite::fault::SqlResult;

pub const COLUMNS: &str = "id, path, generation, state, detail, same_as, bytes, records, line, hash, head, \
    tail_bytes, tail_record, tail_line, strikes, noted_size, noted_mtime, \
    noted_ctime, fingerprint, loaded, skipped, quarantined, taken_up, changed, \
    replayed, discarded, assumed, parts, lenient, replacement, mirrored_by";

pub fn delivery(row: &Row<'_>) -> SqlResult<Delivery> {
    let tail = match row.get::<_, Option<u64>>(11)? {
        Some(offset) => Some(Position { offset, record: row.get(12)?, line: row.get(13)? }),
        None => None,
    };
    Ok(Delivery {
        id: DeliveryId(row.get(0)?),
        file: file(row, 1)?,
        generation: row.get(2)?,
        state: state(&row.get::<_, String>(3)?),
        detail: row.get(4)?,
        same_as: row.get::<_, Option<i64>>(5)?.map(DeliveryId),
        replacement: saved_replacement::parse(row.get(29)?),
        mirrored_by: row.get(30)?,
        reach: Position { offset: row.get(6)?, record: row.get(7)?, line: row.get(8)? },
        hash: row.get(9)?,
        head: row.get(10)?,
        tail,
        strikes: row.get(14)?,
        ahead: None,
        note: None,
        noted: noted(row, 15)?,
        stamps: Stamps::default(),
        fingerprint: Fingerprint(row.get(18)?),
        receipt: Receipt {
            records: row.get(7)?,
            loaded: row.get(19)?,
            skipped: row.get(20)?,
            quarantined: row.get(21)?,
            replayed: row.get(24)?,
            discarded: row.get(25)?,
            assumed: row.get(26)?,
            tolerated: ToleratedCounts::parse(&row.get::<_, Option<String>>(28)?.unwrap_or_default()),
            parts: Parts::new(Vec::new(), row.get(27)?),
            ..Receipt::default()
        },
        taken_up: row.get(22)?,
        changed: row.get(23)?,
    })
}

impl ToSql for FileKey {
    fn to_sql(&self) -> SqlResult<ToSqlOutput<'_>> {
        self.text().to_sql()
    }
}

pub fn file(row: &Row<'_>, at: usize) -> SqlResult<FileKey> {
    row.get::<_, Arc<str>>(at).map(FileKey::from_text)
}

pub fn state(name: &str) -> DeliveryState {
    DeliveryState::from_name(name).unwrap_or(DeliveryState::Failed)
}

pub fn noted(row: &Row<'_>, at: usize) -> SqlResult<FileStat> {
    Ok(FileStat { size: row.get(at)?, mtime: row.get(at + 1)?, ctime: row.get(at + 2)? })
}
