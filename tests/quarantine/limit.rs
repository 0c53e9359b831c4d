//! Tests of files of which too few records can be loaded.

use std::fs;

use serde_json::json;

use crate::common::World;

const FILE: &str = "a.csv";

/// A world with one table, whose column `v` is a number.
fn world() -> World {
    World::of("source:\n  columns: { k: text, v: int }\ntables:\n  t: { partition_key: [k], columns: [v] }\n")
}

fn open_entries(world: &World) -> usize {
    world.json(&["quarantine", "list"]).as_array().unwrap().len()
}

/// Every line ends with a delimiter.
const DELIMITED: &str = "k,v\na,1,\nb,2,\nc,3,\n";

#[test]
fn a_file_of_which_nothing_could_be_loaded_fails_and_stays() {
    let world = world().with("source.after", "delete");
    world.drop_file(FILE, "k,v\na,x\nb,y\n");
    let output = world.run(&["run", "--once"]);
    assert_eq!(output.code, 1, "{output:?}");
    let why =
        "none of its 2 records could be loaded: 2 in column `v` (value), the first on line 2: \"x\" must be";
    assert!(output.stderr.contains(&format!("failed: {why}")), "{output:?}");
    assert!(output.stderr.contains("records=2 loaded=0 skipped=0 quarantined=2"), "{output:?}");
    let receipt = world.receipt(FILE);
    assert_eq!(
        (&receipt["state"], &receipt["closes"], &receipt["quarantined"]),
        (&json!("failed"), &json!(true), &json!(2))
    );
    assert!(receipt["detail"].as_str().unwrap().starts_with(why), "{receipt}");
    assert!(world.run(&["status"]).stdout.contains(why));
    assert!(world.inbox().join(FILE).exists());
    assert_eq!(world.once(0)["deliveries"], json!({}), "it is tried again only if something changes");
    assert!(world.inbox().join(FILE).exists());
}

#[test]
fn a_file_whose_settings_are_corrected_is_loaded_again() {
    let mut world = world();
    world.drop_file(FILE, DELIMITED);
    world.once(1);
    assert_eq!(open_entries(&world), 3);
    world.set("source.format", "{ extra_fields: ignore_empty_last }");
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!((world.accounts()["t"], world.generations(FILE)), ((3, 0), 2));
    assert_eq!(open_entries(&world), 0, "the records of the failed generation were discarded");
    let replay = world.run(&["quarantine", "replay"]);
    assert_eq!(replay.code, 0, "{replay:?}");
    assert_eq!(world.accounts()["t"], (3, 0));
}

#[test]
fn a_file_whose_records_are_replayed_is_loaded_and_not_read_again() {
    for is_gone in [false, true] {
        let mut world = world();
        world.drop_file(FILE, DELIMITED);
        world.once(1);
        world.set("source.format", "{ extra_fields: ignore_empty_last }");
        if is_gone {
            fs::remove_file(world.inbox().join(FILE)).unwrap();
        }
        let replay = world.run(&["quarantine", "replay"]);
        assert_eq!(replay.code, 0, "{replay:?}");
        let receipt = world.receipt(FILE);
        assert_eq!(
            (&receipt["state"], &receipt["loaded"], &receipt["closes"]),
            (&json!("loaded"), &json!(3), &json!(true))
        );
        assert_eq!(world.once(0)["deliveries"], json!({}));
        assert_eq!((world.accounts()["t"], world.generations(FILE)), ((3, 0), 1));
    }
}

/// Otherwise a growing file without a good record would have a new generation, with all its records, at each growth.
#[test]
fn a_file_that_grows_after_it_failed_is_continued() {
    let world = world();
    world.drop_file(FILE, "k,v\na,x\n");
    world.once(1);
    for n in 1..5 {
        world.append(FILE, "b,y\n");
        assert_eq!(world.once(1)["records"]["read"], 1, "growth {n}");
        let receipt = world.receipt(FILE);
        assert_eq!((&receipt["state"], &receipt["quarantined"]), (&json!("failed"), &json!(n + 1)));
    }
    assert_eq!((world.generations(FILE), open_entries(&world)), (1, 5));
    world.append(FILE, "c,3\n");
    let output = world.run(&["run", "--once"]);
    assert_eq!(
        (world.generations(FILE), world.accounts()["t"], open_entries(&world)),
        (1, (1, 0), 5),
        "{output:?}"
    );
    assert_eq!(world.receipt(FILE)["state"], "loaded");
}

#[test]
fn a_failed_file_whose_beginning_changed_is_read_from_its_beginning() {
    let world = world();
    world.drop_file(FILE, "k,v\na,x\n");
    world.once(1);
    world.drop_file(FILE, "k,v\na,1\nb,2\n");
    world.once(0);
    assert_eq!((world.generations(FILE), world.accounts()["t"], open_entries(&world)), (2, (2, 0), 0));
}

#[test]
fn a_file_in_another_form_stops_before_its_first_row() {
    let world = world();
    let line = |n: u32| if n.is_multiple_of(1000) { format!("{n},{n}\n") } else { format!("{n},{n}.0\n") };
    world.drop_file(FILE, format!("k,v\n{}", (0..100_000).map(line).collect::<String>()));
    let summary = world.once(1);
    assert_eq!(summary["records"]["read"], 0, "{summary}");
    let receipt = world.receipt(FILE);
    assert_eq!(
        (&receipt["state"], &receipt["records"], &receipt["closes"]),
        (&json!("failed"), &json!(0), &json!(true))
    );
    let why = "9990 of 10000 records were refused, more than limits.max_quarantined (50 %), so none of them was loaded: \
               9990 in column `v` (value), the first on line 3: \"1.0\" must be";
    assert!(receipt["detail"].as_str().unwrap().starts_with(why), "{receipt}");
    assert_eq!((world.tables()["t"].len(), open_entries(&world)), (0, 0));
}

#[test]
fn a_file_that_grew_bad_keeps_the_rows_that_it_had() {
    let world = world();
    world.drop_file(FILE, "k,v\na,1\nb,x\n");
    world.once(1);
    world.append(FILE, "c,x\n".repeat(200));
    assert_eq!(world.once(1)["deliveries"], json!({ "failed": 1 }));
    let receipt = world.receipt(FILE);
    assert_eq!(
        (&receipt["records"], &receipt["loaded"], &receipt["closes"]),
        (&json!(2), &json!(1), &json!(true))
    );
    let why = "201 of 202 records were refused, more than limits.max_quarantined (50 %), so no more of them were loaded; \
               the 1 loaded before is in the tables: 200 in column `v` (value), the first on line 4";
    assert!(receipt["detail"].as_str().unwrap().starts_with(why), "{receipt}");
    assert_eq!((world.tables()["t"].len(), open_entries(&world)), (1, 1));
}

#[test]
fn a_file_with_open_records_in_quarantine_is_deleted_once_they_are_settled() {
    let world = world().with("source.after", "delete");
    world.drop_file(FILE, "k,v\na,1\nb,x\n");
    let output = world.run(&["run", "--once"]);
    assert!(output.code == 1 && output.stderr.contains("it has records in quarantine"), "{output:?}");
    assert!(world.inbox().join(FILE).exists());
    assert_eq!(world.run(&["quarantine", "discard", "--all"]).code, 0);
    assert_eq!(world.once(0)["after"], json!({ "deleted": 1 }));
    assert!(!world.inbox().join(FILE).exists());
}

#[test]
fn a_file_that_failed_after_it_grew_is_read_again_and_not_replayed() {
    let mut world = world();
    let lines: String = (0..99).map(|n| format!("{n},{}\n", if n < 60 { "x" } else { "1" })).collect();
    world.drop_file(FILE, format!("k,v\n{lines}"));
    world.once(1);
    world.append(FILE, "100,1\n101,1\n");
    world.once(1);
    let receipt = world.receipt(FILE);
    assert_eq!((&receipt["state"], &receipt["loaded"]), (&json!("failed"), &json!(39)), "{receipt}");
    let why = "60 of 101 records were refused, more than limits.max_quarantined (50 %), so no more of them were loaded; \
               the 39 loaded before are in the tables: see `needledrop quarantine list`";
    assert!(receipt["detail"].as_str().unwrap().starts_with(why), "{receipt}");
    world.set("source.format", "{ null: [x] }");
    let replay = world.run(&["quarantine", "replay"]);
    assert!(replay.code == 1 && replay.stderr.contains("is read again from the beginning"), "{replay:?}");
    world.once(0);
    assert_eq!(world.tables()["t"].len(), 101);
    assert_eq!(open_entries(&world), 0);
}

#[test]
fn the_log_says_what_became_of_a_last_record_without_a_line_end() {
    for (record, what) in [("c,3", "is loaded as it is"), ("c,x", "is in quarantine")] {
        let world = world();
        world.drop_file(FILE, format!("k,v\na,1\n{record}"));
        let output = world.run(&["run", "--once"]);
        let told = format!("its last record has no line end and {what};");
        assert!(output.stderr.contains(&told), "{record}: {output:?}");
    }
}
