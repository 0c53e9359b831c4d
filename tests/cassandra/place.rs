//! A world whose store is a keyspace of its own on the node. Its contents are read with CQL.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::ExecutionError;
use scylla::statement::Statement;
use scylla::value::{CqlValue, Row};
use tokio::runtime::Runtime;

use crate::common::World;

const NODE: &str = "NEEDLEDROP_TEST_CASSANDRA";

/// Tables whose rows change with every process that writes.
const LEASE: [&str; 2] = ["needledrop_lease", "needledrop_stamps"];

static NEXT: AtomicU32 = AtomicU32::new(0);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

static SESSION: LazyLock<Session> = LazyLock::new(|| {
    let profile = ExecutionProfile::builder().request_timeout(Some(Duration::from_secs(60))).build();
    let builder = SessionBuilder::new()
        .known_node(node().unwrap())
        .default_execution_profile_handle(profile.into_handle())
        .schema_agreement_timeout(Duration::from_secs(60))
        .fetch_schema_metadata(false);
    RUNTIME.block_on(builder.build()).unwrap()
});

/// Returns the address of the node. Without a node the tests are skipped, except in CI, where that is a failure.
fn node() -> Option<String> {
    let node = std::env::var(NODE).ok().filter(|node| !node.is_empty());
    let required = std::env::var("CI").is_ok_and(|ci| !ci.is_empty());
    assert!(node.is_some() || !required, "{NODE} names no node; in CI no test may be skipped");
    if node.is_none() {
        eprintln!("NOTE: NOT RUN, {NODE} names no node; `make test` starts one");
    }
    node
}

/// The rows of each table, each row as text.
pub type Dump = BTreeMap<String, Vec<String>>;

/// A world with a keyspace. The keyspace is dropped with the world, unless the test failed.
pub struct Place {
    world: World,
    pub keyspace: String,
}

impl Place {
    /// Creates a place with Sparkify's tables. Returns `None` if there is no node.
    pub fn new() -> Option<Self> {
        Self::with_world(World::new())
    }

    /// Creates a place with a configuration file of its own.
    pub fn of(yaml: &str) -> Option<Self> {
        Self::with_world(World::of(yaml))
    }

    /// Creates a place with a world that is set up already. Its keyspace has no durable writes, because truncating and
    /// dropping tables takes less time without them.
    pub fn with_world(world: World) -> Option<Self> {
        let place = Self::without_keyspace(world)?;
        place.create_keyspace(1, false);
        Some(place)
    }

    /// Creates a place whose keyspace does not exist yet.
    pub fn without_keyspace(mut world: World) -> Option<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let keyspace = format!("nd_{}_{number}", std::process::id());
        settle_in(&mut world, &node()?, &keyspace);
        Some(Self { world, keyspace })
    }

    pub fn create_keyspace(&self, replicas: u8, is_durable: bool) {
        self.cql(&format!(
            "CREATE KEYSPACE {} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': {replicas}}} \
             AND durable_writes = {is_durable}",
            self.keyspace
        ));
    }

    /// Returns another world on the same inbox and store, like a second process on another machine.
    pub fn beside(&self) -> World {
        self.beside_as(World::new())
    }

    /// Turns a world with its own configuration into a second process on the same inbox and store.
    pub fn beside_as(&self, mut world: World) -> World {
        settle_in(&mut world, &node().unwrap(), &self.keyspace);
        world.set("source.folder", self.inbox().to_str().unwrap());
        world
    }

    /// Adds a setting.
    pub fn with(mut self, setting: &str, value: &str) -> Self {
        self.world.set(setting, value);
        self
    }

    /// Runs CQL in which `ks` stands for the keyspace.
    pub fn cql(&self, cql: &str) {
        self.try_cql(cql).unwrap();
    }

    pub fn try_cql(&self, cql: &str) -> Result<Vec<Row>, Box<ExecutionError>> {
        let cql = self.filled(cql);
        let result = RUNTIME.block_on(SESSION.query_unpaged(cql, ()))?;
        let Ok(rows) = result.into_rows_result() else { return Ok(Vec::new()) };
        Ok(rows.rows::<Row>().unwrap().map(Result::unwrap).collect())
    }

    fn filled(&self, cql: &str) -> String {
        cql.replace("ks.", &format!("{}.", self.keyspace))
    }

    /// Returns the rows that a query finds.
    pub fn rows(&self, cql: &str) -> Vec<Vec<Option<CqlValue>>> {
        self.try_cql(cql).unwrap().into_iter().map(|row| row.columns).collect()
    }

    /// Returns the rows that a query finds as text, sorted, because partitions have no order of their own.
    pub fn sorted(&self, cql: &str) -> Vec<String> {
        let mut rows: Vec<String> = self.rows(cql).iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        rows
    }

    /// Returns columns of the deliveries that a path leads to. A writer that lost the lease may have entered other
    /// deliveries.
    pub fn valid_deliveries(&self, columns: &str) -> Vec<Vec<Option<CqlValue>>> {
        let used = self.rows("SELECT id FROM ks.needledrop_paths");
        let all = self.rows(&format!("SELECT id, {columns} FROM ks.needledrop_deliveries"));
        let valid = all.into_iter().filter(|row| used.iter().any(|id| row.starts_with(id)));
        valid.map(|mut row| row.split_off(1)).collect()
    }

    /// Returns the steps that the server took for a query.
    pub fn traced(&self, cql: &str) -> Vec<String> {
        let mut statement = Statement::new(self.filled(cql));
        statement.set_tracing(true);
        let steps = async {
            let result = SESSION.query_unpaged(statement, ()).await.unwrap();
            SESSION.get_tracing_info(&result.tracing_id().unwrap()).await.unwrap().events
        };
        RUNTIME.block_on(steps).into_iter().filter_map(|event| event.activity).collect()
    }

    /// Returns the names of the existing tables.
    pub fn names(&self) -> Vec<String> {
        let cql = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ";
        let rows = self.rows(&format!("{cql}'{}'", self.keyspace));
        rows.into_iter().map(|mut row| text(row.remove(0))).collect()
    }

    /// Returns every existing column: table, name, type, kind, position and order.
    pub fn columns(&self) -> Vec<String> {
        let cql = format!(
            "SELECT table_name, column_name, type, kind, position, clustering_order \
             FROM system_schema.columns WHERE keyspace_name = '{}'",
            self.keyspace
        );
        let cell = |cell: Option<CqlValue>| match cell {
            Some(CqlValue::Int(position)) => position.to_string(),
            other => text(other),
        };
        let rows = self.rows(&cql).into_iter();
        rows.map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Returns the contents of the declared tables.
    pub fn tables(&self) -> Dump {
        let names = self.names().into_iter().filter(|name| !name.starts_with("needledrop_"));
        names.map(|name| (name.clone(), self.sorted(&format!("SELECT * FROM ks.\"{name}\"")))).collect()
    }

    /// Returns everything in the store with the stamp of each cell, except the lease and the row of the stamps.
    pub fn dump(&self) -> Dump {
        let names = self.names().into_iter().filter(|name| !LEASE.contains(&name.as_str()));
        names.map(|name| (name.clone(), self.stamped(&name))).collect()
    }

    /// Returns the rows of a table with the stamps of their cells.
    pub fn stamped(&self, table: &str) -> Vec<String> {
        let cql = format!(
            "SELECT column_name, kind FROM system_schema.columns \
             WHERE keyspace_name = '{}' AND table_name = '{table}'",
            self.keyspace
        );
        let columns = self.rows(&cql).into_iter().map(|mut row| (text(row.remove(0)), text(row.remove(0))));
        let asked = columns.map(|(name, kind)| match kind.as_str() {
            "regular" | "static" => format!("\"{name}\", WRITETIME(\"{name}\")"),
            _ => format!("\"{name}\""),
        });
        let asked = asked.collect::<Vec<_>>().join(", ");
        self.sorted(&format!("SELECT {asked} FROM ks.\"{table}\""))
    }

    /// Empties the tables and the inbox, because creating a keyspace takes seconds. Lease and stamps stay, so that
    /// epochs and stamps continue after those that were handed out.
    pub fn empty(&self) {
        let names = self.names();
        let full = names.iter().filter(|name| !LEASE.contains(&name.as_str()) && *name != "needledrop_meta");
        let emptied = full.map(|name| {
            let cql = format!("TRUNCATE {}.\"{name}\"", self.keyspace);
            async move { SESSION.query_unpaged(cql, ()).await.unwrap() }
        });
        RUNTIME.block_on(futures::future::join_all(emptied));
        for entry in std::fs::read_dir(self.inbox()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

impl Deref for Place {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Place {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The keyspace of a failed test is kept for inspection.
        if std::thread::panicking() {
            eprintln!("keyspace {} is kept for inspection", self.keyspace);
        } else {
            self.cql(&format!("DROP KEYSPACE IF EXISTS {}", self.keyspace));
        }
    }
}

/// Configures a world for this node and keyspace. The lease is short, so that a process that waits for it does not
/// wait long.
fn settle_in(world: &mut World, node: &str, keyspace: &str) {
    let (host, port) = node.rsplit_once(':').unwrap();
    world.set("store.kind", "cassandra");
    world.set("store.cassandra.hosts", &format!("[\"{host}\"]"));
    world.set("store.cassandra.port", port);
    world.set("store.cassandra.keyspace", keyspace);
    world.set("store.cassandra.lease", "2s");
}

pub fn text(value: Option<CqlValue>) -> String {
    match value {
        Some(CqlValue::Text(text) | CqlValue::Ascii(text)) => text,
        other => panic!("{other:?} is no text"),
    }
}
