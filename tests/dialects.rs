//! Tests of `source.format`: files in other dialects than comma-separated values with a header.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{Rows, World, gzip};
use serde_json::json;

/// Creates a world with a table of orders, for files in this format.
fn orders(format: &str) -> World {
    World::of(&format!(
        "source:\n  folder: inbox\n  pattern: [\"*\"]\n  format: {format}\n  \
         columns: {{ id: int, customer: text, amount: float, day: date, paid: boolean }}\n\
         tables:\n  orders: {{ answers: x, partition_key: [id], columns: [customer, amount, day, paid] }}\n\
         store: {{ sqlite: {{ path: store.db }} }}\n"
    ))
}

fn ada_bo_cy() -> Rows {
    vec![
        vec![json!(1), json!("Ada"), json!(12.5), json!("2024-03-01"), json!(1)],
        vec![json!(2), json!("Bo"), json!(7.25), json!("2024-03-02"), json!(0)],
        vec![json!(3), json!("Cy"), json!(1200.0), json!("2024-03-03"), json!(1)],
    ]
}

const NAMED: &str = "id,customer,amount,day,paid\n";
const BARE: &str = "1,Ada,12.5,2024-03-01,true\n2,Bo,7.25,2024-03-02,false\n3,Cy,1200,2024-03-03,true\n";

/// Asserts that a file in this format gives the three orders, also if it arrives in two parts that are cut anywhere.
fn loads(format: &str, file: &str) {
    let world = orders(format);
    world.drop_file("a.txt", file);
    world.once(0);
    assert_eq!(world.tables()["orders"], ada_bo_cy(), "{format}: {file}");
    let receipt = world.receipt("a.txt");
    assert_eq!((&receipt["records"], &receipt["closes"]), (&json!(3), &json!(true)), "{format}: {file}");
}

#[test]
fn delimiters_quotes_and_headers_are_those_that_are_declared() {
    let file = format!("{NAMED}{BARE}");
    let with = |delimiter: &str| file.replace(',', delimiter);
    let titled = |names: &str| format!("{{ header: false, names: [{names}] }}");
    for (format, file) in [
        ("csv".to_owned(), file.clone()),
        ("tsv".to_owned(), with("\t")),
        ("{ delimiter: \"\\t\" }".to_owned(), with("\t")),
        ("{ delimiter: \";\" }".to_owned(), with(";")),
        ("{ delimiter: \"|\" }".to_owned(), with("|")),
        ("{ delimiter: \"||\" }".to_owned(), with("||")),
        ("{ delimiter: \"¦\" }".to_owned(), with("¦")),
        ("{ quote: \"'\" }".to_owned(), file.replace("Ada", "'Ada'").replace("Bo", "'Bo'")),
        ("{ header: 2 }".to_owned(), file.replacen('\n', "\n,,EUR,,\n", 1)),
        ("{ skip_lines: 2 }".to_owned(), format!("Orders \"of March\nmade by \"me\n{file}")),
        (
            "{ skip_lines: 1, header: 2 }".to_owned(),
            format!("title\n{}", file.replacen('\n', "\nunits\n", 1)),
        ),
        (titled("id, customer, amount, day, paid"), BARE.to_owned()),
        (titled("id, customer, amount, day, paid"), format!("\u{feff}{}", BARE.replace('\n', "\r\n"))),
    ] {
        loads(&format, &file);
    }
}

/// A table of texts, for files in this format without a header.
fn texts(format: &str) -> World {
    World::of(&format!(
        "source:\n  folder: inbox\n  pattern: [\"*\"]\n  format: {format}\n  columns: {{ k: int, v: text, w: text }}\n\
         tables:\n  t: {{ answers: x, partition_key: [k], columns: [v, w] }}\n\
         store: {{ sqlite: {{ path: store.db }} }}\n"
    ))
}

#[test]
fn dumps_of_databases_are_read_as_they_were_written() {
    let dump = "1\ta\\tb\t\\N\n2\t\\N\t\\\\N\n3\tline\\nfeed\tline\\\nfeed\n4\tC:\\\\x\t\"q\"\n";
    let expected =
        json!([[1, "a\tb", null], [2, null, "\\N"], [3, "line\nfeed", "line\nfeed"], [4, "C:\\x", "\"q\""]]);
    for kind in ["mysql", "postgres"] {
        let world = texts(&format!("{{ kind: {kind}, names: [k, v, w] }}"));
        world.drop_file("a.tsv", dump);
        world.drop_file("b.tsv.gz", gzip(b"5\tx\ty\n"));
        world.once(0);
        assert_eq!(json!(world.tables()["t"][..4]), expected, "{kind}");
    }
    let world = texts("dsbulk");
    world.drop_file("a.csv", "k,v,w\n1,\"say \\\"hi\\\"\",C:\\temp\n2,\"back\\\\slash\",\n");
    world.once(0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "say \"hi\"", "C:\\temp"], [2, "back\\slash", null]]));
}

#[test]
fn an_escape_that_the_format_does_not_know_is_refused() {
    let world = texts("{ kind: mysql, names: [k, v, w] }");
    world.drop_file("a.tsv", "1\ta\\qb\tx\n2\tb\tx\n");
    world.once(1);
    let entries = world.json(&["quarantine", "list"]);
    let entry = &entries.as_array().unwrap()[0];
    assert_eq!(
        (&entry["line"], &entry["column"], &entry["reason"]),
        (&json!(1), &json!("v"), &json!("quote"))
    );
    assert!(entry["detail"].as_str().unwrap().contains("before `q`, which it cannot escape"), "{entry}");
    assert_eq!(json!(world.tables()["t"]), json!([[2, "b", "x"]]));
}

#[test]
fn null_words_are_empty_unless_they_are_quoted() {
    let world = texts("{ null: [\"NULL\", N/A] }");
    world.drop_file("a.csv", "k,v,w\n1,NULL,\"NULL\"\n2,N/A,nULL\n");
    world.once(0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, null, "NULL"], [2, null, "nULL"]]));
}

#[test]
fn a_file_in_another_format_grows_and_waits_like_any_other() {
    let world = texts("{ delimiter: \";\", quote: \"'\", escape: backslash, skip_lines: 1 }");
    world.drop_file("a.csv", "title\nk;v;w\n1;'it\\'s';x\n2;'open");
    world.once(1);
    assert_eq!(world.states()["a.csv"], "incomplete");
    assert_eq!(json!(world.tables()["t"]), json!([[1, "it's", "x"]]));
    world.append("a.csv", "\nline';y\n3;z;'\\\\");
    world.once(1);
    world.append("a.csv", "'\n");
    world.once(0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "it's", "x"], [2, "open\nline", "y"], [3, "z", "\\"]]));
    assert_eq!(world.generations("a.csv"), 1, "it was continued and not loaded again");
}

#[test]
fn replay_backfill_and_export_read_the_declared_format() {
    let world = texts("{ kind: mysql, names: [k, v, w] }");
    world.drop_file("a.tsv", "x\tone\\ttwo\t\\N\n2\tb\tc\n");
    world.once(1);
    let file = world.path("config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("k: int", "k: text").replace("  t:", "  u:")).unwrap();
    assert_eq!(world.run(&["load", "--table", "u"]).code, 0);
    assert_eq!(world.run(&["quarantine", "replay"]).code, 0);
    assert_eq!(json!(world.tables()["u"]), json!([["2", "b", "c"], ["x", "one\ttwo", null]]));
    assert_eq!(
        world.run(&["export"]).stdout,
        "\"k\",\"v\",\"w\"\n\"x\",\"one\ttwo\",\"\"\n\"2\",\"b\",\"c\"\n"
    );
}

#[test]
fn another_format_makes_a_grown_file_a_new_generation_and_tries_failed_files_again() {
    let world = texts("csv");
    world.drop_file("a.csv", "k;v;w\n1;a;b\n");
    world.once(1);
    let receipt = world.receipt("a.csv");
    let detail = receipt["detail"].as_str().unwrap();
    assert!(detail.contains("one field with 2 `;`: set source.format.delimiter: \";\""), "{receipt}");
    let world = world.with("source.format", "{ delimiter: \";\" }");
    world.once(0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b"]]));
    world.append("a.csv", "2;'c';d\n");
    let world = world.with("source.format", "{ delimiter: \";\", quote: \"'\" }");
    world.once(0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b"], [2, "c", "d"]]));
    assert_eq!(world.generations("a.csv"), 3, "one delivery is loaded by one version of the configuration");
}

#[test]
fn a_file_without_a_header_is_recognised() {
    let world = orders("csv");
    world.drop_file("a.csv", BARE);
    world.once(1);
    let receipt = world.receipt("a.csv");
    let detail = receipt["detail"].as_str().unwrap();
    assert!(
        detail.contains("`1` is a value, not a name") && detail.contains("source.format.names"),
        "{detail}"
    );
}

#[test]
fn a_format_that_cannot_be_used_is_refused_with_its_key() {
    for (format, expected) in [
        ("\"[;]\"", "`[;]` is not one of csv, tsv"),
        ("{ delimiter: \"\" }", "source.format.delimiter: `` cannot separate fields"),
        ("{ delimiter: \"\\n\" }", "source.format.delimiter: `\\n` cannot separate fields"),
        ("{ quote: \"''\" }", "source.format.quote: `''` is not one ASCII character"),
        ("{ quote: \",\" }", "source.format: the delimiter contains the quote"),
        ("{ escape: quote }", "source.format.escape: `quote` is no escape"),
        ("{ escape: '\"' }", "source.format: the escape is also the quote"),
        ("{ delimiter: \"\\\\\", escape: backslash }", "source.format: the delimiter contains the escape"),
        ("{ header: 0 }", "source.format.header: is 0"),
        ("{ header: maybe }", "true, false or the number of lines of the header"),
        ("{ header: false }", "source.format.names: is missing"),
        ("{ names: [k, v, w] }", "source.format.names: names the fields, but the files have a header"),
        ("{ header: false, names: [k, v] }", "source.format.names: does not have `w`"),
        ("{ header: false, names: [k, v, w, w] }", "source.format.names: has `w` twice"),
        ("{ null: [NULL] }", "a word such as NULL or ~ needs quotes"),
        ("{ delimeter: \";\" }", "there is no key `delimeter` here; the keys are kind, delimiter"),
    ] {
        let output = texts(format).run(&["check"]);
        assert_eq!(output.code, 2, "{format}: {output:?}");
        let said = output.stdout + &output.stderr;
        assert!(said.contains(expected), "{format}: {said}");
    }
}
