//! Tests of zip archives. One with a single file is read like a compressed file; others are refused with what they are.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::*;

/// A file in an archive, and how it is packed.
struct Member<'m> {
    name: &'m str,
    bytes: &'m [u8],
    method: u16,
    flags: u16,
}

fn deflated<'m>(name: &'m str, bytes: &'m [u8]) -> Member<'m> {
    Member { name, bytes, method: 8, flags: 0 }
}

fn stored<'m>(name: &'m str, bytes: &'m [u8]) -> Member<'m> {
    Member { name, bytes, method: 0, flags: 0 }
}

fn packed(member: &Member<'_>) -> Vec<u8> {
    if member.method == 0 {
        return member.bytes.to_vec();
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(member.bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns the fields that local header and directory entry share, from the version needed to the lengths.
fn fields(member: &Member<'_>, packed: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(member.bytes);
    let sizes = [packed.len(), member.bytes.len()].map(|len| u32::try_from(len).unwrap());
    let mut fields = [20, member.flags, member.method, 0, 0].map(u16::to_le_bytes).concat();
    fields.extend([crc.sum(), sizes[0], sizes[1]].map(u32::to_le_bytes).concat());
    fields.extend([u16::try_from(member.name.len()).unwrap(), 0].map(u16::to_le_bytes).concat());
    fields
}

fn zip(members: &[Member<'_>]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let (packed, local) = (packed(member), u32::try_from(archive.len()).unwrap());
        let fields = fields(member, &packed);
        archive.extend([b"PK\x03\x04", fields.as_slice(), member.name.as_bytes(), &packed].concat());
        directory.extend([b"PK\x01\x02\x14\0", fields.as_slice(), &[0; 10]].concat());
        directory.extend([&local.to_le_bytes(), member.name.as_bytes()].concat());
    }
    let count = u16::try_from(members.len()).unwrap();
    let places = [directory.len(), archive.len()].map(|len| u32::try_from(len).unwrap());
    archive.extend(directory);
    archive
        .extend([b"PK\x05\x06\0\0\0\0".as_slice(), &[count, count].map(u16::to_le_bytes).concat()].concat());
    archive.extend(places.map(u32::to_le_bytes).concat());
    archive.extend([0, 0]);
    archive
}

#[test]
fn an_archive_with_one_file_is_loaded_and_is_a_duplicate_of_its_text() {
    let text = format!("k,v\n{}", noise(30_000));
    for pack in [deflated, stored] {
        let file = pack("folder/a.csv", text.as_bytes());
        let others = [stored("folder/", b""), deflated("__MACOSX/folder/._a.csv", b"\0\x05\x16\x07")];
        let [folder, fork] = others;
        let (world, receipt) = loaded("a.csv.zip", zip(&[folder, fork, file]));
        assert_eq!(counts(&receipt), ("loaded", 30_000, 0), "{receipt}");
        world.drop_file("b.csv", &text);
        assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1 }));
    }
}

#[test]
fn an_archive_that_is_no_single_csv_is_refused_with_what_it_is() {
    let text = b"k,v\na,1\n";
    let workbook = [deflated("[Content_Types].xml", b"<x/>"), deflated("xl/workbook.xml", b"<x/>")];
    let cases: [(Vec<u8>, &str); 6] = [
        (zip(&[deflated("a.csv", text), deflated("b.csv", text)]), "with several files"),
        (zip(&[]), "without files"),
        (zip(&[Member { flags: 1, ..deflated("a.csv", text) }]), "encrypted"),
        (zip(&[Member { method: 12, ..deflated("a.csv", text) }]), "another compression than deflate"),
        (zip(&workbook), "Excel workbook"),
        ([b"PK\x03\x04", zip(&[deflated("a.csv", text)]).as_slice()].concat(), "damaged"),
    ];
    for (bytes, word) in cases {
        let (_, receipt) = loaded("a.csv.zip", bytes);
        assert_eq!(counts(&receipt), ("failed", 0, 0), "{word}: {receipt}");
        assert!(detail(&receipt).contains(word) && detail(&receipt).contains("next: "), "{word}: {receipt}");
    }
}

#[test]
fn an_archive_without_its_end_is_incomplete_and_loaded_when_the_end_arrives() {
    let text = format!("k,v\n{}", rows(0..100));
    let bytes = zip(&[deflated("a.csv", text.as_bytes())]);
    for cut in (5..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        let world = world();
        world.drop_file("a.csv.zip", &bytes[..cut]);
        world.once(1);
        assert_eq!(world.receipt("a.csv.zip")["state"], "incomplete", "cut at {cut}");
        world.append("a.csv.zip", &bytes[cut..]);
        world.once(0);
        assert_eq!(counts(&world.receipt("a.csv.zip")), ("loaded", 100, 0), "cut at {cut}");
    }
}

#[test]
fn a_wrong_checksum_or_size_fails_the_file() {
    let text = format!("k,v\n{}", rows(0..100));
    for pack in [deflated, stored] {
        let whole = zip(&[pack("a.csv", text.as_bytes())]);
        let directory = whole.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
        // The checksum and the size in the directory.
        for at in [16, 24] {
            let mut bytes = whole.clone();
            bytes[directory + at] ^= 1;
            let (_, receipt) = loaded("a.csv.zip", bytes);
            let state = receipt["state"].as_str().unwrap();
            assert!(state == "failed" || (state == "incomplete" && at == 24), "{receipt}");
        }
    }
}

#[test]
fn an_archive_that_expands_to_zeros_is_one_quarantine_entry() {
    let world = world();
    let zeros = [b"k,v\na,1\n".as_slice(), &vec![0; 128 << 20], b"\nb,2\n"].concat();
    world.drop_file("a.csv.zip", zip(&[deflated("a.csv", &zeros)]));
    let summary = world.once(1);
    assert!(summary["peak_memory_bytes"].as_u64().unwrap() < MOST_MEMORY, "{summary}");
    assert_eq!(counts(&world.receipt("a.csv.zip")), ("loaded", 2, 1));
}
