//! Collects what the records of a chunk became.

use crate::domain::{Frame, Plan, Quarantined, RawChunk, RowChunk, Rows, ToleratedCounts};
use crate::pipeline::row_builder::refused::Refused;
use crate::pipeline::row_builder::tolerance::Outcome;

/// The results of the records of a chunk processed so far.
pub struct Results {
    pub rows: Rows,
    quarantined: Vec<Quarantined>,
    skipped: u64,
    pub tolerated: ToleratedCounts,
}

impl Results {
    pub fn new(rows: Rows) -> Self {
        Self { rows, quarantined: Vec::new(), skipped: 0, tolerated: ToleratedCounts::default() }
    }

    pub fn take(&mut self, raw: &RawChunk, frame: &Frame, outcome: Result<Outcome, Refused>, plan: &Plan) {
        match outcome {
            Ok(outcome) => self.skipped += u64::from(outcome != Outcome::Loaded),
            Err(refused) => {
                let column = refused.column.and_then(|index| plan.columns.get(index));
                self.quarantined.push(Quarantined {
                    record: frame.record,
                    line: frame.line,
                    offset: frame.offset,
                    len: frame.len as u64,
                    column: column.map(|column| column.name.clone()),
                    reason: refused.reason,
                    detail: refused.detail,
                    raw: raw.record(frame).to_vec(),
                });
            }
        }
    }

    pub fn finish(mut self, raw: RawChunk) -> RowChunk {
        self.tolerated.add(&raw.tolerated);
        self.quarantined.extend(raw.refused);
        self.quarantined.sort_by_key(|entry| entry.record);
        RowChunk {
            source: raw.source,
            stamps: raw.stamps,
            span: raw.span,
            rows: self.rows,
            quarantined: self.quarantined,
            skipped: self.skipped,
            tolerated: self.tolerated,
            hash: raw.hash,
            bytes: raw.bytes,
            frames: raw.frames,
            is_tail: raw.is_tail,
            end: raw.end,
        }
    }
}
