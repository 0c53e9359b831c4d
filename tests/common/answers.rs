//! The 30 real files, and what every store must answer about them.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::common::{World, files, shared};

pub const TABLES: [&str; 3] = ["session_item", "user_session", "user_song"];

/// Returns the 30 files, or none if they are missing.
pub fn real() -> Vec<PathBuf> {
    shared("events").map(|folder| files(&folder)).unwrap_or_default()
}

fn row(values: Json) -> Vec<Json> {
    values.as_array().unwrap().clone()
}

pub fn assert_receipts(world: &World) {
    let (mut records, mut loaded, mut skipped) = (0, 0, 0);
    for file in real() {
        let receipt = world.receipt(file.file_name().unwrap().to_str().unwrap());
        let count = |key: &str| receipt[key].as_u64().unwrap();
        assert_eq!(receipt["closes"], true, "{receipt}");
        assert_eq!(count("quarantined"), 0, "{receipt}");
        assert_eq!(count("records"), count("loaded") + count("skipped"), "{receipt}");
        assert_eq!(count("bytes"), fs::metadata(&file).unwrap().len(), "{receipt}");
        assert!(TABLES.iter().all(|table| receipt["tables"][table]["rows"] == count("loaded")), "{receipt}");
        records += count("records");
        loaded += count("loaded");
        skipped += count("skipped");
    }
    assert_eq!((records, loaded, skipped), (8056, 6820, 1236));
}

pub fn assert_answers(world: &World) {
    let item = world.query("session_item", &["sessionId=338", "itemInSession=4"]);
    assert_eq!(item, [row(json!([338, 4, "Faithless", "Music Matters (Mark Knight Dub)", 495.3073]))]);
    let session = world.query("user_session", &["userId=10", "sessionId=182"]);
    let sylvie =
        |item: u32, artist: &str, song: &str| row(json!([182, 10, item, artist, song, "Sylvie", "Cruz"]));
    let expected = [
        sylvie(0, "Down To The Bone", "Keep On Keepin' On"),
        sylvie(1, "Three Drives", "Greece 2000"),
        sylvie(2, "Sebastien Tellier", "Kilometer"),
        sylvie(3, "Lonnie Gordon", "Catch You Baby (Steve Pitron & Max Sanna Radio Edit)"),
    ];
    assert_eq!(session, expected);
    let song = "All Hands Against His Own";
    let listeners = world.query("user_song", &[&format!("song={song}")]);
    let expected = [(29, "Jacqueline", "Lynch"), (80, "Tegan", "Levine"), (95, "Sara", "Johnson")]
        .map(|(user, first, last)| row(json!([song, user, first, last])));
    assert_eq!(listeners, expected);
}
