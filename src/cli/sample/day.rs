//! One day of events: records of interleaved sessions, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use fastrand::Rng;

use super::cast::{PEOPLE, Person, Song};
use crate::cli::sample::session;
use crate::cli::sample::session::{FIRST_DAY, Page, Session};

const HEADER: &str = "artist,auth,firstName,gender,itemInSession,lastName,length,level,location,method,page,\
                      registration,sessionId,song,status,ts,userId\n";

const HOUR: u64 = 3_600_000;

/// When sessions begin. The longest session takes three and a half hours, so that none runs into the next day.
const AWAKE: std::ops::Range<u64> = 11 * HOUR..20 * HOUR;

/// One file to write.
#[derive(Debug)]
pub struct Day {
    /// The number of the day, from 0.
    pub number: u32,
    pub rows: u32,
    pub seed: u64,
    pub first_session: u32,
}

impl Day {
    /// Writes the header and the records.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(HEADER.as_bytes())?;
        let rng = &mut self.rng();
        let mut open: BinaryHeap<_> = self.sessions(rng).into_iter().map(Reverse).collect();
        let mut line = String::new();
        while let Some(Reverse(session)) = open.pop() {
            let page = session.page(rng);
            let song = Session::song(page, rng);
            line.clear();
            self.record(&mut line, &session, page, song.as_ref());
            out.write_all(line.as_bytes())?;
            open.extend(session.advance(page, song.as_ref(), rng).map(Reverse));
        }
        Ok(())
    }

    /// Returns the random number generator of this day. The seed is multiplied, because seed 1 on day 2 must not equal
    /// seed 2 on day 1.
    fn rng(&self) -> Rng {
        let seed = self.seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Rng::with_seed(seed.wrapping_add(self.number.into()))
    }

    /// Returns sessions that together have as many records as the day.
    fn sessions(&self, rng: &mut Rng) -> Vec<Session> {
        let mut lengths = Vec::new();
        let mut left = self.rows;
        while left > 0 {
            let length = session::length(rng).min(left);
            lengths.push(length);
            left -= length;
        }
        let mut begins: Vec<u64> = lengths.iter().map(|_| rng.u64(AWAKE)).collect();
        begins.sort_unstable();
        let mut person = rng.u32(0..PEOPLE);
        let ids = self.first_session..;
        let made = begins.into_iter().zip(lengths).zip(ids).map(|((at, length), id)| {
            // The next person always differs from the last one, and is unlikely to be listening already.
            person = (person + rng.u32(1..6)) % PEOPLE;
            Session::begin(rng, at, id, length, person)
        });
        made.collect()
    }

    /// Appends one CSV record. A record of a logged-out person has only the level.
    fn record(&self, line: &mut String, session: &Session, page: &Page, song: Option<&Song>) {
        let who = Some(session.who()).filter(|_| session.logged_in);
        let of = |field: fn(&Person) -> &'static str| who.as_ref().map_or("", field);
        let number =
            |field: fn(&Person) -> u64| who.as_ref().map_or(String::new(), |who| field(who).to_string());
        let fields = [
            song.map_or("", |song| song.artist),
            if session.logged_in { "Logged In" } else { "Logged Out" },
            of(|who| who.first_name),
            of(|who| who.gender),
            &session.item.to_string(),
            of(|who| who.last_name),
            &song.map(Song::length).unwrap_or_default(),
            if session.who().paid { "paid" } else { "free" },
            of(|who| who.location),
            page.method,
            page.name,
            &number(|who| who.registration),
            &session.id.to_string(),
            song.map_or("", |song| song.title),
            page.status,
            &self.millis(session.at).to_string(),
            &number(|who| who.id),
        ];
        for field in fields {
            push(line, field);
        }
        line.pop();
        line.push('\n');
    }

    /// Returns milliseconds since 1970.
    fn millis(&self, since_midnight: u64) -> u64 {
        u64::from(FIRST_DAY + self.number) * 24 * HOUR + since_midnight
    }
}

/// Appends a field. It is quoted only if it must be, as in the real files.
fn push(line: &mut String, field: &str) {
    if field.contains([',', '"', '\n']) {
        line.push('"');
        line.push_str(&field.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(field);
    }
    line.push(',');
}
