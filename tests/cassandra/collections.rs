//! Tests of lists, sets, maps and varints in Cassandra.

use serde_json::json;

use crate::place::Place;

const YAML: &str = "source:\n  columns:\n    k: int\n    tags: list<text>\n    ids: frozen<set<varint>>\n    of: map<text, int>\n    \
    n: varint\n  skip_when_empty: []\ntables:\n  t: { partition_key: [k], columns: [tags, ids, of] }\n  \
    sorted: { partition_key: [k], clustering_key: [n], columns: [tags] }\n";

const FILE: &str = "k,tags,ids,of,n\n\
    1,\"[\"\"b\"\",\"\"a\"\",\"\"b\"\"]\",\"[10,\"\"9\"\",-1,10]\",\"{\"\"b\"\":2,\"\"a\"\":1}\",10\n\
    1,,,,9\n\
    1,,,,-18446744073709551616\n\
    2,[],[],{},1\n\
    3,,,,1\n";

fn text(place: &Place, cql: &str) -> String {
    format!("{:?}", place.rows(cql))
}

#[test]
fn a_collection_is_one_frozen_value_and_an_empty_one_is_not_null() {
    let Some(place) = Place::of(YAML) else { return };
    place.drop_file("a.csv", FILE);
    place.once(0);
    let columns = place.columns().join("\n");
    for column in ["tags frozen<list<text>>", "ids frozen<set<varint>>", "of frozen<map<text, int>>"] {
        assert!(columns.contains(&format!("t {column} regular")), "{columns}");
    }
    let expected = json!([[1, ["b", "a", "b"], ["-1", "9", "10"], { "a": 1, "b": 2 }]]);
    assert_eq!(json!(place.query("t", &["k=1"])), expected);
    assert_eq!(json!(place.query("t", &["k=2"])), json!([[2, [], [], {}]]));
    assert_eq!(json!(place.query("t", &["k=3"])), json!([[3, null, null, null]]));
    // The server has them in the order of their type too.
    let set = text(&place, "SELECT ids FROM ks.t WHERE k = 1");
    assert!(
        set.contains("Set([Varint(CqlVarint([255])), Varint(CqlVarint([9])), Varint(CqlVarint([10]))])"),
        "{set}"
    );
    let numbers: Vec<_> = place.query("sorted", &["k=1"]).into_iter().map(|mut row| row.remove(1)).collect();
    assert_eq!(json!(numbers), json!(["-18446744073709551616", "9", "10"]), "sorted as numbers");
    assert_eq!(place.query("sorted", &["k=1", "n=-018446744073709551616"]).len(), 1);
    assert_eq!(place.once(0)["deliveries"], json!({}), "the existing tables match the declaration");
}

/// A retried or resumed write sends a row again under its stamp.
#[test]
fn a_row_that_is_written_again_changes_no_collection() {
    let Some(place) = Place::of(YAML) else { return };
    place.drop_file("a.csv", FILE);
    place.once(0);
    let before = place.dump();
    assert_eq!(place.run(&["load", "--table", "t"]).code, 0);
    assert_eq!(place.dump()["t"], before["t"]);
    place.drop_file("b.csv", "k,tags,ids,of,n\n1,\"[\"\"c\"\"]\",[],{},10\n");
    place.once(0);
    assert_eq!(json!(place.query("t", &["k=1"])), json!([[1, ["c"], [], {}]]), "nothing is merged");
}

/// A set that another program writes is found by its value, so the server must have the same bytes for it. The time in
/// the first id is later than in the second, although its text sorts first.
#[test]
fn a_set_equals_the_set_that_another_program_writes() {
    let yaml = "source:\n  columns: { k: int, ids: set<timeuuid> }\n  skip_when_empty: []\ntables:\n  t: { partition_key: [k], columns: [ids] }\n";
    let Some(place) = Place::of(yaml) else { return };
    let ids = ["a54adc00-67f9-11ea-9669-0800200c9a66", "b54adc00-67f9-11d9-9669-0800200c9a66"];
    place.drop_file("a.csv", format!("k,ids\n1,\"[\"\"{}\"\",\"\"{}\"\"]\"\n", ids[1], ids[0]));
    place.once(0);
    assert_eq!(json!(place.query("t", &["k=1"])), json!([[1, ids]]));
    let found =
        |set: String| place.rows(&format!("SELECT k FROM ks.t WHERE ids = {set} ALLOW FILTERING")).len();
    assert_eq!(found(format!("{{{}, {}}}", ids[0], ids[1])), 1);
    assert_eq!(found(format!("{{{}, {}}}", ids[1], ids[0])), 1);
}

/// The reason why collections are frozen.
#[test]
fn the_server_repeats_the_elements_of_a_list_that_is_not_frozen() {
    let Some(place) = Place::of(YAML) else { return };
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    place.cql("CREATE TABLE ks.other (k int PRIMARY KEY, tags list<text>, none set<text>)");
    for _ in 0..2 {
        place.cql("INSERT INTO ks.other (k, tags, none) VALUES (1, ['a', 'b'], {}) USING TIMESTAMP 1000");
    }
    let found = text(&place, "SELECT tags, none FROM ks.other");
    assert_eq!(found, "[[Some(List([Text(\"a\"), Text(\"b\"), Text(\"a\"), Text(\"b\")])), None]]");
}

#[test]
fn a_table_whose_collection_is_not_frozen_is_refused() {
    let Some(place) = Place::of(YAML) else { return };
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    place.cql("DROP TABLE ks.t");
    place.cql("CREATE TABLE ks.t (k int PRIMARY KEY, tags list<text>, ids frozen<set<varint>>, \"of\" frozen<map<text, int>>)");
    let refused = place.run(&["run", "--once"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let words = "expected tags frozen<list<text>>\n  found tags list<text>";
    assert!(refused.stderr.contains(words), "{refused:?}");
    assert!(refused.stderr.contains("next: recreate the table with frozen collections"), "{refused:?}");
}

/// In early versions of the protocol, an element had at most 64 KiB and a collection 65,535 elements.
#[test]
fn elements_may_be_long_and_many() {
    let Some(place) = Place::of(YAML) else { return };
    let place = place.with("limits.max_record_bytes", "4MiB");
    let long = "x".repeat(70_000);
    let many = vec!["1"; 70_000].join(",");
    let map = format!("{{\"\"{long}\"\": 1}}");
    let numbers = (0..70_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    place.drop_file(
        "a.csv",
        format!("k,tags,ids,of,n\n1,\"[\"\"{long}\"\"]\",\"[{numbers}]\",\"{map}\",1\n2,\"[{many}]\",,,1\n"),
    );
    place.once(0);
    let row = place.query("t", &["k=1"]).remove(0);
    assert_eq!((row[1][0].as_str().unwrap().len(), row[2].as_array().unwrap().len()), (70_000, 70_000));
    assert_eq!(row[3][&long], 1);
    assert_eq!(place.query("t", &["k=2"])[0][1].as_array().unwrap().len(), 70_000);
}
