//! Replays of failed deliveries: their records are loaded once, whatever becomes of their files.

use std::fs;

use serde_json::json;

use crate::common::World;

/// Numbers with a fraction of zero, which are refused as `int` at first.
const RECORDS: &str = "id,who\n1.0,a\n2.0,b\n3.0,c\n";
const FIXED: &str = "{ type: int, zero_fraction: true }";

fn world() -> World {
    World::of(
        "source:\n  columns: { id: int, who: text }\ntables:\n  t: { partition_key: [who], columns: [id] }\n",
    )
}

fn failed(files: &[&str]) -> World {
    let world = world();
    files.iter().for_each(|file| world.drop_file(file, RECORDS));
    world.once(1);
    assert_eq!(world.accounts()["t"], (0, 0));
    world
}

fn fixed(mut world: World) -> World {
    world.set("source.columns.id", FIXED);
    world
}

fn open(world: &World) -> usize {
    world.json(&["quarantine", "list"]).as_array().unwrap().len()
}

fn states(world: &World, file: &str) -> String {
    world.states()[file].clone()
}

/// Between the failure and the correction, the configuration has a mistake, under which the file fails at its header.
#[test]
fn records_that_a_later_generation_loaded_are_not_replayed() {
    let mut world = failed(&["1.csv"]);
    world.set("source.columns.id", "{ type: int, from: idd }");
    world.once(1);
    assert_eq!((world.generations("1.csv"), open(&world)), (2, 3), "the second generation read no record");
    // The file is about to be read again, so its records are not replayed either.
    let mut world = fixed(world);
    let replay = world.run(&["quarantine", "replay"]);
    assert!(
        replay.code == 1 && replay.stderr.contains("a later generation of its file failed"),
        "{replay:?}"
    );
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!((world.accounts()["t"], open(&world)), ((3, 0), 0));
    let replay = world.run(&["quarantine", "replay", "--json"]);
    assert_eq!((replay.code, &replay.json()["tried"]), (0, &json!(0)), "{replay:?}");
    assert_eq!(world.accounts()["t"], (3, 0));
    world.set("limits.max_quarantined", "off");
    assert_eq!(world.once(0)["deliveries"], json!({}), "the earlier generations are over");
}

#[test]
fn records_that_a_copy_loaded_are_discarded() {
    let world = fixed(failed(&["1.csv", "2.csv"]));
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1, "loaded": 1 }));
    assert_eq!(open(&world), 0);
    assert_eq!(world.run(&["quarantine", "replay"]).code, 0);
    assert_eq!(world.accounts()["t"], (3, 0));
}

#[test]
fn of_two_failed_copies_a_replay_loads_one() {
    let world = fixed(failed(&["1.csv", "2.csv"]));
    let replay = world.run(&["quarantine", "replay", "--json"]);
    let counts = ["tried", "loaded", "discarded", "open"].map(|key| replay.json()[key].clone());
    assert_eq!((replay.code, json!(counts)), (0, json!([3, 3, 3, 0])), "{replay:?}");
    assert_eq!([states(&world, "1.csv"), states(&world, "2.csv")], ["loaded", "duplicate"]);
    let receipt = world.receipt("2.csv");
    assert_eq!((&receipt["closes"], &receipt["quarantine"]["discarded"]), (&json!(true), &json!(3)));
    assert!(receipt["detail"].as_str().unwrap().contains("the same bytes as 1.csv"), "{receipt}");
    assert_eq!((world.accounts()["t"], open(&world)), ((3, 0), 0));
    assert_eq!(world.once(0)["deliveries"], json!({}), "both files are known");
    assert_eq!(world.accounts()["t"], (3, 0));
}

#[test]
fn records_of_a_renamed_file_are_not_replayed_once_it_is_loaded() {
    let world = failed(&["1.csv"]);
    fs::rename(world.inbox().join("1.csv"), world.inbox().join("other.csv")).unwrap();
    let world = fixed(world);
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    let replay = world.run(&["quarantine", "replay"]);
    assert!(replay.code == 0 && replay.stdout.contains("discarded   3 records"), "{replay:?}");
    assert_eq!((world.accounts()["t"], open(&world)), ((3, 0), 0));
}

/// The delivery failed before the end of its file, so its bytes are only the beginning of those of the renamed file.
#[test]
fn records_of_a_renamed_file_that_failed_halfway_are_not_replayed() {
    let world = world();
    let lines = |from: u32, refused: bool| {
        let line = |n: u32| if refused { format!("{n}.0,w{n}\n") } else { format!("{n},w{n}\n") };
        (from..from + 60).map(line).collect::<String>()
    };
    world.drop_file("1.csv", format!("id,who\n{}1000.0,x\n", lines(0, false)));
    world.once(1);
    world.append("1.csv", lines(100, true).repeat(3));
    world.once(1);
    assert_eq!((states(&world, "1.csv"), open(&world)), ("failed".to_owned(), 1));
    fs::rename(world.inbox().join("1.csv"), world.inbox().join("other.csv")).unwrap();
    let world = fixed(world);
    world.once(0);
    let before = world.tables();
    let replay = world.run(&["quarantine", "replay"]);
    assert!(replay.code == 1 && replay.stderr.contains("other.csv is loaded"), "{replay:?}");
    assert_eq!((world.tables(), open(&world)), (before, 1));
}

/// The first generation loads some records and then fails. The second one reads all of them.
#[test]
fn an_export_has_the_records_of_a_failed_generation_once() {
    let world = world().with("limits.max_quarantined", "1");
    let good = |from: u32, to: u32| (from..to).map(|n| format!("{n},w{n}\n")).collect::<String>();
    world.drop_file("1.csv", format!("id,who\n{}1.0,x\n2.0,y\n{}", good(0, 12_000), good(12_000, 60_000)));
    world.once(1);
    let receipt = world.receipt("1.csv");
    let loaded = receipt["loaded"].as_u64().unwrap();
    assert!(receipt["state"] == "failed" && (1..60_000).contains(&loaded), "{receipt}");
    let exported = |world: &World| world.run(&["export"]).stdout.lines().count() as u64 - 1;
    assert_eq!(exported(&world), loaded);
    let world = fixed(world);
    world.once(0);
    assert_eq!((world.generations("1.csv"), exported(&world)), (2, 60_002));
}

/// The copy has only the beginning of the file, so it is no reason to discard what follows.
#[test]
fn a_file_that_failed_after_it_grew_is_no_duplicate_of_its_beginning() {
    let world = world();
    let beginning: String = (0..400).map(|n| format!("{n}.0,a{n}\n")).collect();
    let beginning = format!("id,who\n{beginning}");
    world.drop_file("1.csv", &beginning);
    world.once(1);
    let more: String = (0..100).map(|n| format!("{n},b{n}\n")).collect();
    world.drop_file("1.csv", format!("{beginning}{more}"));
    world.once(1);
    assert_eq!(states(&world, "1.csv"), "failed");
    let world = fixed(world);
    world.drop_file("2.csv", &beginning);
    assert_eq!(world.run(&["load", world.path("inbox/2.csv").to_str().unwrap()]).code, 0);
    let replay = world.run(&["quarantine", "replay"]);
    assert_eq!(replay.code, 1, "the file is about to be read again: {replay:?}");
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!((&world.receipt("1.csv")["loaded"], open(&world)), (&json!(500), 0));
}

#[test]
fn records_of_an_unfinished_delivery_that_loaded_nothing_are_discarded_when_its_file_is_read_again() {
    let world = world();
    world.drop_file("1.csv", "id,who\n1.0,a\n2.0,\"b");
    world.once(1);
    assert_eq!((states(&world, "1.csv").as_str(), open(&world)), ("incomplete", 1));
    let world = fixed(world);
    world.drop_file("1.csv", "id,who\n1.0,a\n2.0,\"b\"\n");
    world.once(0);
    assert_eq!((world.generations("1.csv"), world.accounts()["t"], open(&world)), (2, (2, 0), 0));
    assert_eq!(world.run(&["quarantine", "replay"]).code, 0);
    assert_eq!(world.accounts()["t"], (2, 0));
}
