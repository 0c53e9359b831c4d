//! Dates and times in declared forms and time zones.

use std::borrow::Cow;
use std::fmt;

use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::directive;
use super::number::NumberForm;
use crate::domain::parse::refusal::{Parsed, Refusal, not, outside};
use crate::domain::parse::{Form, time as plain};
use crate::domain::value::{Cell, Type};

const NANOS: i64 = 1_000_000_000;
const DAY_MS: i64 = 86_400_000;

/// How the dates and times of a column are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeForm {
    /// Forms in the notation of `strftime`. Without any, the grammar of the type holds.
    pub formats: Vec<String>,
    /// The time zone of values without an offset. Without one, it is UTC.
    pub zone: Option<Zone>,
    /// What a local time means that a clock shows twice, because it was set back.
    pub fold: Fold,
    /// Whether digits beyond those that the type has are cut off.
    pub truncate: bool,
    /// How numbers that count since 1970 are written.
    pub numbers: NumberForm,
}

/// What a local time that a clock shows twice means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fold {
    #[default]
    Refuse,
    Earlier,
    Later,
}

/// A time zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// The error for a name that is not a time zone.
#[derive(Debug, thiserror::Error)]
#[error("there is no time zone `{0}`")]
pub struct UnknownZone(String);

impl Zone {
    /// # Errors
    /// Returns an error if neither the system nor the copy in the program knows the zone.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        let zone = TimeZone::get(name).map_err(|_| UnknownZone(name.to_owned()))?;
        Ok(Self { name: name.to_owned(), zone })
    }

    /// Returns how many milliseconds local time is ahead of UTC at this moment, in milliseconds since 1970.
    fn ahead(&self, ms: i64) -> i64 {
        // The library has no timestamps on the last days that it has dates for.
        let end = if ms < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let at = jiff::Timestamp::from_millisecond(ms).unwrap_or(end);
        i64::from(self.zone.to_offset(at).seconds()) * 1000
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl TimeForm {
    /// Parses a timestamp, a date or a time.
    pub fn parse(&self, form: Form, text: &str) -> Parsed {
        match form {
            Form::Since(unit) => {
                let number = self.numbers.plain(form, text).ok_or(not("a number"))?;
                plain::since(unit, &number, self.truncate)
            }
            Form::Plain(Type::Date) => self.date(text),
            Form::Plain(Type::Time) => self.time(text),
            Form::Plain(_) => self.timestamp(text),
        }
    }

    fn timestamp(&self, text: &str) -> Parsed {
        let instant = self.instant(text, "a date and time")?;
        let ms = plain::whole_millis(instant.nanos, self.truncate)?;
        let local = i64::from(instant.day) * DAY_MS + ms;
        plain::in_years(match instant.offset {
            Some(offset) => local - offset * 1000,
            None => local - self.ahead(local)?,
        })
    }

    fn date(&self, text: &str) -> Parsed {
        let instant = self.instant(text, "a date")?;
        if instant.nanos != 0 && !self.truncate {
            return Err(not("a date without a time of day, unless truncate is true,"));
        }
        Ok(Cell::Date(instant.day))
    }

    fn time(&self, text: &str) -> Parsed {
        if self.formats.is_empty() {
            return plain::time(text, self.truncate);
        }
        let time = self.broken_down(text).and_then(|time| time.to_time().ok()).ok_or(not("a time of day"))?;
        Ok(Cell::Time(nanos(time)))
    }

    fn instant(&self, text: &str, rule: &'static str) -> Result<plain::Instant, Refusal> {
        if self.formats.is_empty() {
            return plain::instant(text, self.truncate).ok_or(not(rule));
        }
        let time = self.broken_down(text).ok_or(not(rule))?;
        let civil = time.to_datetime().map_err(|_| not(rule))?;
        let day = plain::day_number(civil.date());
        Ok(plain::Instant {
            day,
            nanos: nanos(civil.time()),
            offset: time.offset().map(|at| at.seconds().into()),
        })
    }

    /// Whether a text is written in this form, even if it is no value for another reason: a day or a time of day that does
    /// not exist, or a time that its zone does not have.
    pub fn has_form_of(&self, kind: Type, text: &str) -> bool {
        let sample = DateTime::constant(2018, 11, 12, 21, 31, 46, 0);
        let plain = match kind {
            Type::Date => ["%Y-%m-%d"].as_slice(),
            Type::Time => &["%H:%M:%S"],
            _ => &["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"],
        };
        let mut formats: Vec<&str> = self.formats.iter().map(String::as_str).collect();
        if formats.is_empty() {
            formats.extend(plain);
        }
        let has_shape = |format: &&str| {
            BrokenDownTime::from(sample).to_string(format).is_ok_and(|written| shape(&written) == shape(text))
        };
        self.broken_down(text).is_some() || formats.iter().any(has_shape)
    }

    /// Parses by the forms. If several accept the text, they must agree.
    fn broken_down(&self, text: &str) -> Option<BrokenDownTime> {
        let short = if self.truncate { shortened(text) } else { Cow::Borrowed(text) };
        let text = short.as_ref();
        let mut found = self.formats.iter().filter_map(|format| exact(format, text));
        let first = found.next()?;
        let key = |time: &BrokenDownTime| (time.to_datetime().ok(), time.to_time().ok(), time.offset());
        found.all(|other| key(&other) == key(&first)).then_some(first)
    }

    /// Returns how many milliseconds the clock of the zone is ahead of UTC when it shows this time.
    fn ahead(&self, local: i64) -> Result<i64, Refusal> {
        let Some(zone) = &self.zone else { return Ok(0) };
        let civil = civil(local).ok_or(outside("in the years 0000 to 9999"))?;
        let offset = match (zone.zone.to_ambiguous_timestamp(civil).offset(), self.fold) {
            (AmbiguousOffset::Unambiguous { offset }, _) => offset,
            (AmbiguousOffset::Fold { before, .. }, Fold::Earlier) => before,
            (AmbiguousOffset::Fold { after, .. }, Fold::Later) => after,
            (AmbiguousOffset::Fold { .. }, Fold::Refuse) => {
                return Err(not("a time that its zone has once (set fold: earlier or later)"));
            }
            (AmbiguousOffset::Gap { .. }, _) => {
                return Err(not("a time that its zone has; clocks skip this one"));
            }
        };
        Ok(i64::from(offset.seconds()) * 1000)
    }

    /// Describes the notation, to follow a rule.
    pub fn describe(&self) -> String {
        let formats: Vec<_> = self.formats.iter().map(|format| format!("`{format}`")).collect();
        let formats =
            if formats.is_empty() { String::new() } else { format!(" like {}", formats.join(" or ")) };
        let zone = self.zone.as_ref().map(|zone| format!(" in {zone}"));
        let numbers =
            if self.numbers == NumberForm::default() { String::new() } else { self.numbers.describe() };
        format!("{formats}{}{numbers}", zone.unwrap_or_default())
    }

    pub(super) fn declaration(&self) -> String {
        let Self { formats, zone, fold, truncate, numbers } = self;
        let zone = zone.as_ref().map(|zone| &zone.name);
        format!("format {formats:?} zone {zone:?} fold {fold:?} truncate {truncate} {numbers:?}")
    }

    /// Checks that a form tells everything that a value of the type needs, by writing a moment and reading it.
    ///
    /// # Errors
    /// Returns the form and what is wrong with it.
    pub fn check(&self, kind: Type) -> Result<(), String> {
        self.formats
            .iter()
            .try_for_each(|format| check(format, kind).map_err(|problem| format!("`{format}` {problem}")))
    }
}

/// Parses by one form. The result is written again and compared, because the library accepts more than it keeps: it reads
/// 23:59:60 as 23:59:59, and `10124` in the form `%m%d%y` as 2004-10-12. Years of less than four digits are refused too.
fn exact(format: &str, text: &str) -> Option<BrokenDownTime> {
    let time = strtime::parse(format, text).ok()?;
    let is_same = is_written(&time, format, text) || has_more_decimals(&time, format, text);
    (is_same && time.year().is_none_or(|year| year >= 1000)).then_some(time)
}

fn is_written(time: &BrokenDownTime, format: &str, text: &str) -> bool {
    time.to_string(format).is_ok_and(|written| spelling(&written) == spelling(text))
}

/// Returns the text with all digits alike.
fn shape(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

/// Whether the text has zeros after the decimals that the form writes.
fn has_more_decimals(time: &BrokenDownTime, format: &str, text: &str) -> bool {
    (1..=9).any(|decimals| {
        let format = directive::with_decimals(format, decimals);
        format.is_some_and(|format| is_written(time, &format, text))
    })
}

/// Returns a text without what may differ in two spellings of one value: case, spaces, zeros before a number, and zeros
/// after decimals.
fn spelling(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| c.is_ascii_digit() != first.is_ascii_digit()).unwrap_or(rest.len());
        let (run, others) = rest.split_at(end);
        if first.is_ascii_digit() {
            // After a point, the number may be decimals or, in a date, a month.
            let may_be_decimals = spelled.ends_with('.');
            let digits = run.trim_start_matches('0');
            let digits = if may_be_decimals { digits.trim_end_matches('0') } else { digits };
            spelled.push_str(digits);
            if may_be_decimals && digits.is_empty() {
                spelled.pop();
            }
        } else {
            spelled.extend(run.chars().filter(|c| !c.is_ascii_whitespace()).map(|c| c.to_ascii_lowercase()));
        }
        rest = others;
    }
    spelled
}

/// Returns the text with at most nine decimals.
fn shortened(text: &str) -> Cow<'_, str> {
    let digits = |at: usize| text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
    match text.match_indices('.').map(|(at, _)| (at, digits(at))).find(|(_, digits)| *digits > 9) {
        Some((at, digits)) => Cow::Owned([&text[..at + 10], &text[at + 1 + digits..]].concat()),
        None => Cow::Borrowed(text),
    }
}

fn check(format: &str, kind: Type) -> Result<(), String> {
    directive::check(format, kind == Type::Time)?;
    let moment = DateTime::constant(2018, 11, 21, 21, 1, 46, 0);
    let zoned = moment.to_zoned(TimeZone::UTC).map_err(|_| "is not a form of dates and times")?;
    let text = strtime::format(format, &zoned).map_err(|_| "is not a form in the notation of strftime")?;
    let time = exact(format, &text).ok_or("cannot be read back")?;
    if kind != Type::Time && time.to_date().ok() != Some(moment.date()) {
        return Err("does not tell year, month and day".to_owned());
    }
    let clock = time.to_time().map_err(|_| "does not tell hours, minutes and seconds in order")?;
    let hour_is_right = clock.hour() == moment.hour() || (kind != Type::Time && time.hour().is_none());
    if hour_is_right { Ok(()) } else { Err("does not tell the hour; %I needs %p".to_owned()) }
}

fn nanos(time: jiff::civil::Time) -> i64 {
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    seconds * NANOS + i64::from(time.subsec_nanosecond())
}

/// Returns the date and time that is this many milliseconds after 1970-01-01T00:00, in the years 0000 to 9999.
fn civil(ms: i64) -> Option<DateTime> {
    let span = jiff::Span::new().try_milliseconds(ms).ok()?;
    let at = DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(span).ok()?;
    Some(at).filter(|at| (0..=9999).contains(&at.year()))
}

/// A part of a timestamp: its hour, day or month, in UTC or in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimePart {
    pub of: Precision,
    pub zone: Option<Zone>,
}

/// Where a timestamp is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The timestamp at which its hour begins.
    Hour,
    /// The date.
    Day,
    /// The date of the first day of its month.
    Month,
}

impl TimePart {
    pub fn kind(&self) -> Type {
        match self.of {
            Precision::Hour => Type::Timestamp,
            Precision::Day | Precision::Month => Type::Date,
        }
    }

    /// Returns the part of a timestamp in milliseconds since 1970. `None` if its local time or the part is outside the years
    /// 0000 to 9999.
    pub fn cut(&self, ms: i64) -> Option<Cell> {
        const HOUR_MS: i64 = 3_600_000;
        let ahead = self.zone.as_ref().map_or(0, |zone| zone.ahead(ms));
        let local = ms + ahead;
        let at = civil(local)?;
        Some(match self.of {
            Precision::Hour => plain::in_years(local.div_euclid(HOUR_MS) * HOUR_MS - ahead).ok()?,
            Precision::Day => Cell::Date(plain::day_number(at.date())),
            Precision::Month => Cell::Date(plain::day_number(at.date().first_of_month())),
        })
    }
}
