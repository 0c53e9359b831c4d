//! The characters that have a meaning: delimiters, quotes and escapes.

use std::fmt;

/// An ASCII character that has a meaning between or in fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u8);

impl Mark {
    /// The quote of RFC 4180.
    pub const QUOTE: Self = Self(b'"');

    /// Returns `None` if the text is not one ASCII character, or is one that ends a line.
    pub fn new(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\0' | b'\n' | b'\r') => Some(Self(*byte)),
            _ => None,
        }
    }

    pub fn byte(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(self.0).escape_debug())
    }
}

/// One or several characters between two fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delimiter(Box<str>);

impl Default for Delimiter {
    /// Returns a comma.
    fn default() -> Self {
        Self(",".into())
    }
}

impl Delimiter {
    /// The maximum length in bytes.
    pub const LONGEST: usize = 32;

    /// Returns `None` if the text is empty, longer than [`Self::LONGEST`], or has a character that ends a line.
    pub fn new(text: &str) -> Option<Self> {
        let is_valid = (1..=Self::LONGEST).contains(&text.len()) && !text.contains(['\0', '\n', '\r']);
        is_valid.then(|| Self(text.into()))
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the bytes of the first character.
    pub fn first_char(&self) -> &[u8] {
        let len = self.0.chars().next().map_or(0, char::len_utf8);
        self.bytes().get(..len).unwrap_or_default()
    }

    /// Whether the text ends inside a delimiter: appended bytes may complete it.
    pub fn is_cut_in(&self, text: &[u8]) -> bool {
        let delimiter = self.bytes();
        (1..delimiter.len()).any(|len| delimiter.get(..len).is_some_and(|cut| text.ends_with(cut)))
    }

    /// Returns the delimiter if it is one byte.
    pub fn byte(&self) -> Option<u8> {
        match self.bytes() {
            [byte] => Some(*byte),
            _ => None,
        }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

/// How a character that would otherwise end a field is written as text.
///
/// An escape works in quoted fields. In a dialect without quotes, it works in all fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// A quote is written twice. Nothing else is escaped.
    Doubled,
    /// This character precedes a quote or itself. In a dialect without quotes, it also precedes a delimiter or a line
    /// end.
    Mark(Mark),
    /// Like [`Self::Mark`] with a backslash, which also begins the sequences that MySQL and PostgreSQL write: `\n`,
    /// `\t`, `\r`, `\b`, `\f`, `\v`, `\0` and `\Z`.
    Backslash,
}

impl Escape {
    /// Returns the character that begins an escape inside a field.
    pub fn byte(self) -> Option<u8> {
        match self {
            Self::Doubled => None,
            Self::Mark(mark) => Some(mark.byte()),
            Self::Backslash => Some(b'\\'),
        }
    }
}
