//! Tests of law 4, content is identity: files that are copied, renamed, rewritten or grown.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{HEADER, World, csv, events, gzip};
use serde_json::{Value as Json, json};

const FILE: &str = "2018-11-01-events.csv";

/// Returns a world in which this file is loaded.
fn loaded(bytes: impl AsRef<[u8]>) -> World {
    let world = World::new();
    world.drop_file(FILE, bytes);
    world.once(0);
    world
}

/// Asserts that tables, counts and receipt are those of a load that saw nothing but these bytes.
fn assert_as_clean(world: &World, bytes: impl AsRef<[u8]>) {
    let clean = loaded(bytes);
    assert_eq!(world.tables(), clean.tables());
    assert_eq!(world.accounts(), clean.accounts());
    let (receipt, expected) = (world.receipt(FILE), clean.receipt(FILE));
    for key in ["bytes", "hash", "records", "loaded", "skipped", "quarantined", "tables", "closes"] {
        assert_eq!(receipt[key], expected[key], "{key} of {receipt}");
    }
}

fn states(world: &World) -> Json {
    world.json(&["status"])["states"].clone()
}

#[test]
fn the_same_bytes_under_another_name_are_a_duplicate() {
    let world = loaded(csv(0..5));
    let before = world.tables();
    world.drop_file("copy.csv", csv(0..5));
    let output = world.run(&["run", "--once"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("1 duplicate"), "{output:?}");
    assert!(output.stderr.contains("the same bytes as 2018-11-01-events.csv"), "{output:?}");
    let receipt = world.receipt("copy.csv");
    assert_eq!(receipt["state"], "duplicate");
    assert_eq!((&receipt["records"], &receipt["tables"]), (&json!(0), &json!({})));
    assert_eq!(world.tables(), before);
    assert_eq!(world.accounts()["session_item"], (5, 0), "no row was sent");
}

#[test]
fn identical_files_in_one_listing_are_loaded_once() {
    let world = World::new();
    for name in ["a.csv", "b.csv", "c.csv"] {
        world.drop_file(name, csv(0..50));
    }
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1, "duplicate": 2 }));
    assert_eq!(world.states()["a.csv"], "loaded", "the first file in the listing counts");
    assert_eq!(world.accounts()["session_item"], (50, 0));
}

#[test]
fn files_with_the_same_beginning_are_distinguished() {
    // The first 64 KiB are the same.
    let world = loaded(csv(0..2000));
    world.drop_file("other.csv", csv(0..2001));
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(world.tables()["session_item"].len(), 2001);
    world.drop_file("again.csv", csv(0..2001));
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1 }));
}

#[test]
fn a_file_that_grows_into_known_content_is_a_duplicate() {
    let world = loaded(csv(0..5));
    let newer = csv(0..5).replace("Ann", "Eve");
    world.drop_file("2018-11-02-events.csv", &newer);
    world.drop_file("copy.csv", HEADER);
    world.once(0);
    let before = world.tables();
    world.append("copy.csv", events(0..5));
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1 }));
    assert_eq!(world.tables(), before, "older rows do not come back");
}

#[test]
fn a_renamed_file_is_not_loaded_again() {
    let world = loaded(csv(0..5));
    let before = world.tables();
    fs::rename(world.inbox().join(FILE), world.inbox().join("renamed.csv")).unwrap();
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1 }));
    assert_eq!(world.tables(), before);
    assert_eq!(world.accounts()["session_item"], (5, 0));
}

#[test]
fn a_touched_file_is_not_loaded_again() {
    let world = loaded(csv(0..5));
    let before = world.dump();
    world.drop_file(FILE, csv(0..5));
    assert_eq!(world.once(0)["deliveries"], json!({}));
    assert_eq!(world.dump(), before);
}

#[test]
fn a_file_with_another_beginning_is_a_new_generation() {
    let first = csv(0..5);
    let cases = [
        ("the same size", first.replace("Artist 2", "Artist 9")),
        ("shorter, cut off", csv(0..3)),
        ("shorter", csv(0..3).replace("Artist 0", "Artist X")),
        ("longer", csv(0..8).replace("Artist 0", "Artist X")),
        ("another order", format!("{HEADER}{}{}", events(3..5), events(0..3))),
    ];
    for (what, second) in cases {
        let world = loaded(&first);
        // The modification time is put back, so that only the content shows the change.
        let place = world.inbox().join(FILE);
        let mtime = fs::metadata(&place).unwrap().modified().unwrap();
        world.drop_file(FILE, &second);
        fs::File::options().append(true).open(&place).unwrap().set_modified(mtime).unwrap();
        assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }), "{what}");
        let receipt = world.receipt(FILE);
        assert_eq!(receipt["generation"], 2, "{what}: {receipt}");
        assert_eq!(receipt["bytes"], second.len(), "{what}: {receipt}");
        let clean = loaded(&second).tables();
        for (table, rows) in world.tables() {
            let missing: Vec<_> = clean[&table].iter().filter(|row| !rows.contains(row)).collect();
            assert!(missing.is_empty(), "{what}: {table} lacks {missing:?}");
        }
        let before = world.dump();
        world.once(0);
        assert_eq!(world.dump(), before, "{what}");
    }
}

#[test]
fn a_file_that_grew_is_continued_where_it_stood() {
    let world = loaded(csv(0..5));
    let first = csv(0..5).len();
    world.append(FILE, events(5..7));
    let summary = world.once(0);
    assert_eq!(summary["records"]["read"], 2, "only the new records are read");
    let grown = csv(0..7).len() - first;
    let status = world.json(&["status"]);
    let detail = &status["deliveries"][0]["detail"];
    assert_eq!(*detail, format!("grew by {grown} bytes, its beginning verified"));
    world.append(FILE, events(7..9));
    world.once(0);
    let receipt = world.receipt(FILE);
    assert_eq!(receipt["generation"], 1);
    assert_eq!(receipt["parts"], json!([first, csv(0..7).len(), csv(0..9).len()]));
    assert!(world.run(&["receipt", FILE]).stdout.contains("parts"));
    assert_as_clean(&world, csv(0..9));
}

#[test]
fn a_compressed_file_that_grew_is_continued() {
    let world = World::new();
    let name = "2018-11-01-events.csv.gz";
    world.drop_file(name, gzip(csv(0..5).as_bytes()));
    world.once(0);
    world.append(name, gzip(events(5..7).as_bytes()));
    assert_eq!(world.once(0)["records"]["read"], 2);
    assert_eq!(world.receipt(name)["generation"], 1);
    assert_eq!(world.tables(), loaded(csv(0..7)).tables());
}

/// The keys of a receipt that describe what was loaded.
const ACCOUNT: [&str; 7] = ["bytes", "hash", "records", "loaded", "skipped", "quarantined", "closes"];

fn row(user: &str) -> String {
    format!("A,Ann,F,0,Lee,1.5,free,\"X, Y\",7,Song,{user}")
}

/// Returns a world in which `first` was loaded and then grew, and a world in which the whole file was loaded at once.
fn grown(first: &str, growth: &str) -> (World, World) {
    let (world, clean) = (World::new(), World::new());
    world.drop_file(FILE, first);
    world.run(&["run", "--once"]);
    world.append(FILE, growth);
    clean.drop_file(FILE, format!("{first}{growth}"));
    for world in [&world, &clean] {
        world.run(&["run", "--once"]);
    }
    (world, clean)
}

#[test]
fn a_line_end_after_an_open_tail_continues_the_delivery() {
    let crlf = HEADER.replace('\n', "\r\n");
    let cases = [
        ("the line end follows", format!("{HEADER}{}", row("1")), "\n".to_owned()),
        ("and more", format!("{}{}", csv(0..3), row("1")), format!("\n{}", events(3..5))),
        ("a carriage return and a line feed", format!("{crlf}{}", row("1")), format!("\r\n{}\r\n", row("2"))),
        ("its second half", format!("{crlf}{}\r", row("1")), format!("\n{}\r\n", row("2"))),
        ("behind a refused record", format!("{}{}", csv(0..1), row("-")), format!("\n{}\n", row("2"))),
        ("behind a skipped record", format!("{HEADER},,,,,,,,,,1"), format!("\n{}\n", row("2"))),
        ("behind a header", HEADER.trim_end().to_owned(), format!("\n{}", events(0..2))),
        ("an open quote waits", format!("{HEADER}{}", row("\"1")), "\"\n".to_owned()),
    ];
    for (what, first, growth) in cases {
        let (world, clean) = grown(&first, &growth);
        assert_eq!(world.tables(), clean.tables(), "{what}");
        assert_eq!(world.accounts(), clean.accounts(), "{what}");
        let (receipt, expected) = (world.receipt(FILE), clean.receipt(FILE));
        assert_eq!(receipt["generation"], 1, "{what}: {receipt}");
        for key in ACCOUNT.into_iter().chain(["tables"]) {
            assert_eq!(receipt[key], expected[key], "{what}: {key} of {receipt}");
        }
        let entries = ["quarantine", "list"];
        assert_eq!(world.json(&entries), clean.json(&entries), "{what}");
    }
}

#[test]
fn growth_that_changes_the_record_of_an_open_tail_is_a_new_generation() {
    let cases = [
        ("1 becomes 12", format!("{HEADER}{}", row("1")), "2\n".to_owned()),
        ("and more follows", format!("{HEADER}{}", row("1")), format!("2\n{}", events(3..5))),
        ("behind others", format!("{}{}", csv(0..3), row("1")), "2\n".to_owned()),
        ("out of a collision", format!("{HEADER}{}\n{}", row("1"), row("1")), "2\n".to_owned()),
        ("a value that is none", format!("{HEADER}{}", row("-")), "7\n".to_owned()),
        ("a value no more", format!("{HEADER}{}", row("1")), "x\n".to_owned()),
        ("skipped before and after", format!("{HEADER},,,,,,,,,,1"), "2\n".to_owned()),
        ("a header", HEADER.trim_end().to_owned(), format!(",more\n{}", events(0..1))),
        ("a carriage return in a field", format!("{HEADER}{}\r", row("1")), format!("\r\n{}\n", row("2"))),
    ];
    for (what, first, growth) in cases {
        let (world, clean) = grown(&first, &growth);
        let (receipt, expected) = (world.receipt(FILE), clean.receipt(FILE));
        assert_eq!(receipt["generation"], 2, "{what}: {receipt}");
        for key in ACCOUNT {
            assert_eq!(receipt[key], expected[key], "{what}: {key} of {receipt}");
        }
        for (table, rows) in clean.tables() {
            let found = &world.tables()[&table];
            assert!(rows.iter().all(|row| found.contains(row)), "{what}: {table} is {found:?}");
        }
    }
}

#[test]
fn a_path_whose_loaded_tail_changed_waits_for_a_line_end() {
    let world = World::new();
    world.drop_file(FILE, format!("{HEADER}{}", row("1")));
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(world.receipt(FILE)["ends_without_newline"], true);
    world.append(FILE, "2");
    assert_eq!(
        world.once(1)["deliveries"],
        json!({ "incomplete": 1 }),
        "after growth changed a loaded tail, the next tail waits"
    );
    let receipt = world.receipt(FILE);
    assert_eq!((&receipt["generation"], &receipt["records"]), (&json!(2), &json!(0)), "{receipt}");
    assert!(receipt["detail"].as_str().unwrap().contains("has no line end"), "{receipt}");
    // With `load` the user states that the file is complete.
    assert_eq!(world.run(&["load", FILE]).code, 0);
    assert_eq!(world.receipt(FILE)["records"], 1);
    world.append(FILE, "3\n");
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(world.receipt(FILE)["generation"], 3);
}

#[test]
fn a_final_line_end_can_be_required() {
    let world = World::new().with("source.final_newline", "required");
    world.drop_file(FILE, format!("{}{}", csv(0..3), row("1")));
    assert_eq!(world.once(1)["deliveries"], json!({ "incomplete": 1 }));
    assert_eq!(world.receipt(FILE)["records"], 3);
    assert_eq!(world.run(&["load", FILE]).code, 1, "it is still incomplete");
    world.append(FILE, "\n");
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_as_clean(&world, format!("{}{}\n", csv(0..3), row("1")));
}

#[test]
#[cfg(target_os = "linux")]
fn a_writer_that_is_seen_holds_the_tail_back() {
    let world = World::new();
    world.drop_file(FILE, format!("{}{}", csv(0..3), row("1")));
    let writer = fs::File::options().append(true).open(world.inbox().join(FILE)).unwrap();
    assert_eq!(world.once(1)["deliveries"], json!({ "incomplete": 1 }));
    let receipt = world.receipt(FILE);
    assert!(receipt["detail"].as_str().unwrap().contains("open for writing"), "{receipt}");
    drop(writer);
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(world.receipt(FILE)["generation"], 1);
}

#[test]
fn the_same_bytes_with_other_values_from_the_path_are_no_duplicate() {
    let mut world = World::new();
    world.set("source.derive.day", "file_date");
    let declared = "{ partition_key: [day], clustering_key: [sessionId, itemInSession], columns: [song] }";
    world.set("tables.by_day", declared);
    for name in ["2024-01-01.csv", "2024-01-02.csv"] {
        world.drop_file(name, csv(0..3));
    }
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 2 }));
    assert_eq!(world.tables()["by_day"].len(), 6);
    // The same day under another name is still a duplicate.
    world.drop_file("copy-of-2024-01-02.csv", csv(0..3));
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1 }));
}

#[test]
fn a_last_record_with_fewer_fields_waits_for_the_rest() {
    let whole = csv(0..3);
    for cut in [5, 20, 40] {
        let world = World::new();
        world.drop_file(FILE, &whole[..whole.len() - cut]);
        let summary = world.once(1);
        assert_eq!(summary["deliveries"], json!({ "incomplete": 1 }), "cut {cut}");
        assert_eq!(summary["records"]["read"], 2, "cut {cut}");
        assert_eq!(
            world.json(&["quarantine", "list"]),
            json!([]),
            "cut {cut}: an incomplete record is not refused"
        );
        // No bytes came, so there is nothing to do and nothing new to report.
        assert_eq!(world.once(0)["deliveries"], json!({}), "cut {cut}");
        world.append(FILE, &whole[whole.len() - cut..]);
        assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }), "cut {cut}");
        assert_as_clean(&world, &whole);
    }
}

#[test]
fn an_incomplete_record_that_is_corrected_in_place_is_loaded() {
    let whole = csv(0..3);
    let broken = format!("{}\"3", whole.strip_suffix("3\n").unwrap());
    assert_eq!(broken.len(), whole.len(), "the size does not show the change");
    let world = World::new();
    world.drop_file(FILE, &broken);
    assert_eq!(world.once(1)["deliveries"], json!({ "incomplete": 1 }));
    world.drop_file(FILE, &whole);
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_as_clean(&world, &whole);
}

#[test]
fn a_truncated_gz_is_incomplete_until_the_rest_arrives() {
    let whole = csv(0..20_000);
    let packed = gzip(whole.as_bytes());
    let name = "2018-11-01-events.csv.gz";
    for part in [30, packed.len() / 2, packed.len() - 4] {
        let world = World::new();
        world.drop_file(name, &packed[..part]);
        assert_eq!(world.once(1)["deliveries"], json!({ "incomplete": 1 }), "{part} bytes");
        world.drop_file(name, &packed);
        assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }), "{part} bytes");
        let receipt = world.receipt(name);
        assert_eq!((&receipt["generation"], &receipt["loaded"]), (&json!(1), &json!(20_000)), "{receipt}");
        assert_eq!(world.tables()["session_item"].len(), 20_000);
        assert_eq!(world.accounts()["session_item"], (20_000, 0));
    }
}

#[test]
fn files_without_a_record_are_loaded_and_never_duplicates() {
    let world = World::new();
    let files = [
        ("empty.csv", String::new()),
        ("empty-too.csv", String::new()),
        ("header.csv", HEADER.to_owned()),
        ("header-too.csv", HEADER.to_owned()),
        ("header-without-line-end.csv", HEADER.trim_end().to_owned()),
        ("blank-lines.csv", format!("{HEADER}\n\r\n\n")),
        ("only-blank-lines.csv", "\n\n\r\n".to_owned()),
        ("only-a-byte-order-mark.csv", "\u{feff}".to_owned()),
    ];
    for (name, bytes) in &files {
        world.drop_file(name, bytes);
    }
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": files.len() }));
    for (name, bytes) in &files {
        let receipt = world.receipt(name);
        assert_eq!((&receipt["records"], &receipt["closes"]), (&json!(0), &json!(true)), "{receipt}");
        assert_eq!(receipt["bytes"], bytes.len(), "{receipt}");
    }
    let before = world.dump();
    assert_eq!(world.once(0)["deliveries"], json!({}));
    assert_eq!(world.dump(), before);
}

#[test]
fn a_file_that_began_empty_or_with_half_a_header_is_loaded_when_it_grows() {
    for begin in ["", "\n", HEADER, HEADER.trim_end()] {
        let world = loaded(begin);
        world.append(FILE, &csv(0..3)[begin.trim_start().len()..]);
        world.once(0);
        assert_eq!(world.tables(), loaded(csv(0..3)).tables(), "{begin:?}");
        assert_eq!(world.accounts()["session_item"], (3, 0), "{begin:?}");
        assert_eq!(world.receipt(FILE)["loaded"], 3, "{begin:?}");
    }
}

#[test]
fn a_failed_delivery_is_tried_again_when_bytes_or_configuration_change() {
    let other = csv(0..3).replacen("artist,", "performer,", 1);
    let mut world = World::new();
    world.drop_file(FILE, &other);
    assert_eq!(world.once(1)["deliveries"], json!({ "failed": 1 }));
    assert_eq!(world.once(0)["deliveries"], json!({}), "nothing changed");
    world.set("source.columns.artist", "{ type: text, from: performer }");
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(world.tables(), loaded(csv(0..3)).tables());

    let world = World::new();
    world.drop_file(FILE, &other);
    world.once(1);
    world.drop_file(FILE, csv(0..3));
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(world.tables(), loaded(csv(0..3)).tables());
}

#[test]
fn a_delivery_that_failed_because_of_its_records_is_not_tried_again_by_itself() {
    let world = World::new().with("limits.max_quarantined", "1");
    world.drop_file(FILE, format!("{}x\ny\nz\n", csv(0..3)));
    assert_eq!(world.once(1)["deliveries"], json!({ "failed": 1 }));
    let before = world.dump();
    assert_eq!(world.once(0)["deliveries"], json!({}));
    assert!(world.dump() == before, "an unchanged failed file was loaded again");
    assert_eq!(world.run(&["load", FILE, "--again"]).code, 1);
    assert_eq!(world.generations(FILE), 2);
}

#[test]
fn load_again_is_a_new_generation_at_the_end_of_the_order() {
    let world = loaded(csv(0..3));
    let later = csv(0..3).replace("Artist", "Later");
    world.drop_file("2018-11-02-events.csv", &later);
    world.once(0);
    assert_eq!(world.tables()["session_item"], loaded(&later).tables()["session_item"]);
    assert_eq!(world.run(&["load", FILE]).code, 0);
    assert_eq!(world.generations(FILE), 1, "it is loaded already");
    let output = world.run(&["load", &format!("inbox/{FILE}"), "--again"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(world.tables(), loaded(csv(0..3)).tables());
    let generations: Vec<Json> =
        ["1", "2"].iter().map(|n| world.json(&["receipt", FILE, "--generation", n])).collect();
    assert_eq!((&generations[0]["generation"], &generations[1]["generation"]), (&json!(1), &json!(2)));
    let base = |receipt: &Json| receipt["stamps"][0]["base"].as_i64().unwrap();
    assert!(base(&generations[0]) < base(&generations[1]));
    assert_eq!(world.receipt(FILE)["generation"], 2, "receipt shows the newest generation");
    assert_eq!(world.run(&["receipt", FILE, "--generation", "3"]).code, 1);
}

/// Adds a table to the shipped configuration.
fn with_another_table(world: &mut World) {
    let declared = "{ partition_key: [artist], clustering_key: [sessionId, itemInSession], columns: [song] }";
    world.set("tables.by_artist", declared);
}

#[test]
fn a_new_table_is_behind_until_it_is_backfilled_from_the_kept_files() {
    let files = [
        (FILE, csv(0..5)),
        ("2018-11-02-events.csv", format!("{HEADER}{}bad\n", events(3..8).replace("Ann", ""))),
        ("2018-11-03-events.csv", HEADER.to_owned()),
    ];
    let mut world = World::new();
    let mut clean = World::new();
    for (name, bytes) in &files {
        world.drop_file(name, bytes);
        clean.drop_file(name, bytes);
    }
    world.once(1);
    with_another_table(&mut world);
    with_another_table(&mut clean);
    clean.once(1);

    assert_eq!(world.once(0)["deliveries"], json!({}), "nothing is read again silently");
    let status = world.json(&["status"]);
    assert_eq!(status["tables"]["by_artist"]["behind"], 2, "{status}");
    assert_eq!(status["tables"]["user_song"]["behind"], 0, "{status}");
    let told = world.run(&["status"]).stdout;
    assert!(told.contains("behind by 2 deliveries; run `needledrop load --table by_artist`"), "{told}");

    let others = world.tables();
    let output = world.run(&["load", "--table", "by_artist", "--json"]);
    assert_eq!(output.code, 0, "quarantined records are not refused again: {output:?}");
    let summary = output.json();
    assert_eq!(summary["tables"]["by_artist"]["rows"], 10, "{summary}");
    assert_eq!(world.json(&["status"])["tables"]["by_artist"]["behind"], 0);
    for (table, rows) in world.tables() {
        assert!(table == "by_artist" || others[&table] == rows, "{table} was touched");
    }
    assert_eq!(world.tables(), clean.tables());
    assert_eq!(world.accounts(), clean.accounts());
    assert!(files.iter().all(|(name, _)| world.receipt(name)["closes"] == true));

    let before = world.dump();
    assert_eq!(world.run(&["load", "--table", "by_artist"]).code, 0);
    assert_eq!(world.dump(), before, "a second backfill writes nothing");
}

#[test]
fn a_dry_run_writes_nothing_and_reports_what_would_be_loaded() {
    let world = World::new();
    world.drop_file(FILE, csv(0..5));
    let summary = world.json(&["run", "--once", "--dry-run"]);
    assert_eq!((&summary["dry_run"], &summary["records"]["loaded"]), (&json!(true), &json!(5)));
    let beside: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(beside, [world.inbox()], "a dry run creates no store");
    world.once(0);
    world.append(FILE, events(5..7));
    let before = world.dump();
    assert_eq!(world.json(&["load", FILE, "--dry-run"])["records"]["loaded"], 2);
    assert_eq!(world.dump(), before);
}

#[test]
fn folder_and_store_can_move() {
    let mut world = loaded(csv(0..5));
    fs::rename(world.inbox(), world.path("elsewhere")).unwrap();
    fs::rename(world.store(), world.path("moved.db")).unwrap();
    world.set("source.folder", "elsewhere");
    world.set("store.sqlite.path", "moved.db");
    assert_eq!(world.once(0)["deliveries"], json!({}), "paths in the ledger are relative to the inbox");
    assert_eq!(states(&world), json!({ "loaded": 1 }));
}

#[test]
fn growth_after_an_open_tail_keeps_its_place_in_the_order() {
    let row = |first: &str| format!("A,{first},F,0,Lee,1.5,free,X,7,Song,1");
    let world = World::new();
    world.drop_file(FILE, format!("{HEADER}{}", row("Earlier")));
    world.once(0);
    world.drop_file("2018-11-30-events.csv", format!("{HEADER}{}\n", row("Later")));
    world.once(0);
    world.append(FILE, "\n");
    world.once(0);
    assert_eq!(world.tables()["user_song"], [[json!("Song"), json!(1), json!("Later"), json!("Lee")]]);
}
