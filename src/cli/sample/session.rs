//! One visit of one person: which page comes next, and when.

use fastrand::Rng;

use crate::cli::sample::cast;
use crate::cli::sample::cast::{Person, SONGS, Song};

/// The minimum number of records of a session. The last session of a day may be cut shorter.
const SHORTEST: u32 = 2;
/// The maximum number of records of a session.
const LONGEST: u32 = 28;

/// Returns the maximum number of sessions that `rows` records can form.
pub fn most(rows: u32) -> u32 {
    rows / SHORTEST + 1
}

/// A session. Sessions are ordered by the time of their next record.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// The time of its next record, in milliseconds since midnight.
    pub at: u64,
    pub id: u32,
    pub item: u32,
    /// The number of records to come.
    pub left: u32,
    pub person: u32,
    pub logged_in: bool,
}

/// The page of a record, with its HTTP method and status.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub name: &'static str,
    pub method: &'static str,
    pub status: &'static str,
}

const fn page(name: &'static str, method: &'static str, status: &'static str) -> Page {
    Page { name, method, status }
}

const NEXT_SONG: Page = page("NextSong", "PUT", "200");
const HOME: Page = page("Home", "GET", "200");
const LOGIN: Page = page("Login", "PUT", "307");
const LOGOUT: Page = page("Logout", "PUT", "307");

/// Pages other than songs, login and logout.
const OTHERS: [Page; 6] = [
    page("Settings", "GET", "200"),
    page("Save Settings", "PUT", "307"),
    page("Help", "GET", "200"),
    page("About", "GET", "200"),
    page("Error", "GET", "404"),
    HOME,
];
const UPGRADE: Page = page("Upgrade", "GET", "200");
const DOWNGRADE: Page = page("Downgrade", "GET", "200");

/// Returns a random number of records for a session.
pub fn length(rng: &mut Rng) -> u32 {
    rng.u32(SHORTEST..=LONGEST)
}

impl Session {
    /// Begins a session. One in eight begins logged out.
    pub fn begin(rng: &mut Rng, at: u64, id: u32, left: u32, person: u32) -> Self {
        Self { at, id, item: 0, left, person, logged_in: rng.u32(0..8) > 0 }
    }

    pub fn who(&self) -> Person {
        cast::person(self.person)
    }

    /// Returns the page of the next record.
    pub fn page(&self, rng: &mut Rng) -> &'static Page {
        let dice = rng.u32(0..100);
        match (self.logged_in, self.item) {
            (false, 0) if dice < 70 => &HOME,
            (false, _) if dice < 80 => &LOGIN,
            (false, _) => &HOME,
            (true, 0) if dice < 40 => &HOME,
            (true, _) if dice < 89 => &NEXT_SONG,
            (true, _) => self.other(rng),
        }
    }

    fn other(&self, rng: &mut Rng) -> &'static Page {
        match rng.u32(0..10) {
            0 => &LOGOUT,
            1 if self.who().paid => &DOWNGRADE,
            1 => &UPGRADE,
            n => OTHERS.get(n as usize - 2).unwrap_or(&HOME),
        }
    }

    /// Returns the song that plays on this page. Some songs are played more often than others.
    pub fn song(page: &Page, rng: &mut Rng) -> Option<Song> {
        let most = SONGS;
        (*page == NEXT_SONG).then(|| cast::song(rng.u32(0..most).min(rng.u32(0..most))))
    }

    /// Advances to the next record. Returns `None` at the end of the session. Most songs are heard to their end.
    pub fn advance(mut self, page: &Page, song: Option<&Song>, rng: &mut Rng) -> Option<Self> {
        self.at += match song {
            Some(song) if rng.u32(0..10) > 0 => song.millis() + rng.u64(0..2_000),
            Some(song) => song.millis() / 3,
            None => rng.u64(2_000..40_000),
        };
        self.logged_in = *page == LOGIN || (self.logged_in && *page != LOGOUT);
        self.item += 1;
        self.left -= 1;
        (self.left > 0).then_some(self)
    }
}

/// 2018-11-01, in days since 1970.
pub const FIRST_DAY: u32 = 17_836;
