//! Measures how many events per second are loaded into SQLite, by the whole program and by a bare loop that only
//! inserts the rows.
//!
//! The bare loop has all events parsed in memory before its clock starts. It has no ledger, no stamps, no receipts,
//! no hashes and no quarantine. What remains is SQLite itself, with the tables, the durability and the settings
//! that needledrop uses.

mod common;

use std::path::Path;
use std::time::Instant;

use common::events::{self, Event};
use common::{Outcome, Pairs, Scratch, rate};
use rusqlite::{Connection, Statement, params};

const TIMES: u32 = 50;

/// The number of records per transaction.
const CHUNK: usize = 10_000;

const GOAL: f64 = 0.8;

/// The settings with which needledrop opens its store.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384";

const TABLES: &str = "
CREATE TABLE session_item (
  sessionId INTEGER NOT NULL, itemInSession INTEGER NOT NULL, artist TEXT, song TEXT, length REAL,
  PRIMARY KEY (sessionId, itemInSession)) STRICT, WITHOUT ROWID;
CREATE TABLE user_session (
  sessionId INTEGER NOT NULL, userId INTEGER NOT NULL, itemInSession INTEGER NOT NULL, artist TEXT,
  song TEXT, firstName TEXT, lastName TEXT,
  PRIMARY KEY (sessionId, userId, itemInSession)) STRICT, WITHOUT ROWID;
CREATE TABLE user_song (
  song TEXT NOT NULL, userId INTEGER NOT NULL, firstName TEXT, lastName TEXT,
  PRIMARY KEY (song, userId)) STRICT, WITHOUT ROWID";

const UPSERTS: [&str; 3] = [
    "INSERT INTO session_item VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET \
     artist = excluded.artist, song = excluded.song, length = excluded.length",
    "INSERT INTO user_session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET \
     artist = excluded.artist, song = excluded.song, firstName = excluded.firstName, \
     lastName = excluded.lastName",
    "INSERT INTO user_song VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET \
     firstName = excluded.firstName, lastName = excluded.lastName",
];

fn main() -> Outcome {
    let scratch = Scratch::new()?;
    common::scaled(TIMES, &scratch.inbox())?;
    let events = events::parsed(&scratch.inbox())?;
    let bare = scratch.path("bare.db");
    let count = events.len() as u64;
    let pairs = Pairs::take(
        || {
            scratch.remove(&scratch.store());
            Ok(rate(count, common::finish(&mut scratch.needledrop(&["run", "--once"]))?))
        },
        || {
            scratch.remove(&bare);
            let began = Instant::now();
            load(&bare, &events)?;
            Ok(rate(count, began.elapsed()))
        },
    )?;
    check(&scratch.store(), &bare)?;
    common::compare(
        &format!("{} events into three SQLite tables", common::grouped(rows(count))),
        "events/s",
        ["needledrop run --once, whole process", "bare rusqlite loop, rows in memory"],
        &pairs,
        GOAL,
        "medians of 5 alternating pairs; both WAL, synchronous=FULL, 16 MiB cache, from open to close;\n  \
         bare: upserts, 10,000 records a transaction, no stamps, no ledger",
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "to be printed")]
fn rows(count: u64) -> f64 {
    count as f64
}

/// Runs the bare loop. Closing the only connection runs a checkpoint, and its time counts.
fn load(path: &Path, events: &[Event]) -> Outcome {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(SETTINGS)?;
    connection.execute_batch(TABLES)?;
    for chunk in events.chunks(CHUNK) {
        let transaction = connection.transaction()?;
        {
            let [mut item, mut session, mut song] = prepared(&transaction)?;
            for e in chunk {
                item.execute(params![e.session, e.item, e.artist, e.song, e.wide])?;
                session.execute(params![
                    e.session,
                    e.user,
                    e.item,
                    e.artist,
                    e.song,
                    e.first_name,
                    e.last_name
                ])?;
                song.execute(params![e.song, e.user, e.first_name, e.last_name])?;
            }
        }
        transaction.commit()?;
    }
    connection.close().map_err(|(_, error)| error.into())
}

fn prepared(connection: &Connection) -> rusqlite::Result<[rusqlite::CachedStatement<'_>; 3]> {
    let [item, session, song] = UPSERTS;
    Ok([
        connection.prepare_cached(item)?,
        connection.prepare_cached(session)?,
        connection.prepare_cached(song)?,
    ])
}

/// Checks that both sides did the same work. Otherwise the ratio means nothing.
fn check(ours: &Path, bare: &Path) -> Outcome {
    let connection = Connection::open(ours)?;
    connection.execute("ATTACH ?1 AS bare", [bare.to_string_lossy()])?;
    let columns = [
        ("session_item", "sessionId, itemInSession, artist, song, length"),
        ("user_session", "sessionId, userId, itemInSession, artist, song, firstName, lastName"),
        ("user_song", "song, userId, firstName, lastName"),
    ];
    for (table, columns) in columns {
        let [ours, bare] = ["main", "bare"].map(|schema| format!("SELECT {columns} FROM {schema}.{table}"));
        let only = |a: &str, b: &str| format!("SELECT count(*) FROM ({a} EXCEPT {b})");
        for sql in [only(&ours, &bare), only(&bare, &ours)] {
            let mut statement: Statement<'_> = connection.prepare(&sql)?;
            let differing: u64 = statement.query_row([], |row| row.get(0))?;
            if differing > 0 {
                return Err(format!("{table}: {differing} rows differ").into());
            }
        }
    }
    Ok(())
}
