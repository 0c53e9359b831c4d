//! Builds the SQL statements for one table.

use crate::domain::{Schema, Table, Type};
use crate::store::sqlite::schema::quoted;

/// The SQL statements for one table.
pub struct TableSql {
    pub insert: String,
    pub select: String,
    pub update: String,
    pub delete: String,
    /// The names of the columns after the key.
    pub names: Vec<String>,
    pub newest_by: Option<NewestBy>,
}

/// The column `newest_by`.
pub struct NewestBy {
    /// Its place among the columns after the key.
    pub at: usize,
    pub kind: Type,
}

impl TableSql {
    pub fn new(declared: &Schema, table: &Table) -> Self {
        let all: Vec<String> = declared.columns_of(table).map(|column| quoted(&column.name)).collect();
        let (key, columns) = all.split_at(table.key_len());
        let name = quoted(&table.name);
        let marks =
            |from: usize, count: usize| (from..from + count).map(|n| format!("?{n}")).collect::<Vec<_>>();
        let pairs = |names: &[String], from: usize| {
            names
                .iter()
                .zip(marks(from, names.len()))
                .map(|(name, mark)| format!("{name} = {mark}"))
                .collect::<Vec<_>>()
        };
        let ours = ["_stamp", "_first", "_cells"].map(String::from);
        let set: Vec<String> = columns.iter().chain(&ours).cloned().collect();
        let is_key = pairs(key, 1).join(" AND ");
        Self {
            insert: format!(
                "INSERT INTO {name} ({}, _stamp) VALUES ({}) ON CONFLICT ({}) DO NOTHING",
                all.join(", "),
                marks(1, all.len() + 1).join(", "),
                key.join(", "),
            ),
            select: format!("SELECT {} FROM {name} WHERE {is_key}", set.join(", ")),
            update: format!("UPDATE {name} SET {} WHERE {is_key}", pairs(&set, 1 + key.len()).join(", ")),
            delete: format!("DELETE FROM {name} WHERE {is_key}"),
            names: declared.columns_of(table).skip(key.len()).map(|column| column.name.clone()).collect(),
            newest_by: table.newest_at().and_then(|at| {
                let kind = declared.columns_of(table).nth(key.len() + at)?.kind;
                Some(NewestBy { at, kind })
            }),
        }
    }
}
