//! `needledrop verify`: rows that were changed behind the program's back are found, with the record they should come from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper must fail its test")]

mod common;

use std::fs;

use common::World;
use serde_json::{Value as Json, json};

const YAML: &str = "source:\n  folder: inbox\n  columns: { k: int, v: text, at: timestamp, x: double }\n\
                    tables:\n  t: { partition_key: [k], columns: [v, at, x] }\n  \
                    u: { partition_key: [v], clustering_key: [{ column: k, order: desc }], columns: [x], empty: clear }\n\
                    store: { sqlite: { path: store.db } }\n";

fn loaded() -> World {
    let world = World::of(YAML);
    world.drop_file("1.csv", "k,v,at,x\n1,a,2024-01-01T00:00:00Z,0.1\n2,b,,2.5\n3,c,2024-01-03,\n");
    world.drop_file("2.csv", "k,v,at,x\n2,\"b\nb\",2024-02-02,\nx,y,,\n4,d,,1e300\n");
    world.once(1);
    world
}

fn verified(world: &World, code: i32) -> Json {
    let output = world.run(&["verify", "--json"]);
    assert_eq!(output.code, code, "{output:?}");
    output.json()
}

/// Returns rows, missing, different and extra rows of a table.
fn counts(verified: &Json, table: usize) -> [u64; 4] {
    ["rows", "missing", "different", "extra"].map(|what| verified["tables"][table][what].as_u64().unwrap())
}

#[test]
fn tables_that_were_left_alone_have_what_the_files_give() {
    let world = loaded();
    let found = verified(&world, 0);
    assert_eq!((counts(&found, 0), counts(&found, 1)), ([4, 0, 0, 0], [5, 0, 0, 0]));
    assert_eq!(
        (&found["deliveries"], &found["records"], &found["not_compared"]),
        (&json!(2), &json!(5), &json!([]))
    );
    let left = fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
    let mut left = left.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert!(!left.any(|name| name.starts_with("needledrop-verify-") && name.ends_with(".db-journal")));
}

#[test]
fn missing_different_and_extra_rows_are_named_by_file_and_line() {
    let world = loaded();
    let store = world.open_store();
    drop(store);
    let store = rusqlite::Connection::open(world.store()).unwrap();
    store
        .execute_batch(
            "DELETE FROM t WHERE k = 4; UPDATE t SET v = 'other', x = NULL WHERE k = 2; \
         INSERT INTO u (v, k, x, _stamp) VALUES ('z', 9, 1.0, 1);",
        )
        .unwrap();
    drop(store);
    let found = verified(&world, 1);
    assert_eq!((counts(&found, 0), counts(&found, 1)), ([3, 1, 1, 0], [6, 0, 0, 1]));
    let text = world.run(&["verify"]);
    assert_eq!(text.code, 1);
    for line in [
        "t  k=2: v is \"other\", expected \"b\\nb\"; x is empty, expected 2.5 (2.csv, line 2)",
        "t  k=4: missing (2.csv, line 5)",
        "u  v=\"z\", k=9: extra: no kept file gives it",
    ] {
        assert!(text.stdout.lines().any(|told| told == line), "{line}\n{}", text.stdout);
    }
    let only = world.run(&["verify", "u"]);
    assert!(only.code == 1 && !only.stdout.contains("\nt "), "{only:?}");
    let unknown = world.run(&["verify", "w"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("there is no table `w`"), "{unknown:?}");
}

#[test]
fn what_cannot_be_compared_is_named() {
    let world = loaded();
    fs::rename(world.inbox().join("1.csv"), world.path("1.csv")).unwrap();
    let found = verified(&world, 1);
    assert_eq!((&found["not_compared"][0]["file"], counts(&found, 0)), (&json!("1.csv"), [4, 0, 1, 2]));
    fs::rename(world.path("1.csv"), world.inbox().join("1.csv")).unwrap();
    let declared = YAML
        .replace("columns: [v, at, x] }", "columns: [v, at, x] }\n  w: { partition_key: [k], columns: [v] }");
    fs::write(world.path("config.yaml"), declared).unwrap();
    world.once(0);
    let behind = world.run(&["verify", "w"]);
    assert!(behind.code == 1 && behind.stdout.contains("load --table w"), "{behind:?}");
    world.json(&["load", "--table", "w"]);
    assert_eq!(counts(&verified(&world, 0), 1), [4, 0, 0, 0]);
}

#[test]
fn growth_undo_and_replay_are_verified_too() {
    let world = loaded();
    world.append("1.csv", "5,e,,5\n2,b,,7\n");
    world.once(0);
    world.json(&["undo", "2.csv"]);
    assert_eq!(counts(&verified(&world, 0), 0), [4, 0, 0, 0]);
    assert_eq!(world.run(&["load", "2.csv", "--again"]).code, 1);
    assert_eq!(counts(&verified(&world, 0), 0), [5, 0, 0, 0]);
    fs::write(world.path("config.yaml"), YAML.replace("k: int", "k: text")).unwrap();
    let refused = world.run(&["verify"]);
    assert_eq!(refused.code, 2, "{refused:?}");
}
