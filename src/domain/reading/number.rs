//! Numbers as people write them: `1.234,50`, or `39.0` for a whole number.

use crate::domain::parse::refusal::{Parsed, not};
use crate::domain::parse::{Form, parse};

/// How the numbers of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberForm {
    /// The character before the decimals.
    pub decimal: char,
    /// The character between groups of three digits.
    pub thousands: Option<char>,
    /// Whether a whole number may have decimals that are all zero.
    pub zero_fraction: bool,
}

/// The maximum length of a number that is rewritten in place.
const SHORT: usize = 24;

impl Default for NumberForm {
    fn default() -> Self {
        Self { decimal: '.', thousands: None, zero_fraction: false }
    }
}

impl NumberForm {
    /// Parses a number by the grammar of its type, after rewriting it in the notation of the grammar.
    pub fn parse(&self, form: Form, text: &str, arena: &mut Vec<u8>) -> Parsed {
        if let Some(Ok(number)) = self.short(text).map(|plain| parse(form, &plain[..text.len()], arena)) {
            return Ok(number);
        }
        let plain = self.plain(form, text).ok_or(not("a number"))?;
        parse(form, plain.as_bytes(), arena)
    }

    /// Returns a number of digits, signs and marks before decimals with a point for each mark. Most numbers are like this,
    /// and need no allocation. `None` if [`Self::plain`] has to decide.
    fn short(&self, text: &str) -> Option<[u8; SHORT]> {
        let mut plain = [0; SHORT];
        for (to, from) in plain.get_mut(..text.len())?.iter_mut().zip(text.bytes()) {
            *to = match from {
                b'0'..=b'9' | b'-' | b'+' => from,
                _ if char::from(from) == self.decimal => b'.',
                _ => return None,
            };
        }
        Some(plain).filter(|_| !self.zero_fraction)
    }

    /// Describes the notation, to follow a rule.
    pub fn describe(&self) -> String {
        let groups =
            self.thousands.map(|mark| format!(" and `{}` between groups of three digits", shown(mark)));
        format!(", written with `{}` before the decimals{}", shown(self.decimal), groups.unwrap_or_default())
    }

    /// Returns the number with a point and without groups. `None` if it is not written in this notation.
    pub(super) fn plain(&self, form: Form, text: &str) -> Option<String> {
        let (sign, number) = text.split_at(text.len() - text.trim_start_matches(['-', '+']).len());
        let (mantissa, exponent) = number.split_at(number.find(['e', 'E']).unwrap_or(number.len()));
        let (whole, fraction) = match mantissa.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let mut plain = format!("{sign}{}", self.ungrouped(whole)?);
        match fraction {
            Some(fraction) if !are_digits(fraction) => return None,
            // Without its decimals, nothing would be left.
            Some(fraction) if whole.is_empty() && self.may_drop(form, fraction) => return None,
            Some(fraction) if !self.may_drop(form, fraction) => {
                plain.push('.');
                plain.push_str(fraction);
            }
            _ => {}
        }
        plain.push_str(exponent);
        Some(plain)
    }

    /// Returns the digits without the marks between groups. Every group but the first has three digits.
    fn ungrouped(&self, whole: &str) -> Option<String> {
        let Some(mark) = self.thousands.filter(|mark| whole.contains(*mark)) else {
            return are_digits(whole).then(|| whole.to_owned());
        };
        let mut groups = whole.split(mark);
        let first = groups.next().filter(|group| (1..=3).contains(&group.len()) && are_digits(group))?;
        let mut digits = first.to_owned();
        for group in groups {
            digits.push_str(Some(group).filter(|group| group.len() == 3 && are_digits(group))?);
        }
        Some(digits)
    }

    fn may_drop(&self, form: Form, fraction: &str) -> bool {
        let is_whole = match form {
            Form::Plain(kind) => kind.is_whole(),
            Form::Since(_) => true,
        };
        self.zero_fraction && is_whole && !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0')
    }
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the character with invisible ones escaped.
fn shown(mark: char) -> String {
    if mark == ' ' { mark.to_string() } else { mark.escape_debug().to_string() }
}
