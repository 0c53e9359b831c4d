//! Tables with `newest_by`: the record with the greatest value of a column gives the row of its key, whichever came last.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper must fail its test")]

mod common;
#[path = "common/newest.rs"]
mod newest;

use std::ops::{Deref, DerefMut};

use common::World;
use newest::{DECLARATION_CHANGES, Subject, YAML, deliver, put};
use serde_json::{Value as Json, json};

struct InSqlite(World);

impl Deref for InSqlite {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for InSqlite {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

impl Subject for InSqlite {
    fn rows(&self) -> Vec<String> {
        let text = |value: &Json| match value {
            Json::Null => "-".to_owned(),
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        let rows = self.tables().remove("n").unwrap_or_default();
        rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
    }
}

fn world() -> InSqlite {
    InSqlite(World::of(&format!("{YAML}store: {{ sqlite: {{ path: store.db }} }}\n")))
}

#[test]
fn the_newest_record_is_the_row() {
    newest::the_newest_record_is_the_row(&world());
}

#[test]
fn a_file_grows_after_another_was_loaded() {
    newest::a_file_grows_after_another_was_loaded(&world());
}

#[test]
fn after_an_undo_the_next_newest_record_is_the_row() {
    newest::after_an_undo_the_next_newest_record_is_the_row(&world());
}

#[test]
fn a_replayed_record_wins_if_it_is_newer() {
    assert_eq!(newest::a_replayed_record_wins_if_it_is_newer(&mut world()), 4);
}

#[test]
fn a_backfill_gives_the_newest_record() {
    DECLARATION_CHANGES
        .into_iter()
        .for_each(|change| newest::a_backfill_gives_the_newest_record(&mut world(), change));
}

#[test]
fn a_record_without_the_value_goes_to_quarantine() {
    let world = world();
    let receipt = deliver(&world, "a.csv", "1,5,a,A\n");
    assert_eq!(receipt["loaded"], 1);
    put(&world, "b.csv", "1,,b,B\n2,1,b,B\n");
    world.once(1);
    let entries = world.json(&["quarantine", "list", "--file", "b.csv"]);
    let detail = entries[0]["detail"].as_str().unwrap();
    assert!(detail.contains("is empty, and n needs it to tell which record is newer"), "{entries}");
}

#[test]
fn a_wrong_row_is_named_by_the_record_that_gives_it() {
    let world = world();
    deliver(&world, "a.csv", "1,5,a,A\n1,6,newest,N\n");
    deliver(&world, "b.csv", "1,1,b,B\n");
    rusqlite::Connection::open(world.store()).unwrap().execute("UPDATE n SET v = 'wrong'", []).unwrap();
    let found = world.run(&["verify", "--json"]);
    assert_eq!(found.code, 1, "{found:?}");
    let found = found.json();
    let example = &found["tables"][1]["examples"][0];
    assert_eq!((&example["file"], &example["line"]), (&json!("a.csv"), &json!(3)), "{found}");
}

#[test]
fn a_table_that_cannot_have_it_is_refused_with_the_reason() {
    let refused = |from: &str, to: &str, says: &str| {
        let world = World::of(&YAML.replace(from, to));
        let output = world.run(&["check"]);
        assert!(output.code == 2 && output.stdout.contains(says), "{says}: {output:?}");
    };
    refused("newest_by: at", "newest_by: k", "`k` is not among the columns after the key");
    refused("newest_by: at", "newest_by: when", "there is no column `when`");
    refused("at: int", "at: uuid", "`at` is of type uuid, whose values cannot be ordered");
    refused("newest_by: at", "newest_by: at, empty: keep", "a row would mix values of several records");
    let ttl = "newest_by: at, options: { default_time_to_live: 60 }";
    refused("newest_by: at", ttl, "an older record could replace the newest once it has expired");
}
