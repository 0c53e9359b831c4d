//! What of a table is taken back as one: its rows, and apart from them the static columns of its partitions.

use super::connect::Settings;
use super::hash::Key;
use super::schema;
use crate::domain::{Plan, Table};

/// Rows of a table without its static columns, or those alone.
pub struct Part {
    /// As it stands in `needledrop_provisional`.
    pub name: String,
    /// The place of its table in the plan.
    pub of: usize,
    /// The table with the columns and the key of this part.
    pub table: Table,
    pub key: Key,
    is_static: bool,
}

impl Part {
    /// The parts of all tables.
    pub fn all(plan: &Plan) -> Vec<Self> {
        let both = |(of, table): (usize, &Table)| {
            let part = |name: String, table: Table, is_static| {
                let key = Key::of(plan, &table);
                Self { name, of, table, key, is_static }
            };
            let mut rows = table.clone();
            rows.columns.retain(|column| !table.statics.contains(column));
            let rows = part(table.name.clone(), rows, false);
            let once = Table { clustering_key: Vec::new(), columns: table.statics.clone(), ..table.clone() };
            let once = part(format!("{} (static)", table.name), once, true);
            std::iter::once(rows).chain((!table.statics.is_empty()).then_some(once))
        };
        plan.tables.iter().enumerate().flat_map(both).collect()
    }

    /// What is on a row, with the stamp of each cell.
    pub fn select(&self, settings: &Settings, plan: &Plan) -> String {
        let mut names: Vec<String> = names(plan, self.table.key()).into_iter().take(1).collect();
        for name in names_of(plan, &self.table) {
            names.push(format!("{name}, WRITETIME({name})"));
        }
        // A partition has them once, in front of each of its rows.
        let limit = if self.is_static { " LIMIT 1" } else { "" };
        let place = schema::place(settings, &self.table);
        format!("SELECT {} FROM {place} WHERE {}{limit}", names.join(", "), self.condition(plan))
    }

    /// Deletes what is there up to a stamp.
    pub fn delete(&self, settings: &Settings, plan: &Plan, up_to: i64) -> String {
        let columns =
            if self.is_static { names_of(plan, &self.table).join(", ") + " " } else { String::new() };
        let place = schema::place(settings, &self.table);
        format!("DELETE {columns}FROM {place} USING TIMESTAMP {up_to} WHERE {}", self.condition(plan))
    }

    /// Writes these columns behind the key; none where a row of nothing else cannot be.
    pub fn insert(&self, settings: &Settings, plan: &Plan, columns: &[usize], stamp: i64) -> Option<String> {
        if self.is_static && columns.is_empty() {
            return None;
        }
        let names = names(plan, self.table.key().chain(columns.iter().copied()));
        let (marks, names) = (vec!["?"; names.len()].join(", "), names.join(", "));
        let place = schema::place(settings, &self.table);
        Some(format!("INSERT INTO {place} ({names}) VALUES ({marks}) USING TIMESTAMP {stamp}"))
    }

    fn condition(&self, plan: &Plan) -> String {
        let each = names(plan, self.table.key()).into_iter().map(|name| format!("{name} = ?"));
        each.collect::<Vec<_>>().join(" AND ")
    }
}

fn names(plan: &Plan, columns: impl Iterator<Item = usize>) -> Vec<String> {
    columns.filter_map(|index| plan.columns.get(index)).map(schema::column).collect()
}

fn names_of(plan: &Plan, table: &Table) -> Vec<String> {
    names(plan, table.columns.iter().copied())
}
