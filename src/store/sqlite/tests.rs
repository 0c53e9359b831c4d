//! Runs the store suite on SQLite files.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test, as the test itself does")]

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;

use super::{Settings, SqliteStore, schema};
use crate::domain::Schema;
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
