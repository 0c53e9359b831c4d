//! Tests of the lenient settings of `source.format`: what they refuse when off, what they tolerate when on, and how
//! often the receipt says that they acted.

use serde_json::{Value as Json, json};

use super::common::{World, gzip};
use super::{ada_bo_cy, declared, orders, rows_of, texts};

/// Returns the open entries of the quarantine: line, reason and detail.
fn quarantined(world: &World) -> Vec<(u64, String, String)> {
    let entries = world.json(&["quarantine", "list"]);
    let entry = |entry: &Json| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        (entry["line"].as_u64().unwrap(), text("reason"), text("detail"))
    };
    entries.as_array().unwrap().iter().map(entry).collect()
}

/// Returns where and why records are in quarantine.
fn reasons(world: &World) -> Vec<(u64, String)> {
    quarantined(world).into_iter().map(|(line, reason, _)| (line, reason)).collect()
}

fn reasons_are(world: &World, expected: &[(u64, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(line, reason)| (*line, (*reason).to_owned())).collect();
    assert_eq!(reasons(world), expected);
}

/// Asserts that a file is loaded without quarantined records, and what its receipt says.
fn is_loaded(world: &World, file: &str, records: u64, lenient: &Json) {
    let receipt = world.receipt(file);
    let found = (&receipt["records"], &receipt["quarantined"], &receipt["closes"]);
    assert_eq!(found, (&json!(records), &json!(0), &json!(true)), "{receipt}");
    assert_eq!(&receipt["lenient"], lenient, "{receipt}");
}

/// Runs once over one file in this format, which leaves nothing in quarantine.
fn tolerated(format: &str, file: &str, records: u64, lenient: &Json) -> World {
    let world = orders(format);
    world.drop_file("a.csv", file);
    world.once(0);
    assert_eq!(world.tables()["t"], ada_bo_cy(), "{format}");
    is_loaded(&world, "a.csv", records, lenient);
    world
}

/// Runs once over one file that has records for the quarantine in the default format.
fn refused(file: &str, expected: &[(u64, &str)]) -> World {
    let world = orders("csv");
    world.drop_file("a.csv", file);
    world.once(1);
    reasons_are(&world, expected);
    assert_eq!(world.receipt("a.csv")["lenient"], json!({}));
    assert!(!world.run(&["receipt", "a.csv"]).stdout.contains("lenient"));
    world
}

const COMMENTED: &str = "id,customer,amount,day,paid\n1,Ada,12.5,2024-03-01,yes\n# checked by K.\n2,Bo,7.25,2024-03-02,no\n\
                         3,Cy,1200,2024-03-03,yes\n#4,Ed,1,2024-03-03,no\n";

#[test]
fn comments_are_no_records() {
    refused(COMMENTED, &[(3, "fields"), (6, "value")]);
    let world = tolerated("{ comment: \"#\" }", COMMENTED, 3, &json!({ "comments": 2 }));
    // Before the header and at the end without a line end. Quotes in them mean nothing.
    world.drop_file("b.csv", format!("\u{feff}# made \"by\n#\n{COMMENTED}# the \"end"));
    world.drop_file("c.csv", "# nothing else");
    world.once(0);
    is_loaded(&world, "b.csv", 3, &json!({ "comments": 5 }));
    is_loaded(&world, "c.csv", 0, &json!({ "comments": 1 }));
    let told = world.run(&["receipt", "b.csv"]).stdout;
    assert!(told.contains("lenient    5 comments\n"), "{told}");
    let texts = texts("{ comment: \"--\" }");
    texts.drop_file("a.csv", "k,v,w\n-1,a,b\n\"--2\",x,y\n--3,c,d\n");
    texts.once(1);
    reasons_are(&texts, &[(3, "value")]);
    assert_eq!(json!(texts.tables()["t"]), json!([[-1, "a", "b"]]));
}

#[test]
fn comments_are_counted_once_however_the_file_grows() {
    let world = orders("{ comment: \"#\" }");
    let file = format!("# one\n# two\n{COMMENTED}# \"open\n");
    let cuts = [4, 6, 9, 12, 40, 45, 70, 75, 90, 140, 155, file.len()];
    let mut from = 0;
    world.drop_file("a.csv", "");
    for to in cuts {
        world.append("a.csv", &file[from..to]);
        from = to;
        world.run(&["run", "--once"]);
    }
    assert_eq!(world.tables()["t"], ada_bo_cy());
    is_loaded(&world, "a.csv", 3, &json!({ "comments": 5 }));
    // A comment that is continued after it was passed over makes a new generation, as any open tail.
    let world = orders("{ comment: \"#\" }");
    world.drop_file("a.csv", format!("{COMMENTED}# half"));
    world.once(0);
    is_loaded(&world, "a.csv", 3, &json!({ "comments": 3 }));
    world.append("a.csv", "\n#");
    world.once(0);
    is_loaded(&world, "a.csv", 3, &json!({ "comments": 4 }));
    assert_eq!(world.generations("a.csv"), 1);
    world.append("a.csv", " other\n");
    world.once(0);
    is_loaded(&world, "a.csv", 3, &json!({ "comments": 4 }));
    assert_eq!(world.generations("a.csv"), 2);
}

#[test]
fn blanks_around_fields_are_trimmed_if_this_is_declared() {
    let file = "k,v , w\n1, \"Smith, John\", a\n2, \"Jones\"\t, b\n3,\"Li\", c\n";
    let world = texts("{ names: [k, v, w], header: false, skip_lines: 1 }");
    world.drop_file("a.csv", file);
    world.once(1);
    reasons_are(&world, &[(2, "quote"), (3, "quote")]);
    let world = texts("{ trim: true }");
    assert_eq!(rows_of(&world, file), json!([[1, "Smith, John", "a"], [2, "Jones", "b"], [3, "Li", "c"]]));
    is_loaded(&world, "a.csv", 3, &json!({ "trimmed": 5 }));
    // Padded text keys are one key.
    let padded = "k,v,w\n1,A1,apple\n1,A1   ,apple two\n1, A1,apple three\n";
    for (format, keys, lenient) in [("csv", 3, json!({})), ("{ trim: true }", 1, json!({ "trimmed": 2 }))] {
        let world = declared(format, "k: int, v: text, w: text", "partition_key: [v], columns: [w]");
        world.drop_file("a.csv", padded);
        world.once(0);
        assert_eq!(world.tables()["t"].len(), keys, "{format}");
        is_loaded(&world, "a.csv", 3, &lenient);
    }
}

#[test]
fn a_quoted_field_behind_blanks_may_have_line_ends_and_waits_for_its_quote() {
    let world = texts("{ trim: true }");
    world.drop_file("a.csv", "k,v,w\n1,  \"a\nb\" ,c\n2,  \"open\n");
    world.once(1);
    assert_eq!(world.states()["a.csv"], "incomplete");
    world.append("a.csv", "line\" ,d\n");
    world.once(0);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a\nb", "c"], [2, "open\nline", "d"]]));
    is_loaded(&world, "a.csv", 2, &json!({ "trimmed": 2 }));
    assert_eq!(world.generations("a.csv"), 1);
}

const COMMAS: &str = "id,customer,amount,day,paid\r\n1,Ada,12.5,2024-03-01,yes\r\n,,,,\r\n2,Bo,7.25,2024-03-02,no\r\n\
                      3,Cy,1200,2024-03-03,yes\r\n,,,,\r\n,,\r\n";

#[test]
fn rows_of_delimiters_are_skipped_if_this_is_declared() {
    refused(COMMAS, &[(3, "empty_key"), (6, "empty_key"), (7, "fields")]);
    tolerated("{ blank_rows: skip }", COMMAS, 6, &json!({ "blank_rows": 3 }));
    let world = texts("{ blank_rows: skip, trim: true, delimiter: \"||\" }");
    world.drop_file("a.csv", "k||v||w\n || ||\n1||||x\n\"\"||||\n");
    world.once(1);
    reasons_are(&world, &[(4, "empty_key")]);
    let receipt = world.receipt("a.csv");
    assert_eq!((&receipt["skipped"], &receipt["lenient"]), (&json!(1), &json!({ "blank_rows": 1 })));
}

#[test]
fn a_header_that_comes_again_is_no_record() {
    let again = "v,k,w\nA1,1,apple\nv,k,w\n\"v\",k,\"w\"\nC3,2,plum\nv,k,x\n";
    let marked = "\u{feff}v,k,w\nD4,4,fig\n\u{feff}v,k,w\n\u{feff}E5,5,date\n";
    let texts =
        |format: &str| declared(format, "k: text, v: text, w: text", "partition_key: [k], columns: [v, w]");
    let rows = json!([["1", "A1", "apple"], ["2", "C3", "plum"], ["4", "D4", "fig"], ["k", "v", "x"]]);
    let world = texts("csv");
    world.drop_file("a.csv", again);
    world.drop_file("b.csv", marked);
    world.once(1);
    assert_eq!(json!(world.tables()["t"]), rows);
    let entries = quarantined(&world);
    reasons_are(
        &world,
        &[(3, "repeated_header"), (4, "repeated_header"), (3, "repeated_header"), (4, "encoding")],
    );
    assert!(entries[0].2.contains("set source.format.repeated_header: skip"), "{entries:?}");
    assert!(entries[3].2.starts_with("begins with a byte order mark"), "{entries:?}");

    let world = texts("{ repeated_header: skip }");
    world.drop_file("a.csv", again);
    world.drop_file("b.csv", marked);
    world.once(1);
    assert_eq!(json!(world.tables()["t"]), rows);
    is_loaded(&world, "a.csv", 5, &json!({ "repeated_headers": 2 }));
    reasons_are(&world, &[(4, "encoding")]);
    assert_eq!(world.receipt("b.csv")["lenient"], json!({ "repeated_headers": 1 }));

    // Without a header, nothing is compared.
    let world = texts("{ header: false, names: [v, k, w] }");
    world.drop_file("a.csv", again);
    world.once(0);
    assert_eq!(world.receipt("a.csv")["loaded"], 6);
}

#[test]
fn joined_compressed_files_repeat_their_header() {
    let (first, second) = COMMENTED.split_at(COMMENTED.find('#').unwrap());
    let second = second.split_once('\n').unwrap().1.split_once("\n#").unwrap().0;
    let file = [gzip(first.as_bytes()), gzip(format!("{}{second}\n", super::NAMED).as_bytes())].concat();
    for (format, code) in [("csv", 1), ("{ repeated_header: skip }", 0)] {
        let world = orders(format);
        world.drop_file("a.csv.gz", &file);
        world.once(code);
        assert_eq!(world.tables()["t"], ada_bo_cy());
        assert_eq!(world.receipt("a.csv.gz")["skipped"], 1 - code, "{format}");
    }
}

/// Returns the three orders, with a text behind the header and each record.
fn with(behind_header: &str, behind_records: &str) -> String {
    let records = super::BARE.replace('\n', &format!("{behind_records}\n"));
    super::NAMED.replace('\n', &format!("{behind_header}\n")) + &records
}

#[test]
fn more_fields_than_the_header_are_left_out_if_this_is_declared() {
    let all = [(2, "fields"), (3, "fields"), (4, "fields")];
    let world = refused(&with("", ","), &all);
    assert!(quarantined(&world)[0].2.contains("set source.format.extra_fields: ignore_empty_last"));
    let world = refused(&with(",", ""), &all);
    assert!(quarantined(&world)[0].2.contains("set source.format.extra_fields: ignore_empty_last"));
    let (last, any) = ("{ extra_fields: ignore_empty_last }", "{ extra_fields: ignore }");
    tolerated(last, &with("", ","), 3, &json!({ "extra_fields": 3 }));
    tolerated(last, &with(",", ""), 3, &json!({}));
    tolerated(last, &with(",", ","), 3, &json!({ "extra_fields": 3 }));
    tolerated(any, &with("", ",x,"), 3, &json!({ "extra_fields": 3 }));
    for behind in [",x", ",,"] {
        let world = orders(last);
        world.drop_file("a.csv", with("", behind));
        world.once(1);
        reasons_are(&world, &all);
    }
    // A header that comes again may end with a delimiter too.
    let again = with(",", ",").replace("2,Bo", &format!("{},\n2,Bo", super::NAMED.trim_end()));
    let format = "{ extra_fields: ignore_empty_last, repeated_header: skip }";
    tolerated(format, &again, 4, &json!({ "extra_fields": 3, "repeated_headers": 1 }));
}

#[test]
fn missing_fields_are_empty_if_this_is_declared() {
    let file = "k,v,w\n1,a\n2\n3,b,c\n4,d";
    let world = texts("csv");
    world.drop_file("a.csv", file);
    world.once(1);
    reasons_are(&world, &[(2, "fields"), (3, "fields")]);
    assert_eq!(world.states()["a.csv"], "incomplete", "an open tail with too few fields waits");
    let world = texts("{ missing_fields: pad }");
    assert_eq!(
        rows_of(&world, file),
        json!([[1, "a", null], [2, null, null], [3, "b", "c"], [4, "d", null]])
    );
    is_loaded(&world, "a.csv", 4, &json!({ "padded": 3 }));
    assert_eq!(world.run(&["export"]).stdout.lines().count(), 5);
}

const ALL: &str = "{ comment: \"#\", trim: true, blank_rows: skip, repeated_header: skip, extra_fields: ignore_empty_last, \
                   missing_fields: pad }";

const LENIENT: &str =
    "# first\nk , v,w,\n1, a,b,\n#\n,,\n2,\"c\n\" \nk,v, w\n3,d,e\n\n4 , f,g,\nk,v,w,\n#last\n";

fn all_of_lenient() -> Json {
    json!({ "comments": 3, "trimmed": 4, "blank_rows": 1, "repeated_headers": 2, "extra_fields": 2, "padded": 1 })
}

#[test]
fn everything_is_counted_once_if_the_file_grows_in_parts() {
    for part in [1, 7, 20] {
        let world = texts(ALL).with("source.final_newline", "required");
        world.drop_file("a.csv", "");
        // A header that is cut would be another header, so it comes at once.
        let (before, records) = LENIENT.split_at(LENIENT.find(" a,").unwrap());
        let parts = before.split_inclusive('\n').map(str::as_bytes).chain(records.as_bytes().chunks(part));
        for bytes in parts {
            world.append("a.csv", bytes);
            if part > 1 || bytes == b"\n" {
                world.run(&["run", "--once"]);
            }
        }
        world.once(0);
        is_loaded(&world, "a.csv", 7, &all_of_lenient());
        assert_eq!(world.tables()["t"].len(), 4);
        assert_eq!(world.generations("a.csv"), 1);
        // A backfill counts nothing again.
        let file = world.path("config.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("  t:", "  u:")).unwrap();
        assert_eq!(world.run(&["load", "--table", "u"]).code, 0);
        assert_eq!(world.tables()["u"], world.tables()["t"]);
        is_loaded(&world, "a.csv", 7, &all_of_lenient());
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn everything_is_counted_once_whatever_step_a_run_ends_at() {
    for step in 1.. {
        let world = texts(ALL).with("write.window", "2");
        world.drop_file("a.csv", LENIENT);
        let mut aborted = world.command(&["run", "--once"]);
        let ended = aborted.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap().status.success();
        world.once(0);
        is_loaded(&world, "a.csv", 7, &all_of_lenient());
        if ended {
            assert!(step > 4, "crash points are missing: {step}");
            break;
        }
    }
}

#[test]
fn an_assumed_file_is_counted_too() {
    let world = texts(ALL);
    world.drop_file("a.csv", "k,v,w\n1,x,y\n");
    world.once(0);
    world.drop_file("b.csv", LENIENT);
    assert_eq!(world.run(&["load", "inbox/b.csv", "--assume-loaded"]).code, 0);
    is_loaded(&world, "b.csv", 7, &all_of_lenient());
}

/// What a record needed to be read is counted when it is loaded: in the first attempt or in a replay, but not in both.
#[test]
fn a_replay_counts_the_records_that_it_settles() {
    let strict = "csv";
    let file = "k,v,w\n1,a,b\n2,c\n#3,d\n4,e,f,\n,,\nx ,g,h\nk,v,w\n";
    let world = texts(strict);
    world.drop_file("a.csv", file);
    world.once(1);
    assert_eq!(world.receipt("a.csv")["quarantined"], 6);
    let world = world.with("source.format", ALL);
    assert_eq!(world.run(&["quarantine", "replay"]).code, 1);
    let receipt = world.receipt("a.csv");
    let counts = ["loaded", "skipped", "quarantined"].map(|key| receipt[key].as_u64().unwrap());
    assert_eq!((counts, &receipt["closes"]), ([3, 3, 1], &json!(true)), "{receipt}");
    let lenient =
        json!({ "comments": 1, "blank_rows": 1, "repeated_headers": 1, "extra_fields": 1, "padded": 1 });
    assert_eq!(receipt["lenient"], lenient, "the record that stays in quarantine is not counted");
    world.run(&["quarantine", "replay"]);
    assert_eq!(world.receipt("a.csv")["lenient"], lenient);
    assert_eq!(json!(world.tables()["t"]), json!([[1, "a", "b"], [2, "c", null], [4, "e", "f"]]));
}

#[test]
fn a_lenient_setting_makes_a_grown_file_a_new_generation() {
    let world = texts("csv");
    world.drop_file("a.csv", "k,v,w\n1,a,b\n");
    world.once(0);
    world.append("a.csv", "2,c\n");
    let world = world.with("source.format", "{ missing_fields: pad }");
    world.once(0);
    assert_eq!((world.generations("a.csv"), world.tables()["t"].len()), (2, 2));
}

#[test]
fn a_file_whose_header_has_not_followed_its_comments_waits() {
    let world = orders("{ comment: \"#\" }").with("source.final_newline", "required");
    let cut = COMMENTED.find("amount").unwrap();
    world.drop_file("a.csv", format!("# note\n{}", &COMMENTED[..cut]));
    world.run(&["run", "--once"]);
    assert_eq!(world.states().get("a.csv"), None, "half of a header is no header that lacks columns");
    world.append("a.csv", &COMMENTED[cut..]);
    world.once(0);
    is_loaded(&world, "a.csv", 3, &json!({ "comments": 3 }));
    assert_eq!(world.generations("a.csv"), 1);
}
