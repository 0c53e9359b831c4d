//! Measures the time from the drop of a daily file until its last record can be read from SQLite.
//! `benches/cassandra.rs` measures this time for Cassandra.

mod common;

use common::drops::Drops;
use common::{Outcome, Scratch};
use rusqlite::{Connection, OpenFlags};

const ARRIVED: &str = "SELECT EXISTS (SELECT 1 FROM session_item WHERE sessionId = ?1 AND itemInSession = 0) \
     AND EXISTS (SELECT 1 FROM user_session WHERE sessionId = ?1 AND userId = 1 AND itemInSession = 0) \
     AND EXISTS (SELECT 1 FROM user_song WHERE song = 'drop ' || ?1 AND userId = 1)";

fn main() -> Outcome {
    let scratch = Scratch::new()?;
    let open = || {
        let reader = Connection::open_with_flags(scratch.store(), OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        reader.prepare_cached(ARRIVED).ok()?;
        Some(move |session| Ok(reader.prepare_cached(ARRIVED)?.query_row([session], |row| row.get(0))?))
    };
    Drops::take(&scratch, scratch.needledrop(&["run"]), 1, open)?.report("SQLite");
    Ok(())
}
