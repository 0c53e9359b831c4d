//! An SQLite file with the declared tables, in which the rows that kept files give are collected. Nothing in it is needed
//! after a crash.

use std::cmp::Ordering;
use std::path::Path;

use bigdecimal::BigDecimal;
use rusqlite::Connection;

use crate::domain::{Schema, Table, Type};
use crate::store::sqlite::fault::SqlResult;
use crate::store::sqlite::schema;

/// A scratch file. Its name is removed at once, so that nothing is left of it when the process ends, however it ends.
pub struct Scratch {
    pub connection: Connection,
}

/// How the keys of a store are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEquality {
    /// By their stored form, as in SQLite.
    Stored,
    /// Clustering columns by value, as in Cassandra: 1.5 and 1.50 are one key.
    ByValue,
}

fn ddl(declared: &Schema, table: &Table, keys: KeyEquality) -> String {
    let clustering = table.partition_key.len()..table.key_len();
    let is_decimal =
        |at: usize| declared.columns_of(table).nth(at).is_some_and(|column| column.kind == Type::Decimal);
    schema::create_with(declared, table, |at| {
        let by_value = keys == KeyEquality::ByValue && clustering.contains(&at) && is_decimal(at);
        if by_value { " COLLATE needledrop_number" } else { "" }
    })
}

fn by_value(a: &str, b: &str) -> Ordering {
    match (a.parse::<BigDecimal>(), b.parse::<BigDecimal>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Creates an empty file and removes its name.
pub fn file(path: &Path) -> SqlResult<Connection> {
    remove(path);
    let connection = Connection::open(path)?;
    // SQLite creates the file at the first access.
    connection
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA user_version = 1;")?;
    remove(path);
    Ok(connection)
}

impl Scratch {
    /// Creates the file with the declared tables. With [`KeyEquality::ByValue`], equal decimals in a clustering key are one
    /// key, however they are written.
    pub fn create(path: &Path, declared: &Schema, keys: KeyEquality) -> SqlResult<Self> {
        let created = Self { connection: file(path)? };
        created.connection.create_collation("needledrop_number", by_value)?;
        for table in &declared.tables {
            created.connection.execute_batch(&ddl(declared, table, keys))?;
        }
        Ok(created)
    }
}
