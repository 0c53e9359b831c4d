//! The names of keyspaces, tables and columns in CQL.

use crate::domain::{Column, Table};
use crate::store::cassandra::cluster::settings::Settings;
use crate::store::cassandra::schema::declared::STAMPS;

/// Returns a name in CQL notation: folded to lower case unless it was declared in double quotes, and always quoted.
pub fn quoted(name: &str, exact: bool) -> String {
    format!("\"{}\"", folded(name, exact).replace('"', "\"\""))
}

pub fn folded(name: &str, exact: bool) -> String {
    if exact { name.to_owned() } else { name.to_ascii_lowercase() }
}

/// Returns the name of a keyspace, folded to lower case unless it was declared in double quotes.
pub fn keyspace(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(exact) => exact.to_owned(),
        None => name.to_ascii_lowercase(),
    }
}

/// Returns `keyspace.table`, quoted.
pub fn place(settings: &Settings, table: &Table) -> String {
    format!("{}.{}", quoted(&keyspace(&settings.keyspace), true), quoted(&table.name, table.exact))
}

pub fn ledger_place(settings: &Settings, table: &str) -> String {
    format!("{}.{table}", quoted(&keyspace(&settings.ledger_keyspace), true))
}

pub fn stamps_place(settings: &Settings) -> String {
    format!("{}.{}", quoted(&keyspace(&settings.keyspace), true), STAMPS.0)
}

pub fn column(column: &Column) -> String {
    quoted(&column.name, column.exact)
}

pub fn keyspaces(settings: &Settings) -> Vec<String> {
    let mut names = vec![keyspace(&settings.keyspace), keyspace(&settings.ledger_keyspace)];
    names.dedup();
    names
}
