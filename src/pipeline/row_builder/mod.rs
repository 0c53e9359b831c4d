//! Turns records into rows: finds the fields of each record and parses the values by the rules of their types.
//!
//! Does no I/O and reads no clock, so the same bytes always give the same rows.

pub mod by_plan;
mod fields;
mod hints;
mod line_hints;
mod misfit;
mod refused;
mod results;
#[cfg(test)]
mod tests;
mod tolerance;

use std::sync::Arc;

use encoding_rs::UTF_8;
use fields::Fields;
use line_hints::Line;
use refused::Refused;
use results::Results;
use tolerance::{Outcome, Tolerance};

use crate::domain::value::Cell;
use crate::domain::{DeliveryContext, Frame, Origin, Plan, RawChunk, Reason, RowChunk, Rows};
use crate::format::encoding::not_text;
use crate::format::header::BOM;
use crate::format::splitter;
use crate::format::splitter::{Malformed, SplitRecord, Splitter, is_blank};
use crate::pipeline::buffer_pool::BufferPool;

/// The maximum number of further columns that the entry of a record names.
const OTHERS: usize = 8;

/// Turns records into rows according to a plan.
pub struct RowBuilder {
    plan: Arc<Plan>,
    /// Columns that must not be empty, and which table needs each.
    needed: Vec<(usize, Need)>,
    /// Whether each column belongs to a table, or a column that does is derived from it. Other columns are only checked.
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
        self.tolerance.count(outcome, record, &mut results.tolerated);
        Ok(outcome)
    }
}

impl RowBuilder {
    pub fn new(plan: Arc<Plan>, buffers: Arc<BufferPool>) -> Self {
        let mut needed: Vec<(usize, Need)> = Vec::new();
        let mut used = vec![false; plan.columns.len()];
        for table in &plan.tables {
            let newest_by = table.newest_by.map(|index| (index, Need::NewestBy(table.name.clone())));
            for (index, need) in
                table.key().map(|index| (index, Need::Key(table.name.clone()))).chain(newest_by)
            {
                if !needed.iter().any(|(known, _)| *known == index) {
                    needed.push((index, need));
                }
            }
            for index in table.all() {
                used[index] = true;
            }
        }
        // A column comes after the column that it is derived from, which may be derived from another one.
        for (index, column) in plan.columns.iter().enumerate().rev() {
            if let Origin::PartOf(of, _) = column.origin {
                used[of] |= used[index];
            }
        }
        Self { plan, needed, used, buffers }
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
                    .map_err(|refused| self.located(refused, &raw, frame))
                    .map_err(|refused| self.explained(refused, (&raw, frame), split, &of_file.fields)),
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
        tolerance.count(outcome, Some(record), &mut results.tolerated);
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
            fields.parse(record, frame.line, cells, arena)?;
            self.needed_are_full(cells.get(begin..).unwrap_or_default())
        })?;
        Ok(Outcome::Loaded)
    }

    /// Describes a malformed quote: its column, and its place in the file.
    fn malformed(&self, malformed: Malformed, raw: &RawChunk, frame: &Frame) -> Refused {
        let column = raw.source.mapping.field_of.iter().position(|field| *field == Some(malformed.field));
        let detail = malformed.describe(self.byte(frame.offset + malformed.at as u64));
        let hint = splitter::hint(&self.plan.format, raw.record(frame), &malformed);
        Refused { column, reason: Reason::Quote, detail: detail + &hint }
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
        let Some((within, byte)) = not_text(field) else {
            let is_escaped = field.windows(2).any(|bytes| bytes == b"\\0");
            return if is_escaped { refused.with("its escape `\\0` stands for a NUL byte") } else { refused };
        };
        let at = self.byte(frame.offset + (place.start + within) as u64);
        let what = match field.get(within) {
            Some(0) => "a NUL byte".to_owned(),
            _ => format!(
                "{byte:#04x}, which is not {}: set {} to the encoding of the file",
                self.plan.encoding.name(),
                self.plan.feed.setting("source.encoding")
            ),
        };
        let detail = format!("{}; at byte {at} is {what}", refused.detail);
        Refused { detail, ..refused }
    }

    fn line<'r>(&'r self, raw: &'r RawChunk, record: SplitRecord<'r>) -> Line<'r> {
        Line { plan: &self.plan, source: &raw.source, record }
    }

    /// Adds to a refusal what else there is to know: which other columns are refused too, that the whole record is empty,
    /// or that its line may be no record.
    fn explained(
        &self,
        refused: Refused,
        (raw, frame): (&RawChunk, &Frame),
        record: SplitRecord<'_>,
        fields: &Fields<'_>,
    ) -> Refused {
        if refused.column.is_some() && is_blank(&self.plan.format, raw.record(frame)) {
            let setting = self.plan.format.setting("blank_rows");
            let hint = format!("if records of nothing but delimiters are blank lines, set {setting}: skip");
            return refused.with(&hint);
        }
        let line = self.line(raw, record);
        let first = || line.first_hint(&fields.examine(record));
        let is_first = frame.record == 0 && refused.reason == Reason::Value;
        let hint = line.hint().or_else(|| is_first.then(first).flatten());
        let explained = match (refused.column, refused.reason) {
            (Some(first), _) => self.with_others(refused, first, record, fields),
            (None, Reason::Fields) => {
                let names = &raw.source.header.0;
                let misfit = || misfit::hint(&self.plan.format, names, raw.record(frame), record);
                return match hint.or_else(misfit) {
                    Some(hint) => refused.with(&hint),
                    None => refused,
                };
            }
            (None, _) => return refused,
        };
        match hint {
            Some(hint) => explained.with(&hint),
            None => explained,
        }
    }

    fn with_others(
        &self,
        refused: Refused,
        first: usize,
        record: SplitRecord<'_>,
        fields: &Fields<'_>,
    ) -> Refused {
        let mut others = Vec::new();
        for (column, problem) in fields.examine(record).into_iter().filter(|(column, _)| *column != first) {
            let need = self.needed.iter().find(|(index, _)| *index == column);
            let detail = problem.map(|refused| refused.detail).or(need.map(|(_, need)| need.unmet()));
            let name = self.plan.columns.get(column).map(|column| column.name.as_str());
            others.extend(name.zip(detail).map(|(name, detail)| format!("; also `{name}`: {detail}")));
        }
        let more = others.len().saturating_sub(OTHERS);
        let more = if more > 0 { format!("; and {more} more columns") } else { String::new() };
        let others: String = others.into_iter().take(OTHERS).collect();
        Refused { detail: format!("{}{others}{more}", refused.detail), ..refused }
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
            self.plan.columns.get(*column).is_some_and(|column| column.is_empty(field))
        })
    }

    fn needed_are_full(&self, cells: &[Cell]) -> Result<(), Refused> {
        let is_empty = |index: &usize| cells.get(*index).is_none_or(|cell| cell.is_empty());
        let Some((index, need)) = self.needed.iter().find(|(index, _)| is_empty(index)) else {
            return Ok(());
        };
        Err(Refused { column: Some(*index), reason: need.reason(), detail: need.unmet() })
    }
}

/// Why a table, which is given by its name, needs a value.
enum Need {
    Key(String),
    NewestBy(String),
}

impl Need {
    fn reason(&self) -> Reason {
        match self {
            Self::Key(_) => Reason::EmptyKey,
            Self::NewestBy(_) => Reason::Value,
        }
    }

    /// Describes an empty value.
    fn unmet(&self) -> String {
        match self {
            Self::Key(table) => format!("is empty, and the key of {table} needs it"),
            Self::NewestBy(table) => format!("is empty, and {table} needs it to tell which record is newer"),
        }
    }
}
