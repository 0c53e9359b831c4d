//! One visit of one person: which page comes next, and when.

use fastrand::Rng;

use crate::cli::sample::cast;
use crate::cli::sample::cast::{Person, SONGS, Song};

/// Records of a session, but for the last of a day, which may be cut.
const SHORTEST: u32 = 2;
const LONGEST: u32 = 28;

/// Sessions that `rows` records can make.
pub fn most(rows: u32) -> u32 {
    rows / SHORTEST + 1
}

/// Ordered by the time of its next record.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// Of its next record, in milliseconds since midnight.
    pub at: u64,
    pub id: u32,
    pub item: u32,
    /// Records to come.
    pub left: u32,
    pub person: u32,
    pub logged_in: bool,
}

/// What a record tells.
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

/// Beside songs and the ways in and out.
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

/// How many records a session has.
pub fn length(rng: &mut Rng) -> u32 {
    rng.u32(SHORTEST..=LONGEST)
}

impl Session {
    /// One in eight begins on the page for those who are logged out.
    pub fn begin(rng: &mut Rng, at: u64, id: u32, left: u32, person: u32) -> Self {
        Self { at, id, item: 0, left, person, logged_in: rng.u32(0..8) > 0 }
    }

    pub fn who(&self) -> Person {
        cast::person(self.person)
    }

    /// The page of the next record.
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

    /// What plays on this page; some songs are asked for more than others.
    pub fn song(page: &Page, rng: &mut Rng) -> Option<Song> {
        let most = SONGS;
        (*page == NEXT_SONG).then(|| cast::song(rng.u32(0..most).min(rng.u32(0..most))))
    }

    /// Moves behind a record. A song is heard to its end, most of the time.
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
