//! Tests of lists, sets, maps and varints in SQLite.

use serde_json::json;

use crate::common::World;
use crate::{lines, quarantined, world};

const COLUMNS: &str =
    "k: int, tags: list<text>, ids: \"set<bigint>\", of: \"Map<text, decimal>\", big: VarInt";

const TABLE: &str = "  t: { answers: x, partition_key: [k], columns: [tags, ids, of, big] }\n";

/// Returns a file with one record for each tuple. Every field is quoted.
fn csv(records: &[[&str; 5]]) -> String {
    let quoted = |field: &&str| format!("\"{}\"", field.replace('"', "\"\""));
    let line = |fields: &[&str; 5]| fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
    "k,tags,ids,of,big\n".to_owned() + &records.iter().map(line).collect::<String>()
}

fn loaded(records: &[[&str; 5]], code: i32) -> World {
    let world = world(COLUMNS, TABLE);
    world.drop_file("a.csv", csv(records));
    world.once(code);
    world
}

#[test]
fn a_collection_is_stored_as_json_in_one_form() {
    let huge = "-000123456789012345678901234567890";
    let world = loaded(
        &[
            [
                "1",
                r#" ["b", "a", "b", "\u00e9\n"] "#,
                r#"[10, "9", -1, 10]"#,
                r#"{"b": 1.50, "a": "2"}"#,
                huge,
            ],
            ["2", "[]", "[]", "{}", "0"],
            ["3", "", "", "", ""],
        ],
        0,
    );
    let number = "-123456789012345678901234567890";
    let stored = json!([
        [1, "[\"b\",\"a\",\"b\",\"é\\n\"]", "[-1,9,10]", "{\"a\":\"2\",\"b\":\"1.50\"}", number],
        [2, "[]", "[]", "{}", "0"],
        [3, null, null, null, null],
    ]);
    assert_eq!(json!(world.tables()["t"]), stored);
    let first = json!([[1, ["b", "a", "b", "é\n"], [-1, 9, 10], { "a": "2", "b": "1.50" }, number]]);
    assert_eq!(json!(world.query("t", &["k=1"])), first);
    assert_eq!(json!(world.query("t", &["k=2"])), json!([[2, [], [], {}, "0"]]));
    let shown = world.run(&["query", "t", "k=2", "--csv"]).stdout;
    assert_eq!(shown, "k,tags,ids,of,big\n2,[],[],{},0\n");
    let count = "SELECT count(*), sum(json_each.value) FROM t, json_each(ids)";
    let counted = world.open_store().query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(counted.ok(), Some((3, 18)));
}

#[test]
fn a_shown_collection_loads_into_the_same_rows() {
    let first = loaded(
        &[["1", r#"["a,b\"\u0001"]"#, "[5e0, 7]", r#"{"": 1e2}"#, "5"], ["2", "[1.50]", "[7]", "{}", "5"]],
        1,
    );
    assert_eq!(lines(&first), [2], "5e0 is not a bigint");
    let again = world(COLUMNS, TABLE);
    again.drop_file("a.csv", first.run(&["query", "t", "k=2", "--csv"]).stdout);
    again.once(0);
    assert_eq!(again.tables(), first.tables());
    assert_eq!(again.tables()["t"][0][1], json!(r#"["1.50"]"#), "a number is kept as it was written");
}

#[test]
fn a_refused_collection_says_which_part_is_wrong() {
    let world = loaded(
        &[
            ["1", "a", "", "", ""],
            ["2", r#"["a", null]"#, "", "", ""],
            ["3", r#"[["a"]]"#, "", "", ""],
            ["4", "", r#"[1, "x"]"#, "", ""],
            ["5", "", "[9223372036854775808]", "", ""],
            ["6", "", "", r#"{"a": 1, "b": ""}"#, ""],
            ["7", "", "", r#"{"a": 1, "a": 1}"#, ""],
            ["8", "", "", "", "1.5"],
        ],
        1,
    );
    let details: Vec<_> =
        quarantined(&world).into_iter().map(|(_, column, reason, detail)| (column, reason, detail)).collect();
    let expected = [
        ("tags", "value", r#""a" must be a JSON array like ["a", "b"]"#),
        ("tags", "value", r#""[\"a\", null]": element 2 must be a value, not null"#),
        ("tags", "value", r#""[[\"a\"]]": element 1 must be a single value, not an array or object"#),
        ("ids", "value", r#""[1, \"x\"]": element 2 must be a whole number of at most 64 bits"#),
        ("ids", "range", r#""[9223372036854775808]": element 1 must be a whole number of at most 64 bits"#),
        (
            "of",
            "value",
            r#""{\"a\": 1, \"b\": \"\"}": the value of key 2 must be a value, not an empty string"#,
        ),
        ("of", "value", r#""{\"a\": 1, \"a\": 1}" must be a JSON object in which every key occurs once"#),
        ("big", "value", r#""1.5" must be a whole number of at most 1000 digits"#),
    ];
    let expected =
        expected.map(|(column, reason, detail)| (json!(column), reason.to_owned(), detail.to_owned()));
    assert_eq!(details, expected);
}

#[test]
fn a_declaration_that_cannot_work_is_refused_with_what_to_write() {
    let cases = [
        ("tags: list", "`list` does not say which elements it has; write list<text>"),
        ("tags: 'list<list<int>>'", "`list<list<int>>` is nested"),
        ("tags: list<string>", "unknown type `string` (did you mean text?)"),
        ("tags: bool", "unknown type `bool` (did you mean boolean?)"),
        ("tags: 'vector<float, 3>'", "unknown type `vector<float, 3>`; the types are text, int,"),
        ("tags: counter", "list<T>, set<T> and map<K, V>"),
    ];
    for (column, words) in cases {
        let world = world(column, "  t: { answers: x, partition_key: [tags] }\n");
        let refused = world.run(&["check"]);
        assert!(refused.code == 2 && refused.stdout.contains(words), "{column}: {refused:?}");
        assert!(refused.stdout.contains("next: "), "{refused:?}");
    }
    let keys = ["partition_key: [tags]", "partition_key: [k], clustering_key: [tags]"];
    for key in keys {
        let world = world("k: int, tags: list<text>", &format!("  t: {{ answers: x, {key} }}\n"));
        let refused = world.run(&["check"]);
        let words = "`tags` is a frozen<list<text>>, and a key cannot contain a collection";
        assert!(refused.code == 2 && refused.stdout.contains(words), "{refused:?}");
    }
}

#[test]
fn a_varint_is_a_partition_key_and_not_a_clustering_key() {
    let keyed = |key: &str| world("n: varint, v: text", &format!("  t: {{ answers: x, {key} }}\n"));
    let world = keyed("partition_key: [n], columns: [v]");
    world.drop_file("a.csv", "n,v\n+0018446744073709551616,a\n18446744073709551616,b\n-0,c\n");
    world.once(0);
    assert_eq!(json!(world.query("t", &["n=018446744073709551616"])), json!([["18446744073709551616", "b"]]));
    assert_eq!(json!(world.query("t", &["n=0"])), json!([["0", "c"]]));
    let other = keyed("partition_key: [v], clustering_key: [n]").run(&["check"]);
    assert!(
        other.code == 2 && other.stdout.contains("n is varint, which SQLite would not sort by value"),
        "{other:?}"
    );
}
