//! Tests of small defects that users would notice: odd configurations, column names, failed exports.

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use crate::common::{World, until};
use crate::{FILE, csv, world};

fn refused(config: &str) -> String {
    let output = World::new().with_variable("NEEDLEDROP_CONFIG", config).run(&["check"]);
    assert_eq!(output.code, 2, "{output:?}");
    output.stdout
}

#[test]
fn a_configuration_must_be_a_regular_file_of_limited_length() {
    assert!(refused("/dev/zero").contains("is a pipe or a device"));
    assert!(refused("/tmp").contains("is a folder"));
    let world = World::new();
    let pipe = world.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(refused(pipe.to_str().unwrap()).contains("is a pipe or a device"));
    let long = world.path("long.yaml");
    fs::write(&long, "#".repeat(5 << 20)).unwrap();
    assert!(refused(long.to_str().unwrap()).contains("is longer than 4 MiB"));
}

/// A variable is merged into the file, and YAML 1.1 reads such names as booleans.
#[test]
fn columns_may_be_called_n_and_on_even_if_a_variable_overrides_a_setting() {
    let yaml = "source:\n  columns: { n: text, on: int }\n\
                tables:\n  t: { partition_key: [n], clustering_key: [on] }\n";
    let world = World::of(yaml).with("source.subfolders", "no");
    world.drop_file(FILE, "n,on\na,1\n");
    assert_eq!(world.once(0)["records"]["loaded"], 1);
}

#[test]
fn a_column_that_is_not_declared_is_refused_with_the_names() {
    let world = world();
    world.drop_file(FILE, csv(3, |n| n == 1));
    world.once(1);
    for command in ["list", "replay", "discard"] {
        let output = world.run(&["quarantine", command, "--column", "nope"]);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains("`nope`") && output.stderr.contains("k, v"), "{output:?}");
    }
    assert_eq!(world.run(&["quarantine", "list", "--column", "v"]).code, 0);
}

#[test]
fn a_list_that_is_empty_only_because_of_its_filter_says_so() {
    let world = world();
    world.drop_file(FILE, csv(3, |n| n == 1));
    assert_eq!(world.run(&["load", "inbox"]).code, 1);
    let list = |flags: &[&str]| world.run(&[&["quarantine", "list"], flags].concat()).stdout;
    assert_eq!(list(&["--reason", "range"]), "no open record matches\n");
    assert_eq!(list(&["--reason", "range", "--all"]), "no record matches\n");
    assert_eq!(world.run(&["quarantine", "discard", "--all"]).code, 0);
    assert_eq!(list(&[]), "nothing in quarantine\n");
}

#[test]
fn a_flag_that_is_refused_is_called_a_flag() {
    let output = world().run(&["run", "--listen", "localhost:0"]);
    let words = "flag for http.listen: invalid socket address syntax\n  next: correct it, or leave it out\n";
    assert!(output.code == 2 && output.stderr.contains(words), "{output:?}");
}

#[test]
fn each_page_of_the_manual_has_the_version() {
    let world = world();
    fs::create_dir(world.path("man")).unwrap();
    assert_eq!(world.run(&["man", "man"]).code, 0);
    let version = concat!("\"needledrop ", env!("CARGO_PKG_VERSION"), " (");
    for name in ["needledrop", "needledrop-run", "needledrop-quarantine-replay"] {
        let page = fs::read_to_string(world.path("man").join(format!("{name}.1"))).unwrap();
        let title = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
        assert!(title.starts_with(&format!(".TH {name} 1 ")) && title.contains(version), "{title}");
    }
}

#[test]
fn an_export_that_fails_leaves_nothing_behind() {
    let world = world();
    world.drop_file(FILE, csv(3, |_| false));
    fs::create_dir(world.path("out.csv")).unwrap();
    assert_eq!(world.run(&["export", "--out", "out.csv"]).code, 3);
    let names = fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let parts: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(".part")).collect();
    assert!(parts.is_empty(), "{parts:?}");
}

#[test]
fn a_folder_that_is_too_deep_is_reported_once_and_briefly() {
    let world = world().with("source.poll", "100ms");
    let name = "d".repeat(200);
    let open = |at: BorrowedFd<'_>, name: &Path| openat(at, name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut folder = open(CWD, &world.inbox());
    for _ in 0..30 {
        mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = open(folder.as_fd(), Path::new(&name));
    }
    let daemon = world.daemon();
    until("it is told", || daemon.log().contains("left out").then_some(()));
    std::thread::sleep(Duration::from_secs(1));
    let log = daemon.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("left out")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].len() < 500, "{told:?}");
}
