//! Parses numbers. No type has a minus zero: `-0` is 0.

use std::num::IntErrorKind;

use crate::domain::parse::refusal::{Parsed, keep, not, outside};
use crate::domain::value::{Cell, Type};

/// The maximum number of digits of a varint, and of a decimal that is written out without an exponent.
const MAX_DIGITS: usize = 1000;

/// The maximum exponent of a decimal, positive or negative.
const MAX_DECIMAL_EXPONENT: usize = 99;

/// Parses the common form of `int` and `bigint`: digits, possibly with a minus. Returns `None` for any other form.
#[inline]
pub fn plain_whole(kind: Type, field: &[u8]) -> Option<i64> {
    let n = digits(field)?;
    match kind {
        Type::Bigint => Some(n),
        Type::Int => i32::try_from(n).ok().map(i64::from),
        _ => None,
    }
}

/// Parses the common form of a float: at most nine digits, possibly with a point. Returns `None` for any other form.
///
/// Both operands of the division are exact in 64 bits. Narrowing the quotient to 32 bits rounds a second time. That
/// could differ from rounding once only if the first result is the midpoint of two 32-bit floats and the true quotient
/// is not. But a quotient with a divisor of at most 10^8 is then at least 2^-52 away from the midpoint, relatively, and
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

/// Parses up to 18 digits, possibly with a minus. They always fit into an `i64`.
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

/// Parses a whole number from `min` to `max`, with or without a sign.
pub fn whole(text: &str, min: i64, max: i64, rule: &'static str) -> Parsed {
    match text.parse::<i64>() {
        Ok(n) if (min..=max).contains(&n) => Ok(Cell::Whole(n)),
        Ok(_) => Err(outside(rule)),
        Err(error) => Err(match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => outside(rule),
            _ => not(rule),
        }),
    }
}

/// Parses a whole number of any size. It is kept as its digits, without a plus or leading zeros.
pub fn varint(text: &str, arena: &mut Vec<u8>) -> Parsed {
    const RULE: &str = "a whole number of at most 1000 digits";
    let (minus, digits) = signed(text);
    if digits.is_empty() || !are_digits(digits) {
        return Err(not(RULE));
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > MAX_DIGITS {
        return Err(outside(RULE));
    }
    let plain = match digits {
        "" => "0".to_owned(),
        _ if minus => format!("-{digits}"),
        _ => digits.to_owned(),
    };
    keep(arena, plain.as_bytes()).map(Cell::Decimal)
}

pub fn float(text: &str) -> Parsed {
    const RULE: &str = "a finite number like -12.5 or 1e3, in the range of 32-bit floating point";
    let numeral = Numeral::of(text).ok_or(not(RULE))?;
    match text.parse::<f32>() {
        Ok(x) if x.is_finite() && x != 0.0 => Ok(Cell::Float(x)),
        Ok(_) if numeral.is_zero() => Ok(Cell::Float(0.0)),
        _ => Err(outside(RULE)),
    }
}

pub fn double(text: &str) -> Parsed {
    const RULE: &str = "a finite number like -12.5 or 1e3, in the range of 64-bit floating point";
    let numeral = Numeral::of(text).ok_or(not(RULE))?;
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x != 0.0 => Ok(Cell::Double(x)),
        Ok(_) if numeral.is_zero() => Ok(Cell::Double(0.0)),
        _ => Err(outside(RULE)),
    }
}

/// Parses a decimal. It is kept as plain digits with the scale as written, because `12.5` and `12.50` are two keys in
/// CQL.
pub fn decimal(text: &str, arena: &mut Vec<u8>) -> Parsed {
    const RULE: &str = "a decimal number of at most 1000 digits, with an exponent from -99 to 99";
    let numeral = Numeral::of(text).ok_or(not(RULE))?;
    let plain = numeral.written_out().ok_or(outside(RULE))?;
    keep(arena, plain.as_bytes()).map(Cell::Decimal)
}

/// Whether the text is a number of any numeric type.
pub fn is_numeral(text: &str) -> bool {
    Numeral::of(text).is_some()
}

/// The parts of a number: an optional sign, digits with at most one point, and an optional exponent of at most three
/// digits.
struct Numeral<'t> {
    minus: bool,
    whole: &'t str,
    fraction: &'t str,
    /// Whether the exponent is negative.
    shrinks: bool,
    exponent: usize,
}

impl<'t> Numeral<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let (minus, number) = signed(text);
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (shrinks, exponent) = signed(exponent);
        let is_number = are_digits(whole) && are_digits(fraction) && whole.len() + fraction.len() > 0;
        let is_exponent = are_digits(exponent) && (1..=3).contains(&exponent.len());
        let exponent = exponent.parse().ok().filter(|_| is_number && is_exponent)?;
        Some(Self { minus, whole, fraction, shrinks, exponent })
    }

    fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.fraction.bytes()).all(|digit| digit == b'0')
    }

    /// Returns the number without an exponent, such as `-12.50`. Keeps all decimals and drops leading zeros. Returns
    /// `None` if the exponent is too large or the result would have too many digits.
    fn written_out(&self) -> Option<String> {
        if self.exponent > MAX_DECIMAL_EXPONENT {
            return None;
        }
        let (zeros, none) = ("0".repeat(self.exponent), String::new());
        let (before, behind) = if self.shrinks { (zeros, none) } else { (none, zeros) };
        let decimals = (self.fraction.len() + before.len()).saturating_sub(behind.len());
        let digits = format!("{before}{}{}{behind}", self.whole, self.fraction);
        let (whole, rest) = digits.split_at(self.whole.len() + behind.len());
        let fraction = rest.get(..decimals)?;
        let whole = whole.trim_start_matches('0');
        if whole.len() + fraction.len() > MAX_DIGITS {
            return None;
        }
        let minus = if self.minus && !self.is_zero() { "-" } else { "" };
        let whole = if whole.is_empty() { "0" } else { whole };
        let point = if fraction.is_empty() { "" } else { "." };
        Some(format!("{minus}{whole}{point}{fraction}"))
    }
}

/// Returns whether there is a minus, and the text after the sign.
fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_floats_equal_those_of_the_standard_parser() {
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
}
