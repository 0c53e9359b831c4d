//! Tests of bytes that are not text, and of other encodings.

use super::*;

#[test]
fn bytes_that_are_not_text_are_refused_with_their_position() {
    let text = b"x,k,v\n1,a,1\n\xff,b,\"caf\xe9,\"\"\"\n1,c,\0n\n1,d,\xed\xa0\x80\n1,e,5\n";
    let (world, receipt) = loaded("a.csv", text);
    // Bytes that are not text do no harm in a column that is not read.
    assert_eq!(counts(&receipt), ("loaded", 2, 3));
    let entries = quarantine(&world);
    let told = [
        (3, "at byte 20 is 0xe9, which is not UTF-8"),
        (4, "at byte 30 is a NUL byte"),
        (5, "at byte 37 is 0xed"),
    ];
    for ((line, words), entry) in told.iter().zip(&entries) {
        assert_eq!((&entry["line"], &entry["reason"]), (&json!(line), &json!("encoding")), "{entry}");
        assert_eq!(entry["column"], "v");
        assert!(entry["detail"].as_str().unwrap().contains(words), "{entry}");
    }
    assert_eq!(text[20], 0xe9);
    assert_eq!((text[30], text[37]), (0, 0xed));
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn another_encoding_without_the_setting_fails_and_names_the_setting() {
    let text = "\u{feff}k,v\na,1\n";
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let cases: [(&[u8], &[&str]); 6] = [
        (&utf16(text), &["UTF-16LE", "source.encoding: utf-16le"]),
        (&big, &["UTF-16BE", "source.encoding: utf-16be"]),
        (b"\xff\xfe\0\0k\0\0\0", &["UTF-32"]),
        (&utf16(&text[3..]), &["0x00 at byte 1", "source.encoding"]),
        (b"k,v\xe9\na,1\n", &["0xe9 at byte 3", "source.encoding"]),
        (&gzip(&utf16(text)), &["UTF-16LE"]),
    ];
    for (bytes, words) in cases {
        let (_, receipt) = loaded("a.csv", bytes);
        assert_eq!(counts(&receipt), ("failed", 0, 0));
        assert!(words.iter().all(|word| detail(&receipt).contains(word)), "{words:?}: {receipt}");
        assert!(detail(&receipt).contains("next: "), "{receipt}");
    }
}

#[test]
fn a_configured_encoding_is_read() {
    let text = "\u{feff}k,v\na,日本\n";
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let cases: [(&str, &[u8], &str); 5] = [
        ("windows-1252", b"k,v\na,caf\xe9 \x80\n", "café €"),
        ("latin1", b"k,v\r\na,\xfc\r\n", "ü"),
        ("utf-16le", &utf16(text), "日本"),
        ("UTF-16BE", &big, "日本"),
        ("shift_jis", b"k,v\na,\x93\xfa\x96\x7b\n", "日本"),
    ];
    for (encoding, bytes, value) in cases {
        for (name, bytes) in
            [("a.csv", bytes.to_vec()), ("a.csv.gz", gzip(bytes)), ("a.csv.zst", zstd(bytes))]
        {
            let world = world().with("source.encoding", encoding);
            world.drop_file(name, bytes);
            world.once(0);
            assert_eq!(table(&world), [("a".to_owned(), value.to_owned())], "{encoding} {name}");
            let output = world.run(&["export"]);
            assert!(output.code == 0 && output.stdout.contains(value), "{encoding}: {output:?}");
        }
    }
    let world = world().with("source.encoding", "utf-16le");
    world.drop_file("a.csv", &big);
    world.once(1);
    assert!(detail(&world.receipt("a.csv")).contains("source.encoding: utf-16be"));
}

#[test]
fn bytes_that_are_invalid_in_an_encoding_are_refused_and_not_replaced() {
    let world = world().with("source.encoding", "shift_jis");
    world.drop_file("a.csv", b"k,v\n\x93\xfa,\x81\n\x93\xfa\x81,1\nb,2\n");
    world.once(1);
    assert_eq!(counts(&world.receipt("a.csv")), ("loaded", 1, 2));
    let entries = quarantine(&world);
    let words = "at byte 8 of the file as UTF-8 is 0x81, which is not Shift_JIS";
    assert!(entries[0]["detail"].as_str().unwrap().contains(words), "{entries:?}");
    assert_eq!((&entries[1]["line"], &entries[1]["column"]), (&json!(3), &json!("k")));
    // The record is kept as UTF-8, with a sequence that UTF-8 does not have in place of the invalid byte.
    let raw = "SELECT raw FROM _needledrop_quarantine ORDER BY record LIMIT 1";
    let raw: Vec<u8> = world.open_store().query_row(raw, [], |row| row.get(0)).unwrap();
    assert_eq!(raw, ["日,".as_bytes(), b"\xed\xb2\x81"].concat());
}

#[test]
fn an_unknown_encoding_is_refused_with_its_line() {
    let world = World::of(&YAML.replace("  columns", "  encoding: utf-9\n  columns"));
    let output = world.run(&["run", "--once"]);
    let words = ["config.yaml:3", "source.encoding", "`utf-9`", "next: "];
    assert!(output.code == 2 && words.iter().all(|word| output.stderr.contains(word)), "{output:?}");
}

#[test]
fn a_file_in_another_encoding_can_grow_at_any_byte() {
    let text = utf16("\u{feff}k,v\na,\"1\n😀\"\nb,日\n");
    for cut in 0..text.len() {
        let world = world().with("source.encoding", "utf-16le");
        world.drop_file("a.csv", &text[..cut]);
        world.run(&["run", "--once"]);
        world.append("a.csv", &text[cut..]);
        world.run(&["run", "--once"]);
        assert_eq!(counts(&world.receipt("a.csv")), ("loaded", 2, 0), "cut at {cut}");
        let expected = [("a".to_owned(), "1\n😀".to_owned()), ("b".to_owned(), "日".to_owned())];
        assert_eq!(table(&world), expected, "cut at {cut}");
    }
}

#[test]
fn half_a_character_at_the_end_of_a_file_waits() {
    let world = world().with("source.encoding", "shift_jis");
    world.drop_file("a.csv", b"k,v\na,1\nb,\x93");
    world.once(1);
    let receipt = world.receipt("a.csv");
    assert_eq!(counts(&receipt), ("incomplete", 1, 0));
    assert!(detail(&receipt).contains("the last character is incomplete"), "{receipt}");
    world.append("a.csv", b"\xfa\n");
    world.once(0);
    assert_eq!(counts(&world.receipt("a.csv")), ("loaded", 2, 0));
}

#[test]
fn a_file_is_identified_by_its_text_and_not_by_its_encoding() {
    let mut world = world().with("source.encoding", "windows-1252");
    world.drop_file("a.csv", b"k,v\na,caf\xe9\n");
    world.drop_file("b.csv", "k,v\nb,2\n");
    world.once(0);
    // The same text in UTF-8 is a duplicate. A file in ASCII does not change with the setting.
    std::fs::remove_file(world.inbox().join("a.csv")).unwrap();
    world.set("source.encoding", "utf-8");
    world.drop_file("c.csv", "k,v\na,café\n");
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1 }));
    std::fs::remove_file(world.inbox().join("c.csv")).unwrap();
    world.append("b.csv", "c,3\n");
    world.once(0);
    assert_eq!((world.generations("b.csv"), counts(&world.receipt("b.csv"))), (1, ("loaded", 2, 0)));
    // The same bytes are other text now, so they are a new generation.
    world.drop_file("a.csv", b"k,v\na,caf\xe9\n");
    world.once(1);
    assert_eq!((world.generations("a.csv"), counts(&world.receipt("a.csv"))), (2, ("failed", 0, 1)));
    world.set("source.encoding", "windows-1252");
    world.append("a.csv", "e,5\n");
    world.once(0);
    assert_eq!((world.generations("a.csv"), counts(&world.receipt("a.csv"))), (3, ("loaded", 2, 0)));
}

#[test]
fn a_table_is_backfilled_from_files_in_another_encoding() {
    let mut world = world().with("source.encoding", "windows-1252");
    world.drop_file("a.csv", b"k,v\na,caf\xe9\nb,\xfc\n");
    world.once(0);
    world.set("tables.u.partition_key", "[v]");
    assert_eq!(world.run(&["load", "--table", "u"]).code, 0);
    assert_eq!(world.query("u", &["v=ü"]).len(), 1);
    world.set("source.encoding", "utf-8");
    world.set("tables.w.partition_key", "[v]");
    let output = world.run(&["load", "--table", "w"]);
    assert!(output.code == 1 && output.stderr.contains("a.csv"), "{output:?}");
    assert!(output.stderr.contains("not those that were loaded"), "{output:?}");
}
