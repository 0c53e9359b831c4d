//! Two feeds whose inboxes have files with equal names and equal bytes. They share a table, and one of them has a table
//! of its own. Two phases drop the files, and a run follows each phase.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::common::World;

const FEEDS: [&str; 2] = ["clicks", "plays"];

/// Both feeds read the same bytes. The columns that they read differ, so each row shows its feed.
const YAML: &str = "
feeds:
  plays:
    source: { folder: in/plays, settle: 20ms, poll: 200ms, columns: { id: int, who: text } }
    tables:
      last: { answers: the newest name of an id, partition_key: [id], columns: [who] }
  clicks:
    source:
      folder: in/clicks
      settle: 20ms
      poll: 200ms
      columns: { url: text, who: { type: text, from: name }, id: int }
    tables:
      last: { partition_key: [id], columns: [who] }
      urls: { answers: who opened it, partition_key: [url], clustering_key: [id], columns: [who] }
";

const HEADER: &str = "id,who,name,url\n";

/// What a phase puts into the inboxes: file, records.
pub type Phase = &'static [(&'static str, &'static str)];

pub const PHASES: [Phase; 2] = [
    &[
        // Equal names and equal bytes. Feeds come in the order of their names, so plays is later.
        ("clicks/2024-01-01.csv", "1,p1,c1,a\n2,p2,c2,b\n3,p3,c3,a\n"),
        ("plays/2024-01-01.csv", "1,p1,c1,a\n2,p2,c2,b\n3,p3,c3,a\n"),
        // Equal names. Each feed refuses another record, and one record of the second file is not complete.
        ("clicks/2024-01-02.csv", "2,p4,c4,b\n4,p5,c5,\n5,p6,c6,d\n6,p7"),
        ("plays/2024-01-02.csv", "x,p8,c8,a\n5,p9,c9,d\n6,p10,c10,e\n"),
        // The last record has no line end.
        ("plays/2024-01-03.csv", "3,p11,c11,a\n7,p12,c12,"),
        // A copy of another file of its feed, and a file whose bytes only the other feed has.
        ("clicks/2024-01-04.csv", "1,p1,c1,a\n2,p2,c2,b\n3,p3,c3,a\n"),
        ("plays/2024-01-04.csv", "2,p4,c4,b\n4,p5,c5,\n5,p6,c6,d\n6,p7"),
    ],
    &[
        // The files grow: a record is completed, and the last record changes.
        ("clicks/2024-01-02.csv", "2,p4,c4,b\n4,p5,c5,\n5,p6,c6,d\n6,p7,c7,b\n1,p13,c13,c\n"),
        ("plays/2024-01-03.csv", "3,p11,c11,a\n7,p12,c12,g\n"),
        // New bytes for one of two equal files.
        ("plays/2024-01-01.csv", "8,p14,c14,a\n3,p15,c15,b\n"),
        ("clicks/2024-01-05.csv", "8,p16,c16,a\n"),
        ("plays/2024-01-05.csv", "7,p17,c17,a\n"),
    ],
];

/// The rows of the shared table after both phases. Within a phase, files come by date, feed and name. A file that grows
/// keeps its place, and new bytes take a place at the end.
const LAST: [(i64, &str); 8] =
    [(1, "c13"), (2, "p4"), (3, "p11"), (4, "p5"), (5, "p6"), (6, "p10"), (7, "p17"), (8, "c16")];

/// The rows of the table of one feed: url, id, who.
const URLS: [(&str, i64, &str); 7] = [
    ("a", 1, "c1"),
    ("a", 3, "c3"),
    ("a", 8, "c16"),
    ("b", 2, "c4"),
    ("b", 6, "c7"),
    ("c", 1, "c13"),
    ("d", 5, "c6"),
];

/// Creates a world with the inboxes of both feeds.
pub fn world() -> World {
    let world = World::of(YAML).without("source.folder").with("write.window", "1");
    FEEDS.iter().for_each(|feed| fs::create_dir_all(inbox(&world, feed)).unwrap());
    world
}

fn inbox(world: &World, feed: &str) -> PathBuf {
    world.path("in").join(feed)
}

pub fn drop_files(world: &World, phase: Phase) {
    for (file, records) in phase {
        fs::write(inbox(world, file), format!("{HEADER}{records}")).unwrap();
    }
}

/// Runs to the end. Exit code 1 is allowed, because it is about the input and not about the run.
pub fn load(world: &World) {
    let done = world.run(&["run", "--once"]);
    assert!(matches!(done.code, 0 | 1), "{done:?}");
}

#[allow(dead_code, reason = "only a store that is used again needs it")]
pub fn empty_inboxes(world: &World) {
    for feed in FEEDS {
        fs::remove_dir_all(inbox(world, feed)).unwrap();
        fs::create_dir(inbox(world, feed)).unwrap();
    }
}

/// Asserts the rows after both phases.
pub fn assert_rows(world: &World) {
    for (id, who) in LAST {
        assert_eq!(world.query("last", &[&format!("id={id}")]), [[json!(id), json!(who)]]);
    }
    for url in ["a", "b", "c", "d"] {
        let expected = URLS.iter().filter(|row| row.0 == url);
        let expected: Vec<_> =
            expected.map(|(url, id, who)| vec![json!(url), json!(id), json!(who)]).collect();
        assert_eq!(world.query("urls", &[&format!("url={url}")]), expected);
    }
}

/// Asserts that the files of the first phase were taken up by date, feed and name.
pub fn assert_order(world: &World) {
    let taken_up: Vec<String> = receipts(world).iter().map(name).collect();
    let copy = "clicks//2024-01-04.csv";
    let listed = PHASES[0].iter().map(|(file, _)| file.replacen('/', "//", 1)).filter(|file| file != copy);
    assert_eq!(taken_up, [vec![copy.to_owned()], listed.collect()].concat(), "a copy has no stamps");
}

/// Returns the receipts of all generations, in the order of their first stamps. Asserts that every receipt closes, that no
/// two ranges of stamps overlap, and that no file is left behind.
pub fn receipts(world: &World) -> Vec<Json> {
    let status = world.json(&["status"]);
    let receipt = |delivery: &Json| {
        let generation = delivery["generation"].to_string();
        let receipt = world.json(&["receipt", &name(delivery), "--generation", &generation]);
        assert_eq!(receipt["closes"], true, "{receipt}");
        assert!(receipt["state"] != "loading" && receipt["state"] != "waiting", "left behind: {receipt}");
        receipt
    };
    let mut receipts: Vec<Json> = status["deliveries"].as_array().unwrap().iter().map(receipt).collect();
    receipts.sort_by_key(|receipt| ranges(receipt).first().copied());
    let mut all: Vec<(i64, i64)> = receipts.iter().flat_map(ranges).collect();
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{all:?}");
    receipts
}

/// Returns the ranges of stamps of a delivery: begin and end.
fn ranges(receipt: &Json) -> Vec<(i64, i64)> {
    let of = |range: &Json, key: &str| range[key].as_i64().unwrap();
    let range = |range: &Json| (of(range, "base"), of(range, "base") + 2 * of(range, "records"));
    receipt["stamps"].as_array().unwrap().iter().map(range).collect()
}

/// Returns feed and path of a delivery.
pub fn name(delivery: &Json) -> String {
    format!("{}//{}", delivery["feed"].as_str().unwrap(), delivery["file"].as_str().unwrap())
}
