//! A load with some bad input, whose results are known.

use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use rusqlite::Connection;

use crate::common::{Daemon, HEADER, World, events, until};

/// The number of files that are dropped on each daemon, with a pause after each.
pub const FILES: u32 = 24;
const EVERY: Duration = Duration::from_millis(800);

/// The number of records in each file.
pub const RECORDS: u32 = GOOD + SKIPPED + BAD;
const GOOD: u32 = 480;
pub const SKIPPED: u32 = 15;
pub const BAD: u32 = 5;

/// How long the load takes in seconds, without the locked store.
pub const SECONDS: f64 = 0.8 * FILES as f64;

/// With these settings each file has several chunks.
pub const SETTINGS: [(&str, &str); 3] =
    [("source.settle", "200ms"), ("source.poll", "200ms"), ("write.window", "100")];

pub fn world() -> World {
    SETTINGS.into_iter().fold(World::new(), |world, (setting, value)| world.with(setting, value))
}

fn csv(items: Range<u32>) -> String {
    let skipped = ",Ann,F,1,Lee,1.5,free,X,7,Song,3\n".repeat(SKIPPED as usize);
    let bad: String = (0..BAD).map(|n| format!("A,Ann,F,x{n},Lee,1.5,free,X,7,Song,3\n")).collect();
    format!("{HEADER}{}{skipped}{bad}", events(items))
}

/// Drops all files into the worlds, and three more: one fails, one stays incomplete, and no pattern matches one.
pub fn drop_all(worlds: &[&World]) {
    for number in 0..FILES {
        for world in worlds {
            // Written under another name and renamed, so that the file need not settle.
            world.drop_file(".arriving", csv(number * GOOD..(number + 1) * GOOD));
            std::fs::rename(world.inbox().join(".arriving"), world.inbox().join(format!("{number:03}.csv")))
                .unwrap();
            if number == FILES / 2 {
                world.drop_file("no-song.csv", "artist,userId\nA,1\n");
                world.drop_file("half.csv.gz", half());
                world.drop_file("notes.txt", "no pattern matches this name");
            }
        }
        sleep(EVERY);
    }
}

/// Returns a compressed file that is cut off in the middle.
fn half() -> Vec<u8> {
    let whole = crate::common::gzip(csv(900_000..903_000).as_bytes());
    whole[..whole.len() / 2].to_vec()
}

/// Waits until all files have ended as they should.
pub fn until_all_ended(daemon: &Daemon) {
    let state = |name: &str| {
        daemon.metrics().get(&format!("needledrop_deliveries_total{{state=\"{name}\"}}")).copied()
    };
    until("all is loaded", || (state("loaded")? == f64::from(FILES)).then_some(()));
    until("one has failed", || (state("failed")? == 1.0).then_some(()));
    until("one is incomplete", || (state("incomplete")? >= 1.0).then_some(()));
}

/// Locks the store through another connection for some seconds, while a file waits.
pub fn lock(world: &World, daemon: &Daemon, seconds: u64) {
    let other = Connection::open(world.store()).unwrap();
    until("the store is free", || other.execute_batch("BEGIN IMMEDIATE").ok());
    world.drop_file("waits.csv", csv(800_000..800_000 + GOOD));
    let is_down = || daemon.metrics()["needledrop_store_up"] == 0.0;
    until("the store is reported as down", || is_down().then_some(()));
    sleep(Duration::from_secs(seconds));
    other.execute_batch("ROLLBACK").unwrap();
    until("the store is back", || (!is_down()).then_some(()));
}
