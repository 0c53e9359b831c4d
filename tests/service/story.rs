//! Tests of a service's life: files from members of the group, a reload, kills and stops under load. Nothing is lost.

use std::fs;

use super::common::{HEADER, World, events, until};
use super::machine::{Machine, copy_store};

const RECORDS: u32 = 15_000;

fn files(numbers: std::ops::Range<u32>) -> Vec<(String, String)> {
    let csv = |n: u32| format!("{HEADER}{}", events(n * RECORDS..(n + 1) * RECORDS));
    numbers.map(|n| (format!("{n:03}.csv"), csv(n))).collect()
}

#[test]
fn a_service_loads_the_files_of_its_group_and_loses_nothing() {
    let Some(machine) = Machine::installed() else { return };
    machine.user("alice", "needledrop");
    machine.user("mallory", "users");
    machine.waits_until("StatusText", "ready; no files waiting");

    let all = files(0..21);
    machine.drop_files("alice", &all[..1]);
    until("the first is loaded", || (machine.loaded() == 1).then_some(()));
    machine.refuses("runuser -u mallory -- ls /srv/needledrop/inbox");
    machine.refuses("runuser -u mallory -- cp /shared/drops/000.csv /srv/needledrop/inbox/mallory.csv");

    is_reloaded(&machine);
    is_killed_under_load(&machine, &all[1..11]);
    is_stopped_under_load(&machine, &all[11..]);
    machine.ok("systemctl stop needledrop");
    is_as_if_nothing_had_happened(&machine, &all);
}

fn is_reloaded(machine: &Machine) {
    let id = machine.unit("MainPID");
    machine.edit("poll: 30s", "poll: 5s");
    machine.ok("systemctl reload needledrop");
    until("it is in force", || machine.log().contains("needledrop.yaml is in force").then_some(()));
    machine.edit("poll: 5s", "pull: 5s");
    machine.ok("systemctl reload needledrop");
    until("it is refused", || {
        machine.log().contains("reload rejected; keeping the previous configuration").then_some(())
    });
    machine.edit("pull: 5s", "poll: 5s");
    machine.waits_until("ActiveState", "active");
    assert_eq!(machine.unit("MainPID"), id, "the reload keeps the process");
}

fn is_killed_under_load(machine: &Machine, files: &[(String, String)]) {
    machine.drop_files("alice", files);
    machine.ok("kill -9 $(systemctl show --property MainPID --value needledrop)");
    machine.waits_until("NRestarts", "1");
    machine.waits_until("ActiveState", "active");
    assert!(machine.loaded() < files.len(), "the kill came after all files were loaded");
    until("all are loaded", || is_loaded(machine, 1 + files.len()).then_some(()));
}

fn is_stopped_under_load(machine: &Machine, files: &[(String, String)]) {
    machine.drop_files("alice", files);
    machine.ok("systemctl stop needledrop");
    assert_eq!((machine.unit("Result"), machine.unit("ExecMainStatus")), ("success".into(), "0".into()));
    assert!(!is_loaded(machine, 11 + files.len()), "the stop came after all files were loaded");
    machine.ok("systemctl start needledrop");
    until("all are loaded", || is_loaded(machine, 11 + files.len()).then_some(()));
}

/// Whether the ledger has this number of loaded deliveries.
fn is_loaded(machine: &Machine, files: usize) -> bool {
    let sql = "SELECT count(*) FROM _needledrop_deliveries WHERE state = 'loaded'";
    machine.store().query_row(sql, [], |row| row.get::<_, usize>(0)).unwrap() == files
}

fn is_as_if_nothing_had_happened(machine: &Machine, files: &[(String, String)]) {
    let (world, clean) = (World::new(), World::new());
    copy_store(machine, &world.store());
    for (name, text) in files {
        fs::write(clean.inbox().join(name), text).unwrap();
    }
    clean.once(0);
    for (name, _) in files {
        let receipt = world.receipt(name);
        assert_eq!(
            (receipt["closes"].as_bool(), receipt["loaded"].as_u64()),
            (Some(true), Some(RECORDS.into()))
        );
    }
    assert!(world.tables() == clean.tables(), "tables differ from those of one clean run");
}
