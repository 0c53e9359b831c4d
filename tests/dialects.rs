//! Tests of `source.format`: files in other dialects than comma-separated values with a header.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "dialects/ends.rs"]
mod ends;
#[path = "dialects/footer.rs"]
mod footer;
#[path = "dialects/lenient.rs"]
mod lenient;

use std::fs;

use common::{Rows, World, gzip};
use serde_json::{Value as Json, json};

/// Creates a world with these columns and a table `t`, for files in this format.
fn declared(format: &str, columns: &str, table: &str) -> World {
    World::of(&format!(
        "source:\n  folder: inbox\n  pattern: [\"*\"]\n  format: {format}\n  columns: {{ {columns} }}\n\
         tables:\n  t: {{ answers: x, {table} }}\nstore: {{ sqlite: {{ path: store.db }} }}\n"
    ))
}

/// Creates a world with a table of orders, for files in this format.
fn orders(format: &str) -> World {
    let columns = "id: int, customer: text, amount: float, day: date, paid: boolean";
    declared(format, columns, "partition_key: [id], columns: [customer, amount, day, paid]")
}

/// Creates a world with a table of texts, for files in this format.
fn texts(format: &str) -> World {
    declared(format, "k: int, v: text, w: text", "partition_key: [k], columns: [v, w]")
}

/// Loads a file, which leaves nothing in quarantine. Returns the rows of the table.
fn rows_of(world: &World, file: &str) -> Json {
    world.drop_file("a.csv", file);
    world.once(0);
    json!(world.tables()["t"])
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
    assert_eq!(world.tables()["t"], ada_bo_cy(), "{format}: {file}");
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
    assert_eq!(
        rows_of(&world, "k,v,w\n1,\"say \\\"hi\\\"\",C:\\temp\n2,\"back\\\\slash\",\n"),
        json!([[1, "say \"hi\"", "C:\\temp"], [2, "back\\slash", null]])
    );
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
    assert_eq!(
        rows_of(&world, "k,v,w\n1,NULL,\"NULL\"\n2,N/A,nULL\n"),
        json!([[1, null, "NULL"], [2, null, "nULL"]])
    );
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
    let backfilled = world.run(&["load", "--table", "u"]);
    assert_eq!(backfilled.code, 0, "{backfilled:?}");
    let replayed = world.run(&["quarantine", "replay"]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert_eq!(json!(world.tables()["u"]), json!([["2", "b", "c"], ["x", "one\ttwo", null]]));
    assert_eq!(
        world.run(&["export"]).stdout,
        "\"k\",\"v\",\"w\"\n\"x\",\"one\ttwo\",\"\"\n\"2\",\"b\",\"c\"\n"
    );
}

/// A line of units below the header is a record, until `header: 2` makes it a part of the header.
#[test]
fn a_file_that_is_now_split_into_different_records_is_not_backfilled() {
    let world = texts("csv");
    world.drop_file("a.csv", "k,v,w\nno.,,\n1,a,b\n2,c,d\n");
    world.once(1);
    let file = world.path("config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("  t:", "  u:")).unwrap();
    let world = world.with("source.format", "{ header: 2 }");
    let refused = world.run(&["load", "--table", "u"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("is now split into different records"),
        "{refused:?}"
    );
    assert_eq!(world.json(&["status"])["tables"]["u"]["behind"], 1);
    let world = world.with("source.format", "csv");
    assert_eq!(world.run(&["load", "--table", "u"]).code, 0);
    assert_eq!(json!(world.tables()["u"]), json!([[1, "a", "b"], [2, "c", "d"]]));
}

#[test]
fn a_replay_reads_the_names_that_are_declared_now() {
    let world = texts("{ header: false, names: [k, v, w] }");
    world.drop_file("a.csv", "1,a,b\n2,c,d,note\n");
    world.once(1);
    let world = world.with("source.format", "{ header: false, names: [k, v, w, x], missing_fields: pad }");
    assert_eq!(world.run(&["quarantine", "replay"]).code, 0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b"], [2, "c", "d"]]));
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
    assert_eq!(world.run(&["export"]).stdout.lines().count(), 3, "a header, and each record once");
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
        ("{ escape: quote }", "source.format.escape: `quote` is not an escape"),
        ("{ escape: '\"' }", "source.format: the escape is also the quote"),
        ("{ delimiter: \"\\\\\", escape: backslash }", "source.format: the delimiter contains the escape"),
        ("{ header: 0 }", "source.format.header: is 0"),
        ("{ header: maybe }", "true, false or the number of lines of the header"),
        ("{ header: false }", "source.format.names: is missing"),
        ("{ names: [k, v, w] }", "source.format.names: names the fields, but the files have a header"),
        ("{ header: false, names: [k, v] }", "source.format.names: does not have `w`"),
        ("{ header: false, names: [k, v, w, w] }", "source.format.names: has more than one field for `w`"),
        ("{ null: [NULL] }", "put numbers and the words true, false, NULL and ~ in quotes"),
        ("{ delimiter: n, escape: backslash }", "is a letter or digit"),
        ("{ kind: mysql, names: [k, v, w], null: ['\\'] }", "a null word ends with an escape character"),
        ("{ comment: \"\" }", "source.format.comment: `` cannot begin a comment"),
        ("{ comment: \"a\\nb\" }", "source.format.comment: `a\\nb` cannot begin a comment"),
        ("{ comment: '\"' }", "source.format: the comment begins like a field"),
        ("{ comment: \",#\" }", "source.format: the comment begins like a field"),
        ("{ comment: \"|\", delimiter: \"||\" }", "source.format: the comment begins like a field"),
        ("{ trim: maybe }", "this should be true or false"),
        ("{ blank_rows: ignore }", "`ignore` is not one of refuse, skip"),
        ("{ repeated_header: yes }", "is not one of refuse, skip"),
        ("{ extra_fields: skip }", "`skip` is not one of refuse, ignore, ignore_empty_last"),
        ("{ missing_fields: skip }", "`skip` is not one of refuse, pad"),
        ("{ delimeter: \";\" }", "there is no key `delimeter` here; the keys are kind, delimiter"),
    ] {
        let output = texts(format).run(&["check"]);
        assert_eq!(output.code, 2, "{format}: {output:?}");
        let said = output.stdout + &output.stderr;
        assert!(said.contains(expected), "{format}: {said}");
    }
}

/// Asserts what a file becomes in a table of texts: the rows, and the lines in quarantine.
fn becomes(format: &str, file: &[u8], rows: serde_json::Value, quarantined: &[u64]) {
    let world = texts(format).with("limits.max_record_bytes", "100");
    world.drop_file("a.txt", file);
    world.once(i32::from(!quarantined.is_empty()));
    assert_eq!(json!(world.tables()["t"]), rows, "{format}: {:?}", String::from_utf8_lossy(file));
    let entries = world.json(&["quarantine", "list"]);
    let lines: Vec<u64> =
        entries.as_array().unwrap().iter().map(|entry| entry["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, quarantined, "{format}");
}

const MYSQL: &str = "{ kind: mysql, names: [k, v, w] }";

#[test]
fn carriage_returns_are_text_where_the_program_writes_them() {
    becomes(MYSQL, b"1\ta\tb\r\n", json!([[1, "a", "b\r"]]), &[]);
    becomes(MYSQL, b"1\ta\\\r\nb\tc\n2\td\te\n", json!([[2, "d", "e"]]), &[1, 2]);
    let windows = "{ kind: mysql, names: [k, v, w], lines: crlf }";
    becomes(windows, b"1\ta\\\r\nb\tc\r\n2\td\ne\tf\r\n", json!([[1, "a\r\nb", "c"], [2, "d\ne", "f"]]), &[]);
    becomes("{ escape: backslash }", b"k,v,w\n1,\"a\\\r\nb\",c\r\n", json!([[1, "a\r\nb", "c"]]), &[]);
}

#[test]
fn a_record_that_is_too_long_ends_where_its_escapes_say() {
    let one = [b"1\t".as_slice(), &[b'x'; 200], b"\\\n5\tevil\ty\t\n2\ta\tb\n"].concat();
    becomes(MYSQL, &one, json!([[2, "a", "b"]]), &[1]);
    let many =
        [b"1\t".as_slice(), &[b"x".repeat(30), b"\\\n".to_vec()].concat().repeat(5), b"5\tevil\n2\ta\tb\n"]
            .concat();
    becomes(MYSQL, &many, json!([[2, "a", "b"]]), &[1]);
}

#[test]
fn an_escape_before_a_part_of_a_character_is_refused() {
    let format = "{ delimiter: \"§\", quote: none, escape: '\\', header: false, names: [k, v, w] }";
    becomes(format, "1§a\\£b§c\n2§a\\§b§c\n".as_bytes(), json!([[2, "a§b", "c"]]), &[1]);
    becomes(MYSQL, b"1\ta\\012\tb\n\\.\n2\ta\\0\tb\n", json!([]), &[1, 2, 3]);
}

#[test]
fn an_escape_that_stands_for_a_nul_byte_is_named() {
    let world = texts(MYSQL);
    world.drop_file("a.txt", "2\ta\\0\tb\n");
    world.once(1);
    let entries = world.json(&["quarantine", "list"]);
    let detail = entries[0]["detail"].as_str().unwrap();
    assert!(detail.ends_with("; its escape `\\0` stands for a NUL byte"), "{detail}");
}

#[test]
fn a_file_that_ends_before_its_header_stays_incomplete() {
    for (format, file) in [
        ("{ skip_lines: 5 }", "k,v,w\n1,a,b\n2,c,d\n"),
        ("{ skip_lines: 1 }", "title\n"),
        ("{ skip_lines: 1 }", "tit"),
        ("{ header: 3 }", "k,v,w\n1,a,b"),
    ] {
        let world = texts(format).with("source.after", "delete");
        world.drop_file("a.csv", file);
        world.once(1);
        assert_eq!(world.states()["a.csv"], "incomplete", "{format}: {file}");
        assert!(world.inbox().join("a.csv").exists(), "{format}: {file}");
    }
    let world = texts("{ skip_lines: 1, header: 2 }");
    world.drop_file("a.csv", "");
    world.once(0);
    for part in ["title\n", "k,v", ",w\n", "units\n"] {
        world.append("a.csv", part);
        world.run(&["run", "--once"]);
    }
    world.append("a.csv", "1,a,b\n");
    world.once(0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b"]]));
}

#[test]
fn a_tail_that_ends_inside_a_delimiter_waits() {
    let world = texts("{ delimiter: \"||\" }");
    world.drop_file("a.csv", "k||v||w\n1||a||\"b\"|");
    world.once(1);
    assert_eq!(world.states()["a.csv"], "incomplete");
}

#[test]
fn the_environment_does_not_change_what_words_mean() {
    let world = texts("{ null: [\"007\", \"1.50\", \"TRUE\"] }").with("source.poll", "31s");
    assert_eq!(
        rows_of(&world, "k,v,w\n1,007,7\n2,1.50,1.5\n3,TRUE,true\n"),
        json!([[1, null, "7"], [2, null, "1.5"], [3, null, "true"]])
    );
    for word in ["007", "1.50", "TRUE", "NULL"] {
        let output = texts(&format!("{{ null: [{word}] }}")).run(&["check"]);
        assert!(output.code == 2 && output.stdout.contains("in quotes"), "{word}: {output:?}");
    }
    let world = texts("csv").with("source.format.delimiter", ";");
    assert_eq!(rows_of(&world, "k;v;w\n1;a;b\n"), json!([[1, "a", "b"]]));
}

#[test]
fn null_words_do_not_hide_names_of_columns() {
    let world = texts("{ null: [v, x] }");
    assert_eq!(rows_of(&world, "k,v,w\n1,v,a\n2,x,b\n"), json!([[1, null, "a"], [2, null, "b"]]));
}

#[test]
fn a_value_may_be_the_only_name_of_the_header() {
    for (format, rows) in [("csv", 2), ("{ repeated_header: skip }", 1)] {
        let world = declared(format, "word: text", "partition_key: [word]");
        world.drop_file("a.csv", "word\nword\nother\n");
        world.once(0);
        assert_eq!(world.tables()["t"].len(), rows, "{format}");
    }
}
