//! The declaration in the form the pipeline works with: columns by index, tables as projections.

use std::fmt;

use encoding_rs::Encoding;

use super::parse::Form;
use super::value::{Type, Unit};

/// What is read, what is skipped, and which tables it becomes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the text of the files is written in.
    pub encoding: &'static Encoding,
    pub columns: Vec<Column>,
    /// Columns that make a record a skipped one when they are empty.
    pub skip_when_empty: Vec<usize>,
    pub tables: Vec<Table>,
    /// Of everything that decides what a record becomes.
    pub fingerprint: Fingerprint,
    /// The same with the limits: what failed is tried again when this changes.
    pub attempt: Fingerprint,
    /// Of everything that decides which rows the same bytes become: the declaration, the longest record, and
    /// [`RULES`].
    pub rules: Fingerprint,
}

/// The version of framing and parsing. A change that makes other rows of the same bytes raises it: rows that an
/// earlier version sent ahead of the ledger are then never mixed with rows of this one.
pub const RULES: u32 = 1;

/// A column of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// CQL keeps the case of the name; it was declared in double quotes.
    pub exact: bool,
    pub kind: Type,
    /// Only of a timestamp that is read from a field of numbers.
    pub unit: Option<Unit>,
    pub origin: Origin,
}

impl Column {
    /// How its field is read.
    pub fn form(&self) -> Form {
        self.unit.map_or(Form::Plain(self.kind), Form::Since)
    }
}

/// Where the value of a column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The field under this name in the header.
    Field(String),
    /// The day (UTC) of a timestamp column.
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
    /// CQL keeps the case of the name; it was declared in double quotes.
    pub exact: bool,
    /// The question it answers.
    pub answers: String,
    pub partition_key: Vec<usize>,
    pub clustering_key: Vec<(usize, Order)>,
    pub columns: Vec<usize>,
    /// Those of `columns` that a partition has once, not every row of it (Cassandra only).
    pub statics: Vec<usize>,
    pub empty: Empty,
    /// What a table of Cassandra is made WITH, word by word: `default_time_to_live`, `86400`.
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
    /// Leaves it.
    Keep,
    /// Erases it.
    Clear,
}

/// BLAKE3 of a declaration, as 16 hexadecimal digits.
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
    /// The primary key: partition key, then clustering key.
    pub fn key(&self) -> impl Iterator<Item = usize> + '_ {
        let clustering = self.clustering_key.iter().map(|(column, _)| *column);
        self.partition_key.iter().copied().chain(clustering)
    }

    /// Every column, key first.
    pub fn all(&self) -> impl Iterator<Item = usize> + '_ {
        self.key().chain(self.columns.iter().copied())
    }

    /// Whether every column of the partition key, and perhaps more, is among the first `given` ones.
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

    /// The columns of `table` with their types, key first.
    pub fn columns_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Column> {
        table.all().filter_map(|index| self.columns.get(index))
    }
}
