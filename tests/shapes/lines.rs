//! Tests of lines and quotes, wherever reading pauses, a run is resumed or a file grows.

use super::*;

/// Returns records of three lines each, long enough that reads and chunks end inside quotes.
fn with_line_ends(records: u32) -> (String, Vec<(String, String)>) {
    let value = |n: u32| format!("one {n}\r\n\"two\",\n{}", "x".repeat(n as usize % 700));
    let mut expected: Vec<_> = (0..records).map(|n| (format!("k{n}"), value(n))).collect();
    let text = expected.iter().map(|(k, v)| format!("{k},\"{}\"\n", v.replace('"', "\"\"")));
    let text = format!("k,v\n{}", text.collect::<String>());
    expected.sort();
    (text, expected)
}

#[test]
fn line_ends_in_quotes_are_text_wherever_reading_pauses() {
    let (text, expected) = with_line_ends(3000);
    assert!(text.len() > 4 * 256 * 1024);
    let (world, receipt) = loaded("a.csv", &text);
    assert_eq!(counts(&receipt), ("loaded", 3000, 0));
    assert_eq!(table(&world), expected);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn line_ends_in_quotes_are_text_wherever_a_run_is_resumed() {
    let (text, expected) = with_line_ends(400);
    for (step, name) in (1..).zip(["a.csv", "a.csv.gz", "a.csv.zst"]) {
        let world = world().with("write.window", "7").with("write.window_bytes", "2KiB");
        let bytes = match name {
            "a.csv.gz" => gzip(text.as_bytes()),
            "a.csv.zst" => zstd(text.as_bytes()),
            _ => text.clone().into_bytes(),
        };
        world.drop_file(name, bytes);
        for stop in [6, 4 + step, 5, 7, 9] {
            let mut run = world.command(&["run", "--once"]);
            let ended = run.env("NEEDLEDROP_ABORT_AT", stop.to_string()).output().unwrap();
            assert!(!ended.status.success(), "it should have ended in the middle");
        }
        world.once(0);
        assert_eq!(table(&world), expected, "{name}");
        assert_eq!(counts(&world.receipt(name)), ("loaded", 400, 0));
    }
}

#[test]
fn line_ends_in_quotes_are_text_wherever_a_file_grows() {
    let (text, expected) = with_line_ends(5);
    for cut in 1..text.len() {
        if cut % 7 != 0 {
            continue;
        }
        let world = world();
        world.drop_file("a.csv", &text[..cut]);
        world.run(&["run", "--once"]);
        world.append("a.csv", &text[cut..]);
        world.run(&["run", "--once"]);
        assert_eq!(table(&world), expected, "cut at {cut}");
        assert_eq!(counts(&world.receipt("a.csv")), ("loaded", 5, 0), "cut at {cut}");
    }
}

#[test]
fn an_open_quote_quarantines_its_line_and_no_other() {
    let text = format!("k,v\na,1\nb,\"open\n{}", rows(0..5000));
    let world = world().with("limits.max_record_bytes", "1KiB");
    world.drop_file("a.csv", text);
    world.once(1);
    assert_eq!(counts(&world.receipt("a.csv")), ("loaded", 5001, 1));
    let entry = &quarantine(&world)[0];
    assert_eq!((&entry["line"], &entry["byte"], &entry["reason"]), (&json!(3), &json!(8), &json!("quote")));
    assert_eq!(entry["raw"], "b,\"open");
}

#[test]
fn an_open_quote_in_a_complete_file_is_explained_until_it_is_fixed() {
    let text = "k,v\na,1\nb,\"open\nc,3\nd,4\n";
    let world = world();
    world.drop_file("a.csv", text);
    let output = world.run(&["load", "a.csv"]);
    assert_eq!(output.code, 1, "{output:?}");
    let receipt = world.receipt("a.csv");
    assert_eq!(counts(&receipt), ("incomplete", 1, 0));
    let words = ["line 3", "still open", "16 bytes"];
    assert!(words.iter().all(|word| detail(&receipt).contains(word)), "{receipt}");
    assert!(output.stdout.contains("incomplete") || output.stderr.contains("incomplete"), "{output:?}");
    // The quote is closed by appended text, and then the file is corrected. Nothing was lost.
    world.append("a.csv", "\"\ne,5\n");
    world.once(0);
    assert_eq!(counts(&world.receipt("a.csv")), ("loaded", 3, 0));
    assert_eq!(table(&world)[1], ("b".to_owned(), "open\nc,3\nd,4\n".to_owned()));
    world.drop_file("a.csv", text.replace("\"open", "closed"));
    world.once(0);
    assert_eq!(counts(&world.receipt("a.csv")), ("loaded", 4, 0));
}
