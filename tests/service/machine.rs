//! A machine with a real systemd: a container that has systemd as process 1. It is removed on drop.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tempfile::TempDir;

use super::common::until;

/// Lets one machine boot at a time. On a small host, two at once are slower than one after the other.
static ONE: Mutex<()> = Mutex::new(());

/// The beginning of a command that runs as the service's user.
const ASK: &str = "runuser -u needledrop -- needledrop --config /etc/needledrop/needledrop.yaml";

/// Reads the metrics with bash, because the machine has no curl.
const ASK_METRICS: &str = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/8642
printf \"GET /metrics HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3'";

pub struct Machine {
    name: String,
    shared: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    /// Boots a machine with the package installed. The store is in a folder that the test shares. Returns `None` if
    /// the service tests are not wanted.
    pub fn installed() -> Option<Self> {
        let machine = Self::booted(true)?;
        machine.ok("dpkg --install /shared/needledrop.deb");
        Some(machine)
    }

    pub fn booted(shares_store: bool) -> Option<Self> {
        if !std::env::var("NEEDLEDROP_TEST_SERVICE").is_ok_and(|wanted| !wanted.is_empty()) {
            eprintln!("NOTE: NOT RUN, `make test-service` runs it");
            return None;
        }
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = tempfile::tempdir().unwrap();
        fs::create_dir(shared.path().join("state")).unwrap();
        let deb = given("NEEDLEDROP_SERVICE_DEB");
        fs::copy(deb, shared.path().join("needledrop.deb")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_needledrop"), shared.path().join("needledrop-debug")).unwrap();
        let machine = Self { name: name(), shared, _alone: alone };
        machine.boot(shares_store);
        Some(machine)
    }

    fn boot(&self, shares_store: bool) {
        let mut command = Command::new("docker");
        command.args(["run", "--detach", "--name", &self.name, "--cap-add", "SYS_ADMIN"]);
        // Without this capability a hidden process (ProtectProc=) cannot have users of its own (PrivateUsers=).
        command.args(["--cap-add", "SYS_PTRACE"]);
        command.args(["--security-opt", "seccomp=unconfined", "--tmpfs", "/run", "--tmpfs", "/tmp"]);
        command.args(["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]);
        command.args(["--volume", &format!("{}:/shared", self.shared.path().display())]);
        if shares_store {
            command.args(["--volume", &format!("{}:/var/lib/needledrop", self.path("state").display())]);
        }
        command.arg(given("NEEDLEDROP_SERVICE_IMAGE"));
        let ran = command.arg("/sbin/init").stdout(Stdio::null()).status().unwrap();
        assert!(ran.success(), "the container cannot be started");
        // The root mount of a real machine is shared, too. Otherwise the credentials that systemd mounts are not
        // visible.
        self.ok("mount --make-rshared /");
        until("systemd is up", || self.run("systemctl is-system-running").0.then_some(()));
    }

    /// Returns the path of a file or folder that the test and the machine share.
    pub fn path(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    /// Opens the store of the machine.
    pub fn store(&self) -> Connection {
        Connection::open(self.path("state/needledrop.db")).unwrap()
    }

    /// Runs a script. Returns whether it succeeded, and its output.
    pub fn run(&self, script: &str) -> (bool, String) {
        let output =
            Command::new("docker").args(["exec", &self.name, "sh", "-euc", script]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
    }

    pub fn ok(&self, script: &str) -> String {
        let (ended_well, said) = self.run(script);
        assert!(ended_well, "{script}: {said}\n{}", self.log());
        said
    }

    pub fn refuses(&self, script: &str) -> String {
        let (ended_well, said) = self.run(script);
        assert!(!ended_well, "{script}: {said}");
        said
    }

    /// Runs a command with the service's configuration, as the service's user.
    pub fn ask(&self, what: &str) -> String {
        self.ok(&format!("{ASK} {what}"))
    }

    /// Returns a property of the unit.
    pub fn unit(&self, property: &str) -> String {
        self.ok(&format!("systemctl show --property {property} --value needledrop"))
    }

    pub fn waits_until(&self, property: &str, value: &str) {
        until(&format!("{property} is {value}"), || (self.unit(property) == value).then_some(()));
    }

    pub fn log(&self) -> String {
        self.run("journalctl --unit needledrop --output cat --no-pager").1
    }

    /// Edits the configuration, as an administrator does.
    pub fn edit(&self, from: &str, to: &str) {
        let file = "/etc/needledrop/needledrop.yaml";
        self.ok(&format!("grep -q '{from}' {file} && sed -i 's|{from}|{to}|' {file}"));
    }

    /// Creates a user with a primary group and adds the user to this group.
    pub fn user(&self, name: &str, group: &str) {
        self.ok(&format!("useradd --no-create-home --groups {group} {name}"));
    }

    /// Creates files and lets a user copy them into the inbox.
    pub fn drop_files(&self, user: &str, files: &[(String, String)]) {
        let folder = self.path("drops");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        self.ok(&format!(
            "cd /shared/drops; runuser -u {user} -- cp {} /srv/needledrop/inbox/",
            names.join(" ")
        ));
    }

    /// Returns the number of deliveries that the current process has loaded.
    pub fn loaded(&self) -> usize {
        let metrics = self.ok(ASK_METRICS);
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("needledrop_deliveries_total{state=\"loaded\"} "));
        line.map_or(0, |count| count.trim().parse().unwrap())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The container may not exist yet.
        let _ = Command::new("docker").args(["rm", "--force", &self.name]).output();
    }
}

/// Returns a value that `tests/service/with` sets.
fn given(variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| panic!("no {variable}; `make test-service` runs this"))
}

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("needledrop-svc-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Copies the store. The service must be stopped.
pub fn copy_store(machine: &Machine, to: &Path) {
    fs::copy(machine.path("state/needledrop.db"), to).unwrap();
}
