//! Tests with three real nodes, and with nodes that require a login and TLS: `make test-cluster`.
//!
//! The tests start nodes of their own, which takes minutes. They run only if `NEEDLEDROP_TEST_CLUSTER` is set.
//! Otherwise they report that they were not run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a failing helper must fail its test"
)]

mod common;

#[path = "cluster/guarded.rs"]
mod guarded;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use common::{World, until};
use rustix::process::Signal;
use tempfile::TempDir;

/// Nodes share ports and memory, so one test runs at a time.
static NODES: Mutex<()> = Mutex::new(());

const PORT: u16 = 9642;
const ADDRESSES: [&str; 3] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];

/// Waits until no other test uses nodes, and returns a folder for the nodes. Returns `None` if these tests are not
/// wanted.
fn alone() -> Option<(MutexGuard<'static, ()>, TempDir)> {
    wanted().then(|| {
        let nodes = NODES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (nodes, tempfile::tempdir().unwrap())
    })
}

fn wanted() -> bool {
    let wanted = std::env::var("NEEDLEDROP_TEST_CLUSTER").is_ok_and(|wanted| !wanted.is_empty());
    if !wanted {
        eprintln!("NOTE: NOT RUN, `make test-cluster` runs it");
    }
    wanted
}

/// A node. It is killed on drop.
struct Node {
    folder: PathBuf,
}

fn script(arguments: &[&str]) -> String {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cassandra/node"))
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

impl Node {
    fn start(folder: PathBuf, options: &[&str]) -> Self {
        let node = Self { folder };
        script(&[&["start", node.place()], options].concat());
        node
    }

    fn place(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    fn again(&self) {
        script(&["start", self.place()]);
    }

    fn stop(&self) {
        script(&["stop", self.place()]);
    }

    fn kill(&self) {
        script(&["stop", self.place(), "--kill"]);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test that fails has already reported why.
        let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cassandra/node");
        let _ = Command::new(node).args(["stop", self.place(), "--kill"]).output();
    }
}

fn cluster(place: &Path) -> Vec<Node> {
    let port = PORT.to_string();
    let start = |(at, address): (usize, &&str)| {
        let jmx = (7395 + at).to_string();
        let options = ["--address", address, "--port", &port, "--storage-port", "7390", "--jmx", &jmx];
        let seed = ["--seed", "127.0.0.1:7390", "--heap", "768M"];
        Node::start(place.join(format!("node{at}")), &[&options[..], &seed[..]].concat())
    };
    ADDRESSES.iter().enumerate().map(start).collect()
}

/// Creates a world with some days of sample events in its inbox, and with a keyspace on the cluster.
fn world(keyspace: &str) -> World {
    let hosts = format!("{ADDRESSES:?}");
    let world = World::new()
        .with("store.kind", "cassandra")
        .with("store.cassandra.hosts", &hosts)
        .with("store.cassandra.port", &PORT.to_string())
        .with("store.cassandra.keyspace", keyspace)
        .with("store.cassandra.replication", "{ class: NetworkTopologyStrategy, datacenter1: 3 }")
        .with("store.cassandra.lease", "2s")
        .with("store.cassandra.request_timeout", "5s");
    let inbox = world.inbox();
    let made =
        world.run(&["sample", inbox.to_str().unwrap(), "--days", "4", "--rows", "20000", "--seed", "7"]);
    assert_eq!(made.code, 0, "{made:?}");
    world
}

/// Everything that must be the same: all rows, sorted, and every receipt.
#[derive(Debug, PartialEq)]
struct End {
    tables: Vec<Vec<String>>,
    accounts: Vec<String>,
    quarantine: String,
}

/// Sends requests to the nodes that are up.
fn on_cluster<T>(ask: impl AsyncFnOnce(scylla::client::session::Session) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let nodes = ADDRESSES.map(|address| format!("{address}:{PORT}"));
        let session = scylla::client::session_builder::SessionBuilder::new().known_nodes(nodes);
        ask(session.build().await.unwrap()).await
    })
}

fn tables(keyspace: &str) -> Vec<Vec<String>> {
    on_cluster(async |session| {
        let mut tables = Vec::new();
        for table in ["session_item", "user_session", "user_song"] {
            tables.push(rows(&session, keyspace, table).await);
        }
        tables
    })
}

fn end(world: &World, keyspace: &str) -> End {
    let tables = tables(keyspace);
    let status = world.json(&["status"]);
    let account = |delivery: &serde_json::Value| {
        let receipt = world.receipt(delivery["file"].as_str().unwrap());
        assert_eq!(receipt["closes"], true, "{receipt}");
        let parts = ["file", "state", "records", "loaded", "skipped", "quarantined", "tables", "hash"];
        parts.map(|part| receipt[part].to_string()).join(" ")
    };
    let mut accounts: Vec<String> = status["deliveries"].as_array().unwrap().iter().map(account).collect();
    accounts.sort();
    End { tables, accounts, quarantine: world.json(&["quarantine", "list"]).to_string() }
}

async fn rows(session: &scylla::client::session::Session, keyspace: &str, table: &str) -> Vec<String> {
    let mut failed = Vec::new();
    // A node that was killed or stopped before may still be slow.
    while failed.len() < 5 {
        match read(session, keyspace, table).await {
            Ok(rows) => return rows,
            Err(error) => failed.push(error),
        }
    }
    panic!("{keyspace}.{table} cannot be read: {failed:?}");
}

async fn read(
    session: &scylla::client::session::Session,
    keyspace: &str,
    table: &str,
) -> Result<Vec<String>, String> {
    use futures::TryStreamExt as _;
    let mut all = scylla::statement::Statement::new(format!("SELECT * FROM {keyspace}.{table}"));
    all.set_consistency(scylla::statement::Consistency::Quorum);
    // On a busy machine, the nodes need too long for large pages.
    all.set_page_size(500);
    let pager = session.query_iter(all, ()).await.map_err(|error| format!("{error:?}"))?;
    let rows = pager.rows_stream::<scylla::value::Row>().unwrap();
    let mut rows: Vec<String> = rows
        .map_ok(|row| format!("{:?}", row.columns))
        .try_collect()
        .await
        .map_err(|error| format!("{error:?}"))?;
    rows.sort();
    Ok(rows)
}

/// Waits until some rows are written, so that the next event happens in the middle of a file.
fn under_way(daemon: &common::Daemon) {
    let rows = "needledrop_rows_written_total{table=\"session_item\"}";
    until("rows are being written", || (daemon.metrics().get(rows)? > &0.0).then_some(()));
}

fn all_loaded(world: &World) {
    let began = Instant::now();
    loop {
        let output = world.run(&["status", "--json"]);
        let loaded = output.code == 0
            && output.json()["deliveries"]
                .as_array()
                .is_some_and(|all| all.len() == 4 && all.iter().all(|one| one["state"] == "loaded"));
        if loaded {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(240), "not loaded: {output:?}");
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn a_load_survives_killed_nodes_stopped_nodes_and_a_killed_daemon() {
    let Some((_alone, place)) = alone() else { return };
    let nodes = cluster(place.path());
    let clean = world("clean");
    clean.once(0);
    let expected = end(&clean, "clean");
    assert_eq!(expected.quarantine, "[]");
    assert!(
        expected.tables.iter().all(|rows| rows.len() > 1000),
        "too few rows to catch a load in the middle of a file"
    );
    one_node_killed(&nodes[2], &expected);
    one_of_all_killed(&nodes[2], &expected);
    undone_and_mirrored_without_a_node(&nodes);
    all_stopped(&nodes, &expected);
    daemon_killed(&expected);
}

fn one_node_killed(node: &Node, expected: &End) {
    // The load is slow enough for a node that needs a minute to come back.
    let world = world("killed").with("write.rows_per_second", "2500");
    let mut daemon = world.daemon();
    under_way(&daemon);
    node.kill();
    std::thread::sleep(Duration::from_secs(5));
    node.again();
    let states = world.states();
    assert!(
        states.values().any(|state| state == "loading"),
        "the node came back after the load had ended: {states:?}"
    );
    all_loaded(&world);
    assert_eq!(daemon.stop().0, 0, "{}", daemon.log());
    assert_eq!(&end(&world, "killed"), expected);
}

/// If all three replicas must acknowledge a row, two acknowledgements are not enough.
fn one_of_all_killed(node: &Node, expected: &End) {
    let world = world("partial").with("write.rows_per_second", "15000");
    let world = world.with("store.cassandra.consistency", "{ write: ALL, read: ONE }");
    let mut daemon = world.daemon();
    under_way(&daemon);
    node.kill();
    let why = until_not_ready(&daemon);
    assert!(why.contains("store"), "{why}");
    let before = ledger("partial");
    assert!(
        before.iter().any(|delivery| delivery.contains("\"loading\"")),
        "it was killed in the middle: {before:?}"
    );
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(ledger("partial"), before, "the ledger advanced although a replica is missing");
    node.again();
    all_loaded(&world);
    let retries = daemon.metrics();
    let retries = retries.iter().filter(|(name, _)| name.starts_with("needledrop_write_retries_total"));
    assert!(retries.map(|(_, count)| count).sum::<f64>() > 0.0, "no write was retried");
    assert_eq!(daemon.stop().0, 0, "{}", daemon.log());
    assert_eq!(&end(&world, "partial"), expected);
}

/// Undoes one file and mirrors another while a node is down. The node then restarts and another one goes down, so that every read
/// needs the node that missed the corrections.
fn undone_and_mirrored_without_a_node(nodes: &[Node]) {
    let clean = world("without");
    let files = common::files(&clean.inbox());
    let text = std::fs::read_to_string(&files[2]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let half = lines[..lines.len() / 2].join("\n") + "\n";
    let name = |at: usize| files[at].file_name().unwrap().to_str().unwrap();
    std::fs::remove_file(&files[1]).unwrap();
    clean.drop_file(name(2), &half);
    clean.once(0);
    let world = world("corrected").with("source.on_replace", "mirror");
    world.once(0);
    assert_ne!(tables("corrected"), tables("without"));
    nodes[2].kill();
    let undone = world.run(&["undo", name(1)]);
    assert_eq!(undone.code, 0, "{undone:?}");
    world.drop_file(name(2), &half);
    let summary = world.once(0);
    assert_eq!(summary["replaced"][0]["replaces"]["mirror"], "done", "{summary}");
    nodes[2].again();
    nodes[1].kill();
    assert_eq!(tables("corrected"), tables("without"));
    let verified = world.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    nodes[1].again();
}

/// Returns the deliveries in the ledger. Commands read the ledger at ALL too, so they get no answer now.
fn ledger(keyspace: &str) -> Vec<String> {
    on_cluster(async |session| rows(&session, keyspace, "needledrop_deliveries").await)
}

fn until_not_ready(daemon: &common::Daemon) -> String {
    until("readiness is red", || daemon.get("/readyz").filter(|(status, _)| *status == 503)).1
}

/// The memory limit in bytes for a debug build under load.
const MEMORY: f64 = 96.0 * 1024.0 * 1024.0;

fn all_stopped(nodes: &[Node], expected: &End) {
    let world = world("stopped").with("write.rows_per_second", "15000");
    let mut daemon = world.daemon();
    under_way(&daemon);
    std::thread::scope(|scope| {
        nodes.iter().for_each(|node| drop(scope.spawn(|| node.stop())));
    });
    let why = until_not_ready(&daemon);
    assert!(why.contains("store"), "{why}");
    std::thread::sleep(Duration::from_secs(30));
    let resident = daemon.metrics()["needledrop_process_resident_memory_bytes"];
    assert!(resident < MEMORY, "the waiting daemon takes {resident} bytes");
    std::thread::scope(|scope| {
        nodes.iter().for_each(|node| drop(scope.spawn(|| node.again())));
    });
    all_loaded(&world);
    until("readiness is back", || daemon.get("/readyz").filter(|(status, _)| *status == 200));
    assert_eq!(daemon.metrics()["needledrop_requests_in_flight"], 0.0);
    assert_eq!(daemon.stop().0, 0, "{}", daemon.log());
    assert_eq!(&end(&world, "stopped"), expected);
}

fn daemon_killed(expected: &End) {
    // The load is slow enough to last for all kills, and its chunks are small enough to be written between two kills. A
    // start takes seconds here, so the delay before a kill begins only when the first rows are written.
    let world = world("again").with("write.window", "500");
    let mut world = world.with("write.rows_per_second", "2000");
    let seed = std::env::var("NEEDLEDROP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("25 kills with NEEDLEDROP_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut in_the_middle = 0;
    for _ in 0..25 {
        let daemon = world.daemon();
        under_way(&daemon);
        std::thread::sleep(Duration::from_millis(rng.u64(0..1000)));
        daemon.signal(Signal::KILL);
        drop(daemon);
        let status = world.run(&["status", "--json"]);
        let is_loading = |all: &Vec<serde_json::Value>| all.iter().any(|one| one["state"] == "loading");
        in_the_middle += usize::from(status.json()["deliveries"].as_array().is_some_and(is_loading));
    }
    eprintln!("{in_the_middle} of 25 kills came in the middle of a file");
    assert!(in_the_middle >= 10, "too few kills came in the middle of a file");
    world.set("write.rows_per_second", "0");
    world.once(0);
    assert_eq!(&end(&world, "again"), expected);
}
