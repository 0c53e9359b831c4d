//! Tests of the Debian package: it is installed, upgraded, removed and purged.

use super::machine::Machine;

const FILES: [&str; 10] = [
    "/etc/needledrop/needledrop.yaml",
    "/usr/bin/needledrop",
    "/usr/lib/systemd/system/needledrop.service",
    "/usr/lib/sysusers.d/needledrop.conf",
    "/usr/lib/tmpfiles.d/needledrop.conf",
    "/usr/share/bash-completion/completions/needledrop",
    "/usr/share/doc/needledrop/runbook.md",
    "/usr/share/doc/needledrop/sbom.cdx.json",
    "/usr/share/doc/needledrop/examples/systemd/needledrop-once.timer",
    "/usr/share/man/man1/needledrop-quarantine.1.gz",
];

#[test]
fn the_package_is_installed_upgraded_removed_and_purged() {
    let Some(machine) = Machine::booted(false) else { return };
    machine.ok("dpkg --install /shared/needledrop.deb");
    is_installed(&machine);
    is_confined(&machine);
    continues_after_an_upgrade(&machine);
    leaves_data_alone(&machine);
}

fn is_installed(machine: &Machine) {
    for state in ["is-active", "is-enabled"] {
        machine.ok(&format!("systemctl {state} needledrop"));
    }
    let listed = machine.ok("dpkg --listfiles needledrop");
    for file in FILES {
        assert!(listed.lines().any(|line| line == file), "{file}: {listed}");
    }
    assert_eq!(
        machine.ok("stat --format '%A %U %G' /srv/needledrop/inbox"),
        "drwxrws--- needledrop needledrop"
    );
    assert_eq!(machine.ok("stat --format '%A %U' /var/lib/needledrop"), "drwxr-x--- needledrop");
    machine.ok(r"grep -q '\.dep-v0' /usr/bin/needledrop");
    machine.ok("grep -q '\"name\": \"scylla\"' /usr/share/doc/needledrop/sbom.cdx.json");
    let version = machine.ok("needledrop --version");
    assert!(version.starts_with(concat!("needledrop ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
    assert!(machine.ask("check").contains("/srv/needledrop/inbox"), "{}", machine.ask("check"));
}

fn is_confined(machine: &Machine) {
    // The manual page of the unit cannot be checked, because the machine has no man.
    let verified = machine.ok(
        "systemd-analyze verify --man=no needledrop.service /usr/share/doc/needledrop/examples/systemd/*",
    );
    assert_eq!(verified, "");
    machine.ok("systemd-analyze security --offline=true --threshold=15 needledrop.service");
    let id = machine.unit("MainPID");
    let status = machine.ok(&format!("cat /proc/{id}/status"));
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
}

fn continues_after_an_upgrade(machine: &Machine) {
    machine.edit("poll: 30s", "poll: 31s");
    let before = machine.unit("MainPID");
    machine.ok("cd /tmp; dpkg-deb --raw-extract /shared/needledrop.deb next; \
                sed -i 's/^Version: .*/&+next/' next/DEBIAN/control; dpkg-deb --build next; dpkg --install next.deb");
    machine.ok("systemctl is-active needledrop");
    assert_ne!(machine.unit("MainPID"), before, "the upgrade restarts the service");
    machine.ok("grep -q 'poll: 31s' /etc/needledrop/needledrop.yaml");
}

fn leaves_data_alone(machine: &Machine) {
    machine.ok("echo waits > /srv/needledrop/inbox/.waits");
    machine.ok("dpkg --remove needledrop");
    machine.refuses("systemctl is-active needledrop");
    machine.ok("test -f /etc/needledrop/needledrop.yaml");
    let said = machine.ok("dpkg --purge needledrop");
    machine.ok("test ! -e /etc/needledrop; test -f /srv/needledrop/inbox/.waits; test -f /var/lib/needledrop/needledrop.db");
    for folder in ["/srv/needledrop/inbox", "/var/lib/needledrop"] {
        assert!(said.contains(&format!("kept {folder} and its files")), "{said}");
    }
    // After another installation the folders are empty, so the purge removes them.
    machine.ok("rm -r /srv/needledrop/inbox/.waits /var/lib/needledrop");
    machine.ok("dpkg --install /shared/needledrop.deb; systemctl stop needledrop; rm /var/lib/needledrop/*");
    machine.ok("dpkg --purge needledrop; test ! -e /srv/needledrop -a ! -e /var/lib/needledrop");
}
