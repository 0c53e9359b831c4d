//! The last results of jobs, in `_needledrop_meta`.

use rusqlite::{OptionalExtension, params};

use crate::store::sqlite::SqliteStore;
use crate::store::{SavedResults, StoreError};

fn key(job: &str) -> String {
    format!("result {job}")
}

impl SavedResults for SqliteStore {
    async fn save_result(&self, job: &'static str, result: String) -> Result<(), StoreError> {
        self.write(move |shared, connection| {
            let transaction = shared.begin(connection)?;
            let sql = "INSERT OR REPLACE INTO _needledrop_meta VALUES (?1, ?2)";
            transaction.execute(sql, params![key(job), result])?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn saved_result(&self, job: &'static str) -> Result<Option<String>, StoreError> {
        self.read(move |_, connection| {
            let sql = "SELECT value FROM _needledrop_meta WHERE key = ?1";
            Ok(connection.query_row(sql, [key(job)], |row| row.get(0)).optional()?)
        })
        .await
    }
}
