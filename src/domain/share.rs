//! A share of records in percent, compared and shown exactly as it is written.

use std::fmt;

/// The maximum number of decimals of a percentage.
const DECIMALS: usize = 9;

/// One percent, in units of the last decimal.
const ONE: u64 = 10_u64.pow(9);

/// A share from 0 to 100 percent.
#[derive(Clone, Copy)]
pub struct Share {
    /// Billionths of a percent.
    units: u64,
    /// The number of decimals that are shown.
    decimals: usize,
}

impl Share {
    /// Returns a whole percentage, at most 100.
    pub const fn percent(percent: u8) -> Self {
        let percent = if percent > 100 { 100 } else { percent };
        Self { units: percent as u64 * ONE, decimals: 0 }
    }

    /// Reads a percentage such as `29` or `0.5`. Returns `None` if it is no number from 0 to 100 with up to nine decimals.
    pub fn read(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let are_digits = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
        let is_number =
            !(whole.is_empty() && decimals.is_empty()) && are_digits(whole) && are_digits(decimals);
        if !is_number || decimals.len() > DECIMALS {
            return None;
        }
        let units = format!("{whole}{decimals:0<DECIMALS$}").parse().ok()?;
        (units <= 100 * ONE).then_some(Self { units, decimals: decimals.len() })
    }

    /// Reads a share of which something is chosen, such as `1%`. Returns `None` if it is not above 0 % and at most 100 %.
    pub fn read_sample(text: &str) -> Option<Self> {
        let share = Self::read(text.trim().strip_suffix('%')?.trim())?;
        (share.units > 0).then_some(share)
    }

    /// Whether `part` of `all` is more than this share.
    pub fn is_exceeded(self, part: u64, all: u64) -> bool {
        u128::from(part) * u128::from(100 * ONE) > u128::from(self.units) * u128::from(all)
    }
}

/// Shares are equal if their values are: `0.5` and `0.50`.
impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.units == other.units
    }
}

impl Eq for Share {}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:0>DECIMALS$}", self.units % ONE);
        match decimals.get(..self.decimals) {
            None | Some("") => write!(f, "{} %", self.units / ONE),
            Some(shown) => write!(f, "{}.{shown} %", self.units / ONE),
        }
    }
}

/// Shows the share as a number from 0 to 1. Fingerprints in existing ledgers have it in this form.
impl fmt::Debug for Share {
    #[expect(clippy::cast_precision_loss, reason = "a text of shares, with which nothing is compared")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.units as f64 / ONE as f64;
        write!(f, "{:?}", percent / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_percentage_above_0() {
        let shown = |text: &str| Share::read_sample(text).map(|share| share.to_string());
        assert_eq!(shown("1%").as_deref(), Some("1 %"));
        assert_eq!(shown(" 0.5 % ").as_deref(), Some("0.5 %"));
        assert_eq!(shown("100%").as_deref(), Some("100 %"));
        for text in ["0%", "0.0%", "101%", "1", "x%", "%", "-1%"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
