//! The bench's own requests to the node: drop a keyspace, read the tables, check whether a record has arrived.

use std::hash::{DefaultHasher, Hash, Hasher};

use futures::TryStreamExt;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::Row;
use tokio::runtime::{Builder, Runtime};

use crate::common::Outcome;

/// The tables with all their columns.
const COLUMNS: [(&str, &str); 3] = [
    ("session_item", "sessionid, iteminsession, artist, song, length"),
    ("user_session", "sessionid, userid, iteminsession, artist, song, firstname, lastname"),
    ("user_song", "song, userid, firstname, lastname"),
];

pub struct Cluster {
    runtime: Runtime,
    session: Session,
}

impl Cluster {
    pub fn connect(address: &str) -> Outcome<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let session = runtime.block_on(SessionBuilder::new().known_node(address).build())?;
        Ok(Self { runtime, session })
    }

    /// Drops a keyspace, if it exists, and removes its files.
    pub fn forget(&self, keyspace: &str) -> Outcome {
        self.runtime
            .block_on(self.session.query_unpaged(format!("DROP KEYSPACE IF EXISTS {keyspace}"), ()))?;
        Ok(())
    }

    /// Returns the number of rows of each table and a checksum of its contents that does not depend on their order.
    pub fn contents(&self, keyspace: &str) -> Outcome<[(u64, u64); 3]> {
        let mut all = [(0, 0); 3];
        for (found, (table, columns)) in all.iter_mut().zip(COLUMNS) {
            let cql = format!("SELECT {columns} FROM {keyspace}.{table}");
            *found = self.runtime.block_on(summed(&self.session, cql))?;
        }
        Ok(all)
    }

    /// Returns a function that checks whether the record of a session is in all tables. Returns `None` as long as the
    /// tables do not exist.
    pub fn arrivals(&self, keyspace: &str) -> Option<impl FnMut(i32) -> Outcome<bool>> {
        let mut questions = Vec::new();
        for (column, table, key) in [
            ("iteminsession", "session_item", "sessionid = ? AND iteminsession = 0"),
            ("userid", "user_session", "sessionid = ? AND userid = 1 AND iteminsession = 0"),
            ("userid", "user_song", "song = ? AND userid = 1"),
        ] {
            let cql = format!("SELECT {column} FROM {keyspace}.{table} WHERE {key}");
            questions.push(self.runtime.block_on(self.session.prepare(cql)).ok()?);
        }
        let [item, session, song] = <[PreparedStatement; 3]>::try_from(questions).ok()?;
        Some(move |number: i32| {
            let asked = async {
                Ok(self.has(&item, (number,)).await?
                    && self.has(&session, (number,)).await?
                    && self.has(&song, (format!("drop {number}"),)).await?)
            };
            self.runtime.block_on(asked)
        })
    }

    async fn has(
        &self,
        question: &PreparedStatement,
        key: impl scylla::serialize::row::SerializeRow,
    ) -> Outcome<bool> {
        let answer = self.session.execute_unpaged(question, key).await?;
        Ok(answer.into_rows_result()?.rows_num() > 0)
    }
}

async fn summed(session: &Session, cql: String) -> Outcome<(u64, u64)> {
    let mut rows = session.query_iter(cql, ()).await?.rows_stream::<Row>()?;
    let (mut count, mut sum) = (0, 0_u64);
    while let Some(row) = rows.try_next().await? {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", row.columns).hash(&mut hasher);
        sum = sum.wrapping_add(hasher.finish());
        count += 1;
    }
    Ok((count, sum))
}
