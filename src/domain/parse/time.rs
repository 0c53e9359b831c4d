//! Parses dates and times. Their forms are fixed, so this module reads the digits; jiff knows the calendar.

use jiff::civil;

use super::number::is_numeral;
use crate::domain::parse::refusal::{Parsed, Refusal, not, outside};
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
    let Some(instant) = instant(text, false) else {
        return Err(not(if is_numeral(text) { UNIT } else { RULE }));
    };
    let ms = i64::from(instant.day) * DAY + whole_millis(instant.nanos, false)?;
    in_years(ms - instant.offset.unwrap_or(0) * 1000)
}

/// Reads a date and, optionally, a time and its offset. With `truncate`, there may be more than nine decimals.
pub fn instant(text: &str, truncate: bool) -> Option<Instant> {
    Scan { rest: text.as_bytes(), truncate }.instant()
}

/// Returns the milliseconds in these nanoseconds.
///
/// # Errors
/// Returns an error if there is a rest and it is not to be cut off.
pub fn whole_millis(nanos: i64, truncate: bool) -> Result<i64, Refusal> {
    const MILLI: i64 = NANOS / 1000;
    if nanos % MILLI == 0 || truncate { Ok(nanos / MILLI) } else { Err(not(FINE)) }
}

/// Parses a number that counts since 1970. With `truncate`, parts of a millisecond are cut off, towards the past.
pub fn since(unit: Unit, text: &str, truncate: bool) -> Parsed {
    let rule = match unit {
        Unit::Seconds => "a number of seconds since 1970 (unit: s)",
        Unit::Millis => "a number of milliseconds since 1970 (unit: ms)",
        Unit::Micros => "a number of microseconds since 1970 (unit: us)",
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    if let Some((whole, fraction)) = digits.split_once('.') {
        let is_number = are_digits(whole) && are_digits(fraction);
        return if is_number { fractional(unit, text, truncate) } else { Err(not(rule)) };
    }
    if !are_digits(digits) {
        return Err(not(rule));
    }
    let n: i64 = text.parse().map_err(|_| outside(YEARS))?;
    match unit {
        Unit::Seconds => n.checked_mul(1000).map_or(Err(outside(YEARS)), in_years),
        Unit::Millis => in_years(n),
        Unit::Micros if n % 1000 == 0 || truncate => in_years(n.div_euclid(1000)),
        Unit::Micros => Err(not(FINE)),
    }
}

/// Parses digits with a point among them, and possibly a minus before them. The result is exact: the point is moved, and
/// nothing is calculated in floating point.
fn fractional(unit: Unit, text: &str, truncate: bool) -> Parsed {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!("000{whole}{fraction}000");
    let (ms, rest) = padded.split_at(match unit {
        Unit::Seconds => whole.len() + 6,
        Unit::Millis => whole.len() + 3,
        Unit::Micros => whole.len(),
    });
    let has_rest = rest.bytes().any(|digit| digit != b'0');
    if has_rest && !truncate {
        return Err(not(FINE));
    }
    let ms: i64 = ms.parse().map_err(|_| outside(YEARS))?;
    in_years(if text.starts_with('-') { -ms - i64::from(has_rest) } else { ms })
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the timestamp if text of fixed width can hold it.
pub fn in_years(ms: i64) -> Parsed {
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
    let mut scan = Scan { rest: text.as_bytes(), truncate: false };
    scan.day().filter(|_| scan.is_over())
}

/// Parses a time of day. With `truncate`, decimals after the ninth are cut off.
pub fn time(text: &str, truncate: bool) -> Parsed {
    const RULE: &str = "a time of day like 21:01:46.796, at most nine decimals";
    let mut scan = Scan { rest: text.as_bytes(), truncate };
    let nanos = scan.clock().filter(|_| scan.is_over());
    nanos.map(Cell::Time).ok_or(not(RULE))
}

/// Returns the days from 1970-01-01 to a date.
pub fn day_number(day: civil::Date) -> i32 {
    (day - civil::Date::constant(1970, 1, 1)).get_days()
}

/// A date and time as written.
pub struct Instant {
    /// Days since 1970-01-01.
    pub day: i32,
    /// Nanoseconds since midnight.
    pub nanos: i64,
    /// How many seconds the written time is ahead of UTC. `None` if the text does not say it.
    pub offset: Option<i64>,
}

struct Scan<'t> {
    /// The part of the text that was not read yet.
    rest: &'t [u8],
    /// Whether decimals after the ninth are cut off.
    truncate: bool,
}

impl Scan<'_> {
    fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the next byte, if it is `byte`.
    fn skip(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.rest.split_first().filter(|(first, _)| first.is_ascii_digit())?;
        self.rest = rest;
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
        civil::Date::new(year, month, day).ok().map(day_number)
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
            if worth == 0 && !self.truncate {
                return None;
            }
            nanos += digit * worth;
            worth /= 10;
        }
        Some(nanos)
    }

    /// Reads an offset in seconds: `Z`, `+02:00`, `+0200` or `+02`. `Some(None)` at the end of the text.
    fn offset(&mut self) -> Option<Option<i64>> {
        if self.is_over() {
            return Some(None);
        }
        if self.skip(b'Z').is_some() {
            return Some(Some(0));
        }
        let sign = if self.skip(b'-').is_some() { -1 } else { self.skip(b'+').map(|()| 1)? };
        let hours = self.two_below(24)?;
        let has_minutes = self.skip(b':').is_some() || !self.is_over();
        let minutes = if has_minutes { self.two_below(60)? } else { 0 };
        Some(Some(sign * (hours * 60 + minutes) * 60))
    }

    /// Reads the whole text: a date and, optionally, `T` or a space, the time and its offset.
    fn instant(mut self) -> Option<Instant> {
        let day = self.day()?;
        if self.is_over() {
            return Some(Instant { day, nanos: 0, offset: None });
        }
        self.skip(b'T').or_else(|| self.skip(b' '))?;
        let (nanos, offset) = (self.clock()?, self.offset()?);
        self.is_over().then_some(Instant { day, nanos, offset })
    }
}
