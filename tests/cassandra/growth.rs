//! Files that grow, also into a provisional last record: what is there is what one pass over the whole
//! bytes would leave.

use serde_json::json;

use crate::common::{HEADER, events, gzip};
use crate::place::Place;
use crate::story::Story;

const FILE: &str = "2018-11-01-events.csv";
const OTHERS: [&str; 2] = ["2018-10-31-events.csv", "2018-11-30-events.csv"];

fn csv(items: std::ops::Range<u32>) -> String {
    format!("{HEADER}{}", events(items))
}

fn row(first: &str, user: &str) -> String {
    format!("A,{first},F,0,Lee,1.5,free,\"X, Y\",7,Song,{user}")
}

/// A whole run. 1 is for what it was given, not for what it did.
fn pass(place: &Place) {
    let output = place.run(&["run", "--once"]);
    assert!(matches!(output.code, 0 | 1), "{output:?}");
}

/// Tables, accounts and quarantine are those of one pass over the whole bytes; but for the parts, which are
/// as many as there were passes.
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

/// Each case: what lies there first, and what grew out of it.
#[test]
fn growth_into_the_last_record_leaves_nothing_of_what_it_was() {
    let Some(place) = Place::new() else { return };
    let plain = |user: &str| row("Ann", user);
    let cases = [
        ("the line end follows", format!("{HEADER}{}", plain("1")), "\n".to_owned()),
        ("1 becomes 12", format!("{HEADER}{}", plain("1")), "2\n".to_owned()),
        ("and more follows", format!("{HEADER}{}", plain("1")), format!("2\n{}", events(3..5))),
        ("still no line end", format!("{HEADER}{}", plain("1")), "2".to_owned()),
        ("behind others", format!("{}{}", csv(0..3), plain("1")), "2\n".to_owned()),
        ("out of a collision", format!("{HEADER}{}\n{}", plain("1"), plain("1")), "2\n".to_owned()),
        ("into a collision", format!("{HEADER}{}\n{}", plain("12"), plain("1")), "2\n".to_owned()),
        ("a value that is none", format!("{HEADER}{}", plain("-")), "7\n".to_owned()),
        ("a value no more", format!("{HEADER}{}", plain("1")), "x\n".to_owned()),
        ("skipped before and after", format!("{HEADER},,,,,,,,,,1"), "2\n".to_owned()),
        ("a quoted line break", format!("{HEADER}{}", plain("\"1")), "\"\n".to_owned()),
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
fn growth_again_and_again_is_continued_where_it_stood() {
    let Some(place) = Place::new() else { return };
    place.drop_file(FILE, csv(0..5));
    pass(&place);
    place.append(FILE, events(5..7));
    assert_eq!(place.once(0)["records"]["read"], 2, "only what is new is read into the tables");
    // The second half of it on keys that are there.
    place.append(FILE, events(3..9));
    place.once(0);
    let receipt = place.receipt(FILE);
    let sizes = [csv(0..5).len(), csv(0..7).len(), csv(0..7).len() + events(3..9).len()];
    assert_eq!(receipt["parts"], json!(sizes));
    assert_eq!(receipt["tables"]["session_item"]["collisions"], 4, "{receipt}");
    assert_as_whole(&place, format!("{}{}", csv(0..7), events(3..9)), "three parts");
}

#[test]
fn a_compressed_file_that_grew_is_continued_too() {
    let Some(place) = Place::new() else { return };
    let name = "2018-11-01-events.csv.gz";
    place.drop_file(name, gzip(csv(0..5).as_bytes()));
    pass(&place);
    place.append(name, gzip(events(5..7).as_bytes()));
    assert_eq!(place.once(0)["records"]["read"], 2);
    let receipt = place.receipt(name);
    assert_eq!(json!([receipt["generation"], receipt["loaded"], receipt["closes"]]), json!([1, 7, true]));
}

/// Files in the order they are dropped, each loaded before the next; then the second grows. Clean is one
/// listing of the whole files.
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
fn growth_gives_back_what_other_files_put_under_the_provisional_record() {
    let under = (OTHERS[0], format!("{HEADER}{}\n", row("Under", "1")));
    let over = (FILE, format!("{HEADER}{}", row("Over", "1")));
    let whole = (FILE, format!("{HEADER}{}\n", row("Over", "12")));
    assert_growth(&[under.clone(), over], "2\n", &[under, whole]);
}

#[test]
fn growth_leaves_what_later_files_put_over_the_provisional_record() {
    let over = (FILE, format!("{HEADER}{}", row("Over", "1")));
    let whole = (FILE, format!("{HEADER}{}\n", row("Over", "12")));
    // Without a first name: what it leaves empty must not come from the record that was taken back.
    let later = (OTHERS[1], format!("{HEADER}{}\n", row("", "1")));
    assert_growth(&[over, later.clone()], "2\n", &[whole, later]);
}

/// docs/guarantees.md: a provisional record that grew has a newer stamp, and what follows it too.
#[test]
fn growth_into_the_last_record_counts_as_later_than_what_was_loaded_meanwhile() {
    let earlier = (FILE, format!("{HEADER}{}", row("Earlier", "1")));
    let whole = (FILE, format!("{HEADER}{}\n", row("Earlier", "1")));
    let later = (OTHERS[1], format!("{HEADER}{}\n", row("Later", "1")));
    assert_growth(&[earlier, later.clone()], "\n", &[later, whole]);
}

/// In the order of its delivery, and behind what was loaded meanwhile.
#[test]
fn records_behind_a_provisional_one_follow_it() {
    let earlier = (FILE, format!("{HEADER}{}", row("Earlier", "5")));
    let whole = (FILE, format!("{HEADER}{}\n{}\n", row("Earlier", "5"), row("Behind", "1")));
    let later = (OTHERS[1], format!("{HEADER}{}\n", row("Later", "1")));
    assert_growth(&[earlier, later.clone()], &format!("\n{}\n", row("Behind", "1")), &[later, whole]);
}

/// The same without a provisional record: the stamps are those the delivery has.
#[test]
fn records_that_a_file_grew_by_keep_their_place_in_the_order() {
    let earlier = (FILE, format!("{HEADER}{}\n", row("Earlier", "5")));
    let whole = (FILE, format!("{HEADER}{}\n{}\n", row("Earlier", "5"), row("Behind", "1")));
    let later = (OTHERS[1], format!("{HEADER}{}\n", row("Later", "1")));
    assert_growth(&[earlier, later.clone()], &format!("{}\n", row("Behind", "1")), &[whole, later]);
}

/// Ends a run of this file behind its rows, before the ledger has them.
fn killed_behind_the_rows(place: &Place, bytes: &str) {
    for step in 1..20 {
        place.empty();
        place.drop_file(FILE, bytes);
        let run = place.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        let run = run.unwrap();
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code().is_none(), "it ended: {told}");
        if told.contains("send after the rows") {
            return;
        }
    }
    panic!("rows were never sent");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_provisional_record_that_the_ledger_never_had_leaves_nothing_when_its_file_goes_on() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    let cases = [
        ("it is another record", format!("2\n{}", row("Bea", "5"))),
        ("it was whole", format!("\n{}", row("Bea", "5"))),
        ("it was whole, and its key comes again", format!("\n{}", row("Bea", "1"))),
    ];
    for (what, growth) in cases {
        let first = format!("{}{}", csv(3..5), row("Ann", "1"));
        killed_behind_the_rows(&place, &first);
        place.append(FILE, &growth);
        pass(&place);
        place.append(FILE, "6\n");
        pass(&place);
        let receipt = place.receipt(FILE);
        let parts = receipt["parts"].clone();
        assert_eq!(receipt["records"], 4, "{parts}");
        assert_as_whole(&place, format!("{first}{growth}6\n"), what);
    }
}
