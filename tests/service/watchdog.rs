//! Tests with a real watchdog: it does nothing while the daemon waits for the store, and it restarts the service once
//! when a stage is stuck. Another test waits for an unreachable cluster, with a password from systemd.

use std::fs;
use std::time::Duration;

use super::common::{HEADER, events, until};
use super::machine::Machine;

const WATCHDOG: Duration = Duration::from_secs(3);

/// Lets the service run the build that has fault points.
const DROP_IN: &str = "mkdir -p /etc/systemd/system/needledrop.service.d
cat > /etc/systemd/system/needledrop.service.d/watchdog.conf <<END
[Service]
ExecStart=
ExecStart=/shared/needledrop-debug run
Environment=NEEDLEDROP_STUCK=/var/lib/needledrop/stuck
WatchdogSec=3
END
systemctl daemon-reload
systemctl restart needledrop";

fn file(name: &str, items: std::ops::Range<u32>) -> [(String, String); 1] {
    [(name.to_owned(), format!("{HEADER}{}", events(items)))]
}

#[test]
fn a_locked_store_causes_no_restart_and_a_stuck_stage_causes_one() {
    let Some(machine) = Machine::installed() else { return };
    machine.user("alice", "needledrop");
    machine.ok(DROP_IN);
    machine.waits_until("StatusText", "ready; no files waiting");
    waits_for_the_store(&machine);
    starts_without_the_store(&machine);
    is_restarted_once(&machine);
}

fn waits_for_the_store(machine: &Machine) {
    let store = machine.store();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    machine.drop_files("alice", &file("1.csv", 0..10));
    machine.waits_until("StatusText", "waiting for the store (locked)");
    std::thread::sleep(WATCHDOG * 2);
    assert_eq!((machine.unit("NRestarts"), machine.unit("ActiveState")), ("0".into(), "active".into()));
    drop(store);
    until("it is loaded", || (machine.loaded() == 1).then_some(()));
}

fn starts_without_the_store(machine: &Machine) {
    machine.ok("systemctl stop needledrop");
    let store = machine.store();
    store.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    machine.ok("timeout 20 systemctl start needledrop");
    assert_eq!(machine.unit("StatusText"), "waiting for the store (locked)");
    std::thread::sleep(WATCHDOG * 2);
    assert_eq!((machine.unit("NRestarts"), machine.unit("ActiveState")), ("0".into(), "active".into()));
    drop(store);
    machine.waits_until("StatusText", "ready; no files waiting");
}

fn is_restarted_once(machine: &Machine) {
    fs::write(machine.path("state/stuck"), "write").unwrap();
    machine.drop_files("alice", &file("2.csv", 10..20));
    machine.waits_until("NRestarts", "1");
    assert!(machine.log().contains("no answer from write; "), "{}", machine.log());
    assert!(machine.log().contains("Watchdog timeout"), "{}", machine.log());
    until("it is loaded", || (machine.loaded() == 1).then_some(()));
    std::thread::sleep(WATCHDOG * 2);
    assert_eq!((machine.unit("NRestarts"), machine.unit("ActiveState")), ("1".into(), "active".into()));
}

#[test]
fn the_service_waits_for_an_unreachable_cluster_with_a_password_from_systemd() {
    let Some(machine) = Machine::installed() else { return };
    machine.edit("kind: sqlite", "kind: cassandra");
    machine.edit("# username: needledrop", "username: needledrop");
    machine.edit("# password_file:", "password_file:");
    machine.ok("install -D --mode 600 /dev/null /etc/credstore/needledrop.cassandra-password");
    machine.ok("echo secret > /etc/credstore/needledrop.cassandra-password; systemctl restart needledrop");
    until("the cluster is waited for", || {
        machine.unit("StatusText").starts_with("waiting for the store").then_some(())
    });
    machine.ok("rm /etc/credstore/needledrop.cassandra-password");
    machine.refuses("systemctl restart needledrop");
    assert_eq!((machine.unit("ExecMainStatus"), machine.unit("ActiveState")), ("2".into(), "failed".into()));
    assert!(machine.log().contains("store.cassandra.password_file"), "{}", machine.log());
    assert!(!machine.log().contains("secret"));
}
