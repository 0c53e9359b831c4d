//! How the fields of a column become values, where the declaration differs from the grammar of the column's type.

mod directive;
mod number;
#[cfg(test)]
mod tests;
mod time;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use number::NumberForm;
pub use time::{Fold, Precision, TimeForm, TimePart, UnknownZone, Zone};

use super::parse::refusal::{Parsed, Refusal, keep, not};
use super::parse::{Form, keeps_spaces, parse, utf8};
use super::value::Cell;

/// The declared form of the fields of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// A field is empty if it is one of these words, in quotes or not.
    pub null: Vec<String>,
    /// Each of these texts is removed once, from the beginning or the end of a field.
    pub strip: Vec<String>,
    /// The text that is read in place of an empty field.
    pub default: Option<String>,
    pub notation: Notation,
}

/// How a value is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Notation {
    /// By the grammar of the type.
    #[default]
    Plain,
    Number(NumberForm),
    /// The words for true and for false, compared regardless of case.
    Words {
        yes: Vec<String>,
        no: Vec<String>,
    },
    Time(TimeForm),
    /// Bytes in Base64 with padding.
    Base64,
}

impl Reading {
    /// Parses one field. If the value has bytes, they are appended to `arena`.
    ///
    /// # Errors
    /// Returns the rule that the field breaks. [`Self::notation_text`] says how the value is expected to be written.
    pub fn parse(&self, form: Form, field: &[u8], arena: &mut Vec<u8>) -> Parsed {
        match (self.content(form, utf8(field)?), &self.default) {
            (Some(text), _) => self.notation.parse(form, text, arena),
            (None, Some(default)) => self.notation.parse(form, default, arena),
            (None, None) => Ok(Cell::Empty),
        }
    }

    /// Whether the field is empty. A default does not change that.
    pub fn is_empty(&self, form: Form, field: &[u8]) -> bool {
        utf8(field).is_ok_and(|text| self.content(form, text).is_none())
    }

    /// Returns the text of the value. `None` if the field is empty.
    fn content<'t>(&self, form: Form, field: &'t str) -> Option<&'t str> {
        let text = trimmed(form, field);
        if self.null.iter().any(|word| word == text || word == field) {
            return None;
        }
        let text = self.strip.iter().fold(text, |text, affix| {
            text.strip_prefix(affix.as_str()).or_else(|| text.strip_suffix(affix.as_str())).unwrap_or(text)
        });
        Some(trimmed(form, text)).filter(|text| !text.is_empty())
    }

    /// Describes how the value is written, to follow the rule of its type. Empty if by the grammar of the type.
    pub fn notation_text(&self) -> String {
        match &self.notation {
            Notation::Plain => String::new(),
            Notation::Number(form) => form.describe(),
            Notation::Words { yes, no } => format!(": {} or {}", yes.join(", "), no.join(", ")),
            Notation::Time(form) => form.describe(),
            Notation::Base64 => String::new(),
        }
    }

    /// Describes everything that decides what a field becomes, for fingerprints.
    pub fn declaration(&self) -> String {
        let Self { null, strip, default, notation } = self;
        format!("null {null:?} strip {strip:?} default {default:?} {}", notation.declaration())
    }
}

impl Notation {
    /// Parses the text of a value. Nothing is left to remove from it.
    ///
    /// # Errors
    /// Returns the rule that the text breaks.
    pub fn parse(&self, form: Form, text: &str, arena: &mut Vec<u8>) -> Parsed {
        const WORDS: Refusal = not("one of the declared words");
        match self {
            Self::Plain => parse(form, text.as_bytes(), arena),
            Self::Number(number) => number.parse(form, text, arena),
            Self::Words { yes, no } => {
                let is = |words: &[String]| words.iter().any(|word| is_same_word(word, text));
                if is(yes) {
                    return Ok(Cell::Boolean(true));
                }
                if is(no) { Ok(Cell::Boolean(false)) } else { Err(WORDS) }
            }
            Self::Time(time) => time.parse(form, text),
            Self::Base64 => {
                let bytes = STANDARD.decode(text).map_err(|_| not("Base64 with padding"))?;
                keep(arena, &bytes).map(Cell::Blob)
            }
        }
    }

    fn declaration(&self) -> String {
        match self {
            Self::Plain => String::new(),
            Self::Number(form) => format!("{form:?}"),
            Self::Words { yes, no } => format!("true {yes:?} false {no:?}"),
            Self::Time(form) => form.declaration(),
            Self::Base64 => "base64".to_owned(),
        }
    }
}

/// Whether two words differ in nothing but case.
pub fn is_same_word(one: &str, other: &str) -> bool {
    let is_ascii = one.is_ascii() && other.is_ascii();
    one.eq_ignore_ascii_case(other) || (!is_ascii && one.to_lowercase() == other.to_lowercase())
}

fn trimmed(form: Form, text: &str) -> &str {
    if keeps_spaces(form) { text } else { text.trim_matches(' ') }
}
