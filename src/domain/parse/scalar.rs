//! Parses single values.

use std::net::IpAddr;

use crate::domain::parse::refusal::{Parsed, keep, not};
use crate::domain::parse::{number, time};
use crate::domain::value::{Cell, Scalar};

/// Whether spaces around a value are part of it.
pub fn keeps_spaces(kind: Scalar) -> bool {
    matches!(kind, Scalar::Text | Scalar::Blob)
}

/// Parses a text that is not empty. Spaces around it must have been removed, unless the type keeps them.
pub fn parse(kind: Scalar, text: &str, arena: &mut Vec<u8>) -> Parsed {
    match kind {
        Scalar::Text => keep(arena, text.as_bytes()).map(Cell::Text),
        Scalar::Int => {
            const RULE: &str = "a whole number from -2147483648 to 2147483647";
            number::whole(text, i32::MIN.into(), i32::MAX.into(), RULE)
        }
        Scalar::Bigint => number::whole(text, i64::MIN, i64::MAX, "a whole number of at most 64 bits"),
        Scalar::Smallint => {
            number::whole(text, i16::MIN.into(), i16::MAX.into(), "a whole number from -32768 to 32767")
        }
        Scalar::Tinyint => {
            number::whole(text, i8::MIN.into(), i8::MAX.into(), "a whole number from -128 to 127")
        }
        Scalar::Varint => number::varint(text, arena),
        Scalar::Float => number::float(text),
        Scalar::Double => number::double(text),
        Scalar::Decimal => number::decimal(text, arena),
        Scalar::Boolean => boolean(text),
        Scalar::Timestamp => time::timestamp(text),
        Scalar::Date => time::date(text),
        Scalar::Time => time::time(text, false),
        Scalar::Uuid => uuid(text, false, arena),
        Scalar::Timeuuid => uuid(text, true, arena),
        Scalar::Blob => blob(text, arena),
        Scalar::Inet => inet(text, arena),
    }
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
    // An IPv4-mapped IPv6 address is stored as the IPv4 address.
    let slice = match ip.to_canonical() {
        IpAddr::V4(v4) => keep(arena, &v4.octets()),
        IpAddr::V6(v6) => keep(arena, &v6.octets()),
    };
    slice.map(Cell::Inet)
}
