//! Turns the fields of records into cells. What to do for each column is decided once for each chunk.

use crate::domain::parse::refusal::{FULL, Refusal};
use crate::domain::parse::{Form, parse};
use crate::domain::value::{Cell, Slice};
use crate::domain::{DeliveryContext, Origin, Plan, Type, parse};
use crate::format::splitter::SplitRecord;
use crate::pipeline::row_builder::refused::Refused;

/// The number of milliseconds in a day.
const DAY: i64 = 86_400_000;

/// The maximum number of characters of a refused value that are shown. The quarantine has the complete raw bytes.
const SHOWN: usize = 64;

/// How the cell of one column is made.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Copies the text of the field at this index. This is the most frequent kind.
    Text(usize),
    /// Parses the field at this index as an integer of this type.
    Whole(usize, Type),
    Float(usize),
    /// Parses the field at this index by the rules of its column.
    Typed(usize, Form),
    /// Parses the field at this index only to check it, because no table has this column.
    Checked(usize, Form),
    /// Takes the day of the timestamp in this column.
    DateOf(usize),
    /// Uses the same cell for all records of the file.
    Always(Cell),
    FileName,
}

/// The steps that make the cells of the records of one file.
pub struct Fields<'s> {
    source: &'s DeliveryContext,
    steps: Vec<Step>,
}

impl<'s> Fields<'s> {
    /// Chooses a step for each column. `used` contains, for each column of the plan, whether any table has it.
    pub fn new(plan: &Plan, used: &[bool], source: &'s DeliveryContext) -> Self {
        let step = |(index, used): (usize, &bool)| {
            let column = plan.columns.get(index)?;
            let field = source.mapping.field_of.get(index).copied().flatten();
            Some(match (&column.origin, field, column.kind) {
                (Origin::Field(_), None, _) => Step::Always(Cell::Empty),
                (Origin::Field(_), Some(at), _) if !used => Step::Checked(at, column.form()),
                (Origin::Field(_), Some(at), Type::Text) => Step::Text(at),
                (Origin::Field(_), Some(at), kind @ (Type::Int | Type::Bigint)) => Step::Whole(at, kind),
                (Origin::Field(_), Some(at), Type::Float) => Step::Float(at),
                (Origin::Field(_), Some(at), _) => Step::Typed(at, column.form()),
                _ if !used => Step::Always(Cell::Empty),
                (Origin::DateOf(of), ..) => Step::DateOf(*of),
                (Origin::FileDate, ..) => Step::Always(source.file_date.map_or(Cell::Empty, Cell::Date)),
                (Origin::FileName, ..) => Step::FileName,
            })
        };
        Self { source, steps: used.iter().enumerate().filter_map(step).collect() }
    }

    /// Parses a record. Appends a cell for each column of the plan to `cells`, and the bytes of the cells to `arena`.
    ///
    /// The cells are written directly to their place: returning a `Result` with a cell for each field would cost more
    /// than finding the value.
    ///
    /// # Errors
    /// Returns an error for the first field that is not a valid value of its column.
    pub fn parse(
        &self,
        record: SplitRecord<'_>,
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
                        None => return Err(refused(column, &FULL, field)),
                    }
                }
                Step::Text(at) => typed(column, Type::Text.into(), record.get(at), cells, arena)?,
                Step::Whole(at, kind) => {
                    match record.get(at).and_then(|field| parse::plain_whole(kind, field)) {
                        Some(n) => cells.push(Cell::Whole(n)),
                        None => typed(column, kind.into(), record.get(at), cells, arena)?,
                    }
                }
                Step::Float(at) => match record.get(at).and_then(parse::plain_float) {
                    Some(x) => cells.push(Cell::Float(x)),
                    None => typed(column, Type::Float.into(), record.get(at), cells, arena)?,
                },
                Step::Typed(at, form) => typed(column, form, record.get(at), cells, arena)?,
                Step::Checked(_, Form::Plain(Type::Text)) if ascii => cells.push(Cell::Empty),
                Step::Checked(at, form) => checked(column, form, record.get(at), cells, arena)?,
                Step::DateOf(of) => cells.push(day_of(cells.get(begin + of))),
                Step::Always(cell) => cells.push(cell),
                Step::FileName => cells.push(file_name(self.source, arena)),
            }
        }
        Ok(())
    }
}

/// Parses one field by the rules of its column.
fn typed(
    column: usize,
    form: Form,
    field: Option<&[u8]>,
    cells: &mut Vec<Cell>,
    arena: &mut Vec<u8>,
) -> Result<(), Refused> {
    let field = field.unwrap_or_default();
    cells.push(parse(form, field, arena).map_err(|refusal| refused(column, &refusal, field))?);
    Ok(())
}

/// Parses one field to check it, and discards the value.
fn checked(
    column: usize,
    form: Form,
    field: Option<&[u8]>,
    cells: &mut Vec<Cell>,
    arena: &mut Vec<u8>,
) -> Result<(), Refused> {
    let (begin, place) = (arena.len(), cells.len());
    typed(column, form, field, cells, arena)?;
    arena.truncate(begin);
    cells.truncate(place);
    cells.push(Cell::Empty);
    Ok(())
}

fn day_of(cell: Option<&Cell>) -> Cell {
    match cell {
        Some(Cell::Timestamp(ms)) => i32::try_from(ms.div_euclid(DAY)).map_or(Cell::Empty, Cell::Date),
        _ => Cell::Empty,
    }
}

fn file_name(source: &DeliveryContext, arena: &mut Vec<u8>) -> Cell {
    let name = source.file.path().rsplit('/').next().unwrap_or_default();
    Slice::store(arena, name.as_bytes()).map_or(Cell::Empty, Cell::Text)
}

fn refused(column: usize, refusal: &Refusal, field: &[u8]) -> Refused {
    let value = String::from_utf8_lossy(field);
    let shown: String = value.chars().take(SHOWN).collect();
    let more = if shown.len() < value.len() { "…" } else { "" };
    let detail = format!("{shown:?}{more} must be {}", refusal.rule);
    Refused { column: Some(column), reason: refusal.reason, detail }
}
