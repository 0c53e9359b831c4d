//! Runs the store suite on SQLite files.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test, as the test itself does")]

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;

use super::{Settings, SqliteStore, schema};
use crate::domain::{Column, Fingerprint, Schema, Table, Type};
use crate::store::suite::{Fixture, store_suite};
use crate::store::{Access, StoreError};

pub struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    pub fn opened(&self, schema: Arc<Schema>, access: Access) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(&Settings::at(self.path()), schema, access)
    }
}

impl Fixture for Sqlite {
    type Store = SqliteStore;
    const COUNTS_ACROSS_DELIVERIES: bool = true;
    const SLOWER: u32 = 1;

    async fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open_with(&self, schema: Arc<Schema>) -> SqliteStore {
        self.opened(schema, Access::Write { create: true, standby: false }).unwrap()
    }

    async fn wipe(&self, table: &str) {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute(&format!("DELETE FROM {}", schema::quoted(table)), []).unwrap();
    }
}

store_suite!(Sqlite);

#[test]
fn a_table_with_more_columns_than_sqlite_allows_is_refused_before_the_file_exists() {
    let place = tempfile::tempdir().map(Sqlite).unwrap();
    let declared = |columns: usize| Arc::new(schema_of(columns));
    let write = || Access::Write { create: true, standby: false };
    let error = place.opened(declared(1998), write()).err().unwrap().to_string();
    assert!(error.contains("has 1998 columns, and SQLite allows 1997"), "{error}");
    assert!(error.contains("divide them between several tables") && !place.path().exists(), "{error}");
    place.opened(declared(1997), write()).unwrap();
}

/// Returns a table with this number of columns.
fn schema_of(columns: usize) -> Schema {
    let names = (0..columns).map(|n| format!("c{n}"));
    let columns: Vec<_> = names.map(|name| Column::of_field(&name, Type::Int)).collect();
    let table = Table { partition_key: vec![0], columns: (1..columns.len()).collect(), ..Table::empty("t") };
    Schema { columns, tables: vec![table], fingerprint: Fingerprint::of("wide") }
}
