//! Several feeds in one configuration: one store, own inboxes and tables, and a table that two feeds share.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "feeds/crash.rs"]
mod crash;
#[path = "common/two_feeds.rs"]
mod two_feeds;

#[path = "feeds/apart.rs"]
mod apart;
#[path = "feeds/chosen.rs"]
mod chosen;
#[path = "feeds/told.rs"]
mod told;

use std::fs;

use common::{Daemon, World, until};
use serde_json::{Value as Json, json};

const PLAYS: &str = "
  plays:
    source: { folder: in/plays, settle: 20ms, poll: 200ms, columns: { id: int, who: text } }
    tables:
      last: { answers: the newest name of an id, partition_key: [id], columns: [who] }
";

/// Reads other columns in another order with another delimiter, and shares a table.
const CLICKS: &str = "
  clicks:
    source:
      folder: in/clicks
      settle: 20ms
      poll: 200ms
      format: { delimiter: \";\" }
      columns: { url: text, who: { type: text, from: name }, id: int }
    tables:
      last: { partition_key: [id], columns: [who] }
      urls: { answers: who opened it, partition_key: [url], clustering_key: [id] }
";

/// The section of the store.
const STORE: &str = "store: { sqlite: { path: store.db } }\n";

fn yaml(feeds: &[&str]) -> String {
    format!("feeds:{}\n{STORE}", feeds.concat())
}

/// Returns the sections of a feed without a name, with the columns and the table of [`PLAYS`].
fn short(folder: &str) -> String {
    format!(
        "source: {{ folder: {folder}, columns: {{ id: int, who: text }} }}\n\
         tables: {{ last: {{ partition_key: [id], columns: [who] }} }}\n"
    )
}

/// Creates a world with the inboxes of both feeds.
fn world(feeds: &[&str]) -> World {
    let world = World::of(&yaml(feeds)).without("source.folder");
    for feed in ["plays", "clicks"] {
        fs::create_dir_all(world.path("in").join(feed)).unwrap();
    }
    world
}

fn drop_into(world: &World, file: &str, text: &str) {
    fs::write(world.path("in").join(file), text).unwrap();
}

fn states(world: &World, feed: &str) -> Json {
    world.json(&["status"])["feeds"][feed]["states"].clone()
}

/// Returns feed and path of all deliveries, in the order they were taken up.
fn order(world: &World) -> Vec<String> {
    let status = world.json(&["status"]);
    let name = |delivery: &Json| {
        format!("{}//{}", delivery["feed"].as_str().unwrap(), delivery["file"].as_str().unwrap())
    };
    status["deliveries"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn the_later_date_wins_a_shared_table_whichever_feed_it_is_of() {
    let world = world(&[PLAYS, CLICKS]);
    drop_into(&world, "plays/2024-01-01.csv", "id,who\n1,early\n3,only\n");
    drop_into(&world, "plays/2024-01-03.csv", "id,who\n2,late\n");
    drop_into(&world, "clicks/2024-01-02.csv", "id;name;url\n1;mid;a\n2;mid;b\n");
    let done = world.once(0);
    assert_eq!((&done["records"]["loaded"], &done["deliveries"]), (&json!(5), &json!({ "loaded": 3 })));
    let who = |id: &str| world.query("last", &[&format!("id={id}")])[0][1].clone();
    assert_eq!(["1", "2", "3"].map(who), [json!("mid"), json!("late"), json!("only")]);
    assert_eq!(world.query("urls", &["url=a"]), [[json!("a"), json!(1)]]);
    assert_eq!(order(&world), ["plays//2024-01-01.csv", "clicks//2024-01-02.csv", "plays//2024-01-03.csv"]);
    assert_eq!(
        [states(&world, "plays"), states(&world, "clicks")],
        [json!({ "loaded": 2 }), json!({ "loaded": 1 })]
    );
    let receipt = world.receipt("clicks//2024-01-02.csv");
    assert_eq!((&receipt["feed"], &receipt["closes"]), (&json!("clicks"), &json!(true)));
    assert_eq!(receipt["tables"].as_object().unwrap().keys().collect::<Vec<_>>(), ["last", "urls"]);
    assert_eq!(world.once(0)["records"]["read"], 0, "nothing is new");
    assert!(world.run(&["check"]).stdout.contains("inbox clicks"), "{:?}", world.run(&["check"]));
}

/// Each feed has its own forms of values, dates in names and names of files, also for a table that both fill.
#[test]
fn each_feed_reads_names_and_values_in_its_own_forms() {
    let prices = "tables: { prices: { answers: the price, partition_key: [id], columns: [price] } }";
    let plays = "source: { folder: in/plays, poll: 100ms, file_dates: day_first, columns: { id: int, price: decimal } }";
    let clicks = "source: { folder: in/clicks, poll: 100ms, format: { delimiter: \";\", decimal: \",\" }, columns: { price: decimal, id: { type: int, from: [key, id] } } }";
    let feed = |name: &str, source: &str| format!("\n  {name}:\n    {source}\n    {prices}\n");
    let world = world(&[&feed("plays", plays), &feed("clicks", clicks)]);
    drop_into(&world, "plays/01.02.2024.csv", "id,price\n1,1.5\n2,1.5\n");
    drop_into(&world, "clicks/2024-02-02.csv", "key;price\n1;2,5\n");
    drop_into(&world, "plays/notes.txt", "x");
    drop_into(&world, "clicks/bad.csv", "key;price\n7;a\n8;b\n");
    let done = world.once(1);
    assert_eq!(done["left_out"]["unmatched"]["files"], 1);
    assert_eq!(done["deliveries"], json!({ "failed": 1, "loaded": 2 }), "{done}");
    let price = |id: &str| world.query("prices", &[&format!("id={id}")])[0][1].clone();
    assert_eq!(["1", "2"].map(price), [json!("2.5"), json!("1.5")], "the date of each name counts");
    let check = world.run(&["check"]);
    assert!(
        check.stdout.contains("warning plays  1 file matches no feeds.plays.source.pattern"),
        "{check:?}"
    );
    assert!(check.code == 1 && check.stdout.contains("file clicks    clicks//bad.csv: 2 of"), "{check:?}");
    let daemon = world.daemon();
    let left_out = "needledrop_files_left_out{feed=\"plays\",reason=\"unmatched\"}";
    until("the file is counted", || (daemon.metrics().get(left_out) == Some(&1.0)).then_some(()));
    let logged = daemon.log();
    assert!(logged.lines().any(|line| line.contains("1 .txt") && line.contains("plays")), "{logged}");
}

#[test]
fn a_copy_is_a_duplicate_only_within_its_feed() {
    let world = world(&[PLAYS, &PLAYS.replace("plays", "clicks")]);
    for file in ["plays/a.csv", "clicks/a.csv", "clicks/b.csv"] {
        drop_into(&world, file, "id,who\n1,x\n");
    }
    world.once(0);
    assert_eq!(states(&world, "plays"), json!({ "loaded": 1 }));
    assert_eq!(states(&world, "clicks"), json!({ "duplicate": 1, "loaded": 1 }));
    let unclear = world.run(&["receipt", "a.csv"]);
    assert_eq!(unclear.code, 2, "{unclear:?}");
    assert!(unclear.stderr.contains("clicks//a.csv or plays//a.csv"), "{unclear:?}");
    assert_eq!(world.receipt("plays//a.csv")["feed"], "plays");
    assert_eq!(world.receipt("in/clicks/a.csv")["feed"], "clicks", "a whole path is clear");
}

#[test]
fn a_file_in_no_inbox_needs_a_feed() {
    let world = world(&[PLAYS, CLICKS]);
    fs::write(world.path("elsewhere.csv"), "id,who\n1,x\n").unwrap();
    let unclear = world.run(&["load", "elsewhere.csv"]);
    assert_eq!(unclear.code, 2, "{unclear:?}");
    assert!(unclear.stderr.contains("--feed: clicks, plays"), "{unclear:?}");
    assert_eq!(world.run(&["load", "elsewhere.csv", "--feed", "plays"]).code, 0);
    drop_into(&world, "clicks/a.csv", "id;name;url\n1;y;u\n");
    let wrong = world.run(&["load", "in/clicks/a.csv", "--feed", "plays"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("belongs to the feed `clicks`"), "{wrong:?}");
    assert_eq!(world.run(&["load", "clicks//a.csv"]).code, 0, "as status shows it");
    assert_eq!(states(&world, "clicks"), json!({ "loaded": 1 }));
    let both = world.run(&["export"]);
    assert!(both.code == 2 && both.stderr.contains("--feed"), "{both:?}");
    let exported = world.run(&["export", "--feed", "clicks"]).stdout;
    assert_eq!(exported, "\"url\",\"name\",\"id\"\n\"u\",\"y\",\"1\"\n");
}

#[test]
fn a_file_belongs_to_the_innermost_inbox_and_a_key_to_its_feed() {
    let plays = PLAYS.replace("in/plays,", "in, subfolders: false,");
    let world = world(&[&plays, CLICKS]);
    drop_into(&world, "clicks/x.csv", "id;name;url\n1;right;a\n");
    world.once(0);
    for typed in ["in/clicks/x.csv", "clicks//x.csv"] {
        let again = world.run(&["load", "--again", typed]);
        assert_eq!(again.code, 0, "{typed}: {again:?}");
    }
    assert_eq!(world.query("last", &["id=1"])[0][1], json!("right"));
    assert!(order(&world).iter().all(|file| file == "clicks//x.csv"), "{:?}", order(&world));
    fs::create_dir_all(world.path("in/plays")).unwrap();
    let parent = world.run(&["load", "--feed", "plays", "in/clicks"]);
    assert!(parent.code == 2 && parent.stderr.contains("belongs to the feed `clicks`"), "{parent:?}");
}

#[test]
fn files_of_another_inbox_are_not_loaded_with_the_folder_above_it() {
    let world = world(&[PLAYS, CLICKS]);
    drop_into(&world, "clicks/x.csv", "id;name;url\n1;right;a\n");
    let above = world.run(&["load", "--feed", "plays", "in"]);
    assert!(above.code == 2 && above.stderr.contains("belongs to the feed `clicks`"), "{above:?}");
}

#[test]
fn the_name_of_a_delivery_means_it_even_if_its_feed_is_no_longer_declared() {
    let world = world(&[PLAYS]);
    let short = format!("{}{STORE}", short("in/plays"));
    let long = fs::read_to_string(world.path("config.yaml")).unwrap();
    drop_into(&world, "plays/f.csv", "id,who\n1,a\nx,b\n");
    for yaml in [&short, &long] {
        fs::write(world.path("config.yaml"), yaml).unwrap();
        world.once(1);
    }
    let open = || -> Vec<String> {
        let entries = world.json(&["quarantine", "list"]);
        entries.as_array().unwrap().iter().map(|entry| entry["feed"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(open(), ["", "plays"]);
    assert_eq!(world.run(&["quarantine", "discard", "--file", "f.csv"]).code, 0);
    assert_eq!(open(), ["plays"], "the name is the one of the listing");
}

#[test]
fn a_table_is_backfilled_by_each_feed_that_has_it() {
    let world = world(&[&PLAYS.replace("last:", "other:"), &CLICKS.replace("last:", "other:")]);
    drop_into(&world, "plays/2024-01-01.csv", "id,who\n1,early\n");
    drop_into(&world, "clicks/2024-01-02.csv", "id;name;url\n1;late;u\n2;x;\n");
    world.once(1);
    fs::write(world.path("config.yaml"), yaml(&[PLAYS, CLICKS])).unwrap();
    assert_eq!(world.json(&["status"])["tables"]["last"]["behind"], 2);
    let done = world.run(&["load", "--table", "last", "--json"]).json();
    assert_eq!(done["tables"]["last"]["rows"], 2, "{done}");
    assert_eq!(world.query("last", &["id=1"]), [[json!(1), json!("late")]]);
    assert_eq!(world.json(&["status"])["tables"]["last"]["behind"], 0);
    // The record without a key in `urls` is replayed by the format of its feed.
    let open = world.json(&["quarantine", "list"]);
    assert_eq!((&open[0]["feed"], &open[0]["column"]), (&json!("clicks"), &json!("url")));
    let without = CLICKS.replace("partition_key: [url]", "partition_key: [who]");
    fs::write(world.path("config.yaml"), yaml(&[PLAYS, &without.replace("urls:", "people:")])).unwrap();
    assert_eq!(world.json(&["quarantine", "replay"])["loaded"], 1);
    fs::write(world.path("config.yaml"), yaml(&[PLAYS])).unwrap();
    assert!(
        world.run(&["status"]).stdout.contains("feed     clicks: not declared"),
        "{:?}",
        world.run(&["status"])
    );
}

#[test]
fn the_short_form_stays_beside_named_feeds() {
    let short = short("inbox");
    let world = world(&[CLICKS]);
    fs::write(world.path("config.yaml"), format!("{short}{STORE}")).unwrap();
    world.drop_file("a.csv", "id,who\n1,x\n");
    world.once(0);
    let before = world.receipt("a.csv");
    fs::write(world.path("config.yaml"), format!("{short}{}", yaml(&[CLICKS]))).unwrap();
    drop_into(&world, "clicks/a.csv", "id;name;url\n2;y;u\n");
    assert_eq!(world.once(0)["records"]["read"], 1, "only the file of the new feed");
    assert_eq!(world.receipt("inbox/a.csv"), before);
    assert_eq!(world.query("last", &["id=2"])[0][1], "y");
}

#[test]
fn feeds_that_do_not_fit_together_are_refused_by_name() {
    for (from, to, expected) in [
        ("folder: in/clicks", "folder: in/plays/sub", "feeds.plays.source.folder"),
        (
            "last: { partition_key: [id], columns: [who] }",
            "last: { partition_key: [who], columns: [id] }",
            "feeds.plays.tables.last.partition_key: is id int, but who text in feeds.clicks.tables.last",
        ),
        ("last: { partition_key", "Last: { partition_key", "the same name to a database as `Last`"),
        ("id: int }", "id: bigint }", "is id int, but id bigint"),
        ("clicks:", "Plays:", "differ only in case"),
        ("id: int }", "id: number }", "feeds.clicks.source.columns.id: unknown type `number`"),
    ] {
        assert!(CLICKS.contains(from), "{from}");
        let world = world(&[PLAYS, &CLICKS.replacen(from, to, 1)]);
        let refused = world.run(&["check"]);
        assert_eq!(refused.code, 2, "{to}: {refused:?}");
        assert!(refused.stdout.contains(expected), "{to}: {refused:?}");
    }
    let world = world(&[PLAYS, CLICKS]);
    fs::remove_dir(world.path("in/clicks")).unwrap();
    std::os::unix::fs::symlink(world.path("in/plays"), world.path("in/clicks")).unwrap();
    assert_eq!(world.run(&["check"]).code, 2, "through a link");
}

#[test]
fn a_missing_inbox_holds_up_no_other_feed() {
    let world = world(&[PLAYS, CLICKS]);
    fs::remove_dir(world.path("in/plays")).unwrap();
    drop_into(&world, "clicks/a.csv", "id;name;url\n1;x;u\n");
    let done = world.run(&["run", "--once", "--json"]);
    assert_eq!((done.code, &done.json()["records"]["loaded"]), (3, &json!(1)), "{done:?}");
    assert!(done.stderr.contains("correct feeds.plays.source.folder"), "{done:?}");
    let daemon = world.daemon_unready();
    until("it answers", || daemon.get("/healthz"));
    drop_into(&world, "clicks/b.csv", "id;name;url\n2;y;u\n");
    until_loaded(&daemon, "clicks", 1.0);
    let (status, text) = daemon.get("/readyz").unwrap();
    assert!(status == 503 && text.contains("feed plays"), "{status} {text}");
    fs::create_dir(world.path("in/plays")).unwrap();
    drop_into(&world, "plays/a.csv", "id,who\n3,z\n");
    until_loaded(&daemon, "plays", 1.0);
    until("the daemon is ready", || (daemon.get("/readyz").unwrap().0 == 200).then_some(()));
}

fn until_loaded(daemon: &Daemon, feed: &str, files: f64) {
    let name = format!("needledrop_deliveries_total{{feed=\"{feed}\",state=\"loaded\"}}");
    until("its files are loaded", || (daemon.metrics().get(&name) == Some(&files)).then_some(()));
}

#[test]
fn a_reload_adds_and_removes_feeds() {
    let world = world(&[PLAYS]);
    let daemon = world.daemon();
    drop_into(&world, "plays/a.csv", "id,who\n1,x\n");
    until_loaded(&daemon, "plays", 1.0);
    fs::write(world.path("config.yaml"), yaml(&[PLAYS, CLICKS])).unwrap();
    drop_into(&world, "clicks/a.csv", "id;name;url\n1;y;u\n");
    until_loaded(&daemon, "clicks", 1.0);
    fs::write(world.path("config.yaml"), yaml(&[CLICKS])).unwrap();
    drop_into(&world, "clicks/b.csv", "id;name;url\n2;z;v\n");
    until_loaded(&daemon, "clicks", 2.0);
    let reloads = "needledrop_config_reloads_total{outcome=\"applied\"}";
    until("both reloads are applied", || (daemon.metrics().get(reloads) == Some(&2.0)).then_some(()));
    drop(daemon);
    assert_eq!(states(&world, "plays"), json!({ "loaded": 1 }), "its deliveries stay in the ledger");
}
