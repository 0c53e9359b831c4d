//! A quarantined record as JSON.

use serde_json::{Value as Json, json};

use crate::domain::Delivery;
use crate::domain::quarantine::QuarantineEntry;

pub fn object(delivery: &Delivery, entry: &QuarantineEntry) -> Json {
    let record = &entry.record;
    json!({
        "feed": delivery.file.feed(),
        "file": delivery.file.path(),
        "generation": delivery.generation,
        "record": record.record,
        "line": record.line,
        "byte": record.offset,
        "bytes": record.len,
        "reason": record.reason.name(),
        "column": record.column,
        "detail": record.detail,
        "state": entry.fate.name(),
        "raw": String::from_utf8_lossy(&record.raw),
    })
}
