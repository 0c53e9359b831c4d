//! Turns the fields of records into cells. What to do for each column is decided once for each chunk.

use crate::domain::parse::Form;
use crate::domain::parse::refusal::{FULL, Parsed, Refusal, outside};
use crate::domain::reading::{Notation, TimePart};
use crate::domain::value::{Cell, Slice};
use crate::domain::{Column, DeliveryContext, Format, Origin, Plan, Reason, Type, parse};
use crate::format::splitter::SplitRecord;
use crate::pipeline::row_builder::hints::hint;
use crate::pipeline::row_builder::refused::Refused;

/// The refusal of a timestamp that is before the year 0000 or after 9999 in the time zone of a derived column.
const BEYOND: Refusal = outside("in the years 0000 to 9999 in its time zone");

/// The maximum number of characters of a refused value that are shown. The quarantine has the complete raw bytes.
const SHOWN: usize = 64;

/// How the cell of one column is made.
#[derive(Clone, Copy, Debug)]
enum Step<'s> {
    /// Copies the text of the field at this index. This is the most frequent kind.
    Text(usize),
    /// Parses the field at this index as an integer of this type.
    Whole(usize, Type),
    Float(usize),
    /// Parses the field at this index by the rules of its column.
    Typed(usize, Form),
    /// Parses the field at this index as its column declares.
    Declared(usize, &'s Column),
    /// Parses the field at this index only to check it, because no table has this column.
    Checked(usize, &'s Column),
    /// Takes a part of the timestamp in this column.
    PartOf(usize, &'s TimePart),
    /// Uses the same cell for all records of the file.
    Always(Cell),
    /// Parses the text at this index of [`Fields::path_values`].
    PathValue(usize, Type),
    Line,
}

/// The steps that make the cells of the records of one file.
pub struct Fields<'s> {
    plan: &'s Plan,
    steps: Vec<Step<'s>>,
    /// The values of columns that are derived from the path of the file.
    path_values: Vec<String>,
}

impl<'s> Fields<'s> {
    /// Chooses a step for each column. `used` contains, for each column of the plan, whether any table has it.
    pub fn new(plan: &'s Plan, used: &[bool], source: &DeliveryContext) -> Self {
        let mut path_values = Vec::new();
        let step = |(index, used): (usize, &bool)| {
            let column = plan.columns.get(index)?;
            let field = source.mapping.field_of.get(index).copied().flatten();
            Some(match (&column.origin, field, column.kind) {
                (Origin::Field(_), None, _) => Step::Always(Cell::Empty),
                (Origin::Field(_), Some(at), _) if !used => Step::Checked(at, column),
                (Origin::Field(_), Some(at), _) if column.reading.is_some() => Step::Declared(at, column),
                (Origin::Field(_), Some(at), Type::Text) => Step::Text(at),
                (Origin::Field(_), Some(at), kind @ (Type::Int | Type::Bigint)) => Step::Whole(at, kind),
                (Origin::Field(_), Some(at), Type::Float) => Step::Float(at),
                (Origin::Field(_), Some(at), _) => Step::Typed(at, column.form()),
                _ if !used => Step::Always(Cell::Empty),
                (Origin::PartOf(of, part), ..) => Step::PartOf(*of, part),
                (Origin::FileDate, ..) => Step::Always(source.file_date.map_or(Cell::Empty, Cell::Date)),
                (Origin::Line, ..) => Step::Line,
                (Origin::Path(value), _, kind) => {
                    path_values.push(value.of(source.file.path()).unwrap_or_default().into_owned());
                    Step::PathValue(path_values.len() - 1, kind)
                }
            })
        };
        let steps = used.iter().enumerate().filter_map(step).collect();
        Self { plan, steps, path_values }
    }

    /// Parses a record that begins on `line`. Appends a cell for each column of the plan to `cells`, and the bytes of the cells to `arena`.
    ///
    /// The cells are written directly to their place: returning a `Result` with a cell for each field would cost more
    /// than finding the value.
    ///
    /// # Errors
    /// Returns an error for the first field that is not a valid value of its column.
    pub fn parse(
        &self,
        record: SplitRecord<'_>,
        line: u64,
        cells: &mut Vec<Cell>,
        arena: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        // Most records are pure ASCII, which the splitter has already checked for all fields together.
        let ascii = record.ascii;
        let begin = cells.len();
        for (column, step) in self.steps.iter().enumerate() {
            match *step {
                Step::Text(at) if ascii => {
                    let field = record.get(at).unwrap_or_default();
                    match Slice::store(arena, field) {
                        Some(_) if field.is_empty() => cells.push(Cell::Empty),
                        Some(slice) => cells.push(Cell::Text(slice)),
                        None => return Err(self.refused(column, &FULL, field)),
                    }
                }
                Step::Text(at) => self.typed(column, Type::Text.into(), record.get(at), cells, arena)?,
                Step::Whole(at, kind) => {
                    match record.get(at).and_then(|field| parse::plain_whole(kind, field)) {
                        Some(n) => cells.push(Cell::Whole(n)),
                        None => self.typed(column, kind.into(), record.get(at), cells, arena)?,
                    }
                }
                Step::Float(at) => match record.get(at).and_then(parse::plain_float) {
                    Some(x) => cells.push(Cell::Float(x)),
                    None => self.typed(column, Type::Float.into(), record.get(at), cells, arena)?,
                },
                Step::Typed(at, form) => self.typed(column, form, record.get(at), cells, arena)?,
                Step::Declared(at, declared) => {
                    let field = record.get(at).unwrap_or_default();
                    cells.push(self.accepted(column, field, declared.parse(field, arena))?);
                }
                Step::Checked(_, Column { kind: Type::Text, reading: None, .. }) if ascii => {
                    cells.push(Cell::Empty);
                }
                Step::Checked(at, declared) => {
                    let (begin, field) = (arena.len(), record.get(at).unwrap_or_default());
                    self.accepted(column, field, declared.parse(field, arena))?;
                    arena.truncate(begin);
                    cells.push(Cell::Empty);
                }
                Step::PartOf(of, part) => cells.push(match cells.get(begin + of) {
                    Some(Cell::Timestamp(ms)) => {
                        part.cut(*ms).ok_or_else(|| self.refused(column, &BEYOND, b""))?
                    }
                    _ => Cell::Empty,
                }),
                Step::Always(cell) => cells.push(cell),
                Step::PathValue(at, kind) => {
                    let value = self.path_values.get(at).map(String::as_bytes);
                    self.typed(column, kind.into(), value, cells, arena)?;
                }
                Step::Line => cells.push(i64::try_from(line).map_or(Cell::Empty, Cell::Whole)),
            }
        }
        Ok(())
    }

    /// Parses every field of a record that was refused. Returns the columns that are empty, and those that are refused.
    pub fn examine(&self, record: SplitRecord<'_>) -> Vec<(usize, Option<Refused>)> {
        let (mut found, mut arena) = (Vec::new(), Vec::new());
        for ((column, step), declared) in self.steps.iter().enumerate().zip(&self.plan.columns) {
            let Some(field) = step.field().map(|at| record.get(at).unwrap_or_default()) else { continue };
            arena.clear();
            match self.accepted(column, field, declared.parse(field, &mut arena)) {
                Err(refused) => found.push((column, Some(refused))),
                Ok(cell) if cell.is_empty() => found.push((column, None)),
                Ok(_) => {}
            }
        }
        found
    }

    /// Parses one field by the grammar of its type.
    fn typed(
        &self,
        column: usize,
        form: Form,
        field: Option<&[u8]>,
        cells: &mut Vec<Cell>,
        arena: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let field = field.unwrap_or_default();
        cells.push(self.accepted(column, field, parse::parse(form, field, arena))?);
        Ok(())
    }

    fn accepted(&self, column: usize, field: &[u8], parsed: Parsed) -> Result<Cell, Refused> {
        parsed.map_err(|refusal| self.refused(column, &refusal, field))
    }

    fn refused(&self, column: usize, refusal: &Refusal, field: &[u8]) -> Refused {
        let value = String::from_utf8_lossy(field);
        let shown: String = value.chars().take(SHOWN).collect();
        let more = if shown.len() < value.len() { "…" } else { "" };
        let declared = self.plan.columns.get(column).filter(|_| refusal.reason != Reason::Encoding);
        let help =
            declared.map(|declared| help(&self.plan.format, declared, refusal, field)).unwrap_or_default();
        let detail = format!("{}{help}", refusal.describe(&format!("{shown:?}{more}")));
        Refused { column: Some(column), reason: refusal.reason, detail }
    }
}

impl Step<'_> {
    /// Returns the index of the field that is parsed.
    fn field(&self) -> Option<usize> {
        match *self {
            Self::Text(at)
            | Self::Whole(at, _)
            | Self::Float(at)
            | Self::Typed(at, _)
            | Self::Declared(at, _)
            | Self::Checked(at, _) => Some(at),
            Self::PartOf(..) | Self::Always(_) | Self::PathValue(..) | Self::Line => None,
        }
    }
}

/// Describes the declared form of the column if the value has another one, and names the setting that may help.
fn help(format: &Format, column: &Column, refusal: &Refusal, field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    let form = match column.reading.as_ref().map(|reading| (reading, &reading.notation)) {
        Some((_, Notation::Time(form))) if form.has_form_of(column.kind, text.trim_matches(' ')) => {
            String::new()
        }
        Some((reading, _)) => reading.notation_text(),
        None => String::new(),
    };
    let hint = (refusal.reason == Reason::Value).then(|| hint(format, column, field)).flatten();
    form + &hint.map(|hint| format!("; {hint}")).unwrap_or_default()
}
