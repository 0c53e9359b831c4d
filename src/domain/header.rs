//! The header of a file, and which of its fields become which columns of the plan.

use super::parse;
use super::plan::{Origin, Plan};

/// Delimiters that files often have.
const COMMON_DELIMITERS: [char; 4] = [';', '\t', '|', ','];

/// The column names of a file, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header(pub Vec<String>);

/// Why the header of a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("line {line}: the header has no column {missing}; it has {found}\n  next: {next}")]
    Missing { line: u64, missing: String, found: String, next: String },
    #[error(
        "line {line}: the header has {name} twice, so it is not known which one to load\n  next: rename one of the two"
    )]
    Twice { line: u64, name: String },
    #[error(
        "line {line}: the header is not {encoding} text: {byte:#04x} at byte {at}\n  next: set source.encoding to the encoding of the file, or save the file as UTF-8"
    )]
    Encoding { line: u64, at: u64, byte: u8, encoding: &'static str },
    #[error(
        "line {line}: the header is not valid CSV: {why}\n  next: quote its fields as RFC 4180 describes, or set source.format to the format of the file"
    )]
    Quote { line: u64, why: String },
    #[error("the file begins as {found}, but source.encoding is {set}\n  next: set source.encoding: {next}", next = found.to_lowercase())]
    OtherEncoding { found: &'static str, set: &'static str },
    #[error(
        "the file is {0} and not CSV\n  next: drop the CSV file itself, plain or compressed by gzip or zstd"
    )]
    NotCsv(&'static str),
    #[error("{0}")]
    Corrupt(String),
    #[error(
        "the header does not end within {0} bytes\n  next: check that the file is CSV with lines that end in a line feed"
    )]
    TooLong(usize),
    #[error(
        "the file's name has no date, but a column is declared as file_date\n  next: put a date like 2018-11-01 into the name"
    )]
    NoDate,
    #[error("the file ends before its header, which is expected on line {line}; more is expected")]
    Short { line: u64 },
    #[error("the compressed file ends before the end of its header; more is expected")]
    Cut,
}

/// Lists names with their invisible characters escaped.
fn shown(names: &[String]) -> String {
    let is_visible = |c: char| c == ' ' || !(c.is_control() || c.is_whitespace() || c == '\u{feff}');
    let show = |c: char| if is_visible(c) { c.to_string() } else { c.escape_unicode().to_string() };
    names.join(",").chars().map(show).collect()
}

impl HeaderError {
    /// Whether the file only lacks the bytes that follow, so that it may still get a header.
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Self::Cut | Self::Short { .. })
    }
}

/// Which field of a header each column of the plan is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The number of fields in the header, which every record must have.
    pub fields: usize,
    /// For each column of the plan, by its index: the index of its field. `None` for derived columns.
    pub field_of: Vec<Option<usize>>,
    /// The names in the header that no column is read from.
    pub ignored: Vec<String>,
}

impl Header {
    /// Finds the plan's columns by name.
    ///
    /// # Errors
    /// Returns an error if columns are missing (it names all of them), or if a column appears twice.
    pub fn map(&self, plan: &Plan) -> Result<Mapping, HeaderError> {
        let line = plan.format.header_line();
        let mut missing = Vec::new();
        let mut field_of = Vec::with_capacity(plan.columns.len());
        for column in &plan.columns {
            let Origin::Field(name) = &column.origin else {
                field_of.push(None);
                continue;
            };
            let field = self.find(name, line)?;
            if field.is_none() {
                missing.push(format!("`{name}`"));
            }
            field_of.push(field);
        }
        if missing.is_empty() {
            let ignored = self.ignored(&field_of);
            return Ok(Mapping { fields: self.0.len(), field_of, ignored });
        }
        let (missing, found, next) = (missing.join(", "), shown(&self.0), self.remedy(plan));
        Err(HeaderError::Missing { line, missing, found, next })
    }

    fn ignored(&self, field_of: &[Option<usize>]) -> Vec<String> {
        let names = self.0.iter().enumerate();
        names.filter(|(at, _)| !field_of.contains(&Some(*at))).map(|(_, name)| name.clone()).collect()
    }

    /// Returns what to do about missing columns.
    fn remedy(&self, plan: &Plan) -> String {
        if self.0.first().is_some_and(|name| name.starts_with("sep=")) {
            return "this line only tells a spreadsheet the delimiter: set source.format.skip_lines: 1"
                .to_owned();
        }
        let other = self.other_delimiter().filter(|(found, _)| !plan.format.has_delimiter(*found));
        let other = other.map(|(delimiter, count)| {
            let shown = delimiter.escape_debug();
            format!(
                "the header is one field with {count} `{shown}`: set source.format.delimiter: \"{shown}\""
            )
        });
        let value = self.value().map(|value| {
            format!(
                "`{value}` is a value, not a name: if the files have no header, set source.format.header: false and \
                 list the names of their fields in source.format.names"
            )
        });
        other.or(value).unwrap_or_else(|| "correct the header, or the names in source.columns".to_owned())
    }

    /// Returns a field of the header that is a number or a date, and so hardly a name.
    fn value(&self) -> Option<&str> {
        let is_value =
            |text: &&String| text.parse::<f64>().is_ok_and(f64::is_finite) || parse::days(text).is_some();
        self.0.iter().find(is_value).map(String::as_str)
    }

    /// Returns the delimiter that a header of one field seems to have instead of the declared one, and how often.
    fn other_delimiter(&self) -> Option<(char, usize)> {
        let [only] = self.0.as_slice() else { return None };
        let counts = COMMON_DELIMITERS.map(|delimiter| (delimiter, only.matches(delimiter).count()));
        counts.into_iter().filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)
    }

    fn find(&self, name: &str, line: u64) -> Result<Option<usize>, HeaderError> {
        let mut places = self.0.iter().enumerate().filter(|(_, found)| *found == name);
        match (places.next(), places.next()) {
            (_, Some(_)) => Err(HeaderError::Twice { line, name: format!("`{name}`") }),
            (first, None) => Ok(first.map(|(index, _)| index)),
        }
    }
}
