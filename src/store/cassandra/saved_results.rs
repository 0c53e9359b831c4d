//! The last results of jobs, in `needledrop_meta`.

use crate::store::cassandra::CassandraStore;
use crate::store::cassandra::schema::names::ledger_place;
use crate::store::{SavedResults, StoreError};

fn key(job: &str) -> String {
    format!("result {job}")
}

impl SavedResults for CassandraStore {
    async fn save_result(&self, job: &'static str, result: String) -> Result<(), StoreError> {
        let (cluster, writing) = (&self.inner.cluster, self.inner.writer()?);
        let place = ledger_place(&cluster.settings, "needledrop_meta");
        let insert = cluster.prepare(format!("INSERT INTO {place} (key, value) VALUES (?, ?)")).await?;
        writing.lease.write(&insert, (key(job), result)).await
    }

    async fn saved_result(&self, job: &'static str) -> Result<Option<String>, StoreError> {
        let cluster = &self.inner.cluster;
        let place = ledger_place(&cluster.settings, "needledrop_meta");
        let select = cluster.statement(format!("SELECT value FROM {place} WHERE key = ?"));
        let found = cluster.query::<(Option<String>,)>(select, (key(job),)).await?;
        Ok(found.into_iter().next().and_then(|(value,)| value))
    }
}
