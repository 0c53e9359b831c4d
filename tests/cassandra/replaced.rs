//! Tests of files that come again with other content: comparisons, and mirrors.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::place::Place;
use crate::steps::steps;
use crate::stories;
use crate::undo_model::{self, Model};
use crate::undone::{InCassandra, YAML, rows};

/// Rows of tables that clear values cannot be found by their write times, and the earlier files are not kept here.
fn yaml() -> String {
    YAML.replace(", empty: clear", "")
}

fn mirroring() -> Option<Place> {
    Some(Place::of(&yaml())?.with("source.on_replace", "mirror"))
}

fn deliver(place: &Place, name: &str, records: &str) -> Json {
    place.drop_file(name, format!("k,v,w\n{records}"));
    place.once(0)
}

const T: &str = "SELECT k, v, w FROM ks.t";

#[test]
fn a_corrected_file_is_compared_with_its_earlier_content() {
    let Some(place) = Place::of(&yaml()) else { return };
    deliver(&place, "a.csv", "1,a,A\n2,b,B\n3,c,C\n4,d,D\n");
    let summary = deliver(&place, "a.csv", "1,a,A\n2,b,X\n3,c,\n5,e,E\n5,e,F\n6,f,F\n");
    let tables = &summary["replaced"][0]["replaces"]["tables"];
    let counts = |table: &str| ["new", "changed", "gone"].map(|kind| tables[table][kind].as_u64().unwrap());
    assert_eq!((counts("t"), counts("u")), ([2, 2, 1], [2, 2, 1]), "{summary}");
    assert_eq!(
        tables["t"]["examples"],
        json!({ "new": ["k=5", "k=6"], "changed": ["k=2", "k=3"], "gone": ["k=4"] })
    );
    assert_eq!(rows(&place, T).len(), 6);
}

#[test]
fn a_mirror_has_only_what_the_newest_content_gives() {
    let Some(place) = mirroring() else { return };
    // In the order of their names. The stamps of a second run would be ahead of the clock of the other program.
    place.drop_file("0.csv", "k,v,w\n2,o,O\n");
    deliver(&place, "a.csv", "1,a,A\n2,b,B\n3,c,C\n");
    place.cql("UPDATE ks.t SET w = 'mine' WHERE k = 1");
    let summary = deliver(&place, "a.csv", "3,c,\n4,d,D\n");
    assert_eq!(summary["replaced"][0]["replaces"]["mirror"], "done", "{summary}");
    assert_eq!(rows(&place, T), ["1 - mine", "2 o O", "3 c -", "4 d D"], "what another program wrote stays");
    // What was mirrored away is not known any more, so a copy of it is new.
    deliver(&place, "copy.csv", "1,a,A\n2,b,B\n3,c,C\n");
    assert_eq!(place.states()["copy.csv"], "loaded");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_mirror_is_completed_after_a_kill_at_any_step() {
    let Some(place) = mirroring() else { return };
    let content = ["1,a,A\n2,b,B\n3,c,C\n", "3,c,\n4,d,D\n"];
    deliver(&place, "other.csv", "2,o,O\n");
    deliver(&place, "a.csv", content[0]);
    let mut killed = 0;
    for (n, step) in steps().enumerate() {
        place.drop_file("a.csv", format!("k,v,w\n{}", content[(n + 1) % 2]));
        let run = place.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        let has_ended = run.unwrap().status.success();
        place.once(0);
        let expected: &[&str] = match n % 2 {
            0 => &["2 o O", "3 c -", "4 d D"],
            _ => &["1 a A", "2 b B", "3 c C"],
        };
        assert_eq!(rows(&place, T), expected, "killed at step {step}");
        assert_eq!(place.receipt("a.csv")["replaces"]["mirror"], "done", "killed at step {step}");
        if has_ended {
            break;
        }
        killed += 1;
    }
    assert!(killed > 0);
    assert_eq!(place.run(&["verify"]).code, 0);
}

/// In any order of loads, new generations, undos and kills, the tables have what the deliveries that count give.
#[test]
fn mirrors_are_exact_in_any_order() {
    let yaml = format!("{}{}", yaml(), undo_model::NEWEST);
    let Some(place) = Place::of(&yaml) else { return };
    let place = place.with("source.on_replace", "mirror");
    place.once(0);
    let acts = prop::collection::vec(undo_model::act(), 3..8);
    stories::play("mirrors in Cassandra", Duration::from_secs(5), 20, acts, |acts| {
        place.empty();
        Model::new(InCassandra(&place), false).tell(acts);
    });
}
