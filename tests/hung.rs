//! Inboxes that do not answer, like a network share whose server is away. A library is loaded into the daemon, and its
//! calls of the system on such an inbox wait as long as a test wants.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "service/manager.rs"]
mod manager;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Daemon, World, until};
use manager::Manager;
use rustix::process::Signal;

const WATCHDOG: Duration = Duration::from_secs(2);

/// How long the daemon may take to end. An inbox is reported after a third of it.
const GRACE: Duration = Duration::from_secs(6);

/// A file may be closed before a daemon watches its inbox, for example during a reload. Its tail then waits for `tail_after`.
fn yaml(poll: &str) -> String {
    let mut yaml = "feeds:\n".to_owned();
    for (feed, folder) in [("a", "hung/a"), ("b", "hung/b"), ("good", "good")] {
        writeln!(
            yaml,
            "  {feed}:\n    source: {{ folder: {folder}, settle: 20ms, tail_after: 200ms, poll: {poll}, columns: {{ id: int, who: text }} }}\n    \
             tables: {{ t_{feed}: {{ partition_key: [id], columns: [who] }} }}"
        )
        .unwrap();
    }
    format!("{yaml}store: {{ sqlite: {{ path: store.db }} }}\nshutdown: {{ grace: {}s }}\n", GRACE.as_secs())
}

/// A world whose inboxes `hung/a` and `hung/b` answer only as long as a test wants.
struct Share(World);

impl Share {
    fn new() -> Self {
        let world = World::of(&yaml("200ms")).without("source.folder").with("write.window", "100");
        ["hung/a", "hung/b", "good"].iter().for_each(|inbox| fs::create_dir_all(world.path(inbox)).unwrap());
        let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hung/shim.c");
        let mut build = Command::new("cc");
        build.args(["-shared", "-fPIC", "-o"]).arg(world.path("shim.so")).arg(shim).arg("-ldl");
        assert!(build.status().unwrap().success(), "a C compiler is needed, as for SQLite");
        Self(world)
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.0.path(name).display().to_string();
        vec![("LD_PRELOAD", path("shim.so")), ("HANG", path("hang"))]
    }

    fn start(&self) -> Daemon {
        self.0.daemon_with(&self.variables())
    }

    fn hang(&self) {
        fs::write(self.0.path("hang"), "").unwrap();
    }

    fn answer(&self) {
        fs::remove_file(self.0.path("hang")).unwrap();
    }

    /// Writes a file. Its last record has no line end, so it is loaded only after a look at the writers of the file.
    fn put(&self, file: &str, records: u32) {
        let mut text = "id,who".to_owned();
        (0..records).for_each(|id| write!(text, "\n{id},x").unwrap());
        fs::write(self.0.path(file), text).unwrap();
    }

    /// Lets the inboxes hang while a file is being read.
    fn hang_while_reading(&self, daemon: &Daemon) {
        daemon.until_ready();
        self.put("hung/a/1.csv", 300_000);
        until("it is being read", || (daemon.metric("records_read_total{feed=\"a\"}") > 0.0).then_some(()));
        self.hang();
        daemon.until_unready("feed a");
        assert!(loaded(daemon, "a") < 1.0, "the file was read before the inbox hung");
    }

    /// Asserts that another process loads the file of [`Self::hang_while_reading`] completely.
    fn is_resumed(&self) {
        self.answer();
        self.0.once(0);
        assert_eq!(self.0.receipt("a//1.csv")["loaded"], 300_000);
        assert_eq!(self.0.json(&["status"])["feeds"]["a"]["states"]["loaded"], 1);
    }
}

fn loaded(daemon: &Daemon, feed: &str) -> f64 {
    daemon.metric(&format!("deliveries_total{{feed=\"{feed}\",state=\"loaded\"}}"))
}

fn is_away(daemon: &Daemon, feed: &str) -> f64 {
    1.0 - daemon.metric(&format!("inbox_listed{{feed=\"{feed}\"}}"))
}

#[test]
fn hung_inboxes_hold_up_no_other_feed_and_are_named_until_they_answer() {
    let share = Share::new();
    let manager = Manager::new(&share.0, Some(WATCHDOG));
    let daemon = manager.start_with(&share.0, share.variables());
    daemon.until_ready();
    share.hang();
    daemon.until_unready("feed a");
    manager.hears("STATUS=feed a, feed b: the inbox does not answer");
    until("both are reported", || (is_away(&daemon, "b") > 0.0).then_some(()));
    share.put("hung/a/1.csv", 10);
    share.put("good/1.csv", 10);
    until("the file of the other feed is loaded", || (loaded(&daemon, "good") > 0.0).then_some(()));
    manager.is_fed_for(WATCHDOG * 2, WATCHDOG);
    let told = |command| {
        let mut command = share.0.command(&[command]);
        command.envs(share.variables()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let [status, check] = ["status", "check"].map(told).map(|child| child.wait_with_output().unwrap());
    assert!(
        status.status.success() && String::from_utf8_lossy(&status.stdout).contains("t_good"),
        "{status:?}"
    );
    assert!(String::from_utf8_lossy(&check.stdout).contains("hung/b: does not answer"), "{check:?}");
    assert_eq!((is_away(&daemon, "a"), is_away(&daemon, "good"), loaded(&daemon, "a")), (1.0, 0.0, 0.0));
    share.answer();
    until("the file of the feed is loaded", || (loaded(&daemon, "a") > 0.0).then_some(()));
    daemon.until_ready();
    assert_eq!(is_away(&daemon, "a") + is_away(&daemon, "b"), 0.0);
    let log = daemon.log();
    for line in ["the inbox of feed a does not answer", "the inbox of feed b answers again"] {
        assert!(log.contains(line) && !log.contains("stuck"), "{log}");
    }
}

#[test]
fn a_daemon_starts_and_stops_while_an_inbox_hangs() {
    let share = Share::new();
    share.hang();
    fs::write(share.0.path("good/1.csv"), "id,who\n1,x\n").unwrap();
    let manager = Manager::new(&share.0, None);
    let mut daemon = manager.start_with(&share.0, share.variables());
    until("the port is bound", || daemon.get("/healthz"));
    until("the other feed is loaded", || (loaded(&daemon, "good") > 0.0).then_some(()));
    manager.hears("READY=1");
    daemon.until_unready("feed a");
    assert!(daemon.log().contains("hung/a: does not answer"), "{}", daemon.log());
    let (code, took) = daemon.stop();
    assert!(code == 0 && took < GRACE, "{code} after {took:?}: {}", daemon.log());
    // The inboxes are being checked now.
    let mut daemon = share.start();
    until("the port is bound", || daemon.get("/healthz"));
    let (code, took) = daemon.stop();
    assert!(code == 0 && took < GRACE, "{code} after {took:?}: {}", daemon.log());
}

#[test]
fn a_daemon_stops_within_the_grace_while_a_file_hangs() {
    let share = Share::new();
    let mut daemon = share.start();
    share.hang_while_reading(&daemon);
    let (code, took) = daemon.stop();
    assert!(code == 0 && took < GRACE, "{code} after {took:?}: {}", daemon.log());
    share.is_resumed();
}

#[test]
fn a_reload_does_not_wait_for_a_file_that_hangs() {
    let share = Share::new();
    let mut daemon = share.start();
    share.hang_while_reading(&daemon);
    fs::write(share.0.path("config.yaml"), yaml("300ms")).unwrap();
    daemon.signal(Signal::HUP);
    let applied = "config_reloads_total{outcome=\"applied\"}";
    until("the reload is applied", || (daemon.metric(applied) > 0.0).then_some(()));
    share.put("good/1.csv", 10);
    until("the other feed is loaded", || (loaded(&daemon, "good") > 0.0).then_some(()));
    daemon.until_unready("feed a");
    assert_eq!(daemon.stop().0, 0);
    share.is_resumed();
}
