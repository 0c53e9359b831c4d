//! The header of a file, and which of its fields become which columns of the plan.

use std::borrow::Cow;
use std::collections::HashMap;

use super::feed::Feed;
use super::format::{Format, LineEnd, NameMatch};
use super::parse;
use super::plan::{Column, FieldNames, Origin, Plan};
use super::similar::nearest;
use super::text;

/// Delimiters that files often have.
pub const COMMON_DELIMITERS: [char; 4] = [';', '\t', '|', ','];

/// The maximum number of missing columns for which a name of the header is suggested.
const SUGGESTED: usize = 16;

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
        "line {line}: the header has {one} and {other}, so it is not known which one to load\n  next: {next}"
    )]
    Both { line: u64, one: String, other: String, next: String },
    #[error("line {line}: the header is not {encoding} text: {byte:#04x} at byte {at}\n  next: {next}")]
    Encoding { line: u64, at: u64, byte: u8, encoding: &'static str, next: String },
    #[error(
        "line {line}: the header is not valid CSV: {why}\n  next: quote its fields as RFC 4180 describes, or set {} to the format of the file", .feed.setting("source.format")
    )]
    Quote { line: u64, why: String, feed: Feed },
    #[error("the file begins as {found}, but {setting} is {set}\n  next: set {setting}: {next}", next = found.to_lowercase())]
    OtherEncoding { found: &'static str, set: &'static str, setting: String },
    #[error(
        "the file is UTF-8, but {} is {set}: `{word}` at byte {at} would be read as `{misread}`\n  next: set {}: utf-8; if the file really is {set}, set {}: ignore",
        feed.setting("source.encoding"),
        feed.setting("source.encoding"),
        feed.setting("source.looks_like_utf8")
    )]
    Utf8 { feed: Feed, set: &'static str, at: usize, word: String, misread: String },
    #[error(
        "the file is {0} and not CSV\n  next: drop the CSV file itself: plain, compressed by gzip or zstd, or alone in a zip archive"
    )]
    NotCsv(&'static str),
    #[error("{0}")]
    Corrupt(String),
    #[error(
        "the header does not end within {0} bytes\n  next: check that the file is CSV, and that source.format.lines says how its lines end"
    )]
    TooLong(usize),
    #[error(
        "the file's name has no date, but a column is declared as file_date\n  next: put a date like 2018-11-01 into the name; dates like 01.11.2018 need {}: day_first", .0.setting("source.file_dates")
    )]
    NoDate(Feed),
    #[error(
        "column {column}: the file's path has no {part}\n  next: put the file into a folder of that form, or correct {}", .feed.setting("source.derive")
    )]
    NoPathValue { column: String, part: String, feed: Feed },
    #[error(
        "column {column}: the {part} spans several folders of the file's path\n  next: write ([^/]*) for a part of one folder"
    )]
    SeveralFolders { column: String, part: String },
    #[error(
        "column {column}: the file's path has several of {part} with different values\n  next: make the pattern longer, or rename the folders"
    )]
    SeveralValues { column: String, part: String },
    #[error(
        "column {column}: {value:?} in the file's path must be {rule}\n  next: rename the file, or correct {}", .feed.setting("source.derive")
    )]
    PathValue { column: String, value: String, rule: &'static str, feed: Feed },
    #[error(
        "the file's name has two dates, {0} and {1}, so it is not known which one is meant; a column is declared as file_date\n  next: leave one date in the name"
    )]
    TwoDates(String, String),
    #[error("the file ends before its header, which is expected on line {line}; more is expected")]
    Short { line: u64 },
    #[error(
        "the file ends within its header, which has {lines} lines (source.format.header); more is expected"
    )]
    ShortHeader { lines: u64 },
    #[error("the compressed file ends before the end of its header; more is expected")]
    Cut,
}

/// Lists names with their invisible characters escaped.
fn shown(names: &[String]) -> String {
    text::visible(&names.join(","))
}

impl HeaderError {
    /// Whether the file only lacks the bytes that follow, so that it may still get a header.
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Self::Cut | Self::Short { .. } | Self::ShortHeader { .. })
    }

    /// Returns the error with the line on which the header was found.
    pub fn on_line(mut self, found: u64) -> Self {
        if let Self::Missing { line, .. } | Self::Twice { line, .. } | Self::Both { line, .. } = &mut self {
            *line = found;
        }
        self
    }
}

/// Which field of a header each column of the plan is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The number of fields in the header. Records have as many, unless the format tolerates more or fewer.
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
        let (line, index) = (plan.format.header_line(), Index::new(self, plan.format.name_match()));
        let mut missing = Vec::new();
        let mut field_of = Vec::with_capacity(plan.columns.len());
        for column in &plan.columns {
            let Origin::Field(names) = &column.origin else {
                field_of.push(None);
                continue;
            };
            let field = self.find(names, plan, &index)?;
            if field.is_none() {
                missing.push(names);
            }
            field_of.push(field);
        }
        if missing.is_empty() {
            let ignored = self.ignored(&field_of);
            return Ok(Mapping { fields: self.0.len(), field_of, ignored });
        }
        let next = self.remedy(plan, &missing);
        let missing: Vec<String> = missing.iter().map(|names| text::visible(&names.to_string())).collect();
        let (missing, found) = (missing.join(", "), shown(&self.0));
        Err(HeaderError::Missing { line, missing, found, next })
    }

    fn ignored(&self, field_of: &[Option<usize>]) -> Vec<String> {
        let names = self.0.iter().enumerate();
        names.filter(|(at, _)| !field_of.contains(&Some(*at))).map(|(_, name)| name.clone()).collect()
    }

    /// Returns what to do about missing columns.
    fn remedy(&self, plan: &Plan, missing: &[&FieldNames]) -> String {
        if self.0.first().is_some_and(|name| name.starts_with("sep=")) {
            let skip = plan.format.setting("skip_lines");
            return format!("this line only tells a spreadsheet the delimiter: set {skip}: 1");
        }
        if let Some(told) = self.line_ends(&plan.format) {
            return told;
        }
        if self.0.iter().all(|name| name.len() > 1 && name.starts_with('\'') && name.ends_with('\'')) {
            return format!("the names are in single quotes: set {}", plan.format.setting("quote: \"'\""));
        }
        let other = self.other_delimiter().filter(|(found, _)| !plan.format.is_delimiter(found));
        let other = other.map(|(delimiter, count)| {
            let shown = delimiter.escape_debug();
            let setting = plan.format.setting("delimiter");
            format!("the header is one field with {count} `{shown}`: set {setting}: \"{shown}\"")
        });
        let near = self.near(plan, missing);
        let value = self.value().filter(|_| near.len() < missing.len()).map(|value| {
            let (value, format) = (text::visible(value), &plan.format);
            let (header, names) = (format.setting("header"), format.setting("names"));
            format!(
                "`{value}` is a value, not a name: if the files have no header, set {header}: false and list the names \
                 of their fields in {names}"
            )
        });
        let columns = plan.feed.setting("source.columns");
        let near = (!near.is_empty()).then(|| {
            let names = near.join(", ");
            format!("the header has names that are nearly these: in {columns}, add {names}")
        });
        let unknown = || format!("correct the header, or the names in {columns}");
        other.or(value).or(near).unwrap_or_else(unknown)
    }

    /// Names the line ends of the file, if its names have carriage returns because the format has other line ends.
    pub fn line_ends(&self, format: &Format) -> Option<String> {
        let Format::Csv(dialect) = format;
        let is_at_end = self.0.last().is_some_and(|name| name.ends_with('\r'));
        let (ends, value) = match dialect.lines {
            LineEnd::Lf if is_at_end => ("a carriage return and a line feed", "crlf"),
            _ if is_at_end => ("two carriage returns and a line feed", "crcrlf"),
            _ if self.0.iter().any(|name| name.contains('\r')) => ("a carriage return", "cr"),
            _ => return None,
        };
        let setting = format.setting("lines");
        Some(format!("the lines of the file seem to end with {ends}: set {setting}: {value}"))
    }

    /// Suggests names of the header that are nearly the names of missing columns, if there are few of these.
    fn near(&self, plan: &Plan, missing: &[&FieldNames]) -> Vec<String> {
        let found = self.0.iter().map(String::as_str).filter(|name| !name.contains(char::is_control));
        let suggest = |wanted: &&FieldNames| {
            let found = nearest(wanted.first(), found.clone())?;
            let is_it = |column: &&Column| matches!(&column.origin, Origin::Field(names) if names == *wanted);
            let Column { name, .. } = plan.columns.iter().find(is_it)?;
            Some(format!("from: {} to {name}", text::yaml(found)))
        };
        missing.iter().take(SUGGESTED).filter_map(suggest).collect()
    }

    /// Returns how many columns of the plan that are read from fields have exactly one field in this header, and how many
    /// there are.
    pub fn columns_found(&self, plan: &Plan) -> (usize, usize) {
        let index = Index::new(self, plan.format.name_match());
        let wanted = plan.columns.iter().filter_map(|column| match &column.origin {
            Origin::Field(names) => Some(names),
            _ => None,
        });
        let is_found = |names: &&FieldNames| matches!(index.places(names), (Some(_), None));
        (wanted.clone().filter(is_found).count(), wanted.count())
    }

    /// Returns a field of the header that is a number or a date, and so hardly a name.
    fn value(&self) -> Option<&str> {
        let is_value =
            |text: &&String| text.parse::<f64>().is_ok_and(f64::is_finite) || parse::days(text).is_some();
        self.0.iter().find(is_value).map(String::as_str)
    }

    /// Returns the delimiter that a header of one field seems to have instead of the declared one, and how often. A
    /// `|` that is always doubled is a delimiter of two characters.
    pub fn other_delimiter(&self) -> Option<(String, usize)> {
        let [only] = self.0.as_slice() else { return None };
        let counts = COMMON_DELIMITERS.map(|delimiter| (delimiter, only.matches(delimiter).count()));
        let (found, count) =
            counts.into_iter().filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)?;
        let doubled = found.to_string().repeat(2);
        let doubles = only.matches(&doubled).count();
        if found == '|' && count == 2 * doubles {
            Some((doubled, doubles))
        } else {
            Some((found.to_string(), count))
        }
    }

    fn find(&self, names: &FieldNames, plan: &Plan, index: &Index<'_>) -> Result<Option<usize>, HeaderError> {
        let (first, second) = match index.places(names) {
            (Some(first), Some(second)) => (first, second),
            (first, _) => return Ok(first),
        };
        let name = |at: usize| self.0.get(at).map_or("", String::as_str);
        let (one, other, line) = (name(first), name(second), plan.format.header_line());
        if one == other {
            return Err(HeaderError::Twice { line, name: format!("`{one}`") });
        }
        let next = if index.rule.is_same(one, other) {
            format!("rename one of the two, or set {}: exact", plan.format.setting("header_match"))
        } else {
            format!("keep one of the two names in {}", plan.feed.setting("source.columns"))
        };
        Err(HeaderError::Both { line, one: format!("`{one}`"), other: format!("`{other}`"), next })
    }
}

/// The fields of a header by name.
struct Index<'h> {
    rule: NameMatch,
    /// The first two fields of each name.
    fields: HashMap<Cow<'h, str>, (usize, Option<usize>)>,
}

impl<'h> Index<'h> {
    fn new(Header(names): &'h Header, rule: NameMatch) -> Self {
        let mut fields: HashMap<_, (usize, Option<usize>)> = HashMap::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let known = fields.entry(rule.normal(name)).or_insert((at, None));
            if known.0 != at {
                known.1.get_or_insert(at);
            }
        }
        Self { rule, fields }
    }

    /// Returns the first two fields that have one of these names.
    fn places(&self, names: &FieldNames) -> (Option<usize>, Option<usize>) {
        let found = names.iter().filter_map(|name| self.fields.get(&self.rule.normal(name)));
        let mut places: Vec<usize> =
            found.flat_map(|(first, second)| [*first].into_iter().chain(*second)).collect();
        places.sort_unstable();
        places.dedup();
        (places.first().copied(), places.get(1).copied())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::Format;
    use crate::domain::format::Dialect;
    use crate::domain::value::Type;

    fn plan(names: &[&str]) -> Plan {
        let columns = names.iter().map(|name| Column::of_field(name, Type::Int)).collect();
        Plan { columns, ..Plan::empty() }
    }

    fn header(names: &[&str]) -> Header {
        Header(names.iter().map(ToString::to_string).collect())
    }

    fn next(columns: &[&str], names: &[&str]) -> String {
        match header(names).map(&plan(columns)) {
            Err(HeaderError::Missing { next, .. }) => next,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn near_names_are_suggested_without_the_other_keys_of_a_column() {
        let found = next(&["id", "amount", "tags"], &["id", "Amount", "Tags "]);
        assert!(
            found.ends_with("in source.columns, add from: \"Amount\" to amount, from: \"Tags \" to tags"),
            "{found}"
        );
        let found = next(&["id"], &["ID", "2019"]);
        assert!(found.ends_with("add from: \"ID\" to id"), "a year may be a name: {found}");
        assert!(next(&["id", "name"], &["1", "2019"]).contains("set source.format.header: false"));
        assert!(next(&["id", "name"], &["'id'", "'name'"]).ends_with("set source.format.quote: \"'\""));
    }

    #[test]
    fn a_header_of_one_field_names_its_delimiter() {
        let cases =
            [("id;name;n", ";", 2), ("id||name||n", "||", 2), ("id||name|n", "|", 3), ("id\tname", "\t", 1)];
        for (name, delimiter, count) in cases {
            assert_eq!(header(&[name]).other_delimiter(), Some((delimiter.to_owned(), count)));
        }
        assert_eq!(header(&["id"]).other_delimiter(), None);
        assert_eq!(header(&["id;name", "n"]).other_delimiter(), None);
    }

    #[test]
    fn the_columns_found_are_those_that_the_mapping_has() {
        let rule = [NameMatch::Exact, NameMatch::Relaxed];
        let names = [&["a", "b"][..], &["A ", "b", "c"], &["a", "a", "b"], &["a", "A", "b"], &["c"], &[]];
        for (rule, names) in rule.into_iter().flat_map(|rule| names.map(|names| (rule, names))) {
            let dialect = Dialect { name_match: rule, ..Dialect::default() };
            let plan = Plan { format: Format::Csv(Arc::new(dialect)), ..plan(&["a", "b"]) };
            let (found, wanted) = header(names).columns_found(&plan);
            assert_eq!(
                (found == wanted, wanted),
                (header(names).map(&plan).is_ok(), 2),
                "{rule:?} {names:?}"
            );
        }
    }

    #[test]
    fn a_name_that_fits_twice_is_refused_with_what_to_do() {
        let error = |rule, wanted: &[&str], names: &[&str]| {
            let dialect = Dialect { name_match: rule, ..Dialect::default() };
            let names_of = FieldNames::new(wanted.iter().map(ToString::to_string).collect()).unwrap();
            let column = Column { origin: Origin::Field(names_of), ..Column::of_field("v", Type::Int) };
            let format = Format::Csv(Arc::new(dialect));
            let plan = Plan { format, columns: vec![column], ..Plan::empty() };
            header(names).map(&plan).unwrap_err().on_line(7).to_string()
        };
        let found = error(NameMatch::Relaxed, &["v"], &["id", "v", "V"]);
        assert!(
            found.contains("line 7: the header has `v` and `V`") && found.contains("header_match: exact"),
            "{found}"
        );
        let found = error(NameMatch::Exact, &["v", "w"], &["w", "v"]);
        assert!(
            found.contains("`w` and `v`") && found.contains("keep one of the two names in source.columns")
        );
        assert!(error(NameMatch::Exact, &["v"], &["v", "v"]).contains("`v` twice"));
    }

    #[test]
    fn a_header_of_thousands_of_wrong_names_is_explained() {
        let many = |name: &str| (0..3000).map(|n| format!("{name}_{n}")).collect::<Vec<_>>();
        let columns = many("customer_column").iter().map(|name| Column::of_field(name, Type::Int)).collect();
        let plan = Plan { columns, ..Plan::empty() };
        // Comparing each name with each other one letter by letter would take minutes.
        let (names, none) = (Header(many("customer_colunm")), Header(many("other")));
        assert_eq!((names.columns_found(&plan), none.columns_found(&plan)), ((0, 3000), (0, 3000)));
        let error = names.map(&plan).unwrap_err().to_string();
        assert!(error.contains("add from: \"customer_colunm_0\" to customer_column_0, "));
        assert!(none.map(&plan).unwrap_err().to_string().ends_with("or the names in source.columns"));
    }
}
