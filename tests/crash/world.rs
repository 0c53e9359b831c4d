//! The world of a crash test: an inbox and a store of their own, the program that runs on them, and what it leaves.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;
use tempfile::TempDir;

const TABLES: [&str; 3] = ["session_item", "user_session", "user_song"];

/// The chunks are so small that every file has many.
const WINDOW: &str = "50";

pub struct World {
    dir: TempDir,
    /// The settings that differ from the shipped configuration.
    settings: Vec<(String, String)>,
}

/// Everything that must be the same whatever happened on the way: without stamps, times and remarks.
#[derive(Debug, PartialEq)]
pub struct Story {
    /// The rows of each table, with the declared columns only.
    pub tables: BTreeMap<String, Vec<String>>,
    pub deliveries: Vec<Json>,
    pub receipts: Vec<Json>,
    pub quarantine: Vec<Json>,
}

impl World {
    pub fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), settings: Vec::new() };
        std::fs::create_dir(world.inbox()).unwrap();
        world
    }

    pub fn set(&mut self, variable: &str, value: &str) {
        self.settings.push((variable.to_owned(), value.to_owned()));
    }

    pub fn inbox(&self) -> PathBuf {
        self.dir.path().join("inbox")
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store.db")
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.inbox().join(name), bytes).unwrap();
    }

    pub fn append(&self, name: &str, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(self.inbox().join(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_needledrop"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NEEDLEDROP_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("NEEDLEDROP_SOURCE__FOLDER", self.inbox())
            .env("NEEDLEDROP_SOURCE__FILES_AT_ONCE", "3")
            .env("NEEDLEDROP_SOURCE__SETTLE", "10ms")
            .env("NEEDLEDROP_SOURCE__POLL", "200ms")
            .env("NEEDLEDROP_WRITE__WINDOW", WINDOW)
            .env("NEEDLEDROP_STORE__SQLITE__PATH", self.store())
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs to the end. Exit code 1 is allowed, because it is about the input and not about the run.
    pub fn once(&self) {
        let output = self.run(&["run", "--once"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs with an abort at this durable step. Returns whether the run came that far.
    pub fn abort_at(&self, step: usize) -> bool {
        self.abort("run --once", step)
    }

    /// Runs another command with an abort at this durable step. Returns whether the command came that far.
    pub fn abort(&self, command: &str, step: usize) -> bool {
        let arguments: Vec<&str> = command.split(' ').collect();
        let output = self.command(&arguments).env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let aborted = output.status.code().is_none();
        assert_eq!(aborted, told.contains("aborting at step"), "{told}");
        aborted
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        let log = File::create(self.dir.path().join("log")).unwrap();
        self.command(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    pub fn daemon(&self) -> Child {
        self.start(&["run", "--listen", "127.0.0.1:0"])
    }

    /// Returns the log of the process that was started last.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let output = self.run(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Returns all quarantine entries with their states.
    pub fn entries(&self) -> Json {
        self.json(&["quarantine", "list", "--all", "--json"])
    }

    pub fn status(&self) -> Json {
        self.json(&["status", "--json"])
    }

    pub fn state(&self, file: &str) -> String {
        self.json(&["receipt", file, "--json"])["state"].as_str().unwrap().to_owned()
    }

    fn open(&self) -> Connection {
        Connection::open_with_flags(self.store(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    /// Changes the store from outside the program.
    pub fn sql(&self, sql: &str) {
        Connection::open(self.store()).unwrap().execute_batch(sql).unwrap();
    }

    pub fn cell(&self, sql: &str) -> String {
        rows(&self.open(), sql).concat()
    }

    /// Returns everything that is stored, including times and stamps.
    fn dump(&self) -> BTreeMap<String, Vec<String>> {
        let store = self.open();
        let names = rows(&store, "SELECT name FROM sqlite_schema WHERE type = 'table'");
        names.into_iter().map(|name| (name.clone(), rows(&store, &format!("SELECT * FROM {name}")))).collect()
    }

    /// Asserts that a further run writes nothing at all.
    pub fn rests(&self) {
        let before = self.dump();
        let output = self.run(&["run", "--once", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["records"]["read"], &told["bytes"]), (&Json::from(0), &Json::from(0)), "{told}");
        assert_eq!(self.dump(), before, "a run with nothing to do wrote to the store");
    }

    pub fn story(&self) -> Story {
        let store = self.open();
        assert_eq!(rows(&store, "PRAGMA integrity_check"), ["ok"]);
        let tables = TABLES.map(|table| {
            let sql = format!(
                "SELECT name FROM pragma_table_info('{table}') WHERE name NOT LIKE '\\_%' ESCAPE '\\'"
            );
            let columns = rows(&store, &sql).join(", ");
            (table.to_owned(), rows(&store, &format!("SELECT {columns} FROM {table} ORDER BY {columns}")))
        });
        let mut status = self.status();
        let deliveries = listed(&mut status["deliveries"]);
        let receipts = deliveries.iter().map(|delivery| {
            let (file, generation) = (delivery["file"].as_str().unwrap(), delivery["generation"].to_string());
            plain(self.json(&["receipt", file, "--generation", &generation, "--json"]))
        });
        let receipts = receipts.collect();
        let quarantine = listed(&mut self.json(&["quarantine", "list", "--json"]));
        let story = Story { tables: tables.into(), deliveries, receipts, quarantine };
        story.closes();
        story
    }
}

/// Returns each row as text, cell by cell.
fn rows(store: &Connection, sql: &str) -> Vec<String> {
    let mut statement = store.prepare(sql).unwrap();
    let width = statement.column_count();
    let mut found = statement.query([]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = found.next().unwrap() {
        let cells = (0..width).map(|at| match row.get_ref(at).unwrap() {
            rusqlite::types::ValueRef::Null => "null".to_owned(),
            rusqlite::types::ValueRef::Integer(n) => n.to_string(),
            rusqlite::types::ValueRef::Real(x) => x.to_string(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            rusqlite::types::ValueRef::Blob(bytes) => format!("{bytes:?}"),
        });
        rows.push(cells.collect::<Vec<_>>().join("|"));
    }
    rows
}

/// Sorts deliveries and entries by name. The tables show the order in which files were taken up.
fn listed(list: &mut Json) -> Vec<Json> {
    let mut list: Vec<Json> = list.as_array_mut().unwrap().drain(..).map(plain).collect();
    list.sort_by_key(|one| (one["file"].to_string(), one["generation"].as_u64(), one["record"].as_u64()));
    list
}

/// Removes what differs from run to run.
fn plain(mut object: Json) -> Json {
    let map = object.as_object_mut().unwrap();
    if map.contains_key("taken_up") {
        // A comparison with the earlier content is not made if the load was interrupted.
        for name in ["detail", "stamps", "taken_up", "changed", "history", "replaces"] {
            map.shift_remove(name);
        }
    }
    object
}

impl Story {
    pub fn assert_is(&self, clean: &Self, what: &str) {
        same(&self.deliveries, &clean.deliveries, &format!("{what}: deliveries"));
        same(&self.receipts, &clean.receipts, &format!("{what}: receipts"));
        same(&self.quarantine, &clean.quarantine, &format!("{what}: quarantine"));
        for (table, rows) in &clean.tables {
            same(&self.tables[table], rows, &format!("{what}: {table}"));
        }
    }

    /// Asserts the tables and receipts of a clean run in which some files were taken up in another order. A collision
    /// may then belong to another delivery. Renamed files are not compared; the last of them must be loaded or a
    /// duplicate.
    pub fn assert_is_but_for_order(&self, clean: &Self, renamed: &[&str], what: &str) {
        for (table, rows) in &clean.tables {
            same(&self.tables[table], rows, &format!("{what}: {table}"));
        }
        let kept = |story: &Self| -> Vec<Json> {
            let kept = story
                .receipts
                .iter()
                .filter(|receipt| !renamed.iter().any(|name| receipt["file"].as_str() == Some(name)));
            kept.map(without_order).collect()
        };
        same(&kept(self), &kept(clean), &format!("{what}: receipts"));
        let Some(name) = renamed.last() else { return };
        let of_it = |state: &str| {
            self.receipts.iter().any(|receipt| receipt["file"] == *name && receipt["state"] == state)
        };
        assert!(of_it("loaded") || of_it("duplicate"), "{what}: {name}: {:?}", self.receipts);
    }

    /// Asserts laws 1 and 6.
    fn closes(&self) {
        for receipt in &self.receipts {
            assert_eq!(receipt["closes"], Json::Bool(true), "{receipt}");
            let state = receipt["state"].as_str().unwrap();
            assert!(!matches!(state, "loading" | "waiting"), "left behind: {receipt}");
            let entries = self.quarantine.iter().filter(|entry| {
                entry["file"] == receipt["file"] && entry["generation"] == receipt["generation"]
            });
            assert_eq!(Json::from(entries.count()), receipt["quarantined"], "{receipt}");
        }
        for (table, rows) in &self.tables {
            let sum = |what: &str| -> u64 {
                self.receipts.iter().filter_map(|receipt| receipt["tables"][table][what].as_u64()).sum()
            };
            let (sent, collisions) = (sum("rows"), sum("collisions"));
            assert_eq!(sent - collisions, rows.len() as u64, "{table}: {sent} sent, {collisions} collisions");
        }
    }
}

/// Removes from a receipt what depends on the deliveries before it.
fn without_order(receipt: &Json) -> Json {
    let mut receipt = receipt.clone();
    for key in ["parts", "part_count"] {
        receipt.as_object_mut().unwrap().shift_remove(key);
    }
    for table in receipt["tables"].as_object_mut().unwrap().values_mut() {
        table.as_object_mut().unwrap().shift_remove("collisions");
    }
    receipt
}

fn same<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T], what: &str) {
    if found == expected {
        return;
    }
    let only = |a: &[T], b: &[T]| {
        a.iter().filter(|one| !b.contains(one)).map(|one| format!("\n  {one:?}")).take(6).collect::<String>()
    };
    panic!("{what} differ; only found:{}\nonly expected:{}", only(found, expected), only(expected, found));
}
