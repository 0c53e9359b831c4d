//! The state that all work on the connections of a store shares.

use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::domain::{Schema, StampsAhead, Table};
use crate::store::rejection::Rejections;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::place::Place;
use crate::store::sqlite::table_sql::TableSql;

/// The state that all work on the connections of a store shares.
pub struct Shared {
    pub path: PathBuf,
    pub declared: Arc<Schema>,
    /// The statements of each table, by index of the table in the schema.
    pub sql: Vec<TableSql>,
    /// SQLite's schema version when the tables were last compared.
    pub schema: AtomicI64,
    pub stamps_ahead: StampsAhead,
    /// The rejections of each delivery and table.
    pub refusals: Mutex<Rejections>,
    /// The files of the store, with the writer's lock. Set only if the store is open for writing.
    pub place: Option<Place>,
}

impl Shared {
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns the statements of a table.
    pub fn sql_of(&self, table: &Table) -> Option<&TableSql> {
        let (at, _) = self.declared.table(&table.name)?;
        self.sql.get(at)
    }

    /// Checks that the files of the store are still in place.
    pub fn check(&self) -> Result<(), Fault> {
        self.place.as_ref().map_or(Ok(()), |place| place.check().map_err(Fault::Gone))
    }

    pub fn leave(&self, connection: &Connection, fault: &Fault) {
        if let (Some(place), Fault::Gone(change)) = (&self.place, fault) {
            place.leave(connection, *change);
        }
    }
}
