//! A world in which the real binary runs: a folder of its own with an inbox, a store and settings.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;
use tempfile::TempDir;

/// The header of Sparkify's event files, with the declared columns only.
pub const HEADER: &str =
    "artist,firstName,gender,itemInSession,lastName,length,level,location,sessionId,song,userId\n";

/// How long a test waits for something. It is longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct World {
    dir: TempDir,
    settings: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The rows of one table: the declared columns, in the order of the key.
pub type Rows = Vec<Vec<Json>>;

impl World {
    /// Creates a world with Sparkify's tables, an empty inbox and no store.
    pub fn new() -> Self {
        let world = Self { dir: TempDir::new().unwrap(), settings: BTreeMap::new() };
        fs::create_dir(world.inbox()).unwrap();
        let world = world.with("source.folder", "inbox").with("store.sqlite.path", "store.db");
        // No process listens on this port, so a test reaches nothing that it did not start.
        let nobody = free_port().to_string();
        world.with("http.listen", "127.0.0.1:0").with("store.cassandra.port", &nobody)
    }

    /// Creates a world with a configuration file of its own. The settings override the file.
    pub fn of(yaml: &str) -> Self {
        let world = Self::new();
        fs::write(world.path("config.yaml"), yaml).unwrap();
        world.with_variable("NEEDLEDROP_CONFIG", "config.yaml")
    }

    /// Adds a setting, for example `("store.kind", "sqlite")`.
    pub fn with(self, setting: &str, value: &str) -> Self {
        self.with_variable(&variable(setting), value)
    }

    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.set_variable(name, value);
        self
    }

    /// Removes a setting, so that the configuration file decides.
    pub fn without(mut self, setting: &str) -> Self {
        self.settings.remove(&variable(setting));
        self
    }

    pub fn set(&mut self, setting: &str, value: &str) {
        self.set_variable(&variable(setting), value);
    }

    fn set_variable(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn inbox(&self) -> PathBuf {
        self.path("inbox")
    }

    pub fn store(&self) -> PathBuf {
        self.path("store.db")
    }

    /// Writes a file into the inbox, over an existing file if there is one.
    pub fn drop_file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.inbox().join(name), bytes).unwrap();
    }

    pub fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let mut file = fs::OpenOptions::new().append(true).open(self.inbox().join(name)).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    /// Copies files into the inbox under their own names.
    pub fn copy_in(&self, files: &[PathBuf]) {
        for file in files {
            fs::copy(file, self.inbox().join(file.file_name().unwrap())).unwrap();
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_needledrop"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NEEDLEDROP_")) {
            command.env_remove(name);
        }
        command.envs(&self.settings);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        Output::of(&mut self.command(args))
    }

    /// Returns the JSON that a command prints. The command must exit with 0. `receipt` may also exit with 1, because
    /// its delivery may not be done.
    pub fn json(&self, args: &[&str]) -> Json {
        let output = self.run(&[args, &["--json"]].concat());
        let is_receipt = args.first() == Some(&"receipt") && !output.stdout.is_empty();
        assert!(output.code == 0 || (is_receipt && output.code == 1), "{args:?}: {output:?}");
        output.json()
    }

    /// Runs `run --once`, which must exit with this code. Returns the summary.
    pub fn once(&self, code: i32) -> Json {
        let output = self.run(&["run", "--once", "--json"]);
        assert_eq!(output.code, code, "{output:?}");
        output.json()
    }

    pub fn receipt(&self, file: &str) -> Json {
        let output = self.run(&["receipt", file, "--json"]);
        assert!(!output.stdout.is_empty(), "{output:?}");
        let receipt = output.json();
        let has_ended = ["loaded", "duplicate", "undone"].iter().any(|state| receipt["state"] == *state);
        let is_done = has_ended && receipt["closes"] == true && receipt["quarantine"]["open"] == 0;
        assert_eq!(output.code == 0, is_done, "{output:?}");
        receipt
    }

    /// Returns a partition as `query` shows it, each row as an array.
    pub fn query(&self, table: &str, conditions: &[&str]) -> Rows {
        let found = self.json(&[&["query", table], conditions].concat());
        let rows = found.as_array().unwrap().iter();
        rows.map(|row| row.as_object().unwrap().values().cloned().collect()).collect()
    }

    pub fn open_store(&self) -> Connection {
        Connection::open_with_flags(self.store(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    /// Returns the contents of the declared tables, without needledrop's own columns.
    pub fn tables(&self) -> BTreeMap<String, Rows> {
        let store = self.open_store();
        let names = table_names(&store).into_iter().filter(|name| !name.starts_with('_'));
        names.map(|name| (name.clone(), select(&store, &name, |column| !column.starts_with('_')))).collect()
    }

    /// Returns everything in the store, including the ledger and all columns.
    pub fn dump(&self) -> BTreeMap<String, Rows> {
        let store = self.open_store();
        table_names(&store).into_iter().map(|name| (name.clone(), select(&store, &name, |_| true))).collect()
    }

    /// Returns the rows and collisions of each table over the receipts of all loaded generations, from `status`.
    pub fn accounts(&self) -> BTreeMap<String, (u64, u64)> {
        let status = self.json(&["status"]);
        let tables = status["tables"].as_object().unwrap().iter();
        let count = |table: &Json, key: &str| table[key].as_u64().unwrap();
        tables
            .map(|(name, table)| (name.clone(), (count(table, "rows_written"), count(table, "collisions"))))
            .collect()
    }

    /// Starts the daemon on a free port, with its log in `stderr.log`, and waits until it is ready.
    pub fn daemon(&self) -> Daemon {
        let daemon = self.daemon_unready();
        daemon.until_ready();
        daemon
    }

    pub fn daemon_unready(&self) -> Daemon {
        self.daemon_unready_with_log("stderr.log")
    }

    pub fn daemon_unready_with_log(&self, log: &str) -> Daemon {
        self.daemon_of(self.command(&["run"]), log)
    }

    /// Starts the daemon with these variables, on a free port.
    pub fn daemon_with(&self, variables: &[(&str, String)]) -> Daemon {
        let mut command = self.command(&["run"]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        self.daemon_of(command, "stderr.log")
    }

    /// Starts the daemon in a user namespace of its own, after the shell commands in `first`. As root, the commands
    /// can set limits (`/proc/sys/user/…`) for this namespace only. As nobody, the daemon cannot read files without
    /// permission, even if root runs the tests.
    pub fn confined_daemon(&self, as_root: bool, first: &str) -> Daemon {
        let mut command = self.command(&[]);
        let script = format!("{first}\nexec \"$0\" run");
        let binary = command.get_program().to_owned();
        let mut confined = Command::new("unshare");
        confined.arg("--user").args(as_root.then_some("--map-root-user"));
        confined.arg("--mount").args(["sh", "-euc", &script]).arg(binary);
        for (name, value) in command.get_envs().filter_map(|(name, value)| Some((name, value?))) {
            confined.env(name, value);
        }
        confined.current_dir(self.dir.path()).stdin(Stdio::null());
        command = confined;
        let daemon = self.daemon_of(command, "stderr.log");
        daemon.until_ready();
        daemon
    }

    fn daemon_of(&self, mut command: Command, log: &str) -> Daemon {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        command.env("NEEDLEDROP_HTTP__LISTEN", listen);
        self.spawned(command, port, log)
    }

    /// Starts the daemon with these variables. It is expected to listen on this port.
    pub fn daemon_on(&self, port: u16, variables: &[(&str, String)]) -> Daemon {
        let mut command = self.command(&["run"]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        self.spawned(command, port, "stderr.log")
    }

    fn spawned(&self, mut command: Command, port: u16, log: &str) -> Daemon {
        let log = self.path(log);
        let child = command.stderr(fs::File::create(&log).unwrap()).stdout(Stdio::null()).spawn().unwrap();
        Daemon { child, port, log }
    }

    /// Returns the state of the newest generation of each file, by name.
    pub fn states(&self) -> BTreeMap<String, String> {
        let status = self.json(&["status"]);
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        let deliveries = status["deliveries"].as_array().unwrap().iter();
        deliveries.map(|delivery| (text(&delivery["file"]), text(&delivery["state"]))).collect()
    }

    /// Waits until the newest generation of a file is in this state.
    pub fn wait_for(&self, file: &str, state: &str) {
        until(&format!("{file} is {state}"), || (self.states().get(file)? == state).then_some(()));
    }

    /// Returns how often the ledger took up a file.
    pub fn generations(&self, file: &str) -> usize {
        let status = self.json(&["status"]);
        status["deliveries"].as_array().unwrap().iter().filter(|delivery| delivery["file"] == file).count()
    }
}

impl Output {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A daemon. It is killed on drop.
pub struct Daemon {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Daemon {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Sends SIGTERM. Returns the exit code and how long the daemon took to end.
    pub fn stop(&mut self) -> (i32, Duration) {
        let began = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        (self.ended(), began.elapsed())
    }

    /// Waits until the daemon has ended. Returns the exit code.
    pub fn ended(&mut self) -> i32 {
        let status = until("the daemon ends", || self.child.try_wait().unwrap());
        status.code().unwrap_or_else(|| panic!("{status}: {}", self.log()))
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the daemon has ended. Returns whether a signal ended it.
    pub fn gone(&mut self) -> bool {
        until("the daemon is gone", || self.child.try_wait().unwrap()).code().is_none()
    }

    /// Returns the status and the body of an answer, or `None` without an answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.port, path)
    }

    pub fn until_ready(&self) {
        let mut answer = None;
        let ready = patiently(|| {
            answer = self.get("/readyz");
            (answer.as_ref()?.0 == 200).then_some(())
        });
        assert!(ready.is_some(), "the daemon is not ready: {answer:?}; its log:\n{}", self.log());
    }

    /// Waits until the daemon is not ready for a reason that contains these words.
    pub fn until_unready(&self, reason: &str) {
        until(&format!("it is not ready: {reason}"), || {
            let (code, words) = self.get("/readyz")?;
            (code == 503 && words.contains(reason)).then_some(())
        });
    }

    /// Returns a metric by its name after `needledrop_`, with labels, or 0 if there is none.
    pub fn metric(&self, name: &str) -> f64 {
        self.metrics().get(&format!("needledrop_{name}")).copied().unwrap_or_default()
    }

    /// Returns the metrics, by name with labels.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let (_, text) = self.get("/metrics").unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The daemon may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of the daemon:\n{}", self.log());
        }
    }
}

/// Sends a GET request to a port of this machine. Returns the status and the body, or `None` without an answer.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Calls `ask` until it returns a value. Panics after [`PATIENCE`].
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    patiently(ask).unwrap_or_else(|| panic!("waited too long until {what}"))
}

/// Calls `ask` until it returns a value. Gives up after [`PATIENCE`].
pub fn patiently<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        let answer = ask();
        if answer.is_some() || began.elapsed() > PATIENCE {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether user namespaces are available. In CI they must be.
pub fn can_confine() -> bool {
    let tried = Command::new("unshare").args(["--user", "--map-root-user", "true"]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    assert!(can || std::env::var_os("CI").is_none(), "unshare --user does not work here");
    if !can {
        eprintln!("SKIPPED: unshare --user does not work here (util-linux, user namespaces)");
    }
    can
}

/// Returns a folder of the shared files, whose answers are known. Returns `None` if the folder does not exist, which
/// in CI is a failure.
pub fn shared(part: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("NEEDLEDROP_SHARED").map_or_else(beside, PathBuf::from).join(part);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "{}: is not there", folder.display());
    eprintln!("SKIPPED: {} is not there; set NEEDLEDROP_SHARED", folder.display());
    None
}

/// Returns the CSV files in a folder, sorted by name.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "csv")).collect();
    files.sort();
    files
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns events of one user in one session. Artist and song contain the number of the event. Every field has a
/// value.
pub fn events(items: std::ops::Range<u32>) -> String {
    items.map(|n| format!("Artist {n},Ann,F,{n},Lee,100.5,free,\"X, Y\",7,Song {n},3\n")).collect()
}

/// Returns an event file with these events.
pub fn csv(items: std::ops::Range<u32>) -> String {
    format!("{HEADER}{}", events(items))
}

/// Returns a port that nobody listens on. It is below the ports that the kernel gives to outgoing connections, so
/// none of these takes it before a daemon listens there.
pub fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..20_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn variable(setting: &str) -> String {
    format!("NEEDLEDROP_{}", setting.to_uppercase().replace('.', "__"))
}

fn table_names(store: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let mut statement = store.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn select(store: &Connection, table: &str, wanted: impl Fn(&str) -> bool) -> Rows {
    let mut statement = store.prepare("SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid").unwrap();
    let columns = statement.query_map([table], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)));
    let columns: Vec<_> = columns.unwrap().map(Result::unwrap).collect();
    let quoted = |name: &String| format!("\"{name}\"");
    let names: Vec<_> =
        columns.iter().filter(|(name, _)| wanted(name)).map(|(name, _)| quoted(name)).collect();
    let mut key: Vec<_> = columns.iter().filter(|(_, pk)| *pk > 0).collect();
    key.sort_by_key(|(_, pk)| *pk);
    let key: Vec<_> = key.iter().map(|(name, _)| quoted(name)).collect();
    let sql = format!("SELECT {} FROM \"{table}\" ORDER BY {}", names.join(", "), key.join(", "));
    let mut statement = store.prepare(&sql).unwrap();
    let width = names.len();
    let rows = statement.query_map([], |row| (0..width).map(|at| Ok(json(row.get_ref(at)?))).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

fn json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Real(x) => x.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => format!("{bytes:?}").into(),
    }
}
