//! Tests that the first message about a file names what is wrong with its form, and the setting to write.

use serde_json::json;

use crate::common::{Output, World};

pub fn world() -> World {
    World::of(
        "source:\n  columns: { id: int, customer: text, amount: double }\n\
         tables:\n  t: { partition_key: [id], columns: [customer, amount] }\n",
    )
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Files in another form than the configuration says, and what is said about each.
fn cases() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (b"id;customer;amount\n1;a;2\n".into(), "one field with 2 `;`: set source.format.delimiter: \";\""),
        (b"id\tcustomer\tamount\n1\ta\t2\n".into(), "2 `\\t`: set source.format.delimiter: \"\\t\""),
        (b"Report\n\nid,customer,amount\n1,a,2\n".into(), "all columns with source.format.skip_lines: 1"),
        (b"id, customer, amount\n1, a, 2\n".into(), "all columns with source.format.trim: true"),
        (b"1,Ada,12.5\n2,Bo,7.5\n".into(), "set source.format.header: false"),
        (b"id,Customer,amount\n1,a,2\n".into(), "in source.columns, add from: \"Customer\" to customer"),
        (b"id,amount\n1,2\n".into(), "no column `customer`; it has id,amount"),
        (b"id,caf\xe9,amount\n1,a,2\n".into(), "such as windows-1252"),
        (utf16("id,customer,amount\n1,a,2\n"), "set source.encoding: utf-16le"),
        (b"id,customer,amount\n1,a,\"12,5\"\n".into(), "set `decimal: \",\"` for the column"),
        (b"id,customer,amount\r\r\n1,a,2\r\r\n".into(), "set source.format.lines: crcrlf"),
        (b"id,customer,amount\n1,a,2,\n".into(), "set source.format.extra_fields: ignore_empty_last"),
        (b"id,customer,amount\n1, \"a\",2\n".into(), "set source.format.trim: true"),
        (b"id,customer,amount\n1,caf\xe9,2\n".into(), "which is not UTF-8: set source.encoding"),
        (b"id,customer,amount\n# note\n".into(), "set source.format.comment: \"#\""),
        (b"id,customer,amount\n,,\n".into(), "set source.format.blank_rows: skip"),
        (b"id,customer,amount\n1,a,NULL\n".into(), "set source.format.null: [\"NULL\"]"),
        (b"id,customer,amount\n,,[EUR]\n1,a,2\n".into(), "set source.format.header: 2"),
        (b"id,customer,amount\nno.,,m2\n1,a,2\n2,b,3\n".into(), "set source.format.header: 2"),
        (
            b"id||customer||amount\n1||a||2\n".into(),
            "one field with 2 `||`: set source.format.delimiter: \"||\"",
        ),
        (b"# by hand\nid,customer,amount\n1,a,2\n".into(), "all columns with source.format.comment: \"#\""),
        (b"id,customer,amount\n1,a\n".into(), "may be missing, set source.format.missing_fields: pad"),
        (b"id,customer,amount\n1,a,2,x\n".into(), "mean nothing, set source.format.extra_fields: ignore"),
        (
            b"id,customer,amount\n  \n".into(),
            "set source.format.trim: true and source.format.blank_rows: skip",
        ),
        (
            br#"id,customer,amount
1,"Ada \"A\" B.",2
"#
            .into(),
            "escapes quotes, set source.format.escape: '\\'",
        ),
        (
            b"id,customer,amount\n1,a,2\nTotal,,2\n".into(),
            "set source.format.skip_footer to the number of such lines",
        ),
        (
            b"id,customer,amount\n1,a,2\n\"Summe:\",,2".into(),
            "set source.format.skip_footer to the number of such lines",
        ),
        (
            b"id,customer,amount\n1,a,2\n(1 row)\n".into(),
            "set source.format.skip_footer to the number of such lines",
        ),
        (
            b"id,customer,amount\n1,a,2\nid,customer,amount\n2,b,3\n".into(),
            "set source.format.repeated_header: skip",
        ),
    ]
}

#[test]
fn run_load_and_check_name_the_setting_for_a_file_in_another_form() {
    for (bytes, expected) in cases() {
        let world = world();
        world.drop_file("a.csv", bytes);
        let check = world.run(&["check"]);
        assert!(check.stdout.contains(expected), "{expected}: {check:?}");
        let output = world.run(&["run", "--once"]);
        let says = |output: &Output| format!("{}{}", output.stdout, output.stderr).contains(expected);
        assert!(output.code == 1 && says(&output), "{expected}: {output:?}");
        // A file of which something could be loaded is no failure, and its other records are in the summary.
        let receipt = world.receipt("a.csv");
        let has_failed = receipt["state"] == "failed";
        assert_eq!(
            (check.code == 1, receipt["loaded"] == 0),
            (has_failed, has_failed),
            "{expected}: {check:?}"
        );
        assert!(!has_failed || receipt["detail"].as_str().unwrap().contains(expected), "{expected}");
        let load = world.run(&["load", "inbox/a.csv", "--again"]);
        assert!(load.code == 1 && says(&load), "{expected}: {load:?}");
    }
}

#[test]
fn a_file_whose_lines_end_with_a_carriage_return_names_the_setting() {
    let world = world();
    world.drop_file("a.csv", "id,customer,amount\r1,a,2\r2,b,3\r");
    let output = world.run(&["run", "--once"]);
    assert!(output.stderr.contains("set source.format.lines: cr file"), "{output:?}");
}

#[test]
fn check_says_nothing_of_files_that_load() {
    let world = world();
    world.drop_file("a.csv", "id,customer,amount\n1,a,2\n");
    let check = world.run(&["check"]);
    assert!(check.code == 0 && !check.stdout.contains("a.csv"), "{check:?}");
    world.drop_file("b.csv", "id,customer,amount\n1,a,2\nx,a,2\n");
    let check = world.run(&["check"]);
    let expected =
        "b.csv: 1 of its first 2 records would be refused: 1 in column `id` (value), the first on line 3";
    let expected = format!("warn   file           {expected}");
    assert!(check.code == 0 && check.stdout.contains(&expected), "{check:?}");
}

#[test]
fn invisible_characters_are_escaped() {
    let world = world();
    world.drop_file("a.csv", "id,\u{200b}customer,am\u{a0}ount\n1,a,2\n");
    let output = world.run(&["run", "--once"]);
    assert!(output.stderr.contains("it has id,\\u{200b}customer,am\\u{a0}ount"), "{output:?}");
    assert!(output.stderr.contains("from: \"\\U0000200Bcustomer\" to customer"), "{output:?}");
}

#[test]
fn an_entry_names_every_bad_column() {
    let world = world();
    world.drop_file("a.csv", "id,customer,amount\n1,a,2\nx,a,y\n,a,z\n");
    world.once(1);
    let entries = world.json(&["quarantine", "list"]);
    assert_eq!(entries[0]["column"], "id");
    let detail = |at: usize| entries[at]["detail"].as_str().unwrap();
    assert!(
        detail(0).starts_with("\"x\" must be") && detail(0).contains("; also `amount`: \"y\" must be"),
        "{entries}"
    );
    assert_eq!(entries[1]["column"], "amount");
    assert!(detail(1).ends_with("; also `id`: is empty, and the key of t needs it"), "{entries}");
}

#[test]
fn quarantined_records_are_summarised_before_they_are_listed() {
    let world = world();
    let bad = "x,a,2\n".repeat(3) + &"1,a,y\n".repeat(2);
    world.drop_file("a.csv", format!("id,customer,amount\n{}{bad}", "1,a,2\n".repeat(5)));
    let output = world.run(&["run", "--once"]);
    let summary = |text: &str| {
        let lines: Vec<&str> =
            text.lines().skip_while(|line| !line.starts_with("quarantined ")).take(3).collect();
        assert!(
            lines.len() == 3 && lines[1].starts_with("  3          value   id      a.csv:7 \"x\""),
            "{text}"
        );
        assert!(lines[2].starts_with("  2          value   amount  a.csv:10 \"y\""), "{text}");
    };
    summary(&output.stdout);
    let list = world.run(&["quarantine", "list"]).stdout;
    summary(&list);
    assert_eq!(list.lines().count(), 3 + 1 + 6, "{list}");
    let json = world.run(&["load", "inbox/a.csv", "--again", "--json"]).json();
    let expected = json!({ "records": 3, "reason": "value", "column": "id", "file": "a.csv", "line": 7 });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&json["refused"][0][key], value, "{json}");
    }
}

#[test]
fn a_header_where_none_is_declared_is_recognised() {
    let world = world().with("source.format", "{ header: false, names: [id, customer, amount] }");
    world.drop_file("a.csv", "id,customer,amount\n1,a,2\n");
    let output = world.run(&["run", "--once"]);
    let expected = "set source.format.header: true and remove source.format.names";
    assert!(output.code == 1 && output.stdout.contains(expected), "{output:?}");
}

#[test]
fn a_bad_value_in_the_first_record_is_no_line_of_units() {
    for text in [
        "id,customer,amount\nx,a,2\n1,a,2\n",
        "id,customer,amount\n1,a,x\n2,b,y\n",
        "id,customer,amount\n1x,,-\n2,b,1\n",
    ] {
        let world = world();
        world.drop_file("a.csv", text);
        let output = world.run(&["run", "--once"]);
        assert!(output.code == 1 && !output.stdout.contains("source.format.header"), "{text}: {output:?}");
    }
}
