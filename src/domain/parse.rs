//! Field text to value: one documented rule a type.
//!
//! Empty text is the empty value. Spaces around anything but `text` and `blob` are trimmed.
//! A value must parse whole: nothing is cut off, rounded to another unit or guessed.

use std::net::IpAddr;
use std::num::IntErrorKind;

use bigdecimal::BigDecimal;
use jiff::civil;
use jiff::tz::Offset;
use memchr::memchr;

use super::record::Reason;
use super::value::{Cell, Slice, Type};

/// Why a field is not a value of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// The rule that was broken, to follow "must be".
    pub rule: &'static str,
}

type Parsed = Result<Cell, Refusal>;

const fn not(rule: &'static str) -> Refusal {
    Refusal { reason: Reason::Value, rule }
}

const fn outside(rule: &'static str) -> Refusal {
    Refusal { reason: Reason::Range, rule }
}

/// The arena of a chunk has no more room.
pub const FULL: Refusal = outside("smaller: a chunk holds at most 4 GiB of values");

/// Digits that a decimal may have when it is written out without an exponent.
const MAX_DECIMAL_DIGITS: u64 = 1000;

/// Parses one field; the bytes of the value, where it has any, go to the end of `arena`.
///
/// # Errors
/// The rule of the type that the field breaks.
pub fn parse(kind: Type, field: &[u8], arena: &mut Vec<u8>) -> Parsed {
    if field.is_empty() {
        return Ok(Cell::Empty);
    }
    let text = utf8(field)?;
    let text = if matches!(kind, Type::Text | Type::Blob) { text } else { text.trim_ascii() };
    if text.is_empty() {
        return Ok(Cell::Empty);
    }
    typed(kind, text, arena)
}

/// The whole numbers of these types that need no other look: digits, perhaps with a minus.
#[inline]
pub fn plain_whole(kind: Type, field: &[u8]) -> Option<i64> {
    let n = digits(field)?;
    match kind {
        Type::Bigint => Some(n),
        Type::Int => i32::try_from(n).ok().map(i64::from),
        _ => None,
    }
}

/// The floats that most are: at most nine digits, with a point among them.
///
/// Both sides of the quotient are exact with 64 bits. Narrowing it rounds a second time, which could
/// only differ from rounding once where the first result is the middle between two 32-bit floats and
/// the true one is not; a quotient by 10^8 at most is then at least 2^-52 away from it, relatively, and
/// the first rounding moves it by less.
#[inline]
pub fn plain_float(field: &[u8]) -> Option<f32> {
    const POWERS: [f64; 9] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
    let (mut n, mut point) = (0_u32, None);
    if field.is_empty() || field.len() > 9 + usize::from(field.contains(&b'.')) {
        return None;
    }
    for (at, byte) in field.iter().enumerate() {
        match byte {
            b'0'..=b'9' => n = n * 10 + u32::from(byte - b'0'),
            b'.' if point.is_none() && at > 0 => point = Some(at),
            _ => return None,
        }
    }
    let behind = point.map_or(0, |at| field.len() - at - 1);
    #[expect(clippy::cast_possible_truncation, reason = "the nearest 32-bit float is what is wanted")]
    POWERS.get(behind).map(|power| (f64::from(n) / power) as f32)
}

/// Up to 18 of them, which fit whatever they are.
#[inline]
fn digits(field: &[u8]) -> Option<i64> {
    let (minus, digits) = match field {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let add = |n: i64, digit: &u8| digit.is_ascii_digit().then(|| n * 10 + i64::from(digit - b'0'));
    let n = digits.iter().try_fold(0, add)?;
    Some(if minus { -n } else { n })
}

/// A NUL byte is no text: most of the time it tells of another encoding, and what reads it may end there.
fn utf8(field: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(field).ok().filter(|_| memchr(0, field).is_none());
    text.ok_or(Refusal { reason: Reason::Encoding, rule: "text" })
}

fn typed(kind: Type, text: &str, arena: &mut Vec<u8>) -> Parsed {
    match kind {
        Type::Text => keep(arena, text.as_bytes()).map(Cell::Text),
        Type::Int => {
            whole(text, i32::MIN.into(), i32::MAX.into(), "a whole number from -2147483648 to 2147483647")
        }
        Type::Bigint => whole(text, i64::MIN, i64::MAX, "a whole number of 64 bits"),
        Type::Smallint => {
            whole(text, i16::MIN.into(), i16::MAX.into(), "a whole number from -32768 to 32767")
        }
        Type::Tinyint => whole(text, i8::MIN.into(), i8::MAX.into(), "a whole number from -128 to 127"),
        Type::Float => float(text),
        Type::Double => double(text),
        Type::Decimal => decimal(text, arena),
        Type::Boolean => boolean(text),
        Type::Timestamp => timestamp(text),
        Type::Date => date(text),
        Type::Time => time(text),
        Type::Uuid => uuid(text, false, arena),
        Type::Timeuuid => uuid(text, true, arena),
        Type::Blob => blob(text, arena),
        Type::Inet => inet(text, arena),
    }
}

fn keep(arena: &mut Vec<u8>, bytes: &[u8]) -> Result<Slice, Refusal> {
    Slice::store(arena, bytes).ok_or(FULL)
}

fn whole(text: &str, min: i64, max: i64, rule: &'static str) -> Parsed {
    match text.parse::<i64>() {
        Ok(n) if (min..=max).contains(&n) => Ok(Cell::Whole(n)),
        Ok(_) => Err(outside(rule)),
        Err(error) => Err(match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => outside(rule),
            _ => not(rule),
        }),
    }
}

/// Rust also reads "inf", "nan" and friends: a number here begins with a digit, a sign or a point.
fn is_numeral(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

fn float(text: &str) -> Parsed {
    const RULE: &str = "a number of 32-bit floating point; NaN and infinity are not";
    let x = text.parse::<f32>().ok().filter(|_| is_numeral(text)).ok_or(not(RULE))?;
    if x.is_finite() { Ok(Cell::Float(x)) } else { Err(outside(RULE)) }
}

fn double(text: &str) -> Parsed {
    const RULE: &str = "a number of 64-bit floating point; NaN and infinity are not";
    let x = text.parse::<f64>().ok().filter(|_| is_numeral(text)).ok_or(not(RULE))?;
    if x.is_finite() { Ok(Cell::Double(x)) } else { Err(outside(RULE)) }
}

/// Kept as plain digits with the scale as written, because `12.5` and `12.50` are two keys in CQL.
fn decimal(text: &str, arena: &mut Vec<u8>) -> Parsed {
    const RULE: &str = "a decimal number of at most 1000 digits";
    if !is_numeral(text) || text.len() as u64 > MAX_DECIMAL_DIGITS {
        return Err(not(RULE));
    }
    let number: BigDecimal = text.parse().map_err(|_| not(RULE))?;
    let (_, scale) = number.as_bigint_and_exponent();
    if number.digits() + scale.unsigned_abs() > MAX_DECIMAL_DIGITS {
        return Err(outside(RULE));
    }
    keep(arena, number.to_plain_string().as_bytes()).map(Cell::Decimal)
}

fn boolean(text: &str) -> Parsed {
    const YES: [&str; 5] = ["true", "t", "yes", "y", "1"];
    const NO: [&str; 5] = ["false", "f", "no", "n", "0"];
    let is = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (is(YES), is(NO)) {
        (true, _) => Ok(Cell::Boolean(true)),
        (_, true) => Ok(Cell::Boolean(false)),
        _ => Err(not("true, false, t, f, yes, no, y, n, 1 or 0")),
    }
}

/// A date and time (ISO 8601, `T` or a space between, UTC unless an offset follows), a date alone
/// (its midnight in UTC), or a whole number of milliseconds since 1970. Never finer than one.
fn timestamp(text: &str) -> Parsed {
    const RULE: &str = "a date and time (2018-11-01T21:01:46.796Z, UTC unless it says otherwise), \
                        or whole milliseconds since 1970";
    const FINE: &str = "no finer than a millisecond";
    const YEARS: &str = "in the years 0000 to 9999";
    let nanos = match text.parse::<i64>() {
        Ok(ms) => return in_years(ms).ok_or(outside(YEARS)),
        Err(_) => instant(text).ok_or(not(RULE))?,
    };
    if nanos % 1_000_000 != 0 {
        return Err(not(FINE));
    }
    let ms = i64::try_from(nanos / 1_000_000).map_err(|_| outside(YEARS))?;
    in_years(ms).ok_or(outside(YEARS))
}

fn in_years(ms: i64) -> Option<Cell> {
    /// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z: fixed-width text sorts between them.
    const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
    YEARS.contains(&ms).then_some(Cell::Timestamp(ms))
}

fn instant(text: &str) -> Option<i128> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_nanosecond());
    }
    let local: civil::DateTime = text.parse().ok()?;
    Some(Offset::UTC.to_timestamp(local).ok()?.as_nanosecond())
}

fn date(text: &str) -> Parsed {
    const RULE: &str = "a date like 2018-11-01";
    days(text).map(Cell::Date).ok_or(not(RULE))
}

/// Days since 1970-01-01 of a `YYYY-MM-DD` date.
pub fn days(text: &str) -> Option<i32> {
    let is_plain = text.len() == 10 && text.as_bytes().get(4) == Some(&b'-');
    let day: civil::Date = text.parse().ok().filter(|_| is_plain)?;
    let epoch = civil::Date::constant(1970, 1, 1);
    (day - epoch).get_days().into()
}

fn time(text: &str) -> Parsed {
    const RULE: &str = "a time of day like 21:01:46.796, at most nine decimals";
    let is_plain = text.as_bytes().get(2) == Some(&b':') && !text.contains(['T', 't', '+', '-', 'Z']);
    let at: civil::Time = text.parse().ok().filter(|_| is_plain).ok_or(not(RULE))?;
    let since = at.duration_since(civil::Time::midnight());
    i64::try_from(since.as_nanos()).map(Cell::Time).map_err(|_| not(RULE))
}

fn uuid(text: &str, timed: bool, arena: &mut Vec<u8>) -> Parsed {
    const RULE: &str = "a UUID like 123e4567-e89b-12d3-a456-426614174000";
    const TIMED: &str = "a version 1 UUID";
    let is_plain = text.len() == 36;
    let id = uuid::Uuid::parse_str(text).ok().filter(|_| is_plain).ok_or(not(RULE))?;
    if timed && id.get_version_num() != 1 {
        return Err(not(TIMED));
    }
    keep(arena, id.as_bytes()).map(Cell::Uuid)
}

fn blob(text: &str, arena: &mut Vec<u8>) -> Parsed {
    const RULE: &str = "0x followed by an even count of hexadecimal digits";
    let digits = text.strip_prefix("0x").filter(|hex| hex.len() % 2 == 0).ok_or(not(RULE))?;
    let pairs = digits.as_bytes().chunks_exact(2);
    let bytes: Option<Vec<u8>> = pairs.map(|pair| Some(hex(pair[0])? << 4 | hex(pair[1])?)).collect();
    keep(arena, &bytes.ok_or(not(RULE))?).map(Cell::Blob)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

fn inet(text: &str, arena: &mut Vec<u8>) -> Parsed {
    let ip: IpAddr = text.parse().map_err(|_| not("an IPv4 or IPv6 address"))?;
    // An IPv4 address in IPv6's clothes is the IPv4 address.
    let slice = match ip.to_canonical() {
        IpAddr::V4(v4) => keep(arena, &v4.octets()),
        IpAddr::V6(v6) => keep(arena, &v6.octets()),
    };
    slice.map(Cell::Inet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::plain;

    /// The text form of what `field` parses to, or the rule it breaks.
    fn seen(kind: Type, field: &str) -> Result<String, &'static str> {
        let mut arena = Vec::new();
        let cell = parse(kind, field.as_bytes(), &mut arena).map_err(|refusal| refusal.rule)?;
        Ok(plain(&cell.value(&arena)).into_owned())
    }

    fn accepts(kind: Type, cases: &[(&str, &str)]) {
        for (field, expected) in cases {
            assert_eq!(seen(kind, field).as_deref(), Ok(*expected), "{kind} {field:?}");
        }
    }

    fn refuses(kind: Type, cases: &[&str]) {
        for field in cases {
            assert!(seen(kind, field).is_err(), "{kind} {field:?} gave {:?}", seen(kind, field));
        }
    }

    #[test]
    fn whole_numbers_keep_to_their_range() {
        accepts(
            Type::Int,
            &[("39", "39"), (" -7 ", "-7"), ("2147483647", "2147483647"), ("", ""), ("  ", "")],
        );
        refuses(Type::Int, &["2147483648", "39.0", "1e3", "0x10", "١", "4 2", "NaN"]);
        refuses(Type::Tinyint, &["128", "-129"]);
        refuses(Type::Smallint, &["32768"]);
        refuses(Type::Bigint, &["9223372036854775808"]);
        accepts(Type::Bigint, &[("-9223372036854775808", "-9223372036854775808")]);
    }

    #[test]
    fn floats_are_finite() {
        accepts(Type::Float, &[("495.3073", "495.3073"), (" 1e3", "1000"), ("-.5", "-0.5")]);
        accepts(Type::Double, &[("495.30731201171875", "495.30731201171875")]);
        refuses(Type::Float, &["nan", "inf", "-infinity", "1e39", "1,5", "5 x"]);
        refuses(Type::Double, &["NaN", "1e309"]);
    }

    #[test]
    fn plain_floats_are_those_that_the_standard_parser_finds() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200_000 {
            let mut text = rng.u32(0..1_000_000_000).to_string();
            let at = rng.usize(1..=text.len());
            text.insert(at, '.');
            if let Some(x) = plain_float(text.as_bytes()) {
                assert_eq!(Ok(x.to_bits()), text.parse::<f32>().map(f32::to_bits), "{text}");
            }
        }
        assert_eq!(plain_float(b"495.3073"), Some(495.3073));
        assert_eq!(plain_float(b"7"), Some(7.0));
        for other in ["", ".5", "1..2", "-1", "1e3", "1234567890", "123456789.5", " 1"] {
            assert_eq!(plain_float(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        accepts(
            Type::Decimal,
            &[("12.50", "12.50"), ("-0.001", "-0.001"), ("1E+2", "100"), ("1e-3", "0.001")],
        );
        refuses(Type::Decimal, &["1e5000", "NaN", "1.2.3", "twelve"]);
    }

    #[test]
    fn times_are_exact() {
        accepts(
            Type::Timestamp,
            &[
                ("2018-11-01T21:01:46.796Z", "2018-11-01T21:01:46.796Z"),
                ("2018-11-01 21:01:46", "2018-11-01T21:01:46.000Z"),
                ("2018-11-01T23:01:46+02:00", "2018-11-01T21:01:46.000Z"),
                ("2018-11-01", "2018-11-01T00:00:00.000Z"),
                ("1541106106796", "2018-11-01T21:01:46.796Z"),
            ],
        );
        refuses(Type::Timestamp, &["1.54158E+12", "2018-11-01T21:01:46.7961Z", "2018-13-01", "yesterday"]);
        accepts(Type::Date, &[("2018-11-01", "2018-11-01"), ("1969-12-31", "1969-12-31")]);
        refuses(Type::Date, &["2018-11-31", "01.11.2018", "2018-11-01T00:00", "20181101"]);
        accepts(Type::Time, &[("21:01", "21:01:00.000000000"), ("21:01:46.5", "21:01:46.500000000")]);
        refuses(Type::Time, &["25:00", "9:00", "21:01:46Z", "2018-11-01T21:01"]);
    }

    #[test]
    fn the_others_have_one_form() {
        let v1 = "b54adc00-67f9-11d9-9669-0800200c9a66";
        let v4 = "7f2c0f62-3a3c-4a89-9a5d-0d1b6f0f4a11";
        accepts(Type::Boolean, &[("TRUE", "true"), ("n", "false"), ("1", "true")]);
        refuses(Type::Boolean, &["2", "ja"]);
        accepts(Type::Uuid, &[(&v4.to_uppercase(), v4)]);
        refuses(Type::Uuid, &["7f2c0f623a3c4a899a5d0d1b6f0f4a11", "x"]);
        accepts(Type::Timeuuid, &[(v1, v1)]);
        refuses(Type::Timeuuid, &[v4]);
        accepts(Type::Blob, &[("0xCAfe", "0xcafe"), ("0x", "0x")]);
        refuses(Type::Blob, &["cafe", "0xcaf", "0xzz"]);
        accepts(Type::Inet, &[("127.0.0.1", "127.0.0.1"), ("::1", "::1")]);
        refuses(Type::Inet, &["localhost", "127.0.0.1:80"]);
        accepts(Type::Text, &[(" kept ", " kept ")]);
    }

    #[test]
    fn what_is_no_text_is_an_encoding_refusal() {
        for field in [&b"caf\xe9"[..], b"a\0b"] {
            let refusal = parse(Type::Text, field, &mut Vec::new()).unwrap_err();
            assert_eq!(refusal.reason, Reason::Encoding);
        }
    }
}
