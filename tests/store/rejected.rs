//! Rows rejected by a trigger, an index or a CHECK constraint that the user added (law 5).

use serde_json::{Value as Json, json};

use crate::common::World;
use crate::{csv, keys, sql, world};

const TRIGGER: &str =
    "CREATE TRIGGER guard BEFORE INSERT ON t WHEN new.v = 'no' BEGIN SELECT RAISE(ABORT, 'no no'); END";

fn account(world: &World, file: &str) -> Json {
    let receipt = world.receipt(file);
    assert_eq!(receipt["closes"], true, "{receipt}");
    json!([receipt["state"], receipt["loaded"], receipt["quarantined"]])
}

/// A world whose store exists and was changed by these SQL statements.
fn guarded(statements: &str) -> World {
    let world = world();
    world.drop_file("a.csv", csv(&[(1, "a")]));
    world.once(0);
    sql(&world, statements);
    world
}

#[test]
fn a_single_rejected_record_is_quarantined_with_the_error_of_the_store() {
    let update =
        "CREATE TRIGGER guard BEFORE UPDATE ON t WHEN new.v = 'no' BEGIN SELECT RAISE(ABORT, 'no no'); END";
    let made = "CREATE TABLE new (k INTEGER NOT NULL, v TEXT CHECK (v <> 'no'), _stamp INTEGER NOT NULL, \
                _first INTEGER, _cells TEXT, PRIMARY KEY (k)) STRICT, WITHOUT ROWID; \
                INSERT INTO new SELECT * FROM t; DROP TABLE t; ALTER TABLE new RENAME TO t";
    let cases = [
        (TRIGGER.to_owned(), 7, "no no"),
        (TRIGGER.to_owned(), 1, "no no"),
        (TRIGGER.replace("ABORT", "FAIL"), 7, "no no"),
        (TRIGGER.replace("ABORT", "ROLLBACK"), 7, "no no"),
        (TRIGGER.replace("RAISE(ABORT, 'no no')", "RAISE(IGNORE)"), 7, "ignored"),
        (TRIGGER.replace("RAISE(ABORT, 'no no')", "json(new.v)"), 7, "malformed JSON"),
        (update.to_owned(), 1, "no no"),
        (update.replace("RAISE(ABORT, 'no no')", "RAISE(IGNORE)"), 1, "ignored"),
        (
            "CREATE UNIQUE INDEX guard ON t (v); INSERT INTO t VALUES (9, 'no', 0, NULL, NULL)".to_owned(),
            7,
            "UNIQUE",
        ),
        (made.to_owned(), 7, "CHECK"),
    ];
    for (statements, key, words) in cases {
        let world = guarded(&statements);
        let daemon = world.daemon();
        world.drop_file("b.csv", csv(&[(6, "yes"), (key, "no"), (8, "well")]));
        world.drop_file("c.csv", csv(&[(9, "other")]));
        world.wait_for("b.csv", "loaded");
        world.wait_for("c.csv", "loaded");
        assert_eq!(account(&world, "b.csv"), json!(["loaded", 2, 1]), "{statements}");
        let entries = world.json(&["quarantine", "list"]);
        assert_eq!((&entries[0]["reason"], &entries[0]["line"]), (&json!("refused"), &json!(3)), "{entries}");
        assert!(entries[0]["detail"].as_str().unwrap().contains(words), "{entries}");
        let shown = world.run(&["quarantine", "show", "b.csv", "3"]);
        assert!(shown.stdout.contains(&format!("{key},no")), "the raw record: {shown:?}");
        assert_eq!(keys(&world), [1, 6, 8, 9], "{statements}");
        assert_eq!(json!(world.query("t", &["k=1"])), json!([[1, "a"]]), "{statements}");
        assert_eq!(daemon.get("/readyz").unwrap().0, 200);
    }
}

#[test]
fn a_rejected_record_is_in_no_table_and_counted_in_none() {
    let world = world();
    let world = world.with("tables.u", "{ partition_key: [v], clustering_key: [k] }");
    world.drop_file("a.csv", csv(&[(1, "a")]));
    world.once(0);
    sql(&world, &TRIGGER.replace("ON t", "ON u"));
    world.drop_file("b.csv", csv(&[(1, "x"), (7, "no"), (7, "y")]));
    world.once(1);
    assert_eq!(account(&world, "b.csv"), json!(["loaded", 2, 1]));
    let receipt = world.receipt("b.csv");
    assert_eq!(json!([receipt["tables"]["t"]["rows"], receipt["tables"]["t"]["collisions"]]), json!([2, 1]));
    assert_eq!(json!([receipt["tables"]["u"]["rows"], receipt["tables"]["u"]["collisions"]]), json!([2, 0]));
    let rows = world.query("t", &["k=7"]);
    assert_eq!(json!(rows), json!([[7, "y"]]));
}

/// The result depends neither on how records are divided into chunks nor on the number of rejected records.
#[test]
fn the_position_of_a_rejected_record_does_not_matter() {
    let mut world = guarded(TRIGGER).with("write.queue", "1");
    let all = |no: &dyn Fn(u32) -> bool, count: u32| -> String {
        let rows: Vec<(u32, &str)> = (0..count).map(|k| (k, if no(k) { "no" } else { "yes" })).collect();
        csv(&rows)
    };
    let cases = [
        ("first", all(&|k| k == 0, 6), json!(["loaded", 5, 1])),
        ("last", all(&|k| k == 5, 6), json!(["loaded", 5, 1])),
        ("two in a row", all(&|k| k == 2 || k == 3, 6), json!(["loaded", 4, 2])),
        ("nine in a row", all(&|k| (3..12).contains(&k), 15), json!(["loaded", 6, 9])),
        ("every second", all(&|k| k % 2 == 0, 24), json!(["loaded", 12, 12])),
    ];
    for (n, (what, bytes, expected)) in cases.into_iter().enumerate() {
        for window in ["1", "2", "4", "10000"] {
            world.set("write.window", window);
            let file = format!("{n}-{window}.csv");
            world.drop_file(&file, bytes.replace("yes", &format!("yes{n}-{window}")));
            world.run(&["run", "--once"]);
            assert_eq!(account(&world, &file), expected, "{what}, window {window}");
        }
    }
}

#[test]
fn many_rejections_in_a_row_fail_their_file_and_no_other() {
    let no = |count: usize| vec![(7, "no"); count];
    let cases = [
        ("all of three", no(3)),
        ("all of fifteen", no(15)),
        ("ten between others", [vec![(5, "yes")], no(10), vec![(6, "yes")]].concat()),
    ];
    for (what, rows) in cases {
        for window in ["1", "4", "10000"] {
            let world = guarded(TRIGGER).with("write.queue", "1").with("write.window", window);
            let world = world.with("source.files_at_once", "1");
            world.drop_file("b.csv", csv(&rows));
            world.drop_file("c.csv", csv(&[(9, "other")]));
            world.once(1);
            let receipt = world.receipt("b.csv");
            assert_eq!(receipt["state"], "failed", "{what}, window {window}: {receipt}");
            let detail = receipt["detail"].as_str().unwrap();
            assert!(detail.contains("rejects all its rows") && detail.contains("load --again"), "{detail}");
            assert!(receipt["quarantined"].as_u64().unwrap() < 10, "{receipt}");
            assert_eq!(account(&world, "c.csv"), json!(["loaded", 1, 0]));
            assert_eq!(world.once(0)["deliveries"], json!({}), "a failed file is not retried");
        }
    }
}

#[test]
fn rejected_records_can_be_replayed_once_the_cause_is_gone() {
    let world = guarded(TRIGGER);
    world.drop_file("b.csv", csv(&[(6, "yes"), (7, "no"), (8, "no")]));
    world.once(1);
    let replayed = world.run(&["quarantine", "replay"]);
    assert_eq!(replayed.code, 1, "the records are rejected again: {replayed:?}");
    assert_eq!(account(&world, "b.csv"), json!(["loaded", 1, 2]));
    sql(&world, "DROP TRIGGER guard");
    assert_eq!(world.run(&["quarantine", "replay"]).code, 0);
    assert_eq!(account(&world, "b.csv"), json!(["loaded", 3, 0]));
    assert_eq!(keys(&world), [1, 6, 7, 8]);
}

#[test]
fn a_table_that_rejects_one_record_is_filled_with_the_others() {
    let world = world();
    world.drop_file("a.csv", csv(&[(1, "yes"), (2, "no"), (3, "well")]));
    world.once(0);
    let world = world.with("tables.u", "{ partition_key: [v], clustering_key: [k] }");
    world.run(&["schema", "--apply"]);
    sql(&world, &TRIGGER.replace("ON t", "ON u"));
    let played = world.run(&["load", "--table", "u"]);
    let status = world.json(&["status", "--count"]);
    let table = &status["tables"]["u"];
    assert_eq!(json!([table["behind"], table["count"]]), json!([0, 2]), "{played:?}");
    let receipt = world.receipt("a.csv");
    assert_eq!(json!([receipt["tables"]["u"]["refused"], receipt["closes"]]), json!([1, true]));
}

#[test]
fn check_names_what_may_reject_rows() {
    let world = guarded(&format!("{TRIGGER}; CREATE UNIQUE INDEX one ON t (v)"));
    let check = world.run(&["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    let warning = check.stdout.lines().find(|line| line.contains("warning")).unwrap_or_default();
    assert!(warning.contains("table t: trigger guard, unique index one may reject rows"), "{check:?}");
}
