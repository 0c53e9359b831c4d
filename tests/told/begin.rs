//! Tests of what is reported when a daemon starts, when it resumes a file, and when it keeps a command from running.

use rustix::process::Signal;

use crate::common::until;
use crate::{FILE, csv, log_line, world};

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_daemon_logs_when_it_is_ready_and_what_it_resumes() {
    let world = world().with("source.settle", "100ms").with("source.poll", "200ms");
    let daemon = world.daemon();
    assert!(log_line(&daemon.log(), "ready").contains("INFO"));
    drop(daemon);
    world.drop_file(FILE, csv(30, |_| false));
    // The abort comes after the file is taken up and before its records are durable.
    let aborted = world.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", "3").output().unwrap();
    assert!(aborted.status.code().is_none(), "{aborted:?}");
    let log = world.run(&["run", "--once"]).stderr;
    let line = log_line(&log, "resumed");
    assert!(line.contains("INFO") && line.contains("continued at byte"), "{line}");
}

#[test]
fn the_hint_about_a_running_daemon_fits_the_command() {
    let world = world();
    world.drop_file(FILE, csv(3, |_| false));
    let _daemon = world.daemon();
    for command in ["load --table t", "schema --apply", "quarantine replay", "load --again inbox"] {
        let output = world.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(output.code, 3, "{command}: {output:?}");
        assert!(output.stderr.contains("next: stop that process first"), "{command}: {output:?}");
        assert!(!output.stderr.contains("drop the files"), "{command}: {output:?}");
    }
    let output = world.run(&["load", "inbox"]);
    assert!(output.stderr.contains("drop the files into the inbox"), "{output:?}");
}

#[test]
fn user_signals_do_not_end_the_daemon() {
    let world = world();
    let mut daemon = world.daemon();
    for signal in [Signal::USR1, Signal::USR2, Signal::PIPE] {
        daemon.signal(signal);
    }
    until("it says so", || daemon.log().contains("are ignored").then_some(()));
    assert_eq!(daemon.get("/readyz").unwrap().0, 200);
    assert!(daemon.runs());
    assert_eq!(daemon.stop().0, 0);
}
