//! Tests of `--feed`, and of listings that name the feed.

use std::fs;

use serde_json::{Value as Json, json};

use crate::common::World;
use crate::{CLICKS, PLAYS, drop_into, world, yaml};

/// Returns a world whose feeds have one and two open records in quarantine, in files of the same name.
fn quarantined() -> World {
    let world = world(&[PLAYS, CLICKS]);
    drop_into(&world, "plays/a.csv", "id,who\n1,x\nbad,y\n");
    drop_into(&world, "clicks/a.csv", "id;name;url\n2;y;u\nbad;y;v\nworse;z;w\n");
    world.once(1);
    world
}

fn feeds(deliveries: &Json) -> Vec<&str> {
    deliveries.as_array().unwrap().iter().map(|one| one["feed"].as_str().unwrap()).collect()
}

fn open(world: &World, feed: &str) -> usize {
    world.json(&["quarantine", "list", "--feed", feed]).as_array().unwrap().len()
}

#[test]
fn status_of_one_feed_has_only_its_deliveries_files_and_tables() {
    let world = quarantined();
    let all = world.json(&["status"]);
    let in_quarantine = |feed: &str| all["feeds"][feed]["quarantine"]["open"].clone();
    assert_eq!([in_quarantine("plays"), in_quarantine("clicks")], [json!(1), json!(2)]);
    drop_into(&world, "clicks/new.csv", "id;name;url\n3;z;w\n");
    let clicks = world.json(&["status", "--feed", "clicks", "--count"]);
    assert_eq!(feeds(&clicks["deliveries"]), ["clicks"]);
    assert_eq!(clicks["states"], json!({ "loaded": 1 }));
    assert_eq!((&clicks["inbox"], &clicks["backlog"]["files"]), (&json!("in/clicks"), &json!(1)));
    assert_eq!(clicks["quarantine"]["open"], 2);
    assert_eq!(clicks["feeds"].as_object().unwrap().keys().collect::<Vec<_>>(), ["clicks"]);
    assert_eq!(clicks["tables"]["last"]["rows_written"], 1);
    assert_eq!(clicks["tables"]["urls"]["count"], 1);
    let plays = world.json(&["status", "--feed", "plays", "--count"]);
    assert_eq!(plays["tables"].as_object().unwrap().keys().collect::<Vec<_>>(), ["last"]);
    assert_eq!((&plays["tables"]["last"]["count"], &plays["backlog"]["files"]), (&json!(2), &json!(0)));
}

#[test]
fn quarantined_records_of_one_feed_are_listed_shown_replayed_and_discarded() {
    let world = quarantined();
    assert_eq!(feeds(&world.json(&["quarantine", "list", "--feed", "clicks"])), ["clicks", "clicks"]);
    let unclear = world.run(&["quarantine", "show", "a.csv", "3"]);
    assert!(unclear.code == 2 && unclear.stderr.contains("several feeds"), "{unclear:?}");
    assert_eq!(world.json(&["quarantine", "show", "a.csv", "3", "--feed", "plays"])["feed"], "plays");
    let file = ["quarantine", "list", "--file", "a.csv", "--feed", "plays"];
    assert_eq!(feeds(&world.json(&file)), ["plays"]);
    for other in ["clicks//a.csv", "in/clicks/a.csv"] {
        let other = world.run(&["quarantine", "list", "--file", other, "--feed", "plays"]);
        assert!(other.code == 2 && other.stderr.contains("belongs to the feed `clicks`"), "{other:?}");
    }
    let replayed = world.run(&["quarantine", "replay", "--feed", "clicks", "--json"]).json();
    assert_eq!((&replayed["tried"], feeds(&replayed["deliveries"])), (&json!(2), vec!["clicks"]));
    let discarded = world.json(&["quarantine", "discard", "--feed", "clicks"]);
    assert_eq!(discarded["discarded"], 2);
    assert_eq!([open(&world, "plays"), open(&world, "clicks")], [1, 0]);
    let all = world.run(&["quarantine", "discard", "--all", "--feed", "plays"]);
    assert_eq!((all.code, open(&world, "plays")), (2, 1), "{all:?}");
}

#[test]
fn an_unknown_feed_is_refused_with_the_names_of_the_declared_ones() {
    let world = quarantined();
    for command in [
        ["status"].as_slice(),
        &["quarantine", "list"],
        &["quarantine", "show", "a.csv", "3"],
        &["quarantine", "replay"],
        &["quarantine", "discard"],
    ] {
        let refused = world.run(&[command, &["--feed", "views"]].concat());
        assert_eq!(refused.code, 2, "{command:?}: {refused:?}");
        let expected = "there is no feed `views`\n  next: choose from clicks, plays";
        assert!(refused.stderr.contains(expected), "{command:?}: {refused:?}");
    }
}

#[test]
fn listings_name_the_feed_if_several_are_declared() {
    let world = quarantined();
    for command in [["status"].as_slice(), &["quarantine", "list"]] {
        let listed = world.run(command).stdout;
        let row = |feed: &str| {
            let begin = format!("{feed} ");
            listed.lines().any(|line| line.starts_with(&begin) && line.contains("//a.csv"))
        };
        assert!(listed.lines().any(|line| line.starts_with("feed ")), "{listed}");
        assert!(row("plays") && row("clicks"), "{listed}");
    }
    fs::write(world.path("config.yaml"), yaml(&[PLAYS])).unwrap();
    let alone = world.run(&["quarantine", "list", "--csv"]).stdout;
    assert!(alone.starts_with("file,line,"), "{alone}");
}

/// Data may have columns with the names of our own columns, and two feeds may read other fields into one column.
#[test]
fn csv_of_the_quarantine_names_each_column_once() {
    let plays =
        PLAYS.replace("columns: { id: int, who: text }", "columns: { id: int, who: text, line: text }");
    let clicks = CLICKS.replace("from: name }, id: int }", "from: name }, id: int, rest: text, feed: text }");
    let world = world(&[&plays, &clicks]);
    drop_into(&world, "plays/a.csv", "id,who,line,file,state\n9999999999,y,L,F,S\n");
    drop_into(&world, "clicks/b.csv", "id;name;url;rest;feed\n9999999999;n;u;R;E\n");
    world.once(1);
    let listed = world.run(&["quarantine", "list", "--csv", "--all"]).stdout;
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split(',').collect()).collect();
    let mut names = rows[0].clone();
    assert_eq!(names[..8], ["feed", "file", "line", "byte", "reason", "column", "detail", "state"]);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows[0].len(), "{:?}", rows[0]);
    let cell = |row: usize, name: &str| rows[row][rows[0].iter().position(|one| *one == name).unwrap()];
    let [clicks, plays] = ["clicks", "plays"].map(|feed| rows.iter().position(|row| row[0] == feed).unwrap());
    assert_eq!([cell(clicks, "name"), cell(clicks, "rest (2)"), cell(clicks, "feed (2)")], ["n", "R", "E"]);
    let of_plays = ["who", "line (2)", "file (2)", "state (2)"].map(|name| cell(plays, name));
    assert_eq!(of_plays, ["y", "L", "F", "S"]);
}

#[test]
fn the_feed_without_a_name_can_be_chosen_and_its_files_can_be_typed_with_slashes() {
    let short = "source: { folder: inbox, columns: { id: int, who: text } }\n\
                 tables: { last: { partition_key: [id], columns: [who] } }\n";
    let world = world(&[CLICKS]);
    fs::write(world.path("config.yaml"), format!("{short}{}", yaml(&[CLICKS]))).unwrap();
    world.drop_file("a.csv", "id,who\n1,x\nbad,y\n");
    drop_into(&world, "clicks/a.csv", "id;name;url\n2;y;u\n");
    world.once(1);
    assert_eq!(feeds(&world.json(&["status", "--feed", ""])["deliveries"]), [""]);
    assert_eq!(world.receipt("//a.csv")["feed"], "");
    assert_eq!(world.json(&["quarantine", "show", "//a.csv", "3"])["feed"], "");
    assert_eq!(world.run(&["load", "--again", "//a.csv"]).code, 1);
    let listed = world.run(&["quarantine", "list"]).stdout;
    assert!(listed.lines().any(|line| line.starts_with("(no name)")), "{listed}");
    let several = world.run(&["export"]);
    assert!(several.stderr.contains("--feed: \"\" (the feed without a name), clicks"), "{several:?}");
    let other = world.run(&["load", "--feed", "clicks", "inbox/a.csv"]);
    assert!(other.stderr.contains("belongs to the feed without a name"), "{other:?}");
}

#[test]
fn a_moved_file_can_be_typed_with_its_feed() {
    let moving = |feed: &str| feed.replace("poll: 200ms", "poll: 200ms\n      after: move");
    let clicks = moving(CLICKS);
    let before = clicks.replace("last: { partition_key: [id], columns: [who] }", "");
    let world = world(&[PLAYS, &before]);
    drop_into(&world, "plays/g.csv", "id,who\n2,z\n");
    drop_into(&world, "clicks/g.csv", "id;name;url\n1;y;u\n");
    world.once(0);
    assert!(!world.path("in/clicks/g.csv").exists(), "moved");
    fs::write(world.path("config.yaml"), yaml(&[PLAYS, &clicks])).unwrap();
    let loaded = world.run(&["load", "--table", "last", "clicks//g.csv", "--json"]);
    assert_eq!((loaded.code, &loaded.json()["tables"]["last"]["rows"]), (0, &json!(1)), "{loaded:?}");
    assert_eq!(world.query("last", &["id=1"])[0][1], json!("y"));
}
