//! Turns records into rows: finds the fields of each record and parses the values by the rules of their types.
//!
//! Does no I/O and reads no clock, so the same bytes always give the same rows.

mod fields;
mod refused;
mod results;
#[cfg(test)]
mod tests;
mod tolerance;

use std::sync::Arc;

use encoding_rs::UTF_8;
use fields::Fields;
use refused::Refused;
use results::Results;
use tolerance::{Outcome, Tolerance};

use crate::domain::parse::is_empty;
use crate::domain::value::Cell;
use crate::domain::{DeliveryContext, Frame, Origin, Plan, RawChunk, Reason, RowChunk, Rows, Type};
use crate::format::encoding::not_text;
use crate::format::header::BOM;
use crate::format::splitter;
use crate::format::splitter::{Malformed, SplitRecord, Splitter};
use crate::pipeline::buffer_pool::BufferPool;

/// Turns records into rows according to a plan.
pub struct RowBuilder {
    plan: Arc<Plan>,
    /// Columns that belong to the key of a table, with the name of that table. They must not be empty.
    keys: Vec<(usize, String)>,
    /// Whether each column belongs to a table, or is the source of a column that does. Other columns are only checked.
    used: Vec<bool>,
    buffers: Arc<BufferPool>,
}

/// What to do with the records of one file.
struct OfFile<'s> {
    fields: Fields<'s>,
    tolerance: Tolerance<'s>,
}

impl OfFile<'_> {
    /// Decides on a record that begins with a byte order mark, which is not in these fields.
    fn marked(&self, record: Option<SplitRecord<'_>>, results: &mut Results) -> Result<Outcome, Refused> {
        let outcome = self.tolerance.marked(record)?;
        self.tolerance.count(outcome, record, &mut results.lenient);
        Ok(outcome)
    }
}

impl RowBuilder {
    pub fn new(plan: Arc<Plan>, buffers: Arc<BufferPool>) -> Self {
        let mut keys: Vec<(usize, String)> = Vec::new();
        let mut used = vec![false; plan.columns.len()];
        for table in &plan.tables {
            for index in
                table.key().filter(|index| !keys.iter().any(|(known, _)| known == index)).collect::<Vec<_>>()
            {
                keys.push((index, table.name.clone()));
            }
            for index in table.all() {
                used[index] = true;
                if let Some(Origin::DateOf(of)) = plan.columns.get(index).map(|column| &column.origin) {
                    used[*of] = true;
                }
            }
        }
        Self { plan, keys, used, buffers }
    }

    /// Turns the records of one chunk into rows and quarantine entries.
    pub async fn chunk(&self, raw: RawChunk) -> RowChunk {
        let mut results = Results::new(self.buffers.take_rows(self.plan.columns.len(), raw.frames.len()));
        results.rows.arena().reserve_exact(raw.bytes.len() / 2);
        let mut splitter = Splitter::new(&self.plan.format);
        let source = Arc::clone(&raw.source);
        let fields = Fields::new(&self.plan, &self.used, &source);
        let of_file = OfFile { fields, tolerance: Tolerance::new(&self.plan.format, &source) };
        for frame in &raw.frames {
            let record = raw.record(frame);
            let unmarked = record.strip_prefix(BOM);
            let outcome = match (splitter.split(unmarked.unwrap_or(record)).await, unmarked) {
                (split, Some(_)) => of_file.marked(split.ok(), &mut results),
                (Ok(split), None) => self
                    .record((&raw, frame), split, &of_file, &mut results)
                    .map_err(|refused| self.located(refused, &raw, frame)),
                (Err(malformed), None) => Err(self.malformed(malformed, &raw, frame)),
            };
            results.take(&raw, frame, outcome, &self.plan);
        }
        results.finish(raw)
    }

    fn record(
        &self,
        (raw, frame): (&RawChunk, &Frame),
        record: SplitRecord<'_>,
        OfFile { fields, tolerance }: &OfFile<'_>,
        results: &mut Results,
    ) -> Result<Outcome, Refused> {
        let outcome = match tolerance.judge(raw.record(frame), record)? {
            Some(outcome) => outcome,
            None if self.is_skipped(&raw.source, record) => Outcome::Skipped,
            None => self.row((raw, frame), record, fields, &mut results.rows)?,
        };
        tolerance.count(outcome, Some(record), &mut results.lenient);
        Ok(outcome)
    }

    fn row(
        &self,
        (raw, frame): (&RawChunk, &Frame),
        record: SplitRecord<'_>,
        fields: &Fields<'_>,
        rows: &mut Rows,
    ) -> Result<Outcome, Refused> {
        let Some(stamp) = raw.stamps.of(frame.record) else {
            let detail = "there is no stamp for this record; this is a defect, please report it".to_owned();
            return Err(Refused { column: None, reason: Reason::Refused, detail });
        };
        rows.add(stamp, |cells, arena| {
            let begin = cells.len();
            fields.parse(record, cells, arena)?;
            self.keys_are_full(cells.get(begin..).unwrap_or_default())
        })?;
        Ok(Outcome::Loaded)
    }

    /// Describes a malformed quote: its column, and its place in the file.
    fn malformed(&self, malformed: Malformed, raw: &RawChunk, frame: &Frame) -> Refused {
        let column = raw.source.mapping.field_of.iter().position(|field| *field == Some(malformed.field));
        let detail = malformed.describe(self.byte(frame.offset + malformed.at as u64));
        Refused { column, reason: Reason::Quote, detail }
    }

    /// Adds to a refusal for invalid text which byte is invalid, and its place in the file.
    fn located(&self, refused: Refused, raw: &RawChunk, frame: &Frame) -> Refused {
        if refused.reason != Reason::Encoding {
            return refused;
        }
        let field =
            refused.column.and_then(|column| raw.source.mapping.field_of.get(column).copied().flatten());
        let record = raw.record(frame);
        let places = splitter::places(&self.plan.format, record).unwrap_or_default();
        let place = field.and_then(|field| places.get(field).cloned()).unwrap_or(0..record.len());
        let field = record.get(place.clone()).unwrap_or_default();
        let Some((within, byte)) = not_text(field) else { return refused };
        let at = self.byte(frame.offset + (place.start + within) as u64);
        let what = match field.get(within) {
            Some(0) => "a NUL byte".to_owned(),
            _ => format!("{byte:#04x}, which is not {}", self.plan.encoding.name()),
        };
        let detail = format!("{}; at byte {at} is {what}", refused.detail);
        Refused { detail, ..refused }
    }

    /// Describes a place in the decoded bytes.
    fn byte(&self, at: u64) -> String {
        let of = if self.plan.encoding == UTF_8 { "" } else { " of the file as UTF-8" };
        format!("{at}{of}")
    }

    fn is_skipped(&self, source: &DeliveryContext, record: SplitRecord<'_>) -> bool {
        self.plan.skip_when_empty.iter().any(|column| {
            let at = source.mapping.field_of.get(*column).copied().flatten();
            let field = at.and_then(|at| record.get(at)).unwrap_or_default();
            let kind = self.plan.columns.get(*column).map_or(Type::Text, |column| column.kind);
            is_empty(kind, field)
        })
    }

    fn keys_are_full(&self, cells: &[Cell]) -> Result<(), Refused> {
        let empty = self.keys.iter().find(|(index, _)| cells.get(*index).is_none_or(|cell| cell.is_empty()));
        let Some((index, table)) = empty else { return Ok(()) };
        let detail = format!("is empty, and the key of {table} needs it");
        Err(Refused { column: Some(*index), reason: Reason::EmptyKey, detail })
    }
}
