//! Quarantined records, summarised by column and reason.

use std::collections::{BTreeMap, HashMap};

use super::feed::FileKey;
use super::record::{Quarantined, Reason};

/// The number of kinds that a message names.
const NAMED: usize = 3;

/// How many records were refused, by column and reason. It takes little memory, however many there are.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    kinds: BTreeMap<&'static str, HashMap<Option<String>, Refusal>>,
}

/// The records that were refused because of the same column and for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub column: Option<String>,
    pub reason: Reason,
    pub count: u64,
    /// The first of the records.
    pub file: FileKey,
    pub line: u64,
    pub detail: String,
}

impl Refusals {
    /// Counts a record of this file.
    pub fn add(&mut self, file: &FileKey, entry: &Quarantined) {
        let columns = self.kinds.entry(entry.reason.name()).or_default();
        if let Some(refusal) = columns.get_mut(&entry.column) {
            refusal.count += 1;
            return;
        }
        let Quarantined { column, reason, line, detail, .. } = entry;
        let (file, detail) = (file.clone(), detail.clone());
        let first = Refusal { column: column.clone(), reason: *reason, count: 1, file, line: *line, detail };
        columns.insert(column.clone(), first);
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Returns all kinds, the most frequent first.
    pub fn by_count(&self) -> Vec<&Refusal> {
        let mut all: Vec<&Refusal> = self.kinds.values().flat_map(HashMap::values).collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (a.line, &a.column).cmp(&(b.line, &b.column))));
        all
    }

    /// Describes the most frequent kinds of one file, each with its first record.
    pub fn describe(&self) -> String {
        let all = self.by_count();
        let mut parts: Vec<String> = all.iter().take(NAMED).map(|refusal| refusal.describe()).collect();
        if let Some(more) = all.len().checked_sub(NAMED).filter(|more| *more > 0) {
            parts.push(format!("and {more} more kinds"));
        }
        parts.join("; ")
    }
}

impl Refusal {
    fn describe(&self) -> String {
        let Self { column, reason, count, line, detail, .. } = self;
        let column = column.as_ref().map_or_else(String::new, |column| format!("in column `{column}` "));
        format!("{count} {column}({reason}), the first on line {line}: {detail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: u64, column: Option<&str>, reason: Reason) -> Quarantined {
        let (column, detail) = (column.map(str::to_owned), format!("\"x{line}\" must be a number"));
        Quarantined { record: line, line, offset: 0, len: 2, column, reason, detail, raw: Vec::new() }
    }

    #[test]
    fn kinds_are_named_by_frequency_with_the_first_record_of_each() {
        let mut refusals = Refusals::default();
        assert!(refusals.is_empty());
        refusals.add(&"a.csv".into(), &entry(2, None, Reason::Fields));
        for line in 3..6 {
            refusals.add(&"a.csv".into(), &entry(line, Some("amount"), Reason::Value));
        }
        refusals.add(&"a.csv".into(), &entry(6, Some("amount"), Reason::Range));
        let expected = "3 in column `amount` (value), the first on line 3: \"x3\" must be a number; \
                        1 (fields), the first on line 2: \"x2\" must be a number; \
                        1 in column `amount` (range), the first on line 6: \"x6\" must be a number";
        assert_eq!(refusals.describe(), expected);
        refusals.add(&"a.csv".into(), &entry(7, Some("day"), Reason::Value));
        assert!(refusals.describe().ends_with("; and 1 more kinds"), "{}", refusals.describe());
    }
}
