//! Protects spreadsheets. A spreadsheet must not run text from a file as a formula.

use std::borrow::Cow;

use tracing::warn;

/// Puts an apostrophe before cells that a spreadsheet would run as formulas, and counts them.
pub struct Guard {
    is_on: bool,
    guarded: u64,
}

impl Guard {
    pub fn new(is_on: bool) -> Self {
        Self { is_on, guarded: 0 }
    }

    pub fn cell<'c>(&mut self, cell: &'c [u8]) -> Cow<'c, [u8]> {
        if !self.is_on || !is_formula(cell) {
            return Cow::Borrowed(cell);
        }
        self.guarded += 1;
        Cow::Owned([b"'", cell].concat())
    }

    /// Warns if cells were changed. `without` says how to leave them unchanged.
    pub fn warn(&self, without: &str) {
        if self.guarded > 0 {
            let guarded = self.guarded;
            warn!("put an apostrophe before {guarded} cells that a spreadsheet would run; {without}");
        }
    }
}

/// Whether a spreadsheet would take the cell for a formula. A number is not a formula.
fn is_formula(cell: &[u8]) -> bool {
    let begins = matches!(cell.first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'));
    let is_number = std::str::from_utf8(cell).is_ok_and(|text| text.parse::<f64>().is_ok());
    begins && cell.len() > 1 && !is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dashes_are_not_formulas() {
        for text in ["=1+1", "@SUM(A1)", "+1-1", "-cmd|' /C calc'!A0", "\t=1", "\r=1"] {
            assert!(is_formula(text.as_bytes()), "{text:?}");
        }
        for text in ["-5", "+3.25", "-1e9", "-", "=", "", "a=1", "2018-11-01", "'=1"] {
            assert!(!is_formula(text.as_bytes()), "{text:?}");
        }
    }
}
