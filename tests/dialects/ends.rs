//! Tests of what ends lines and files: carriage returns, and the end of file of DOS.

use std::fs;

use serde_json::{Value as Json, json};

use super::common::{World, gzip};
use super::{BARE, NAMED, loads, rows_of, texts};

#[test]
fn the_end_of_file_of_dos_is_no_record() {
    let file = format!("{NAMED}{BARE}");
    for file in
        [format!("{file}\u{1a}"), format!("{}\u{1a}", file.trim_end()), file.replace('\n', "\r\n") + "\u{1a}"]
    {
        loads("csv", &file);
        loads("{ comment: \"#\" }", &file);
    }
    let world = texts("{ kind: mysql, names: [k, v, w] }");
    assert_eq!(rows_of(&world, "1\ta\tb\n\u{1a}"), json!([[1, "a", "b"]]));
    let world = texts("csv");
    assert_eq!(
        rows_of(&world, "k,v,w\n1,\u{1a},b\u{1a}\n2,c,d\u{1a}"),
        json!([[1, "\u{1a}", "b\u{1a}"], [2, "c", "d"]]),
        "it is text anywhere else"
    );
    world.drop_file("b.csv.gz", gzip(b"k,v,w\n3,e,f\n\x1a"));
    world.drop_file("c.csv", "k,v,w\u{1a}");
    world.drop_file("d.csv", "\u{1a}");
    world.once(0);
    for (file, records) in [("b.csv.gz", 1), ("c.csv", 0), ("d.csv", 0)] {
        let receipt = world.receipt(file);
        assert_eq!(
            (&receipt["state"], &receipt["records"]),
            (&json!("loaded"), &json!(records)),
            "{receipt}"
        );
    }
    assert_eq!(json!(world.once(0)["deliveries"]), json!({}), "nothing is loaded again");
}

#[test]
fn a_file_that_grows_after_its_end_of_file_is_a_new_generation() {
    let world = texts("csv");
    world.drop_file("a.csv", "k,v,w\n1,a,b\n\u{1a}");
    world.once(0);
    world.append("a.csv", "\n2,c,d\n");
    world.once(1);
    assert_eq!(world.states()["a.csv"], "loaded");
    assert_eq!(world.generations("a.csv"), 2);
    let receipt = world.receipt("a.csv");
    let counts = (&receipt["records"], &receipt["quarantined"], &receipt["closes"]);
    assert_eq!(counts, (&json!(3), &json!(1), &json!(true)), "the character was text: {receipt}");
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b"], [2, "c", "d"]]));
}

#[test]
fn the_end_of_file_of_dos_needs_no_final_line_end_but_a_record_before_it_does() {
    let world = texts("csv").with("source.final_newline", "required");
    world.drop_file("a.csv", "k,v,w\n1,a,b\n\u{1a}");
    world.drop_file("b.csv", "k,v,w\n2,a,b\u{1a}");
    world.once(1);
    assert_eq!((&*world.states()["a.csv"], &*world.states()["b.csv"]), ("loaded", "incomplete"));
}

#[test]
fn a_backfill_reads_up_to_the_end_of_file_of_dos() {
    let world = texts("csv");
    world.drop_file("a.csv", "k,v,w\n1,a,b\n2,c,d\u{1a}");
    world.once(0);
    let file = world.path("config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("  t:", "  u:")).unwrap();
    let backfilled = world.run(&["load", "--table", "u"]);
    assert_eq!(backfilled.code, 0, "{backfilled:?}");
    assert_eq!(json!(world.tables()["u"]), json!([[1, "a", "b"], [2, "c", "d"]]));
    assert_eq!(world.run(&["export"]).stdout, "\"k\",\"v\",\"w\"\n\"1\",\"a\",\"b\"\n\"2\",\"c\",\"d\"\n");
}

/// Returns the lines of the records in quarantine.
fn quarantined_lines(world: &World) -> Vec<Json> {
    let entries = world.json(&["quarantine", "list"]);
    entries.as_array().unwrap().iter().map(|entry| entry["line"].clone()).collect()
}

#[test]
fn lines_may_end_with_a_carriage_return_or_with_two_and_a_line_feed() {
    for (lines, end) in [("cr", "\r"), ("crcrlf", "\r\r\n")] {
        let file = format!("{NAMED}{BARE}").replace('\n', end);
        let format = format!("{{ lines: {lines} }}");
        loads(&format, &file);
        loads(&format, file.trim_end());
        loads(&format, &format!("{end}{end}{file}\u{1a}"));
        let described = file.replacen(end, &format!("{end}units{end}"), 1);
        let format = format!("{{ lines: {lines}, skip_lines: 1, header: 2, comment: \"#\" }}");
        loads(&format, &format!("title{end}{described}# \"note\"{end}#"));
    }
    let world = texts("{ lines: cr }");
    let file = "k,v,w\r1,a\nb,\"c\"\"\rd\"\r2,e,f\r";
    assert_eq!(rows_of(&world, file), json!([[1, "a\nb", "c\"\rd"], [2, "e", "f"]]));
    let world = texts("{ lines: crcrlf }");
    let file = "k,v,w\r\r\n1,a\r\nb,\"c\"\"\r\r\nd\"\r\r\n2,e,f\r\r\n";
    assert_eq!(rows_of(&world, file), json!([[1, "a\r\nb", "c\"\r\r\nd"], [2, "e", "f"]]));
    let world = texts("{ lines: crlf }");
    let file = "k,v,w\r\n1,a\nb,\"c\"\"d\"\r\n2,e,f\r\n";
    assert_eq!(rows_of(&world, file), json!([[1, "a\nb", "c\"d"], [2, "e", "f"]]));
}

#[test]
fn lines_of_quarantined_records_are_counted_by_the_declared_line_end() {
    let world = texts("{ lines: cr, skip_lines: 1 }");
    world.drop_file("a.csv", "title\rk,v,w\r1,\"x\ry\",b\nc\r\rz,c,d\r");
    world.once(1);
    assert_eq!(quarantined_lines(&world), [json!(6)]);
    let world = texts("{ lines: cr }");
    world.drop_file("a.csv", "k,v,w\r\n1,a,b\r\n");
    world.once(1);
    assert_eq!(world.states()["a.csv"], "incomplete", "a file with other line ends is noticed");
    assert_eq!(world.tables()["t"], Vec::<Vec<Json>>::new());
}

#[test]
fn a_line_end_that_arrives_in_parts_after_an_open_tail_continues_the_file() {
    for (lines, end) in [("any", "\r\n"), ("crlf", "\r\n"), ("crcrlf", "\r\r\n"), ("cr", "\r"), ("lf", "\n")]
    {
        let world = texts(&format!("{{ lines: {lines} }}"));
        world.drop_file("a.csv", format!("k,v,w{end}1,a,b{end}2,c,d"));
        world.once(0);
        for part in end.split_inclusive(|_| true) {
            world.append("a.csv", part);
            world.once(0);
        }
        world.append("a.csv", format!("3,e,f{end}x,y,z{end}"));
        world.once(1);
        assert_eq!(world.generations("a.csv"), 1, "{lines}");
        assert_eq!(
            json!(world.tables()["t"]),
            json!([[1, "a", "b"], [2, "c", "d"], [3, "e", "f"]]),
            "{lines}"
        );
        assert_eq!(quarantined_lines(&world), [json!(5)], "{lines}");
    }
    // With `lf`, a carriage return belongs to the record.
    let world = texts("{ lines: lf }");
    world.drop_file("a.csv", "k,v,w\n1,a,b");
    world.once(0);
    world.append("a.csv", "\r\n");
    world.once(0);
    assert_eq!(world.generations("a.csv"), 2);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b\r"]]));
}
