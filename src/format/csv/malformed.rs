//! What is wrong with a record whose fields cannot be told apart.

use std::fmt;

use crate::domain::Format;
use crate::domain::format::Escape;

/// A quote or an escape that the dialect does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The index of the field.
    pub field: usize,
    /// The index of the quote or escape in the record.
    pub at: usize,
    pub fault: Fault,
    /// How the dialect escapes quotes.
    pub escape: Escape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The quote is in a field that does not begin with a quote.
    Inside,
    /// The quote closes the field, but the field continues after it.
    Closing,
    /// The quote opens the field, but no quote closes it.
    Open,
    /// The escape precedes this byte, which it does not escape. `None` at the end of the record.
    Escape(Option<u8>),
}

impl Malformed {
    /// Describes what is wrong and what to do. `place` is the place of the quote or escape.
    pub fn describe(&self, place: impl fmt::Display) -> String {
        let field = self.field + 1;
        let mend = match self.escape {
            Escape::Doubled => "a quote that is part of the text is written twice",
            Escape::Mark(_) | Escape::Backslash => {
                "a quote that is part of the text has the escape character before it"
            }
        };
        match self.fault {
            Fault::Inside => format!(
                "field {field} has a quote at byte {place} and does not begin with one: put the field in \
                 quotes; {mend}"
            ),
            Fault::Closing => {
                format!("field {field} does not end at its closing quote, at byte {place}: {mend}")
            }
            Fault::Open => format!("field {field} begins with a quote at byte {place} that is not closed"),
            Fault::Escape(None) => format!("field {field} ends with an escape character, at byte {place}"),
            Fault::Escape(Some(b'.')) => format!(
                "field {field} has `\\.` at byte {place}: if it is the end marker of PostgreSQL, remove its line"
            ),
            Fault::Escape(Some(byte)) => format!(
                "field {field} has an escape character at byte {place} before `{}`, which it cannot escape: an \
                 escape character that is part of the text is written twice",
                byte.escape_ascii()
            ),
        }
    }

    /// Returns what to set if a quote stands after a backslash or blanks, or is part of a formula. `record` has the quote.
    pub fn hint(&self, record: &[u8], format: &Format) -> String {
        let before = record.get(..self.at).unwrap_or_default();
        match self.fault {
            Fault::Inside => hint_before(before, format),
            Fault::Closing if self.escape == Escape::Doubled && before.ends_with(b"\\") => {
                format!("; if a backslash escapes quotes, set {}: '\\'", format.setting("escape"))
            }
            Fault::Closing | Fault::Open | Fault::Escape(_) => String::new(),
        }
    }
}

/// Returns what to set because of the bytes before a quote.
fn hint_before(before: &[u8], format: &Format) -> String {
    let Format::Csv(dialect) = format;
    let begins_field = |before: &[u8]| before.is_empty() || before.ends_with(dialect.delimiter.bytes());
    let blanks = before.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let is_blank = blanks > 0 && begins_field(before.get(..before.len() - blanks).unwrap_or_default());
    match before.strip_suffix(b"=") {
        _ if is_blank => {
            let trim = format.setting("trim");
            format!("; if blanks around fields are not part of them, set {trim}: true")
        }
        Some(before) if begins_field(before) => format!(
            "; if a spreadsheet wrote this formula, have it write the plain values, or set {}: none and `strip` for \
             the column",
            format.setting("quote")
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_formulas_before_a_quote_are_recognised() {
        let hint = |before: &[u8]| hint_before(before, &Format::default());
        assert!(hint(b"1, ").contains("source.format.trim: true"));
        assert!(hint(b" ").contains("trim: true"));
        assert!(hint(b"=").contains("formula"));
        assert_eq!(hint(b"5"), "");
        assert_eq!(hint(b"a "), "");
    }

    #[test]
    fn backslashes_before_quotes_are_recognised() {
        let hint = |at, fault, escape| {
            let malformed = Malformed { field: 0, at, fault, escape };
            malformed.hint(br#""a \"b\"",1"#, &Format::default())
        };
        let setting = "; if a backslash escapes quotes, set source.format.escape: '\\'";
        assert_eq!(hint(4, Fault::Closing, Escape::Doubled), setting);
        assert_eq!(hint(4, Fault::Closing, Escape::Backslash), "");
        assert_eq!(hint(5, Fault::Closing, Escape::Doubled), "");
    }
}
