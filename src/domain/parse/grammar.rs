//! Tests that the parsers accept exactly what docs/types.md describes, and return the values that it implies.
//!
//! The patterns are read from that page. Ranges and values are computed here without the parsers and, if possible,
//! without the libraries that the parsers use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::LazyLock;

use bigdecimal::{BigDecimal, ToPrimitive};
use proptest::prelude::*;
use regex_automata::meta::Regex;

use super::*;
use crate::domain::value::Value;

mod collections;

const PAGE: &str = include_str!("../../../docs/types.md");

/// The patterns of the page by name. Each is complete: `<name>` is replaced by the pattern of that name.
static PATTERNS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let block = PAGE.split("```").find_map(|block| block.strip_prefix("grammar\n")).unwrap();
    let mut patterns: HashMap<String, String> = HashMap::new();
    for line in block.lines() {
        let (name, pattern) = line.split_once(" = ").unwrap();
        let mut pattern = pattern.trim().to_owned();
        for (earlier, its) in &patterns {
            pattern = pattern.replace(&format!("<{earlier}>"), &format!("(?:{its})"));
        }
        assert!(!pattern.contains('<'), "{name} refers to a name that is not defined above it");
        patterns.insert(name.trim().to_owned(), pattern);
    }
    patterns
});

static FORMS: LazyLock<Vec<(Form, String, Regex)>> = LazyLock::new(|| {
    let kinds = Type::ALL.iter().filter(|(_, kind)| *kind != Type::Text);
    let plain = kinds.map(|(_, kind)| Form::Plain(*kind));
    let units = Unit::ALL.iter().map(|(_, unit)| Form::Since(*unit));
    plain
        .chain(units)
        .map(|form| {
            let pattern = &PATTERNS[&rule(form)];
            (form, pattern.clone(), Regex::new(&format!("^(?:{pattern})$")).unwrap())
        })
        .collect()
});

/// Returns the name of the pattern on the page.
fn rule(form: Form) -> String {
    match form {
        Form::Since(_) => "number".to_owned(),
        Form::Plain(Type::Tinyint | Type::Smallint | Type::Int | Type::Bigint | Type::Varint) => {
            "whole".to_owned()
        }
        Form::Plain(Type::Float | Type::Double | Type::Decimal) => "real".to_owned(),
        Form::Plain(kind) => kind.to_string(),
    }
}

/// Returns the value that the page gives to this text, or `None` if it refuses the text.
fn expected(form: Form, regex: &Regex, text: &str) -> Option<Value<'static>> {
    let text = if form == Type::Blob.into() { text } else { text.trim_matches(' ') };
    if text.is_empty() {
        return Some(Value::Empty);
    }
    if !regex.is_match(text) {
        return None;
    }
    match form {
        Form::Since(unit) => in_years(since(unit, text)?),
        Form::Plain(Type::Tinyint) => whole(text, 8),
        Form::Plain(Type::Smallint) => whole(text, 16),
        Form::Plain(Type::Int) => whole(text, 32),
        Form::Plain(Type::Bigint) => whole(text, 64),
        Form::Plain(Type::Varint) => varint(text),
        Form::Plain(Type::Float) => {
            let x: f32 = text.parse().unwrap();
            let value = if x == 0.0 { 0.0 } else { x };
            (x.is_finite() && (x != 0.0 || is_zero(text))).then_some(Value::Float(value))
        }
        Form::Plain(Type::Double) => {
            let x: f64 = text.parse().unwrap();
            let value = if x == 0.0 { 0.0 } else { x };
            (x.is_finite() && (x != 0.0 || is_zero(text))).then_some(Value::Double(value))
        }
        Form::Plain(Type::Decimal) => decimal(text),
        Form::Plain(Type::Boolean) => Some(Value::Boolean("tTyY1".contains(&text[..1]))),
        Form::Plain(Type::Date) => Some(Value::Date(i32::try_from(day(text)?).unwrap())),
        Form::Plain(Type::Time) => Some(Value::Time(clock(text))),
        Form::Plain(Type::Timestamp) => timestamp(text),
        Form::Plain(Type::Uuid | Type::Timeuuid) => Some(Value::Uuid(uuid::Uuid::from_u128(
            u128::from_str_radix(&text.replace('-', ""), 16).unwrap(),
        ))),
        Form::Plain(Type::Blob) => {
            let pairs = text.as_bytes()[2..].chunks(2);
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            Some(Value::Blob(pairs.map(byte).collect()))
        }
        Form::Plain(Type::Inet) => Some(Value::Inet(IpAddr::from_str(text).unwrap().to_canonical())),
        Form::Plain(Type::Text | Type::Collection(_)) => None,
    }
}

fn digits(text: &str) -> impl Iterator<Item = i128> + '_ {
    text.chars().filter_map(|c| c.to_digit(10)).map(i128::from)
}

fn number(text: &str) -> i128 {
    let n = digits(text).fold(0i128, |n, digit| n.saturating_mul(10).saturating_add(digit));
    if text.starts_with('-') { -n } else { n }
}

fn whole(text: &str, bits: u32) -> Option<Value<'static>> {
    let (n, half) = (number(text), 1i128 << (bits - 1));
    (-half..half).contains(&n).then(|| Value::Whole(i64::try_from(n).unwrap()))
}

fn is_zero(text: &str) -> bool {
    digits(text.split(['e', 'E']).next().unwrap()).all(|digit| digit == 0)
}

/// Computes a varint: at most 1000 digits.
fn varint(text: &str) -> Option<Value<'static>> {
    let zeros = digits(text).take_while(|digit| *digit == 0).count();
    let number: String = digits(text).skip(zeros).map(|digit| digit.to_string()).collect();
    let sign = if text.starts_with('-') && !number.is_empty() { "-" } else { "" };
    let number = if number.is_empty() { "0" } else { &number };
    (number.len() <= 1000).then(|| Value::Decimal(format!("{sign}{number}").into()))
}

/// Computes a decimal: at most 1000 digits when written out, and an exponent from -99 to 99.
fn decimal(text: &str) -> Option<Value<'static>> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (before, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = number(exponent);
    let point = i128::try_from(digits(before).count()).unwrap() + exponent;
    let scale = i128::try_from(decimals.len()).unwrap() - exponent;
    let all: Vec<i128> = digits(mantissa).collect();
    let zeros = all.iter().take_while(|digit| **digit == 0).count();
    let before_point = if zeros == all.len() { 0 } else { point - i128::try_from(zeros).unwrap() };
    if !(-99..=99).contains(&exponent) || before_point.max(0) + scale.max(0) > 1000 {
        return None;
    }
    // The number and its scale determine the expected text.
    let number = BigDecimal::from_str(text).unwrap().with_scale(i64::try_from(scale.max(0)).unwrap());
    Some(Value::Decimal(number.to_plain_string().into()))
}

/// Returns the days since 1970 in the Gregorian calendar, or `None` if the month has no such day.
fn day(text: &str) -> Option<i128> {
    let (year, month, day) = (number(&text[..4]), number(&text[5..7]), number(&text[8..10]));
    let leaps = |year: i128| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = |month: i128| match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i128::from(leaps(year)),
        _ => 31,
    };
    // The year 0 is a leap year.
    let years = year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let before: i128 = years + (1..month).map(length).sum::<i128>() + day - 1;
    (day <= length(month)).then_some(before - 719_528)
}

fn clock(text: &str) -> i64 {
    let mut parts = text.split([':', '.']);
    let (hours, minutes) = (number(parts.next().unwrap()), number(parts.next().unwrap()));
    let seconds = parts.next().map_or(0, number);
    let nanos = parts.next().map_or(0, |decimals| number(&format!("{decimals:0<9}")));
    i64::try_from(((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + nanos).unwrap()
}

fn timestamp(text: &str) -> Option<Value<'static>> {
    let midnight = day(text)? * 86_400_000;
    let Some(rest) = text.get(11..) else { return in_years(midnight) };
    let (time, offset) = rest.find(['Z', '+', '-']).map_or((rest, "Z"), |at| rest.split_at(at));
    let nanos = i128::from(clock(time));
    let ahead: String = offset.chars().filter(char::is_ascii_digit).collect();
    let ahead = format!("{ahead:0<4}");
    let ahead = (number(&ahead[..2]) * 60 + number(&ahead[2..])) * 60_000;
    let ahead = if offset.starts_with('-') { -ahead } else { ahead };
    if nanos % 1_000_000 != 0 {
        return None;
    }
    in_years(midnight + nanos / 1_000_000 - ahead)
}

fn since(unit: Unit, text: &str) -> Option<i128> {
    let in_millis = match unit {
        Unit::Seconds => BigDecimal::from(1000),
        Unit::Millis => BigDecimal::from(1),
        Unit::Micros => BigDecimal::new(1.into(), 3),
    };
    let ms = BigDecimal::from_str(text).unwrap() * in_millis;
    if ms.is_integer() { ms.to_i128() } else { None }
}

fn in_years(ms: i128) -> Option<Value<'static>> {
    let first = day("0000-01-01").unwrap() * 86_400_000;
    let last = (day("9999-12-31").unwrap() + 1) * 86_400_000 - 1;
    (first..=last).contains(&ms).then(|| Value::Timestamp(i64::try_from(ms).unwrap()))
}

/// Characters that people and programs write where they do not belong.
const ODD: &str = "0123456789+-:.,TZtz _eExXabfF[]/'\t\r\n\u{a0}é٣%u\0";

#[derive(Clone, Debug)]
enum Change {
    Insert(prop::sample::Index, char),
    Replace(prop::sample::Index, char),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index),
    Pad(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let (at, odd) = (any::<prop::sample::Index>, || prop::sample::select(ODD.chars().collect::<Vec<_>>()));
    prop_oneof![
        (at(), odd()).prop_map(|(at, c)| Change::Insert(at, c)),
        (at(), odd()).prop_map(|(at, c)| Change::Replace(at, c)),
        at().prop_map(Change::Remove),
        at().prop_map(Change::Repeat),
        (0usize..3, 0usize..3).prop_map(|(before, after)| Change::Pad(before, after)),
    ]
}

fn changed(text: &str, change: &Change) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    match change {
        Change::Insert(at, c) => chars.insert(at.index(chars.len() + 1), *c),
        Change::Pad(before, after) => return format!("{}{text}{}", " ".repeat(*before), " ".repeat(*after)),
        _ if chars.is_empty() => {}
        Change::Replace(at, c) => {
            let at = at.index(chars.len());
            chars[at] = *c;
        }
        Change::Remove(at) => {
            chars.remove(at.index(chars.len()));
        }
        Change::Repeat(at) => {
            let at = at.index(chars.len());
            chars.insert(at, chars[at]);
        }
    }
    chars.into_iter().collect()
}

/// Generates texts that match the pattern, such texts with a few changes, and arbitrary texts.
fn texts(pattern: &str) -> BoxedStrategy<String> {
    let valid = prop::string::string_regex(pattern).unwrap().boxed();
    let near = (valid.clone(), prop::collection::vec(change(), 1..4))
        .prop_map(|(text, changes)| changes.iter().fold(text, |text: String, change| changed(&text, change)));
    let odd = prop::collection::vec(prop::sample::select(ODD.chars().collect::<Vec<_>>()), 0..12)
        .prop_map(|chars| chars.into_iter().collect());
    prop_oneof![3 => valid, 5 => near, 1 => odd].boxed()
}

/// Returns the result of the fast parsers, which are tried first because most values have a common form.
fn shortcut(form: Form, field: &[u8]) -> Option<Value<'static>> {
    match form {
        Form::Plain(kind @ (Type::Int | Type::Bigint)) => plain_whole(kind, field).map(Value::Whole),
        Form::Plain(Type::Float) => plain_float(field).map(Value::Float),
        _ => None,
    }
}

fn check(form: Form, regex: &Regex, text: &str) -> Result<(), TestCaseError> {
    let mut arena = Vec::new();
    let found = parse(form, text.as_bytes(), &mut arena).map(|cell| cell.value(&arena).into_owned());
    // As text, because 0.0 equals -0.0.
    let shown = |value: &Value<'_>| format!("{value:?}");
    let expected = expected(form, regex, text);
    if let Some(short) = shortcut(form, text.as_bytes()) {
        prop_assert_eq!(Some(short), expected.clone(), "{:?} {:?} by the shortcut", form, text);
    }
    match (found, expected) {
        (Ok(found), Some(expected)) => {
            prop_assert_eq!(shown(&found), shown(&expected), "{:?} {:?}", form, text)
        }
        (Err(_), None) => {}
        (found, expected) => prop_assert!(false, "{form:?} {text:?}: {found:?}, the page says {expected:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn parsers_accept_exactly_what_the_page_describes(
        texts in FORMS.iter().map(|(_, pattern, _)| texts(pattern)).collect::<Vec<_>>()
    ) {
        // Every form is also tried with the texts of all other forms.
        for (form, _, regex) in FORMS.iter() {
            for text in &texts {
                check(*form, regex, text)?;
            }
        }
    }

    #[test]
    fn text_is_any_text_without_a_nul_byte(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut arena = Vec::new();
        let found = parse(Type::Text, &bytes, &mut arena);
        let is_text = std::str::from_utf8(&bytes).is_ok() && !bytes.contains(&0);
        prop_assert_eq!(found.is_ok(), is_text);
        prop_assert!(!is_text || arena == bytes, "the text is kept unchanged");
    }
}

#[test]
fn the_examples_of_the_page_are_right() {
    let table =
        PAGE.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').collect::<Vec<_>>());
    let mut seen = 0;
    for cells in table.filter(|cells| cells.len() == 5) {
        let names: Vec<_> = cells[1].split('`').skip(1).step_by(2).collect();
        for name in names {
            let form = match name.split_once(", unit: ") {
                Some((_, unit)) => Form::Since(unit.parse().unwrap()),
                None => Form::Plain(name.parse().unwrap()),
            };
            for (cell, accepted) in [(cells[2], true), (cells[3], false)] {
                for example in cell.split('`').skip(1).step_by(2) {
                    let found = parse(form, example.as_bytes(), &mut Vec::new());
                    assert_eq!(found.is_ok(), accepted, "{name} {example:?}: {found:?}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 100, "{seen} examples");
}
