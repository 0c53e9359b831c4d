//! Files that other programs write, replace and truncate while the daemon runs.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::common::until;

const HEADER: &str = "id,customer,amount,day,paid\n";
const ADA: &str = "1,Ada,12.5,2024-03-01,yes\n";
const BO: &str = "2,Bo,7.25,2024-03-02,no\n";
const CY: &str = "3,Cy,1200,2024-03-03,yes\n";

fn orders() -> World {
    declared("settle: 100ms, poll: 200ms", ORDERS)
}

/// Waits until the table has these ids and amounts.
fn until_amounts(world: &World, expected: &Json) {
    until(&format!("the amounts are {expected}"), || {
        let store = world.store().exists().then(|| world.open_store())?;
        let mut found = store.prepare("SELECT id, amount FROM t ORDER BY id").ok()?;
        let row = |row: &rusqlite::Row<'_>| Ok(json!([row.get::<_, i64>(0)?, row.get::<_, f64>(1)?]));
        let found: Json = found.query_map([], row).ok()?.map(Result::unwrap).collect();
        (&found == expected).then_some(())
    });
}

fn pause() {
    std::thread::sleep(Duration::from_millis(600));
}

#[test]
fn records_after_a_copytruncate_rotation_fail_by_name_and_what_was_loaded_stays() {
    let world = orders();
    world.drop_file("app.csv", format!("{HEADER}{ADA}{BO}"));
    let _daemon = world.daemon();
    until_amounts(&world, &json!([[1, 12.5], [2, 7.25]]));
    File::create(world.inbox().join("app.csv")).unwrap();
    pause();
    world.append("app.csv", CY);
    world.wait_for("app.csv", "failed");
    let detail = world.receipt("app.csv")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("`3` is a value, not a name"), "{detail}");
    until_amounts(&world, &json!([[1, 12.5], [2, 7.25]]));
    // A rotation that writes the header again loses nothing.
    world.drop_file("app.csv", format!("{HEADER}{CY}"));
    until_amounts(&world, &json!([[1, 12.5], [2, 7.25], [3, 1200.0]]));
}

#[test]
fn zeros_that_a_writer_leaves_after_a_truncation_are_refused_as_such() {
    let world = orders();
    let mut writer = File::create(world.inbox().join("app.csv")).unwrap();
    writer.write_all(format!("{HEADER}{ADA}").as_bytes()).unwrap();
    let _daemon = world.daemon();
    until_amounts(&world, &json!([[1, 12.5]]));
    OpenOptions::new().write(true).truncate(true).open(world.inbox().join("app.csv")).unwrap();
    pause();
    // The file is not open for appending, so the writer continues at its old offset.
    writer.write_all(BO.as_bytes()).unwrap();
    drop(writer);
    world.wait_for("app.csv", "failed");
    let detail = world.receipt("app.csv")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("0x00 at byte 0"), "{detail}");
    until_amounts(&world, &json!([[1, 12.5]]));
}

/// Kubernetes replaces the files of a volume by redirecting a link to their folder.
#[test]
fn a_file_behind_a_redirected_link_is_loaded_again() {
    let world = orders();
    let (first, second) = (world.inbox().join("..2024_01"), world.inbox().join("..2024_02"));
    copy_of(&first, &format!("{HEADER}{ADA}"));
    symlink("..2024_01", world.inbox().join("..data")).unwrap();
    symlink("..data/orders.csv", world.inbox().join("orders.csv")).unwrap();
    let _daemon = world.daemon();
    until_amounts(&world, &json!([[1, 12.5]]));
    copy_of(&second, &format!("{HEADER}{}{BO}", ADA.replace("12.5", "13")));
    symlink("..2024_02", world.inbox().join("..data_tmp")).unwrap();
    fs::rename(world.inbox().join("..data_tmp"), world.inbox().join("..data")).unwrap();
    fs::remove_dir_all(first).unwrap();
    until_amounts(&world, &json!([[1, 13.0], [2, 7.25]]));
    assert_eq!(world.states().len(), 1, "{:?}", world.states());
}

fn copy_of(folder: &Path, text: &str) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("orders.csv"), text).unwrap();
}

/// The next listing is an hour away, so events report the folders.
#[test]
fn files_of_a_folder_that_is_moved_in_or_created_at_any_depth_are_loaded() {
    let world = declared("settle: 100ms, poll: 1h", ORDERS);
    let _daemon = world.daemon();
    fs::create_dir_all(world.path("out/x/y")).unwrap();
    fs::write(world.path("out/x/y/a.csv"), format!("{HEADER}{ADA}")).unwrap();
    fs::rename(world.path("out/x"), world.inbox().join("x")).unwrap();
    fs::create_dir_all(world.inbox().join("a/b/c/d")).unwrap();
    world.drop_file("a/b/c/d/e.csv", format!("{HEADER}{BO}"));
    until_amounts(&world, &json!([[1, 12.5], [2, 7.25]]));
}

#[test]
fn an_editor_that_saves_a_file_makes_one_generation() {
    let world = orders();
    let _daemon = world.daemon();
    let with = |amount: &str| format!("{HEADER}{}", ADA.replace("12.5", amount));
    world.drop_file("a.csv", with("12.5"));
    until_amounts(&world, &json!([[1, 12.5]]));
    // vim with a backup renames the file and writes it again.
    fs::rename(world.inbox().join("a.csv"), world.inbox().join("a.csv~")).unwrap();
    world.drop_file(".a.csv.swp", "b0VIM");
    world.drop_file("a.csv", with("13"));
    until_amounts(&world, &json!([[1, 13.0]]));
    // `sed -i` writes another file and renames it over the first.
    world.drop_file("sedXk3Q9z", with("14"));
    fs::rename(world.inbox().join("sedXk3Q9z"), world.inbox().join("a.csv")).unwrap();
    until_amounts(&world, &json!([[1, 14.0]]));
    world.wait_for("a.csv", "loaded");
    assert_eq!((world.states().len(), world.generations("a.csv")), (1, 3), "{:?}", world.states());
}

#[test]
fn an_upload_that_broke_off_and_began_again_ends_with_each_record_once() {
    let world = orders();
    let record = |n: u32| format!("{n},Ada,12.5,2024-03-01,yes\n");
    let lines: Vec<String> = std::iter::once(HEADER.to_owned()).chain((1..=1000).map(record)).collect();
    let daemon = world.daemon();
    world.drop_file("up.csv", lines[..400].concat() + &lines[400][..9]);
    world.wait_for("up.csv", "incomplete");
    let mut upload = File::create(world.inbox().join("up.csv")).unwrap();
    upload.write_all(lines[..200].concat().as_bytes()).unwrap();
    pause();
    upload.write_all(lines[200..].concat().as_bytes()).unwrap();
    drop(upload);
    until_amounts(&world, &(1..=1000).map(|n| json!([n, 12.5])).collect());
    world.wait_for("up.csv", "loaded");
    assert_eq!((world.receipt("up.csv")["loaded"].clone(), quarantined(&world)), (json!(1000), vec![]));
    assert!(!daemon.log().contains("failed"), "{}", daemon.log());
}
