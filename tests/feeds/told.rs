//! Tests of what is said about a feed: settings as the configuration has them, and deliveries of feeds that are no longer
//! declared.

use std::fs;

use crate::common::until;
use crate::{CLICKS, PLAYS, drop_into, until_loaded, world, yaml};

#[test]
fn messages_name_the_settings_of_a_named_feed() {
    let world = world(&[PLAYS, CLICKS]);
    drop_into(&world, "clicks/comma.csv", "id,name,url\n1,x,u\n");
    drop_into(&world, "clicks/lines.csv", "Report\n\nid;name;url\n1;x;u\n");
    drop_into(
        &world,
        "clicks/null.csv",
        "id;name;url\n1;x;u\nNULL;y;v\n3;y\n;;\n\"4\" ; \"z\";w\n5;\u{e4};\n",
    );
    drop_into(&world, "clicks/notes.txt", "x");
    let latin = b"id,who\n1,M\xfcnchen\n2,x\n";
    fs::write(world.path("in/plays/latin.csv"), latin).unwrap();
    world.once(1);
    let format = "feeds.clicks.source.format";
    for (file, expected) in [
        ("clicks//comma.csv", format!("{format}.delimiter: \",\"")),
        ("clicks//lines.csv", format!("{format}.skip_lines: 1")),
    ] {
        let detail = world.receipt(file)["detail"].clone();
        assert!(detail.as_str().unwrap().contains(&expected), "{file}: {detail}");
    }
    let listed = world.run(&["quarantine", "list"]).stdout;
    for expected in [
        format!("set {format}.null"),
        format!("set {format}.blank_rows: skip"),
        "set feeds.plays.source.encoding".to_owned(),
    ] {
        assert!(listed.contains(&expected), "{expected}: {listed}");
    }
    assert!(!listed.contains("set source."), "{listed}");
    let check = world.run(&["check"]).stdout;
    for expected in
        [format!("{format}.delimiter: \",\""), "matches no feeds.clicks.source.pattern".to_owned()]
    {
        assert!(check.contains(&expected), "{expected}: {check}");
    }
    let folder = world.run(&["run", "--once", "--folder", "in/plays"]);
    assert_eq!(folder.code, 2, "{folder:?}");
    assert!(folder.stderr.contains("feeds.NAME.source.folder"), "{folder:?}");
}

#[test]
fn deliveries_of_a_feed_that_is_no_longer_declared_are_named_with_what_to_do() {
    let world = world(&[PLAYS, CLICKS]);
    drop_into(&world, "plays/a.csv", "id,who\n1,x\n");
    drop_into(&world, "clicks/a.csv", "id;name;url\n2;y;u\nbad;y;v\n");
    drop_into(&world, "clicks/b.csv", "id;name;url\n3;y;u\n");
    world.once(1);
    let what =
        "the ledger has 2 files with 1 open record in quarantine of the feed `clicks`, which is not declared";
    for declared in [["status"].as_slice(), &["check"]] {
        assert!(!world.run(declared).stdout.contains("which is not declared"), "{declared:?}");
    }
    let daemon = world.daemon();
    assert!(!daemon.log().contains("which is not declared"));
    fs::write(world.path("config.yaml"), yaml(&[PLAYS])).unwrap();
    until("the reload is applied", || daemon.log().contains(what).then_some(()));
    drop(daemon);
    for command in [["status"].as_slice(), &["check"]] {
        let told = world.run(command).stdout;
        assert!(told.contains(what) && told.contains("restore its name"), "{told}");
        assert!(told.contains("quarantine discard --file clicks//PATH"), "{told}");
    }
    let status = world.json(&["status"]);
    assert_eq!(status["feeds"]["clicks"]["declared"], false);
    assert_eq!(status["feeds"]["plays"]["declared"], true);
    let daemon = world.daemon();
    until("the start is logged", || daemon.log().contains(what).then_some(()));
    drop_into(&world, "plays/b.csv", "id,who\n2,x\n");
    until_loaded(&daemon, "plays", 1.0);
}
