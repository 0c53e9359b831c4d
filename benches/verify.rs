//! Measures how long a full verification takes, as a multiple of the time of loading the same files into SQLite.

mod common;

use common::{Outcome, Pairs, Scratch, events, rate};

/// The input of `benches/sqlite.rs`.
const TIMES: u32 = 50;

/// A verification takes at most four times as long as the load.
const GOAL: f64 = 0.25;

fn main() -> Outcome {
    let scratch = Scratch::new()?;
    common::scaled(TIMES, &scratch.inbox())?;
    let count = events::parsed(&scratch.inbox())?.len() as u64;
    common::finish(&mut scratch.needledrop(&["run", "--once"]))?;
    let again = Scratch::new()?;
    common::scaled(TIMES, &again.inbox())?;
    let pairs = Pairs::take(
        || Ok(rate(count, common::finish(&mut scratch.needledrop(&["verify"]))?)),
        || {
            again.remove(&again.store());
            Ok(rate(count, common::finish(&mut again.needledrop(&["run", "--once"]))?))
        },
    )?;
    common::compare(
        "three SQLite tables compared with their files",
        "events/s",
        ["needledrop verify", "needledrop run --once"],
        &pairs,
        GOAL,
        "medians of 5 alternating pairs, whole processes; every row is computed again, looked up and compared",
    );
    Ok(())
}
