//! Dates in the names of files.

use serde::Deserialize;

use super::parse;

/// Which forms of dates are looked for in names (`source.file_dates`).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FileDates {
    /// `2024-03-01`, `2024_03_01`, `2024.03.01` and `20240301`, also with a time: `202403011015`, `20240301101500`.
    #[default]
    YearFirst,
    /// These, and also `01.03.2024`, `01-03-2024` and `01_03_2024`, with the day first.
    DayFirst,
}

/// The dates that a path names, in days since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    Undated,
    On(i32),
    /// Two different dates, so it is not known which one is meant.
    Twice(i32, i32),
}

/// Years that a date without separators may have. Other numbers of eight digits are taken for numbers.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2199;

impl FileDates {
    /// Returns the date in the name of a file. If the name has none, returns the date in the folders whose names are
    /// `key=DATE`, or `year=…`, `month=…` and `day=…`.
    pub fn of(self, path: &str) -> Dated {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.in_name(name) {
            Dated::Undated => self.in_folders(folders),
            dated => dated,
        }
    }

    fn in_name(self, name: &str) -> Dated {
        let begins = |at: &usize| !name[..*at].ends_with(|c: char| c.is_ascii_digit());
        let digits = name.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at);
        let dates = digits.filter(begins).filter_map(|at| self.at_begin(&name[at..]));
        dates.fold(Dated::Undated, |all, (day, _)| all.and(day))
    }

    fn in_folders(self, folders: &str) -> Dated {
        let pairs = || folders.split('/').filter_map(|folder| folder.split_once('='));
        let whole = |value: &str| self.at_begin(value).filter(|(_, len)| *len == value.len());
        let dates = pairs().filter_map(|(_, value)| whole(value)).map(|(day, _)| day);
        let part =
            |key: &str| pairs().find(|(found, _)| found.eq_ignore_ascii_case(key)).map(|(_, value)| value);
        let parts = || days(part("year")?, part("month")?, part("day")?);
        dates.chain(parts()).fold(Dated::Undated, Dated::and)
    }

    /// Returns the date at the beginning of a text, and its length. A digit must not follow.
    fn at_begin(self, text: &str) -> Option<(i32, usize)> {
        let ends = |len: usize| !text[len..].starts_with(|c: char| c.is_ascii_digit());
        let day_first = self == Self::DayFirst;
        let found = year_first(text)
            .or_else(|| compact(text))
            .or_else(|| self::day_first(text).filter(|_| day_first));
        found.filter(|(_, len)| ends(*len))
    }
}

impl Dated {
    fn and(self, day: i32) -> Self {
        match self {
            Self::Undated => Self::On(day),
            Self::On(other) if other != day => Self::Twice(other, day),
            same => same,
        }
    }

    /// Returns the date, if there is exactly one.
    pub fn only(self) -> Option<i32> {
        match self {
            Self::On(day) => Some(day),
            Self::Undated | Self::Twice(..) => None,
        }
    }
}

/// Returns the three parts of a date that are separated by the same `-`, `_` or `.`.
fn separated(text: &str, lens: [usize; 3]) -> Option<[&str; 3]> {
    let [first, second, third] = lens;
    let separator = text.get(first..=first).filter(|found| matches!(*found, "-" | "_" | "."))?;
    let at = first + 1 + second;
    let parts = [text.get(..first)?, text.get(first + 1..at)?, text.get(at + 1..at + 1 + third)?];
    (text.get(at..=at)? == separator).then_some(parts)
}

fn year_first(text: &str) -> Option<(i32, usize)> {
    let [year, month, day] = separated(text, [4, 2, 2])?;
    Some((days(year, month, day)?, 10))
}

fn day_first(text: &str) -> Option<(i32, usize)> {
    let [day, month, year] = separated(text, [2, 2, 4])?;
    Some((days(year, month, day)?, 10))
}

/// A time may follow the date: hours and minutes, and also seconds.
fn compact(text: &str) -> Option<(i32, usize)> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (year, month, day) = (text.get(..4)?, text.get(4..6)?, text.get(6..8)?);
    let is_year = year.parse().is_ok_and(|year| YEARS.contains(&year));
    let part = |at: usize| text.get(at..at + 2).and_then(|part| part.parse::<u8>().ok());
    let is_time = match len {
        8 => true,
        12 => part(8)? < 24 && part(10)? < 60,
        14 => part(8)? < 24 && part(10)? < 60 && part(12)? < 60,
        _ => false,
    };
    Some((days(year, month, day).filter(|_| is_year && is_time)?, len))
}

fn days(year: &str, month: &str, day: &str) -> Option<i32> {
    parse::days(&format!("{year}-{month:0>2}-{day:0>2}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text;

    fn found(dates: FileDates, path: &str) -> Option<String> {
        dates.of(path).only().map(text::date)
    }

    #[test]
    fn dates_with_the_year_first_are_found_in_names() {
        for name in [
            "2024-03-01.csv",
            "orders_2024_03_01.csv",
            "orders.2024.03.01.csv.gz",
            "orders_20240301.csv",
            "20240301T101500_x.csv",
            "20240301-2024-03-01.csv",
            "sub/2024-03-01-000001.csv",
            "orders_202403011530.csv",
            "20240301101500.csv",
        ] {
            assert_eq!(found(FileDates::YearFirst, name).as_deref(), Some("2024-03-01"), "{name}");
        }
    }

    #[test]
    fn what_may_be_no_date_is_not_taken_for_one() {
        for name in [
            "01.03.2024.csv",
            "120240301.csv",
            "202403011.csv",
            "2024030110.csv",
            "202403012460.csv",
            "2024-03_01.csv",
            "2024-13-01.csv",
            "order-10010101.csv",
            "2024-3-1.csv",
            "2024-02-30.csv",
            "é2024.csv",
        ] {
            assert_eq!(FileDates::YearFirst.of(name), Dated::Undated, "{name}");
        }
    }

    #[test]
    fn two_different_dates_are_not_guessed_between() {
        for name in
            ["2024-03-01_2024-03-02.csv", "20240301-2024.03.02.csv", "year=2024/20240301_20240302.csv"]
        {
            assert!(matches!(FileDates::YearFirst.of(name), Dated::Twice(..)), "{name}");
        }
        assert!(matches!(FileDates::DayFirst.of("01-03-2024-03-02.csv"), Dated::Twice(..)));
    }

    #[test]
    fn the_day_comes_first_only_if_it_is_declared() {
        for name in ["01.03.2024.csv", "x_01_03_2024.csv", "01-03-2024", "2024-03-01", "20240301"] {
            assert_eq!(found(FileDates::DayFirst, name).as_deref(), Some("2024-03-01"), "{name}");
        }
        assert_eq!(found(FileDates::DayFirst, "03.31.2024.csv"), None);
    }

    #[test]
    fn folders_give_the_date_only_if_the_name_has_none() {
        let found = |path: &str| found(FileDates::YearFirst, path);
        for path in [
            "day=2024-03-01/part-0.csv",
            "dt=20240301/hour=10/part-0.csv",
            "year=2024/month=3/day=1/part-0.csv",
            "Year=2024/Month=03/Day=01/dt=2024_03_01/part-0.csv",
            "day=2024-03-05/2024-03-01.csv",
        ] {
            assert_eq!(found(path).as_deref(), Some("2024-03-01"), "{path}");
        }
        for path in [
            "2024-03-01/a.csv",
            "a=2024-03-01/b=2024-03-02/a.csv",
            "day=2024-03-01x/a.csv",
            "year=2024/a.csv",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
