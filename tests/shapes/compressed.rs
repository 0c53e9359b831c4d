//! Tests of compressed files that have several members, are cut off or are corrupt, and of files that are not CSV.

use super::*;

type Pack = fn(&[u8]) -> Vec<u8>;

#[test]
fn a_file_with_several_members_is_loaded_completely() {
    let parts =
        [format!("k,v\n{}", rows(0..10)), String::new(), rows(10..15), "k15,\"v".into(), "15\"\n".into()];
    let packs: [(&str, Pack); 2] = [("a.csv.gz", gzip), ("a.csv.zst", zstd)];
    for (name, pack) in packs {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| pack(part.as_bytes())).collect();
        let (world, receipt) = loaded(name, bytes);
        assert_eq!(counts(&receipt), ("loaded", 16, 0), "{name}: {receipt}");
        // The same text without compression is a duplicate.
        world.drop_file("b.csv", parts.concat());
        assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1 }), "{name}");
    }
}

#[test]
fn a_zstd_frame_may_follow_a_skippable_frame() {
    let mut bytes = b"\x50\x2a\x4d\x18\x04\0\0\0abcd".to_vec();
    bytes.extend(zstd(b"k,v\na,1\n"));
    assert_eq!(counts(&loaded("a.csv.zst", bytes).1), ("loaded", 1, 0));
}

#[test]
fn the_complete_part_of_a_truncated_file_is_loaded_and_the_rest_when_it_arrives() {
    let packs: [(&str, Pack); 2] = [("a.csv.gz", gzip), ("a.csv.zst", zstd)];
    for (text, step) in [(format!("k,v\n{}", rows(0..20)), 9), (format!("k,v\n{}", noise(20_000)), 200_000)] {
        for (name, pack) in packs {
            // Two members, like a file that was appended to.
            let half = text[..text.len() / 2].rfind('\n').unwrap() + 1;
            let bytes = [pack(&text.as_bytes()[..half]), pack(&text.as_bytes()[half..])].concat();
            let boundary = pack(&text.as_bytes()[..half]).len();
            let cuts = (5..bytes.len()).step_by(step).chain([boundary, boundary + 1, bytes.len() - 1]);
            for cut in cuts {
                let world = world();
                world.drop_file(name, &bytes[..cut]);
                let state = if cut == boundary { "loaded" } else { "incomplete" };
                world.once(i32::from(cut != boundary));
                let receipt = world.receipt(name);
                assert_eq!(receipt["state"], state, "{name} cut at {cut} of {}: {receipt}", bytes.len());
                assert!(cut < boundary || counts(&receipt).1 > 0, "{name} cut at {cut}: {receipt}");
                world.append(name, &bytes[cut..]);
                world.once(0);
                let lines = text.lines().count() as u64 - 1;
                assert_eq!(counts(&world.receipt(name)), ("loaded", lines, 0), "{name} cut at {cut}");
                assert_eq!(world.accounts()["t"], (lines, 0), "{name} cut at {cut}");
            }
        }
    }
}

#[test]
fn a_loaded_file_that_grows_by_bytes_that_cannot_be_decoded_stays_and_is_reported() {
    let packs: [(&str, Pack); 2] = [("a.csv.gz", gzip), ("a.csv.zst", zstd)];
    for (name, pack) in packs {
        let (first, second) = (pack(b"k,v\na,1\n"), pack(b"b,2\nc,3\n"));
        let world = world().with("source.after", "delete");
        let file = world.inbox().join(name);
        for (rest, state) in [(&second[..8], "incomplete"), (b"no member", "failed")] {
            world.drop_file(name, &first);
            world.once(0);
            assert!(!file.exists(), "{name}");
            world.drop_file(name, [&first[..], rest].concat());
            world.once(1);
            assert!(file.exists(), "{name}");
            assert_eq!(world.receipt(name)["state"], state, "{name}");
        }
        world.drop_file(name, [first, second].concat());
        world.once(0);
        assert_eq!(counts(&world.receipt(name)), ("loaded", 3, 0), "{name}");
    }
}

#[test]
fn a_corrupt_file_fails_with_a_hint_and_keeps_its_loaded_records() {
    let packs: [(&str, Pack); 2] = [("a.csv.gz", gzip), ("a.csv.zst", checked_zstd)];
    for (records, some) in [(20, false), (50_000, true)] {
        for (name, pack) in packs {
            let text = format!("k,v\n{}", noise(records));
            let mut bytes = pack(text.as_bytes());
            let middle = bytes.len() / 2;
            bytes[middle..middle + 8].fill(0xff);
            let (world, receipt) = loaded(name, &bytes);
            let (state, loaded, _) = counts(&receipt);
            assert_eq!((state, &receipt["closes"]), ("failed", &json!(true)), "{name}: {receipt}");
            assert!(detail(&receipt).contains("compress the file again"), "{receipt}");
            assert!(!some || loaded > 1000, "{name}: {receipt}");
            assert_eq!(world.accounts()["t"].0, loaded, "{name}");
            // The corrupt file is not tried again unchanged, and it holds up no other file.
            world.drop_file("b.csv", "k,v\nb,2\n");
            assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }), "{name}");
            world.drop_file(name, pack(text.as_bytes()));
            world.once(0);
            assert_eq!(counts(&world.receipt(name)), ("loaded", records.into(), 0), "{name}");
        }
    }
}

#[test]
fn a_daemon_tries_a_corrupt_file_once() {
    let world = world().with("source.settle", "50ms").with("source.poll", "100ms");
    let _daemon = world.daemon();
    let mut bytes = gzip(format!("k,v\n{}", noise(20)).as_bytes());
    let last = bytes.len() - 8;
    bytes[last] ^= 0xff;
    world.drop_file("a.csv.gz", bytes);
    until("it has failed", || (world.states().get("a.csv.gz")? == "failed").then_some(()));
    for name in ["b.csv", "c.csv"] {
        world.drop_file(name, format!("k,v\n{name},2\n"));
        until("the next is loaded", || (world.states().get(name)? == "loaded").then_some(()));
    }
    assert_eq!(world.generations("a.csv.gz"), 1);
}

#[test]
fn garbage_after_the_end_of_a_compressed_file_is_reported() {
    let text = format!("k,v\n{}", rows(0..10));
    for (name, mut bytes) in [("a.csv.gz", gzip(text.as_bytes())), ("a.csv.zst", zstd(text.as_bytes()))] {
        bytes.extend_from_slice(b"this is no member of it");
        let (world, receipt) = loaded(name, &bytes);
        assert_eq!(counts(&receipt), ("failed", 10, 0), "{name}: {receipt}");
        assert!(detail(&receipt).contains("compress the file again"), "{receipt}");
        assert_eq!(table(&world).len(), 10);
        // The result is the same if the text was loaded before.
        let world = self::world();
        world.drop_file("0.csv", &text);
        world.drop_file(name, &bytes);
        assert_eq!(world.once(1)["deliveries"], json!({ "failed": 1, "loaded": 1 }), "{name}");
    }
}

#[test]
fn the_content_decides_the_compression_and_not_the_suffix() {
    let text = b"k,v\na,1\n";
    for (name, bytes) in
        [("a.csv", gzip(text)), ("b.csv", zstd(text)), ("c.csv.gz", text.to_vec()), ("d.csv.gz", zstd(text))]
    {
        assert_eq!(counts(&loaded(name, bytes).1), ("loaded", 1, 0), "{name}");
    }
}

#[test]
fn a_file_that_is_not_csv_is_refused_with_its_kind() {
    let tar = [b"a.csv".as_slice(), &[0; 252], b"ustar\x0000", &[0; 300]].concat();
    let cases: [(&[u8], &str); 7] = [
        (&gzip(&tar), "a tar archive"),
        (b"Rar!\x1a\x07\x01\0\n", "RAR"),
        (b"\xfd7zXZ\0\0\x04", "xz"),
        (b"BZh91AY&SY\n", "bzip2"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\n", ".xls"),
        (b"%PDF-1.7\n", "PDF"),
        (&gzip(&gzip(b"k,v\na,1\n")), "a gzip file inside a compressed file"),
    ];
    for (bytes, word) in cases {
        let (_, receipt) = loaded("a.csv", bytes);
        assert_eq!(counts(&receipt), ("failed", 0, 0));
        assert!(detail(&receipt).contains(word) && detail(&receipt).contains("next: "), "{word}: {receipt}");
    }
}
