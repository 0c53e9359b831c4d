//! Tests of law 5: a record that the server rejects alone is quarantined, and a file whose records are all rejected
//! fails alone.

use serde_json::{Value as Json, json};

use crate::common::{HEADER, events};
use crate::place::Place;

const FILES: [&str; 2] = ["2018-11-01-events.csv", "2018-11-02-events.csv"];

/// Returns a record with a song over 65,535 bytes. A song is the partition key of `user_song`, and Cassandra accepts
/// no longer partition key.
fn too_long(item: u32) -> String {
    events(item..item + 1).replace("Song", &"S".repeat(70_000))
}

fn entries(place: &Place) -> Vec<Json> {
    place.json(&["quarantine", "list"]).as_array().unwrap().clone()
}

fn counts(place: &Place) -> [u64; 3] {
    let status = place.json(&["status", "--count"]);
    ["session_item", "user_session", "user_song"]
        .map(|table| status["tables"][table]["count"].as_u64().unwrap())
}

#[test]
fn a_row_that_is_refused_alone_is_quarantined_and_the_file_is_loaded() {
    let Some(place) = Place::new() else { return };
    let before = format!("{HEADER}{}", events(0..4));
    let raw = too_long(4);
    place.drop_file(FILES[0], format!("{before}{raw}{}", events(5..9)));
    let summary = place.once(1);
    assert_eq!(summary["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(summary["records"], json!({ "read": 9, "loaded": 8, "skipped": 0, "quarantined": 1 }));

    let found = entries(&place);
    assert_eq!(found.len(), 1, "{found:?}");
    let entry = &found[0];
    assert_eq!((&entry["reason"], &entry["record"]), (&json!("refused"), &json!(4)));
    assert_eq!(
        (&entry["line"], &entry["byte"], &entry["bytes"]),
        (&json!(6), &json!(before.len()), &json!(raw.len() - 1))
    );
    let detail = entry["detail"].as_str().unwrap();
    assert!(detail.contains("65535") || detail.contains("Key length"), "the server's words: {detail}");
    let shown = place.json(&["quarantine", "show", FILES[0], "6"]);
    assert_eq!(shown["raw"].as_str().unwrap(), raw.trim_end(), "the raw bytes are unchanged");

    let receipt = place.receipt(FILES[0]);
    let account = ["records", "loaded", "quarantined", "state", "closes"].map(|key| receipt[key].clone());
    assert_eq!(json!(account), json!([9, 8, 1, "loaded", true]));
    assert_eq!(receipt["tables"]["user_song"]["rows"], 8);
    assert_eq!(place.once(0)["deliveries"], json!({}), "there is nothing more to do");
}

/// See docs/guarantees.md: removing the row from the other tables would hide values that older records wrote.
#[test]
fn a_record_refused_by_one_table_may_be_in_other_tables_but_is_not_counted_there() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILES[0], format!("{HEADER}{}{}{}", events(0..4), too_long(4), events(5..9)));
    place.once(1);
    assert_eq!(counts(&place), [9, 9, 8]);
    let receipt = place.receipt(FILES[0]);
    for table in ["session_item", "user_session", "user_song"] {
        assert_eq!(receipt["tables"][table]["rows"], 8, "{receipt}");
    }
}

/// The chunks and the number of records do not matter, because other records are accepted after the refused record.
#[test]
fn the_position_of_a_refused_record_does_not_matter() {
    let Some(mut place) = Place::new() else { return };
    let cases = [
        ("first", 1, format!("{HEADER}{}{}", too_long(0), events(1..6))),
        ("in the middle", 1, format!("{HEADER}{}{}{}", events(0..3), too_long(3), events(4..6))),
        (
            "two in a row",
            2,
            format!("{HEADER}{}{}{}{}", events(0..2), too_long(2), too_long(3), events(4..6)),
        ),
    ];
    for (what, refused, bytes) in cases {
        // With one chunk at a time and one record in each chunk, no other record is accepted at the same time.
        for (window, queue) in [("10000", "2"), ("2", "1"), ("1", "1")] {
            place.set("write.window", window);
            place.set("write.queue", queue);
            place.drop_file(FILES[0], &bytes);
            place.run(&["run", "--once"]);
            let receipt = place.receipt(FILES[0]);
            let found = json!([receipt["state"], receipt["loaded"], receipt["quarantined"]]);
            let detail = &receipt["detail"];
            assert_eq!(found, json!(["loaded", 6 - refused, refused]), "{what}, window {window}: {detail}");
            place.empty();
        }
    }
}

#[test]
fn a_file_whose_rows_are_all_refused_fails_and_no_other() {
    let Some(place) = Place::new() else { return };
    let all: String = (0..15).map(too_long).collect();
    place.drop_file(FILES[0], format!("{HEADER}{all}"));
    place.drop_file(FILES[1], format!("{HEADER}{}", events(20..30)));
    // The files are loaded one after the other, so that no row of the second file is accepted between rows of the
    // first.
    let place = place.with("source.files_at_once", "1").with("write.window", "5");
    let summary = place.once(1);
    assert_eq!(summary["deliveries"], json!({ "failed": 1, "loaded": 1 }));
    let receipt = place.receipt(FILES[0]);
    assert_eq!(receipt["state"], "failed");
    let detail = receipt["detail"].as_str().unwrap();
    assert!(detail.contains("65535") || detail.contains("Key length"), "the server's words: {detail}");
    // Until the tenth rejection in a row, each rejection could have been the fault of its record alone.
    assert!(entries(&place).len() < 10, "once the file has failed, no further record is quarantined");
    assert_eq!(receipt["closes"], true, "{receipt}");
    assert_eq!(place.receipt(FILES[1])["loaded"], 10);
    assert_eq!(place.once(0)["deliveries"], json!({}), "it is not tried again by itself");
}

/// This does not depend on the records that are accepted before and between, or on the number of windows.
#[test]
fn ten_refusals_in_a_row_fail_the_file_but_scattered_refusals_do_not() {
    let Some(mut place) = Place::new() else { return };
    let long = |items: std::ops::Range<u32>| items.map(too_long).collect::<String>();
    let row = format!("{HEADER}{}{}{}", events(0..5), long(5..15), events(15..20));
    let scattered: String =
        (0..24).map(|n| if n % 2 == 0 { too_long(n) } else { events(n..n + 1) }).collect();
    for window in ["10000", "4"] {
        place.set("write.window", window);
        place.drop_file(FILES[0], &row);
        place.drop_file(FILES[1], format!("{HEADER}{scattered}"));
        place.run(&["run", "--once"]);
        let found = FILES.map(|file| {
            let receipt = place.receipt(file);
            assert_eq!(receipt["closes"], true, "{receipt}");
            json!([receipt["state"], receipt["quarantined"]])
        });
        assert_eq!(found[0][0], "failed", "window {window}: {found:?}");
        assert_eq!(found[1], json!(["loaded", 12]), "window {window}");
        place.empty();
    }
}

#[test]
fn one_refused_record_in_appended_bytes_does_not_fail_the_file() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILES[0], format!("{HEADER}{}", events(0..5)));
    place.once(0);
    place.append(FILES[0], too_long(5));
    assert_eq!(place.once(1)["deliveries"], json!({ "loaded": 1 }));
    let receipt = place.receipt(FILES[0]);
    let account = ["state", "loaded", "quarantined", "closes"].map(|key| receipt[key].clone());
    assert_eq!(json!(account), json!(["loaded", 5, 1, true]));
}

/// The file has fewer than ten rows, and its last chunk may have none.
#[test]
fn a_short_file_whose_rows_are_all_refused_fails_whatever_its_chunks() {
    let Some(mut place) = Place::new() else { return };
    place.set("write.queue", "1");
    for window in ["1", "2", "3", "10"] {
        place.set("write.window", window);
        let skipped = ",,,,,,,,,,\n";
        place.drop_file(FILES[0], format!("{HEADER}{}{skipped}", (0..3).map(too_long).collect::<String>()));
        place.run(&["run", "--once"]);
        let receipt = place.receipt(FILES[0]);
        assert_eq!(
            (&receipt["state"], &receipt["closes"]),
            (&json!("failed"), &json!(true)),
            "{window}: {receipt}"
        );
        place.empty();
    }
}

/// The artist is a column of the shipped tables, and the partition key of a table that is added later.
#[test]
fn a_table_that_rejects_one_record_is_filled_with_the_others() {
    let Some(mut place) = Place::new() else { return };
    let long = events(4..5).replace("Artist", &"A".repeat(70_000));
    place.drop_file(FILES[0], format!("{HEADER}{}{long}{}", events(0..4), events(5..9)));
    place.once(0);
    place.set("tables.by_artist", "{ partition_key: [artist], clustering_key: [userId], columns: [song] }");
    let played = place.run(&["load", "--table", "by_artist"]);
    let status = place.json(&["status", "--count"]);
    let table = &status["tables"]["by_artist"];
    assert_eq!(json!([table["behind"], table["count"]]), json!([0, 8]), "{played:?}");
    assert_eq!(place.receipt(FILES[0])["tables"]["by_artist"]["refused"], 1);
    assert_eq!(place.receipt(FILES[0])["closes"], true);
}

const MIB: usize = 1 << 20;

/// By default a node accepts no request over 16 MiB, neither for a row nor for a quarantine entry.
#[test]
fn a_record_that_is_too_large_for_any_request_is_quarantined() {
    let Some(place) = Place::new() else { return };
    let place = place.with("limits.max_record_bytes", "64MiB");
    let checked = place.run(&["check"]);
    assert!(
        checked.code == 0 && checked.stdout.contains("limits.max_record_bytes is 67108864"),
        "{checked:?}"
    );

    let large = events(1..2).replace("Artist", &"A".repeat(17 * MIB));
    let not_a_number = large.replace(",7,", ",seven,");
    for (file, record, reason) in [(FILES[0], &large, "refused"), (FILES[1], &not_a_number, "value")] {
        place.drop_file(file, format!("{HEADER}{}{record}{}", events(0..1), events(2..3)));
        place.once(1);
        let receipt = place.receipt(file);
        let account = ["state", "loaded", "quarantined", "closes"].map(|key| receipt[key].clone());
        assert_eq!(json!(account), json!(["loaded", 2, 1, true]), "{reason}: {receipt}");
    }
    let found = entries(&place);
    let told = found.iter().map(|entry| (entry["reason"].clone(), entry["bytes"].clone()));
    let length = |record: &String| json!(record.len() - 1);
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(json!("refused"), length(&large)), (json!("value"), length(&not_a_number))]
    );
    let detail = found[0]["detail"].as_str().unwrap();
    assert!(detail.contains("16777216"), "{detail}");
    // The rest of the bytes is in the file. A record that cannot become a row stays open.
    assert_eq!(place.run(&["quarantine", "replay"]).code, 1);
    assert_eq!(entries(&place).len(), 2);
}

/// A node refuses a logged batch over 50 KiB.
#[test]
fn a_delivery_with_a_large_row_in_the_ledger_is_replaced() {
    let Some(place) = Place::new() else { return };
    // The last record is not complete.
    place.drop_file(FILES[0], format!("{HEADER}{}Art", events(0..3)));
    place.once(1);
    assert_eq!(place.receipt(FILES[0])["state"], "incomplete");
    let stored = place.rows("SELECT id, WRITETIME(attempt) FROM ks.needledrop_deliveries").remove(0);
    let numbers: Vec<i64> = stored.into_iter().filter_map(|value| value?.as_bigint()).collect();
    let [id, stamp] = numbers[..] else { panic!("{numbers:?}") };
    let long = "x".repeat(60_000);
    place.cql(&format!(
        "UPDATE ks.needledrop_deliveries USING TIMESTAMP {} SET attempt = '{long}' WHERE id = {id}",
        stamp + 1
    ));
    place.drop_file(FILES[0], format!("{HEADER}{}", events(10..15)));
    assert_eq!(place.once(0)["deliveries"]["loaded"], 1);
    let receipt = place.receipt(FILES[0]);
    let account = ["generation", "state", "loaded"].map(|key| receipt[key].clone());
    assert_eq!(json!(account), json!([2, "loaded", 5]));
    assert_eq!(counts(&place), [8, 8, 8]);
}
