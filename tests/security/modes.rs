//! Tests of permissions: whatever the umask, only their user can write new files and folders, and only their group
//! can also read them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{World, until};
use crate::csv;

fn under_umask(world: &World, umask: &str, args: &[&str]) -> std::process::Output {
    let inner = world.command(args);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(inner.get_program()).args(args);
    command.current_dir(world.path("."));
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().unwrap()
}

fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let place = entry.unwrap().path();
        if place.is_dir() { found.extend(all(&place)) } else { found.push(place) }
    }
    found
}

/// Describes a place whose mode allows more than these permissions.
fn beyond(place: &Path, file: u32, folder: u32) -> Option<String> {
    let meta = fs::metadata(place).unwrap();
    let (mode, most) = (meta.permissions().mode() & 0o777, if meta.is_dir() { folder } else { file });
    (mode & !most != 0).then(|| format!("{} {mode:o}", place.display()))
}

fn world() -> World {
    let world = World::new()
        .with("source.after", "move")
        .with("source.archive", "made/archive")
        .with("store.sqlite.path", "made/deep/store.db")
        .with("log.file", "needledrop.log");
    fs::create_dir(world.inbox().join("sub")).unwrap();
    world.drop_file("sub/a.csv", csv(0..2));
    fs::set_permissions(world.inbox().join("sub/a.csv"), fs::Permissions::from_mode(0o640)).unwrap();
    world
}

#[test]
fn files_and_folders_are_not_accessible_to_others_whatever_the_umask() {
    for (umask, file, folder) in [("000", 0o640, 0o750), ("022", 0o640, 0o750), ("077", 0o600, 0o700)] {
        let world = world();
        let ran = under_umask(&world, umask, &["run", "--once"]);
        assert!(ran.status.success(), "{ran:?}");
        let exported = under_umask(&world, umask, &["export", "--out", "made/out.csv"]);
        assert!(exported.status.success(), "{exported:?}");
        fs::remove_file(world.path("made/archive/sub/a.csv")).unwrap();
        let mut made = all(&world.path("made"));
        made.push(world.path("needledrop.log"));
        let names = made.len();
        let wrong: Vec<_> = made.iter().filter_map(|place| beyond(place, file, folder)).collect();
        assert!(wrong.is_empty() && names >= 8, "umask {umask}: {wrong:?} of {made:?}");
    }
}

#[test]
fn files_of_a_running_daemon_are_not_accessible_to_others() {
    let world = world().with("source.after", "keep");
    let _daemon = world.daemon();
    until("it is loaded", || world.states().get("sub/a.csv").map(|_| ()));
    let made = all(&world.path("made"));
    for name in ["store.db", "store.db-wal", "store.db-shm", "store.db-writer"] {
        assert!(made.contains(&world.path("made/deep").join(name)), "{name}: {made:?}");
    }
    let wrong: Vec<_> = made.iter().filter_map(|place| beyond(place, 0o640, 0o750)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_sample_has_the_permissions_of_the_umask() {
    let world = world();
    let made = under_umask(&world, "022", &["sample", "days", "--days", "1", "--rows", "5"]);
    assert!(made.status.success(), "{made:?}");
    let file = all(&world.path("days")).pop().unwrap();
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o644);
}
