//! What is tolerated in the records of one file, and how often it was: repeated headers, blank rows, and more or fewer
//! fields than the header has.

use crate::domain::lenient_settings::{ExtraFields, LenientSettings};
use crate::domain::{DeliveryContext, Format, Reason, Tolerated, ToleratedCounts};
use crate::format::splitter::{SplitRecord, is_blank};
use crate::pipeline::row_builder::refused::Refused;

/// What became of a record that is not quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Loaded,
    /// Skipped because a column is empty.
    Skipped,
    BlankRow,
    RepeatedHeader,
}

/// The rules for the records of one file.
pub struct Tolerance<'s> {
    format: &'s Format,
    settings: &'s LenientSettings,
    /// Whether any of the settings is not strict. Most formats are strict, and then nothing has to be counted.
    is_lenient: bool,
    /// The names that a repeated header has. Empty if records are not compared with the header: if there is none, or if it
    /// is a single name, which may also be a value, and repeated headers are not skipped.
    names: &'s [String],
    /// The number of fields in the header.
    fields: usize,
}

impl<'s> Tolerance<'s> {
    pub fn new(format: &'s Format, source: &'s DeliveryContext) -> Self {
        let settings = format.lenient();
        let names = &source.header.0;
        let may_be_value = names.len() == 1 && !settings.skip_repeated_headers;
        let names: &[String] = if format.names().is_some() || may_be_value { &[] } else { names };
        let is_lenient = *settings != LenientSettings::default();
        Self { format, settings, is_lenient, names, fields: source.mapping.fields }
    }

    /// Judges a record by its fields. Returns its outcome if it is skipped, and `None` if it may become rows.
    ///
    /// # Errors
    /// Returns an error if the record repeats the header, or does not fit it, and the format does not tolerate this.
    #[inline]
    pub fn judge(&self, bytes: &[u8], record: SplitRecord<'_>) -> Result<Option<Outcome>, Refused> {
        if self.repeats_header(record) {
            return self.repeated_header().map(Some);
        }
        if self.settings.skip_blank_rows && is_blank(self.format, bytes) {
            return Ok(Some(Outcome::BlankRow));
        }
        if record.len() == self.fields || self.fits(record) {
            Ok(None)
        } else {
            let fields = if record.len() == 1 { "field" } else { "fields" };
            let what =
                self.format.names().map_or_else(|| "the header".to_owned(), |_| self.format.setting("names"));
            let detail = format!("{} {fields} where {what} has {}", record.len(), self.fields);
            Err(Refused { column: None, reason: Reason::Fields, detail })
        }
    }

    /// Judges a record that begins with a byte order mark, which is not in these fields. Only the header of a file that
    /// was appended to another has one.
    ///
    /// # Errors
    /// Returns an error unless the record repeats the header and the format tolerates this.
    pub fn marked(&self, record: Option<SplitRecord<'_>>) -> Result<Outcome, Refused> {
        match record {
            Some(record) if self.repeats_header(record) => self.repeated_header(),
            _ => Err(Refused {
                column: None,
                reason: Reason::Encoding,
                detail: "begins with a byte order mark, as if another file began here: remove the mark, or drop the \
                         files one by one"
                    .to_owned(),
            }),
        }
    }

    /// Counts how often the settings acted on a record with this outcome.
    #[inline]
    pub fn count(&self, outcome: Outcome, record: Option<SplitRecord<'_>>, counts: &mut ToleratedCounts) {
        if !self.is_lenient {
            return;
        }
        match (outcome, record) {
            (Outcome::BlankRow, _) => counts.count(Tolerated::BlankRows, 1),
            (Outcome::RepeatedHeader, _) => counts.count(Tolerated::RepeatedHeaders, 1),
            (Outcome::Loaded | Outcome::Skipped, Some(record)) => {
                counts.count(Tolerated::Trimmed, record.trimmed);
                counts.count(Tolerated::ExtraFields, u64::from(record.len() > self.fields));
                counts.count(Tolerated::Padded, u64::from(record.len() < self.fields));
            }
            (Outcome::Loaded | Outcome::Skipped, None) => {}
        }
    }

    /// Compares the first field before anything else, because it nearly always differs.
    #[inline]
    fn repeats_header(&self, record: SplitRecord<'_>) -> bool {
        let is_name = |(name, field): (&String, &[u8])| name.as_bytes() == field;
        match (self.names.first(), record.get(0)) {
            (Some(name), Some(field)) if is_name((name, field)) => {
                self.has_as_many(record) && self.names.iter().zip(record.iter()).all(is_name)
            }
            _ => false,
        }
    }

    /// Whether the record has as many fields as the header. With `ignore_empty_last`, an empty field after them does not
    /// count.
    fn has_as_many(&self, record: SplitRecord<'_>) -> bool {
        let ignores = self.settings.extra_fields == ExtraFields::IgnoreEmptyLast;
        record.len() == self.names.len() || (ignores && record.len() > self.names.len() && self.fits(record))
    }

    fn fits(&self, record: SplitRecord<'_>) -> bool {
        self.settings.fits(record.len(), self.fields, record.ends_empty())
    }

    fn repeated_header(&self) -> Result<Outcome, Refused> {
        if self.settings.skip_repeated_headers {
            return Ok(Outcome::RepeatedHeader);
        }
        let setting = self.format.setting("repeated_header");
        let detail = format!("repeats the header of the file: if files were joined, set {setting}: skip");
        Err(Refused { column: None, reason: Reason::RepeatedHeader, detail })
    }
}
