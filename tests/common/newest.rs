//! Stories of a table with `newest_by`, for any store.

use std::ops::DerefMut;

use serde_json::{Value as Json, json};

use crate::common::World;

/// The table `n` has the newest record of each key; `log` has all of them.
pub const YAML: &str = "source:\n  folder: inbox\n  columns: { k: int, at: int, v: text, w: text }\n\
                        limits: { max_record_bytes: 40 }\n\
                        tables:\n  log: { partition_key: [k], clustering_key: [v], columns: [at] }\n  \
                        n: { partition_key: [k], columns: [at, v, w], newest_by: at }\n";

const NEWEST: &str = "  n: { partition_key: [k], columns: [at, v, w], newest_by: at }\n";

/// A text that makes a record too long for the first configuration.
const LONG: &str = "a text that makes the record too long at first";

/// A world with the table `n`.
pub trait Subject: DerefMut<Target = World> {
    /// Returns the rows of `n` as `k at v w`, with `-` for an empty column, in the order of their keys.
    fn rows(&self) -> Vec<String>;
}

pub fn put(world: &World, name: &str, records: &str) {
    world.drop_file(name, format!("k,at,v,w\n{records}"));
}

pub fn deliver(world: &World, name: &str, records: &str) -> Json {
    put(world, name, records);
    let output = world.run(&["run", "--once"]);
    assert!(matches!(output.code, 0 | 1), "{output:?}");
    world.receipt(name)
}

fn older(receipt: &Json) -> &Json {
    &receipt["tables"]["n"]["older"]
}

/// Asserts that a verification finds nothing wrong.
fn assert_verified(world: &World) {
    let found = world.run(&["verify", "--json"]);
    assert_eq!((found.code, &found.json()["not_compared"]), (0, &json!([])), "{found:?}");
}

pub fn the_newest_record_is_the_row(subject: &impl Subject) {
    let first = deliver(subject, "a.csv", "1,5,a,A\n2,5,b,B\n1,4,late,LATE\n4,1,old,OLD\n4,2,new,\n");
    assert_eq!((older(&first), &first["tables"]["n"]["rows"]), (&json!(1), &json!(5)));
    let second = deliver(subject, "b.csv", "1,3,x,X\n2,6,new,\n3,-1,c,C\n");
    assert_eq!((older(&second), &second["loaded"], &second["closes"]), (&json!(1), &json!(3), &json!(true)));
    assert_eq!(subject.rows(), ["1 5 a A", "2 6 new -", "3 -1 c C", "4 2 new -"]);
    let equal = deliver(subject, "c.csv", "1,5,again,\n2,5,older,OLDER\n");
    assert_eq!(older(&equal), &json!(1));
    assert_eq!(
        subject.rows()[..2],
        ["1 5 again -", "2 6 new -"],
        "of equal values, the later record gives the row"
    );
    let text = subject.run(&["receipt", "b.csv"]).stdout;
    assert!(text.contains("1 are older than the row of their key"), "{text}");
    assert_verified(subject);
}

/// The stamps of what a file gains by growing may be earlier than those of other files.
pub fn a_file_grows_after_another_was_loaded(subject: &impl Subject) {
    deliver(subject, "a.csv", "1,5,a,A\n");
    deliver(subject, "b.csv", "1,6,b,B\n2,6,b,B\n");
    subject.append("a.csv", "1,7,grown,\n2,5,grown,G\n");
    subject.once(0);
    assert_eq!(older(&subject.receipt("a.csv")), &json!(1));
    assert_eq!(subject.rows(), ["1 7 grown -", "2 6 b B"]);
    let undone = subject.run(&["undo", "a.csv"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(subject.rows(), ["1 6 b B", "2 6 b B"]);
    assert_verified(subject);
}

/// The record that takes the place of an undone one came later and is older.
pub fn after_an_undo_the_next_newest_record_is_the_row(subject: &impl Subject) {
    deliver(subject, "0.csv", "3,1,o,O\n");
    deliver(subject, "a.csv", "1,9,a,\n2,1,a,A\n3,9,a,\n");
    deliver(subject, "b.csv", "1,5,b,B\n2,2,b,\n3,5,b,B\n");
    let undone = subject.run(&["undo", "a.csv"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(subject.rows(), ["1 5 b B", "2 2 b -", "3 5 b B"]);
    deliver(subject, "c.csv", "3,9,c,\n");
    deliver(subject, "d.csv", "3,6,d,D\n");
    assert_eq!(subject.run(&["undo", "c.csv"]).code, 0);
    assert_eq!(subject.rows()[2..], ["3 6 d D"], "also if another delivery was the first");
    assert_verified(subject);
}

/// Records that are replayed have earlier stamps than the files that were loaded since. Returns the number of those that are
/// older than their row: one has an older value, and three have equal values and earlier stamps.
pub fn a_replayed_record_wins_if_it_is_newer(subject: &mut impl Subject) -> u64 {
    let long = |key: i32, at: i32, v: &str| format!("{key},{at},{v},{LONG}\n");
    let a = format!("9,9,z,Z\n{}{}{}{}", long(1, 9, "a"), long(2, 1, "a"), long(3, 7, "a"), long(4, 7, "a"));
    deliver(subject, "a.csv", &a);
    deliver(subject, "aa.csv", &format!("9,9,z,Z\n{}{}", long(1, 9, "aa"), long(4, 7, "aa")));
    deliver(subject, "ab.csv", &format!("9,9,z,Z\n{}", long(1, 9, "ab")));
    deliver(subject, "b.csv", "1,4,b,B\n2,2,b,B\n3,7,b,B\n4,7,b,B\n");
    assert_eq!(subject.rows()[..4], ["1 4 b B", "2 2 b B", "3 7 b B", "4 7 b B"]);
    subject.set("limits.max_record_bytes", "1000");
    // The first and the last of three equal ones are replayed after the second.
    for file in ["aa.csv", "a.csv", "ab.csv"] {
        let replayed = subject.run(&["quarantine", "replay", "--file", file]);
        assert_eq!(replayed.code, 0, "{replayed:?}");
    }
    let rows = [format!("1 9 ab {LONG}"), "2 2 b B".to_owned(), "3 7 b B".to_owned(), "4 7 b B".to_owned()];
    assert_eq!(subject.rows()[..4], rows);
    let older = older(&subject.receipt("a.csv")).as_u64().unwrap();
    assert_verified(subject);
    deliver(subject, "c.csv", "1,8,c,C\n2,2,c,C\n3,7,c,C\n");
    assert_eq!(subject.rows()[..3], [rows[0].as_str(), "2 2 c C", "3 7 c C"]);
    assert_verified(subject);
    older
}

/// A table that is new, or whose declaration got `newest_by`, is filled with records that have any order of stamps and values.
pub fn a_backfill_gives_the_newest_record(subject: &mut impl Subject, declared: (&str, &str)) {
    let (before, after) = declared;
    let configuration = subject.path("config.yaml");
    let yaml = std::fs::read_to_string(&configuration).unwrap();
    assert!(yaml.contains(NEWEST));
    std::fs::write(&configuration, yaml.replace(NEWEST, before)).unwrap();
    for (name, records) in [("a.csv", "1,5,a,A\n2,9,a,A\n"), ("b.csv", "1,9,b,\n2,3,b,B\n3,1,b,B\n")] {
        put(subject, name, records);
        subject.once(0);
    }
    subject.append("a.csv", "1,7,grown,G\n3,0,grown,G\n");
    subject.once(0);
    std::fs::write(&configuration, yaml.replace(NEWEST, after)).unwrap();
    // The table may have later records of a key before it has the earlier ones.
    let of_key_2 = if before == OTHER { "" } else { "2,8,c,C\n" };
    put(subject, "c.csv", &format!("{of_key_2}4,1,c,C\n"));
    let output = subject.run(&["run", "--once"]);
    assert_eq!(output.code, 0, "{output:?}");
    let filled = subject.run(&["load", "--table", "n"]);
    assert_eq!(filled.code, 0, "{filled:?}");
    assert_eq!(subject.rows(), ["1 9 b -", "2 9 a A", "3 1 b B", "4 1 c C"]);
    assert_verified(subject);
    deliver(subject, "d.csv", "1,8,d,D\n4,2,d,D\n");
    assert_eq!(subject.rows(), ["1 9 b -", "2 9 a A", "3 1 b B", "4 2 d D"]);
    assert_verified(subject);
}

/// The declarations of the table `n` before and after a change that leaves it behind. With another such table, a file that grows
/// has later stamps than the files that came meanwhile; then only the order in which the files are read again hides records.
pub const DECLARATION_CHANGES: [(&str, &str); 3] =
    [("", NEWEST), ("  n: { partition_key: [k], columns: [at, v, w] }\n", NEWEST), (OTHER, BOTH)];

const OTHER: &str = "  m: { partition_key: [v], columns: [at], newest_by: at }\n";

const BOTH: &str = "  m: { partition_key: [v], columns: [at], newest_by: at }\n  \
                    n: { partition_key: [k], columns: [at, v, w], newest_by: at }\n";
