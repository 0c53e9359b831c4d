//! Splits framed records into fields.

use std::ops::Range;

use crate::domain::Format;
use crate::format::csv::fields;
pub use crate::format::csv::fields::Malformed;
use crate::format::csv::fields::{DoubledQuotes, Found};

/// One record, split into fields.
#[derive(Clone, Copy, Debug)]
pub struct SplitRecord<'r> {
    bytes: &'r [u8],
    fields: &'r [Range<usize>],
    /// Whether the record is pure ASCII without NUL, so that its fields are valid text.
    pub ascii: bool,
}

impl<'r> SplitRecord<'r> {
    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Returns the field at this index, unquoted.
    pub fn get(&self, at: usize) -> Option<&'r [u8]> {
        self.bytes.get(self.fields.get(at)?.clone())
    }

    /// Returns all fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &'r [u8]> {
        self.fields.iter().map(|field| self.bytes.get(field.clone()).unwrap_or_default())
    }
}

/// Splits records one after another, reusing its memory.
pub struct Splitter {
    format: Format,
    fields: Vec<Range<usize>>,
    /// Created when first needed.
    doubled: Option<DoubledQuotes>,
}

impl Splitter {
    pub fn new(format: &Format) -> Self {
        Self { format: format.clone(), fields: Vec::new(), doubled: None }
    }

    /// Splits one record without its line end.
    ///
    /// # Errors
    /// Returns the first fault that the format does not allow.
    pub async fn split<'r>(&'r mut self, record: &'r [u8]) -> Result<SplitRecord<'r>, Malformed> {
        match self.format {
            Format::Csv => self.csv(record).await,
        }
    }

    async fn csv<'r>(&'r mut self, record: &'r [u8]) -> Result<SplitRecord<'r>, Malformed> {
        let Found { ascii, doubled: has_doubled } = fields::find(record, &mut self.fields)?;
        if !has_doubled {
            return Ok(SplitRecord { bytes: record, fields: &self.fields, ascii });
        }
        let doubled = self.doubled.get_or_insert_with(DoubledQuotes::new);
        doubled.read(record, &mut self.fields).await;
        Ok(SplitRecord { bytes: doubled.record.as_slice(), fields: &self.fields, ascii })
    }
}

/// Returns the number of fields, or `None` if the record is malformed. Appending bytes to a record does not repair it.
pub fn field_count(format: &Format, record: &[u8]) -> Option<usize> {
    places(format, record).ok().map(|places| places.len())
}

/// Returns the ranges of the fields in a record, with what encloses them, such as quotes.
///
/// # Errors
/// Returns the first fault that the format does not allow.
pub fn places(format: &Format, record: &[u8]) -> Result<Vec<Range<usize>>, Malformed> {
    match format {
        Format::Csv => fields::places(record),
    }
}
