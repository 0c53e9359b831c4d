//! Tests that both stores give the same answers for the same bytes, for every type and for unusual values.

use serde_json::{Value as Json, json};

use crate::common::World;
use crate::place::Place;

/// The types of the columns. Each column is also the partition key of a table of its own.
const TYPES: [&str; 16] = [
    "text",
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "varint",
    "float",
    "double",
    "decimal",
    "boolean",
    "timestamp",
    "date",
    "time",
    "uuid",
    "timeuuid",
    "blob",
];

/// Unusual values of each type, in the order of the types. There is no empty blob, because CQL has no empty key.
const VALUES: [&[&str]; 16] = [
    &["\" a \"", "\"a,\"\"b\"\"\nc\"", "é🎧", "nan", "\u{1}"],
    &["-128", "127", "+5", " 7 "],
    &["-32768", "32767"],
    &["-2147483648", "2147483647", "0"],
    &["-9223372036854775808", "9223372036854775807"],
    &["-0", "+007", "-129", "18446744073709551616", "-123456789012345678901234567890"],
    &["3.4028235e38", "-1e-45", "0.1", "16777217", "-0.0"],
    &["1.7976931348623157e308", "5e-324", "0.1", "-0"],
    &["12.50", "-0.000", "1e5", "-1e-20", "123456789012345678901234567890.12", "0", "1E+2"],
    &["T", "no"],
    &["0000-01-01", "9999-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999+02:00"],
    &["0000-01-01", "9999-12-31", "1969-12-31"],
    &["00:00", "23:59:59.999999999"],
    &["7F2C0F62-3A3C-4A89-9A5D-0D1B6F0F4A11", "00000000-0000-0000-0000-000000000000"],
    &["b54adc00-67f9-11d9-9669-0800200c9a66"],
    &["0x00", "0xCAfe00"],
];

/// Unusual collections, as fields of CSV. They cannot be keys.
const COLLECTIONS: [(&str, &[&str]); 7] = [
    ("list<double>", &["\"[1, 0.1, 5e-324, -0.0, \"\"1e308\"\"]\"", "[]", ""]),
    ("list<float>", &["\"[16777217, 3.4028235e38, -1e-45, 495.3073]\"", "[]"]),
    ("set<text>", &["\"[\"\"é\"\", \"\"\"\", \"\"\\u0001\\ud83c\\udfa7\"\", \"\"é\"\"]\"", "[]", ""]),
    ("set<decimal>", &["\"[10, 9.50, -1e2, 0.0]\"", "[12.50]"]),
    (
        "set<timeuuid>",
        &["\"[\"\"b54adc00-67f9-11d9-9669-0800200c9a66\"\", \"\"a54adc00-67f9-11ea-9669-0800200c9a66\"\"]\""],
    ),
    (
        "map<timestamp, inet>",
        &["\"{\"\"9999-12-31\"\": \"\"::1\"\", \"\"0000-01-01\"\": \"\"::ffff:1.2.3.4\"\"}\"", "{}"],
    ),
    ("map<blob, boolean>", &["\"{\"\"0x\"\": true, \"\"0xFF00\"\": \"\"no\"\"}\"", ""]),
];

fn configuration() -> String {
    let columns: String = TYPES.iter().map(|kind| format!("    c_{kind}: {kind}\n")).collect();
    let columns = columns
        + &(0..).zip(COLLECTIONS).map(|(n, (kind, _))| format!("    of_{n}: {kind}\n")).collect::<String>();
    let collections = (0..COLLECTIONS.len()).map(|n| format!("of_{n}"));
    let names =
        TYPES.map(|kind| format!("c_{kind}")).into_iter().chain(collections).collect::<Vec<_>>().join(", ");
    let keyed =
        TYPES.map(|kind| format!("  by_{kind}: {{ partition_key: [c_{kind}], clustering_key: [seq] }}\n"));
    format!(
        "source:\n  columns:\n    part: int\n    seq: int\n    ip: inet\n{columns}  skip_when_empty: []\n\
         tables:\n  all: {{ partition_key: [part], clustering_key: [seq], columns: [ip, {names}] }}\n{}",
        keyed.concat()
    )
}

/// Returns one record for each round. In each round a type has its next value, and after its last value the first
/// again.
fn records() -> String {
    let collections = (0..COLLECTIONS.len()).map(|n| format!(",of_{n}")).collect::<String>();
    let mut text = format!("part,seq,ip,{}{collections}\n", TYPES.map(|kind| format!("c_{kind}")).join(","));
    let addresses = ["127.0.0.1", "::1", "2001:db8::ff"];
    for round in 0..7 {
        let fields = VALUES.map(|values| values[round % values.len()]).join(",");
        let others = COLLECTIONS.map(|(_, values)| values[round % values.len()]).join(",");
        text.push_str(&format!("1,{round},{},{fields},{others}\n", addresses[round % addresses.len()]));
    }
    text
}

/// Returns the answers for all partitions: of the big table, and of the other tables by each value that the big table
/// shows.
fn answers(world: &World) -> Vec<(String, Json)> {
    let all = world.json(&["query", "all", "part=1"]);
    let mut answers = Vec::new();
    for row in all.as_array().unwrap() {
        for kind in TYPES {
            let value = match &row[format!("c_{kind}")] {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            let condition = format!("c_{kind}={value}");
            let found = world.json(&["query", &format!("by_{kind}"), &condition]);
            assert!(found.as_array().is_some_and(|rows| !rows.is_empty()), "{condition:?} is not found");
            answers.push((condition, found));
        }
    }
    for (row, number) in all.as_array().unwrap().iter().zip(0..) {
        let cells = row.as_object().unwrap().iter();
        answers.extend(cells.map(|(column, value)| (format!("{column} of row {number}"), value.clone())));
    }
    answers
}

#[test]
fn both_stores_give_the_same_answers() {
    let yaml = configuration();
    let Some(place) = Place::of(&yaml) else { return };
    let embedded = World::of(&yaml);
    for world in [&*place, &embedded] {
        world.drop_file("values.csv", records());
        assert_eq!(world.once(0)["records"]["loaded"], 7, "{}", world.json(&["quarantine", "list"]));
    }
    let (found, expected) = (answers(&place), answers(&embedded));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

/// In CQL, 12.5 and 12.50 are the same clustering key, but two different partition keys.
#[test]
fn a_decimal_clustering_key_collides_with_an_equal_decimal() {
    let Some(place) = Place::of(
        "source:\n  columns: { part: int, price: decimal, what: text }\n  skip_when_empty: []\n\
         tables:\n  prices: { partition_key: [part], clustering_key: [price], columns: [what] }\n",
    ) else {
        return;
    };
    place.drop_file("prices.csv", "part,price,what\n1,12.5,a\n1,12.50,b\n1,2,c\n");
    place.once(0);
    assert_eq!(json!(place.query("prices", &["part=1"]).len()), 2);
    let status = place.json(&["status", "--count"]);
    let account = ["rows_written", "collisions", "count"].map(|key| status["tables"]["prices"][key].clone());
    assert_eq!(json!(account), json!([3, 1, 2]));
}

/// One address is an IPv4 address in IPv6 form. A query must find an address by the form that a query shows.
#[test]
fn an_address_is_found_by_the_form_that_a_query_shows() {
    let Some(place) = Place::of(
        "source:\n  columns: { part: int, ip: inet }\n  skip_when_empty: []\n\
         tables:\n  all: { partition_key: [part], columns: [ip] }\n  by_ip: { partition_key: [ip], columns: [part] }\n",
    ) else {
        return;
    };
    place.drop_file("addresses.csv", "part,ip\n1,::ffff:1.2.3.4\n2,1.2.3.5\n3,::1\n");
    place.once(0);
    for part in 1..=3 {
        let shown = place.query("all", &[&format!("part={part}")])[0][1].as_str().unwrap().to_owned();
        let found = place.query("by_ip", &[&format!("ip={shown}")]);
        assert_eq!(json!(found), json!([[shown, part]]));
    }
}
