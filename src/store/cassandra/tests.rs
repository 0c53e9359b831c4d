//! Runs the suite of the store on the real node that `NEEDLEDROP_TEST_CASSANDRA` names.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test, as the test itself does")]

mod stamps;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scylla::client::session::Session;
use scylla::statement::Consistency;

use crate::domain::{Schema, StampsAhead};
use crate::store::cassandra::CassandraStore;
use crate::store::cassandra::cluster::connect::connect;
use crate::store::cassandra::cluster::settings::Settings;
use crate::store::cassandra::schema::names;
use crate::store::cassandra::writer::rows;
use crate::store::limits::Limits;
use crate::store::sqlite::tests::Sqlite;
use crate::store::suite::{Fixture, store_suite, two_stores_end_alike};
use crate::store::{Access, suite};

const NODE: &str = "NEEDLEDROP_TEST_CASSANDRA";

/// Keyspaces that tests no longer use. Creating a keyspace takes a second. Emptying a keyspace is faster.
static SPARE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static NEXT: AtomicU32 = AtomicU32::new(0);

pub fn node() -> Option<String> {
    let node = std::env::var(NODE).ok().filter(|node| !node.is_empty());
    let required = std::env::var("CI").is_ok_and(|ci| !ci.is_empty());
    assert!(node.is_some() || !required, "{NODE} names no node, and in CI nothing is left out");
    if node.is_none() {
        eprintln!("NOTE: NOT RUN, {NODE} names no node; `make test` starts one");
    }
    node
}

fn settings(keyspace: &str) -> Settings {
    settings_at(node().unwrap(), keyspace)
}

pub fn settings_at(node: String, keyspace: &str) -> Settings {
    Settings {
        hosts: vec![node],
        keyspace: keyspace.to_owned(),
        ledger_keyspace: keyspace.to_owned(),
        replication: [("class", "SimpleStrategy"), ("replication_factor", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        write: Consistency::LocalQuorum,
        read: Consistency::LocalQuorum,
        local_datacenter: None,
        login: None,
        tls: None,
        compression: None,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(12),
        lease: Duration::from_secs(10),
        login_description: String::new(),
        limits: Limits {
            in_flight: 64,
            batch_rows: 100,
            batch_bytes: 65_536,
            rows_per_second: 0,
            max_record_bytes: 1 << 20,
            collision_keys: 1000,
        },
        stamps_ahead: StampsAhead::Wait,
    }
}

/// A keyspace on the shared node.
struct Cassandra(String);

impl Cassandra {
    async fn session(&self) -> Session {
        connect(&settings(&self.0)).await.unwrap()
    }

    /// Creates the keyspace without durable writes, because truncating tables takes less time without them.
    async fn create_keyspace(&self) {
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        let cql =
            format!("CREATE KEYSPACE {} WITH replication = {replication} AND durable_writes = false", self.0);
        self.session().await.query_unpaged(cql, ()).await.unwrap();
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        // The keyspace of a failed test is kept for inspection.
        if !std::thread::panicking() {
            SPARE.lock().unwrap().push(self.0.clone());
        }
    }
}

impl Fixture for Cassandra {
    type Store = CassandraStore;
    const COUNTS_ACROSS_DELIVERIES: bool = false;
    const SLOWER: u32 = 12;

    fn available() -> bool {
        node().is_some()
    }

    async fn new() -> Self {
        let spare = SPARE.lock().unwrap().pop();
        let Some(keyspace) = spare else {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let place = Self(format!("suite_{}_{number}", std::process::id()));
            place.create_keyspace().await;
            return place;
        };
        let place = Self(keyspace);
        let session = place.session().await;
        let cql = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
        let tables = session.query_unpaged(cql, (&place.0,)).await.unwrap().into_rows_result().unwrap();
        let tables = tables.rows::<(String,)>().unwrap().map(|row| row.unwrap().0);
        // These tables keep their rows, because epochs and stamps must continue after those that were handed out.
        let stays = ["needledrop_lease", "needledrop_meta", "needledrop_stamps"];
        let tables = tables.filter(|table| !stays.contains(&table.as_str()));
        let emptied = tables.map(|table| {
            let (session, keyspace) = (&session, &place.0);
            async move { session.query_unpaged(format!("TRUNCATE {keyspace}.\"{table}\""), ()).await.unwrap() }
        });
        futures::future::join_all(emptied).await;
        place
    }

    async fn open_with(&self, schema: Arc<Schema>) -> CassandraStore {
        let access = Access::Write { create: true, standby: false };
        CassandraStore::open(settings(&self.0), schema, access).await.unwrap()
    }

    async fn wipe(&self, table: &str) {
        let cql = format!("TRUNCATE {}.{}", self.0, names::quoted(table, false));
        self.session().await.query_unpaged(cql, ()).await.unwrap();
    }
}

store_suite!(Cassandra);

/// The types in the bind markers must not keep the driver from finding the replicas.
#[tokio::test]
async fn rows_are_sent_to_their_replicas() {
    if !Cassandra::available() {
        return;
    }
    let store = Cassandra::new().await.open(Arc::new(suite::plan())).await;
    let writers = &store.inner.writer().unwrap().writers;
    assert!(!writers.is_empty() && writers.iter().all(rows::Writer::is_token_aware));
}

#[tokio::test]
async fn a_chunk_that_is_applied_twice_counts_once() {
    if Cassandra::available() {
        suite::a_chunk_that_is_applied_twice_counts_once::<Cassandra>().await;
    }
}

#[test]
fn both_stores_end_alike() {
    if Cassandra::available() {
        two_stores_end_alike::<Sqlite, Cassandra>();
    }
}
