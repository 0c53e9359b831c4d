//! Tests of columns that declare how their values are written, and of values from the path.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::World;
use serde_json::json;

/// Creates a world with one table of all columns, keyed by `id`.
fn world(source: &str, columns: &str, derive: &str, others: &str) -> World {
    World::of(&format!(
        "source:\n  folder: inbox\n  {source}\n  columns: {{ id: int, {columns} }}\n  derive: {{ {derive} }}\n\
         tables:\n  t: {{ answers: x, partition_key: [id], columns: [{others}] }}\n\
         store: {{ sqlite: {{ path: store.db }} }}\n"
    ))
}

#[test]
fn a_table_of_excel_with_decimal_commas_loads_by_the_name_of_its_format() {
    let world = world(
        "format: { kind: excel, thousands: \".\", header_match: relaxed }",
        "kunde: { type: text, from: [Kunde, Name] }, \
         betrag: { type: decimal, strip: [\" \u{20ac}\"], null: [\"-\"], default: \"0,00\" }, \
         datum: { type: timestamp, format: \"%d.%m.%Y %H:%M\", zone: Europe/Berlin }, \
         bezahlt: { type: boolean, \"true\": [ja], \"false\": [nein] }, stueck: { type: int, zero_fraction: true }",
        "tag: { date_of: datum, zone: Europe/Berlin }, zeile: { line }",
        "kunde, betrag, datum, bezahlt, stueck, tag, zeile",
    );
    let mut file = b"ID; Kunde ;BETRAG;Datum;Bezahlt;Stueck\r\n".to_vec();
    file.extend(b"1;M\xfcller;1.234,50 \x80;01.07.2024 00:30;ja;3,0\r\n2;Bo;-;31.12.2023 12:00;Nein;1\r\n");
    world.drop_file("a.csv", file);
    world.once(0);
    let expected = vec![
        vec![
            json!(1),
            json!("M\u{fc}ller"),
            json!("1234.50"),
            json!("2024-06-30T22:30:00.000Z"),
            json!(1),
            json!(3),
            json!("2024-07-01"),
            json!(2),
        ],
        vec![
            json!(2),
            json!("Bo"),
            json!("0.00"),
            json!("2023-12-31T11:00:00.000Z"),
            json!(0),
            json!(1),
            json!("2023-12-31"),
            json!(3),
        ],
    ];
    assert_eq!(world.tables()["t"], expected);
    assert_eq!(world.query("t", &["id=1"]).len(), 1);
}

#[test]
fn a_value_in_another_form_than_the_declared_one_is_refused_with_the_form() {
    let columns =
        "x: { type: double, decimal: \",\" }, at: { type: date, format: [\"%d.%m.%Y\", \"%m/%d/%Y\"] }";
    let world = world("pattern: [\"*.csv\"]", columns, "", "x, at");
    world.drop_file("a.csv", "id,x,at\n1,1.5,01.02.2024\n2,\"1,5\",2024-02-01\n3,\"1,5\",02/01/2024\n");
    world.once(1);
    let entries = world.json(&["quarantine", "list"]);
    let details: Vec<_> =
        entries.as_array().unwrap().iter().map(|entry| entry["detail"].as_str().unwrap()).collect();
    assert_eq!(
        details,
        [
            "\"1.5\" must be a number, written with `,` before the decimals; if its point is a decimal point, set \
             `decimal: \".\"` for the column",
            "\"2024-02-01\" must be a date like `%d.%m.%Y` or `%m/%d/%Y`; if values have several forms, list them all \
             in `format` of the column",
        ]
    );
    assert_eq!(world.tables()["t"], [[json!(3), json!(1.5), json!("2024-02-01")]]);
}

#[test]
fn parts_of_the_path_are_values_and_belong_to_the_identity_of_a_file() {
    let derive =
        "region: { hive: region }, shop: { from_path: \"shop-([0-9]+)\", type: int }, path: file_path";
    let world = world("pattern: [\"*.csv\"]", "x: text", derive, "x, region, shop, path");
    let (one, other) = ("region=eu/shop-7.csv", "region=us/shop-8.csv");
    for path in [one, other] {
        let target = world.inbox().join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, if path == one { "id,x\n1,a\n" } else { "id,x\n2,a\n" }).unwrap();
    }
    world.once(0);
    let expected = [
        [json!(1), json!("a"), json!("eu"), json!(7), json!(one)],
        [json!(2), json!("a"), json!("us"), json!(8), json!(other)],
    ];
    assert_eq!(world.tables()["t"], expected);
    // The same bytes under a path that gives another region are no duplicate.
    fs::write(world.inbox().join("region=us/shop-7.csv"), "id,x\n1,a\n").unwrap();
    world.once(0);
    assert_eq!(world.tables()["t"][0][2], json!("us"));
    // A file without the value fails by name.
    fs::write(world.inbox().join("shop-9.csv"), "id,x\n9,a\n").unwrap();
    let run = world.run(&["run", "--once"]);
    assert!(run.stderr.contains("column region: the file's path has no folder `region=…`"), "{}", run.stderr);
    assert_eq!(run.code, 1);
}

#[test]
fn a_header_with_two_of_the_declared_names_fails() {
    let world = world("pattern: [\"*.csv\"]", "x: { type: text, from: [Betrag, Amount] }", "", "x");
    world.drop_file("a.csv", "id,Amount,Betrag\n1,5,6\n");
    let run = world.run(&["run", "--once"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("the header has `Amount` and `Betrag`"), "{}", run.stderr);
}

#[test]
fn another_form_is_another_declaration_and_failed_files_are_loaded_again() {
    let world = world("pattern: [\"*.csv\"]", "x: { type: double, null: [\"?\"] }", "", "x");
    world.drop_file("a.csv", "id,x\n1,?\n2,\"1,5\"\n");
    world.once(1);
    let text = fs::read_to_string(world.path("config.yaml")).unwrap();
    fs::write(world.path("config.yaml"), text.replace("null: [\"?\"]", "null: [\"?\"], decimal: \",\""))
        .unwrap();
    assert!(world.run(&["status"]).stdout.contains("behind"));
    assert_eq!(world.run(&["quarantine", "replay"]).code, 0);
    assert_eq!(world.tables()["t"], [[json!(1), json!(null)], [json!(2), json!(1.5)]]);
}

#[test]
fn keys_that_a_type_does_not_have_are_refused_at_the_start() {
    for (column, expected) in [
        (
            "{ type: text, decimal: \",\" }",
            "source.columns.x.decimal: is for numbers, and the column is text",
        ),
        ("{ type: int, thousands: \"12\" }", "source.columns.x.thousands: is `12`"),
        ("{ type: double, decimal: \",\", thousands: \",\" }", "and so is the mark before the decimals"),
        ("{ type: boolean, \"true\": [ja] }", "only one of them has words"),
        ("{ type: boolean, \"true\": [ja], \"false\": [JA] }", "both have `ja`"),
        ("{ type: timestamp, zone: Europe/Atlantis }", "there is no time zone `Europe/Atlantis`"),
        ("{ type: timestamp, format: \"%d.%m.\" }", "does not tell year, month and day"),
        ("{ type: timestamp, unit: s, zone: Europe/Berlin }", "have no form and no zone"),
        ("{ type: timestamp, fold: later }", "needs a zone"),
        ("{ type: int, default: \"x\" }", "source.columns.x.default: \"x\" must be a whole number"),
        ("{ type: int, default: 0 }", "in quotes"),
        ("{ type: blob, format: base32 }", "is not a form of a blob"),
    ] {
        let world = world("pattern: [\"*.csv\"]", &format!("x: {column}"), "", "x");
        let run = world.run(&["schema"]);
        assert!(run.code == 2 && run.stderr.contains(expected), "{column}: {}", run.stderr);
        assert!(run.stderr.contains("next: "), "{}", run.stderr);
    }
    let world = world("skip_when_empty: [x]", "x: { type: int, default: \"1\" }", "", "x");
    let derived = self::world("skip_when_empty: [f]", "x: int", "f: file_name", "x, f");
    assert!(derived.run(&["schema"]).stderr.contains("`f` is a derived column"));
    assert!(world.run(&["schema"]).stderr.contains("has a default"));
}
