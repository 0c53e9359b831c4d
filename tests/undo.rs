//! `needledrop undo`: the tables are as if the delivery had never been, and its file is not loaded again by itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper must fail its test")]

mod common;
#[path = "undo/model.rs"]
mod model;
#[path = "common/stories.rs"]
mod stories;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::time::Duration;

use common::{Rows, World};
use model::{Line, Model, Subject};
use proptest::prelude::*;
use serde_json::json;

/// Two tables with different keys and different rules for empty values.
const YAML: &str = "source:\n  folder: inbox\n  tail_after: 1h\n  columns: { k: int, v: text, w: text }\n\
                    tables:\n  t: { partition_key: [k], columns: [v, w] }\n  \
                    u: { partition_key: [v], clustering_key: [k], columns: [w], empty: clear }\n\
                    store: { sqlite: { path: store.db } }\n";

/// A world with three files. The records of `2.csv` are before, between and after those of the others.
fn loaded() -> World {
    let world = World::of(YAML);
    world.drop_file("1.csv", "k,v,w\n1,a,A\n2,b,B\n3,c,C\n");
    world.drop_file("2.csv", "k,v,w\n2,x,\n3,c,Z\n4,d,D\n4,d,E\n");
    world.drop_file("3.csv", "k,v,w\n3,c,\n5,e,E\nx,y,z\n4,d,\n");
    world.once(1);
    world
}

fn rows(world: &World, table: &str) -> Vec<serde_json::Value> {
    world.tables()[table].iter().map(|row| json!(row)).collect()
}

#[test]
fn values_of_other_files_come_back() {
    let world = loaded();
    let dry = world.json(&["undo", "2.csv", "--dry-run"]);
    assert_eq!(rows(&world, "t")[1], json!([2, "x", "B"]), "a dry run changes nothing");
    let done = world.json(&["undo", "2.csv"]);
    assert_eq!(done["tables"], dry["tables"]);
    let counts =
        |table: &str| ["removed", "restored"].map(|what| done["tables"][table][what].as_u64().unwrap());
    assert_eq!((counts("t"), counts("u")), ([0, 3], [1, 1]));
    let removed = json!([{ "key": ["x", 2], "restored": false }, { "key": ["d", 4], "restored": true }]);
    assert_eq!(done["tables"]["u"]["examples"], removed);
    let expected = [json!([1, "a", "A"]), json!([2, "b", "B"]), json!([3, "c", "C"]), json!([4, "d", null])];
    assert_eq!(rows(&world, "t")[..4], expected);
    let expected = [json!(["a", 1, "A"]), json!(["b", 2, "B"]), json!(["c", 3, null]), json!(["d", 4, null])];
    assert_eq!(rows(&world, "u")[..4], expected);
    let receipt = world.receipt("2.csv");
    assert_eq!((&receipt["state"], &receipt["loaded"]), (&json!("undone"), &json!(4)));
    assert_eq!(receipt["detail"], "rows removed: u 1; rows restored: t 3, u 1");
    assert_eq!(world.receipt("3.csv")["tables"]["t"]["collisions"], 1, "only 3 is in an earlier file");
    let status = world.json(&["status"]);
    assert_eq!(status["states"], json!({ "loaded": 2, "undone": 1 }));
}

/// A file that outgrows its range of stamps takes another, and the other file is in between.
#[test]
fn a_value_between_the_first_and_the_last_record_of_a_file_comes_back() {
    let world = World::of(YAML);
    world.drop_file("a.csv", "k,v,w\n1,a,A\n");
    world.drop_file("b.csv", "k,v,w\n1,a,B\n");
    world.once(0);
    world.append("a.csv", "1,a,A\n".repeat(20));
    world.once(0);
    assert_eq!(world.receipt("a.csv")["stamps"].as_array().unwrap().len(), 2);
    assert_eq!(rows(&world, "t"), [json!([1, "a", "A"])]);
    world.json(&["undo", "a.csv"]);
    assert_eq!(
        (rows(&world, "t"), rows(&world, "u")),
        (vec![json!([1, "a", "B"])], vec![json!(["a", 1, "B"])])
    );
    assert_eq!(world.receipt("b.csv")["tables"]["t"]["collisions"], 0);
}

#[test]
fn an_undone_file_and_its_copies_are_loaded_again_only_on_request() {
    let world = loaded();
    world.json(&["undo", "2.csv"]);
    let after = world.tables();
    let again = world.json(&["undo", "2.csv"]);
    assert_eq!((&again["was_undone"], world.tables()), (&json!(true), after.clone()));
    world.once(0);
    fs::copy(world.inbox().join("2.csv"), world.inbox().join("4.csv")).unwrap();
    world.once(0);
    assert_eq!((world.states()["4.csv"].as_str(), world.tables()), ("duplicate", after.clone()));
    assert!(world.receipt("4.csv")["detail"].as_str().unwrap().contains("which was undone"));
    let named = world.run(&["load", "2.csv"]);
    assert!(named.stderr.contains("was undone") && named.stderr.contains("--again"), "{named:?}");
    world.append("2.csv", "9,i,I\n");
    world.once(0);
    assert_eq!((world.generations("2.csv"), world.tables()), (1, after.clone()), "a file that grew");
    world.json(&["load", "2.csv", "--again"]);
    assert_eq!((world.generations("2.csv"), rows(&world, "t").len()), (2, 6));
    world.json(&["undo", "2.csv"]);
    assert_eq!(world.tables(), after);
    world.drop_file("2.csv", "k,v,w\n7,new,N\n");
    world.once(0);
    assert_eq!(rows(&world, "t").last(), Some(&json!([7, "new", "N"])), "other content is loaded");
}

#[test]
fn a_file_that_is_needed_and_gone_is_named_before_anything_is_written() {
    let world = loaded();
    let before = world.dump();
    fs::rename(world.inbox().join("1.csv"), world.path("1.csv")).unwrap();
    let refused = world.run(&["undo", "2.csv"]);
    assert_eq!((refused.code, world.dump()), (1, before), "{refused:?}");
    assert!(
        refused.stderr.contains("1.csv, generation 1") && refused.stderr.contains("--force"),
        "{refused:?}"
    );
    let forced = world.json(&["undo", "2.csv", "--force"]);
    assert_eq!(forced["lost"][0]["file"], "1.csv");
    assert_eq!(rows(&world, "t")[1], json!([2, null, "B"]), "what the row shows of other files stays");
    // The tables are behind by the file, and have its values again once it is back.
    fs::rename(world.path("1.csv"), world.inbox().join("1.csv")).unwrap();
    for table in ["t", "u"] {
        world.json(&["load", "--table", table]);
    }
    assert_eq!(rows(&world, "t")[1], json!([2, "b", "B"]));
}

#[test]
fn what_cannot_be_taken_back_is_refused_with_the_next_step() {
    let world = loaded();
    fs::copy(world.inbox().join("1.csv"), world.inbox().join("copy.csv")).unwrap();
    world.drop_file("bad.csv", "a,b\n1,2\n");
    world.once(1);
    world.drop_file("3.csv", "k,v,w\n8,h,H\n");
    world.once(0);
    let before = world.dump();
    for (arguments, told) in [
        ("copy.csv", "the same bytes as 1.csv"),
        ("bad.csv", "nothing to undo"),
        ("none.csv", "not in the ledger"),
        ("3.csv", "generations 1, 2 of 3.csv have rows"),
        ("1.csv --generation 7", "has no generation 7"),
    ] {
        let refused = world.run(&[&["undo"], &arguments.split(' ').collect::<Vec<_>>()[..]].concat());
        assert!(matches!(refused.code, 1 | 2), "{arguments}: {refused:?}");
        assert!(
            refused.stderr.contains(told) && refused.stderr.contains("next:"),
            "{arguments}: {refused:?}"
        );
    }
    let undeclared =
        YAML.replace("  u: { partition_key: [v], clustering_key: [k], columns: [w], empty: clear }\n", "");
    fs::write(world.path("config.yaml"), undeclared).unwrap();
    let refused = world.run(&["undo", "1.csv"]);
    assert!(refused.code == 2 && refused.stderr.contains("table u has rows of 1.csv"), "{refused:?}");
    assert_eq!(world.dump(), before);
}

#[test]
fn open_records_of_an_undone_file_are_discarded() {
    let world = loaded();
    world.json(&["undo", "3.csv"]);
    let receipt = world.receipt("3.csv");
    assert_eq!(receipt["quarantine"], json!({ "open": 0, "replayed": 0, "discarded": 1 }));
    assert_eq!(world.run(&["receipt", "3.csv"]).code, 0);
    assert_eq!(world.json(&["quarantine", "list"]), json!([]), "no entry is open");
}

#[test]
fn rows_that_a_user_deleted_do_not_come_back() {
    let world = World::of(YAML);
    world.drop_file("1.csv", "k,v,w\n1,secret,secret\n");
    world.once(0);
    rusqlite::Connection::open(world.store())
        .unwrap()
        .execute_batch("DELETE FROM t; DELETE FROM u;")
        .unwrap();
    world.drop_file("2.csv", "k,v,w\n1,b,B\n");
    world.once(0);
    world.drop_file("3.csv", "k,v,w\n1,c,\n");
    world.once(0);
    world.json(&["undo", "2.csv"]);
    assert_eq!(rows(&world, "t"), [json!([1, "c", null])]);
}

#[test]
fn a_file_of_another_configuration_is_not_taken_for_what_was_loaded() {
    let world = loaded();
    let before = world.dump();
    let changed = YAML.replace("  folder: inbox\n", "  folder: inbox\n  format: { null: [A, B] }\n");
    fs::write(world.path("config.yaml"), changed).unwrap();
    let refused = world.run(&["undo", "2.csv"]);
    assert!(refused.code == 1 && refused.stderr.contains("under another configuration"), "{refused:?}");
    assert_eq!(world.dump(), before);
    assert_eq!(world.run(&["undo", "2.csv", "--force"]).code, 0);
}

#[test]
fn a_trigger_that_rejects_the_undo_is_named() {
    let world = loaded();
    let store = rusqlite::Connection::open(world.store()).unwrap();
    store
        .execute_batch("CREATE TRIGGER no BEFORE UPDATE ON t BEGIN SELECT raise(ABORT, 'not now'); END;")
        .unwrap();
    drop(store);
    let before = world.tables();
    let refused = world.run(&["undo", "2.csv"]);
    assert!(refused.code == 2 && refused.stderr.contains("table t rejects the undo: not now"), "{refused:?}");
    assert_eq!(world.tables(), before);
}

#[test]
fn a_dry_run_needs_no_table_that_was_added_and_leaves_no_file() {
    let world = loaded();
    let added = YAML.replace("store:", "  n: { partition_key: [w], columns: [k] }\nstore:");
    fs::write(world.path("config.yaml"), added).unwrap();
    assert_eq!(world.run(&["undo", "3.csv", "--dry-run", "--force"]).code, 0);
    let left = fs::read_dir(world.path(".")).unwrap().filter_map(Result::ok);
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("-undo")));
}

#[test]
fn an_undone_file_that_grows_is_reported() {
    let world = loaded();
    world.json(&["undo", "2.csv"]);
    world.append("2.csv", "9,i,I\n");
    let grown = world.run(&["run", "--once"]);
    assert!(
        grown.stderr.contains("grew after it was undone") && grown.stderr.contains("load --again"),
        "{grown:?}"
    );
}

/// A world with an SQLite store.
struct InSqlite(World);

impl Deref for InSqlite {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl InSqlite {
    fn query<T>(&self, sql: &str, row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        if !self.store().exists() {
            return Vec::new();
        }
        let store = self.open_store();
        let mut statement = store.prepare(sql).unwrap();
        let found = statement.query_map([], row).unwrap();
        found.collect::<Result<_, _>>().unwrap()
    }
}

impl Subject for InSqlite {
    fn deliveries(&self) -> Vec<Line> {
        let ranges: Vec<(i64, (i64, i64, i64))> = self
            .query("SELECT delivery, first, base, records FROM _needledrop_stamps ORDER BY base", |row| {
                Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?)))
            });
        let sql = "SELECT id, path, generation, state, bytes, records, loaded FROM _needledrop_deliveries ORDER BY id";
        self.query(sql, |row| {
            let id: i64 = row.get(0)?;
            let stamps = ranges.iter().filter(|(of, _)| *of == id).map(|(_, range)| *range).collect();
            let (file, generation, state) = (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Line {
                file,
                generation,
                state,
                bytes: row.get(4)?,
                records: row.get(5)?,
                loaded: row.get(6)?,
                stamps,
            })
        })
    }

    fn contents(&self) -> [Rows; 3] {
        let mut tables = if self.store().exists() { self.tables() } else { BTreeMap::new() };
        ["t", "u", "n"].map(|table| tables.remove(table).unwrap_or_default())
    }

    fn counted(&self) -> Vec<(usize, usize)> {
        let counted = self.query(
            "SELECT table_name, sum(rows - collisions) FROM _needledrop_counts JOIN _needledrop_deliveries ON id = delivery \
             WHERE state <> 'undone' GROUP BY table_name",
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, usize>(1)?)),
        );
        let tables = if self.store().exists() { self.tables() } else { BTreeMap::new() };
        counted.into_iter().map(|(table, rows)| (tables[&table].len(), rows)).collect()
    }

    fn spoil(&self, statement: &str) {
        let store = rusqlite::Connection::open(self.store()).unwrap();
        // The table may not exist yet.
        let _ = store.execute_batch(statement);
    }
}

/// In any order of loads, growth, new generations, undos and kills, the tables have what the deliveries that count give.
#[test]
fn the_tables_are_as_if_undone_deliveries_had_never_been() {
    let yaml = YAML.replace("store:", &format!("{}store:", model::NEWEST));
    let acts = (any::<bool>(), prop::collection::vec(model::act(), 4..24));
    stories::play("undo", Duration::from_secs(5), 200, acts, |(mirrors, acts)| {
        let on_replace = if *mirrors { "mirror" } else { "upsert" };
        Model::new(InSqlite(World::of(&yaml).with("source.on_replace", on_replace)), true).tell(acts);
    });
}
