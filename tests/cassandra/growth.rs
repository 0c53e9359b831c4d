//! Tests of files that grow, even after an open tail. The result equals one pass over all the bytes, or it is a new
//! generation.

use std::io::Write as _;

use serde_json::json;

use crate::common::{Daemon, HEADER, csv, events, gzip, until};
use crate::place::Place;
use crate::steps::steps;
use crate::story::Story;

const FILE: &str = "2018-11-01-events.csv";
const OTHERS: [&str; 2] = ["2018-10-31-events.csv", "2018-11-30-events.csv"];

fn row(first: &str, user: &str) -> String {
    format!("A,{first},F,0,Lee,1.5,free,\"X, Y\",7,Song,{user}")
}

/// Runs to the end. Exit code 1 is allowed, because it is about the input and not about the run.
fn pass(place: &Place) {
    let output = place.run(&["run", "--once"]);
    assert!(matches!(output.code, 0 | 1), "{output:?}");
}

/// Asserts that tables, receipt and quarantine equal those of one pass over all the bytes. The parts of the receipt
/// are not compared: there is one for each pass.
fn assert_as_whole(place: &Place, whole: impl AsRef<[u8]>, what: &str) {
    let account = |place: &Place| {
        let receipt = place.receipt(FILE);
        let keys = [
            "generation",
            "bytes",
            "hash",
            "records",
            "loaded",
            "skipped",
            "quarantined",
            "tables",
            "closes",
        ];
        keys.map(|key| receipt[key].clone())
    };
    let list = ["quarantine", "list"];
    let found = (place.tables(), account(place), place.json(&list));
    place.empty();
    place.drop_file(FILE, whole);
    pass(place);
    assert_eq!(found, (place.tables(), account(place), place.json(&list)), "{what}");
    place.empty();
}

#[test]
fn a_line_end_after_an_open_tail_continues_the_delivery() {
    let Some(place) = Place::new() else { return };
    let plain = |user: &str| row("Ann", user);
    let cases = [
        ("the line end follows", format!("{HEADER}{}", plain("1")), "\n".to_owned()),
        ("and more", format!("{}{}", csv(0..3), plain("1")), format!("\r\n{}", events(3..5))),
        ("behind a refused record", format!("{}{}", csv(0..3), plain("-")), format!("\n{}\n", plain("2"))),
        ("behind a skipped record", format!("{HEADER},,,,,,,,,,1"), "\n".to_owned()),
        ("an open quote waits", format!("{HEADER}{}", plain("\"1")), "\"\n".to_owned()),
    ];
    for (what, first, growth) in cases {
        place.drop_file(FILE, &first);
        pass(&place);
        place.append(FILE, &growth);
        pass(&place);
        assert_as_whole(&place, format!("{first}{growth}"), what);
    }
}

#[test]
fn growth_that_changes_the_record_of_an_open_tail_is_a_new_generation() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILE, format!("{}{}", csv(0..3), row("Ann", "1")));
    pass(&place);
    place.append(FILE, "2\n");
    pass(&place);
    let receipt = place.receipt(FILE);
    assert_eq!(json!([receipt["generation"], receipt["loaded"], receipt["closes"]]), json!([2, 4, true]));
    let users = place.rows("SELECT userid FROM ks.user_song WHERE song = 'Song'");
    assert_eq!(users.len(), 2, "both generations count");
    place.append(FILE, row("Bea", "3"));
    pass(&place);
    assert_eq!(
        place.receipt(FILE)["state"],
        "incomplete",
        "after growth changed a loaded tail, the next tail waits"
    );
}

#[test]
fn repeated_growth_continues_where_the_delivery_stands() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILE, csv(0..5));
    pass(&place);
    place.append(FILE, events(5..7));
    assert_eq!(place.once(0)["records"]["read"], 2, "only the new records are read");
    // Some of these records have keys that are already in the tables.
    place.append(FILE, events(3..9));
    place.once(0);
    let receipt = place.receipt(FILE);
    let sizes = [csv(0..5).len(), csv(0..7).len(), csv(0..7).len() + events(3..9).len()];
    assert_eq!(receipt["parts"], json!(sizes));
    assert_eq!(receipt["tables"]["session_item"]["collisions"], 4, "{receipt}");
    assert_as_whole(&place, format!("{}{}", csv(0..7), events(3..9)), "three parts");
}

#[test]
fn a_compressed_file_that_grew_is_continued() {
    let Some(place) = Place::new() else { return };
    let name = "2018-11-01-events.csv.gz";
    place.drop_file(name, gzip(csv(0..5).as_bytes()));
    pass(&place);
    place.append(name, gzip(events(5..7).as_bytes()));
    assert_eq!(place.once(0)["records"]["read"], 2);
    let receipt = place.receipt(name);
    assert_eq!(json!([receipt["generation"], receipt["loaded"], receipt["closes"]]), json!([1, 7, true]));
}

/// Loads the files one by one and then lets `FILE` grow. The tables must equal those of the complete files, loaded
/// one by one in `clean_order`.
fn assert_growth(files: &[(&str, String)], growth: &str, clean_order: &[(&str, String)]) {
    let Some(place) = Place::new() else { return };
    for (name, bytes) in files {
        place.drop_file(name, bytes);
        place.once(0);
    }
    place.append(FILE, growth);
    place.once(0);
    let tables = place.tables();
    assert!(place.states().keys().all(|file| place.receipt(file)["closes"] == true));
    place.empty();
    for (name, bytes) in clean_order {
        place.drop_file(name, bytes);
        place.once(0);
    }
    assert_eq!(tables, place.tables());
    let story = Story::of(&place);
    pass(&place);
    Story::of(&place).assert_is(&story, "nothing is left to do");
}

#[test]
fn growth_after_an_open_tail_keeps_its_place_in_the_order() {
    let earlier = (FILE, format!("{HEADER}{}", row("Earlier", "1")));
    let whole = (FILE, format!("{HEADER}{}\n{}\n", row("Earlier", "1"), row("Behind", "1")));
    let later = (OTHERS[1], format!("{HEADER}{}\n", row("Later", "1")));
    assert_growth(&[earlier, later.clone()], &format!("\n{}\n", row("Behind", "1")), &[whole, later]);
}

#[test]
fn appended_records_keep_the_place_of_their_file_in_the_order() {
    let earlier = (FILE, format!("{HEADER}{}\n", row("Earlier", "5")));
    let whole = (FILE, format!("{HEADER}{}\n{}\n", row("Earlier", "5"), row("Behind", "1")));
    let later = (OTHERS[1], format!("{HEADER}{}\n", row("Later", "1")));
    assert_growth(&[earlier, later.clone()], &format!("{}\n", row("Behind", "1")), &[whole, later]);
}

/// The load of a file with an open tail is killed at every step. Then the file grows or is removed. No row is a
/// mixture: the tables equal those of a load that saw the tail, or those of a load that never saw it.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn an_open_tail_whose_load_was_killed_does_not_mix_with_later_bytes() {
    let Some(place) = Place::new() else { return };
    let first = format!("{}{}", csv(3..5), row("Ann", "1"));
    let growths = [None, Some("2\n".to_owned()), Some(format!("\n{}\n", row("Bea", "1")))];
    for growth in growths {
        let go_on = |place: &Place| match &growth {
            Some(growth) => place.append(FILE, growth),
            None => std::fs::remove_file(place.inbox().join(FILE)).unwrap(),
        };
        let whole = growth.as_ref().map_or_else(|| csv(3..5), |growth| format!("{first}{growth}"));
        place.drop_file(FILE, whole);
        pass(&place);
        let unseen = place.tables();
        place.empty();
        place.drop_file(FILE, &first);
        pass(&place);
        go_on(&place);
        pass(&place);
        let seen = place.tables();
        place.empty();
        for step in steps() {
            place.drop_file(FILE, &first);
            let run = place.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
            let aborted = run.unwrap().status.code().is_none();
            go_on(&place);
            pass(&place);
            let found = place.tables();
            let is_partial = growth.is_none()
                && found.iter().all(|(table, rows)| rows.iter().all(|row| seen[table].contains(row)));
            assert!(found == unseen || found == seen || is_partial, "{growth:?}, step {step}: {found:?}");
            Story::of(&place);
            place.empty();
            if !aborted {
                assert!(step > 12, "crash points are missing: {step}");
                break;
            }
        }
    }
}

/// The tail is held for a second, because a process has the file open for writing. No event reports when that process
/// closes the file, because it opened the file under a name outside the inbox. A listing finds the tail complete, and
/// its rows are still being sent when the second is over.
#[test]
fn a_held_tail_that_is_due_while_it_is_loaded_is_not_taken_up_twice() {
    let Some(place) = Place::new() else { return };
    let settings = [
        ("source.settle", "100ms"),
        ("source.poll", "200ms"),
        ("source.tail_after", "1ms"),
        // A record is a row in each of three tables: this takes two seconds.
        ("write.rows_per_second", "1"),
    ];
    let place = settings.into_iter().fold(place, |place, (setting, value)| place.with(setting, value));
    let mut daemon = place.daemon();
    let count = |daemon: &Daemon, state: &str| {
        daemon.metrics().get(&format!("needledrop_deliveries_total{{state=\"{state}\"}}")).copied()
    };
    let elsewhere = place.path("elsewhere.csv");
    let mut writer = std::fs::File::create(&elsewhere).unwrap();
    writer.write_all(format!("{HEADER}{}", row("Ann", "1")).as_bytes()).unwrap();
    std::fs::hard_link(&elsewhere, place.inbox().join(FILE)).unwrap();
    until("the tail is held", || (count(&daemon, "incomplete")? >= 1.0).then_some(()));
    drop(writer);
    until("it is loaded", || (count(&daemon, "loaded")? >= 1.0).then_some(()));
    assert_eq!(daemon.stop().0, 0, "{}", daemon.log());
    let log = daemon.log();
    assert!(!log.contains("resumed") && !log.contains("failed"), "{log}");
    assert_eq!(place.receipt(FILE)["loaded"], 1);
}
