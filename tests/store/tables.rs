//! Tables that are dropped, altered or recreated from outside.

use serde_json::json;

use crate::common::World;
use crate::{csv, keys, sql, world};

fn loaded() -> World {
    let world = world();
    world.drop_file("a.csv", csv(&[(1, "a")]));
    world.once(0);
    world
}

/// Asserts the number of deliveries by which the table is behind.
fn assert_behind(world: &World, behind: u32) {
    let status = world.json(&["status"]);
    assert_eq!(status["tables"]["t"]["behind"], json!(behind), "{status}");
}

#[test]
fn a_table_that_is_dropped_or_altered_stops_the_run_with_the_next_step() {
    let ddl = "(k INTEGER NOT NULL, v TEXT, _stamp INTEGER NOT NULL, _first INTEGER, _cells TEXT, PRIMARY KEY (k)) \
               STRICT, WITHOUT ROWID";
    let cases = [
        ("DROP TABLE t".to_owned(), "table t was dropped"),
        ("ALTER TABLE t RENAME COLUMN v TO w".to_owned(), "table t was altered"),
        ("ALTER TABLE t ADD COLUMN w TEXT".to_owned(), "table t was altered"),
        (format!("DROP TABLE t; CREATE TABLE t {ddl}"), "table t was dropped and recreated"),
    ];
    for (statements, words) in cases {
        let world = loaded();
        let mut daemon = world.daemon();
        sql(&world, &statements);
        world.drop_file("b.csv", csv(&[(2, "b")]));
        assert_eq!(daemon.ended(), 2, "{statements}");
        let log = daemon.log();
        assert!(log.contains(words) && log.contains("next: "), "{log}");
        assert!(!log.contains("defect"), "{log}");
    }
}

#[test]
fn a_dropped_table_is_recreated_at_the_next_start_and_filled_from_kept_files() {
    let world = loaded();
    sql(&world, "DROP TABLE t");
    let daemon = world.daemon();
    world.drop_file("b.csv", csv(&[(2, "b")]));
    world.wait_for("b.csv", "loaded");
    drop(daemon);
    assert_behind(&world, 1);
    assert_eq!(world.run(&["load", "--table", "t"]).code, 0);
    assert_behind(&world, 0);
    assert_eq!(keys(&world), [1, 2]);
}

#[test]
fn a_table_that_was_recreated_by_hand_is_behind() {
    let world = loaded();
    let ddl = world.run(&["schema"]).stdout;
    let ddl = ddl.split(';').next().unwrap().lines().filter(|line| !line.starts_with("--"));
    let ddl: Vec<_> = ddl.collect();
    sql(&world, &format!("DROP TABLE t; {}", ddl.join("\n")));
    let output = world.run(&["run", "--once"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("was dropped and recreated"), "{output:?}");
    assert_behind(&world, 1);
    assert_eq!(world.run(&["load", "--table", "t"]).code, 0);
    assert_eq!(keys(&world), [1]);
    let output = world.run(&["run", "--once"]);
    assert!(!output.stderr.contains("recreated"), "reported only once: {output:?}");
    assert_behind(&world, 0);
}

#[test]
fn a_vacuum_or_a_new_index_does_not_count_as_a_recreated_table() {
    let world = loaded();
    let daemon = world.daemon();
    sql(&world, "CREATE INDEX mine ON t (v); CREATE TABLE also_mine (x); VACUUM");
    world.drop_file("b.csv", csv(&[(2, "b")]));
    world.wait_for("b.csv", "loaded");
    assert_eq!(daemon.get("/readyz").unwrap().0, 200);
    drop(daemon);
    sql(&world, "VACUUM; DROP TABLE also_mine");
    world.once(0);
    assert_behind(&world, 0);
    assert_eq!(keys(&world), [1, 2]);
}

#[test]
fn a_trigger_that_cannot_run_stops_the_run_with_the_next_step() {
    let world = loaded();
    sql(&world, "CREATE TRIGGER audit AFTER INSERT ON t BEGIN INSERT INTO missing VALUES (new.k); END");
    world.drop_file("b.csv", csv(&[(2, "b")]));
    let output = world.run(&["run", "--once"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("no such table: main.missing") && !output.stderr.contains("defect"),
        "{output:?}"
    );
    sql(&world, "DROP TRIGGER audit");
    world.once(0);
    assert_eq!(keys(&world), [1, 2]);
}
