//! Generates the DDL from the declaration.

use std::fmt::Write as _;

use crate::domain::{Order, Schema, Table};
use crate::store::cassandra::cluster::settings::Settings;
use crate::store::cassandra::schema::declared::{LEDGER, STAMPS};
use crate::store::cassandra::schema::names::{column, keyspaces, ledger_place, place, quoted, stamps_place};

pub fn create_stamps(settings: &Settings) -> String {
    format!("CREATE TABLE IF NOT EXISTS {} ({})", stamps_place(settings), STAMPS.1)
}

pub fn create_of_ledger(settings: &Settings, (name, columns): (&str, &str)) -> String {
    format!("CREATE TABLE IF NOT EXISTS {} ({columns})", ledger_place(settings, name))
}

pub fn create_keyspace(settings: &Settings, name: &str) -> String {
    let options: Vec<String> =
        settings.replication.iter().map(|(key, value)| format!("'{key}': '{value}'")).collect();
    format!("CREATE KEYSPACE {} WITH replication = {{{}}}", quoted(name, true), options.join(", "))
}

/// Returns the `CREATE TABLE` statement of a table.
pub fn create_table(settings: &Settings, declared: &Schema, table: &Table) -> String {
    let mut ddl = format!("CREATE TABLE {} (\n", place(settings, table));
    for index in table.all() {
        let Some(one) = declared.columns.get(index) else { continue };
        let once = if table.statics.contains(&index) { " static" } else { "" };
        let _ = writeln!(ddl, "  {} {}{once},", column(one), one.kind);
    }
    let name = |index: &usize| declared.columns.get(*index).map(column).unwrap_or_default();
    let partition = table.partition_key.iter().map(name).collect::<Vec<_>>().join(", ");
    let clustering: String =
        table.clustering_key.iter().fold(String::new(), |all, (index, _)| all + ", " + &name(index));
    let _ = write!(ddl, "  PRIMARY KEY (({partition}){clustering})\n)");
    let mut with: Vec<String> = table.options.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    if table.clustering_key.iter().any(|(_, order)| *order == Order::Descending) {
        let orders =
            table.clustering_key.iter().map(|(index, order)| format!("{} {}", name(index), word(*order)));
        with.insert(0, format!("CLUSTERING ORDER BY ({})", orders.collect::<Vec<_>>().join(", ")));
    }
    if !with.is_empty() {
        let _ = write!(ddl, " WITH {}", with.join("\n  AND "));
    }
    ddl
}

pub fn word(order: Order) -> &'static str {
    if order == Order::Descending { "DESC" } else { "ASC" }
}

/// Returns the statements that create the whole store, in order.
pub fn ddl(settings: &Settings, declared: &Schema) -> Vec<String> {
    let mut all = Vec::new();
    for name in keyspaces(settings) {
        all.push(create_keyspace(settings, &name));
    }
    all.extend(declared.tables.iter().map(|table| create_table(settings, declared, table)));
    all.push(create_stamps(settings));
    all.extend(LEDGER.iter().map(|table| create_of_ledger(settings, *table)));
    all
}
