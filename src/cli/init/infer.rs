//! Finds the narrowest type that takes every value of a column without loss.

use crate::domain::parse::{is_empty, parse};
use crate::domain::{Type, Unit};

/// The types that are tried, narrowest first. A date is also a timestamp, and every whole number is also a double.
const TRIED: [Type; 9] = [
    Type::Boolean,
    Type::Int,
    Type::Bigint,
    Type::Double,
    Type::Uuid,
    Type::Date,
    Type::Timestamp,
    Type::Time,
    Type::Inet,
];

/// The maximum number of digits that programs write for a double. A double would lose any further digits.
const MOST_DIGITS: usize = 17;

/// Returns the type of a column, or `None` if the column never has a value.
pub fn kind<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<Type> {
    let mut values = fields.filter(|field| !is_empty(Type::Int, field)).peekable();
    values.peek()?;
    let mut possible = TRIED.to_vec();
    for value in values {
        possible.retain(|kind| fits(*kind, value));
        if possible.is_empty() {
            break;
        }
    }
    Some(possible.first().copied().unwrap_or(Type::Text))
}

/// Returns the unit that numbers of this size would have if they count since 1970. In each unit, the numbers for the
/// years 2001 to 2100 form a range, and the ranges do not overlap.
pub fn unit<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<Unit> {
    let mut found = None;
    for field in fields.filter(|field| !is_empty(Type::Bigint, field)) {
        let unit = unit_of(std::str::from_utf8(field).ok()?.trim_matches(' ').parse().ok()?)?;
        if found.is_some_and(|found| found != unit) {
            return None;
        }
        found = Some(unit);
    }
    found
}

fn unit_of(n: u64) -> Option<Unit> {
    match n {
        1_000_000_000..4_102_444_800 => Some(Unit::Seconds),
        1_000_000_000_000..4_102_444_800_000 => Some(Unit::Millis),
        1_000_000_000_000_000..4_102_444_800_000_000 => Some(Unit::Micros),
        _ => None,
    }
}

/// Whether the type takes the value and keeps its meaning.
fn fits(kind: Type, value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value).map(|text| text.trim_matches(' ')) else { return false };
    let keeps = match kind {
        // 1, 0, y and n are parsed too, but usually mean something else.
        Type::Boolean => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        Type::Int | Type::Bigint => is_plain(text),
        Type::Double => is_plain(text) && digits(text) <= MOST_DIGITS,
        _ => true,
    };
    keeps && parses(kind, text)
}

fn parses(kind: Type, text: &str) -> bool {
    parse(kind, text.as_bytes(), &mut Vec::new()).is_ok()
}

/// Whether the text survives as a number. Article 007 and phone +49 would lose their beginning.
fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    match digits {
        [b'+', ..] => false,
        [b'0', second, ..] => !second.is_ascii_digit(),
        _ => true,
    }
}

/// Returns the number of significant digits.
fn digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    mantissa.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count()
}

/// Whether all values, and at least one, are numbers with a decimal comma or without one, and some have one.
pub fn has_decimal_commas<'f>(fields: impl Iterator<Item = &'f [u8]>) -> bool {
    let texts = fields.map(|field| std::str::from_utf8(field).unwrap_or("?").trim_matches(' '));
    let mut has_comma = false;
    let mut values = texts.filter(|text| !text.is_empty());
    let are_numbers = values.all(|text| {
        has_comma |= text.contains(',');
        !text.contains('.') && is_number(&text.replacen(',', ".", 1))
    });
    are_numbers && has_comma
}

pub fn is_number(name: &str) -> bool {
    parses(Type::Double, name.trim()) && !name.trim().is_empty()
}

/// Whether the text must be a value. Nobody names a column 3.14, 2018-11-01 or 127.0.0.1.
pub fn is_surely_a_value(name: &str) -> bool {
    let name = name.trim();
    let is_whole = name.parse::<i64>().is_ok();
    let kinds = [Type::Double, Type::Uuid, Type::Date, Type::Timestamp, Type::Time, Type::Inet];
    !name.is_empty() && !is_whole && kinds.into_iter().any(|kind| parses(kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(fields: &[&str]) -> Option<Type> {
        kind(fields.iter().map(|field| field.as_bytes()))
    }

    #[test]
    fn the_narrowest_type_that_fits_all_values_is_chosen() {
        let cases: [(&[&str], Type); 30] = [
            (&["true", "FALSE", "", "True"], Type::Boolean),
            (&["true", "1"], Type::Text),
            (&["y", "n"], Type::Text),
            (&["0", "1"], Type::Int),
            (&["39", " -7 ", ""], Type::Int),
            (&["2147483647", "2147483648"], Type::Bigint),
            (&["1541106106796"], Type::Bigint),
            (&["9223372036854775807"], Type::Bigint),
            // A double would round these values.
            (&["9223372036854775808"], Type::Text),
            (&["1234567890123456789", "0.5"], Type::Text),
            (&["0.12345678901234567890"], Type::Text),
            (&["1", "2.5", "-.5", "0.25"], Type::Double),
            (&["1.54158E+12"], Type::Double),
            (&["0.000000000000000000001"], Type::Double),
            (&["1.5", "NaN"], Type::Text),
            (&["007", "123"], Type::Text),
            (&["00"], Type::Text),
            (&["-01"], Type::Text),
            (&["01.5"], Type::Text),
            (&["+4930123456"], Type::Text),
            (&["7f2c0f62-3a3c-4a89-9a5d-0d1b6f0f4a11"], Type::Uuid),
            (&["2018-11-01", "2018-11-02"], Type::Date),
            (&["2018-11-01", "2018-11-02 10:00"], Type::Timestamp),
            (&["2018-11-01T21:01:46.796Z", "2018-11-01 21:01:46+02:00"], Type::Timestamp),
            // Finer than a millisecond, and a date together with a whole number.
            (&["2018-11-01T21:01:46.796123Z"], Type::Text),
            (&["2018-11-01", "20181102"], Type::Text),
            (&["21:01", "23:59:59.5"], Type::Time),
            (&["127.0.0.1", "::1"], Type::Inet),
            (&["1.2.3"], Type::Text),
            (&["Arkansas"], Type::Text),
        ];
        for (fields, expected) in cases {
            assert_eq!(kind_of(fields), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn a_unit_follows_from_the_size_of_the_numbers() {
        let of = |fields: &[&str]| unit(fields.iter().map(|field| field.as_bytes()));
        assert_eq!(of(&["1541106106", "", " 1709251200 "]), Some(Unit::Seconds));
        assert_eq!(of(&["1541106106796"]), Some(Unit::Millis));
        assert_eq!(of(&["1541106106796000"]), Some(Unit::Micros));
        for other in
            [&["1541106106796", "7"][..], &["1541106106", "1541106106796"], &["20240301"], &["x"], &[""]]
        {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_column_without_a_value_has_no_type() {
        assert_eq!(kind_of(&[]), None);
        assert_eq!(kind_of(&["", "  "]), None);
    }

    #[test]
    fn names_are_distinguished_from_values() {
        for value in ["3.14", "2018-11-01", "2018-11-01 10:00", "12:30", "::1", "1e3"] {
            assert!(is_surely_a_value(value), "{value}");
        }
        for name in ["2018", "", " ", "artist", "q1", "true", "007"] {
            assert!(!is_surely_a_value(name), "{name}");
        }
        assert!(is_number("2018") && !is_number("") && !is_number("x1"));
    }
}
