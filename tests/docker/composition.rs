//! A composition that runs for one test. It is a project of its own, with an inbox and ports of its own.

use std::fs;
use std::process::Output;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::common::{free_port, shared};
use crate::image::{DONE_WITHIN, build, compose_command, docker, done, inspect, wanted};

/// How long a test waits for something. The first start of Cassandra on a busy machine takes longest.
const PATIENCE: Duration = Duration::from_secs(300);

/// Lets one composition run at a time, because two need twice the memory.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Composition {
    service: &'static str,
    services: &'static [&'static str],
    project: String,
    inbox: TempDir,
    port: u16,
    pub prometheus_port: u16,
    pub grafana_port: u16,
    _alone: MutexGuard<'static, ()>,
}

/// Returns the name of the project. `tests/docker/with` removes this project if the tests are interrupted.
fn project() -> String {
    let given = std::env::var("NEEDLEDROP_TEST_PROJECT");
    given.unwrap_or_else(|_| format!("needledrop-test-{}", std::process::id()))
}

impl Composition {
    /// Creates a composition. Returns `None` if the Docker tests are not wanted.
    pub fn new(service: &'static str, services: &'static [&'static str]) -> Option<Self> {
        wanted().then(|| {
            let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
            build();
            let inbox = TempDir::new().unwrap();
            fs::create_dir(inbox.path().join("inbox")).unwrap();
            Self {
                service,
                services,
                project: format!("{}-{service}", project()),
                inbox,
                port: free_port(),
                prometheus_port: free_port(),
                grafana_port: free_port(),
                _alone: alone,
            }
        })
    }

    pub fn service(&self) -> &'static str {
        self.service
    }

    fn try_compose(&self, arguments: &[&str]) -> Output {
        compose_command(DONE_WITHIN)
            .args(["--project-name", &self.project])
            .args(arguments)
            .env("NEEDLEDROP_INBOX", self.inbox.path().join("inbox"))
            .env("NEEDLEDROP_PORT", self.port.to_string())
            .env("PROMETHEUS_PORT", self.prometheus_port.to_string())
            .env("GRAFANA_PORT", self.grafana_port.to_string())
            .output()
            .unwrap()
    }

    pub fn compose(&self, arguments: &[&str]) -> String {
        done(self.try_compose(arguments))
    }

    /// Starts the services and what they depend on.
    pub fn up(&self) {
        self.compose(&[&["up", "-d"], self.services].concat());
    }

    /// Copies the real file of this name into the inbox.
    pub fn drop_file(&self, name: &str) {
        let events = shared("events").expect("the real files are missing; set NEEDLEDROP_SHARED");
        fs::copy(events.join(name), self.inbox.path().join("inbox").join(name)).unwrap();
    }

    /// Returns the id of the container, also of a stopped container.
    fn container(&self) -> String {
        self.compose(&["ps", "-a", "-q", self.service])
    }

    pub fn inspect(&self) -> Json {
        inspect(&self.container())
    }

    pub fn health(&self) -> String {
        self.inspect()["State"]["Health"]["Status"].as_str().unwrap().to_owned()
    }

    pub fn logs(&self) -> String {
        self.compose(&["logs", self.service])
    }

    pub fn signal(&self, signal: &str) {
        done(docker(&["kill", "--signal", signal, &self.container()]));
    }

    /// Returns the number of ended processes in the container that no process has waited for.
    pub fn zombies(&self) -> usize {
        let listed = done(docker(&["top", &self.container(), "-eo", "pid,stat"]));
        listed.lines().filter(|line| line.contains('Z')).count()
    }

    fn try_exec(&self, arguments: &[&str]) -> Output {
        self.try_compose(&[&["exec", "-T", self.service], arguments].concat())
    }

    pub fn exec(&self, arguments: &[&str]) -> String {
        done(self.try_exec(arguments))
    }

    /// Returns the output of a command that must fail.
    pub fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.try_compose(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Returns the JSON that a command prints.
    pub fn needledrop(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.exec(&[&["needledrop"], arguments].concat())).unwrap()
    }

    pub fn try_needledrop(&self, arguments: &[&str]) -> Option<Json> {
        let output = self.try_exec(&[&["needledrop"], arguments].concat());
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Sends a GET request to the daemon's port on the host. Returns the status and the body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        crate::common::get(self.port, path)
    }

    /// Sends a GET request to another service. Returns the body if the status is 200.
    pub fn ask(&self, port: u16, path: &str) -> Option<String> {
        crate::common::get(port, path).filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }

    /// Returns the first series that a query finds.
    pub fn prometheus(&self, query: &str) -> Option<Json> {
        let query = query.replace(' ', "%20").replace('=', "%3D");
        let answer = self.ask(self.prometheus_port, &format!("/api/v1/query?query={query}"))?;
        let mut answer: Json = serde_json::from_str(&answer).ok()?;
        Some(answer["data"]["result"].get_mut(0)?.take())
    }

    pub fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "waited too long until {what}: {}", self.logs());
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Composition {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", String::from_utf8_lossy(&self.try_compose(&["logs", "--tail", "60"]).stdout));
        }
        let output = self.try_compose(&["down", "--volumes", "--remove-orphans"]);
        eprintln!("{} is taken down: {}", self.project, output.status);
    }
}
