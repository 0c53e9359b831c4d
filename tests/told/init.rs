//! Tests that `init` proposes only configurations that can load their own input.

use crate::common::{World, gzip};

/// Returns a world with the proposal for a file of the inbox, and the exit code of `init`.
fn proposed(name: &str, content: &[u8], arguments: &[&str]) -> (World, i32) {
    let world = World::new();
    world.drop_file(name, content);
    let file = format!("inbox/{name}");
    let output = world.run(&[&["init", &file, "--out", "config.yaml"], arguments].concat());
    (world.without("source.folder").with_variable("NEEDLEDROP_CONFIG", "config.yaml"), output.code)
}

#[test]
fn a_folder_is_no_file_to_propose_from() {
    let output = World::new().run(&["init", "inbox"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("inbox: it is not a regular file\n  next: name a CSV file"), "{output:?}");
}

fn assert_loads(name: &str, content: &[u8], arguments: &[&str]) {
    let (world, code) = proposed(name, content, arguments);
    assert_eq!(code, 0, "{name}");
    let summary = world.once(0);
    assert_eq!(summary["records"]["loaded"], 2, "{name}: {summary}");
}

#[test]
fn a_proposal_for_a_compressed_file_loads_it() {
    let text = b"city,n\nRome,1\nOslo,2\n";
    assert_loads("2024-01-01-a.csv.gz", &gzip(text), &[]);
    assert_loads("a.csv.zst", &zstd::encode_all(&text[..], 1).unwrap(), &[]);
}

#[test]
fn a_proposal_for_a_file_in_another_encoding_loads_it() {
    let latin = b"city,n\nM\xfcnchen,1\nK\xf6ln,2\n";
    assert_loads("a.csv", latin, &["--encoding", "windows-1252"]);
    let utf16: Vec<u8> =
        "\u{feff}city,n\nMünchen,1\nKöln,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_loads("b.csv", &utf16, &[]);
}

#[test]
fn a_proposal_for_a_file_with_another_delimiter_loads_it() {
    assert_loads("a.csv", b"city;n\nRome;1\nOslo;2\n", &[]);
    assert_loads("b.csv", b"city\tn\nRome\t1\nOslo\t2\n", &[]);
}

#[test]
fn an_unknown_encoding_is_refused() {
    assert_eq!(proposed("a.csv", b"a,b\n1,2\n", &["--encoding", "nope"]).1, 2);
}

#[test]
fn lines_above_the_header_are_refused() {
    for preamble in ["Report of 2024\n", "Report\n\n", "Made by,hand,today\n"] {
        let text = format!("{preamble}city,n\nRome,1\nOslo,2\nParis,3\n");
        assert_eq!(proposed("a.csv", text.as_bytes(), &[]).1, 2, "{preamble:?}");
    }
}

#[test]
fn a_file_with_other_line_ends_is_refused_with_the_setting() {
    for (text, lines) in [("a,b\r1,2\r", "cr"), ("a,b\r\r\n1,2\r\r\n", "crcrlf")] {
        let world = World::new();
        world.drop_file("a.csv", text);
        let output = world.run(&["init", "inbox/a.csv"]);
        assert!(
            output.code == 2 && output.stderr.contains(&format!("format.lines: {lines}\n")),
            "{output:?}"
        );
    }
}

#[test]
fn a_proposal_for_many_columns_loads_the_file() {
    let line = |text: fn(u32) -> String| (0..200).map(text).collect::<Vec<_>>().join(",");
    let (names, values) = (line(|n| format!("column_{n}")), line(|n| n.to_string()));
    assert_loads("a.csv", format!("{names}\n{values}\n{}\n", line(|n| (n + 1).to_string())).as_bytes(), &[]);
}

#[test]
fn a_proposal_for_a_feed_is_its_entry_and_loads_the_file() {
    assert_loads("2024-01-01.csv", b"city,n\nRome,1\nOslo,2\n", &["--feed", "clicks"]);
    let (world, _) = proposed("a.csv", b"city,n\nRome,1\n", &["--feed", "clicks"]);
    let text = std::fs::read_to_string(world.path("config.yaml")).unwrap();
    assert!(text.contains("\nfeeds:\n  clicks:\n    source:\n"), "{text}");
    assert!(!text.contains("\nstore:"), "the configuration that it is added to has one: {text}");
    let wrong = World::new().run(&["init", "a.csv", "--feed", "a/b"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("letters, digits, _ and -"), "{wrong:?}");
}
