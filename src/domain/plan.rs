//! The declaration in the form that the pipeline uses: columns by index, tables as projections.

use std::fmt;
use std::sync::Arc;

use encoding_rs::Encoding;

use super::feed::Feed;
use super::file_date::FileDates;
use super::format::Format;
use super::parse;
use super::parse::Form;
use super::parse::refusal::Parsed;
use super::path_value::PathValue;
use super::reading::{Reading, TimePart};
use super::value::{Type, Unit};

/// The compiled declaration: what is read, what is skipped, and which tables records go to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The feed whose files are read.
    pub feed: Feed,
    pub format: Format,
    /// Which forms of dates are looked for in names.
    pub file_dates: FileDates,
    /// The character encoding of the files.
    pub encoding: &'static Encoding,
    /// Whether files that are UTF-8 are refused if the encoding is another one.
    pub refuses_utf8: bool,
    pub columns: Vec<Column>,
    /// A record is skipped if one of these columns is empty.
    pub skip_when_empty: Vec<usize>,
    pub tables: Vec<Table>,
    /// The fingerprint of the declaration: feed, format, columns and tables.
    pub fingerprint: Fingerprint,
    /// The fingerprint of everything that decides whether a file fails: the declaration, the limits, the encoding and the
    /// forms of dates. If it changes, failed deliveries are tried again.
    pub attempt: Fingerprint,
    /// The fingerprint of everything that decides which rows the same decoded bytes become: the declaration, the maximum
    /// length of a record, and [`RULES`].
    pub rules: Fingerprint,
}

/// The version of framing and parsing. Raise it with every change that makes different rows from the same bytes. Rows
/// that an earlier version sent ahead of the ledger are then never mixed with rows of this version.
pub const RULES: u32 = 3;

/// A column of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Whether the name was declared in double quotes, so that CQL keeps its case.
    pub exact: bool,
    pub kind: Type,
    /// The unit, if the column is a timestamp that is read from a field of numbers.
    pub unit: Option<Unit>,
    /// How its fields are written, if not by the grammar of its type.
    pub reading: Option<Arc<Reading>>,
    pub origin: Origin,
}

impl Column {
    /// Returns the grammar of the values of this column.
    pub fn form(&self) -> Form {
        self.unit.map_or(Form::Plain(self.kind), Form::Since)
    }

    /// Whether a field of this column is empty.
    pub fn is_empty(&self, field: &[u8]) -> bool {
        match &self.reading {
            Some(reading) => reading.is_empty(self.form(), field),
            None => parse::is_empty(self.kind, field),
        }
    }

    /// Parses one field of this column. If the value has bytes, they are appended to `arena`.
    ///
    /// # Errors
    /// Returns the rule of the column that the field breaks.
    pub fn parse(&self, field: &[u8], arena: &mut Vec<u8>) -> Parsed {
        match &self.reading {
            Some(reading) => reading.parse(self.form(), field, arena),
            None => parse::parse(self.form(), field, arena),
        }
    }
}

/// Where the value of a column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The field with one of these names in the header.
    Field(FieldNames),
    /// A part of a timestamp column, by its index.
    PartOf(usize, TimePart),
    /// The date in the file's name.
    FileDate,
    /// A part of the file's path.
    Path(PathValue),
    /// The line on which the record begins, from 1.
    Line,
}

/// The names that the field of a column may have in a header. A header may have only one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldNames {
    first: String,
    others: Vec<String>,
}

impl FieldNames {
    /// Returns `None` if there is no name.
    pub fn new(names: Vec<String>) -> Option<Self> {
        let mut names = names.into_iter();
        Some(Self { first: names.next()?, others: names.collect() })
    }

    pub fn first(&self) -> &str {
        &self.first
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.others).map(String::as_str)
    }
}

impl<T: Into<String>> From<T> for FieldNames {
    fn from(name: T) -> Self {
        Self { first: name.into(), others: Vec::new() }
    }
}

impl fmt::Display for FieldNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.first)?;
        self.others.iter().try_for_each(|name| write!(f, " or `{name}`"))
    }
}

/// A query-first table: columns are indexes into [`Plan::columns`].
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// Whether the name was declared in double quotes, so that CQL keeps its case.
    pub exact: bool,
    /// The question that the table answers.
    pub answers: String,
    pub partition_key: Vec<usize>,
    pub clustering_key: Vec<(usize, Order)>,
    pub columns: Vec<usize>,
    /// The columns that have one value per partition instead of one per row (Cassandra only).
    pub statics: Vec<usize>,
    pub empty: Empty,
    /// The column that decides which record of a key gives its row. Without it, the last record of each column does.
    pub newest_by: Option<usize>,
    /// The options in the `WITH` clause of a Cassandra table, as name and value: `default_time_to_live`, `86400`.
    pub options: Vec<(String, String)>,
    pub fingerprint: Fingerprint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// What an empty column of a newer record does to an older value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// The older value stays.
    Keep,
    /// The older value is erased.
    Clear,
}

/// The first 16 hexadecimal digits of the BLAKE3 hash of a declaration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    pub fn of(declaration: &str) -> Self {
        let hex = blake3::hash(declaration.as_bytes()).to_hex();
        Self(hex.chars().take(16).collect())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Table {
    /// Returns the primary key: the columns of the partition key, then those of the clustering key.
    pub fn key(&self) -> impl Iterator<Item = usize> + '_ {
        let clustering = self.clustering_key.iter().map(|(column, _)| *column);
        self.partition_key.iter().copied().chain(clustering)
    }

    /// Returns all columns, key first.
    pub fn all(&self) -> impl Iterator<Item = usize> + '_ {
        self.key().chain(self.columns.iter().copied())
    }

    /// Whether the first `given` columns of the key include the whole partition key.
    pub fn is_one_partition(&self, given: usize) -> bool {
        given >= self.partition_key.len()
    }

    pub fn key_len(&self) -> usize {
        self.partition_key.len() + self.clustering_key.len()
    }

    /// Returns the place of the column `newest_by` among the columns after the key.
    pub fn newest_at(&self) -> Option<usize> {
        let newest_by = self.newest_by?;
        self.columns.iter().position(|column| *column == newest_by)
    }
}

#[cfg(test)]
impl Column {
    /// Returns a column that is read from the field of its name.
    pub fn of_field(name: &str, kind: Type) -> Self {
        let origin = Origin::Field(name.into());
        Self { name: name.to_owned(), exact: false, kind, unit: None, reading: None, origin }
    }
}

#[cfg(test)]
impl Table {
    /// Returns a table without columns, whose fingerprint is that of its name.
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            exact: false,
            answers: String::new(),
            partition_key: Vec::new(),
            clustering_key: Vec::new(),
            columns: Vec::new(),
            statics: Vec::new(),
            empty: Empty::Keep,
            newest_by: None,
            options: Vec::new(),
            fingerprint: Fingerprint::of(name),
        }
    }
}

#[cfg(test)]
impl Plan {
    /// Returns a plan that reads no columns and has no tables.
    pub fn empty() -> Self {
        let none = Fingerprint::of("");
        Self {
            feed: Feed::default(),
            file_dates: FileDates::default(),
            format: Format::default(),
            encoding: encoding_rs::UTF_8,
            refuses_utf8: true,
            columns: Vec::new(),
            skip_when_empty: Vec::new(),
            tables: Vec::new(),
            fingerprint: none.clone(),
            attempt: none.clone(),
            rules: none,
        }
    }
}

impl Plan {
    pub fn table(&self, name: &str) -> Option<(usize, &Table)> {
        self.tables.iter().enumerate().find(|(_, table)| table.name == name)
    }

    /// Whether the records of a table must be written in the order of their stamps, because of `newest_by`.
    pub fn needs_order(&self) -> bool {
        self.tables.iter().any(|table| table.newest_by.is_some())
    }

    /// Returns the columns of `table`, key first.
    pub fn columns_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Column> {
        table.all().filter_map(|index| self.columns.get(index))
    }
}
