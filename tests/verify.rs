//! `needledrop verify`: rows that were changed behind the program's back are found, with the record they should come from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper must fail its test")]

mod common;
#[path = "verify/daemon.rs"]
mod daemon;

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

/// Values and stamps are as if nobody had changed them, so a later undo works.
#[test]
fn wrong_rows_are_repaired() {
    let world = loaded();
    world.drop_file("3.csv", "k,v,at,x\n2,,,7.5\n");
    world.once(1);
    let before = world.dump();
    let store = rusqlite::Connection::open(world.store()).unwrap();
    store
        .execute_batch(
            "DELETE FROM t WHERE k IN (2, 4); UPDATE t SET v = 'other', at = NULL WHERE k = 1; \
             INSERT INTO u (v, k, x, _stamp) VALUES ('z', 9, 1.0, 1); UPDATE u SET x = NULL WHERE k = 4;",
        )
        .unwrap();
    drop(store);
    let repaired = world.json(&["verify", "--repair"]);
    assert_eq!((counts(&repaired, 0), counts(&repaired, 1)), ([2, 2, 1, 0], [6, 0, 1, 1]));
    assert_eq!([0, 1].map(|table| repaired["tables"][table]["repaired"].as_u64().unwrap()), [3, 2]);
    let tables =
        |dump: &std::collections::BTreeMap<String, common::Rows>| ["t", "u"].map(|name| dump[name].clone());
    assert_eq!(tables(&world.dump()), tables(&before));
    verified(&world, 0);
    assert!(world.run(&["verify", "--repair"]).stdout.contains("repaired 0 rows"));
    fs::rename(world.inbox().join("1.csv"), world.path("1.csv")).unwrap();
    let refused = world.run(&["verify", "--repair"]);
    assert!(refused.code == 1 && refused.stdout.contains("repaired nothing"), "{refused:?}");
    assert_eq!(tables(&world.dump()), tables(&before));
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

/// The keys of these rows, each in both tables of `many`.
const MANY: u64 = 4000;

fn many() -> World {
    let world = World::of(
        "source:\n  folder: inbox\n  columns: { k: int, v: text, d: double }\ntables:\n  \
         t: { partition_key: [k], columns: [v] }\n  \
         u: { partition_key: [d, v], clustering_key: [k] }\nstore: { sqlite: { path: store.db } }\n",
    );
    let rows: String = (0..MANY).map(|k| format!("{k},v{k},-{}.0\n", k % 1000)).collect();
    world.drop_file("1.csv", format!("k,v,d\n{rows}"));
    world.once(0);
    world
}

/// Whether a number is near the one that a sample of 20 % is expected to have: 8 standard deviations.
fn is_near(found: u64, all: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (found, all) = (found as f64, all as f64);
    (found - 0.2 * all).abs() < 8.0 * (all * 0.2 * 0.8).sqrt()
}

#[test]
fn a_sample_finds_its_share_of_the_wrong_rows_and_no_others() {
    let world = many();
    for _ in 0..3 {
        let right = world.run(&["verify", "--sample", "20%", "--rate", "10000000", "--json"]);
        assert_eq!(right.code, 0, "{right:?}");
        let right = right.json();
        assert_eq!((&right["sample"], &right["loaded_meanwhile"]), (&json!("20 %"), &json!(false)));
        for table in [0, 1] {
            let [rows, wrong @ ..] = counts(&right, table);
            assert!(is_near(rows, MANY) && wrong == [0, 0, 0], "{right}");
        }
    }
    let store = rusqlite::Connection::open(world.store()).unwrap();
    let sql = "DELETE FROM t WHERE k % 4 = 0; UPDATE t SET v = 'other' WHERE k % 4 = 1; \
               INSERT INTO t (k, v, _stamp) SELECT k + 100000, v, 1 FROM t WHERE k % 4 = 2;";
    store.execute_batch(sql).unwrap();
    let found = world.run(&["verify", "t", "--sample", "20%", "--json"]);
    assert_eq!(found.code, 1);
    let [rows, wrong @ ..] = counts(&found.json(), 0);
    assert!(is_near(rows, MANY) && wrong.iter().all(|wrong| is_near(*wrong, MANY / 4)), "{rows} {wrong:?}");
    let all = world.run(&["verify", "t", "--sample", "100%", "--json"]).json();
    assert_eq!(counts(&all, 0), [MANY, MANY / 4, MANY / 4, MANY / 4]);
    let told = world.run(&["verify", "t", "--sample", "20%"]).stdout;
    assert!(told.contains("a sample of 20 % compared with 4,000 records"), "{told}");
    for wrong in ["0%", "5", "200%"] {
        let refused = world.run(&["verify", "--sample", wrong]);
        assert!(refused.code == 2 && refused.stderr.contains("like 1%"), "{refused:?}");
    }
}
