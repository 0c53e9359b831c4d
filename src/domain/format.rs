//! How the bytes of a file are divided into records and fields.

use std::fmt;
use std::sync::Arc;

use super::lenient::LenientSettings;

/// The format of the files of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Records in lines, with fields between delimiters.
    Csv(Arc<Dialect>),
}

impl Default for Format {
    /// Returns comma-separated values with a header, and quotes by RFC 4180.
    fn default() -> Self {
        Self::Csv(Arc::default())
    }
}

impl Format {
    /// Describes what differs from the default, for fingerprints. The default is the empty text.
    pub fn declaration(&self) -> String {
        match self {
            Self::Csv(dialect) => dialect.declaration(),
        }
    }

    /// Whether this character is the delimiter, or one of its characters.
    pub fn has_delimiter(&self, character: char) -> bool {
        match self {
            Self::Csv(dialect) => dialect.delimiter.0.contains(character),
        }
    }

    /// Returns the names of the fields, if they are declared and not read from the file.
    pub fn names(&self) -> Option<&[String]> {
        match self {
            Self::Csv(dialect) => match &dialect.header {
                HeaderRule::Names(names) => Some(names),
                HeaderRule::Lines(_) => None,
            },
        }
    }

    /// Returns what the format tolerates.
    pub fn lenient(&self) -> &LenientSettings {
        match self {
            Self::Csv(dialect) => &dialect.lenient,
        }
    }

    /// Returns the number of the line on which the header is expected, from 1.
    pub fn header_line(&self) -> u64 {
        match self {
            Self::Csv(dialect) => dialect.skip_lines + 1,
        }
    }
}

/// A dialect of CSV. [`Self::check`] tells whether its parts can be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: Delimiter,
    /// The character that encloses fields. Without one, all its occurrences are text.
    pub quote: Option<Mark>,
    pub escape: Escape,
    /// The number of lines before the header that are no records, whatever they contain.
    pub skip_lines: u64,
    pub header: HeaderRule,
    /// A field is empty if its bytes, with its quotes, are one of these words.
    pub null: Vec<String>,
    pub lines: LineEnd,
    pub lenient: LenientSettings,
}

/// What ends a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// A line feed, with the carriage return before it if there is one.
    #[default]
    Any,
    /// A line feed. A carriage return before it is text.
    Lf,
    /// A carriage return and a line feed. A line feed alone is text.
    CrLf,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: Delimiter(",".into()),
            quote: Some(Mark(b'"')),
            escape: Escape::Doubled,
            skip_lines: 0,
            header: HeaderRule::Lines(1),
            null: Vec::new(),
            lines: LineEnd::Any,
            lenient: LenientSettings::default(),
        }
    }
}

impl LineEnd {
    /// Returns the bytes of a line end.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Any | Self::CrLf => b"\r\n",
        }
    }
}

/// Where the names of the fields come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRule {
    /// The file has a header. The names are in the first of this many lines, which is at least 1.
    Lines(u64),
    /// The file has no header. Its fields have these names.
    Names(Vec<String>),
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

/// An ASCII character that has a meaning between or in fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u8);

impl Mark {
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

/// Two parts of a dialect that cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    #[error("the delimiter contains the quote")]
    Quote,
    #[error("the delimiter contains the escape")]
    Escape,
    #[error("the escape is also the quote")]
    Both,
    #[error("the delimiter or the quote is a letter or digit, which has another meaning after a backslash")]
    Sequence,
    #[error("a null word ends with an escape character, which belongs to the next byte")]
    Null,
    #[error("the comment begins like a field, with a quote, a delimiter or an escape")]
    Comment,
}

impl Dialect {
    /// Checks that every byte has one meaning.
    ///
    /// # Errors
    /// Returns the two parts of the dialect that cannot be told apart.
    pub fn check(&self) -> Result<(), Ambiguous> {
        let delimiter = self.delimiter.bytes();
        let (quote, escape) = (self.quote.map(Mark::byte), self.escape.byte());
        match (quote, escape) {
            (Some(quote), _) if delimiter.contains(&quote) => Err(Ambiguous::Quote),
            (_, Some(escape)) if delimiter.contains(&escape) => Err(Ambiguous::Escape),
            (Some(quote), Some(escape)) if quote == escape => Err(Ambiguous::Both),
            _ if self.is_in_sequence() => Err(Ambiguous::Sequence),
            _ if self.null.iter().any(|word| self.ends_escaped(word)) => Err(Ambiguous::Null),
            _ if self.comment_may_be_a_record() => Err(Ambiguous::Comment),
            _ => Ok(()),
        }
    }

    /// Whether a backslash before the delimiter or the quote could also be a sequence such as `\n`.
    fn is_in_sequence(&self) -> bool {
        let first = self.delimiter.bytes().first().copied();
        let marks = first.into_iter().chain(self.quote.map(Mark::byte));
        self.escape == Escape::Backslash && marks.into_iter().any(|byte| byte.is_ascii_alphanumeric())
    }

    fn ends_escaped(&self, word: &str) -> bool {
        let escapes = |escape| word.bytes().rev().take_while(|byte| *byte == escape).count();
        self.escape_outside_quotes().is_some_and(|escape| escapes(escape) % 2 == 1)
    }

    /// Whether a comment begins with bytes that have another meaning at the beginning of a record.
    fn comment_may_be_a_record(&self) -> bool {
        let Some(comment) = &self.lenient.comment else { return false };
        let (comment, delimiter) = (comment.bytes(), self.delimiter.bytes());
        let begins_like = |mark: Option<u8>| mark.is_some() && comment.first().copied() == mark;
        comment.starts_with(delimiter)
            || delimiter.starts_with(comment)
            || begins_like(self.quote.map(Mark::byte))
            || begins_like(self.escape_outside_quotes())
    }

    /// Whether the byte is a blank that is not part of a field when fields are trimmed: a space or a tab without another
    /// meaning.
    pub fn is_trimmed(&self, byte: u8) -> bool {
        let has_meaning = self.quote.map(Mark::byte) == Some(byte)
            || self.escape.byte() == Some(byte)
            || self.delimiter.bytes().contains(&byte);
        self.lenient.trim && matches!(byte, b' ' | b'\t') && !has_meaning
    }

    /// Describes what differs from the default, for fingerprints. The default is the empty text.
    pub fn declaration(&self) -> String {
        let default = Self::default();
        let parts = [
            (self.delimiter != default.delimiter, format!("delimiter {:?}", self.delimiter.bytes())),
            (self.quote != default.quote, format!("quote {:?}", self.quote.map(Mark::byte))),
            (self.escape != default.escape, format!("escape {:?}", self.escape.byte())),
            (self.escape == Escape::Backslash, "sequences".to_owned()),
            (self.skip_lines != 0, format!("skip {}", self.skip_lines)),
            (self.header != default.header, format!("header {:?}", self.header)),
            (!self.null.is_empty(), format!("null {:?}", self.null)),
            (self.lines != default.lines, format!("lines {:?}", self.lines)),
        ];
        let changed = parts.into_iter().filter(|(differs, _)| *differs).map(|(_, part)| part);
        changed.chain(self.lenient.declaration()).collect::<Vec<_>>().join(", ")
    }

    /// Returns delimiter and quote if fields are found by them alone, because nothing but a doubled quote is escaped and
    /// nothing is trimmed.
    pub fn plain(&self) -> Option<(u8, u8)> {
        match (self.delimiter.byte(), self.quote, self.escape) {
            (Some(delimiter), Some(quote), Escape::Doubled) if !self.lenient.trim => {
                Some((delimiter, quote.byte()))
            }
            _ => None,
        }
    }

    /// Whether the bytes of a field, with its quotes, mean that it is empty.
    pub fn is_null(&self, field: &[u8]) -> bool {
        self.null.iter().any(|word| word.as_bytes() == field)
    }

    /// Returns the escape character that works outside quotes.
    pub fn escape_outside_quotes(&self) -> Option<u8> {
        self.escape.byte().filter(|_| self.quote.is_none())
    }
}
