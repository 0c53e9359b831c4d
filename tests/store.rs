//! Interference with the store from outside: files are removed or replaced, tables are dropped, a user's trigger
//! rejects rows, a wrong clock leaves stamps. No record is lost, and only the affected work stops.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "store/files.rs"]
mod files;
#[path = "store/rejected.rs"]
mod rejected;
#[path = "store/stamps.rs"]
mod stamps;
#[path = "store/tables.rs"]
mod tables;

use common::{World, until};
use rusqlite::Connection;

const YAML: &str = "
source: { columns: { k: int, v: text } }
tables: { t: { answers: what v of k, partition_key: [k], columns: [v] } }
";

/// A world with short waits and one table, with the columns `k` and `v`.
fn world() -> World {
    World::of(YAML).with("source.settle", "200ms").with("source.poll", "200ms")
}

fn csv(rows: &[(u32, &str)]) -> String {
    let rows: String = rows.iter().map(|(k, v)| format!("{k},{v}\n")).collect();
    format!("k,v\n{rows}")
}

fn sql(world: &World, statements: &str) {
    let store = Connection::open(world.store()).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    store.execute_batch(statements).unwrap();
}

/// The keys in the table.
fn keys(world: &World) -> Vec<u32> {
    let store = world.open_store();
    let mut statement = store.prepare("SELECT k FROM t ORDER BY k").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn gone_from_inbox(world: &World, file: &str) {
    until(&format!("{file} left the inbox"), || (!world.inbox().join(file).exists()).then_some(()));
}
