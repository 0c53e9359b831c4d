//! Warnings of `check` about a store whose tables fit the configuration.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::{SqliteStore, ledger, open};
use crate::domain::{Schema, Table};
use crate::store::StoreError;
use crate::store::sqlite::fault::{Fault, SqlResult};

/// Warnings about a store.
#[derive(Debug, Default)]
pub struct Remarks {
    /// How far stamps are ahead of the clock, if a correct clock cannot have produced them.
    pub stamps_ahead: Option<Duration>,
    /// One text per table: the triggers, indexes and constraints that may reject rows.
    pub may_reject: Vec<String>,
}

impl SqliteStore {
    /// Returns the warnings about the store at `path`. There are none if the store does not exist.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read.
    pub fn remarks(path: &Path, declared: &Schema) -> Result<Remarks, StoreError> {
        if open::is_fresh(path)? {
            return Ok(Remarks::default());
        }
        let in_store = |error: rusqlite::Error| Fault::from(error).in_store(&path.display().to_string());
        let connection = open::for_asking(path).map_err(in_store)?;
        let tables = declared.tables.iter().filter_map(|table| may_reject(&connection, table).transpose());
        let may_reject = tables.collect::<SqlResult<_>>().map_err(in_store)?;
        Ok(Remarks { stamps_ahead: ledger::ahead(&connection).map_err(in_store)?, may_reject })
    }
}

/// Returns a text that lists the triggers, indexes and constraints that the user added to a table and that may reject a
/// row.
fn may_reject(connection: &Connection, table: &Table) -> SqlResult<Option<String>> {
    let sql = "SELECT 'trigger ' || name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE \
               UNION ALL SELECT 'unique index ' || name FROM pragma_index_list(?1) WHERE \"unique\" AND origin <> 'pk' \
               UNION ALL SELECT 'foreign key to ' || \"table\" FROM pragma_foreign_key_list(?1) \
               UNION ALL SELECT 'NOT NULL on ' || name FROM pragma_table_info(?1) \
               WHERE \"notnull\" AND pk = 0 AND name <> '_stamp'";
    let mut statement = connection.prepare(sql)?;
    let mut found: Vec<String> =
        statement.query_map([&table.name], |row| row.get(0))?.collect::<SqlResult<_>>()?;
    if has_check(connection, table)? {
        found.push("a CHECK".to_owned());
    }
    let warning = || {
        format!("table {}: {} may reject rows; rejected rows go to quarantine", table.name, found.join(", "))
    };
    Ok((!found.is_empty()).then(warning))
}

/// Whether a table has a CHECK constraint. SQLite exposes it only in the text of the schema. A column may be named
/// `check`, so a parenthesis must follow.
fn has_check(connection: &Connection, table: &Table) -> SqlResult<bool> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    let ddl: Option<String> = connection.query_row(sql, [&table.name], |row| row.get(0)).optional()?;
    let ddl = ddl.unwrap_or_default().to_ascii_lowercase();
    Ok(ddl.match_indices("check").any(|(at, word)| ddl[at + word.len()..].trim_start().starts_with('(')))
}
