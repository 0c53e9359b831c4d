//! Splits framed records into fields.

use std::ops::Range;

use crate::domain::Format;
use crate::domain::format::{Dialect, Mark};
use crate::format::csv::fields::{DoubledQuotes, Found};
pub use crate::format::csv::malformed::Malformed;
use crate::format::csv::{fields, rich};

/// One record, split into fields.
#[derive(Clone, Copy, Debug)]
pub struct SplitRecord<'r> {
    bytes: &'r [u8],
    fields: &'r [Range<usize>],
    /// Whether the record is pure ASCII without NUL, so that its fields are valid text.
    pub ascii: bool,
    /// The number of fields with blanks around them that are not part of them.
    pub trimmed: u64,
}

impl<'r> SplitRecord<'r> {
    /// Returns the number of fields.
    #[inline]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Returns the field at this index, unquoted.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&'r [u8]> {
        self.bytes.get(self.fields.get(at)?.clone())
    }

    /// Whether the last field is empty.
    pub fn ends_empty(&self) -> bool {
        self.fields.last().is_some_and(Range::is_empty)
    }

    /// Returns all fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &'r [u8]> {
        self.fields.iter().map(|field| self.bytes.get(field.clone()).unwrap_or_default())
    }
}

/// Splits records one after another, reusing its memory.
pub struct Splitter {
    format: Format,
    /// The delimiter and the quote, if the dialect has nothing else.
    plain: Option<(u8, u8)>,
    fields: Vec<Range<usize>>,
    /// The text of the fields of the last record that had escapes.
    text: Vec<u8>,
    /// The indexes of the fields of the last record that are null words.
    null: Vec<usize>,
    /// Created when first needed.
    doubled: Option<DoubledQuotes>,
}

impl Splitter {
    pub fn new(format: &Format) -> Self {
        let Format::Csv(dialect) = format;
        Self {
            format: format.clone(),
            plain: dialect.plain(),
            fields: Vec::new(),
            text: Vec::new(),
            null: Vec::new(),
            doubled: None,
        }
    }

    /// Splits one record without its line end.
    ///
    /// # Errors
    /// Returns the first fault that the format does not allow.
    pub async fn split<'r>(&'r mut self, record: &'r [u8]) -> Result<SplitRecord<'r>, Malformed> {
        let Format::Csv(dialect) = &self.format;
        let Found { ascii, escaped, trimmed } = match self.plain {
            Some(plain) => fields::find(record, plain, &mut self.fields)?,
            None => rich::find(dialect, record, &mut self.fields)?,
        };
        self.null.clear();
        if !dialect.null.is_empty() {
            self.null.extend(null_fields(dialect, record, &self.fields));
        }
        let bytes = match self.plain {
            _ if !escaped => record,
            // csv-async ends a record at each line feed outside quotes.
            Some(plain) if !dialect.lines.allows_line_feeds() => {
                let doubled = self.doubled.get_or_insert_with(|| DoubledQuotes::new(plain));
                doubled.read(record, &mut self.fields).await;
                doubled.record.as_slice()
            }
            _ => {
                rich::unescape(dialect, record, &mut self.fields, &mut self.text);
                &self.text
            }
        };
        for at in &self.null {
            self.fields[*at] = 0..0;
        }
        Ok(SplitRecord { bytes, fields: &self.fields, ascii, trimmed })
    }
}

/// Returns the indexes of the fields that are null words. `fields` are the ranges without quotes.
fn null_fields(dialect: &Dialect, record: &[u8], fields: &[Range<usize>]) -> impl Iterator<Item = usize> {
    let is_null = |field: &Range<usize>| {
        dialect.is_null(record.get(enclosed(dialect, record, field)).unwrap_or_default())
    };
    fields.iter().enumerate().filter(move |(_, field)| is_null(field)).map(|(at, _)| at)
}

/// Returns the range of a field with its quotes, if it has any.
fn enclosed(dialect: &Dialect, record: &[u8], field: &Range<usize>) -> Range<usize> {
    // Only an opening quote can directly precede a field. Otherwise a delimiter or a blank precedes it.
    let before = field.start.checked_sub(1).and_then(|at| record.get(at));
    match before {
        Some(quote) if dialect.quote.map(Mark::byte) == Some(*quote) => field.start - 1..field.end + 1,
        _ => field.clone(),
    }
}

/// Whether the record is malformed only because its last delimiter is cut, so that appended bytes may repair it.
pub fn ends_inside_delimiter(format: &Format, record: &[u8]) -> bool {
    let Format::Csv(dialect) = format;
    dialect.delimiter.is_cut_in(record) && places(format, record).is_err()
}

/// Returns the number of fields if fields are missing: there are fewer than `names`, and the format does not take missing
/// fields as empty. Returns `None` for a malformed record, because appending bytes does not repair it.
pub fn lacks_fields(format: &Format, record: &[u8], names: usize) -> Option<usize> {
    let found = field_count(format, record).filter(|found| *found < names);
    found.filter(|_| !format.lenient().pad_missing)
}

/// Returns the number of fields, or `None` if the record is malformed. Appending bytes repairs a malformed record only if
/// its last delimiter is cut.
pub fn field_count(format: &Format, record: &[u8]) -> Option<usize> {
    places(format, record).ok().map(|places| places.len())
}

/// Whether a record is nothing but delimiters, and blanks if these are trimmed.
pub fn is_blank(format: &Format, record: &[u8]) -> bool {
    let Format::Csv(dialect) = format;
    let mut rest = record;
    loop {
        let blanks = rest.iter().take_while(|byte| dialect.is_trimmed(**byte)).count();
        rest = rest.get(blanks..).unwrap_or_default();
        match rest.strip_prefix(dialect.delimiter.bytes()) {
            Some(after) => rest = after,
            None => return rest.is_empty(),
        }
    }
}

/// Returns the ranges of the fields in a record, with what encloses them, such as quotes.
///
/// # Errors
/// Returns the first fault that the format does not allow.
pub fn places(format: &Format, record: &[u8]) -> Result<Vec<Range<usize>>, Malformed> {
    let Format::Csv(dialect) = format;
    let mut fields = Vec::new();
    match dialect.plain() {
        Some(plain) => fields::find(record, plain, &mut fields)?,
        None => rich::find(dialect, record, &mut fields)?,
    };
    Ok(fields.iter().map(|field| enclosed(dialect, record, field)).collect())
}

/// Returns what to set because of a malformed record, if it seems to be of another dialect.
pub fn hint(format: &Format, record: &[u8], malformed: &Malformed) -> String {
    malformed.hint(record, format)
}
