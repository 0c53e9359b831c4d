//! Tests that no feed takes a file from another, and that a bad inbox holds up no other feed.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::common::until;
use crate::{CLICKS, PLAYS, drop_into, states, until_loaded, world, yaml};

/// Both feeds read the same columns, and clicks deletes its files.
fn alike() -> [String; 2] {
    let clicks = PLAYS.replace("plays", "clicks").replace("settle:", "after: delete, settle:");
    [PLAYS.to_owned(), clicks]
}

#[test]
fn a_link_to_a_file_that_another_feed_deletes_is_left_out_and_named() {
    let [plays, clicks] = alike();
    let world = world(&[&plays, &clicks]);
    drop_into(&world, "clicks/2024-01-01.csv", "id,who\n1,x\n");
    symlink(world.path("in/clicks/2024-01-01.csv"), world.path("in/plays/2024-01-02.csv")).unwrap();
    let done = world.run(&["run", "--once", "--json"]);
    assert_eq!((done.code, &done.json()["deliveries"]), (0, &json!({ "loaded": 1 })), "{done:?}");
    assert!(done.stderr.contains("leaves the inbox of feeds.clicks.source.folder"), "{done:?}");
    assert_eq!((states(&world, "plays"), states(&world, "clicks")), (json!({}), json!({ "loaded": 1 })));
}

/// The inbox of the other feed may be in the folder of a feed that lists no subfolders.
#[test]
fn a_link_into_an_inbox_within_the_own_folder_is_left_out_too() {
    let [plays, clicks] = alike();
    let world = world(&[&plays.replace("in/plays,", "in, subfolders: false,"), &clicks]);
    drop_into(&world, "clicks/a.csv", "id,who\n1,x\n");
    symlink(world.path("in/clicks/a.csv"), world.path("in/b.csv")).unwrap();
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    assert_eq!(states(&world, "plays"), json!({}));
}

#[test]
fn a_hard_link_in_two_inboxes_is_loaded_by_both_feeds() {
    let [plays, clicks] = alike();
    let world = world(&[&plays.replace("settle:", "after: delete, settle:"), &clicks]);
    drop_into(&world, "clicks/a.csv", "id,who\n1,x\n");
    fs::hard_link(world.path("in/clicks/a.csv"), world.path("in/plays/a.csv")).unwrap();
    let daemon = world.daemon();
    for feed in ["plays", "clicks"] {
        until_loaded(&daemon, feed, 1.0);
        until("its file is deleted", || (!world.path("in").join(feed).join("a.csv").exists()).then_some(()));
    }
}

#[test]
fn an_inbox_that_becomes_a_link_to_another_is_not_listed_and_loses_that_feed_nothing() {
    let [plays, clicks] = alike();
    let world = world(&[&plays.replace("settle: 20ms", "settle: 2s"), &clicks]);
    let daemon = world.daemon();
    fs::remove_dir(world.path("in/clicks")).unwrap();
    symlink(world.path("in/plays"), world.path("in/clicks")).unwrap();
    daemon.until_unready("feed clicks");
    drop_into(&world, "plays/a.csv", "id,who\n1,x\n");
    until_loaded(&daemon, "plays", 1.0);
    assert!(world.path("in/plays/a.csv").exists(), "{}", daemon.log());
    let reason = "files are files of feeds.plays.source.folder";
    until("the log names the feed", || daemon.log().contains(reason).then_some(()));
    let listed = |feed: &str| daemon.metric(&format!("inbox_listed{{feed=\"{feed}\"}}"));
    assert_eq!((listed("plays"), listed("clicks")), (1.0, 0.0));
    fs::remove_file(world.path("in/clicks")).unwrap();
    fs::create_dir(world.path("in/clicks")).unwrap();
    daemon.until_ready();
    assert_eq!(listed("clicks"), 1.0);
    assert_eq!(states(&world, "clicks"), json!({}));
}

#[test]
fn a_reload_adds_a_feed_whose_inbox_is_missing_and_the_others_are_loaded() {
    let world = world(&[PLAYS]);
    let daemon = world.daemon();
    fs::remove_dir(world.path("in/clicks")).unwrap();
    fs::write(world.path("config.yaml"), yaml(&[PLAYS, CLICKS])).unwrap();
    let reloads = "needledrop_config_reloads_total{outcome=\"applied\"}";
    until("the reload is applied", || (daemon.metrics().get(reloads) == Some(&1.0)).then_some(()));
    drop_into(&world, "plays/a.csv", "id,who\n1,x\n");
    until_loaded(&daemon, "plays", 1.0);
    daemon.until_unready("feed clicks");
    assert!(daemon.log().contains("correct feeds.clicks.source.folder"), "{}", daemon.log());
    fs::create_dir(world.path("in/clicks")).unwrap();
    drop_into(&world, "clicks/a.csv", "id;name;url\n2;y;u\n");
    until_loaded(&daemon, "clicks", 1.0);
    daemon.until_ready();
}
