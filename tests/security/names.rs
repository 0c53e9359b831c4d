//! Tests that file names are data, whatever they contain and wherever they seem to lead.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::json;

use crate::common::World;
use crate::csv;

fn odd() -> Vec<String> {
    let mut names: Vec<String> = [
        "--again.csv",
        "-rf.csv",
        "--.csv",
        "a..csv",
        "x..%2f..%2fetc%2fpasswd.csv",
        "x\\..\\..\\up.csv",
        "C:\\up.csv",
        "line\nend.csv",
        "cursor\u{1b}[2J.csv",
        " blank .csv",
        "star*?[x].csv",
        "quote'\"`$(touch hit).csv",
        "\u{202e}vsc.csv",
        "$HOME.csv",
    ]
    .map(String::from)
    .into();
    names.push(format!("{}.csv", "x".repeat(251)));
    names
}

/// Returns all paths below a folder, without the entries named in `but`.
fn tree(folder: &Path, but: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let place = entry.unwrap().path();
        let name = place.file_name().unwrap().to_string_lossy().into_owned();
        if but.contains(&name.as_str()) {
            continue;
        }
        if place.is_dir() {
            found.extend(tree(&place, but).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.insert(name);
        }
    }
    found
}

#[test]
fn odd_file_names_are_loaded_archived_and_exported_like_others() {
    let world = World::new().with("source.after", "move").with("source.archive", "archive");
    let names: BTreeSet<String> = odd().into_iter().collect();
    for (n, name) in (0..).zip(&names) {
        world.drop_file(name, csv(n..n + 1));
    }
    let summary = world.once(0);
    assert_eq!(summary["deliveries"], json!({ "loaded": names.len() }));
    assert_eq!(world.states().into_keys().collect::<BTreeSet<_>>(), names);
    assert_eq!(tree(&world.path("archive"), &[".part"]), names);
    assert_eq!(
        tree(&world.path("."), &["archive"]),
        ["store.db", "store.db-writer"].map(String::from).into()
    );
    for name in &names {
        let receipt = world.run(&["receipt", "--json", "--", name]);
        assert_eq!((receipt.code, receipt.json()["file"].as_str()), (0, Some(name.as_str())), "{receipt:?}");
    }
    // The export finds the files in the archive by their bytes.
    let exported = world.run(&["export"]);
    assert_eq!((exported.code, exported.stdout.lines().count()), (0, names.len() + 1), "{exported:?}");
}

#[test]
fn a_file_name_that_is_not_utf8_is_reported_and_holds_up_no_other_file() {
    let world = World::new().with("source.after", "delete");
    let place = world.inbox().join(OsStr::from_bytes(b"bad\xff\x1b[2J\nname.csv"));
    fs::write(&place, csv(0..1)).unwrap();
    world.drop_file("good.csv", csv(1..2));
    let output = world.run(&["run", "--once"]);
    assert_eq!((output.code, world.states().len()), (1, 1), "{output:?}");
    assert!(output.stderr.contains("a name that is not UTF-8: bad\\xff"), "{output:?}");
    let check = world.run(&["check"]);
    assert_eq!(check.code, 1, "{check:?}");
    assert!(check.stdout.contains("WRONG  names") && check.stdout.contains("bad\\xff"), "{check:?}");
    let status = world.run(&["status"]);
    assert!(status.stdout.contains("left out 1 file has a name that is not UTF-8"), "{status:?}");
    assert!(place.exists() && !output.stderr.contains('\u{1b}'), "{output:?}");
}
