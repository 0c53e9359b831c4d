//! Parses dates and times. Their forms are fixed, so this module reads the digits; jiff knows the calendar.

use jiff::civil;

use super::number::is_numeral;
use crate::domain::parse::refusal::{Parsed, not, outside};
use crate::domain::value::{Cell, Unit};

const DAY: i64 = 86_400_000;
const NANOS: i64 = 1_000_000_000;

const FINE: &str = "no finer than a millisecond";
const YEARS: &str = "in the years 0000 to 9999";

/// Parses a date and time, or a date alone, which means midnight. The time is UTC unless an offset follows.
pub fn timestamp(text: &str) -> Parsed {
    const RULE: &str = "a date and time like 2018-11-01T21:01:46.796Z (UTC without an offset), or a date";
    const UNIT: &str = "a date and time like 2018-11-01T21:01:46.796Z; if the column has numbers that count \
                        since 1970, declare it as { type: timestamp, unit: s | ms | us }";
    let Some(instant) = Scan(text.as_bytes()).instant() else {
        return Err(not(if is_numeral(text) { UNIT } else { RULE }));
    };
    if instant.nanos % (NANOS / 1000) != 0 {
        return Err(not(FINE));
    }
    let ms = i64::from(instant.day) * DAY + instant.nanos / (NANOS / 1000);
    in_years(ms - instant.offset * 1000)
}

/// Parses a whole number that counts since 1970.
pub fn since(unit: Unit, text: &str) -> Parsed {
    let rule = match unit {
        Unit::Seconds => "a whole number of seconds since 1970 (unit: s)",
        Unit::Millis => "a whole number of milliseconds since 1970 (unit: ms)",
        Unit::Micros => "a whole number of microseconds since 1970 (unit: us)",
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not(rule));
    }
    let n: i64 = text.parse().map_err(|_| outside(YEARS))?;
    match unit {
        Unit::Seconds => n.checked_mul(1000).map_or(Err(outside(YEARS)), in_years),
        Unit::Millis => in_years(n),
        Unit::Micros if n % 1000 == 0 => in_years(n / 1000),
        Unit::Micros => Err(not(FINE)),
    }
}

fn in_years(ms: i64) -> Parsed {
    /// From 0000-01-01T00:00:00.000Z to 9999-12-31T23:59:59.999Z. In this range, text of fixed width sorts like the
    /// values.
    const ALL: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
    if ALL.contains(&ms) { Ok(Cell::Timestamp(ms)) } else { Err(outside(YEARS)) }
}

pub fn date(text: &str) -> Parsed {
    days(text).map(Cell::Date).ok_or(not("a date like 2018-11-01"))
}

/// Returns the days since 1970-01-01 of a `YYYY-MM-DD` date.
pub fn days(text: &str) -> Option<i32> {
    let mut scan = Scan(text.as_bytes());
    scan.day().filter(|_| scan.is_over())
}

pub fn time(text: &str) -> Parsed {
    const RULE: &str = "a time of day like 21:01:46.796, at most nine decimals";
    let mut scan = Scan(text.as_bytes());
    let nanos = scan.clock().filter(|_| scan.is_over());
    nanos.map(Cell::Time).ok_or(not(RULE))
}

struct Instant {
    /// Days since 1970-01-01.
    day: i32,
    /// Nanoseconds since midnight.
    nanos: i64,
    /// How many seconds the written time is ahead of UTC.
    offset: i64,
}

/// The part of the text that was not read yet.
struct Scan<'t>(&'t [u8]);

impl Scan<'_> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the next byte, if it is `byte`.
    fn skip(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first().filter(|(first, _)| first.is_ascii_digit())?;
        self.0 = rest;
        Some(i64::from(first - b'0'))
    }

    fn two(&mut self) -> Option<i64> {
        Some(self.digit()? * 10 + self.digit()?)
    }

    fn two_below(&mut self, limit: i64) -> Option<i64> {
        self.two().filter(|n| *n < limit)
    }

    /// Reads a date such as `2018-11-01`. Returns days since 1970-01-01.
    fn day(&mut self) -> Option<i32> {
        let year = self.two()? * 100 + self.two()?;
        self.skip(b'-')?;
        let month = self.two()?;
        self.skip(b'-')?;
        let day = self.two()?;
        let (year, month, day) = (year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?);
        let day = civil::Date::new(year, month, day).ok()?;
        Some((day - civil::Date::constant(1970, 1, 1)).get_days())
    }

    /// Reads a time such as `21:01`, `21:01:46` or `21:01:46.796`. Returns nanoseconds.
    fn clock(&mut self) -> Option<i64> {
        let hour = self.two_below(24)?;
        self.skip(b':')?;
        let minutes = hour * 60 + self.two_below(60)?;
        if self.skip(b':').is_none() {
            return Some(minutes * 60 * NANOS);
        }
        let seconds = minutes * 60 + self.two_below(60)?;
        Some(seconds * NANOS + self.decimals()?)
    }

    /// Reads a point and one to nine digits. Returns nanoseconds, or 0 if there is no point.
    fn decimals(&mut self) -> Option<i64> {
        if self.skip(b'.').is_none() {
            return Some(0);
        }
        let mut nanos = self.digit()? * (NANOS / 10);
        let mut worth = NANOS / 100;
        while let Some(digit) = self.digit() {
            if worth == 0 {
                return None;
            }
            nanos += digit * worth;
            worth /= 10;
        }
        Some(nanos)
    }

    /// Reads an offset: `Z`, `+02:00`, `+0200` or `+02`. Returns seconds, or 0 at the end of the text, which means UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.is_over() || self.skip(b'Z').is_some() {
            return Some(0);
        }
        let sign = if self.skip(b'-').is_some() { -1 } else { self.skip(b'+').map(|()| 1)? };
        let hours = self.two_below(24)?;
        let has_minutes = self.skip(b':').is_some() || !self.is_over();
        let minutes = if has_minutes { self.two_below(60)? } else { 0 };
        Some(sign * (hours * 60 + minutes) * 60)
    }

    /// Reads the whole text: a date and, optionally, `T` or a space, the time and its offset.
    fn instant(mut self) -> Option<Instant> {
        let day = self.day()?;
        if self.is_over() {
            return Some(Instant { day, nanos: 0, offset: 0 });
        }
        self.skip(b'T').or_else(|| self.skip(b' '))?;
        let (nanos, offset) = (self.clock()?, self.offset()?);
        self.is_over().then_some(Instant { day, nanos, offset })
    }
}
