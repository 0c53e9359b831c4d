//! What is wrong with a record whose fields cannot be told apart.

use std::fmt;

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
}
