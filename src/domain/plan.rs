//! The declaration in the form that the pipeline uses: columns by index, tables as projections.

use std::fmt;

use encoding_rs::Encoding;

use super::feed::Feed;
use super::format::Format;
use super::parse::Form;
use super::value::{Type, Unit};

/// The compiled declaration: what is read, what is skipped, and which tables records go to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The feed whose files are read.
    pub feed: Feed,
    pub format: Format,
    /// The character encoding of the files.
    pub encoding: &'static Encoding,
    pub columns: Vec<Column>,
    /// A record is skipped if one of these columns is empty.
    pub skip_when_empty: Vec<usize>,
    pub tables: Vec<Table>,
    /// The fingerprint of everything that decides what a record becomes.
    pub fingerprint: Fingerprint,
    /// The fingerprint of the same and the limits. If it changes, failed deliveries are tried again.
    pub attempt: Fingerprint,
    /// The fingerprint of everything that decides which rows the same bytes become: the declaration, the maximum length
    /// of a record, and [`RULES`].
    pub rules: Fingerprint,
}

/// The version of framing and parsing. Raise it with every change that makes different rows from the same bytes. Rows
/// that an earlier version sent ahead of the ledger are then never mixed with rows of this version.
pub const RULES: u32 = 2;

/// A column of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Whether the name was declared in double quotes, so that CQL keeps its case.
    pub exact: bool,
    pub kind: Type,
    /// The unit, if the column is a timestamp that is read from a field of numbers.
    pub unit: Option<Unit>,
    pub origin: Origin,
}

impl Column {
    /// Returns how the fields of this column are parsed.
    pub fn form(&self) -> Form {
        self.unit.map_or(Form::Plain(self.kind), Form::Since)
    }
}

/// Where the value of a column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The field with this name in the header.
    Field(String),
    /// The day (UTC) of a timestamp column, by its index.
    DateOf(usize),
    /// The date in the file's name.
    FileDate,
    /// The file's name without its folder.
    FileName,
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
}

impl Plan {
    pub fn table(&self, name: &str) -> Option<(usize, &Table)> {
        self.tables.iter().enumerate().find(|(_, table)| table.name == name)
    }

    /// Returns the columns of `table`, key first.
    pub fn columns_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Column> {
        table.all().filter_map(|index| self.columns.get(index))
    }
}
