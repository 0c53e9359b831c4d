//! What a newer generation of a file changed, compared with an earlier one by key.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The maximum number of keys of each kind that are kept as examples for a table.
pub const EXAMPLES: usize = 3;

/// How a delivery replaces an earlier generation of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The generation that it is compared with: the newest earlier one with rows.
    pub earlier: u32,
    pub comparison: Comparison,
    pub mirror: Mirror,
}

/// What became of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// It is made once the newer generation is loaded.
    Due,
    Done(Vec<TableChanges>),
    /// Why it cannot be made.
    Impossible(String),
}

/// What happens to the rows that only earlier generations have (`source.on_replace`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mirror {
    /// They stay (`upsert`).
    Off,
    /// They are removed once the newer generation is loaded and has no open record in quarantine.
    Due,
    Done,
    /// Why they stay.
    Refused(String),
}

/// What a newer generation changed in one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChanges {
    pub table: String,
    /// Keys that only the newer generation has.
    pub new: u64,
    /// Keys of both with different values.
    pub changed: u64,
    /// Keys that only the earlier generation has.
    pub gone: u64,
    pub examples: Vec<Example>,
}

/// One of the first keys of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    pub kind: Change,
    /// The key columns with their values, such as `sessionId=7, itemInSession=0`.
    pub key: String,
}

/// How a key differs between two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    New,
    Changed,
    Gone,
}

impl Change {
    pub const ALL: [Self; 3] = [Self::New, Self::Changed, Self::Gone];

    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Gone => "gone",
        }
    }
}

impl Replacement {
    /// Returns the replacement of a generation by a delivery that is not loaded yet.
    pub fn due(earlier: u32, mirrors: bool) -> Self {
        Self { earlier, comparison: Comparison::Due, mirror: if mirrors { Mirror::Due } else { Mirror::Off } }
    }

    /// Whether something is left to do once the delivery is loaded.
    pub fn is_due(&self) -> bool {
        self.comparison == Comparison::Due || self.mirror == Mirror::Due
    }
}

impl TableChanges {
    pub fn of(table: &str) -> Self {
        Self { table: table.to_owned(), ..Self::default() }
    }

    /// Counts a key, and keeps it as an example if there are few of its kind.
    pub fn add(&mut self, kind: Change, key: impl FnOnce() -> String) {
        *self.counter(kind) += 1;
        if self.examples.iter().filter(|example| example.kind == kind).count() < EXAMPLES {
            self.examples.push(Example { kind, key: key() });
        }
    }

    fn counter(&mut self, kind: Change) -> &mut u64 {
        match kind {
            Change::New => &mut self.new,
            Change::Changed => &mut self.changed,
            Change::Gone => &mut self.gone,
        }
    }

    pub fn count(&self, kind: Change) -> u64 {
        match kind {
            Change::New => self.new,
            Change::Changed => self.changed,
            Change::Gone => self.gone,
        }
    }
}

/// Writes the counts of each table, and what became of the rows that are gone.
impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.comparison {
            Comparison::Due => f.write_str("not compared yet")?,
            Comparison::Impossible(why) => write!(f, "not compared: {why}")?,
            Comparison::Done(tables) => {
                let each: Vec<String> = tables.iter().map(TableChanges::to_string).collect();
                f.write_str(&each.join("; "))?;
            }
        }
        match &self.mirror {
            Mirror::Off => Ok(()),
            Mirror::Due => f.write_str("; what is gone is not removed yet"),
            Mirror::Done => f.write_str("; what is gone was removed"),
            Mirror::Refused(why) => write!(f, "; what is gone stays: {why}"),
        }
    }
}

/// Writes `events +12 new, 3 changed, 1 gone`.
impl fmt::Display for TableChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, new, changed, gone, .. } = self;
        write!(f, "{table} +{new} new, {changed} changed, {gone} gone")
    }
}
