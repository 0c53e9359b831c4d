//! Tests of links, pipes and sockets in the inbox: nothing waits for them, and nothing outside is moved or removed.
//! The tests in src/source/folder/tests.rs and src/source/folder/file.rs replace a file by a link between two looks.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::common::World;
use crate::csv;

#[test]
fn a_run_never_waits_for_pipes_sockets_and_devices() {
    let world = World::new().with("source.after", "delete");
    mknodat(CWD, world.inbox().join("pipe.csv"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = UnixListener::bind(world.inbox().join("socket.csv")).unwrap();
    symlink("/dev/zero", world.inbox().join("zero.csv")).unwrap();
    symlink("/dev/tty", world.inbox().join("terminal.csv")).unwrap();
    symlink("circle.csv", world.inbox().join("circle.csv")).unwrap();
    symlink("/proc/self/mem", world.inbox().join("folder.csv")).unwrap();
    world.drop_file("good.csv", csv(0..2));
    let began = Instant::now();
    let output = world.run(&["run", "--once"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{output:?}");
    assert_eq!(world.states()["good.csv"], "loaded");
    for name in ["pipe.csv", "socket.csv", "zero.csv"] {
        let refused = world.run(&["load", &format!("inbox/{name}")]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(world.inbox().join(name).symlink_metadata().is_ok(), "{name}");
    }
}

/// With `links: anywhere`, a secret that a link leads to is loaded like any file. With `links: inside`, no word of it
/// is in logs, store or answers.
#[test]
fn links_that_leave_the_inbox_are_ignored_if_links_is_inside() {
    for links in ["anywhere", "inside"] {
        let world = World::new().with("source.links", links).with("source.after", "delete");
        let secret = world.path("shadow");
        fs::write(&secret, "root:$6$hidden:1:\n").unwrap();
        let known = world.path("elsewhere.csv");
        fs::write(&known, csv(5..7)).unwrap();
        symlink(&secret, world.inbox().join("secret.csv")).unwrap();
        symlink(&known, world.inbox().join("known.csv")).unwrap();
        symlink("../elsewhere.csv", world.inbox().join("upwards.csv")).unwrap();
        fs::create_dir(world.inbox().join("sub")).unwrap();
        world.drop_file("sub/real.csv", csv(0..2));
        symlink("sub/real.csv", world.inbox().join("within.csv")).unwrap();
        let output = world.run(&["run", "--once", "--log-level", "debug"]);
        let states = world.states();
        let exported = world.run(&["export"]);
        if links == "inside" {
            assert_eq!(states.keys().collect::<Vec<_>>(), ["sub/real.csv", "within.csv"], "{output:?}");
            let told = format!("{output:?}{exported:?}{:?}", world.dump());
            assert!(!told.contains("hidden"), "{told}");
            let refused = world.run(&["load", "inbox/known.csv"]);
            assert_eq!((refused.code, world.states().len()), (2, 2), "{refused:?}");
        } else {
            assert_eq!((states["secret.csv"].as_str(), states["known.csv"].as_str()), ("failed", "loaded"));
        }
        // The links and the files that they lead to stay, whatever was read.
        assert!(secret.exists() && known.exists(), "{links}");
        assert!(world.inbox().join("known.csv").is_symlink(), "{links}");
    }
}

#[test]
fn a_daemon_applies_the_same_rule_when_a_link_is_redirected() {
    let world = World::new().with("source.links", "inside").with("source.poll", "200ms");
    fs::write(world.path("elsewhere.csv"), csv(5..7)).unwrap();
    world.drop_file("a.csv", csv(0..2));
    let link = world.inbox().join("link.csv");
    symlink("a.csv", &link).unwrap();
    let daemon = world.daemon();
    let is = |state: &str| world.states().get("link.csv").is_some_and(|found| found == state);
    crate::common::until("the link is a duplicate", || is("duplicate").then_some(()));
    fs::remove_file(&link).unwrap();
    symlink(world.path("elsewhere.csv"), &link).unwrap();
    world.drop_file("later.csv", csv(2..3));
    crate::common::until("a later file is loaded", || world.states().get("later.csv").map(|_| ()));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(world.generations("link.csv"), 1, "{}", daemon.log());
    assert!(world.query("session_item", &["sessionId=7", "itemInSession=5"]).is_empty());
    assert_eq!(daemon.get("/healthz").unwrap().0, 200);
    assert_eq!(json!(world.states().len()), 3);
}

/// Other users may write to the archive, so a link in it is not followed.
#[test]
fn a_link_in_the_archive_moves_no_file_elsewhere() {
    let world = World::new().with("source.after", "move").with("source.archive", "archive");
    fs::create_dir(world.path("archive")).unwrap();
    fs::create_dir(world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), world.path("archive/sub")).unwrap();
    fs::create_dir(world.inbox().join("sub")).unwrap();
    world.drop_file("sub/a.csv", csv(0..2));
    world.drop_file("b.csv", csv(2..3));
    let output = world.run(&["run", "--once"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("archive/sub: is a symbolic link or not a folder, and links are not followed"),
        "{output:?}"
    );
    assert!(world.inbox().join("sub/a.csv").exists() && world.path("archive/b.csv").exists());
    assert_eq!(fs::read_dir(world.path("elsewhere")).unwrap().count(), 0);
}
